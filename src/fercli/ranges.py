"""Range checks that return their finding as a sentence, so that all of them can be reported."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Final

__all__ = ["describe_range", "find_alike", "find_unknown_choice", "is_within", "suggest"]

_LIKE: Final = 0.65
"""From which similarity on a word may be another one mistyped; `resnet` is not `best`."""


def find_alike(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` may be mistyped for, or None."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=_LIKE)
    return close[0] if close else None


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known word nearest to `word`, or nothing."""
    alike = find_alike(word, known)
    return f"; did you mean {alike!r}?" if alike else ""


def find_unknown_choice(name: str, value: str, choices: Iterable[str]) -> list[str]:
    """Return a sentence when `value` is none of `choices`, else nothing."""
    choices = list(choices)
    if value in choices:
        return []
    known = ", ".join(choices)
    return [f"unknown {name} {value!r}: choose from {known}{suggest(value, choices)}"]


def describe_range(
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> str:
    """Return a range in words: `between 1 and 9`, `above 0 and at most 1`, `at least 0`.

    Args:
        low: Smallest value.
        high: Largest value.
        above: What a value must be greater than.
        below: What a value must be less than.
    """
    if low is not None and high is not None:
        return f"between {low} and {high}"
    bounds = {"at least": low, "above": above, "at most": high, "below": below}
    return " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)


def is_within(
    value: float,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> bool:
    """Return whether a value is finite and within the bounds; see `describe_range`."""
    # Even the widest `above` and `below` are false of infinities and of nan.
    return low <= value <= high and above < value < below
