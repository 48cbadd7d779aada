from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fercli.errors import ConfigError, DependencyMissingError, OutputExistsError
from fercli.results import RepeatedRun, RepeatsResult
from fercli.table_files import (
    Column,
    ResultTable,
    build_repeats_table,
    check_table,
    write_table,
)

TABLE = ResultTable(
    "5 % of a_b",
    [
        Column("name", "name", "text"),
        Column("accuracy", "accuracy", "percent"),
        Column("n", "images", "count"),
        Column("ece", "ECE", "decimal"),
    ],
    [["a_b & c\\d", 2 / 3, 12345, 0.01], ["=1+1|<b>", None, 1, 1 / 3]],
)


def write(path: Path) -> str:
    write_table(path, TABLE)
    return path.read_text(encoding="utf-8")


def test_latex_is_escaped_and_rounded(tmp_path: Path) -> None:
    lines = write(tmp_path / "t.tex").splitlines()

    assert lines[0] == "% 5 % of a_b"
    assert lines[2] == r"\begin{tabular}{lrrr}"
    assert lines[4] == r"name & accuracy, \% & images & ECE \\"
    assert lines[6] == r"a\_b \& c\textbackslash{}d & 66.67 & 12,345 & 0.010 \\"
    assert lines[7] == r"=1+1|<b> &  & 1 & 0.333 \\"
    assert lines[-1] == r"\end{tabular}"


def test_markdown_keeps_its_cells(tmp_path: Path) -> None:
    lines = write(tmp_path / "t.md").splitlines()

    assert lines[2] == "| name | accuracy, % | images | ECE |"
    assert lines[3] == "| --- | ---: | ---: | ---: |"
    assert lines[5] == r"| =1+1\|&lt;b> |  | 1 | 0.333 |"


def test_csv_has_every_digit_and_no_formula(tmp_path: Path) -> None:
    rows = list(csv.reader(write(tmp_path / "t.csv").splitlines()))

    assert rows[0] == ["name", "accuracy", "n", "ece"]
    assert rows[1] == ["a_b & c\\d", repr(2 / 3), "12345", "0.01"]
    assert rows[2] == ["'=1+1|<b>", "", "1", repr(1 / 3)]


def test_excel_has_numbers_and_no_formula(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")

    write_table(tmp_path / "t.xlsx", TABLE)

    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx").active
    assert [cell.value for cell in sheet[1]] == ["name", "accuracy", "n", "ece"]
    assert [cell.value for cell in sheet[2]] == ["a_b & c\\d", 2 / 3, 12345, 0.01]
    assert sheet["B2"].number_format == "0.00%"
    assert (sheet["A3"].value, sheet["A3"].data_type) == ("=1+1|<b>", "s")


def test_what_could_not_be_written_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_table(None, force=False)
    with pytest.raises(ConfigError, match=r"must end in .tex, .md, .csv, .xlsx"):
        check_table(tmp_path / "t.doc", force=False)
    there = tmp_path / "t.csv"
    there.write_text("")
    with pytest.raises(OutputExistsError):
        check_table(there, force=False)
    check_table(there, force=True)
    with pytest.raises(ConfigError, match="overwrite the input"):
        check_table(there, force=True, inputs=[there])
    monkeypatch.setattr("fercli.dependencies.is_there", lambda _module: False)
    with pytest.raises(DependencyMissingError) as caught:
        check_table(tmp_path / "t.xlsx", force=False)
    assert caught.value.hint == "pip install 'fercli[excel]'"


@pytest.mark.parametrize("kind", ["seeds", "folds"])
def test_repeats_end_with_what_they_came_to(kind: str) -> None:
    run = RepeatedRun(
        name="fold-1", run_directory="r", seed=3, epochs=4, best_epoch=2, validation_accuracy=0.5,
        accuracy=0.4, macro_f1=0.3, n_images=9, duration_s=1,
    )  # fmt: skip
    score = "accuracy" if kind == "folds" else "validation_accuracy"
    result = RepeatsResult(
        run_directory="r", kind=kind, validation_split="public", runs=[run, run], score=score,
        mean=0.4, standard_deviation=0.1, mean_ci95=(0.3, 0.5), duration_s=2,
    )  # fmt: skip

    table = build_repeats_table(result)

    at = [column.name for column in table.columns].index(score)
    assert [row[0] for row in table.rows[:3]] == ["fold-1", "fold-1", "mean"]
    assert [row[at] for row in table.rows[2:]] == [0.4, 0.1, 0.3, 0.5]
    assert {len(row) for row in table.rows} == {7 if kind == "folds" else 4}
