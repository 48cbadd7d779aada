"""Model files: find the one that is meant, open it, write a new one.

A run folder, a `.safetensors`, an `.onnx` and the name of a bundled model all become a `Runtime`,
so that nothing later asks what kind of file it was. torch is imported only where a `.safetensors`
is opened. A model file is written once and never modified.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fercli.dependencies import name_distribution
from fercli.errors import ConfigError, ModelFileError, ModelNotFoundError
from fercli.fields import JsonObject, parse_json
from fercli.metadata import MemberRecord, ModelInfo, ModelMetadata, NetworkRecord, TeacherRecord
from fercli.paths import describe_start, suggest_path
from fercli.ranges import find_alike
from fercli.runs import RUNS, TRAIN_DIGESTS, RunFolder, find_newest_run, read_run_record
from fercli.storage import digest_file, load_tensors, read_tensor_header, save_tensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fercli.config import NetworkConfig
    from fercli.inference import Runtime
    from fercli.inference.onnx import OnnxRuntime
    from fercli.networks import FaceNetwork

__all__ = [
    "PINNED",
    "ModelFile",
    "build_untrained",
    "choose_bundled",
    "describe_model",
    "describe_provenance",
    "find_bundled_weights",
    "find_model",
    "find_trainable",
    "find_weights_file",
    "identify_member",
    "list_bundled",
    "list_selection_splits",
    "load_network",
    "load_train_digests",
    "open_runtime",
    "read_metadata",
    "resolve_model_name",
    "save_model",
]

FOR_PHOTOS: Final = "plus"
"""The bundled model that reads photos where nobody named one; it learned from FER+'s votes."""
FOR_SCORES: Final = "base"
"""The bundled model that is scored where nobody named one; it learned FER2013's labels."""
PINNED: Final = "digests.json"
"""Among the bundled models: what digest each holds of itself."""
HUB: Final = "hf:"
"""What a model of the Hugging Face hub begins with."""
_HUB: Final = re.compile(r"hf:(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w./-]*))?")
_ASSETS: Final = Path(__file__).parent / "assets"
_AGAIN: Final = "pip install --force-reinstall"
_WAYS_ON: Final = (
    "train one with `fer train`, or name a run folder, a .safetensors, an .onnx, a bundled model "
    "(`fer models list`) or hf:OWNER/NAME"
)


@dataclass(frozen=True)
class ModelFile:
    """The model that a word, or no word, stands for."""

    path: Path
    """A `.safetensors` or an `.onnx`."""
    run: Path | None
    """The run folder it lies in, if it is a run's."""
    assumed: bool
    """Nobody named it: it is the newest finished run's, or a bundled one."""
    bundled: str | None = None
    """Its name, if fercli brought it."""
    hub: str | None = None
    """`hf:OWNER/NAME@COMMIT`, if it came from the hub."""
    pinned: bool = True
    """What it was named by is always the same file; of the hub only a commit is."""

    @property
    def title(self) -> str:
        """What to call it: a bundled model's name, the hub's with its commit, else its path."""
        return self.bundled or self.hub or str(self.path)

    @property
    def remark(self) -> str:
        """What is to be said of it: which it is if nobody named it, or that it may change."""
        if self.assumed:
            return f"model: {self.origin}"
        if self.pinned:
            return ""
        return f"model: {self.hub}; this name, with its commit, always stands for the same model"

    @property
    def origin(self) -> str:
        """The same with where it came from, for a note on what was assumed."""
        if self.bundled:
            return f"{self.bundled}, which comes with fercli"
        return f"{self.path}, of the newest finished run" if self.assumed else str(self.path)

    def resolve(self) -> ModelFile:
        """Return the same with absolute paths, for a process with another working folder."""
        run = None if self.run is None else self.run.resolve()
        return replace(self, path=self.path.resolve(), run=run)

    @property
    def is_onnx(self) -> bool:
        """Whether onnxruntime runs it."""
        return self.path.suffix == ".onnx"

    @property
    def files(self) -> list[Path]:
        """What no output may land on: its file and what belongs to it, its run's files."""
        if self.run is not None:
            return [self.path, *RunFolder(self.run).files]
        own = f"{self.path.stem}.{TRAIN_DIGESTS}"
        return [self.path, self.path.with_name(own), self.path.with_name(TRAIN_DIGESTS)]

    def compute_digest(self) -> str:
        """Return the sha256 of an ONNX file, or the digest stored with the weights.

        Raises:
            ModelFileError: The file cannot be read.
        """
        if self.is_onnx:
            return digest_file(self.path)
        return str(read_tensor_header(self.path, ModelFileError)["sha256"])


def choose_bundled(*, for_photos: bool) -> str | None:
    """Return the bundled model that stands in where nobody named one; None if there is none.

    Args:
        for_photos: It is to read photos; else it is scored, on FER2013 most often.
    """
    there = list_bundled()
    wanted = (FOR_PHOTOS, FOR_SCORES) if for_photos else (FOR_SCORES, FOR_PHOTOS)
    return next((name for name in wanted if name in there), None)


def find_model(
    spec: str | None, *, prefer_onnx: bool = False, for_photos: bool = False
) -> ModelFile:
    """Return the model file that MODEL stands for.

    Args:
        spec: A bundled model's name, a run folder, a `.safetensors`, an `.onnx`, or
            `hf:OWNER/NAME[@REVISION]`, which is downloaded; None stands for the newest finished
            run, and where there is none, for a bundled model.
        prefer_onnx: Of a run that holds both forms, take the ONNX.
        for_photos: Which bundled model that is; see `choose_bundled`.

    Raises:
        ModelNotFoundError: There is nothing there, or no finished run.
        ModelFileError: The run is not finished, or the file is neither form.
        ConfigError: It begins with `hf:` and names nothing of the hub.
        DownloadError: The hub cannot be reached.
        SetupError: huggingface-hub is not installed, the hub wants to know who asks, or the disk
            is full.
    """
    if spec is None:
        newest = find_newest_run()
        if newest is not None:
            return ModelFile(_find_in_run(newest, prefer_onnx=prefer_onnx), newest, assumed=True)
        bundled = choose_bundled(for_photos=for_photos)
        if bundled is not None:
            return _name_bundled(bundled, assumed=True)
        message = f"there is no model: no finished run under ./{RUNS}"
        raise ModelNotFoundError(message, hint=_WAYS_ON)
    if spec in list_bundled():
        return _name_bundled(spec, assumed=False)
    if spec.startswith(HUB):
        return _find_on_hub(spec)
    return _find_at(Path(spec), prefer_onnx=prefer_onnx)


def _find_on_hub(spec: str) -> ModelFile:
    named = _HUB.fullmatch(spec)
    if named is None:
        message = f"{spec!r} is not a hub model: give hf:OWNER/NAME or hf:OWNER/NAME@REVISION"
        raise ConfigError(message)
    from fercli.download import fetch_model

    name, revision = named.groups()
    found = fetch_model(name, revision)
    hub = f"{HUB}{name}@{found.commit}"
    return ModelFile(found.path, None, assumed=False, hub=hub, pinned=revision == found.commit)


def _find_at(path: Path, *, prefer_onnx: bool) -> ModelFile:
    try:
        path.stat()
    except (OSError, ValueError) as reason:
        # A name that is too long, a closed folder, a NUL.
        meant = _suggest_model(path) if isinstance(reason, FileNotFoundError) else ""
        if isinstance(reason, FileNotFoundError):
            message = f"there is no model at {path}{meant}"
        else:
            message = f"there is no model at {path} ({getattr(reason, 'strerror', None) or reason})"
        # A single word may be meant for a name, which is looked for nowhere.
        is_path = len(path.parts) > 1 or path.suffix
        start = (describe_start if meant else suggest_path)(path) if is_path else ""
        raise ModelNotFoundError(message, hint=f"{start}; {_WAYS_ON}".lstrip("; ")) from reason
    if path.is_dir():
        return ModelFile(_find_in_run(path, prefer_onnx=prefer_onnx), path, assumed=False)
    if not path.is_file():
        message = f"{path} is not a file that a model can be read from"
        raise ModelFileError(message, hint=_WAYS_ON)
    if path.suffix not in {".safetensors", ".onnx"}:
        message = f"{path} is neither a .safetensors nor an .onnx"
        raise ModelFileError(message, hint=_WAYS_ON)
    return ModelFile(path, None, assumed=False)


def _suggest_model(path: Path) -> str:
    """Return `; did you mean 'runs/fast'?` for the bundled model or run that may be meant."""
    runs = {record.parent.name: str(record.parent) for record in RUNS.glob("*/run.json")}
    # By the last name alone: who leaves `runs/` out means the run all the same.
    known = {name: name for name in list_bundled()} | runs
    alike = find_alike(path.name, sorted(known))
    return f"; did you mean {known[alike]!r}?" if alike else ""


def find_weights_file(model: ModelFile) -> ModelFile:
    """Return the trained weights where a run's ONNX form was taken; any other model as it is."""
    if model.run is None or not model.is_onnx:
        return model
    weights = RunFolder(model.run).model
    return replace(model, path=weights) if weights.exists() else model


def find_trainable(model: ModelFile) -> ModelFile:
    """Return the weights of a run's or a bundled model's ONNX; a model without them as it is."""
    found = find_weights_file(model)
    own = find_bundled_weights(found.bundled) if found.is_onnx and found.bundled else None
    return own or found


def resolve_model_name(name: str) -> str:
    """Return how a model is named from any folder, for ever: as it is, by its commit, or its path.

    Raises:
        FercliError: One of the hub cannot be had.
    """
    if name in list_bundled():
        return name
    if name.startswith(HUB):
        return _find_on_hub(name).title
    return str(Path(name).resolve())


def list_bundled() -> list[str]:
    """Return the names of the models that came with fercli."""
    return sorted(path.stem for path in _ASSETS.glob("*.onnx"))


def find_bundled_weights(name: str) -> ModelFile | None:
    """Return the weights of a bundled model as torch has them, or None where it brings none."""
    weights = _ASSETS / f"{name}.safetensors"
    return ModelFile(weights, None, assumed=False, bundled=name) if weights.exists() else None


def open_runtime(model: ModelFile, *, device: str = "auto", n_threads: int = 0) -> Runtime:
    """Open a model.

    Args:
        model: What `find_model` found.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        n_threads: Of one call of an ONNX model on the CPU, 0 for one per core.

    Raises:
        ModelFileError: The file is damaged or not a fercli model.
        DeviceUnavailableError: The device is not there.
    """
    if model.is_onnx:
        return _open_onnx(model, device=device, n_threads=n_threads)
    from fercli.networks.devices import choose_device
    from fercli.networks.runtime import TorchRuntime

    network, metadata = load_network(model.path)
    return TorchRuntime(network, metadata, choose_device(device))


def build_untrained(path: Path, metadata: ModelMetadata) -> FaceNetwork:
    """Return the network that a model's metadata describes, its weights as torch leaves them.

    Args:
        path: The model file, for errors.
        metadata: What is stored in it.

    Raises:
        ModelFileError: It is of a network that this fercli lacks.
    """
    from fercli.networks import build_network

    config = metadata.network.build_config(path)
    try:
        return build_network(config, len(metadata.labels))
    except ConfigError as reason:
        message = f"{path} holds a network that this fercli cannot build ({reason.message})"
        raise ModelFileError(message) from reason


def load_network(path: Path) -> tuple[FaceNetwork, ModelMetadata]:
    """Read a `.safetensors` model, its digest checked.

    Returns:
        The network on the CPU, and what is stored with it.

    Raises:
        ModelFileError: It is damaged, not a model, or of a network that this fercli lacks.
    """
    import torch

    arrays, header = load_tensors(path, ModelFileError)
    metadata = ModelMetadata.from_json(header, path=path)
    network = build_untrained(path, metadata)
    try:
        network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    except (KeyError, RuntimeError) as reason:
        text = " ".join(str(reason).split())[:200]
        message = f"{path} holds a network that this fercli cannot build ({text})"
        raise ModelFileError(message) from reason
    return network, metadata


def save_model(
    path: Path, network: FaceNetwork, config: NetworkConfig, metadata: ModelMetadata
) -> str:
    """Write a model atomically.

    Args:
        path: Where to.
        network: Trained.
        config: What `build_network` built it from.
        metadata: What travels with it; `network` and `parameters` are filled in.

    Returns:
        The digest of its weights.
    """
    arrays = {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()}
    whole = metadata.replace(
        parameters=sum(tensor.numel() for tensor in network.parameters()),
        network=NetworkRecord.from_config(config),
    )
    return save_tensors(path, arrays, whole.to_json())


def _name_bundled(name: str, *, assumed: bool) -> ModelFile:
    return ModelFile(_ASSETS / f"{name}.onnx", None, assumed=assumed, bundled=name)


def _find_in_run(folder: Path, *, prefer_onnx: bool) -> Path:
    run = RunFolder(folder)
    record = read_run_record(folder)
    if not run.model.exists():
        state = "is finished but has lost its" if record.finished_at else "does not yet have a"
        message = f"the run {folder} {state} model.safetensors"
        raise ModelFileError(message, hint=f"go on with it: fer train --resume {folder}")
    return run.onnx if prefer_onnx and run.onnx.exists() else run.model


def read_metadata(model: ModelFile) -> ModelMetadata:
    """Return what is stored with a model.

    Raises:
        ModelFileError: The file is damaged or not a fercli model.
    """
    if model.is_onnx:
        return _open_onnx(model).metadata
    return ModelMetadata.from_json(load_tensors(model.path, ModelFileError)[1], path=model.path)


def _open_onnx(model: ModelFile, *, device: str = "auto", n_threads: int = 0) -> OnnxRuntime:
    from fercli.inference.onnx import OnnxRuntime

    runtime = OnnxRuntime(model.path, device=device, n_threads=n_threads)
    if model.bundled and runtime.digest != _read_pinned().get(model.bundled):
        message = f"{model.path} is not the model that came with this fercli"
        raise ModelFileError(message, hint=f"{_AGAIN} {name_distribution()}")
    return runtime


def _read_pinned() -> dict[str, str]:
    """Return the digest that each bundled model holds of itself, by its name."""
    path = _ASSETS / PINNED
    try:
        return JsonObject(parse_json(path.read_bytes()), path, ModelFileError).text_map("onnx")
    except (OSError, ValueError) as reason:
        message = f"{path} cannot be read ({reason})"
        raise ModelFileError(message, hint=f"{_AGAIN} {name_distribution()}") from reason


def load_train_digests(model: ModelFile, metadata: ModelMetadata) -> NDArray[np.uint64] | None:
    """Return which images a model learned from, as `digest_images` names them.

    Returns:
        `[N]`; None where there are none of its own beside it.

    Raises:
        ModelFileError: The file beside the model is damaged.
    """
    own = model.path.with_name(f"{model.path.stem}.{TRAIN_DIGESTS}")
    path = own if own.exists() else model.path.with_name(TRAIN_DIGESTS)
    if not path.exists():
        return None
    dataset = None if metadata.dataset is None else metadata.dataset.sha256
    if read_tensor_header(path, ModelFileError).get("dataset_sha256") != dataset:
        # It belongs to another model of the same folder.
        return None
    digests = load_tensors(path, ModelFileError)[0].get("digests")
    if digests is None or digests.dtype.str != "<u8" or digests.ndim != 1:
        message = f"{path} does not say which images the model learned from"
        raise ModelFileError(message, hint="remove it; scores without duplicates are then left out")
    return digests


def describe_provenance(model: ModelFile, metadata: ModelMetadata) -> TeacherRecord:
    """Return what another model notes of one that it learned from.

    Args:
        model: The file.
        metadata: What is stored with it.

    Raises:
        ModelFileError: The file cannot be read.
    """
    return TeacherRecord(
        model=_name(model),
        sha256=model.compute_digest(),
        validation=metadata.validation,
        chosen_on=tuple(list_selection_splits(metadata)),
    )


def identify_member(model: ModelFile, metadata: ModelMetadata) -> MemberRecord:
    """Return what a model notes of one that is a part of it; see `describe_provenance`."""
    return MemberRecord(
        model=_name(model),
        sha256=model.compute_digest(),
        validation=metadata.validation,
        chosen_on=tuple(list_selection_splits(metadata)),
        recipe=metadata.recipe,
        seed=metadata.seed,
        epochs=metadata.epochs,
    )


def _name(model: ModelFile) -> str:
    """Return a name without the folders of who trained it: a model travels further than they."""
    if model.bundled or model.hub:
        return model.title
    if model.run is None:
        return model.path.name
    run = model.run.resolve()
    return f"members/{run.name}" if run.parent.name == "members" else run.name


def list_selection_splits(metadata: ModelMetadata) -> list[str]:
    """Return the splits, or fractions of train, that chose a model and what it was made from.

    Args:
        metadata: The model's; one of somebody else says nothing.
    """
    begun_with = () if metadata.init is None else (metadata.init,)
    before = (*metadata.teachers, *metadata.members, *begun_with)
    chosen = {split for one in before for split in one.chosen_on}
    validations = (metadata.validation, *(one.validation for one in before))
    return sorted(chosen | {one.split for one in validations if one is not None})


def describe_model(model: ModelFile) -> ModelInfo:
    """Return what a model file says of itself, in short.

    Raises:
        ModelFileError: The file is damaged or not a fercli model.
    """
    if model.is_onnx:
        runtime = _open_onnx(model)
        verified = runtime.digest is not None
        return ModelInfo.read(runtime.metadata, kind="onnx", verified=verified)
    return ModelInfo.read(read_metadata(model), kind="torch", verified=True)
