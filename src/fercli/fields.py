"""JSON of files, read field by field: a field is of its type, or the file is refused.

A value that nobody checked goes no further than this: what is odd is raised as the error of whoever
reads, in a sentence that names the file and the field. Nesting is bounded, since Python's own JSON
functions end in a RecursionError, in reading or later in writing; numbers are finite, since JSON
knows no others.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from fercli.errors import FercliError

__all__ = ["JsonObject", "find_flaw", "parse_json"]

_LEVELS: Final = 20
"""Of nesting; ours needs seven."""
_LARGEST: Final = 2**63 - 1
"""Whole number that is read."""
_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401  # whatever JSON holds
    """Return the value of a JSON text.

    Raises:
        ValueError: It is no JSON, is nested too deeply, or holds a number that is not finite.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        message = _TOO_DEEP
        raise ValueError(message) from None
    if flaw := find_flaw(value):
        raise ValueError(flaw)
    return value


_TOO_DEEP: Final = f"it is nested more than {_LEVELS} levels deep"


def find_flaw(value: object) -> str:
    """Return why a parsed JSON value cannot be handed on, or nothing."""
    level = [value]
    for _ in range(_LEVELS + 1):
        below: list[object] = []
        for one in level:
            kind = type(one)
            if kind is dict:
                below += one.values()  # type: ignore[attr-defined]  # narrowed by the exact type
            elif kind is list:
                below += one  # type: ignore[arg-type]  # narrowed by the exact type
            elif kind is float and not math.isfinite(one):  # type: ignore[arg-type]  # the same
                return "it holds a number that is not finite"
        if not below:
            return ""
        level = below
    return _TOO_DEEP


class JsonObject:
    """A JSON object of a file. A field that is null counts as missing.

    Every method raises the error that was passed in when a field that it needs is missing, or is of
    another type; those named `maybe_` return None for a missing one.

    Args:
        value: What should be an object, as `parse_json` returns it.
        path: The file, for errors.
        error: What is raised.
        at: Where in the file it stands.

    Raises:
        FercliError: As `error`: it is no object.
    """

    __slots__ = ("_at", "_error", "_path", "raw")

    def __init__(self, value: object, path: Path, error: type[FercliError], at: str = "") -> None:
        self._path = path
        self._error = error
        self._at = at
        if type(value) is not dict:
            kind = _KINDS.get(type(value), "null")
            self.complain(f"{at or 'its metadata'} must be an object, not {kind}")
        self.raw: dict[str, Any] = value
        """What was parsed."""

    def complain(self, sentence: str, *, hint: str = "") -> NoReturn:
        """Raise the error, which names the file, with a sentence."""
        message = f"{self._path}: {sentence}"
        raise self._error(message, hint=hint)

    def refuse(self, key: str, wanted: str) -> NoReturn:
        """Raise the error of a field that is not what it must be."""
        self._refuse(key, self.raw.get(key), wanted)

    def check_head(self, kind: str, schema: int) -> None:
        """Refuse what is of another kind, or of a newer schema.

        Args:
            kind: What `kind` must be.
            schema: The newest that is read.
        """
        if self.raw.get("kind") != kind:
            self.complain(f"it is not a fercli {kind}")
        found = self.count("schema")
        if found > schema:
            sentence = f"it has schema {found}, and this fercli reads {schema}"
            self.complain(sentence, hint="a newer fercli wrote it: update this one")
        if not found:
            self.complain("schema must be at least 1")

    def text(self, key: str) -> str:
        """Return text that UTF-8 can hold."""
        return self._check_text(key, self.raw.get(key))

    def maybe_text(self, key: str) -> str | None:
        """Return text, or None."""
        value = self.raw.get(key)
        return None if value is None else self._check_text(key, value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; none where it is missing."""
        values = self._list(key, "a list of texts")
        return tuple([self._check_text(key, value) for value in values])

    def text_map(self, key: str) -> dict[str, str]:
        """Return texts by name; none where they are missing."""
        inner = self._map(key)
        return {name: inner.text(name) for name in inner.raw}

    def count(self, key: str) -> int:
        """Return a whole number from 0 to 2^63 - 1."""
        return self._check_count(key, self.raw.get(key))

    def maybe_count(self, key: str) -> int | None:
        """Return a whole number from 0 to 2^63 - 1, or None."""
        value = self.raw.get(key)
        return None if value is None else self._check_count(key, value)

    def counts(self, key: str) -> dict[str, int]:
        """Return whole numbers by name; none where they are missing."""
        inner = self._map(key)
        return {name: inner.count(name) for name in inner.raw}

    def number(self, key: str) -> float:
        """Return a finite number."""
        return self._check_number(key, self.raw.get(key))

    def maybe_number(self, key: str) -> float | None:
        """Return a finite number, or None."""
        value = self.raw.get(key)
        return None if value is None else self._check_number(key, value)

    def numbers(self, key: str) -> tuple[float, ...]:
        """Return a list of finite numbers; none where it is missing."""
        values = self._list(key, "a list of numbers")
        return tuple([self._check_number(key, value) for value in values])

    def child(self, key: str) -> JsonObject:
        """Return an object within this one."""
        value = self.raw.get(key)
        if type(value) is not dict:
            self._refuse(key, value, "an object")
        return JsonObject(value, self._path, self._error, self._name(key))

    def maybe_child(self, key: str) -> JsonObject | None:
        """Return an object within this one, or None."""
        return None if self.raw.get(key) is None else self.child(key)

    def children(self, key: str) -> list[JsonObject]:
        """Return a list of objects; none where it is missing."""
        name = self._name(key)
        return [
            JsonObject(value, self._path, self._error, f"{name}[{number}]")
            for number, value in enumerate(self._list(key, "a list of objects"))
        ]

    def named_children(self, key: str) -> dict[str, JsonObject]:
        """Return objects by name; none where they are missing."""
        inner = self._map(key)
        return {name: inner.child(name) for name in inner.raw}

    def value_like(self, key: str, example: object) -> object:
        """Return a value of an example's type: a flag, text, a number, or whole numbers."""
        value = self.raw.get(key)
        if isinstance(example, bool):
            if type(value) is not bool:
                self._refuse(key, value, "true or false")
            return value
        if isinstance(example, str):
            return self._check_text(key, value)
        if isinstance(example, tuple):
            if type(value) is not list:
                self._refuse(key, value, "a list of whole numbers")
            return tuple([self._check_count(key, one) for one in value])
        return self.count(key) if isinstance(example, int) else self.number(key)

    def _refuse(self, key: str, value: object, wanted: str) -> NoReturn:
        if key not in self.raw:
            self.complain(f"{self._name(key)} is missing, and must be {wanted}")
        kind = _KINDS.get(type(value), "null")
        self.complain(f"{self._name(key)} must be {wanted}, not {kind}")

    def _name(self, key: str) -> str:
        """Return where a field stands; what a file says is neither long nor on a terminal."""
        name = (key if key.isidentifier() and key.isascii() else ascii(key))[:60]
        return f"{self._at}.{name}" if self._at else name

    def _list(self, key: str, wanted: str) -> list[Any]:
        value = self.raw.get(key)
        if value is None:
            return []
        if type(value) is not list:
            self._refuse(key, value, wanted)
        return value

    def _map(self, key: str) -> JsonObject:
        """Return an object whose keys are names; an empty one where it is missing."""
        inner = self.maybe_child(key)
        if inner is None:
            return JsonObject({}, self._path, self._error, self._name(key))
        for name in inner.raw:
            self._check_text(key, name)
        return inner

    def _check_text(self, key: str, value: object) -> str:
        if type(value) is not str:
            self._refuse(key, value, "text")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                # Half of a pair of surrogates: no file and no terminal takes it.
                self.complain(f"{self._name(key)} is text that cannot be written")
        return value

    def _check_count(self, key: str, value: object) -> int:
        if type(value) is not int:
            self._refuse(key, value, "a whole number")
        if not 0 <= value <= _LARGEST:
            self.complain(f"{self._name(key)} must be a whole number from 0 to 2^63 - 1")
        return value

    def _check_number(self, key: str, value: object) -> float:
        if type(value) is float:
            return value
        if type(value) is not int:
            self._refuse(key, value, "a number")
        if not -_LARGEST <= value <= _LARGEST:
            self.complain(f"{self._name(key)} is a number too large to read")
        return float(value)
