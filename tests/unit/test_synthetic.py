from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fercli.data import (
    build_synthetic,
    find_warnings,
    render_synthetic_faces,
)
from fercli.data.synthetic import parse_synthetic
from fercli.errors import ConfigError


def test_synthetic_is_seeded_and_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    # Drawn anew each time, which other tests are spared.
    monkeypatch.setattr("fercli.data.synthetic.render_synthetic_faces", render_synthetic_faces)
    small, again, large = build_synthetic(300), build_synthetic(300), build_synthetic(700)

    assert small.sha256 == again.sha256
    assert np.array_equal(large.images[:300], small.images)
    assert {name: sum(each.values()) for name, each in small.count().items()} == {
        "train": 240, "public": 30, "private": 30,
    }  # fmt: skip
    assert small.is_synthetic
    assert "synthetic" in find_warnings(small)[0]
    assert len(np.unique(small.images.reshape(300, -1), axis=0)) == 300


def test_synthetic_names() -> None:
    assert parse_synthetic("synthetic") == 10_000
    assert parse_synthetic("synthetic:250") == 250
    assert parse_synthetic("synthetic.csv") is None
    assert parse_synthetic("faces.zip") is None
    for text in ("synthetic:", "synthetic:99", "synthetic:-5", "synthetic:1e3", "synthetic:²"):
        with pytest.raises(ConfigError):
            parse_synthetic(text)


def test_the_faces_are_the_same_for_ever() -> None:
    """Of each expression the mean face in 6 x 6, gray levels; last bits are the machine's."""
    golden = json.loads((Path(__file__).parents[1] / "golden" / "synthetic.json").read_text())

    faces = build_synthetic(140)

    assert faces.labels.tolist() == golden["labels"]
    for label, name in enumerate(faces.label_names):
        mean = faces.images[faces.labels == label].mean(axis=0)
        blocks = mean.reshape(6, 8, 6, 8).mean(axis=(1, 3))
        assert np.abs(blocks - golden["faces"][name]).max() < 0.02, name
