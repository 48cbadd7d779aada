"""How an option is declared: once, as a field of a dataclass.

`option(0.3, low=0, below=1, flag="--dropout", help="…")` is a dataclass field whose metadata says
everything about it. The range check (`check_fields`), the command line, `--set` and the reference
page are derived from it. A framework for settings (pydantic, tyro) was considered and rejected: it
would be a heavy import for what `dataclasses` and 100 lines do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Required, TypedDict, TypeVar, Unpack, get_type_hints

from fercli.errors import ConfigError
from fercli.ranges import describe_range, find_unknown_choice, is_within

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["Declaration", "Option", "check_fields", "list_options", "option", "raise_on"]

_T = TypeVar("_T")


class Declaration(TypedDict, total=False):
    """What a field says about itself beside its type and default."""

    help: Required[str]
    """What it is, in one sentence: the help of its flag, and the start of its description."""
    details: str
    """The rest of its description: what its values mean, and sources."""
    low: float
    """Smallest value, of every element of a tuple."""
    high: float
    """Largest value."""
    above: float
    """What a value must be greater than."""
    below: float
    """What a value must be less than."""
    off: float
    """The one value outside the range that is allowed; it switches something off."""
    choices: Collection[str]
    """The only words allowed."""
    suggestions: tuple[str, ...]
    """Words that a shell completes where others are allowed, too."""
    flag: str
    """Its option on the command line; without one it is reached by `--set`."""
    metavar: str
    """How the help names a value; the choices without it."""
    unit: str
    """`s`: seconds, which the command line takes as `0.2`, `0.2s`, `200ms` and `1:23.5`, too."""
    env: str
    """The environment variable that sets it."""
    internal: bool
    """Set by fercli for itself, so neither suggested nor completed."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """A field that was declared by `option`."""

    name: str
    """Of the field."""
    kind: Any
    """Its type."""
    default: Any
    """Its default."""
    declared: Declaration
    """The rest."""

    @property
    def is_internal(self) -> bool:
        """Whether fercli sets it for itself."""
        return self.declared.get("internal", False)

    @property
    def values(self) -> tuple[str, ...]:
        """The words that a shell completes."""
        return tuple(self.declared.get("choices", ())) or self.declared.get("suggestions", ())

    @property
    def range(self) -> str:
        """What its values must be, as `above 0 and at most 1`; empty without bounds."""
        return _describe_range(self.declared)


def option(default: _T, **declared: Unpack[Declaration]) -> _T:
    """Return a dataclass field that declares an option; see `Declaration`."""
    return field(default=default, metadata=declared)


def list_options(kind: type[Any]) -> list[Option]:
    """Return the options that a dataclass declares itself, in order."""
    kinds = get_type_hints(kind)
    return [
        Option(
            name=item.name,
            kind=kinds[item.name],
            default=item.default,
            declared=Declaration(**item.metadata),  # type: ignore[typeddict-item]  # by `option`
        )
        for item in dataclasses.fields(kind)
        if item.metadata
    ]


def check_fields(config: DataclassInstance) -> list[str]:
    """Return a sentence for each field whose value is not among its choices or in its range."""
    problems: list[str] = []
    for item in dataclasses.fields(config):
        value, declared = getattr(config, item.name), item.metadata
        if "choices" in declared:
            problems += find_unknown_choice(item.name, value, declared["choices"])
        problems += [
            f"{item.name} must be {_describe_range(declared)}, not {number}"
            for number in (value if isinstance(value, tuple) else (value,))
            if number is not None and not _is_allowed(number, declared)
        ]
    return problems


def raise_on(problems: list[str]) -> None:
    """Do nothing without problems.

    Raises:
        ConfigError: There are some; all are in it.
    """
    if problems:
        raise ConfigError(*problems)


def _is_allowed(value: Any, declared: Mapping[str, Any]) -> bool:  # noqa: ANN401  # of any field
    bounds = _get_bounds(declared)
    return not bounds or value == declared.get("off") or is_within(value, **bounds)


def _describe_range(declared: Mapping[str, Any]) -> str:
    off = f"{declared['off']} or " if "off" in declared else ""
    return off + describe_range(**_get_bounds(declared))


def _get_bounds(declared: Mapping[str, Any]) -> dict[str, float]:
    return {name: declared[name] for name in ("low", "high", "above", "below") if name in declared}
