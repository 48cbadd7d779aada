"""Results as small HTML tables, for notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["format_html", "format_html_table"]


def format_html(title: str, pairs: Mapping[str, object]) -> str:
    """Return a title and a table of two columns; whatever they hold is text."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(str(name))}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in pairs.items()
    )
    return f"<b>{html.escape(title)}</b><table>{rows}</table>"


def format_html_table(title: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a title and a table with a row of column names; whatever they hold is text."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row) + "</tr>"
        for row in rows
    )
    return f"<b>{html.escape(title)}</b><table><tr>{head}</tr>{body}</table>"
