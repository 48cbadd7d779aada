"""`Model`: one file and what runs it, and `load`, which finds and opens it.

With an ONNX model, a run that holds one, or a bundled model, predicting does not import torch. A
model may be used from several threads; it can be pickled, and a forked or spawned process opens its
file anew.

Shape legend: N images of H x W pixels, F faces, K labels.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from fercli.config import PredictConfig
from fercli.dependencies import check_installed
from fercli.errors import ConfigError, DatasetNotFoundError, ImageDecodeError
from fercli.images import FaceFinder, LiveFeed, cut_faces, parse_live_source
from fercli.inference.runtime import LABEL_SETS, choose_labels, predict_in_batches
from fercli.model.arguments import (
    check_choice,
    decode_picture,
    list_pictures,
    name_picture,
    to_dataset,
)
from fercli.model.forks import FORK, calm_torch_after_fork, keep_for_ever
from fercli.model.predictions import (
    FacePrediction,
    LiveStream,
    Predictions,
    RowStream,
    ShardWork,
)
from fercli.model_files import (
    FOR_PHOTOS,
    ModelFile,
    choose_bundled,
    describe_model,
    find_model,
    find_weights_file,
    open_runtime,
)
from fercli.prediction import find_images, predict_files, predict_live
from fercli.prediction.answers import describe_faces
from fercli.prediction.members import open_archives
from fercli.prediction.parts import Origin, PartRows
from fercli.prediction.shards import Shard, ShardInputs
from fercli.prediction.weights import provide_weights
from fercli.prediction.writers import RowLayout
from fercli.ray_engine import RayJob, predict_on_ray
from fercli.results.html import format_html
from fercli.storage import check_output

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

    from fercli.evaluation import Evaluation, Explanation
    from fercli.inference import Runtime
    from fercli.metadata import ModelInfo
    from fercli.model.arguments import Color, Faces, Picture, Source
    from fercli.prediction import FilePrediction
    from fercli.prediction.stores import StoredObject
    from fercli.results import ExportResult

__all__ = ["Model", "load"]

_FACES_AT_ONCE: Final = 64
_LOG: Final = logging.getLogger(__name__)


def load(
    model: str | PathLike[str] | Model | None = None,
    *,
    device: str = "auto",
    labels_of: Literal["fer2013"] | None = None,
) -> Model:
    """Return a model ready to use.

    >>> import fercli
    >>> model = fercli.load("model.onnx")
    >>> model.labels
    ('angry', 'disgust', 'fear', 'happy', 'sad', 'surprise', 'neutral')

    Args:
        model: A run (or its folder), a `.safetensors`, an `.onnx`, the name of a bundled model, or
            `hf:OWNER/NAME[@REVISION]` of the Hugging Face hub, which is downloaded; None stands for
            `plus`, which reads photos. Nothing is guessed from the working folder.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        labels_of: `fer2013` keeps a model that has more labels, FER+'s eight, to FER2013's seven:
            contempt leaves its probability to them in proportion.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelFileError: It is damaged, or not a model of fercli's.
        DeviceUnavailableError: It cannot run there.
        ValueError: `labels_of` is none of what it may be.
    """
    if labels_of is not None:
        check_choice("labels_of", labels_of, tuple(LABEL_SETS))
    if isinstance(model, Model):
        if device == "auto" and labels_of is None:
            return model
        again = model.reopen(device=device, labels_of=labels_of)
        again.open()
        return again
    name = choose_bundled(for_photos=True) or FOR_PHOTOS if model is None else os.fspath(model)
    file = find_model(name, prefer_onnx=device in {"auto", "cpu"})
    loaded = Model(file, device=device, labels_of=labels_of)
    # What is wrong with it is said now, not at the first prediction.
    loaded.open()
    return loaded


class Model:
    """A trained model, ready to run; `load` returns one.

    Args:
        file: What `find_model` found.
        device: Where it runs.
        labels_of: As `load`.
        n_threads: Of a call of an ONNX model on the CPU; 0 for one per core.
    """

    def __init__(
        self,
        file: ModelFile,
        *,
        device: str = "auto",
        labels_of: str | None = None,
        n_threads: int = 0,
    ) -> None:
        self.file = file
        self._wanted_device = device
        self._labels_of = labels_of
        self._n_threads = n_threads
        self._lock = threading.Lock()
        self._opened: tuple[int, Runtime] | None = None

    def __repr__(self) -> str:
        return f"<fercli model {self.name} on {self.device}: {', '.join(self.labels)}>"

    def _repr_html_(self) -> str:
        info = self.info
        pairs = {
            "network": info.network, "parameters": info.parameters, "input": info.input,
            "labels": ", ".join(self.labels),
        }  # fmt: skip
        return format_html(f"fercli model {self.name}", pairs)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs: where the file is, not what runs it."""
        return {
            "file": self.file.resolve(),
            "device": self._wanted_device,
            "labels_of": self._labels_of,
            "n_threads": self._n_threads,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over where the file is; it is opened when it is needed."""
        self.__init__(**state)  # type: ignore[misc]  # as it was made

    def open(self) -> Runtime:
        """Return what runs the model, opened once in each process.

        Threads and locks of a runtime do not survive a fork, so that a child opens the file anew.

        Raises:
            ModelFileError: It is damaged, gone, or not a model of fercli's.
            DeviceUnavailableError: It cannot run there.
        """
        if self._opened is None or self._opened[0] != os.getpid():
            with _renewed_after_fork(self):
                if self._opened is None or self._opened[0] != os.getpid():
                    if self._opened is not None:
                        keep_for_ever(self._opened[1])
                    if FORK.has_torch and not self.file.is_onnx:
                        calm_torch_after_fork()
                    runtime = self._open_file(self._n_threads)
                    self._opened = (os.getpid(), runtime)
        return self._opened[1]

    def _open_file(self, n_threads: int) -> Runtime:
        runtime = open_runtime(self.file, device=self._wanted_device, n_threads=n_threads)
        return choose_labels(runtime, self._labels_of)

    @property
    def name(self) -> str:
        """What to call it: a bundled model's name, the folder of its run, or its path."""
        return self.file.bundled or str(self.file.run or self.file.path)

    @property
    def path(self) -> Path:
        """Its file."""
        return self.file.path

    @property
    def labels(self) -> tuple[str, ...]:
        """The K labels, in the order of the probabilities."""
        return self.open().labels

    @property
    def metadata(self) -> dict[str, Any]:
        """What is stored with the model: network, recipe, training data's digest, scores."""
        return self.open().metadata.to_json()

    def reopen(self, *, device: str = "auto", labels_of: str | None = None) -> Model:
        """Return the same model for another device, or with FER2013's labels alone.

        Args:
            device: As `load`; `auto` stands for this one's.
            labels_of: As `load`; None stands for this one's.
        """
        return Model(
            self.file,
            device=self._wanted_device if device == "auto" else device,
            labels_of=labels_of or self._labels_of,
            n_threads=self._n_threads,
        )

    @property
    def info(self) -> ModelInfo:
        """What `fer info MODEL` says of it: kind, labels, network, parameters, input, training."""
        return describe_model(self.file)

    @property
    def device(self) -> str:
        """Where it runs."""
        return self.open().device

    def predict(
        self,
        images: Picture | Iterable[Picture],
        *,
        faces: Faces = "auto",
        min_confidence: float = 0.0,
        detector_weights: str | PathLike[str] | None = None,
        color: Color = "rgb",
        errors: Literal["raise", "skip"] = "raise",
    ) -> Predictions:
        """Return a prediction for every face in the images, in their order, largest face first.

        An image without a face has no entry; with `faces="whole"` each image has exactly one.

        >>> import fercli
        >>> import numpy as np
        >>> model = fercli.load("model.onnx")
        >>> [face] = model.predict("face.png")
        >>> face.label in model.labels, face.detector
        (True, 'whole')
        >>> len(model.predict(np.zeros((9, 48, 48), dtype=np.uint8)))
        9

        Args:
            images: One image or several: a path; a Pillow image; the bytes of a file, or a file
                opened for reading bytes; uint8 `[H, W]` or `[H, W, 1]` in gray, `[H, W, 3]` in
                color, `[H, W, 4]` with opacity; or many of a size, `[N, H, W]` or `[N, H, W, 3]`.
                They are taken one after the other, so a generator of millions is fine.
            faces: `auto`, `whole`, `haar` or `yunet`, as `fer predict --faces`.
            min_confidence: Below it the label is `uncertain`, in [0, 1].
            detector_weights: Of `yunet`.
            color: Order of the channels of arrays: `rgb`, or `bgr` as OpenCV reads images.
            errors: `raise` ends at the first image that cannot be used; `skip` goes on, and
                `skipped` of the result holds the reasons.

        Raises:
            ImageNotFoundError: There is no such file; it is a `FileNotFoundError`, too.
            ImageDecodeError: A file is not an image that is accepted.
            ConfigError: `faces` or `min_confidence` is none of what it may be.
            TypeError: Something is no image, or its numbers are not uint8.
            ValueError: `color` or `errors` is none of what it may be.
            DependencyMissingError: OpenCV is needed and cannot be imported.
            ModelFileError: The weights cannot be used.
        """
        check_choice("color", color, ("rgb", "bgr"))
        check_choice("errors", errors, ("raise", "skip"))
        weights = None if detector_weights is None else Path(detector_weights)
        config = PredictConfig(faces=faces, min_confidence=min_confidence, detector_weights=weights)
        finder = FaceFinder(faces, provide_weights(faces, weights, note=_LOG.info))
        found = Predictions()
        waiting: list[tuple[NDArray[np.uint8], int, tuple[int, int, int, int], str]] = []
        for index, picture in enumerate(list_pictures(images)):
            try:
                image = decode_picture(picture, finder, order=color)
                detector, boxes = finder.find(image)
                crops = cut_faces(image, boxes, detector)
            except (ImageDecodeError, TypeError) as reason:
                message = f"{name_picture(index, picture)}: {reason}"
                if errors == "raise":
                    raise type(reason)(message) from reason
                found.skipped[index] = message
                continue
            for box, crop in zip(boxes, crops, strict=True):
                place = (box.x, box.y, box.width, box.height)
                waiting.append((crop, index, place, detector))
            if len(waiting) >= _FACES_AT_ONCE:
                found.extend(self._describe(waiting, config))
                waiting = []
        found.extend(self._describe(waiting, config))
        return found

    def predict_files(  # noqa: PLR0913  # the options of the command
        self,
        paths: str | PathLike[str] | Iterable[str | PathLike[str]],
        *,
        faces: Faces = "auto",
        min_confidence: float = 0.0,
        detector_weights: str | PathLike[str] | None = None,
        batch_size: int = 64,
        max_pixels: int | None = None,
        min_face_px: int = 0,
        every_s: float = 0.2,
        start_s: float = 0.0,
        end_s: float | None = None,
        smooth_s: float = 0.0,
        image_column: str | None = None,
        shard: tuple[int, int] | None = None,
        engine: Literal["local", "ray"] = "local",
        address: str | None = None,
    ) -> RowStream:
        """Return a stream of rows, one per face or per image without one, as `fer predict` gives.

        Files are read ahead in threads; a file that cannot be used is a row with its reason. Of a
        video each sampled frame gives rows, with its number, its time and the tracks of its faces.

        >>> import fercli
        >>> for row in fercli.load("model.onnx").predict_files("face.png"):
        ...     print(row.status, row.detector)
        ok whole

        Args:
            paths: Files, folders (searched through for images and videos, and sorted), archives
                of images (zip, tar), Parquet files with a column of them, patterns, or addresses
                of object stores (`s3://`, `gs://`, `az://`).
            faces: As `predict`.
            min_confidence: As `predict`.
            detector_weights: As `predict`.
            batch_size: Faces per call of the model.
            max_pixels: Largest image that is decoded, width times height; None for the default.
            min_face_px: Faces whose box has a shorter side below it are left out.
            every_s: Seconds between the frames of a video that are looked at; 0 for all of them.
            start_s: Where to begin in a video, in seconds.
            end_s: Where to end; None for its end.
            smooth_s: Time constant in seconds by which each track's probabilities are averaged,
                in columns of their own; 0 for none.
            image_column: Of Parquet files, the column that holds the images; None for the only
                one that holds bytes.
            shard: `(k, n)` for the k-th of n shards, from 0: of the inputs those alone whose path
                falls to it by a hash, see [on many machines](../how-to/cluster.md).
            engine: `ray` predicts by the actors of a Ray cluster: the same rows in the same order.
                A connection of the program's own is used where there is one.
            address: Of the cluster, `HOST:PORT` or `auto`; None for what `RAY_ADDRESS` says, else
                one of this machine's processors for as long as rows are taken.

        Raises:
            InputNotFoundError: A path is missing, or nothing was found.
            ConfigError: An option is none of what it may be.
            CredentialsError: A store does not know who asks.
            ModelFileError: The model, or the weights of the detector, cannot be used.
            ValueError: There is no such engine.
            DependencyMissingError: There is no Ray.
            SetupError: No cluster answers, at the first row.
        """
        check_choice("engine", engine, ("local", "ray"))
        if engine == "ray":
            check_installed("ray")
        given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        weights = None if detector_weights is None else Path(detector_weights)
        limit: dict[str, Any] = {} if max_pixels is None else {"max_pixels": max_pixels}
        config = PredictConfig(
            faces=faces, detector_weights=provide_weights(faces, weights, note=_LOG.info),
            batch_size=batch_size,
            min_confidence=min_confidence, every_s=every_s, start_s=start_s, end_s=end_s,
            smooth_s=smooth_s, min_face_px=min_face_px, image_column=image_column, **limit,
        )  # fmt: skip
        inputs = None if shard is None else ShardInputs(Shard(*shard))

        def list_files() -> Iterator[Path | StoredObject]:
            return find_images([os.fspath(path) for path in given])

        files = list_files()
        title = self.file.title
        predictions: Iterator[FilePrediction]
        job = None
        if engine == "ray":
            # What it says of the labels; only actors compute with it.
            runtime = choose_labels(open_runtime(self.file, device="cpu"), self._labels_of)
            job = RayJob.describe(
                self.file, runtime, config, device=self._wanted_device, weights=weights,
                labels_of=self._labels_of,
            )  # fmt: skip
            spread = files if inputs is None else inputs.select(files, column=image_column)
            predictions = predict_on_ray(job, spread, address)
        else:
            on_cpu = self.file.is_onnx and self._wanted_device in {"auto", "cpu"}
            # Called in the threads that read, each call on one core.
            runtime = self._open_file(n_threads=1) if on_cpu else self.open()
            sources = (
                open_archives(files, column=image_column)
                if inputs is None
                else inputs.select(files, column=image_column)
            )
            predictions = predict_files(runtime, sources, config, parallel=on_cpu, title=title)
        rows = (row for prediction in predictions for row in prediction.rows)
        layout = RowLayout(runtime.labels, smooth=bool(config.smooth_s), model=title)
        if inputs is None:
            return RowStream(rows, layout)
        origin = job.origin if job else Origin.describe(
            title, self.file.compute_digest(), runtime, config,
            labels_of=self._labels_of, excel=False, ext=[],
        )  # fmt: skip
        return RowStream(
            rows, layout, ShardWork(PartRows(layout, origin, inputs), predictions, list_files)
        )

    def watch(  # noqa: PLR0913  # the options of the command
        self,
        source: int | str,
        *,
        faces: Faces = "auto",
        min_confidence: float = 0.0,
        detector_weights: str | PathLike[str] | None = None,
        max_pixels: int | None = None,
        every_s: float = 0.2,
        end_s: float | None = None,
        smooth_s: float = 0.0,
    ) -> LiveStream:
        """Return a stream of frames of a camera or an address, each with its faces.

        Every frame is the newest there is when the one before is done with: frames that came
        meanwhile are passed over, and the due ones among them counted in `n_dropped`. A source
        that is lost is opened again, five times at most within half a minute.

        Args:
            source: The number of a camera, or an `rtsp`, `rtsps`, `http` or `https` address.
            faces: As `predict`.
            min_confidence: As `predict`.
            detector_weights: As `predict`.
            max_pixels: Largest frame, width times height; None for the default.
            every_s: Seconds between the frames that are looked at; 0 for all there is time for.
            end_s: When to end, in seconds after the first frame; None for never.
            smooth_s: As `predict_files`.

        Raises:
            InputNotFoundError: It cannot be opened.
            DataError: The address is one of a picture, or the frames are too large.
            ConfigError: It is no source, or an option is none of what it may be.
            DependencyMissingError: OpenCV cannot be imported.
            ModelFileError: The model, or the weights of the detector, cannot be used.
        """
        weights = None if detector_weights is None else Path(detector_weights)
        limit: dict[str, Any] = {} if max_pixels is None else {"max_pixels": max_pixels}
        config = PredictConfig(
            faces=faces, detector_weights=provide_weights(faces, weights, note=_LOG.info),
            min_confidence=min_confidence, every_s=every_s, end_s=end_s, smooth_s=smooth_s, **limit,
        )  # fmt: skip
        runtime = self.open()
        feed = LiveFeed(
            parse_live_source(source), every_s=every_s, end_s=end_s, max_pixels=config.max_pixels
        )
        predictions = predict_live(
            runtime, feed, config, on_note=_LOG.warning, model=self.file.title
        )
        return LiveStream(predictions, feed)

    def predict_crops(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities `[F, K]` of face crops as the network sees them.

        >>> import fercli
        >>> import numpy as np
        >>> fercli.load("model.onnx").predict_crops(np.zeros((3, 48, 48), dtype=np.uint8)).shape
        (3, 7)

        Args:
            crops: `[F, 48, 48]` uint8, gray, 0-255.

        Raises:
            TypeError: The shape or the type is another.
        """
        crops = np.asarray(crops)
        if crops.dtype != np.uint8 or crops.ndim != 3 or crops.shape[1:] != (48, 48):
            message = f"face crops must be uint8 [F, 48, 48], not {crops.dtype} {list(crops.shape)}"
            raise TypeError(message)
        if not len(crops):
            return np.empty((0, len(self.labels)), dtype=np.float32)
        return predict_in_batches(self.open(), crops)

    def evaluate(
        self, data: Source = None, *, split: str | None = None, tta: bool = False
    ) -> Evaluation:
        """Return the model's scores on a split; a run also gets a line in its `scores.jsonl`.

        Args:
            data: A dataset, or the name of one as `load_dataset` takes it. None for what the
                model's run learned from, where it is still there, else for the prepared default.
            split: What to score on; None for private, else test, else public, else validation.
            tta: Also score the mean of image and mirror image; the plain scores stay as they are.

        Raises:
            DatasetNotFoundError: There is no such dataset or split.
            ModelFileError: The model's labels are not the dataset's, or are another task's.
            DependencyMissingError: scikit-learn or scipy is not installed.
        """
        check_installed("sklearn", "scipy")
        from fercli.evaluation import choose_split, evaluate, find_own_data, record_scores
        from fercli.runs import RunFolder

        dataset = to_dataset(find_own_data([self.file]) if data is None else data)
        evaluation = evaluate(
            self.open(), self.file, dataset, choose_split(dataset, split), tta=tta
        )
        if self.file.run is not None:
            try:
                record_scores(RunFolder(self.file.run), evaluation.result)
            except OSError as reason:
                # A run that cannot be written to is scored all the same.
                _LOG.warning("scores.jsonl was not written: %s", reason.strerror or reason)
            except ConfigError as reason:
                _LOG.warning("scores.jsonl was not written: %s", reason.message)
        return evaluation

    def explain(
        self,
        image: Picture,
        labels: Sequence[str] = (),
        *,
        faces: Faces = "auto",
        color: Color = "rgb",
    ) -> Explanation:
        """Return which parts of an image's largest face the prediction depends on.

        A run or a `.safetensors` also gives LayerCAM, which needs torch; an ONNX file has no
        gradients and gives occlusion maps alone.

        Args:
            image: As one image of `predict`.
            labels: Other labels to ask about, each one of the model's.
            faces: As `predict`.
            color: As `predict`.

        Raises:
            ImageDecodeError: It is not an image that is accepted, or no face is found in it.
            ValueError: A label is none of the model's.
        """
        from fercli.evaluation import explain

        for label in labels:
            check_choice("label", label, self.labels)
        finder = FaceFinder(faces, provide_weights(faces, None, note=_LOG.info))
        decoded = decode_picture(image, finder, order=color)
        detector, boxes = finder.find(decoded)
        if not boxes:
            message = f"{detector} finds no face"
            raise ImageDecodeError(message, hint='faces="whole" takes the image as one face')
        [face] = cut_faces(decoded, boxes[:1], detector)
        return explain(self._with_gradients.open(), face, tuple(labels))

    def export(
        self,
        output: str | PathLike[str],
        *,
        check_on: Source = None,
        fp16: bool = False,
        int8: bool = False,
        overwrite: bool = False,
    ) -> ExportResult:
        """Write the model as one ONNX file that takes raw pixels, and check its predictions.

        Args:
            output: An `.onnx`.
            check_on: A dataset, or the name of one, whose images both sides are compared on; None
                for the prepared default, else 256 synthetic faces. `int8` calibrates on its train
                split and is judged on others.
            fp16: Store weights in half precision.
            int8: Compute in eight bits.
            overwrite: Replace a file that is there.

        Raises:
            OutputExistsError: The file is there, and `overwrite` is not set.
            VerificationError: The two differ; no file is left.
            ConfigError: `fp16` and `int8` together, or the model is in that form already.
            DatasetNotFoundError: There is no such dataset, or none for `int8`.
            ModelFileError: The model is damaged.
            DependencyMissingError: torch is not installed.
        """
        check_installed("torch")
        from fercli.export import export_any

        target = Path(output)
        check_output(target, force=overwrite)
        try:
            dataset = to_dataset(check_on)
        except DatasetNotFoundError:
            if check_on is not None or int8:
                raise
            dataset = None
        weights = find_weights_file(self.file)
        return export_any([weights], target, dataset, half=fp16, int8=int8)

    @functools.cached_property
    def _with_gradients(self) -> Model:
        """The trained weights, of which there are gradients, where this is a run's ONNX form."""
        weights = find_weights_file(self.file)
        if weights == self.file:
            return self
        return Model(weights, device=self._wanted_device, labels_of=self._labels_of)

    def _describe(
        self,
        waiting: list[tuple[NDArray[np.uint8], int, tuple[int, int, int, int], str]],
        config: PredictConfig,
    ) -> list[FacePrediction]:
        if not waiting:
            return []
        probabilities = self.predict_crops(np.stack([crop for crop, *_ in waiting]))
        described = describe_faces(probabilities, self.labels, config.min_confidence)
        return [
            FacePrediction(index, label, confidence, by_label, box, detector)
            for (_, index, box, detector), (label, confidence, by_label) in zip(
                waiting, described, strict=True
            )
        ]


@contextlib.contextmanager
def _renewed_after_fork(model: Model) -> Iterator[None]:
    """Hold a model's lock; one that a thread of the parent held at the fork is given up."""
    opened = model._opened  # noqa: SLF001  # same module
    if opened is not None and opened[0] != os.getpid():
        model._lock = threading.Lock()  # noqa: SLF001  # same module
    with model._lock:  # noqa: SLF001  # same module
        yield
