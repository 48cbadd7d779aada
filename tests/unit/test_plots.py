from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from fercli.errors import ConfigError
from fercli.plots import (
    FIGURE_FORMATS,
    PALETTE,
    check_format,
    list_figure_names,
    name_figures,
    plot_coverage,
    save_figure,
)
from fercli.plots.figures import build_figure
from fercli.results import CoveragePoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

VISION = {
    "normal": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip
"""Of linear RGB: Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of
Color Vision Deficiency", 2009, severity 1.0."""
TAB10 = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2")


def to_lab(color: str, vision: str) -> NDArray[np.float64]:
    """Return a color in CIELAB (D65) as somebody sees it."""
    coded = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(VISION[vision]) @ linear, 0, 1)
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]  # fmt: skip
    xyz = np.array(to_xyz) @ seen / [0.95047, 1, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def find_smallest_distance(colors: Sequence[str], vision: str) -> float:
    """Return the color difference (CIE 1976) of the two that are hardest to tell apart."""
    seen = [to_lab(color, vision) for color in colors]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("vision", VISION)
def test_lines_are_told_apart_by_whatever_eyes(vision: str) -> None:
    # Two is what can just be seen side by side; lines are thin and lie apart.
    assert find_smallest_distance(PALETTE, vision) > 15


def test_the_usual_colors_would_not_be() -> None:
    assert find_smallest_distance(TAB10, "protanopia") < 5
    assert find_smallest_distance(TAB10, "deuteranopia") < 8


@pytest.mark.parametrize("kind", FIGURE_FORMATS)
def test_a_figure_is_the_same_bytes_each_time(kind: str, tmp_path: Path) -> None:
    point = CoveragePoint(min_confidence=0.0, coverage=1.0, accuracy=0.6)
    heads = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}

    for number in (1, 2):
        save_figure(plot_coverage([point], "100 % of $x_1$"), tmp_path / f"{number}.{kind}")

    first, second = ((tmp_path / f"{number}.{kind}").read_bytes() for number in (1, 2))
    assert first == second
    assert first.startswith(heads[kind])
    assert b"CreationDate" not in first
    assert b"dc:date" not in first


def test_pictures_alone_take_the_format() -> None:
    files = {"table": "t.csv", "cost": "cost.png"}

    assert name_figures(files, "svg") == {"table": "t.csv", "cost": "cost.svg"}
    assert list_figure_names(files) == ["t.csv", "cost.png", "cost.pdf", "cost.svg"]
    with pytest.raises(ConfigError, match="figures"):
        check_format("gif")


def test_the_coverage_chart_holds_the_points() -> None:
    points = [
        CoveragePoint(min_confidence=0.0, coverage=1.0, accuracy=0.6),
        CoveragePoint(min_confidence=0.5, coverage=0.7, accuracy=0.8),
        CoveragePoint(min_confidence=0.9, coverage=0.0, accuracy=None),
    ]

    (axes,) = plot_coverage(points, "private, n = 60").axes

    lines = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in axes.lines}
    assert lines == {
        "answered": [[0.0, 1.0], [0.5, 0.7], [0.9, 0.0]],
        # Where nothing is answered there is no accuracy.
        "accuracy of the answered": [[0.0, 0.6], [0.5, 0.8]],
    }
    assert axes.get_title() == "private, n = 60"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("--min-confidence", "share")
    assert axes.get_legend_handles_labels()[1] == list(lines)
    assert axes.get_legend() is not None
    assert axes.get_ylim() == pytest.approx((0, 1.02))


def test_notebooks_show_a_figure_without_pyplot() -> None:
    figure = build_figure(2, 1)

    content = figure._repr_png_()  # type: ignore[attr-defined]  # what Jupyter calls

    assert Image.open(io.BytesIO(content)).size == (160, 80)
