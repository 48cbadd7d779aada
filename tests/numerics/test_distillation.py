from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fercli.config import DistillationConfig
from fercli.errors import ModelFileError, RunFailedError, RunInterruptedError
from fercli.models import load_network
from fercli.runs import RunFolder
from fercli.settings import build_config
from fercli.storage import read_tensor_header
from fercli.training import Watcher, train
from fercli.training.teacher import Teacher, ask_teachers, load_targets, open_teachers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.config import TrainConfig
    from fercli.data import Dataset


@dataclass
class Parrot:
    """A runtime that always gives one answer, and sees whether images came mirrored."""

    labels: tuple[str, ...]
    answer: tuple[float, ...]
    metadata: dict[str, Any] = field(default_factory=dict)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(np.array(self.answer, dtype=np.float32), (len(images), 1))


def digest(run: RunFolder) -> str:
    return str(read_tensor_header(run.model, RunFailedError)["sha256"])


def test_teachers_are_averaged_with_their_labels_by_name(tmp_path: Path) -> None:
    first = Teacher(Parrot(("a", "b"), (0.9, 0.1)), [0, 1], {"path": "first"})
    second = Teacher(Parrot(("b", "a"), (0.9, 0.1)), [1, 0], {"path": "second"})
    images = np.zeros((3, 48, 48), dtype=np.uint8)

    targets = ask_teachers([first, second], images, tmp_path / "targets.safetensors")

    assert targets.tolist() == [[pytest.approx(0.5), pytest.approx(0.5)]] * 3
    kept = load_targets(tmp_path / "targets.safetensors", 3)
    assert kept is not None
    assert np.array_equal(kept[0], targets)
    assert [teacher["path"] for teacher in kept[1]] == ["first", "second"]
    with pytest.raises(ModelFileError):
        load_targets(tmp_path / "targets.safetensors", 4)


def test_a_teacher_must_know_the_labels(trained: RunFolder) -> None:
    names = tuple(json.loads(trained.record.read_text())["dataset"]["labels"])

    (teacher,) = open_teachers([str(trained.path)], names[::-1], "cpu")
    assert teacher.columns == list(range(len(names)))[::-1]
    with pytest.raises(ModelFileError, match="other labels"):
        open_teachers([str(trained.path)], (*names[:-1], "bored"), "cpu")


def test_a_student_learns_from_a_model(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    config = build_config({"teacher": str(trained.onnx)}, base=tiny_config)

    train(faces, config, RunFolder(tmp_path / "student"))

    student = RunFolder(tmp_path / "student")
    assert digest(student) != digest(trained)
    (teacher,) = load_network(student.model)[1]["teachers"]
    assert teacher["path"] == str(trained.onnx)
    assert teacher["validation"]["n_images"] == 60


def test_a_missing_teacher_leaves_nothing_behind(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    config = build_config({"teacher": str(tmp_path / "nobody")}, base=tiny_config)

    with pytest.raises(ModelFileError):
        train(faces, config, RunFolder(tmp_path / "student"))

    assert not (tmp_path / "student").exists()


def test_members_teach_and_stopping_anywhere_changes_nothing(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    config = replace(tiny_config, distillation=DistillationConfig(members=2))
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    notes: list[str] = []
    result = train(faces, config, whole, watcher=Watcher(on_note=notes.append))
    steps = 0

    def stop_often() -> int:
        nonlocal steps
        steps += 1
        return 15 if steps % 17 == 0 else 0

    stops: list[RunInterruptedError] = []
    while not cut.model.exists():
        try:
            train(faces, config, cut, watcher=Watcher(should_stop=stop_often))
        except RunInterruptedError as reason:
            stops.append(reason)

    assert [text for text in notes if text.startswith("member")] == [
        "member 1 of 2, seed 1", "member 2 of 2, seed 2",
    ]  # fmt: skip
    assert any(stop.message.startswith("member 2 of 2: interrupted") for stop in stops)
    assert {stop.hint for stop in stops} == {f"go on with it: fer train --resume {cut.path}"}
    assert result.members == 2
    assert digest(cut) == digest(whole)
    for number in ("1", "2"):
        members = [RunFolder(run.members / number) for run in (whole, cut)]
        assert digest(members[0]) == digest(members[1])
    metadata = load_network(whole.model)[1]
    digests = [teacher["sha256"] for teacher in metadata["teachers"]]
    assert digests == [digest(RunFolder(whole.members / number)) for number in ("1", "2")]
    assert len({*digests, digest(whole)}) == 3
