"""Batches of images to Arrow tables, in the processes of any engine: Daft, Ray, Dask, Spark.

An engine moves a function to its workers and calls it with a batch at a time. What moves is what
was asked for, not what runs it: a session of onnxruntime can be neither pickled nor forked. It is
opened at the first batch, once in each process, however many copies of the predictor arrive there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from fercli.config import PredictConfig
from fercli.config.limits import MAX_PIXELS
from fercli.errors import ImageDecodeError, ImageRefusedError
from fercli.images import FaceFinder
from fercli.model import Model
from fercli.model.arguments import decode_picture
from fercli.model_files import FOR_PHOTOS, choose_bundled, find_model
from fercli.prediction.answers import predict_loaded
from fercli.prediction.loading import LoadedImage, load_faces, search_image
from fercli.prediction.members import Member
from fercli.prediction.weights import provide_weights
from fercli.prediction.writers import RowLayout, build_schema, import_pyarrow

if TYPE_CHECKING:
    from os import PathLike

    import pyarrow  # noqa: ICN001  # as `import_pyarrow` has it

__all__ = ["BatchPredictor"]

_OPENED: Final[dict[tuple[Any, ...], _Opened]] = {}
"""What was opened, by process and by what was asked for."""


@dataclass(frozen=True)
class _Opened:
    model: Model
    finder: FaceFinder


class BatchPredictor:
    """Predicts batches of images; small, picklable, and usable in the workers of any engine.

    Called with a batch, it returns an Arrow table. A missing model is an error at once; the model
    is opened when the first batch comes, once in each process.

    >>> import fercli
    >>> from pathlib import Path
    >>> predictor = fercli.BatchPredictor("model.onnx", faces="whole")
    >>> table = predictor([Path("face.png").read_bytes(), b"no image"], ["face.png", "other"])
    >>> table["path"].to_pylist(), table["status"].to_pylist()
    (['face.png', 'other'], ['ok', 'unreadable'])

    Args:
        model: As `load`; workers on other machines need the file under the same path.
        device: As `load`.
        labels_of: As `load`.
        faces: As `Model.predict`. `auto` finds with what a worker has; where they are not alike,
            say which, and `whole` for face crops.
        min_confidence: As `Model.predict`.
        min_face_px: As `Model.predict_files`.
        max_pixels: As `Model.predict_files`.
        batch_size: Faces per call of the model.
        color: Order of the channels of arrays, as `Model.predict`.
        n_threads: Of a call of an ONNX model on the CPU; engines start a process per core.

    Raises:
        ModelNotFoundError: There is no such model.
        ConfigError: An option is none of what it may be.
    """

    def __init__(  # noqa: PLR0913  # the options of a prediction
        self,
        model: str | PathLike[str] | None = None,
        *,
        device: str = "auto",
        labels_of: Literal["fer2013"] | None = None,
        faces: Literal["auto", "whole", "haar", "yunet"] = "auto",
        min_confidence: float = 0.0,
        min_face_px: int = 0,
        max_pixels: int | None = None,
        batch_size: int = 64,
        color: Literal["rgb", "bgr"] = "rgb",
        n_threads: int = 1,
    ) -> None:
        self._config = PredictConfig(
            faces=faces, min_confidence=min_confidence, min_face_px=min_face_px,
            batch_size=batch_size, max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
        )  # fmt: skip
        name = choose_bundled(for_photos=True) or FOR_PHOTOS if model is None else str(model)
        self._on_cpu = device in {"auto", "cpu"}
        found = find_model(name, prefer_onnx=self._on_cpu)
        # A bundled model lies elsewhere on every machine; a worker has another working folder.
        self._model = found.bundled or str(found.path.resolve())
        self._device = device
        self._labels_of = labels_of
        self._color = color
        self._n_threads = n_threads

    def __repr__(self) -> str:
        return f"<fercli batch predictor {self._model} on {self._device}>"

    def __call__(
        self,
        images: Iterable[object],
        paths: Iterable[str | None] | None = None,
    ) -> pyarrow.Table:
        """Return a table with a row per face, and one for each image without a face.

        An image that cannot be used is a row with its status and reason, `None` too.

        Args:
            images: Of files the bytes; arrays uint8 `[H, W]`, or `[H, W, 3]` in color; an array
                `[N, H, W]`; or a column of Arrow or Daft.
            paths: What to call each image; its number in the batch where it has no name.

        Returns:
            The columns of the Parquet of `fer predict`, after `image`, int32: the number of the
            image in the batch, from 0.

        Raises:
            TypeError: A single image was given.
            ValueError: There are not as many names as images.
            ModelFileError: The model is damaged.
            DependencyMissingError: pyarrow or OpenCV cannot be imported.
        """
        if isinstance(images, bytes | bytearray | str):
            message = "a batch must be a list of images, not one image"
            raise TypeError(message)
        opened = self._open()
        given = _list(images)
        names = _name_images(len(given), paths)
        loaded = [self._load(one, opened.finder) for one in given]
        layout = self._layout(opened)
        config = self._config
        predictions = predict_loaded(opened.model.open(), loaded, config, layout.model)
        rows = [
            {"image": index, **layout.flatten(replace(row, path=name))}
            for index, (name, prediction) in enumerate(zip(names, predictions, strict=True))
            for row in prediction.rows
        ]
        table: pyarrow.Table = import_pyarrow().Table.from_pylist(rows, schema=self.schema)
        return table

    @property
    def labels(self) -> tuple[str, ...]:
        """The K labels of the model, which is opened for it."""
        return self._open().model.labels

    @property
    def schema(self) -> pyarrow.Schema:
        """The `pyarrow.Schema` of the tables; the model is opened for it."""
        arrow = import_pyarrow()
        rows: pyarrow.Schema = build_schema(self._layout(self._open()))
        return rows.insert(0, arrow.field("image", arrow.int32()))

    def _layout(self, opened: _Opened) -> RowLayout:
        return RowLayout(opened.model.labels, model=opened.model.file.title)

    def _open(self) -> _Opened:
        # Nothing of a parent's is used in a forked child, where its threads are not.
        key = (os.getpid(), self._model, self._device, self._labels_of, self._config.faces,
               self._n_threads)  # fmt: skip
        with contextlib.suppress(KeyError):
            return _OPENED[key]
        file = find_model(self._model, prefer_onnx=self._on_cpu)
        model = Model(
            file, device=self._device, labels_of=self._labels_of, n_threads=self._n_threads
        )
        faces = self._config.faces
        finder = FaceFinder(faces, provide_weights(faces, None, note=lambda _sentence: None))
        # Threads may come here together: the first one's model is everybody's.
        return _OPENED.setdefault(key, _Opened(model, finder))

    def _load(self, image: object, finder: FaceFinder) -> LoadedImage:
        """Return the faces of an image, or why there are none."""
        nameless = Path()
        if image is None:
            return LoadedImage(nameless, reason="there is no image")
        if isinstance(image, bytes | bytearray | memoryview):
            loaded = load_faces(Member(nameless, bytes(image)), finder, self._config)
            return replace(loaded, content=None)
        if not isinstance(image, np.ndarray):
            return LoadedImage(
                nameless, reason=f"neither bytes nor an array: {type(image).__name__}"
            )
        try:
            decoded = decode_picture(image, finder, order=self._color)
        except (ImageDecodeError, TypeError) as reason:
            refused = isinstance(reason, ImageRefusedError)
            return LoadedImage(nameless, reason=str(reason), refused=refused)
        return search_image(nameless, decoded, finder, self._config)


def _name_images(count: int, paths: Iterable[str | None] | None) -> list[str]:
    """Return what rows call images: their names, where they have some, else their numbers."""
    numbers = list(map(str, range(count)))
    named = numbers if paths is None else _list(paths)
    return [
        number if name is None else str(name) for number, name in zip(numbers, named, strict=True)
    ]


def _list(values: Any) -> list[Any]:  # noqa: ANN401  # whatever an engine has
    """Return the values of a batch, Arrow's and Daft's as Python has them."""
    return list(values.to_pylist() if hasattr(values, "to_pylist") else values)
