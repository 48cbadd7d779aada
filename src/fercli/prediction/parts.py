"""The file of rows that a shard leaves, and the file beside it that says what the rows are of.

A part has its name once it is whole. Its side file is written after it, as JSON Lines: a record of
inputs, model, options, versions and counts, and then, for each input of the shard, how far it
stands behind the one before in the list of all shards and how many rows it has. So parts can be put
together in the order of one process without a look at their rows, and one that was made of other
things is found out.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fercli import __version__
from fercli.errors import DataError, OutputExistsError
from fercli.fields import JsonObject, parse_json
from fercli.prediction.row_files import RowFile
from fercli.prediction.shards import Shard, ShardInputs
from fercli.storage import digest_file, is_sealed, open_atomically, seal_json

if TYPE_CHECKING:
    from fercli.config import PredictConfig
    from fercli.inference import Runtime
    from fercli.prediction.answers import FilePrediction
    from fercli.prediction.stores import StoredObject
    from fercli.prediction.summary import PredictionSummary
    from fercli.prediction.writers import RowLayout

__all__ = [
    "Origin",
    "Part",
    "PartRecord",
    "PartRows",
    "find_parts",
    "read_lines",
    "read_order",
    "read_record",
    "write_part",
]

_NAME: Final = re.compile(r"part-([0-9]{5})-of-([0-9]{5})\.(jsonl|csv|parquet)")
_SIDE: Final = ".side.jsonl"
_KIND: Final = "part"
_SCHEMA: Final = 1
_LIBRARIES: Final = ("numpy", "onnxruntime", "opencv-python-headless", "pillow", "torch")
"""Whose versions can change a row."""
_INPUTS_A_LINE: Final = 500
_BLOCK_BYTES: Final = 1 << 16
"""Of a file read at a time; so much is held of each part."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What rows come of, apart from the inputs."""

    model: str
    """What rows call the model."""
    model_sha256: str
    """Of its file, or stored with its weights."""
    labels: tuple[str, ...]
    """The K labels of the rows."""
    options: Mapping[str, Any]
    """All that was asked for and could change a row; weights by their digest."""
    versions: Mapping[str, str]
    """Of fercli and of the libraries that read and compute; `-` where one is missing."""

    @classmethod
    def describe(
        cls,
        title: str,
        sha256: str,
        runtime: Runtime,
        config: PredictConfig,
        **options: Any,  # noqa: ANN401  # what callers add
    ) -> Origin:
        """Return what rows will come of.

        Args:
            title: What rows call the model.
            sha256: Of the model, as `ModelFile.compute_digest` gives it.
            runtime: What runs it.
            config: What was asked for.
            options: More that was asked for, as JSON has it.
        """
        weights = config.detector_weights
        asked = {
            **asdict(config),
            "detector_weights": None if weights is None else digest_file(weights),
            # Which of several alike does not matter.
            "device": runtime.device.partition(":")[0],
            **options,
        }
        versions = {"fercli": __version__, **{name: _find_version(name) for name in _LIBRARIES}}
        return cls(
            model=title, model_sha256=sha256, labels=runtime.labels,
            options=asked, versions=versions,
        )  # fmt: skip

    def list_differences(self, other: Origin) -> list[str]:
        """Return a sentence for each thing in which another differs."""
        pairs: dict[str, tuple[object, object]] = {
            "model": (self.model, other.model),
            "digest of the model": (self.model_sha256[:12], other.model_sha256[:12]),
            "labels": (", ".join(self.labels), ", ".join(other.labels)),
        }
        for ours, theirs, word in (
            (self.options, other.options, "option {}"),
            (self.versions, other.versions, "version of {}"),
        ):
            names = sorted({*ours, *theirs})
            pairs |= {word.format(name): (ours.get(name), theirs.get(name)) for name in names}
        return [
            f"{what} {_show(mine)}, not {_show(their)}"
            for what, (mine, their) in pairs.items()
            if mine != their
        ]


@dataclass(frozen=True, kw_only=True)
class PartRecord:
    """What a side file says of its part."""

    shard: Shard
    kind: str
    """One of `config.ROW_FILE_FORMATS`."""
    n_bytes: int
    """Of the part."""
    sha256: str
    """Of the part."""
    n_listed: int
    """Inputs of all shards; files in archives that turn out to be no images among them."""
    list_sha256: str
    """Of their paths, in order."""
    n_own: int
    """Inputs of this shard."""
    own_sha256: str
    """Of their paths and sizes, in order."""
    order_sha256: str
    """Of the lines that follow the record."""
    origin: Origin
    counts: Mapping[str, int]
    """`n_inputs`, `n_frames`, `n_faces`, `n_no_face`, `n_skipped`, `n_rows`."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as the file has it."""
        record = {
            "kind": _KIND, "schema": _SCHEMA, "shard": self.shard.index, "shards": self.shard.count,
            "format": self.kind, "n_bytes": self.n_bytes, "sha256": self.sha256,
            "list": {"n_inputs": self.n_listed, "sha256": self.list_sha256},
            "inputs": {"n_inputs": self.n_own, "sha256": self.own_sha256},
            "order_sha256": self.order_sha256, **asdict(self.origin), "counts": dict(self.counts),
        }  # fmt: skip
        return seal_json(record)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Where a shard's rows are kept."""

    folder: Path
    """Of all parts."""
    shard: Shard
    kind: str
    """One of `config.ROW_FILE_FORMATS`."""
    resume: bool = False
    """Whether a finished part of the same things is left as it is."""
    overwrite: bool = False
    """Whether any other finished part is written over."""

    @property
    def path(self) -> Path:
        """The file of rows."""
        return self.folder / f"{self._stem}.{self.kind}"

    @property
    def side(self) -> Path:
        """The file beside it."""
        return self.folder / f"{self._stem}{_SIDE}"

    @property
    def _stem(self) -> str:
        return f"part-{self.shard.index:05}-of-{self.shard.count:05}"

    def check(self) -> None:
        """Refuse a folder in which this part would be out of place, or is already.

        Raises:
            OutputExistsError: It is a file, holds parts of another number of shards or of another
                format, or this part, and neither `resume` nor `overwrite` is set.
        """
        if self.folder.exists() and not self.folder.is_dir():
            message = f"{self.folder} is a file, and a folder is needed"
            raise OutputExistsError(message, hint="name another --output")
        for name, shard, kind in find_parts(self.folder):
            if (shard.count, kind) != (self.shard.count, self.kind):
                message = f"{self.folder} holds {name}; {self.path.name} does not belong with it"
                raise OutputExistsError(message, hint="name another --output")
        if self.path.exists() and self.side.exists() and not (self.resume or self.overwrite):
            message = f"{self.path} is already there"
            hint = "--resume keeps it if all else is the same; --force writes it again"
            raise OutputExistsError(message, hint=hint)

    def find_finished(
        self, origin: Origin, list_files: Callable[[], Iterable[Path | StoredObject]]
    ) -> PartRecord | None:
        """Return the record of a part that is there already, and is of the same things.

        Where only inputs of other shards came or went, its side file is written anew, since its
        inputs stand elsewhere in the list. Without `resume`, and where its bytes are not what its
        side file says, there is none.

        Args:
            origin: What the rows should come of.
            list_files: Lists all files, as `find_images` does.

        Raises:
            OutputExistsError: It is of something else, and `overwrite` is not set.
            DataError: Its side file is none.
        """
        if not (self.resume and self.side.exists() and self.path.is_file()):
            return None
        record = read_record(self.side)
        inputs = ShardInputs(self.shard)
        inputs.list_only(list_files(), origin.options.get("image_column"))
        differences = record.origin.list_differences(origin)
        if record.own_sha256 != inputs.own_sha256:
            now = len(inputs.positions)
            # Names or sizes alone may differ.
            number = f"{now:,}" if now != record.n_own else f"{now:,} others, by name or size"
            differences.append(f"{record.n_own:,} inputs, and now there are {number}")
        if differences and not self.overwrite:
            message = f"{self.path} is finished, but does not match: {'; '.join(differences)}"
            hint = "add --force to write such parts again, or name another --output"
            raise OutputExistsError(message, hint=hint)
        if differences or _is_torn(self.path, record):
            return None
        if record.list_sha256 != inputs.list_sha256:
            counts = (n_rows for _, n_rows in read_order(self.side, record))
            inputs.n_rows = array("L", counts)
            _write_side(self, inputs, origin, record.counts)
        return record


@dataclass(frozen=True)
class PartRows:
    """What the rows of a part are."""

    layout: RowLayout
    """Which columns they have."""
    origin: Origin
    """What they come of."""
    inputs: ShardInputs
    """What they are of; its `select` gives what is predicted."""


def write_part(
    part: Part,
    content: PartRows,
    predictions: Iterable[FilePrediction],
    summary: PredictionSummary,
    on_prediction: Callable[[FilePrediction], object] = lambda _prediction: None,
) -> None:
    """Write the rows of a shard, then its side file.

    Args:
        part: Where to; `check` was called.
        content: What the rows are.
        predictions: All of the shard.
        summary: Counts them.
        on_prediction: Called after each.

    Raises:
        FercliError: As `RowFile.open`.
    """
    # What was killed left no row that could be gone on with: how many an input had is not known.
    inputs = content.inputs
    with RowFile(path=part.path, kind=part.kind, overwrite=True).open(content.layout) as rows:
        for prediction in predictions:
            summary.add(prediction, rows)
            inputs.add(prediction)
            on_prediction(prediction)
    inputs.finish()
    counts = {
        "n_inputs": summary.n_inputs, "n_frames": summary.n_frames,
        "n_faces": summary.statuses["ok"], "n_no_face": summary.statuses["no_face"],
        "n_skipped": summary.statuses["unreadable"] + summary.statuses["refused"],
        "n_rows": summary.statuses.total(),
    }  # fmt: skip
    _write_side(part, inputs, content.origin, counts)


def find_parts(folder: Path) -> list[tuple[str, Shard, str]]:
    """Return name, shard and format of every part in a folder, whole ones alone, sorted."""
    if not folder.is_dir():
        return []
    names = filter(None, (_NAME.fullmatch(path.name) for path in folder.iterdir()))
    return sorted(
        ((name[0], Shard(int(name[1]), int(name[2])), name[3]) for name in names),
        key=lambda one: one[0],
    )


def read_record(side: Path) -> PartRecord:
    """Return what a side file says of its part.

    Raises:
        DataError: It is no side file.
    """
    first = next(read_lines(side), b"")
    try:
        value = parse_json(first)
    except ValueError as reason:
        message = f"{side} is not the side file of a part ({reason})"
        raise DataError(message, hint="predict that shard again, with --force") from reason
    record = JsonObject(value, side, DataError)
    record.check_head(_KIND, _SCHEMA)
    if not is_sealed(record.raw):
        raise _refuse_order(side)
    listed, own = record.child("list"), record.child("inputs")
    if not 0 <= record.count("shard") < record.count("shards"):
        record.complain("there is no such shard")
    origin = Origin(
        model=record.text("model"), model_sha256=record.text("model_sha256"),
        labels=record.texts("labels"), options=record.child("options").raw,
        versions=record.text_map("versions"),
    )  # fmt: skip
    return PartRecord(
        shard=Shard(record.count("shard"), record.count("shards")), kind=record.text("format"),
        n_bytes=record.count("n_bytes"), sha256=record.text("sha256"),
        n_listed=listed.count("n_inputs"), list_sha256=listed.text("sha256"),
        n_own=own.count("n_inputs"), own_sha256=own.text("sha256"),
        order_sha256=record.text("order_sha256"), origin=origin, counts=record.counts("counts"),
    )  # fmt: skip


def read_order(side: Path, record: PartRecord) -> Iterator[tuple[int, int]]:
    """Yield the position of each input in the list of all shards, and how many rows it has.

    The digest of what was read is compared at the end.

    Raises:
        DataError: It is not what the record says.
    """
    lines = read_lines(side)
    next(lines)
    digest = hashlib.sha256()
    position = n_inputs = 0
    try:
        for line in lines:
            digest.update(line)
            numbers = json.loads(line)
            if any(type(number) is not int or number < 0 for number in numbers):
                raise _refuse_order(side)
            for gap, n_rows in zip(numbers[::2], numbers[1::2], strict=True):
                position += gap
                n_inputs += 1
                yield position, n_rows
    except (ValueError, TypeError) as reason:
        raise _refuse_order(side) from reason
    if digest.hexdigest() != record.order_sha256 or n_inputs != record.n_own:
        raise _refuse_order(side)


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file with their ends; it is open only while a block of it is read.

    So thousands of files can be read in turn.
    """
    at, left = 0, b""
    while block := _read_block(path, at):
        at += len(block)
        *lines, left = (left + block).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if left:
        yield left


def _read_block(path: Path, at: int) -> bytes:
    with path.open("rb", buffering=0) as stream:
        stream.seek(at)
        return stream.read(_BLOCK_BYTES)


def _write_side(part: Part, inputs: ShardInputs, origin: Origin, counts: Mapping[str, int]) -> None:
    digest = hashlib.sha256()
    for line in _format_order(inputs):
        digest.update(line)
    record = PartRecord(
        shard=part.shard, kind=part.kind, n_bytes=part.path.stat().st_size,
        sha256=digest_file(part.path), n_listed=inputs.n_listed, list_sha256=inputs.list_sha256,
        n_own=len(inputs.positions), own_sha256=inputs.own_sha256, order_sha256=digest.hexdigest(),
        origin=origin, counts=counts,
    )  # fmt: skip
    with open_atomically(part.side) as stream:
        stream.write(json.dumps(record.to_json(), allow_nan=False).encode() + b"\n")
        stream.writelines(_format_order(inputs))


def _format_order(inputs: ShardInputs) -> Iterator[bytes]:
    before = 0
    for start in range(0, len(inputs.positions), _INPUTS_A_LINE):
        end = start + _INPUTS_A_LINE
        numbers: list[int] = []
        for position, n_rows in zip(
            inputs.positions[start:end], inputs.n_rows[start:end], strict=True
        ):
            numbers += (position - before, n_rows)
            before = position
        yield json.dumps(numbers, separators=(",", ":")).encode() + b"\n"


def _is_torn(path: Path, record: PartRecord) -> bool:
    return path.stat().st_size != record.n_bytes or digest_file(path) != record.sha256


def _refuse_order(side: Path) -> DataError:
    message = f"{side} is damaged: it does not match its digest"
    return DataError(message, hint="predict that shard again, with --force")


def _find_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "-"


def _show(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
