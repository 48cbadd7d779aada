"""Run an exported model in onnxruntime, without torch.

Only models that fercli exported are opened here: they carry their labels and take raw pixels, so
there is nothing to guess.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.dependencies import import_onnxruntime
from fercli.errors import DeviceUnavailableError, ModelFileError
from fercli.fields import parse_json
from fercli.inference.first_look import load_errors, look_at
from fercli.inference.seal import check_seal, refuse_damaged
from fercli.metadata import ModelMetadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "METADATA_KEY",
    "RUN_S",
    "SEALED",
    "OnnxRuntime",
    "is_exported",
    "open_session",
    "run_session",
]

METADATA_KEY: Final = "fercli"
"""Key of our JSON in the model's `metadata_props`."""
SEALED: Final = "sealed"
"""In that JSON: whether the file holds its own digest, see `seal`."""
RUN_S: Final = 300
"""Seconds that one call of a model without a digest may take: what the first look let pass may loop
on other pictures. 256 images of the largest networks take a tenth of it."""
_HINT: Final = "export one with `fer export --onnx`"


class OnnxRuntime:
    """An ONNX model ready to run.

    Args:
        path: The model file.
        device: `auto` and `cpu` run on the CPU, `cuda` needs an onnxruntime built for it.
        n_threads: Threads of one call on the CPU, 0 for one per core; with 1 several threads that
            call it get in each other's way least.

    Raises:
        ModelFileError: It is damaged, does not load, or is not a model that fercli exported.
        DeviceUnavailableError: onnxruntime cannot run on the device.
        DependencyMissingError: onnxruntime cannot be imported.
    """

    def __init__(self, path: Path, *, device: str = "auto", n_threads: int = 0) -> None:
        self._session, self.digest = _open_checked(path, device, n_threads)
        self._limit_s = RUN_S if self.digest is None else None
        self.metadata = _read_metadata(path, self._session, sealed=self.digest is not None)
        self.device = "cpu" if device == "auto" else device
        self.labels = self.metadata.labels

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities `[N, K]` for `[N, 48, 48]` uint8."""
        feeds = {"images": np.ascontiguousarray(images)}
        return run_session(self._session, ["probabilities"], feeds, limit_s=self._limit_s)


def open_session(path: Path, device: str, *, n_threads: int = 0) -> Any:  # noqa: ANN401  # untyped library
    """Return an onnxruntime session of any ONNX file; see `OnnxRuntime`.

    Raises:
        ModelFileError: It is damaged, as far as it holds a digest, or does not load.
        DeviceUnavailableError: onnxruntime cannot run on the device.
        DependencyMissingError: onnxruntime cannot be imported.
    """
    return _open_checked(path, device, n_threads)[0]


def run_session(
    session: Any,  # noqa: ANN401  # untyped library
    outputs: list[str],
    feeds: dict[str, NDArray[Any]],
    *,
    limit_s: float | None = None,
) -> NDArray[np.float32]:
    """Return the one output of a session.

    Args:
        session: What `open_session` returned.
        outputs: The name of the output.
        feeds: Inputs by name.
        limit_s: When to end a graph that goes on, seconds; None for never.

    Raises:
        ModelFileError: The model cannot be run on this input, or not within the limit.
    """
    options = import_onnxruntime().RunOptions()
    try:
        with _ended_after(options, limit_s):
            (answers,) = session.run(outputs, feeds, options)
    except load_errors() as reason:
        if options.terminate:
            message = f"the model computes for more than {limit_s:g} s without an answer"
            raise ModelFileError(message, hint=_HINT) from reason
        message = f"the model cannot be run ({' '.join(str(reason).split())[:200]})"
        raise ModelFileError(message, hint=_HINT) from reason
    result: NDArray[np.float32] = answers
    return result


def is_exported(path: Path) -> bool:
    """Return whether fercli exported an ONNX file.

    Raises:
        ModelFileError: It is damaged or does not load.
    """
    session = open_session(path, "cpu")
    try:
        return METADATA_KEY in session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError as reason:
        message = f"{path} contains names that are not valid text ({reason.reason})"
        raise ModelFileError(message) from reason


@contextlib.contextmanager
def _ended_after(options: Any, limit_s: float | None) -> Iterator[None]:  # noqa: ANN401  # untyped library
    """End a run that has these options when it takes too long; a graph looks between its nodes."""
    if limit_s is None:
        yield
        return

    def end() -> None:
        options.terminate = True

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _open_checked(path: Path, device: str, n_threads: int) -> tuple[Any, str | None]:
    """Return a session, and the digest that the file holds of itself, None where it holds none."""
    try:
        content = path.read_bytes()
    except OSError as reason:
        message = f"{path} cannot be read ({reason.strerror})"
        raise ModelFileError(message) from reason
    digest = check_seal(content, path)
    onnxruntime = import_onnxruntime()
    providers = _choose_providers(device, onnxruntime.get_available_providers())
    if digest is None:
        look_at(content, path)
    options = onnxruntime.SessionOptions()
    # It writes to file descriptor 2 past every setting of ours; errors are raised as well.
    options.log_severity_level = 4
    options.intra_op_num_threads = n_threads
    try:
        # Without this it prints to stdout when a model does not load.
        session = onnxruntime.InferenceSession(
            content, options, providers=providers, enable_fallback=0
        )
    except load_errors() as reason:
        text = " ".join(str(reason).split())
        message = f"{path} is not a model that onnxruntime can load ({text[:200]})"
        raise ModelFileError(message, hint=_HINT) from reason
    if session.get_providers()[0] != _name_provider(providers[0]):
        message = f"onnxruntime has {_name_provider(providers[0])} but cannot use it here"
        raise DeviceUnavailableError(message, hint="use --device cpu")
    return session, digest


def _choose_providers(device: str, available: list[str]) -> list[Any]:
    kind, _, index = device.partition(":")
    if kind in {"auto", "cpu"}:
        return ["CPUExecutionProvider"]
    provider = {"cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}[kind]
    if provider not in available:
        message = f"this onnxruntime cannot run on {device}: it has no {provider}"
        hint = "use --device cpu, or a model.safetensors, which runs in torch"
        raise DeviceUnavailableError(message, hint=hint)
    options = {"device_id": index} if index else {}
    return [(provider, options), "CPUExecutionProvider"]


def _name_provider(provider: str | tuple[str, dict[str, str]]) -> str:
    return provider if isinstance(provider, str) else provider[0]


def _read_metadata(path: Path, session: Any, *, sealed: bool) -> ModelMetadata:  # noqa: ANN401  # untyped library
    try:
        inputs = [(value.name, value.type, value.shape[1:]) for value in session.get_inputs()]
        outputs = [(value.name, value.type, value.shape[1:]) for value in session.get_outputs()]
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    except UnicodeDecodeError as reason:
        message = f"{path} contains names that are not valid text ({reason.reason})"
        raise ModelFileError(message, hint=_HINT) from reason
    wanted = [("images", "tensor(uint8)", [48, 48])]
    if text is None or inputs != wanted or [name for name, _, _ in outputs] != ["probabilities"]:
        message = f"{path} is an ONNX model, but not one that fercli exported"
        raise ModelFileError(message, hint=_HINT)
    try:
        value = parse_json(text)
    except ValueError as reason:
        message = f"{path}: its metadata is damaged ({reason})"
        raise ModelFileError(message) from reason
    if isinstance(value, dict) and value.pop(SEALED, False) and not sealed:
        raise refuse_damaged(path)
    metadata = ModelMetadata.from_json(value, path=path)
    ((_, kind, shape),) = outputs
    if (kind, shape) != ("tensor(float)", [len(metadata.labels)]):
        message = f"{path} gives {kind} {shape} for {len(metadata.labels)} labels"
        raise ModelFileError(message)
    return metadata
