from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fercli.config import DistillationConfig
from fercli.data.duplicates import digest_images
from fercli.emotions import LABELS
from fercli.errors import ConfigError, ModelFileError, RunFailedError, RunInterruptedError
from fercli.inference import predict_in_batches, predict_mirrored
from fercli.metadata import ModelMetadata, TeacherRecord
from fercli.model_files import find_model, load_network, open_runtime
from fercli.recipes import write_command
from fercli.runs import RunFolder, read_run_record
from fercli.settings import build_config, parse_setting
from fercli.storage import load_tensors, read_tensor_header
from fercli.training import Callbacks, extend, resume, train
from fercli.training.distillation.self_distillation import (
    build_memory,
    read_self_targets,
    update_self_targets,
)
from fercli.training.distillation.targets import load_targets, save_targets
from fercli.training.distillation.teacher import (
    Teacher,
    ask_teachers,
    open_teachers,
)
from fercli.training.loss import soften
from fercli.training.splits import assign_folds, choose_splits
from fercli.training.step import take_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fercli.config import TrainConfig
    from fercli.data import Dataset

pytestmark = pytest.mark.usefixtures("weights_alone")


@dataclass
class Parrot:
    """A runtime that always gives one answer, and sees whether images came mirrored."""

    labels: tuple[str, ...]
    answer: tuple[float, ...]
    device: str = "cpu"

    @property
    def metadata(self) -> ModelMetadata:
        return ModelMetadata(labels=self.labels)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(np.array(self.answer, dtype=np.float32), (len(images), 1))


def digest(run: RunFolder) -> str:
    return str(read_tensor_header(run.model, RunFailedError)["sha256"])


def name(model: str) -> TeacherRecord:
    return TeacherRecord(model=model, sha256="0")


def never() -> int:
    return 0


def test_teachers_are_averaged_with_their_labels_by_name(tmp_path: Path) -> None:
    first = Teacher(Parrot(("a", "b", "c"), (0.7, 0.2, 0.1)), [0, 1, 2], name("first"))
    # Its b is our a, its c our b, its a our c: an inverted permutation would show.
    second = Teacher(Parrot(("c", "a", "b"), (0.6, 0.3, 0.1)), [1, 2, 0], name("second"))
    images = np.zeros((3, 48, 48), dtype=np.uint8)
    notes: list[str] = []

    targets = ask_teachers([first, second], images, notes.append, never)

    assert targets is not None
    assert targets == pytest.approx(np.array([[0.5, 0.15, 0.35]] * 3), abs=1e-6)
    assert notes == [f"teacher {number} of 2 predicts 3 images" for number in (1, 2)]
    assert ask_teachers([first, second], images, notes.append, lambda: 15) is None
    path = tmp_path / "targets.safetensors"
    assert load_targets(path, (3, 3)) is None
    save_targets(path, targets, [first.identity, second.identity])
    kept = load_targets(path, (3, 3))
    assert kept is not None
    assert np.array_equal(kept[0], targets)
    assert [teacher.model for teacher in kept[1]] == ["first", "second"]
    for shape in ((4, 3), (3, 7)):
        with pytest.raises(ModelFileError, match="does not hold"):
            load_targets(path, shape)


def test_a_teacher_must_know_the_labels(trained: RunFolder) -> None:
    names = tuple(json.loads(trained.record.read_text())["dataset"]["labels"])
    turned = (*names[1:], names[0])

    (teacher,) = open_teachers([str(trained.path)], turned, "cpu")
    assert [names[column] for column in teacher.columns] == list(turned)
    assert teacher.identity.model == "tiny"
    with pytest.raises(ModelFileError, match="other labels"):
        open_teachers([str(trained.path)], (*names[:-1], "bored"), "cpu")


def test_a_network_learns_from_its_own_answers(tiny_config: TrainConfig) -> None:
    config = build_config({"self_weight": 0.8, "self_memory": 0.25, "epochs": 4}, base=tiny_config)
    memory = build_memory(6, 3, config)
    assert memory is not None
    batch, labels = torch.tensor([4, 1]), torch.tensor([0, 2])
    hard = torch.tensor([[1.0, 0, 0], [0, 0, 1]])
    first = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    second = torch.tensor([[0.1, 0.9, 0.0], [1.0, 0.0, 0.0]])

    assert torch.equal(read_self_targets(memory, batch, labels, config, 3), hard)
    update_self_targets(memory, batch, first, config)
    assert torch.equal(memory[batch], first)
    assert torch.equal(read_self_targets(memory, batch, labels, config, 0), hard)
    update_self_targets(memory, batch, second, config)

    assert torch.allclose(memory[batch], 0.25 * first + 0.75 * second)
    assert memory[[0, 2, 3, 5]].sum() == 0
    # Half way through, half of the weight at the end.
    expected = 0.6 * hard + 0.4 * memory[batch]
    assert torch.allclose(read_self_targets(memory, batch, labels, config, 2), expected)
    assert build_memory(6, 3, tiny_config) is None


def test_every_image_is_taught_its_own_answer(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = faces.select("train")
    known = {
        image.tobytes(): label for image, label in zip(shown.images, shown.labels, strict=True)
    }

    class Oracle(Parrot):
        def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            # Mirrored images are strangers to it.
            labels = [known.get(image.tobytes()) for image in images]
            rows = [np.full(7, 1 / 7) if label is None else np.eye(7)[label] for label in labels]
            return np.array(rows, dtype=np.float32)

    teacher = Teacher(Oracle(LABELS, ()), list(range(7)), name("oracle"))
    monkeypatch.setattr(
        "fercli.training.distillation.teacher.open_teachers", lambda *_, **__: [teacher]
    )
    seen = []

    def look(*arguments: Any) -> Any:
        seen.append(torch.equal(arguments[5].argmax(1), arguments[2]))
        return take_step(*arguments)

    monkeypatch.setattr("fercli.training.loop.take_step", look)

    train(faces, build_config({"teacher": "oracle"}, base=tiny_config), RunFolder(tmp_path / "run"))

    assert len(seen) == 24
    assert all(seen)


def test_a_student_learns_from_a_model(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    config = build_config({"teacher": str(trained.onnx)}, base=tiny_config)

    train(faces, config, RunFolder(tmp_path / "student"))

    student = RunFolder(tmp_path / "student")
    assert digest(student) != digest(trained)
    (teacher,) = load_network(student.model)[1].teachers
    assert teacher.model == "model.onnx"
    assert teacher.validation
    assert teacher.validation.n_images == 60


def test_several_teachers_teach_their_mean(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    other = RunFolder(tmp_path / "other")
    train(faces, replace(tiny_config, seed=5, epochs=1), other)
    teachers = [str(trained.onnx), str(other.path)]
    config = build_config({"teacher": teachers, "epochs": 1}, base=tiny_config)

    train(faces, config, RunFolder(tmp_path / "student"))

    student = RunFolder(tmp_path / "student")
    images = faces.select("train").images
    each = []
    for name in teachers:
        runtime = open_runtime(find_model(name))
        plain = predict_in_batches(runtime, images)
        each.append(predict_mirrored(runtime, images, plain))
    targets, _ = load_targets(student.targets, (len(images), 7)) or (None, None)
    assert targets == pytest.approx(np.mean(each, axis=0), abs=1e-5)
    named = load_network(student.model)[1].teachers
    assert [one.model for one in named] == ["model.onnx", "other"]
    record = read_run_record(student.path)
    assert "--teacher model.onnx --teacher other" in write_command(record, public=True)
    assert f"--teacher {teachers[0]} --teacher {teachers[1]}" in write_command(record)


def test_members_that_cross_fit_teach_what_they_never_saw(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    config = build_config({"members": 3, "cross_fit": True, "epochs": 1}, base=tiny_config)

    train(faces, config, run)

    images = faces.select("train").images
    folds = assign_folds(images, 3)
    targets, _ = load_targets(run.targets, (len(images), 7)) or (None, None)
    assert targets is not None
    for fold in (1, 2, 3):
        member = RunFolder(run.members / str(fold))
        learned, _ = load_tensors(member.train_digests, ModelFileError)
        left_out = images[folds == fold]
        assert 100 < len(left_out) < 220
        assert not np.isin(digest_images(left_out), learned["digests"]).any()
        assert np.isin(digest_images(images[folds != fold]), learned["digests"]).all()
        runtime = open_runtime(find_model(str(member.path)))
        answers = predict_mirrored(runtime, left_out, predict_in_batches(runtime, left_out))
        assert targets[folds == fold] == pytest.approx(answers, abs=1e-6)
    learned, _ = load_tensors(run.train_digests, ModelFileError)
    assert np.isin(digest_images(images), learned["digests"]).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"cross_fit": True},
        {"folds": 2},
        {"fold": 1},
        {"folds": 2, "fold": 3},
        {"folds": 1, "fold": 1},
    ],
    ids=str,
)
def test_folds_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        build_config(changes)


def test_the_same_teacher_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="named twice"):
        build_config({"teacher": ["base", "base"]})


def test_a_run_of_an_older_fercli_names_one_teacher() -> None:
    assert build_config({"teacher": "runs/a"}).distillation.teacher == ("runs/a",)
    assert build_config({"teacher": ""}).distillation.teacher == ()
    assert parse_setting("teacher=a,b") == ("teacher", ("a", "b"))


def test_a_teacher_that_changed_is_refused(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    teacher = shutil.copy(trained.model, tmp_path / "teacher.safetensors")
    config = build_config({"teacher": str(teacher)}, base=tiny_config)
    run = RunFolder(tmp_path / "student")
    with pytest.raises(RunInterruptedError):
        train(faces, config, run, callbacks=Callbacks(should_stop=lambda: 2))
    assert not run.targets.exists()
    other = RunFolder(tmp_path / "other")
    train(faces, replace(tiny_config, seed=5, epochs=1), other)
    shutil.copy(other.model, teacher)

    with pytest.raises(ModelFileError, match="not the one the run began with"):
        resume(faces, run)


def test_a_teacher_judged_on_other_images_is_said_aloud(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    changes = {"teacher": str(trained.path), "validation": "0.2", "epochs": 1}
    notes: list[str] = []

    config = build_config(changes, base=tiny_config)
    train(faces, config, RunFolder(tmp_path / "run"), callbacks=Callbacks(on_note=notes.append))

    assert any("may have been trained on the validation images" in note for note in notes)


def test_members_are_judged_on_the_same_images(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    changes = {"members": 2, "validation": "0.2", "epochs": 1}
    splits = []

    def spy(*arguments: Any) -> Any:
        splits.append(choose_splits(*arguments))
        return splits[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fercli.training.run.choose_splits", spy)
        train(faces, build_config(changes, base=tiny_config), RunFolder(tmp_path / "run"))

    assert len(splits) == 3
    for other in splits[1:]:
        assert np.array_equal(other.validation.images, splits[0].validation.images)


def test_a_failing_member_names_its_own_state(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    config = build_config({"members": 2, "learning_rate": 1e30}, base=tiny_config)

    with pytest.raises(RunFailedError) as caught:
        train(faces, config, RunFolder(tmp_path / "run"))

    assert caught.value.message.startswith("member 1 of 2: the loss became")
    assert caught.value.hint.count("state") == 1


def test_a_consistent_teacher_sees_what_its_student_sees(
    faces: Dataset,
    tiny_config: TrainConfig,
    trained: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {"teacher": str(trained.path), "consistent_teaching": True, "mixup": 0.4}
    config = build_config({**values, "epochs": 1, "accumulate": 2}, base=tiny_config)
    network, metadata = load_network(trained.model)
    network.eval()
    differences = []

    def look(*arguments: Any) -> Any:
        pixels, targets = arguments[1], arguments[5]
        with torch.inference_mode():
            answers = torch.softmax(network(pixels) / metadata.temperature, dim=1)
        differences.append((soften(answers, 2.0) - targets).abs().max())
        return take_step(*arguments)

    monkeypatch.setattr("fercli.training.loop.take_step", look)

    train(faces, config, RunFolder(tmp_path / "student"))

    assert len(differences) == 12
    assert max(differences) < 1e-5
    (teacher,) = load_network(tmp_path / "student" / "model.safetensors")[1].teachers
    assert teacher.sha256 == digest(trained)


def test_a_consistent_teacher_needs_weights(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    values = {"teacher": str(trained.onnx), "consistent_teaching": True}
    config = build_config(values, base=tiny_config)

    with pytest.raises(ModelFileError, match="is an ONNX alone") as caught:
        train(faces, config, RunFolder(tmp_path / "student"))

    assert "consistent_teaching" in caught.value.hint
    assert not (tmp_path / "student").exists()
    small = {"teacher": str(trained.path), "consistent_teaching": True, "sizes_px": (16, 48)}
    deep = RunFolder(tmp_path / "deep")
    train(faces, build_config({"widths": (8, 8, 8, 8), "epochs": 1}, base=tiny_config), deep)
    with pytest.raises(ModelFileError, match="cannot see images of 16 pixels"):
        train(
            faces,
            build_config({**small, "teacher": str(deep.path)}, base=tiny_config),
            RunFolder(tmp_path / "student"),
        )
    assert not (tmp_path / "student").exists()
    with pytest.raises(ConfigError, match="needs a teacher"):
        DistillationConfig(consistent_teaching=True)
    with pytest.raises(ConfigError, match="cross_fit asks each member"):
        DistillationConfig(members=2, cross_fit=True, consistent_teaching=True)


def test_a_run_with_a_consistent_teacher_is_trained_for_longer(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    values = {"consistent_teaching": True, "epochs": 1}
    taught = build_config({**values, "teacher": str(trained.path)}, base=tiny_config)
    own = build_config({**values, "members": 2}, base=tiny_config)
    for config, name in ((taught, "taught"), (own, "own")):
        train(faces, config, RunFolder(tmp_path / name))

    longer = extend(faces, RunFolder(tmp_path / "taught"), RunFolder(tmp_path / "longer"), 2)

    assert longer.epochs == 2
    with pytest.raises(ConfigError, match="cannot be taken along"):
        extend(faces, RunFolder(tmp_path / "own"), RunFolder(tmp_path / "more"), 2)


def test_a_missing_teacher_leaves_nothing_behind(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    config = build_config({"teacher": str(tmp_path / "nobody")}, base=tiny_config)

    with pytest.raises(ModelFileError):
        train(faces, config, RunFolder(tmp_path / "student"))

    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize("consistent", [False, True])
def test_members_teach_and_stopping_anywhere_changes_nothing(
    faces: Dataset,
    tiny_config: TrainConfig,
    tmp_path: Path,
    train_in_pieces: Callable[..., list[RunInterruptedError]],
    *,
    consistent: bool,
) -> None:
    distillation = DistillationConfig(members=2, consistent_teaching=consistent)
    config = replace(tiny_config, distillation=distillation)
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    notes: list[str] = []
    result = train(faces, config, whole, callbacks=Callbacks(on_note=notes.append))
    steps = 0

    def stop_often() -> int:
        nonlocal steps
        steps += 1
        return 15 if steps % 17 == 0 else 0

    stops = train_in_pieces(faces, config, cut, stop_often)

    assert [text for text in notes if text.startswith("member")] == [
        "member 1 of 2, seed 1", "member 2 of 2, seed 2",
    ]  # fmt: skip
    assert any(stop.message.startswith("member 2 of 2: interrupted") for stop in stops)
    assert {stop.hint for stop in stops} == {f"go on with it: fer train --resume {cut.path}"}
    assert result.members == 2
    assert whole.targets.exists() is not consistent
    assert digest(cut) == digest(whole)
    for number in ("1", "2"):
        members = [RunFolder(run.members / number) for run in (whole, cut)]
        assert digest(members[0]) == digest(members[1])
    metadata = load_network(whole.model)[1]
    digests = [teacher.sha256 for teacher in metadata.teachers]
    assert digests == [digest(RunFolder(whole.members / number)) for number in ("1", "2")]
    assert len({*digests, digest(whole)}) == 3
    assert str(tmp_path) not in json.dumps(metadata.to_json())
