from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from fercli.errors import ModelFileError, RunExistsError
from fercli.locks import FOLDER_LOCK
from fercli.metadata import RunRecord
from fercli.results import EpochReport
from fercli.runs import (
    RunFolder,
    find_newest_run,
    find_repeats,
    is_finished,
    read_history,
    read_repeats_record,
    read_scores,
    utc_now,
)
from fercli.storage import seal_json

GOLDEN = Path(__file__).parents[1] / "golden"


def load(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def make_run(
    path: Path, *, finished_at: str | None = "2026-01-01", model: bool = True
) -> RunFolder:
    """Return a run of which there are a record and, empty, its model."""
    run = RunFolder(path)
    record = RunRecord.from_json(load("run"), path=path)
    run.write_record(record.replace(finished_at=finished_at))
    if model:
        run.model.touch()
    return run


def test_a_run_begins_in_a_folder_without_anything(tmp_path: Path) -> None:
    names = ("new", "held", "killed", "used", "file")
    new, held, killed, used, file = (RunFolder(tmp_path / name) for name in names)
    file.path.touch()
    draft = ".run.json.2a505b6c.tmp"
    for run, name in ((held, FOLDER_LOCK), (killed, draft), (used, "notes.tmp")):
        run.path.mkdir()
        (run.path / name).touch()

    for run in (new, held, killed):
        run.check_new()
    used.check_new(overwrite=True)
    with pytest.raises(RunExistsError, match="used is already there"):
        used.check_new()
    for overwrite in (False, True):
        with pytest.raises(RunExistsError, match="file is a file, and a run is a folder"):
            file.check_new(overwrite=overwrite)


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.remove_drafts()
    run.checkpoints.mkdir(parents=True)
    drafts = [run.path / ".run.json.2a505b6c.tmp",
              run.checkpoints / ".step-000000001.safetensors.00000000.tmp"]  # fmt: skip
    others = [
        run.record,
        run.path / ".tmp",
        run.path / ".run.json.tmp",
        run.path / "a.2a505b6c.tmp",
    ]
    for path in (*drafts, *others):
        path.touch()

    run.remove_drafts()

    assert not any(path.exists() for path in drafts)
    assert all(path.exists() for path in others)


def test_only_the_files_of_a_run_and_its_members_are_removed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    member = RunFolder(run.members / "1")
    own = [
        *run.files, *member.files, run.checkpoints / "step-000000005.safetensors",
        run.events / "events.out.tfevents.1", member.checkpoints / "step-000000001.safetensors",
    ]  # fmt: skip
    others = [run.path / "notes.txt", run.checkpoints / "mine.safetensors", run.events / "mine"]
    for path in (*own, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    listed = list(run.list_files())
    run.clear()

    assert sorted(listed) == sorted(own)
    # What is interrupted there is no finished run, whose files are gone already.
    assert listed.index(member.record) < listed.index(run.record) < listed.index(run.model)
    assert sorted(path for path in run.path.rglob("*") if path.is_file()) == sorted(others)


def test_files_of_a_run_have_names_of_their_own(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    others = [run.checkpoints, run.members, run.events]

    assert len({path.name for path in (*run.files, *others)}) == len(run.files) + 3
    assert all(path.parent == tmp_path for path in (*run.files, *others))


def test_a_run_is_finished_with_its_end_and_its_model(tmp_path: Path) -> None:
    assert is_finished(make_run(tmp_path / "whole"))
    assert not is_finished(make_run(tmp_path / "running", finished_at=None))
    assert not is_finished(make_run(tmp_path / "lost", model=False))
    assert not is_finished(RunFolder(tmp_path / "nothing"))
    torn = make_run(tmp_path / "torn")
    torn.record.write_text("{")
    assert not is_finished(torn)


def test_finished_repeats_are_found_in_their_order(tmp_path: Path) -> None:
    for number in (10, 9, 2):
        make_run(tmp_path / f"seed-{number}")
    make_run(tmp_path / "seed-3", finished_at=None)
    assert find_repeats(tmp_path) == []
    (tmp_path / "repeats.json").touch()

    assert [run.name for run in find_repeats(tmp_path)] == ["seed-2", "seed-9", "seed-10"]


def test_of_runs_that_ended_at_once_the_last_by_name_is_the_newest(tmp_path: Path) -> None:
    for name in ("b", "a"):
        make_run(tmp_path / name)

    assert find_newest_run(tmp_path) == tmp_path / "b"


def test_repeats_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    value = {"schema": 1, "kind": "repeats", "seeds": 2, "folds": 0, "config": {}, "sha256": "0"}
    (tmp_path / "repeats.json").write_text(json.dumps(value))
    assert read_repeats_record(tmp_path).seeds == 2

    (tmp_path / "repeats.json").write_text("{")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ModelFileError, match=r"repeats\.json cannot be read"):
            read_repeats_record(folder)


def test_the_history_of_a_run_is_read(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    names = [item.name for item in dataclasses.fields(EpochReport)]
    rows = [[number, *(number + place / 10 for place in range(1, len(names)))] for number in (1, 2)]
    lines = [",".join(names), *(",".join(map(str, row)) for row in rows)]
    run.metrics.write_text("\n".join(lines) + "\n")

    assert [dataclasses.astuple(report) for report in read_history(run)] == list(map(tuple, rows))
    for odd in ("epoch\n1\n", "\n".join([lines[0], "1,x"]), "\n".join([lines[0], "1"])):
        run.metrics.write_text(odd)
        with pytest.raises(ModelFileError, match=r"metrics\.csv cannot be read"):
            read_history(run)


def test_the_last_whole_score_of_each_split_counts(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert read_scores(run) == {}
    score = load("model")["scores"]["public"]
    other = {**score, "dataset": {"source": "mine.csv", "sha256": "1"}}
    changed = {**seal_json(score), "accuracy": 0.9}
    lines = [
        score, seal_json({**score, "accuracy": 0.25}), seal_json(other), changed, [], {"split": "x"}
    ]  # fmt: skip
    run.scores.write_text("\n".join(map(json.dumps, lines)) + '\n{"torn\n')

    scores = read_scores(run)

    assert list(scores) == ["public", "public of mine.csv"]
    assert scores["public"].accuracy == 0.25
    assert scores["public of mine.csv"].accuracy == score["accuracy"]


def test_times_are_sorted_as_text() -> None:
    at = utc_now()

    assert abs(dt.datetime.fromisoformat(at) - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert at.endswith("+00:00")
    assert len(at) == len("2026-01-01T00:00:00.000+00:00")
