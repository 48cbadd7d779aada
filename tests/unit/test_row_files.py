from __future__ import annotations

from pathlib import Path

import pytest

from fercli.errors import OutputBusyError, OutputExistsError, RunFailedError
from fercli.prediction.row_files import RowFile
from fercli.prediction.writers import RowLayout
from fercli.results import PredictionRow
from fercli.storage import open_partial

LAYOUT = RowLayout(("sad", "happy"))


def row(path: str) -> PredictionRow:
    return PredictionRow(path=path, status="no_face", frames=1)


def write(file: RowFile, *paths: str, reason: BaseException | None = None) -> set[str]:
    """Write rows, fail for a reason, and return which inputs had theirs already."""
    with file.open(LAYOUT) as rows:
        for path in paths:
            rows.write(row(path))
        if reason is not None:
            raise reason
        return rows.done


def fail(file: RowFile, *paths: str) -> None:
    """Write rows, then be interrupted."""
    with pytest.raises(KeyboardInterrupt):
        write(file, *paths, reason=KeyboardInterrupt())


def count(path: str) -> int:
    return Path(path).read_text().count("\n")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_rows_have_their_name_once_they_are_whole(kind: str) -> None:
    path = Path(f"rows.{kind}")
    header = int(kind == "csv")

    fail(RowFile(path=path, kind=kind), "a.png", "b.png")
    assert not path.exists()
    assert count(f"rows.{kind}.partial") == 2 + header
    with pytest.raises(OutputExistsError, match="partial holds the rows of an interrupted"):
        write(RowFile(path=path, kind=kind), "c.png")
    # The last input may have had more faces.
    assert write(RowFile(path=path, kind=kind, resume=True), "b.png", "c.png") == {"a.png"}
    assert count(path.name) == 3 + header
    with pytest.raises(OutputExistsError, match="is already there"):
        write(RowFile(path=path, kind=kind), "d.png")
    # The rows of a finished file are gone on with, too, and it stays whole until then.
    fail(RowFile(path=path, kind=kind, resume=True))
    assert count(path.name) == 3 + header
    done = write(RowFile(path=path, kind=kind, resume=True), "c.png", "d.png")
    assert done == {"a.png", "b.png"}
    assert count(path.name) == 4 + header
    done = write(RowFile(path=path, kind=kind, resume=True), "e.png")
    assert done == {"a.png", "b.png", "c.png", "d.png"}
    write(RowFile(path=path, kind=kind, overwrite=True), "f.png")
    assert count(path.name) == 1 + header
    assert [item.name for item in Path().iterdir()] == [path.name]


def test_a_header_alone_is_nothing_to_go_on_with() -> None:
    file = RowFile(path=Path("rows.csv"), kind="csv")

    fail(file)

    assert not Path("rows.csv.partial").exists()
    write(file, "a.png")
    assert count("rows.csv") == 2


def test_what_an_interrupted_command_left_may_be_begun_again() -> None:
    path = Path("rows.csv")
    fail(RowFile(path=path, kind="csv"), "a.png", "b.png")

    write(RowFile(path=path, kind="csv", overwrite=True), "c.png")

    assert count("rows.csv") == 2
    # Nobody goes on with a torn Parquet.
    Path("rows.parquet.partial").write_bytes(b"PAR1")
    RowFile(path=Path("rows.parquet"), kind="parquet").check()
    Path("other.csv.partial").touch()
    RowFile(path=Path("other.csv"), kind="csv").check()


def test_one_process_writes_rows() -> None:
    file = RowFile(path=Path("rows.csv"), kind="csv")

    with open_partial(file.path), pytest.raises(OutputBusyError):
        write(file, "a.png")


def test_a_full_disk_names_the_rows_so_far() -> None:
    file = RowFile(path=Path("rows.csv"), kind="csv")

    full = OSError(28, "No space left on device")
    with pytest.raises(RunFailedError, match=r"rows\.csv\.partial: No space left.*the rows so far"):
        write(file, "a.png", reason=full)

    assert count("rows.csv.partial") == 2
    # There is nothing to name where it did not come so far.
    Path("file").touch()
    with pytest.raises(OSError, match="File exists"):
        write(RowFile(path=Path("file/rows.csv"), kind="csv"), "a.png")
