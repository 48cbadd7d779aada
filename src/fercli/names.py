"""File names and addresses as people may see them."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["count", "disarm_cell", "hide_secrets", "name_split", "safe_name", "shorten"]

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
"""How cells begin that a spreadsheet would take for more than text; the last marks those."""
_LONG_WORD: Final = re.compile(r"\S{1001,}")
"""Paths of a thousand characters are shown whole; what is longer is nobody's to read."""
_LONG_TEXT: Final = 5000
"""Characters of a message."""
_USER: Final = re.compile(r"(?<=://)(?:[^\s/?#]*@|[^\s/?#@:]*:(?!\d+[/?#])[^\s@]*@)")
"""The name and password of an address; the second form is of a password that is not escaped."""
_SECRET: Final = re.compile(
    r"([?&;#][^\s?&;#=]*(?:us(?:e)?r|login|pass|pwd|psw|token|secret|key|auth|sig|cred)"
    r"[^\s?&;#=]*=)[^\s&;#'\"]*",
    re.IGNORECASE,
)
"""A value of an address's query that may be a password, as cameras and signed addresses have."""


def safe_name(text: str) -> str:
    """Return a name as it may be shown on a terminal: no control codes, no lone surrogates.

    Rich lets an escape character through, and a terminal obeys it.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text.encode("utf-8", "backslashreplace").decode()
    )


def name_split(split: str) -> str:
    """Return the name of what validates, as people say it: `10 % of train` for the split `0.1`."""
    share, _, source = split.partition(" ")
    try:
        percent = f"{100 * float(share):g} % of train"
    except ValueError:
        return split
    return f"{percent} {source}".strip()


def hide_secrets(text: str) -> str:
    """Return an address, or a text with some in it, without what may be a password.

    Names and passwords before a host are left out; values of a query whose name sounds like one
    become `***`. An address ends at white space.
    """
    return _SECRET.sub(r"\1***", _USER.sub("", text))


def disarm_cell(text: str) -> str:
    """Return a text as a cell of a CSV that no spreadsheet takes for a formula.

    Without its first apostrophe, where it begins with one, it is the text again.

    Source:
        OWASP, "CSV Injection": an apostrophe before what begins with one of these characters.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def shorten(text: str) -> str:
    """Return a message with what is too long to be read cut out, and how much that was."""
    text = _LONG_WORD.sub(lambda word: _cut(word[0]), text)
    return text if len(text) <= _LONG_TEXT else _cut(text)


def _cut(text: str) -> str:
    return f"{text[:400]}[{len(text) - 500:,} characters]{text[-100:]}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 file`, `1,000 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
