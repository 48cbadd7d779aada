"""Expressions of faces from Python: `load` a model, `predict` images.

What `fer predict` does with files, for programs: arrays, Pillow images and paths, one or many. With
an ONNX model, a run that holds one, or a bundled model, torch is not imported. A model object may
be used by one thread at a time.

Shape legend: N images of H x W pixels, F faces, K labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.config import PredictConfig
from fercli.detectors import choose_weights
from fercli.errors import ImageDecodeError
from fercli.images import DecodedImage, FaceFinder, convert_image, cut_face, load_image
from fercli.inference.predict import describe_faces
from fercli.inference.runtime import predict_in_batches
from fercli.models import find_model, open_runtime

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray
    from PIL.Image import Image

    from fercli.inference import Runtime

    Picture = str | PathLike[str] | NDArray[np.uint8] | Image

__all__ = ["FacePrediction", "Model", "load"]

_FACES_AT_ONCE: Final = 64
_CHANNELS: Final = frozenset({1, 3, 4})
"""Of one image: grey, colors, colors and opacity. As the last of three sizes they mean channels."""


@dataclass(frozen=True)
class FacePrediction:
    """What a model says of one face."""

    image: int
    """Which of the images it was found in, from 0."""
    label: str
    """The most probable label, or `uncertain`."""
    confidence: float
    """Its probability."""
    probabilities: dict[str, float]
    """Probability of each label."""
    box: tuple[int, int, int, int]
    """x, y, width, height in pixels of the upright image."""
    detector: str
    """How it was found; `whole` takes the image as one face."""


def load(model: str | PathLike[str] | None = None, *, device: str = "auto") -> Model:
    """Return a model ready to predict.

    >>> from fercli import load
    >>> model = load("model.onnx")
    >>> model.labels
    ('angry', 'disgust', 'fear', 'happy', 'sad', 'surprise', 'neutral')

    Args:
        model: A run folder, a `.safetensors`, an `.onnx` or the name of a bundled model; None
            stands for the newest finished run under ./runs, else the bundled `base`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelFileError: It is damaged, or not a model of fercli's.
        DeviceUnavailableError: It cannot run there.
    """
    spec = None if model is None else str(model)
    found = find_model(spec, prefer_onnx=device in {"auto", "cpu"})
    return Model(open_runtime(found, device=device), found.title)


class Model:
    """A model ready to predict; `load` makes one.

    Args:
        runtime: What runs it.
        name: What to call it.
    """

    def __init__(self, runtime: Runtime, name: str) -> None:
        self._runtime = runtime
        self.name = name

    def __repr__(self) -> str:
        return f"<fercli model {self.name} on {self.device}: {', '.join(self.labels)}>"

    @property
    def labels(self) -> tuple[str, ...]:
        """The K labels, in the order of the probabilities."""
        return self._runtime.labels

    @property
    def metadata(self) -> dict[str, Any]:
        """What is stored with the model: network, recipe, training data's digest, scores."""
        return self._runtime.metadata

    @property
    def device(self) -> str:
        """Where it runs."""
        return self._runtime.device

    def predict(
        self,
        images: Picture | Iterable[Picture],
        *,
        faces: str = "auto",
        min_confidence: float = 0.0,
        detector_weights: Path | None = None,
    ) -> list[FacePrediction]:
        """Return what is said of every face in the images: in their order, largest face first.

        An image without a face has no entry; with `faces="whole"` each image has exactly one.

        >>> from fercli import load
        >>> import numpy as np
        >>> model = load("model.onnx")
        >>> [face] = model.predict("face.png")
        >>> face.label in model.labels, face.detector
        (True, 'whole')
        >>> len(model.predict(np.zeros((9, 48, 48), dtype=np.uint8)))
        9

        Args:
            images: One image or several: a path; a Pillow image; uint8 `[H, W]` or `[H, W, 1]` in
                grey, `[H, W, 3]` in red, green, blue, `[H, W, 4]` with opacity; or many of a size,
                `[N, H, W]` or `[N, H, W, 3]`.
                They are taken one after the other, so a generator of millions is fine.
            faces: `auto`, `whole`, `haar` or `yunet`, as `fer predict --faces`.
            min_confidence: Below it the label is `uncertain`, in [0, 1].
            detector_weights: Of `yunet`.

        Raises:
            ImageDecodeError: A file is not an image that is accepted.
            ConfigError: `faces` or `min_confidence` is none of what it may be.
            TypeError: Something is no image, or its numbers are not uint8.
            DependencyMissingError: OpenCV is needed and cannot be imported.
            ModelFileError: The weights cannot be used.
        """
        config = PredictConfig(
            faces=faces, min_confidence=min_confidence, detector_weights=detector_weights
        )
        finder = FaceFinder(faces, choose_weights(faces, detector_weights))
        found: list[FacePrediction] = []
        crops: list[NDArray[np.uint8]] = []
        waiting: list[tuple[int, tuple[int, int, int, int], str]] = []
        for index, picture in enumerate(_list_pictures(images)):
            try:
                image = _decode(picture, color=finder.needs_color)
                detector, boxes = finder.find(image)
            except ImageDecodeError as reason:
                message = f"{_name(index, picture)}: {reason.message}"
                raise type(reason)(message) from reason
            for box in boxes:
                crops.append(cut_face(image, box, detector))
                waiting.append((index, (box.x, box.y, box.width, box.height), detector))
            if len(crops) >= _FACES_AT_ONCE:
                found += self._describe(crops, waiting, config)
                crops, waiting = [], []
        return found + self._describe(crops, waiting, config)

    def predict_crops(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities `[F, K]` of face crops as the network sees them.

        >>> from fercli import load
        >>> import numpy as np
        >>> load("model.onnx").predict_crops(np.zeros((3, 48, 48), dtype=np.uint8)).shape
        (3, 7)

        Args:
            crops: `[F, 48, 48]` uint8, grey, 0-255.

        Raises:
            TypeError: The shape or the type is another.
        """
        if crops.dtype != np.uint8 or crops.ndim != 3 or crops.shape[1:] != (48, 48):
            message = f"face crops are uint8 [F, 48, 48], not {crops.dtype} {list(crops.shape)}"
            raise TypeError(message)
        if not len(crops):
            return np.empty((0, len(self.labels)), dtype=np.float32)
        return predict_in_batches(self._runtime, crops)

    def _describe(
        self,
        crops: list[NDArray[np.uint8]],
        waiting: list[tuple[int, tuple[int, int, int, int], str]],
        config: PredictConfig,
    ) -> list[FacePrediction]:
        if not crops:
            return []
        probabilities = self.predict_crops(np.stack(crops))
        described = describe_faces(probabilities, self.labels, config.min_confidence)
        return [
            FacePrediction(index, label, confidence, by_label, box, detector)
            for (index, box, detector), (label, confidence, by_label) in zip(
                waiting, described, strict=True
            )
        ]


def _list_pictures(images: Picture | Iterable[Picture]) -> Iterator[Picture]:
    """Yield images, whether one was given or many."""
    if isinstance(images, np.ndarray):
        is_one = images.ndim == 2 or (images.ndim == 3 and images.shape[2] in _CHANNELS)
        yield from [images] if is_one else images
    elif isinstance(images, str | Path) or hasattr(images, "__fspath__") or _is_pillow(images):
        yield images  # type: ignore[misc]  # one picture, as was just asked
    else:
        yield from images  # type: ignore[misc]  # not one, so many


def _name(index: int, picture: Picture) -> str:
    """Return what to call an image that cannot be used."""
    is_path = isinstance(picture, str) or hasattr(picture, "__fspath__")
    return f"image {index}, {picture}" if is_path else f"image {index}"


def _decode(picture: Picture, *, color: bool) -> DecodedImage:
    if isinstance(picture, np.ndarray):
        return _take_array(picture, color=color)
    if _is_pillow(picture):
        return convert_image(picture, color=color)  # type: ignore[arg-type]  # as was just asked
    if isinstance(picture, str) or hasattr(picture, "__fspath__"):
        return load_image(Path(picture), color=color)
    message = f"no path, array or Pillow image: {type(picture).__name__}"
    raise TypeError(message)


def _take_array(array: NDArray[np.uint8], *, color: bool) -> DecodedImage:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    is_gray = array.ndim == 2
    if array.dtype != np.uint8 or not (is_gray or (array.ndim == 3 and array.shape[2] in {3, 4})):
        message = (
            f"an image is uint8 [H, W] or [H, W, 3], 0-255, not {array.dtype} {list(array.shape)}"
        )
        raise TypeError(message)
    if 0 in array.shape:
        message = f"an image without pixels: {list(array.shape)}"
        raise TypeError(message)
    if not is_gray:
        from PIL import Image

        return convert_image(Image.fromarray(array), color=color)
    return DecodedImage(array, 1, np.stack([array] * 3, axis=2) if color else None)


def _is_pillow(value: object) -> bool:
    """Tell whether a value is Pillow's, which need not be imported to know."""
    return any(kind.__module__ == "PIL.Image" for kind in type(value).__mro__)
