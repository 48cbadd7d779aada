"""Files that are whole or absent, and tensors that are checked when they come back.

Everything fercli writes goes through `write_atomically`: a temporary name in the same folder,
flushed, fsynced, renamed, the folder fsynced. Tensors are stored as safetensors with a digest of
their bytes in the metadata, since neither safetensors nor ONNX notices a flipped bit. Pickle is
not used anywhere: it runs code.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TextIO

from fercli.errors import ConfigError, FercliError, OutputExistsError
from fercli.fields import parse_json
from fercli.locks import open_locked

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "RECORD_DIGEST",
    "check_apart",
    "check_output",
    "check_outputs",
    "check_tensors",
    "digest_file",
    "digest_tensors",
    "find_drafts",
    "identify_file",
    "is_sealed",
    "load_tensors",
    "map_tensors",
    "name_partial",
    "open_atomically",
    "open_partial",
    "read_tensor_header",
    "remove_others",
    "save_tensors",
    "seal_json",
    "wrap_text",
    "write_json",
    "write_text",
]

METADATA_KEY = "fercli"
"""Key of our JSON in the metadata of a safetensors file."""
RECORD_DIGEST: Final = "record_sha256"
"""Key of the digest that a JSON object holds of itself."""
_NUMPY_TYPES: Final = frozenset({"F64", "F32", "F16", "BOOL"}) | {
    f"{kind}{bits}" for kind in "IU" for bits in (8, 16, 32, 64)
}
"""Of tensors that NumPy has a type for, as safetensors calls them."""
_DRAFT: Final = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
"""A file that has not got its name yet."""


def check_apart(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over what is read, which no `force` allows.

    Names do not matter: links are followed, and hard links are one file.

    Args:
        outputs: Files that will be written, there or not.
        inputs: Files that are read; taken only where there is an output to compare with.

    Raises:
        ConfigError: An output is an input.
    """
    marks = {mark: path for path in outputs if (mark := identify_file(path)) is not None}
    for source in inputs if marks else ():
        mark = identify_file(source)
        if mark in marks:
            output = marks[mark]
            message = f"the output {output} would overwrite the input {source}"
            raise ConfigError(message, hint="name another output")


def identify_file(path: Path) -> tuple[int, int] | None:
    """Return what a regular file is known by under all its names; None if there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def check_output(path: Path, *, force: bool) -> None:
    """Refuse to overwrite.

    Raises:
        OutputExistsError: `path` is there and `force` is not set, or it is no file.
    """
    if path.exists() and not path.is_file():
        message = f"{path} is not a file that can be overwritten"
        raise OutputExistsError(message, hint="name another")
    if path.exists() and not force:
        message = f"{path} is already there"
        raise OutputExistsError(message, hint="give --force to overwrite it, or another --output")


def check_outputs(
    folder: Path | None, names: Iterable[str], *, force: bool, inputs: Iterable[Path] = ()
) -> None:
    """Refuse to overwrite any of some files of a folder; without a folder there are none.

    Args:
        folder: Where the files will be.
        names: Theirs.
        force: Overwrite what is there.
        inputs: Files that are not overwritten all the same, see `check_apart`.

    Raises:
        OutputExistsError: One is there and `force` is not set, or the folder is a file.
        ConfigError: One is an input.
    """
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        message = f"{folder} is a file, and a folder is needed"
        raise OutputExistsError(message, hint="name another --output")
    outputs = [folder / name for name in names]
    check_apart(outputs, inputs)
    for path in outputs:
        check_output(path, force=force)


def remove_others(paths: Mapping[str, Path], written: Iterable[str]) -> None:
    """Remove those of some files that were not written now: an older run's would mislead."""
    for kind in paths.keys() - set(written):
        paths[kind].unlink(missing_ok=True)


def find_drafts(folder: Path) -> list[Path]:
    """Return what `open_atomically` left in a folder when its process was killed, in no order."""
    return [path for path in folder.glob(".*.tmp") if _DRAFT.fullmatch(path.name)]


@contextlib.contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only when it is complete and on disk.

    An exception inside the block removes the temporary file and leaves what was there before.
    Missing parent folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        # Gone already when it was renamed.
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


@contextlib.contextmanager
def open_partial(path: Path) -> Iterator[BinaryIO]:
    """Open `PATH.partial` for this process alone; it becomes `PATH` when the block ends well.

    What an earlier writer left is still in it: truncate it, or seek its end to go on. What was
    written stays in the partial file when the block ends badly; an empty one is removed.

    Raises:
        OutputBusyError: Another process writes it.
        OutputExistsError: It is a link, or no regular file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = name_partial(path)
    with open_locked(partial, output=path) as stream, contextlib.ExitStack() as unless_whole:
        unless_whole.callback(_keep_partial, partial, stream)
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
        if os.name != "nt":
            # Under the lock, so that who waits for it finds the whole file.
            partial.replace(path)
        unless_whole.pop_all()
    if os.name == "nt":
        partial.replace(path)
    _sync_folder(path.parent)


def _keep_partial(partial: Path, stream: BinaryIO) -> None:
    """Leave what was written in the file, and no file where nothing was."""
    with contextlib.suppress(OSError):
        stream.flush()
    if os.name != "nt" and not os.fstat(stream.fileno()).st_size:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def wrap_text(stream: BinaryIO) -> Iterator[TextIO]:
    """Open bytes as UTF-8 text without translating line ends; the bytes stay open afterwards."""
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        yield text
    finally:
        text.detach()


def name_partial(path: Path) -> Path:
    """Return where a stream lies until it is whole."""
    return path.with_name(f"{path.name}.partial")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with open_atomically(path) as stream:
        stream.write(text.encode())


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON atomically; NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def digest_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_tensors(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the sha256 over names, types, shapes and bytes, in hexadecimal.

    The order of the mapping does not matter; two sets that differ in one bit differ.
    """
    import numpy as np

    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(json.dumps([name, array.dtype.str, tensors[name].shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def save_tensors(
    path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
) -> str:
    """Write arrays and a JSON object atomically, and return the digest of the arrays.

    Args:
        path: Where to; missing folders are made.
        tensors: Arrays of any shape.
        metadata: JSON values; `sha256` is added.
    """
    import numpy as np
    from safetensors.numpy import save

    arrays = {
        name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()
    }
    digest = digest_tensors(arrays)
    header = {**metadata, "sha256": digest}
    text = json.dumps({**header, "header_sha256": _digest_header(header)}, allow_nan=False)
    with open_atomically(path) as stream:
        stream.write(save(arrays, metadata={METADATA_KEY: text}))
    return digest


def read_tensor_header(path: Path, error: type[FercliError]) -> dict[str, Any]:
    """Return the JSON object that `save_tensors` stored, without reading the tensors.

    Raises:
        FercliError: As `error`: the file is missing, not safetensors, or not ours.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as handle:
            metadata = parse_json((handle.metadata() or {})[METADATA_KEY])
    except FileNotFoundError:
        message = f"{path} is not there"
        raise error(message) from None
    except (SafetensorError, OSError, KeyError, ValueError) as reason:
        message = f"{path} is not a file that fercli wrote, or it is damaged ({reason})"
        raise error(message) from reason
    if not isinstance(metadata, dict) or "sha256" not in metadata:
        message = f"{path} carries no fercli metadata"
        raise error(message)
    if metadata.pop("header_sha256", None) != _digest_header(metadata):
        message = f"{path} is damaged: its metadata does not match its sha256"
        raise error(message, hint="restore it from a copy, or make it again")
    return metadata


def seal_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with the sha256 of itself, for what is kept as a line of text."""
    return {**record, RECORD_DIGEST: _digest_header(record)}


def is_sealed(record: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is what `seal_json` was given."""
    bare = {key: value for key, value in record.items() if key != RECORD_DIGEST}
    return record.get(RECORD_DIGEST) == _digest_header(bare)


def _digest_header(header: Mapping[str, Any]) -> str:
    """Return the sha256 of a JSON object; labels and settings rot as tensors do."""
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()


def load_tensors(
    path: Path, error: type[FercliError]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read arrays into memory and check their digest.

    Raises:
        FercliError: As `error`: missing, not ours, or the digest differs from the stored one.
    """
    from safetensors import SafetensorError, safe_open

    metadata = read_tensor_header(path, error)
    tensors: dict[str, NDArray[Any]] = {}
    try:
        with safe_open(path, framework="numpy") as handle:
            for name in handle.keys():  # noqa: SIM118  # a handle is no mapping
                kind = handle.get_slice(name).get_dtype()
                if kind not in _NUMPY_TYPES:
                    message = f"{path}: tensor {name!r} has the unexpected type {kind}"
                    raise error(message)
                tensors[name] = handle.get_tensor(name)
    except (SafetensorError, OSError) as reason:
        message = f"{path} cannot be read ({reason})"
        raise error(message) from reason
    check_tensors(path, tensors, metadata, error)
    return tensors, metadata


def check_tensors(
    path: Path,
    tensors: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, Any],
    error: type[FercliError],
) -> None:
    """Compare arrays with the digest of their file.

    Raises:
        FercliError: As `error`: they differ.
    """
    if digest_tensors(tensors) != metadata["sha256"]:
        message = f"{path} is damaged: its content does not match its sha256"
        raise error(message, hint="restore it from a copy, or make it again")


def map_tensors(path: Path, error: type[FercliError]) -> dict[str, NDArray[Any]]:
    """Return read-only arrays that lie in the file, which is read only where they are used.

    The header is validated by safetensors (no overlap, no holes, sizes that fit); the digest is
    not checked, since that would read everything: see `check_tensors`.

    Raises:
        FercliError: As `error`: missing, not ours, or of a type we do not store.
    """
    import numpy as np

    read_tensor_header(path, error)
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    data = np.memmap(path, mode="r", dtype=np.uint8)
    types = {"U8": np.uint8, "I32": np.int32, "F32": np.float32}
    tensors: dict[str, NDArray[Any]] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in types:
            message = f"{path}: tensor {name!r} has the unexpected type {entry['dtype']}"
            raise error(message)
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = data[start:end].view(types[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; where folders cannot be opened (Windows) there is nothing to do."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
