"""The epochs: steps, validation, the best weights, the schedule, when to stop.

Whoever calls decides where files go (`save`), who watches (`on_step`, `on_epoch`) and when to
give up early (`should_stop`); nothing here prints or writes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from fercli.errors import RunFailedError
from fercli.networks.pretrained import freeze
from fercli.results import EpochReport
from fercli.training.augment import blend, sample_lambda
from fercli.training.callbacks import Callbacks, StepReport
from fercli.training.distillation.self_distillation import read_self_targets, update_self_targets
from fercli.training.ema import pair_floats, update_average
from fercli.training.loss import build_criterion, count_labels, one_hot
from fercli.training.optimizer import set_rates
from fercli.training.sampling import count_steps, sample_batches, sample_first_mirrored
from fercli.training.schedule import compute_learning_rate, compute_momentum, count_drops
from fercli.training.step import build_sums, prepare_batch, take_step, validate

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.training.loss import Criterion
    from fercli.training.state import Progress, TrainingState
    from fercli.training.step import LabeledImages

__all__ = ["choose_size", "run_epochs", "should_stop_early"]

_SAVE_WITHIN_S: Final = 120.0
"""Seconds between saves within an epoch: the most that a power cut can cost."""
_SAVE_BETWEEN_S: Final = 10.0
"""Seconds between saves at the ends of epochs, which a GPU may end as fast as it saves."""


@dataclass(frozen=True, kw_only=True)
class _Loop:
    """What stays the same over the epochs of a run."""

    config: TrainConfig
    train: LabeledImages
    validation: LabeledImages
    first_mirrored: Tensor
    criterion: Criterion
    n_steps: int
    averaged: tuple[list[Tensor], list[Tensor]] | None
    callbacks: Callbacks
    saver: _Saver


class _Saver:
    """Saves, and knows how long ago that was."""

    def __init__(self, save: Callable[[TrainingState, int], None], n_steps: int) -> None:
        self._save = save
        self._n_steps = n_steps
        self._saved_at = time.perf_counter()

    def measure_age(self) -> float:
        """Return the seconds since the last save, or since the beginning."""
        return time.perf_counter() - self._saved_at

    def save(self, state: TrainingState) -> None:
        """Save a state between two steps."""
        self._save(state, state.progress.epoch * self._n_steps + state.progress.step)
        self._saved_at = time.perf_counter()


def run_epochs(
    state: TrainingState,
    train: LabeledImages,
    validation: LabeledImages,
    config: TrainConfig,
    callbacks: Callbacks,
    save: Callable[[TrainingState, int], None],
) -> int:
    """Train until the last epoch, until patience runs out or until told to stop.

    Args:
        state: Before the first step, or restored; changed in place.
        train: What is learned from.
        validation: What chooses the best epoch.
        config: Device and precision resolved.
        callbacks: Told of steps and epochs, and asked whether to stop.
        save: Saves the state after so many steps in all.

    Returns:
        0 when the training is complete, else the number `callbacks.should_stop` gave; the state is
        saved either way.

    Raises:
        RunFailedError: The loss is not a number any more; the last saved state is untouched.
    """
    progress, average = state.progress, state.average
    n_steps = count_steps(len(train.labels), config.batch_size)
    loop = _Loop(
        config=config,
        train=train,
        validation=validation,
        first_mirrored=sample_first_mirrored(len(train.labels), config.seed).to(state.device),
        criterion=build_criterion(config, count_labels(train.labels, train.n_labels)),
        n_steps=n_steps,
        callbacks=callbacks,
        saver=_Saver(save, n_steps),
        averaged=None if average is None else pair_floats(average, state.network),
    )
    while not progress.finished:
        stopped_by = _run_epoch(state, loop)
        if stopped_by:
            loop.saver.save(state)
            return stopped_by
        _end_epoch(state, loop)
        # After the first epoch there is always a state to name, should the next one fail.
        save_due = loop.saver.measure_age() > _SAVE_BETWEEN_S or progress.epoch == 1
        _, save_due = _agree_across_processes(state, 0, save_due=save_due, due=True)
        if save_due or progress.finished:
            loop.saver.save(state)
    return 0


def choose_size(config: TrainConfig, epoch: int) -> int:
    """Return the side of the images in an epoch (0-based), pixels; the last is always the last.

    The parts of a run are equal where its epochs can be divided so; a run too short for all sizes
    leaves out the smaller ones' successors, never the last, in which the model is used.
    """
    if epoch == config.epochs - 1:
        return config.sizes_px[-1]
    return config.sizes_px[epoch * len(config.sizes_px) // config.epochs]


def should_stop_early(progress: Progress, config: TrainConfig) -> bool:
    """Return whether `patience` epochs have passed without a better validation accuracy."""
    return 0 < config.patience <= progress.epoch - progress.best_epoch


def _run_epoch(state: TrainingState, loop: _Loop) -> int:
    """Run what is left of an epoch; return the signal that stopped it, or 0."""
    progress, config, callbacks = state.progress, loop.config, loop.callbacks
    batches = sample_batches(loop.train.labels, config, progress.epoch)
    state.network.train()
    if config.transfer.freeze_epochs:
        frozen = progress.epoch < config.transfer.freeze_epochs
        freeze(state.network, state.optimizer, config.transfer, frozen=frozen)
    state.wrap()
    # Reading a number back stalls a GPU, so there it is done now and then.
    stride = 1 if state.device.type == "cpu" else 20
    sums = build_sums(progress.loss_sum, progress.n_correct, state.device)
    sums = sums if state.group.is_main else torch.zeros_like(sums)
    started, elapsed_before = time.perf_counter(), progress.train_s
    while progress.step < loop.n_steps:
        rate, momentum = _compute_rates(loop, progress, progress.step)
        set_rates(state.optimizer, rate, momentum)
        sums += _step(state, loop, batches[progress.step])
        last = progress.step == loop.n_steps
        due = progress.step % stride == 0 or last
        save_due = loop.saver.measure_age() > _SAVE_WITHIN_S
        stopped_by, save_due = _agree_across_processes(
            state, callbacks.should_stop(), save_due=save_due, due=due
        )
        if due or stopped_by or save_due:
            loss_sum, n_correct = state.group.all_reduce_sum(sums).tolist()
            progress.loss_sum, progress.n_correct = loss_sum, round(n_correct)
            _check_finite(progress.loss_sum, progress.epoch + 1, rate)
            progress.train_s = elapsed_before + time.perf_counter() - started
            callbacks.on_step(_report_step(state, loop.n_steps))
        if stopped_by:
            return stopped_by
        if save_due and not last:
            begun = time.perf_counter()
            loop.saver.save(state)
            started += time.perf_counter() - begun
    return 0


def _step(state: TrainingState, loop: _Loop, batch: Tensor) -> Tensor:
    """Take one step; return the sum of its losses and its right answers, of this process."""
    progress, config, train = state.progress, loop.config, loop.train
    size_px = choose_size(config, progress.epoch)
    first = loop.first_mirrored[batch]
    pixels = prepare_batch(state, train.images[batch], first, config, size_px)
    labels = train.labels[batch] if train.votes is None else train.votes[batch]
    if state.memory is not None:
        labels = read_self_targets(state.memory, batch, labels, config, progress.epoch)
    targets = None if train.targets is None else train.targets[batch]
    if config.augment.mixup:
        lam = sample_lambda(config.augment.mixup, config.seed, progress.epoch, progress.step)
        pixels, labels = blend(pixels, lam), blend(one_hot(labels, train.n_labels), lam)
        targets = None if targets is None else blend(targets, lam)
    if train.teach is not None:
        targets = train.teach(pixels)
    loss_sum, logits = take_step(state, pixels, labels, config, loop.criterion, targets)
    parts = state.group.shard_parts(len(batch), config.accumulate)
    own = batch[parts[0]] if len(parts) == 1 else torch.cat([batch[part] for part in parts])
    right = (logits.argmax(1) == train.labels[own]).sum()
    if state.memory is not None:
        answers = logits.new_zeros(len(batch), train.n_labels)
        lengths = [part.stop - part.start for part in parts]
        rows_of = torch.split(torch.softmax(logits, dim=1), lengths)
        for part, rows in zip(parts, rows_of, strict=True):
            answers[part] = rows
        update_self_targets(state.memory, batch, state.group.all_reduce_sum(answers), config)
    progress.step += 1
    progress.n_seen += len(batch)
    if loop.averaged is not None:
        done = progress.epoch * loop.n_steps + progress.step
        update_average(*loop.averaged, config.optimization, done)
    return torch.stack([loss_sum, right])


def _agree_across_processes(
    state: TrainingState, stopped_by: int, *, save_due: bool, due: bool
) -> tuple[int, bool]:
    """Return what a group stops and saves for: together, or some would wait for ever."""
    if state.group.size == 1:
        return stopped_by, save_due
    if not due:
        return 0, False
    stopped_by, saves = state.group.all_reduce_max((stopped_by, int(save_due)), state.device)
    return stopped_by, bool(saves)


def _compute_rates(loop: _Loop, progress: Progress, step: int) -> tuple[float, float]:
    """Return learning rate and momentum of a step, 0-based, of the current epoch."""
    optimization = loop.config.optimization
    done, total = progress.epoch * loop.n_steps + step, loop.config.epochs * loop.n_steps
    drops = progress.epoch // optimization.step_epochs
    if optimization.schedule == "plateau":
        accuracies = [report.validation_accuracy for report in progress.history]
        drops = count_drops(accuracies, optimization.plateau_patience)
    rate = compute_learning_rate(optimization, done, total_steps=total, drops=drops)
    return rate, compute_momentum(optimization, done, total_steps=total)


def _end_epoch(state: TrainingState, loop: _Loop) -> None:
    """Validate, report, keep the best weights and decide whether to go on."""
    progress, config = state.progress, loop.config
    started = time.perf_counter()
    loss, accuracy = validate(state.eval_network, loop.validation, state.group)
    # Not the optimizer's own: resumed after the last step of an epoch, it was never told.
    rate, _ = _compute_rates(loop, progress, loop.n_steps - 1)
    # The last step of an epoch may have spoilt the weights: they must not be saved.
    _check_finite(loss, progress.epoch + 1, rate)
    if accuracy > progress.best_accuracy:
        progress.best_accuracy, progress.best_epoch = accuracy, progress.epoch + 1
        state.keep_best()
    report = EpochReport(
        epoch=progress.epoch + 1,
        train_loss=progress.loss_sum / progress.n_seen,
        train_accuracy=progress.n_correct / progress.n_seen,
        validation_loss=loss,
        validation_accuracy=accuracy,
        learning_rate=rate,
        images_per_s=progress.n_seen / progress.train_s,
        duration_s=progress.train_s + time.perf_counter() - started,
    )
    progress.history.append(report)
    progress.epoch += 1
    progress.start_epoch()
    progress.finished = progress.epoch >= config.epochs or should_stop_early(progress, config)
    loop.callbacks.on_epoch(report)


def _report_step(state: TrainingState, n_steps: int) -> StepReport:
    progress = state.progress
    return StepReport(
        epoch=progress.epoch + 1,
        step=progress.step,
        n_steps=n_steps,
        loss=progress.loss_sum / progress.n_seen,
        images_per_s=progress.n_seen / max(progress.train_s, 1e-9),
    )


def _check_finite(loss: float, epoch: int, rate: float) -> None:
    if not math.isfinite(loss):
        message = f"the loss became {loss} in epoch {epoch}, at learning rate {rate:g}"
        raise RunFailedError(message, hint="try a lower --learning-rate or --precision fp32")
