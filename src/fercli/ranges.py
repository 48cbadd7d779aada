"""Range checks that return their finding as a sentence, so that all of them can be reported."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable

__all__ = [
    "find_below",
    "find_excess",
    "find_not_above",
    "find_outside",
    "find_unknown_choice",
    "suggest",
]


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known word nearest to `word`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def find_unknown_choice(name: str, value: str, choices: Iterable[str]) -> list[str]:
    """Return a sentence when `value` is none of `choices`, else nothing."""
    choices = list(choices)
    if value in choices:
        return []
    known = ", ".join(choices)
    return [f"unknown {name} {value!r}: choose from {known}{suggest(value, choices)}"]


def find_outside(name: str, value: float, low: float, high: float) -> list[str]:
    """Return a sentence when `value` is outside [low, high] or not a number, else nothing."""
    return [] if low <= value <= high else [f"{name} must be between {low} and {high}, not {value}"]


def find_below(name: str, value: float, low: float) -> list[str]:
    """Return a sentence when `value` is below `low` or not finite, else nothing."""
    good = low <= value < math.inf
    return [] if good else [f"{name} must be at least {low}, not {value}"]


def find_excess(name: str, value: float, high: float) -> list[str]:
    """Return a sentence when `value` is above `high` or not a number, else nothing."""
    return [] if value <= high else [f"{name} must be at most {high}, not {value}"]


def find_not_above(name: str, value: float, low: float) -> list[str]:
    """Return a sentence when `value` is at or below `low` or not finite, else nothing."""
    good = low < value < math.inf
    return [] if good else [f"{name} must be above {low}, not {value}"]
