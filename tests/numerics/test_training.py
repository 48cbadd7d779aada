from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from fercli.data import build_synthetic
from fercli.errors import (
    ConfigError,
    DependencyMissingError,
    ModelFileError,
    OutputBusyError,
    RunExistsError,
    RunFailedError,
    RunInterruptedError,
)
from fercli.locks import lock_folder
from fercli.model_files import load_network
from fercli.recipes import write_command
from fercli.runs import RunFolder, read_history, read_run_record
from fercli.settings import build_config
from fercli.storage import read_tensor_header
from fercli.training import Callbacks, extend, resume, train
from fercli.training.checkpoint import find_checkpoints, save_checkpoint
from fercli.training.checks import resolve_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from fercli.config import TrainConfig
    from fercli.data import Dataset

pytestmark = pytest.mark.usefixtures("weights_alone")


def digest(run: RunFolder) -> str:
    return str(read_tensor_header(run.model, RunFailedError)["sha256"])


def test_same_seed_same_bits(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    before = torch.random.get_rng_state()
    train(faces, tiny_config, RunFolder(tmp_path / "again"))
    train(faces, replace(tiny_config, seed=1), RunFolder(tmp_path / "other"))

    assert digest(RunFolder(tmp_path / "again")) == digest(trained)
    assert digest(RunFolder(tmp_path / "other")) != digest(trained)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd"},
        {"optimizer": "adam", "average": "ema"},
        {"optimizer": "adamw", "precision": "bf16"},
        {"optimizer": "sgd", "precision": "fp16", "average": "ema"},
        {"optimizer": "muon", "average": "ema"},
        {"mixup": 0.4, "balance": "weights", "focal_gamma": 2.0},
        {"balance": "oversample", "schedule": "onecycle", "logit_adjustment": 1.0},
        {"schedule": "plateau", "plateau_patience": 1, "epochs": 4},
        {"self_weight": 0.9, "self_memory": 0.5, "epochs": 3},
        {"accumulate": 3, "self_weight": 0.5, "optimizer": "muon"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_stopping_anywhere_changes_nothing(
    few_faces: Dataset,
    tiny_config: TrainConfig,
    tmp_path: Path,
    train_in_pieces: Callable[..., list[RunInterruptedError]],
    changes: dict[str, object],
) -> None:
    lively = {
        "stem": "whitened", "learning_rate": 1e-3, "dropout": 0.5, "erasing": 0.5,
        "flip": "random", "widths": (8,), "epochs": 2, "batch_size": 20,
    }  # fmt: skip
    changes = {**lively, **changes}
    config = build_config(changes, base=tiny_config)
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    train(few_faces, config, whole)
    steps = 0

    def stop_often() -> int:
        nonlocal steps
        steps += 1
        return 2 if steps % 3 == 0 else 0

    stops = train_in_pieces(few_faces, config, cut, stop_often)

    assert len(stops) >= 3
    assert digest(cut) == digest(whole)
    drop = slice(0, 6)
    rows = [
        [line.split(",")[drop] for line in run.metrics.read_text().splitlines()]
        for run in (whole, cut)
    ]
    assert rows[0] == rows[1]


def test_a_batch_in_parts_follows_the_curve_of_the_whole(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    """Not to the last bits: batch norms see one part at a time."""
    config = build_config({"epochs": 4, "learning_rate": 0.02, "dropout": 0.0}, base=tiny_config)
    losses = {}
    for parts in (1, 2):
        run = RunFolder(tmp_path / f"{parts}")
        train(faces, replace(config, accumulate=parts), run)
        losses[parts] = [report.train_loss for report in read_history(run)]

    assert losses[1] != losses[2]
    assert losses[2] == pytest.approx(losses[1], rel=0.02)
    assert losses[2][-1] < losses[2][0]


def test_a_training_that_is_started_again_goes_on(
    few_faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    config = build_config({"dropout": 0.5, "widths": (8,)}, base=tiny_config)
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    train(few_faces, config, whole)
    steps = iter([0, 0, 2])
    callbacks = Callbacks(should_stop=lambda: next(steps))
    with pytest.raises(RunInterruptedError):
        train(few_faces, config, cut, callbacks=callbacks, go_on=True)

    train(few_faces, config, cut, go_on=True)

    assert digest(cut) == digest(whole)
    record = cut.record.read_text()
    notes: list[str] = []
    again = train(few_faces, config, cut, callbacks=Callbacks(on_note=notes.append), go_on=True)
    assert again == read_run_record(cut.path).result
    assert notes == [f"{cut.path} is finished already"]
    assert cut.record.read_text() == record
    other = replace(config, epochs=3, seed=1)
    with pytest.raises(ConfigError, match=r"epochs is 3 now, .* with 2; seed is 1"):
        train(few_faces, other, cut, go_on=True)
    with pytest.raises(ConfigError, match="other data"):
        train(build_synthetic(130), config, cut, go_on=True)
    assert cut.record.read_text() == record


def test_a_finished_run_goes_on_for_longer_beside_itself(
    few_faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    config = build_config({"dropout": 0.5, "widths": (8,), "average": "ema"}, base=tiny_config)
    run, longer = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "longer")
    train(few_faces, config, run)
    before = {path: path.read_bytes() for path in run.list_files() if path.exists()}

    result = extend(few_faces, run, longer, 4)

    assert {path: path.read_bytes() for path in run.list_files() if path.exists()} == before
    assert result.epochs == 4
    histories = read_history(run), read_history(longer)
    assert histories[1][:2] == histories[0]
    # By the schedule of four epochs, whose end comes later.
    assert histories[1][2].learning_rate > histories[0][1].learning_rate
    record = read_run_record(longer.path)
    assert record.config["epochs"] == 4
    assert record.extends is not None
    assert (record.extends.run, record.extends.epochs_run) == (str(run.path), 2)
    assert write_command(record, public=True) == "fer train --resume run --epochs 4"
    steps = iter([0, 2])
    callbacks = Callbacks(should_stop=lambda: next(steps))
    with pytest.raises(RunInterruptedError):
        extend(few_faces, run, RunFolder(tmp_path / "cut"), 4, callbacks=callbacks)
    resume(few_faces, RunFolder(tmp_path / "cut"))
    assert digest(RunFolder(tmp_path / "cut")) == digest(longer)


def test_what_cannot_go_on_for_longer_is_refused(
    few_faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    run, longer = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "longer")
    train(few_faces, build_config({"widths": (8,)}, base=tiny_config), run)
    with pytest.raises(ConfigError, match="already has 2 epochs, and 2 is not more"):
        extend(few_faces, run, longer, 2)
    with pytest.raises(ModelFileError, match="other data"):
        extend(build_synthetic(130), run, longer, 3)
    with pytest.raises(ConfigError, match="overwrite the input"):
        extend(few_faces, run, run, 3, overwrite=True)
    extend(few_faces, run, longer, 3)
    for path in find_checkpoints(longer.checkpoints):
        path.unlink()
    longer.model.unlink()
    with pytest.raises(ModelFileError, match="started from one of another run"):
        resume(few_faces, longer)
    with pytest.raises(ConfigError, match="is not finished"):
        extend(few_faces, longer, RunFolder(tmp_path / "more"), 9)
    for path in find_checkpoints(run.checkpoints):
        path.unlink()
    with pytest.raises(ModelFileError, match="does not hold the state"):
        extend(few_faces, run, RunFolder(tmp_path / "more"), 3)


@pytest.mark.parametrize(("between_s", "saved"), [(1e9, [12, 48]), (-1.0, [12, 24, 36, 48])])
def test_short_epochs_share_a_save(
    faces: Dataset,
    tiny_config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    between_s: float,
    saved: list[int],
) -> None:
    config = build_config({"epochs": 4}, base=tiny_config)
    steps: list[int] = []

    def save(folder: Path, state: Any, total_steps: int) -> Path:
        steps.append(total_steps)
        return save_checkpoint(folder, state, total_steps)

    monkeypatch.setattr("fercli.training.loop._SAVE_BETWEEN_S", between_s)
    monkeypatch.setattr("fercli.training.run.save_checkpoint", save)

    train(faces, config, RunFolder(tmp_path / "run"))

    assert steps == saved


def test_epochs_that_were_not_saved_are_trained_again(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    config = build_config({"epochs": 4, "dropout": 0.5, "average": "ema"}, base=tiny_config)
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    notes: list[str] = []
    steps = 0

    def strike() -> int:
        nonlocal steps
        steps += 1
        if steps == 40:
            raise KeyboardInterrupt
        return 0

    train(faces, config, whole)
    with pytest.raises(KeyboardInterrupt):
        train(faces, config, cut, callbacks=Callbacks(should_stop=strike))
    assert cut.metrics.read_text().count("\n") == 3 + 1
    resume(faces, cut, callbacks=Callbacks(on_note=notes.append))

    assert "resumed from step-000000012.safetensors: epochs done 1, steps of the next 0" in notes
    assert digest(cut) == digest(whole)
    assert cut.metrics.read_text().count("\n") == 4 + 1


def test_a_damaged_checkpoint_is_skipped_aloud(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(RunInterruptedError):
        train(faces, tiny_config, run, callbacks=Callbacks(should_stop=_stop_after(15)))
    newest, older = find_checkpoints(run.checkpoints)
    content = bytearray(newest.read_bytes())
    content[-100] ^= 1
    newest.write_bytes(content)
    notes: list[str] = []

    resume(faces, run, callbacks=Callbacks(on_note=notes.append))

    assert any("skipped" in note and newest.name in note for note in notes)
    assert any(older.name in note for note in notes)
    assert digest(run) == digest(trained)


def _stop_after(n_steps: int) -> Any:
    calls = 0

    def should_stop() -> int:
        nonlocal calls
        calls += 1
        return 15 if calls == n_steps else 0

    return should_stop


def test_without_a_checkpoint_a_run_starts_again(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(RunInterruptedError):
        train(faces, tiny_config, run, callbacks=Callbacks(should_stop=_stop_after(3)))
    for path in find_checkpoints(run.checkpoints):
        path.unlink()
    notes: list[str] = []

    resume(faces, run, callbacks=Callbacks(on_note=notes.append))

    assert any("starts again" in note for note in notes)
    assert digest(run) == digest(trained)


def test_a_full_disk_names_the_last_state(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    saves = 0

    def fail(*arguments: Any) -> Path:
        nonlocal saves
        saves += 1
        if saves == 2:
            raise OSError(28, "No space left on device")
        return save_checkpoint(*arguments)

    monkeypatch.setattr("fercli.training.run.save_checkpoint", fail)

    with pytest.raises(RunFailedError) as caught:
        train(faces, tiny_config, run)

    assert "No space left" in caught.value.message
    assert find_checkpoints(run.checkpoints)[0].name in caught.value.hint


def test_patience_stops_early(faces: Dataset, tiny_config: TrainConfig, tmp_path: Path) -> None:
    config = build_config(
        {"patience": 1, "epochs": 9, "learning_rate": 1e-12, "warmup": 0.0}, base=tiny_config
    )

    result = train(faces, config, RunFolder(tmp_path / "run"))

    assert result.epochs < 9
    assert result.best_epoch == result.epochs - 1


def test_the_best_epoch_is_kept(trained: RunFolder) -> None:
    rows = [line.split(",") for line in trained.metrics.read_text().splitlines()[1:]]
    _, metadata = load_network(trained.model)
    best = max(rows, key=lambda row: float(row[4]))

    assert metadata.best_epoch == int(best[0])
    assert metadata.validation
    assert metadata.validation.accuracy == float(best[4])


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        ((RuntimeError("\x1b[96mThis is step 1/3"), ValueError("no operator")), "no operator"),
        ((RuntimeError("This is step 1/3"), KeyError()), "KeyError"),
        ((DependencyMissingError("there is no onnx"), ImportError("onnx")), "there is no onnx"),
    ],
    ids=["torch's advice", "without a word", "our own"],
)
def test_what_keeps_an_onnx_from_being_written_is_said(
    faces: Dataset,
    tiny_config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reasons: tuple[Exception, Exception],
    said: str,
) -> None:
    def fail(*_: object) -> None:
        raise reasons[0] from reasons[1]

    monkeypatch.setattr("fercli.training.finalize.export_model", fail)

    result = train(faces, replace(tiny_config, epochs=1), RunFolder(tmp_path / "run"))

    assert result.warnings[0] == f"model.onnx was not written: {said}"


def test_the_private_split_is_never_looked_at(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    images = faces.images.copy()
    images[faces.find_split("private")] = 0

    train(replace(faces, images=images), tiny_config, RunFolder(tmp_path / "blind"))

    assert digest(RunFolder(tmp_path / "blind")) == digest(trained)


def test_a_folder_that_holds_a_run_is_never_trained_into(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(shutil.copytree(trained.path, tmp_path / "run"))
    other = build_config({"seed": 5, "epochs": 1}, base=tiny_config)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}

    for dataset, config in ((build_synthetic(300), other), (faces, tiny_config)):
        with pytest.raises(RunExistsError, match="is already there"):
            train(dataset, config, run)

    assert before == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def test_an_overwrite_is_a_whole_new_run(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(shutil.copytree(trained.path, tmp_path / "run"))
    run.scores.write_text("{}\n")
    (run.path / "notes.txt").write_text("mine")
    config = build_config({"seed": 5, "epochs": 1}, base=tiny_config)

    result = train(faces, config, run, overwrite=True)

    assert result.seed == 5
    assert digest(run) != digest(trained)
    assert load_network(run.model)[1].seed == 5
    assert not run.scores.exists()
    assert (run.path / "notes.txt").read_text() == "mine"


def test_resume_refuses_other_data(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(RunInterruptedError):
        train(faces, tiny_config, run, callbacks=Callbacks(should_stop=_stop_after(15)))
    before = run.record.read_bytes()

    with pytest.raises(ModelFileError, match="was trained on other data"):
        resume(build_synthetic(300), run)

    assert run.record.read_bytes() == before
    resume(faces, run)
    assert digest(run) == digest(trained)


def test_resume_of_a_finished_run_tells_its_result(
    faces: Dataset, trained: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(shutil.copytree(trained.path, tmp_path / "run"))

    result = resume(faces, run)

    assert result == read_run_record(trained.path).result
    assert run.record.read_bytes() == trained.record.read_bytes()
    with pytest.raises(ModelFileError, match="is not a run"):
        resume(faces, RunFolder(tmp_path / "none"))


def test_a_run_that_is_being_written_is_left_alone(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(RunInterruptedError):
        train(faces, tiny_config, run, callbacks=Callbacks(should_stop=_stop_after(15)))

    with lock_folder(run.path):
        with pytest.raises(OutputBusyError, match="is being written by"):
            resume(faces, run)
        with pytest.raises(OutputBusyError, match="is being written by"):
            train(faces, tiny_config, run, overwrite=True)

    assert find_checkpoints(run.checkpoints)


def test_resume_refuses_a_run_that_was_replaced_since_it_was_read(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(RunInterruptedError):
        train(faces, tiny_config, run, callbacks=Callbacks(should_stop=_stop_after(15)))

    def replace_meanwhile(config: TrainConfig, **_: object) -> TrainConfig:
        patch.undo()
        train(faces, replace(tiny_config, seed=5), run, overwrite=True)
        return resolve_config(config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fercli.training.run.resolve_config", replace_meanwhile)
        with pytest.raises(OutputBusyError, match="was written by another process meanwhile"):
            resume(faces, run)

    assert load_network(run.model)[1].seed == 5


def test_a_teacher_inside_the_run_that_it_would_replace_is_refused(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(shutil.copytree(trained.path, tmp_path / "run"))
    config = build_config({"teacher": str(run.onnx)}, base=tiny_config)

    with pytest.raises(ConfigError, match="would overwrite the input"):
        train(faces, config, run, overwrite=True)

    assert digest(run) == digest(trained)
