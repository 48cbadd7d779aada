from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

import fercli
from fercli.config import RepeatConfig
from fercli.errors import (
    ConfigError,
    ModelFileError,
    RunExistsError,
    RunFailedError,
    RunInterruptedError,
)
from fercli.runs import RunFolder, find_repeats, read_run_record
from fercli.settings import build_config
from fercli.storage import load_tensors, read_tensor_header
from fercli.training import Callbacks, list_repeats, open_repeats, train, train_repeats
from fercli.training.splits import choose_splits, hold_fold_out

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.data import Dataset

pytestmark = pytest.mark.usefixtures("weights_alone")
SEEDS = RepeatConfig(seeds=2)


@pytest.fixture
def config(tiny_config: TrainConfig) -> TrainConfig:
    return build_config({"widths": (8,), "epochs": 1, "batch_size": 48}, base=tiny_config)


def digest(folder: Path) -> str:
    return str(read_tensor_header(RunFolder(folder).model, RunFailedError)["sha256"])


def test_seeds_are_whole_runs_and_their_mean_has_an_interval(
    few_faces: Dataset, config: TrainConfig, tmp_path: Path
) -> None:
    result = train_repeats(few_faces, config, RepeatConfig(seeds=3), tmp_path / "many")

    assert [run.seed for run in result.runs] == [0, 1, 2]
    train(few_faces, replace(config, seed=1), RunFolder(tmp_path / "alone"))
    assert digest(tmp_path / "many" / "seed-1") == digest(tmp_path / "alone")
    scores = [run.validation_accuracy for run in result.runs]
    assert result.score == "validation_accuracy"
    assert result.mean == pytest.approx(np.mean(scores))
    assert result.standard_deviation == pytest.approx(np.std(scores, ddof=1))
    wanted = stats.t.interval(0.95, 2, np.mean(scores), stats.sem(scores))
    assert result.mean_ci95 == pytest.approx(wanted)
    assert result.pooled_accuracy is None
    kept = json.loads((tmp_path / "many" / "repeats.json").read_text())
    assert (kept["seeds"], kept["folds"], kept["result"]["mean"]) == (3, 0, result.mean)
    assert [run.name for run in find_repeats(tmp_path / "many")] == ["seed-0", "seed-1", "seed-2"]
    compared = fercli.compare([tmp_path / "many", tmp_path / "alone"], few_faces, split="private")
    (sums,) = compared.result.repeats
    accuracies = list(compared.table["accuracy"])
    assert (sums.name, len(sums.models)) == (str(tmp_path / "many"), 3)
    assert sums.mean == pytest.approx(np.mean(accuracies[:3]))
    assert sums.standard_deviation == pytest.approx(np.std(accuracies[:3], ddof=1))
    assert accuracies[3] == accuracies[1]


def test_interrupted_repeats_go_on_and_keep_what_is_finished(
    few_faces: Dataset, config: TrainConfig, tmp_path: Path
) -> None:
    whole = train_repeats(few_faces, config, SEEDS, tmp_path / "whole")
    steps = iter([0, 0, 0, 2])
    stop_in_the_second = Callbacks(should_stop=lambda: next(steps))
    with pytest.raises(RunInterruptedError, match="run 2 of 2, seed 1") as caught:
        train_repeats(few_faces, config, SEEDS, tmp_path / "cut", callbacks=stop_in_the_second)
    assert caught.value.hint.endswith(f"fer train --resume {tmp_path / 'cut'}")
    finished_at = read_run_record(tmp_path / "cut" / "seed-0").finished_at

    with pytest.raises(RunExistsError):
        train_repeats(few_faces, config, SEEDS, tmp_path / "cut")
    result = train_repeats(few_faces, config, SEEDS, tmp_path / "cut", go_on=True)

    assert read_run_record(tmp_path / "cut" / "seed-0").finished_at == finished_at
    assert result.mean == whole.mean
    assert digest(tmp_path / "cut" / "seed-1") == digest(tmp_path / "whole" / "seed-1")
    with pytest.raises(ConfigError, match="epochs is 2 now"):
        train_repeats(few_faces, replace(config, epochs=2), SEEDS, tmp_path / "cut", go_on=True)
    with pytest.raises(ConfigError, match=r"seeds is 3 now, .* started with 2"):
        train_repeats(few_faces, config, RepeatConfig(seeds=3), tmp_path / "cut", go_on=True)
    train_repeats(few_faces, config, RepeatConfig(folds=2), tmp_path / "cut", overwrite=True)
    assert [run.name for run in find_repeats(tmp_path / "cut")] == ["fold-1", "fold-2"]


def test_replaced_repeats_leave_nothing_of_the_others(
    few_faces: Dataset, config: TrainConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    train_repeats(few_faces, config, SEEDS, folder)
    # One that was trained for longer is a run of its own.
    longer = fercli.resume(folder / "seed-0", few_faces, epochs=2)
    assert longer.path == folder / "seed-0-2-epochs"
    assert [run.name for run in find_repeats(folder)] == ["seed-0", "seed-1"]

    taught = build_config({"teacher": (str(folder / "seed-1"),)}, base=config)
    with pytest.raises(ConfigError, match="seed-1"):
        train_repeats(few_faces, taught, SEEDS, folder, overwrite=True)
    assert RunFolder(folder / "seed-1").model.exists()
    again = train_repeats(few_faces, config, SEEDS, folder, overwrite=True)
    assert [run.seed for run in again.runs] == [0, 1]
    assert RunFolder(longer.path).model.exists()

    train(few_faces, config, RunFolder(folder), overwrite=True)
    assert not find_repeats(folder)
    assert not (folder / "seed-1").exists() or not any((folder / "seed-1").glob("*.safetensors"))
    train_repeats(few_faces, config, SEEDS, folder, overwrite=True)
    assert not RunFolder(folder).model.exists()


def test_a_fold_is_neither_learned_from_nor_chooses(
    few_faces: Dataset, config: TrainConfig, tmp_path: Path
) -> None:
    result = train_repeats(few_faces, config, RepeatConfig(folds=3), tmp_path / "folds")

    train_split = few_faces.select("train")
    held = []
    for fold, run in enumerate(result.runs, start=1):
        variant = replace(config, cv_folds=3, cv_fold=fold)
        rest, out = hold_fold_out(train_split, variant)
        learned = choose_splits(few_faces, variant).train
        assert np.array_equal(learned.images, rest.images)
        assert (run.n_images, run.fold) == (len(out.labels), fold)
        digests = load_tensors(RunFolder(Path(run.run_directory)).train_digests, RunFailedError)[0]
        assert len(digests["digests"]) == len(learned.labels)
        held += [image.tobytes() for image in out.images]
    assert sorted(held) == sorted(image.tobytes() for image in train_split.images)
    assert result.n_images == len(train_split.labels)
    scores = [run.accuracy for run in result.runs]
    assert result.mean == pytest.approx(np.mean([one for one in scores if one is not None]))
    right = sum((run.accuracy or 0) * (run.n_images or 0) for run in result.runs)
    assert result.pooled_accuracy == pytest.approx(right / len(train_split.labels))


def test_a_fraction_that_validates_is_drawn_from_the_other_folds(
    few_faces: Dataset, config: TrainConfig
) -> None:
    variant = replace(config, cv_folds=3, cv_fold=2, validation="0.2")

    splits = choose_splits(few_faces, variant)

    _, out = hold_fold_out(few_faces.select("train"), variant)
    known = {image.tobytes() for part in (splits.train, splits.validation) for image in part.images}
    assert known.isdisjoint(image.tobytes() for image in out.images)


def test_members_of_ensembles_share_no_seed(config: TrainConfig) -> None:
    ensemble = build_config({"members": 3, "seed": 5}, base=config)

    seeds = [one.seed for one in list_repeats(ensemble, SEEDS).values()]

    assert seeds == [5, 9]


def test_models_that_may_know_a_fold_are_refused(config: TrainConfig) -> None:
    for changes in ({"teacher": ("base",)}, {"init": "plus"}):
        with pytest.raises(ConfigError, match="may have been trained on the folds"):
            list_repeats(build_config(changes, base=config), RepeatConfig(folds=2))


def test_a_folder_that_holds_no_repeats_is_refused(tmp_path: Path) -> None:
    assert find_repeats(tmp_path) == []
    with pytest.raises(ModelFileError, match="cannot be read"):
        open_repeats(tmp_path)
    head = {"schema": 1, "kind": "repeats", "config": {}, "sha256": "", "data": None}
    (tmp_path / "repeats.json").write_text(json.dumps({**head, "seeds": 0, "folds": 0}))
    with pytest.raises(ModelFileError, match="neither how many seeds nor how many folds"):
        open_repeats(tmp_path)


def test_repeats_from_python(few_faces: Dataset, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "epochs": 1, "batch_size": 48, "widths": (8,), "stem_width": 4, "device": "cpu",
    }  # fmt: skip

    repeats = fercli.train_repeats(
        few_faces, seeds=2, recipe="fast", output=tmp_path / "many", **settings
    )

    assert [run.result.seed for run in repeats.runs if run.result] == [0, 1]
    assert list(repeats.table["validation_accuracy"]) == [
        run.validation_accuracy for run in repeats.result.runs
    ]
    assert "2 seeds" in repr(repeats)
    with pytest.raises(ConfigError, match="neither seeds nor folds"):
        fercli.train_repeats(few_faces, recipe="fast")
