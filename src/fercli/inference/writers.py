"""Rows of predictions as JSON Lines or CSV, full precision.

CSV uses the standard library's writer: no data frame is needed to write lines one by one, and
`fer predict` stays light.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from typing import IO, Any, Final

from fercli.results import PredictionRow, to_json

__all__ = ["open_writer"]

_BOX: Final = ("box_x", "box_y", "box_width", "box_height")


def open_writer(
    kind: str, stream: IO[str], labels: Sequence[str]
) -> Callable[[PredictionRow], None]:
    """Return a function that writes a row to a stream.

    Args:
        kind: `jsonl` or `csv`; a CSV's header is written at once.
        stream: Text, opened with `newline=""`.
        labels: The model's labels, one CSV column `p_<label>` each.
    """
    if kind == "jsonl":

        def write_line(row: PredictionRow) -> None:
            # Escapes keep names with line breaks, or bytes that are not UTF-8, on their line.
            stream.write(json.dumps(to_json(row), ensure_ascii=True) + "\n")

        return write_line
    writer = csv.DictWriter(stream, _name_columns(labels), lineterminator="\n")
    writer.writeheader()

    def write_record(row: PredictionRow) -> None:
        writer.writerow(_flatten(row, labels))

    return write_record


def _name_columns(labels: Sequence[str]) -> list[str]:
    columns: list[str] = []
    for name in PredictionRow.__dataclass_fields__:
        if name == "box":
            columns.extend(_BOX)
        elif name == "probabilities":
            columns.extend(f"p_{label}" for label in labels)
        else:
            columns.append(name)
    return columns


def _flatten(row: PredictionRow, labels: Sequence[str]) -> dict[str, Any]:
    values = to_json(row)
    box = values.pop("box") or (None,) * 4
    probabilities = values.pop("probabilities") or {}
    values.update(zip(_BOX, box, strict=True))
    values.update({f"p_{label}": probabilities.get(label) for label in labels})
    # A name that is not UTF-8 would end the writing; its odd bytes are shown as \xNN instead.
    values["path"] = values["path"].encode("utf-8", "backslashreplace").decode()
    return values
