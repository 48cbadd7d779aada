from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fercli.plots import plot_coverage
from fercli.plots.figures import build_figure
from fercli.results import CoveragePoint


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
