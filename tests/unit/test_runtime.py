from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fercli.emotions import LABELS
from fercli.errors import ModelFileError
from fercli.inference.external import ExternalRuntime
from fercli.inference.runtime import (
    LabelSubsetRuntime,
    choose_labels,
    predict_checked,
    predict_in_batches,
)
from fercli.metadata import ModelMetadata

IMAGES = np.zeros((40, 48, 48), dtype=np.uint8)
EVEN = np.full((40, 4), 0.25, dtype=np.float32)


class Says:
    """Always gives the same answer."""

    labels: tuple[str, ...] = ("a", "b", "c", "d")
    device = "cpu"
    metadata = ModelMetadata(labels=labels)

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def predict(self, _images: Any) -> Any:
        return self._answer


def change(value: float, column: int = 1) -> Any:
    answer = EVEN.copy()
    answer[7, column] = value
    return answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (EVEN[:1], r"shape \[1, 4\] for 40 images and 4 labels"),
        (EVEN[:, :3], r"shape \[40, 3\]"),
        (EVEN[0], r"shape \[4\]"),
        (EVEN[..., None], r"shape \[40, 4, 1\]"),
        (EVEN[:0], r"shape \[0, 4\]"),
        (change(np.nan), "not numbers"),
        (change(np.inf), "not numbers"),
        (change(-1e33), "from -1e"),
        (change(-0.01), "not within 0 and 1"),
        (change(1.01), "not within 0 and 1"),
        (change(0.27), "sum to 1.02"),
        (change(0.23), "sum to 0.98"),
        (np.zeros_like(EVEN), "sum to 0"),
        (np.ones((40, 4), dtype=np.int64), "int64"),
        (np.full((40, 4), "x"), "<U1"),
        ([EVEN], "list"),
        (None, "NoneType"),
    ],
)
def test_an_answer_that_is_no_probabilities_is_refused(answer: Any, reason: str) -> None:
    with pytest.raises(ModelFileError, match=reason):
        predict_checked(Says(answer), IMAGES)
    with pytest.raises(ModelFileError, match=reason):
        predict_in_batches(Says(answer), IMAGES)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [0.25, 0.2505, 0.2495, 0.258])
def test_rounded_probabilities_are_taken(kind: Any, value: float) -> None:
    answer = change(value).astype(kind)

    assert predict_checked(Says(answer), IMAGES) is answer


def test_leaving_labels_out_hides_no_fault() -> None:
    reduced = LabelSubsetRuntime(Says(change(-1e33)), ("b", "c"))

    with pytest.raises(ModelFileError, match="not within"):
        predict_checked(reduced, IMAGES)


def test_other_peoples_odd_numbers_are_refused_without_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_external: Callable[..., Any]
) -> None:
    odd = np.zeros((40, 7), dtype=np.float32)
    odd[7, 1] = np.inf
    for softmax in (True, False):
        make_external(tmp_path / "f.onnx", ["N", 1, 48, 48], 7, softmax=softmax)
        runtime = ExternalRuntime(tmp_path / "f.onnx", LABELS, "0-1")
        monkeypatch.setattr(runtime, "_run", lambda _images: odd)

        # A warning is an error in these tests.
        with pytest.raises(ModelFileError, match="not numbers"):
            predict_checked(runtime, IMAGES)


def test_eight_labels_become_seven_in_proportion() -> None:
    plus = Says(np.array([[0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.2]], dtype=np.float32))
    plus.labels = ("contempt", *LABELS[::-1])

    model = choose_labels(plus, "fer2013")

    assert model.labels == LABELS
    assert model.predict(IMAGES[:1])[0] == pytest.approx([0.25, *[0.125] * 6])
    assert choose_labels(plus, None) is plus
    assert choose_labels(model, "fer2013") is model


def test_a_model_of_other_labels_cannot_be_asked_for_the_seven() -> None:
    with pytest.raises(ModelFileError, match="labels a, b, c, d; it lacks these of fer2013: angry"):
        choose_labels(Says(EVEN), "fer2013")
