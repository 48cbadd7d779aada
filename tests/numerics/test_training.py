from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fercli.config import AugmentConfig, OptimizerConfig, TrainConfig
from fercli.data import build_synthetic
from fercli.errors import (
    ConfigError,
    ModelFileError,
    OutputBusyError,
    RunExistsError,
    RunFailedError,
    RunInterruptedError,
)
from fercli.locks import lock_folder
from fercli.model_files import load_network
from fercli.networks import build_network, initialize
from fercli.runs import RunFolder, read_run_record
from fercli.settings import build_config
from fercli.storage import read_tensor_header
from fercli.training import Callbacks, resume, train
from fercli.training.augment import augment, erase, flip, jitter_tones, resize, warp
from fercli.training.checkpoint import find_checkpoints, restore_newest, save_checkpoint
from fercli.training.checks import resolve_config
from fercli.training.loop import choose_size
from fercli.training.sampling import (
    count_steps,
    sample_batches,
    sample_first_mirrored,
    sample_mirrored,
)
from fercli.training.schedule import compute_learning_rate, compute_momentum, count_drops
from fercli.training.splits import choose_splits
from fercli.training.state import build_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from fercli.data import Dataset

CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_stopping_anywhere_changes_nothing(
    faces: Dataset,
    tiny_config: TrainConfig,
    tmp_path: Path,
    train_in_pieces: Callable[..., list[RunInterruptedError]],
    changes: dict[str, object],
) -> None:
    lively = {
        "stem": "whitened", "learning_rate": 1e-3, "dropout": 0.5, "erasing": 0.5,
        "flip": "random", "widths": (8,), "epochs": 2, "batch_size": 100,
    }  # fmt: skip
    changes = {**lively, **changes}
    config = build_config(changes, base=tiny_config)
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    train(faces, config, whole)
    steps = 0

    def stop_often() -> int:
        nonlocal steps
        steps += 1
        return 2 if steps % 3 == 0 else 0

    stops = train_in_pieces(faces, config, cut, stop_often)

    assert len(stops) >= 3
    assert digest(cut) == digest(whole)
    drop = slice(0, 6)
    rows = [
        [line.split(",")[drop] for line in run.metrics.read_text().splitlines()]
        for run in (whole, cut)
    ]
    assert rows[0] == rows[1]


def test_checkpoints_come_back_bit_for_bit(tiny_config: TrainConfig, tmp_path: Path) -> None:
    def build(seed: int) -> Any:
        network = build_network(tiny_config.model, 7)
        initialize(network, generator(seed))
        return build_state(network, tiny_config, CPU)

    state, other = build(0), build(1)
    state.network(torch.rand(4, 1, 48, 48)).sum().backward()
    state.optimizer.step()
    state.keep_best()
    state.progress.loss_sum = 1 / 3
    save_checkpoint(tmp_path, state, 7)

    assert restore_newest(tmp_path, other, lambda _text: None) == find_checkpoints(tmp_path)[0]
    first, second = state.to_arrays(), other.to_arrays()
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert other.progress == state.progress


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_restored_moments_lie_in_memory_as_their_weights(
    tiny_config: TrainConfig, tmp_path: Path, optimizer: str
) -> None:
    config = build_config({"optimizer": optimizer}, base=tiny_config)

    def build() -> Any:
        network = build_network(config.model, 7)
        initialize(network, generator())
        return build_state(network, config, CPU)

    state, other = build(), build()
    state.network(torch.rand(4, 1, 48, 48)).sum().backward()
    state.optimizer.step()
    save_checkpoint(tmp_path, state, 1)

    restore_newest(tmp_path, other, lambda _text: None)

    n_seen = 0
    for parameter, moments in other.optimizer.state.items():
        for moment in moments.values():
            if isinstance(moment, torch.Tensor) and moment.ndim == 4:
                n_seen += not parameter.is_contiguous()
                assert moment.stride() == parameter.stride()
    assert n_seen


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

    assert "resumed from step-000000012.safetensors: 1 epochs, 0 steps" in notes
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


def test_the_private_split_is_never_looked_at(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    images = faces.images.copy()
    images[faces.find_split("private")] = 0

    train(replace(faces, images=images), tiny_config, RunFolder(tmp_path / "blind"))

    assert digest(RunFolder(tmp_path / "blind")) == digest(trained)


def test_splits(faces: Dataset) -> None:
    by_default = choose_splits(faces, build_config({}))
    by_part = choose_splits(faces, build_config({"validation": "0.25"}))

    assert by_default.validation_name == "public"
    assert len(by_part.train.labels) + len(by_part.validation.labels) == 480
    shares = np.bincount(by_part.validation.labels) / np.bincount(faces.select("train").labels)
    assert shares == pytest.approx(np.full(7, 0.25), abs=0.02)
    for name in ("private", "test", "train", "0", "0.6"):
        with pytest.raises(ConfigError):
            choose_splits(faces, build_config({"validation": name}))


def test_every_image_is_seen_once_an_epoch() -> None:
    config = build_config({"batch_size": 64, "seed": 3})

    labels = torch.zeros(1000, dtype=torch.int64)

    batches = sample_batches(labels, config, 5)

    assert sorted(torch.cat(batches).tolist()) == list(range(1000))
    assert len(batches) == count_steps(1000, 64) == 16
    assert {len(batch) for batch in batches} == {62, 63}
    assert not torch.equal(torch.cat(batches), torch.cat(sample_batches(labels, config, 6)))


def test_sizes_grow_and_every_run_ends_at_the_last() -> None:
    def sizes(epochs: int) -> list[int]:
        config = build_config({"epochs": epochs, "sizes_px": (32, 40, 48)})
        return [choose_size(config, epoch) for epoch in range(epochs)]

    assert sizes(1) == [48]
    assert sizes(2) == [32, 48]
    assert sizes(6) == [32, 32, 40, 40, 48, 48]


def test_alternating_mirrors_every_image_every_second_epoch() -> None:
    first = sample_first_mirrored(500, 0)

    epochs = [sample_mirrored("alternating", first, epoch, generator()) for epoch in range(3)]

    assert torch.equal(epochs[0], ~epochs[1])
    assert torch.equal(epochs[0], epochs[2])
    assert 150 < int(first.sum()) < 350
    assert not sample_mirrored("none", first, 0, generator()).any()
    assert 150 < int(sample_mirrored("random", first, 0, generator()).sum()) < 350


@pytest.mark.parametrize("shape", [(5, 1, 48, 48), (1, 1, 32, 32)])
def test_augmentation_keeps_shape_and_range(shape: tuple[int, ...]) -> None:
    config = AugmentConfig(
        rotation_deg=30, scale=0.5, shift=0.3, brightness=0.5, contrast=0.5, erasing=1.0
    )
    pixels = torch.rand(shape, generator=generator())
    mirrored = torch.ones(len(pixels), dtype=torch.bool)

    varied = augment(pixels, mirrored, config, generator(1))

    assert varied.shape == pixels.shape
    assert varied.dtype == torch.float32
    assert 0 <= float(varied.min()) <= float(varied.max()) <= 1
    assert not torch.equal(varied, pixels)
    assert torch.equal(varied, augment(pixels, mirrored, config, generator(1)))


def test_no_augmentation_changes_nothing() -> None:
    off = AugmentConfig(
        flip="none", rotation_deg=0, scale=0, shift=0, brightness=0, contrast=0, erasing=0
    )
    pixels = torch.rand(4, 1, 48, 48, generator=generator())

    assert torch.equal(augment(pixels, torch.zeros(4, dtype=torch.bool), off, generator()), pixels)


def test_each_operation_does_what_it_says() -> None:
    pixels = torch.rand(64, 1, 48, 48, generator=generator())
    some = torch.arange(64) % 2 == 0

    flipped = flip(pixels, some)
    assert torch.equal(flipped[0], pixels[0].flip(2))
    assert torch.equal(flipped[1], pixels[1])
    still = AugmentConfig(rotation_deg=0, scale=0, shift=0)
    assert torch.allclose(warp(pixels, still, generator()), pixels, atol=1e-5)
    toned = jitter_tones(pixels, AugmentConfig(brightness=0.0, contrast=0.5), generator())
    assert torch.allclose(toned.mean((1, 2, 3)), pixels.mean((1, 2, 3)), atol=0.06)
    erased = erase(pixels, AugmentConfig(erasing=0.5, erasing_area=0.2), generator())
    changed = (erased != pixels).float().mean((1, 2, 3))
    assert 15 < int((changed > 0).sum()) < 50
    assert float(changed.max()) < 0.25
    assert resize(pixels, 48) is pixels
    assert resize(pixels, 32).shape == (64, 1, 32, 32)


def test_a_shift_moves_by_that_part_of_the_side() -> None:
    pixels = torch.zeros(400, 1, 48, 48)
    pixels[:, :, 24, 24] = 1
    config = AugmentConfig(rotation_deg=0, scale=0, shift=0.25)

    moved = warp(pixels, config, generator())

    places = moved.flatten(1).argmax(1) % 48
    assert 10 <= int(places.min()) <= 15
    assert 33 <= int(places.max()) <= 38


@pytest.mark.parametrize("schedule", ["constant", "step", "plateau", "cosine", "linear"])
def test_schedules_at_their_corners(schedule: str) -> None:
    config = OptimizerConfig(
        learning_rate=1.0, schedule=schedule, warmup=0.1, final_factor=0.05, step_epochs=2
    )
    rates = [
        compute_learning_rate(config, step, total_steps=100, drops=step // 20)
        for step in range(100)
    ]

    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == rates[10] == 1
    last = {"constant": 1.0, "step": 0.1**4, "plateau": 0.1**4, "cosine": 0.05, "linear": 0.05}[
        schedule
    ]
    assert rates[-1] == pytest.approx(last)
    assert all(math.isfinite(rate) and rate > 0 for rate in rates)
    if schedule == "step":
        assert rates[19] == 1
        assert rates[20] == pytest.approx(0.1)


def test_a_run_of_one_step_has_a_rate() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup=0.0)

    assert compute_learning_rate(config, 0, total_steps=1) == 1


def test_one_cycle_rises_and_falls_against_the_momentum() -> None:
    config = OptimizerConfig(
        learning_rate=1.0, schedule="onecycle", warmup=0.3, final_factor=0.001, momentum=0.95
    )
    rates = [compute_learning_rate(config, step, total_steps=100) for step in range(100)]
    momenta = [compute_momentum(config, step, total_steps=100) for step in range(100)]

    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == rates[30] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.001)
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert momenta[0] == momenta[-1] == pytest.approx(0.95)
    assert min(momenta) == momenta[30] == pytest.approx(0.85)
    assert compute_momentum(OptimizerConfig(momentum=0.7), 5, total_steps=10) == 0.7


def test_plateau_drops_after_patience() -> None:
    assert count_drops([], 2) == 0
    assert count_drops([0.1, 0.2, 0.3], 2) == 0
    assert count_drops([0.3, 0.2, 0.2], 2) == 1
    assert count_drops([0.3, 0.2, 0.2, 0.2], 2) == 1
    assert count_drops([0.3, 0.2, 0.2, 0.2, 0.3], 2) == 2
    assert count_drops([0.3, 0.2, 0.4, 0.2, 0.2], 2) == 1


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
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(RunInterruptedError):
        train(faces, tiny_config, run, callbacks=Callbacks(should_stop=_stop_after(15)))

    def replace_meanwhile(config: TrainConfig, **_: object) -> TrainConfig:
        monkeypatch.undo()
        train(faces, replace(tiny_config, seed=5), run, overwrite=True)
        return resolve_config(config)

    monkeypatch.setattr("fercli.training.run.resolve_config", replace_meanwhile)
    with pytest.raises(OutputBusyError, match="was written by another process meanwhile"):
        resume(faces, run)

    assert load_network(run.model)[1].seed == 5


def test_a_teacher_inside_the_run_that_it_would_replace_is_refused(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(shutil.copytree(trained.path, tmp_path / "run"))
    config = build_config({"teacher": str(run.onnx)}, base=tiny_config)

    with pytest.raises(ConfigError, match="would be written over the input"):
        train(faces, config, run, overwrite=True)

    assert digest(run) == digest(trained)
