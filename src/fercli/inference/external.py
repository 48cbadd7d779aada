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
from fercli.inference.onnx import RUN_S, open_session, run_session
from fercli.metadata import ModelMetadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "SCALINGS",
    "ExternalRuntime",
    "InputLayout",
    "count_parameters",
    "parse_labels",
]

SCALINGS: Final = ("0-255", "0-1", "-1-1", "imagenet")
"""How pixels may be scaled; `imagenet` means torchvision's mean and deviation."""
_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION: Final = (0.229, 0.224, 0.225)
"""Source: torchvision's documentation of its pretrained classifiers."""
_QUANTIZED: Final = 0.02
"""How far from 1 the probabilities of a softmax in eight bits may sum."""
_KNOWN_ORDERS: Final = {
    "fer2013": LABELS,
    "ferplus": ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"),
    "folders": tuple(sorted(LABELS)),
}
"""Orders that are often meant: FER2013's CSV, FER+ and the ONNX model zoo's, sorted folders."""


@dataclass(frozen=True)
class InputLayout:
    """How an external model takes its images."""

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    channels: int
    """1 for gray; 3 get the gray image three times."""
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
        message = f"--labels takes distinct names separated by commas, or {known}; not {text!r}"
        raise ConfigError(message)
    return names


class ExternalRuntime:
    """An external ONNX classifier, ready to run.

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
        self._path = path
        self._scaling = scaling
        self._layout = _read_layout(path, self._session)
        self.labels = labels
        self.metadata = ModelMetadata(labels=labels)
        self.device = "cpu"
        self._gives_probabilities = self._probe()

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities `[N, K]` for `[N, 48, 48]` uint8."""
        answers = self._run(images)
        # What comes of infinities and sums of zero, `predict_checked` refuses.
        with np.errstate(all="ignore"):
            if not self._gives_probabilities:
                answers = np.exp(answers - answers.max(axis=1, keepdims=True))
            probabilities: NDArray[np.float32] = answers / answers.sum(axis=1, keepdims=True)
        return probabilities

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the model gives, `[N, K]`."""
        pixels = self._prepare(images)
        name = self._session.get_inputs()[0].name
        output = [self._session.get_outputs()[0].name]
        steps = [pixels] if self._layout.batched else np.split(pixels, len(pixels))
        answers: list[NDArray[np.float32]] = []
        for step in steps:
            answer = run_session(self._session, output, {name: step}, limit_s=RUN_S)
            self._check(answer, len(step))
            answers.append(answer.reshape(len(step), -1).astype(np.float32, copy=False))
        return np.concatenate(answers)

    def _check(self, answer: object, n_images: int) -> None:
        """Refuse what is no list of numbers for each image."""
        if not isinstance(answer, np.ndarray) or answer.dtype.kind != "f":
            kind = getattr(answer, "dtype", type(answer).__name__)
            message = f"{self._path} returns {kind}, but probabilities or logits must be floats"
            raise ModelFileError(message)
        if answer.ndim < 2 or len(answer) != n_images or answer.size != n_images * len(self.labels):
            message = (
                f"{self._path} returns an output of shape {list(answer.shape)} for {n_images} "
                f"images, but --labels names {len(self.labels)}: {', '.join(self.labels)}"
            )
            raise ModelFileError(message)

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

    def _probe(self) -> bool:
        """Try some noise: a file's own word on its shapes is often missing.

        Returns:
            Whether the answers are probabilities already, those of a quantized softmax included.
        """
        noise = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
        answers = self._run(noise)
        off = np.abs(answers.sum(axis=1) - 1)
        return bool((answers >= 0).all() and (off < _QUANTIZED).all())


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
    taken = ", ".join(f"{value.type} {value.shape}" for value in inputs) or "nothing"
    message = f"{path} takes {taken}; one float image [N, C, H, W] was expected"
    shape = inputs[0].shape if inputs else []
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(shape) != 4:
        raise ModelFileError(message)
    if isinstance(shape[0], int) and shape[0] != 1:
        message = f"{path} takes {shape[0]} images at a time, no fewer"
        raise ModelFileError(message, hint="export it for one image, or for any number")
    batched = not isinstance(shape[0], int)
    for channels_first, (channels, height, width) in (
        (True, shape[1:]),
        (False, (shape[3], shape[1], shape[2])),
    ):
        sides = (height, width)
        if channels in {1, 3} and all(isinstance(side, int) and side > 3 for side in sides):
            return InputLayout(height, width, channels, channels_first, batched)
    raise ModelFileError(message, hint="export it with its height and width fixed")
