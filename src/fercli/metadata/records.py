"""What every record does: read from JSON once, written as it was read, or anew."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from fercli.errors import ModelFileError
from fercli.fields import JsonObject, find_flaw
from fercli.results import ClassScores, TrainResult

__all__ = ["Record", "open_record", "read_part", "read_parts", "to_plain"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """A JSON object with names and types."""

    _raw: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """What it was read from, unknown keys included; None where it was not read."""

    @classmethod
    def from_json(cls, value: object, *, path: Path) -> Self:
        """Return the record that a parsed JSON value holds.

        Args:
            value: What a JSON parser gave.
            path: The file that it stands in, for errors.

        Raises:
            ModelFileError: It is no such record, a field is missing or of another type, or the
                schema is a newer one.
        """
        return cls.read(open_record(value, path))

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """Return the record that a part of a JSON value holds; see `from_json`."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values: what was read, or what is written of a new one."""
        if self._raw is not None:
            return copy.deepcopy(dict(self._raw))
        return {name: to_plain(getattr(self, name)) for name in self._list_keys()}

    def replace(self, **changes: Any) -> Self:  # noqa: ANN401  # fields of the record
        """Return it with other fields; of one that was read, new keys are written last."""
        raw = self._raw
        if raw is not None:
            raw = {**raw, **{name: to_plain(value) for name, value in changes.items()}}
        return dataclasses.replace(self, **changes, _raw=raw)

    def _list_keys(self) -> Iterable[str]:
        """Return which fields are written, in their order."""
        names = (item.name for item in dataclasses.fields(self))
        return [name for name in names if not name.startswith("_")]


_R = TypeVar("_R", bound=Record)


def open_record(value: object, path: Path) -> JsonObject:
    """Return a parsed JSON value as an object whose fields are read by type.

    Raises:
        ModelFileError: It is no object, or holds what no JSON file should.
    """
    if flaw := find_flaw(value):
        message = f"{path}: its metadata is damaged ({flaw})"
        raise ModelFileError(message)
    return JsonObject(value, path, ModelFileError)


def read_part(values: JsonObject, key: str, kind: type[_R]) -> _R | None:
    """Return the record under a key, or None where there is none.

    Raises:
        ModelFileError: As `Record.from_json`.
    """
    inner = values.maybe_child(key)
    return None if inner is None else kind.read(inner)


def read_parts(values: JsonObject, key: str, kind: type[_R]) -> tuple[_R, ...]:
    """Return the records of the list under a key.

    Raises:
        ModelFileError: As `Record.from_json`.
    """
    return tuple([kind.read(inner) for inner in values.children(key)])


def to_plain(value: object) -> object:
    """Return a field as plain JSON values."""
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(one) for one in value]
    if isinstance(value, ClassScores | TrainResult):
        return dataclasses.asdict(value)
    return value
