"""Run an ONNX classifier that fercli did not export.

Such a file says how large its input is, and neither what its outputs mean nor how its pixels are
scaled; both have to be told. Guessing them is how wrong scores get published.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.emotions import LABELS, find_label
from fercli.errors import ConfigError, ModelFileError
from fercli.inference.onnx import open_session, run_session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.inference.runtime import Runtime

__all__ = [
    "SCALINGS",
    "ForeignRuntime",
    "InputLayout",
    "ReducedRuntime",
    "count_parameters",
    "parse_labels",
]

SCALINGS: Final = ("0-255", "0-1", "-1-1", "imagenet")
"""How pixels may be scaled; `imagenet` means torchvision's mean and deviation."""
_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION: Final = (0.229, 0.224, 0.225)
"""Source: torchvision's documentation of its pretrained classifiers."""
_KNOWN_ORDERS: Final = {
    "fer2013": LABELS,
    "ferplus": ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"),
    "folders": tuple(sorted(LABELS)),
}
"""Orders that are often meant: FER2013's CSV, FER+ and the ONNX model zoo's, sorted folders."""


@dataclass(frozen=True)
class InputLayout:
    """How a foreign model takes its images."""

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    channels: int
    """1 for grey; 3 get the grey image three times."""
    channels_first: bool
    """[N, C, H, W] rather than [N, H, W, C]."""
    batched: bool
    """Any N; otherwise one image at a time."""


def parse_labels(text: str) -> tuple[str, ...]:
    """Return label names in the order of a model's outputs.

    Args:
        text: Names with commas between them, or `fer2013`, `ferplus` or `folders`. Other words for
            the same label (anger, happiness, ...) are understood.

    Raises:
        ConfigError: A name stands there twice, or there are fewer than two.
    """
    if text in _KNOWN_ORDERS:
        return _KNOWN_ORDERS[text]
    words = [word.strip() for word in text.split(",")]
    names = tuple(find_label(word) or word for word in words)
    if len(names) < 2 or len(set(names)) < len(names) or "" in names:
        known = ", ".join(_KNOWN_ORDERS)
        message = (
            f"--labels takes different names with commas between them, or {known}; not {text!r}"
        )
        raise ConfigError(message)
    return names


class ForeignRuntime:
    """A foreign ONNX classifier, ready to run.

    Args:
        path: The model file.
        labels: What its outputs mean, in their order.
        scaling: One of `SCALINGS`.

    Raises:
        ModelFileError: It does not load, takes no images, or has another number of outputs.
        DependencyMissingError: onnxruntime cannot be imported.
    """

    def __init__(self, path: Path, labels: tuple[str, ...], scaling: str) -> None:
        self._session = open_session(path, "cpu")
        self._scaling = scaling
        self._layout = _read_layout(path, self._session)
        self.labels = labels
        self.metadata: dict[str, Any] = {"labels": list(labels)}
        self._check_outputs(path)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities `[N, K]` for `[N, 48, 48]` uint8."""
        pixels = self._prepare(images)
        name = self._session.get_inputs()[0].name
        output = [self._session.get_outputs()[0].name]
        steps = [pixels] if self._layout.batched else np.split(pixels, len(pixels))
        answers = [run_session(self._session, output, {name: step}) for step in steps]
        return _to_probabilities(np.concatenate(answers).reshape(len(images), -1))

    def _prepare(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        from PIL import Image

        layout = self._layout
        size = (layout.width, layout.height)
        if images.shape[1:] != (layout.height, layout.width):
            resized = [
                Image.fromarray(image).resize(size, Image.Resampling.BILINEAR) for image in images
            ]
            images = np.stack([np.asarray(image) for image in resized])
        pixels = np.repeat(images[..., None].astype(np.float32), layout.channels, axis=3)
        if self._scaling == "0-1":
            pixels /= 255
        elif self._scaling == "-1-1":
            pixels = pixels / np.float32(127.5) - np.float32(1)
        elif self._scaling == "imagenet":
            mean, deviation = (
                np.array(values[: layout.channels], dtype=np.float32)
                for values in (_IMAGENET_MEAN, _IMAGENET_DEVIATION)
            )
            pixels = ((pixels / 255 - mean) / deviation).astype(np.float32)
        return np.ascontiguousarray(
            pixels.transpose(0, 3, 1, 2) if layout.channels_first else pixels
        )

    def _check_outputs(self, path: Path) -> None:
        """Try one image: a file's own word on its shapes is often missing."""
        answers = self.predict(np.zeros((1, 48, 48), dtype=np.uint8))
        if answers.shape[1] != len(self.labels):
            message = (
                f"{path} gives {answers.shape[1]} numbers an image, and --labels names "
                f"{len(self.labels)}: {', '.join(self.labels)}"
            )
            raise ModelFileError(message)


def count_parameters(path: Path) -> int | None:
    """Return how many numbers an ONNX file holds, or None where it cannot be told."""
    import onnx

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (OSError, ValueError, onnx.onnx_cpp2py_export.checker.ValidationError):
        return None
    return sum(int(math.prod(tensor.dims)) for tensor in graph.initializer)


def _read_layout(path: Path, session: Any) -> InputLayout:  # noqa: ANN401  # untyped library
    inputs = session.get_inputs()
    shape = inputs[0].shape
    message = f"{path} takes {inputs[0].type} {shape}; one float image [N, C, H, W] was expected"
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(shape) != 4:
        raise ModelFileError(message)
    batched = not isinstance(shape[0], int)
    for channels_first, (channels, height, width) in (
        (True, shape[1:]),
        (False, (shape[3], shape[1], shape[2])),
    ):
        sides = (height, width)
        if channels in {1, 3} and all(isinstance(side, int) and side > 3 for side in sides):
            return InputLayout(height, width, channels, channels_first, batched)
    raise ModelFileError(message, hint="export it with its height and width fixed")


def _to_probabilities(answers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows that sum to 1; logits go through a softmax, probabilities stay."""
    if (answers >= 0).all() and np.allclose(answers.sum(axis=1), 1, atol=1e-3):
        return answers
    powers = np.exp(answers - answers.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


class ReducedRuntime:
    """A model without some of its labels; their probability is shared out among the others.

    Args:
        runtime: The model, K labels.
        labels: Those to keep, each of them one of the model's.
    """

    def __init__(self, runtime: Runtime, labels: tuple[str, ...]) -> None:
        self._runtime = runtime
        self._columns = [runtime.labels.index(label) for label in labels]
        self.labels = labels
        self.metadata = runtime.metadata

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities `[N, K]` of the labels kept, for `[N, 48, 48]` uint8."""
        kept = self._runtime.predict(images)[:, self._columns]
        # Where nothing is left, no label is likelier than another.
        kept = np.maximum(kept, np.finfo(np.float32).tiny)
        reduced: NDArray[np.float32] = kept / kept.sum(axis=1, keepdims=True)
        return reduced
