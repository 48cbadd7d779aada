"""Tables of results as files: LaTeX and Markdown for people, CSV and Excel with every digit.

pandas writes all four as well, but escapes neither LaTeX nor formulas, and rounds by column only
when it is told to each time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fercli.dependencies import check_installed
from fercli.errors import ConfigError
from fercli.names import disarm_cell, safe_name
from fercli.storage import check_apart, check_output, open_atomically, write_text

if TYPE_CHECKING:
    from fercli.results import ComparisonResult, EvaluationResult, RepeatsResult

__all__ = [
    "TABLE_SUFFIXES",
    "Column",
    "ResultTable",
    "build_comparison_table",
    "build_evaluation_table",
    "build_repeats_table",
    "check_table",
    "write_table",
]

TABLE_SUFFIXES: Final = (".tex", ".md", ".csv", ".xlsx")
"""What a table's name may end in."""
_TEX: Final = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
})  # fmt: skip
_EXCEL_FORMATS: Final = {"percent": "0.00%", "decimal": "0.000", "count": "#,##0"}


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    """In CSV and Excel, as in the JSON."""
    title: str
    """For people."""
    kind: str
    """`text`, `count`, `percent` (of values in [0, 1]) or `decimal`."""


@dataclass(frozen=True)
class ResultTable:
    """Some results, a row for each."""

    caption: str
    """What they are of, in one line."""
    columns: Sequence[Column]
    """In order."""
    rows: Sequence[Sequence[Any]]
    """Values with every digit, None where there is none."""


def build_evaluation_table(result: EvaluationResult) -> ResultTable:
    """Return precision, recall and F1 of every label, with both averages and the accuracy."""
    scores = result.scores
    columns = [
        Column("label", "label", "text"),
        Column("precision", "precision", "percent"),
        Column("recall", "recall", "percent"),
        Column("f1", "F1", "percent"),
        Column("support", "images", "count"),
    ]
    rows: list[list[Any]] = [
        [label, one.precision, one.recall, one.f1, one.support]
        for label, one in scores.per_class.items()
    ]
    for name in ("macro", "weighted"):
        averages = [getattr(scores, f"{name}_{kind}") for kind in ("precision", "recall", "f1")]
        rows.append([f"{name} average", *averages, scores.n_images])
    rows.append(["accuracy", None, None, scores.accuracy, scores.n_images])
    low, high = scores.accuracy_ci95
    caption = (
        f"{result.model} on {result.split} of {result.dataset['source']} ({result.protocol}): "
        f"accuracy {scores.accuracy:.2%}, 95 % interval {low:.2%} to {high:.2%}, "
        f"n = {scores.n_images:,}"
    )
    return ResultTable(caption, columns, rows)


def build_comparison_table(result: ComparisonResult) -> ResultTable:
    """Return a row for each model: scores, size, speed."""
    columns = [
        Column("model", "model", "text"),
        Column("accuracy", "accuracy", "percent"),
        Column("accuracy_low", "95 % from", "percent"),
        Column("accuracy_high", "to", "percent"),
        Column("macro_f1", "macro F1", "percent"),
        Column("ece", "ECE", "decimal"),
        Column("parameters", "parameters", "count"),
        Column("size_bytes", "bytes", "count"),
        Column("images_per_s", "images/s", "count"),
        Column("protocol", "protocol", "text"),
    ]
    rows = [
        [
            one.name, one.scores.accuracy, *one.scores.accuracy_ci95, one.scores.macro_f1,
            one.scores.ece, one.parameters, one.size_bytes, one.images_per_s, one.protocol,
        ]
        for one in result.models
    ]  # fmt: skip
    source = result.dataset["source"]
    return ResultTable(f"{result.split} of {source}, n = {result.n_images:,}", columns, rows)


def build_repeats_table(result: RepeatsResult) -> ResultTable:
    """Return a row for each run, and what the score of all came to."""
    columns = [
        Column("run", "run", "text"),
        Column("seed", "seed", "count"),
        Column("best_epoch", "best epoch", "count"),
        Column("validation_accuracy", result.validation_split, "percent"),
        Column("accuracy", "fold", "percent"),
        Column("macro_f1", "macro F1", "percent"),
        Column("n_images", "images", "count"),
    ]
    shown = columns if result.kind == "folds" else columns[:4]
    rows: list[list[Any]] = [
        [getattr(run, "name" if column.name == "run" else column.name) for column in shown]
        for run in result.runs
    ]
    low, high = result.mean_ci95
    sums = {
        "mean": result.mean,
        "standard deviation": result.standard_deviation,
        "95 % interval of the mean, from": low,
        "to": high,
    }
    at = [column.name for column in shown].index(result.score)
    for name, value in sums.items():
        rows.append([name, *(value if place == at else None for place in range(1, len(shown)))])
    return ResultTable(f"{len(result.runs)} {result.kind}", shown, rows)


def check_table(path: Path | None, *, force: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuse a file that a table could not be written to; without one there is nothing to refuse.

    Args:
        path: The file.
        force: Overwrite what is there.
        inputs: Files that are not overwritten all the same.

    Raises:
        ConfigError: Its name ends otherwise than in `TABLE_SUFFIXES`, or it is an input.
        OutputExistsError: It is there, and `force` is not set.
        DependencyMissingError: openpyxl is needed and not installed.
    """
    if path is None:
        return
    if path.suffix not in TABLE_SUFFIXES:
        message = f"{path} is not a table: its name must end in {', '.join(TABLE_SUFFIXES)}"
        raise ConfigError(message)
    if path.suffix == ".xlsx":
        check_installed("openpyxl", consequence="tables cannot be written for Excel")
    check_apart([path], inputs)
    check_output(path, force=force)


def write_table(path: Path | None, table: ResultTable) -> None:
    """Write a table in the format that its name ends in, atomically; without one write nothing.

    LaTeX and Markdown are rounded, CSV and Excel have every digit.
    """
    if path is None:
        return
    if path.suffix == ".xlsx":
        _write_excel(path, table)
        return
    formats = {".tex": _format_tex, ".md": _format_markdown, ".csv": _format_csv}
    write_text(path, formats[path.suffix](table))


def _round(value: Any, kind: str) -> str:  # noqa: ANN401  # a cell
    """Return a cell for people."""
    if value is None:
        return ""
    if kind == "percent":
        return f"{100 * value:.2f}"
    if kind == "count":
        return f"{value:,.0f}"
    return f"{value:.3f}" if kind == "decimal" else safe_name(str(value))


def _title(column: Column) -> str:
    return f"{column.title}, %" if column.kind == "percent" else column.title


def _format_tex(table: ResultTable) -> str:
    sides = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    head = " & ".join(_title(column).translate(_TEX) for column in table.columns)
    lines = [
        f"% {safe_name(table.caption)}",
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{sides}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
    ]
    for row in table.rows:
        pairs = zip(row, table.columns, strict=True)
        cells = [_round(value, column.kind).translate(_TEX) for value, column in pairs]
        lines.append(rf"{' & '.join(cells)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _format_markdown(table: ResultTable) -> str:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def escape(text: str) -> str:
        return safe_name(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")

    sides = ["---" if column.kind == "text" else "---:" for column in table.columns]
    lines = [escape(table.caption), "", line(escape(_title(one)) for one in table.columns)]
    lines.append(line(sides))
    for row in table.rows:
        pairs = zip(row, table.columns, strict=True)
        lines.append(line(escape(_round(value, column.kind)) for value, column in pairs))
    return "\n".join([*lines, ""])


def _format_csv(table: ResultTable) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(column.name for column in table.columns)
    for row in table.rows:
        writer.writerow(disarm_cell(one) if isinstance(one, str) else one for one in row)
    return stream.getvalue()


def _write_excel(path: Path, table: ResultTable) -> None:
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    sheet.append([column.name for column in table.columns])
    for number, row in enumerate(table.rows, start=2):
        for place, (value, column) in enumerate(zip(row, table.columns, strict=True), start=1):
            cell = sheet.cell(number, place)
            cell.value = safe_name(value) if isinstance(value, str) else value
            if isinstance(value, str):
                # A text that begins with = is no formula.
                cell.data_type = "s"
            cell.number_format = _EXCEL_FORMATS.get(column.kind, "General")
    sheet.freeze_panes = "A2"
    with open_atomically(path) as stream:
        book.save(stream)
