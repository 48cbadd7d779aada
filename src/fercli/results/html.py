"""Results as small HTML tables, for notebooks."""

from __future__ import annotations

import html
from collections.abc import Mapping

__all__ = ["format_html"]


def format_html(title: str, pairs: Mapping[str, object]) -> str:
    """Return a title and a table of two columns; whatever they hold is text."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(str(name))}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in pairs.items()
    )
    return f"<b>{html.escape(title)}</b><table>{rows}</table>"
