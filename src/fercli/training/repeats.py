"""The same training several times: with other seeds, or as a cross-validation.

Each run is a whole run of its own in a folder beside `repeats.json`, so that it can be evaluated,
compared and resumed alone. The fold of a cross-validation chooses nothing: the epoch is selected on
the validation split as in any training, and the fold is scored when that is done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import fercli
from fercli.config import RepeatConfig, TrainConfig
from fercli.data.mapping import map_labels
from fercli.errors import ConfigError, ModelFileError, RunFailedError, RunInterruptedError
from fercli.inference import predict_in_batches
from fercli.metadata import RepeatsRecord
from fercli.metrics import compute_mean_interval, compute_scores, compute_wilson_interval
from fercli.model_files import find_model, open_runtime
from fercli.results import RepeatedRun, RepeatsResult, to_json
from fercli.runs import REPEATS, RunFolder, read_repeats_record
from fercli.settings import build_config, flatten_config
from fercli.storage import write_json
from fercli.training.callbacks import Callbacks
from fercli.training.checks import resolve_config
from fercli.training.distributed import join_group
from fercli.training.holding import check_shared, clear_folder, hold_folder
from fercli.training.run import train
from fercli.training.splits import hold_fold_out

if TYPE_CHECKING:
    from fercli.data import Dataset
    from fercli.results import TrainResult
    from fercli.training.distributed import Group

__all__ = ["list_repeats", "open_repeats", "train_repeats"]


def list_repeats(config: TrainConfig, plan: RepeatConfig) -> dict[str, TrainConfig]:
    """Return the configurations of repeated trainings by the names of their folders.

    Raises:
        ConfigError: The seeds are out of range, or a model that may have learned from the folds
            would teach or be begun with.
    """
    if plan.seeds:
        # Member i of an ensemble has the seed plus i.
        stride = config.distillation.members + 1
        seeds = range(config.seed, config.seed + plan.seeds * stride, stride)
        return {f"seed-{seed}": dataclasses.replace(config, seed=seed) for seed in seeds}
    if config.distillation.teacher or config.transfer.init:
        message = "a teacher or initial model may have been trained on the folds to be scored"
        raise ConfigError(message, hint="leave --teacher and --init out, or repeat with --seeds")
    return {
        f"fold-{fold}": dataclasses.replace(config, cv_folds=plan.folds, cv_fold=fold)
        for fold in range(1, plan.folds + 1)
    }


def open_repeats(folder: Path) -> tuple[RepeatConfig, TrainConfig, RepeatsRecord]:
    """Return what the trainings of a folder are, to go on with them.

    Raises:
        ModelFileError: The folder holds no such trainings.
        ConfigError: They have settings that this fercli lacks.
    """
    record = read_repeats_record(folder)
    plan = RepeatConfig(seeds=record.seeds, folds=record.folds)
    if not plan.kind:
        message = f"{folder / REPEATS} says neither how many seeds nor how many folds"
        raise ModelFileError(message)
    return plan, build_config(record.config), record


def train_repeats(  # noqa: PLR0913  # as `train`, by name
    dataset: Dataset,
    config: TrainConfig,
    plan: RepeatConfig,
    folder: Path,
    *,
    data: str | None = None,
    callbacks: Callbacks | None = None,
    overwrite: bool = False,
    go_on: bool = False,
) -> RepeatsResult:
    """Train several times, and say what the scores vary by.

    Args:
        dataset: What to learn from; the private split is never opened.
        config: What all of them share.
        plan: What differs; one of seeds and folds.
        folder: Where the runs go, and `repeats.json`.
        data: How `dataset` was named, noted for a later resume.
        callbacks: Told what happens.
        overwrite: Replace the trainings that the folder holds.
        go_on: Go on with those that the folder holds: finished runs are kept, one that was cut is
            resumed exactly.

    Raises:
        RunExistsError: The folder holds something, and neither `overwrite` nor `go_on` is set.
        ConfigError: As `train`; the folder holds other trainings, or as `list_repeats`.
        FercliError: As `train`.
    """
    callbacks = callbacks or Callbacks()
    config = resolve_config(config)
    variants = list_repeats(config, plan)
    advice = f"go on with the runs that are missing: fer train --resume {folder}"
    terms = {**flatten_config(config), **dataclasses.asdict(plan), "data": dataset.sha256}

    def prepare() -> None:
        own = RunFolder(folder)
        if go_on and (folder / REPEATS).exists():
            _check_same(folder, terms)
            return
        own.check_new(overwrite=overwrite)
        if overwrite:
            clear_folder(own, dataset, config)

    with (
        join_group(
            torch.device(config.device), advice, {**terms, "fercli": fercli.__version__}
        ) as group,
        hold_folder(folder, group, prepare),
    ):
        folder = Path(group.broadcast(str(folder)))
        check_shared(folder, group)
        record = RepeatsRecord(
            seeds=plan.seeds,
            folds=plan.folds,
            config=flatten_config(config),
            processes=group.size,
            data=data,
            sha256=dataset.sha256,
        )
        if group.is_main:
            write_json(folder / REPEATS, record.to_json())
        repeats = _Repeats(dataset, folder, data, callbacks, group)
        runs, n_correct = [], 0
        for number, (name, variant) in enumerate(variants.items(), start=1):
            which = f"run {number} of {len(variants)}, {name.replace('-', ' ')}"
            run, n_right = repeats.train_one(name, variant, which)
            runs.append(run)
            n_correct += n_right
        result = _sum_up(folder, plan, runs, repeats.validation_split, n_correct)
        if group.is_main:
            write_json(folder / REPEATS, record.replace(result=to_json(result)).to_json())
        return result


@dataclasses.dataclass
class _Repeats:
    """What stays the same over the runs."""

    dataset: Dataset
    folder: Path
    data: str | None
    callbacks: Callbacks
    group: Group
    validation_split: str = ""

    def train_one(self, name: str, config: TrainConfig, which: str) -> tuple[RepeatedRun, int]:
        """Train what is missing of a run; return it, and how many of its fold it has right."""
        self.callbacks.on_note(which)
        run, hint = RunFolder(self.folder / name), f"go on: fer train --resume {self.folder}"
        try:
            result = train(
                self.dataset, config, run, data=self.data, callbacks=self.callbacks, go_on=True
            )
        except RunInterruptedError as reason:
            message = f"{which}: {reason.message}"
            number = reason.signal_number
            raise RunInterruptedError(message, signal_number=number, hint=hint) from None
        except RunFailedError as reason:
            message = f"{which}: {reason.message}"
            raise RunFailedError(message, hint=reason.hint) from None
        self.validation_split = result.validation_split
        scores = (0.0, 0.0, 0, 0)
        if config.cv_fold:
            mine = self._score_fold(run, config) if self.group.is_main else None
            scores = self.group.broadcast(mine)
        return _describe(name, config, result, scores), scores[3]

    def _score_fold(self, run: RunFolder, config: TrainConfig) -> tuple[float, float, int, int]:
        """Return accuracy, macro F1, images and right answers of a run on its fold."""
        _, fold = hold_fold_out(self.dataset.select("train"), config)
        runtime = open_runtime(find_model(str(run.path)), device=config.device)
        labels = map_labels(fold.labels, self.dataset.label_names, runtime.labels)
        answers = predict_in_batches(runtime, fold.images)
        scores = compute_scores(answers, labels, runtime.labels)
        n_right = int((answers.argmax(axis=1) == labels).sum())
        return scores.accuracy, scores.macro_f1, len(labels), n_right


def _check_same(folder: Path, terms: Mapping[str, object]) -> None:
    """Refuse to go on with other trainings than a folder holds."""
    plan, config, record = open_repeats(folder)
    begun = {**flatten_config(config), **dataclasses.asdict(plan), "data": record.sha256}
    problems = [
        f"{name} is {value} now, but {folder} was started with {begun[name]}"
        for name, value in terms.items()
        if value != begun[name]
    ]
    if problems:
        raise ConfigError(*problems, hint="name another --output, or ask for the same")


def _describe(
    name: str, config: TrainConfig, result: TrainResult, scores: tuple[float, float, int, int]
) -> RepeatedRun:
    accuracy, macro_f1, n_images, _ = scores
    held = bool(config.cv_fold)
    return RepeatedRun(
        name=name,
        run_directory=result.run_directory,
        seed=result.seed,
        fold=config.cv_fold,
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        validation_accuracy=result.validation_accuracy,
        accuracy=accuracy if held else None,
        macro_f1=macro_f1 if held else None,
        n_images=n_images if held else None,
        duration_s=result.duration_s,
    )


def _sum_up(
    folder: Path,
    plan: RepeatConfig,
    runs: list[RepeatedRun],
    validation_split: str,
    n_correct: int,
) -> RepeatsResult:
    score = "accuracy" if plan.folds else "validation_accuracy"
    mean, deviation, interval = compute_mean_interval([getattr(run, score) for run in runs])
    n_images = sum(run.n_images or 0 for run in runs)
    return RepeatsResult(
        run_directory=str(folder),
        kind=plan.kind,
        validation_split=validation_split,
        runs=runs,
        score=score,
        mean=mean,
        standard_deviation=deviation,
        mean_ci95=interval,
        pooled_accuracy=n_correct / n_images if n_images else None,
        pooled_ci95=compute_wilson_interval(n_correct, n_images) if n_images else None,
        n_images=n_images or None,
        duration_s=sum(run.duration_s for run in runs),
    )
