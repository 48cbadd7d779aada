"""The bundled models: small enough, described, and as good as their cards say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fercli
from fercli.emotions import LABELS
from fercli.inference.onnx import OnnxRuntime
from fercli.storage import digest_file

ASSETS = Path(fercli.__file__).parent / "assets"
NAMES = sorted(path.stem for path in ASSETS.glob("*.onnx"))


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_model_is_small_and_described(name: str) -> None:
    path = ASSETS / f"{name}.onnx"
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    runtime = OnnxRuntime(path)

    assert path.stat().st_size <= 12_000_000
    assert (runtime.metadata.parameters or 0) <= 5_000_000
    assert runtime.labels == LABELS
    assert digest_file(path) in card
    assert runtime.metadata.dataset
    assert runtime.metadata.dataset.sha256 in card
    for text in ("fer train", "seed", "minutes", "Article 5(1)(f)", "licence", "Known bias"):
        assert text in card, text


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_model_answers(name: str) -> None:
    probabilities = OnnxRuntime(ASSETS / f"{name}.onnx").predict(
        np.zeros((2, 48, 48), dtype=np.uint8)
    )

    assert probabilities.shape == (2, 7)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(2), abs=1e-5)


@pytest.mark.realdata
@pytest.mark.parametrize("name", NAMES)
def test_the_cards_figure_comes_out(
    name: str,
    real_table: Path,
    run_json: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fercli.model_files._ASSETS", ASSETS)
    card = (ASSETS / f"{name}.md").read_text(encoding="utf-8")

    data = run_json("evaluate", name, "--data", real_table, "--split", "public")["data"]

    row = r"^\| public \| [^|]+ \| selection \| 3,589 \| ([0-9.]+)% \|"
    (figure,) = re.findall(row, card, re.MULTILINE)
    # Other processors round otherwise: an image on the brink may fall to the other side.
    assert data["accuracy"] * 100 == pytest.approx(float(figure), abs=0.06)
