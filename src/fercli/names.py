"""File names as people may see them."""

from __future__ import annotations

__all__ = ["safe_name"]


def safe_name(text: str) -> str:
    """Return a name as it may be shown on a terminal: no control codes, no lone surrogates.

    Rich lets an escape character through, and a terminal obeys it.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text.encode("utf-8", "backslashreplace").decode()
    )
