from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fercli.emotions import LABELS
from fercli.inference.external import ExternalRuntime, parse_labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from fercli.data import Dataset


def test_label_orders_are_understood_by_name() -> None:
    assert parse_labels("folders") == tuple(sorted(LABELS))
    assert parse_labels("anger, joy,Neutral") == ("angry", "happy", "neutral")


def test_probabilities_in_eight_bits_are_no_logits(
    tmp_path: Path, faces: Dataset, make_constant: Callable[..., None]
) -> None:
    path = tmp_path / "quantized.onnx"
    rows = np.array([[0.691, 0.1, 0.1, 0.05, 0.05, 0.005, 0.012]], dtype=np.float32)
    make_constant(path, rows)

    answers = ExternalRuntime(path, LABELS, "0-1").predict(faces.images[:2])

    assert answers == pytest.approx(np.repeat(rows / rows.sum(), 2, axis=0), abs=1e-6)
