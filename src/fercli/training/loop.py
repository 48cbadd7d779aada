"""The epochs: steps, validation, the best weights, the schedule, when to stop.

Whoever calls decides where files go (`save`), who watches (`on_step`, `on_epoch`) and when to
give up early (`should_stop`); nothing here prints or writes.

Shape legend: images uint8 [N, 48, 48], labels int64 [N], on the training device.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional

from fercli.errors import RunFailedError
from fercli.networks.pretrained import freeze
from fercli.networks.runtime import to_pixels
from fercli.results import EpochReport
from fercli.training.augment import augment, resize
from fercli.training.average import update_average
from fercli.training.batches import (
    count_steps,
    draw_batches,
    draw_first_mirrored,
    draw_mirrored,
)
from fercli.training.loss import (
    Criterion,
    build_criterion,
    compute_loss,
    count_labels,
    spread,
)
from fercli.training.mixup import blend, draw_share
from fercli.training.optimizer import set_rates
from fercli.training.schedule import compute_learning_rate, compute_momentum, count_drops

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.networks import FaceNetwork
    from fercli.training.state import Progress, TrainingState

__all__ = [
    "LabeledImages",
    "StepReport",
    "TrainHooks",
    "choose_size",
    "prepare_batch",
    "run_epochs",
    "take_step",
    "validate",
]

_DTYPES: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}
_VALIDATION_BATCH: Final = 512
_SAVE_EVERY_S: Final = 120.0
"""Seconds between saves within an epoch: the most that a power cut can cost."""


@dataclass(frozen=True)
class LabeledImages:
    """A split on the device."""

    images: Tensor
    """[N, 48, 48] uint8."""
    labels: Tensor
    """[N] int64."""
    n_labels: int
    """K."""
    targets: Tensor | None = None
    """[N, K] float32, a teacher's probabilities, at the temperature they are learned at."""


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """A look at a running epoch."""

    epoch: int
    """1-based."""
    step: int
    """1-based."""
    n_steps: int
    """Of this epoch."""
    loss: float
    """Mean of the epoch so far."""
    images_per_s: float
    """Of the epoch so far."""


@dataclass(frozen=True, kw_only=True)
class TrainHooks:
    """What a training calls."""

    save: Callable[[TrainingState, int], None]
    """Save the state after so many steps in all."""
    on_step: Callable[[StepReport], None]
    """Watch a step."""
    on_epoch: Callable[[EpochReport, TrainingState], None]
    """Watch an epoch, before its state is saved."""
    should_stop: Callable[[], int]
    """Return a signal's number to stop between two steps, 0 to go on."""


def run_epochs(
    state: TrainingState,
    train: LabeledImages,
    validation: LabeledImages,
    config: TrainConfig,
    hooks: TrainHooks,
) -> int:
    """Train until the last epoch, until patience runs out or until told to stop.

    Args:
        state: Before the first step, or restored; changed in place.
        train: What is learned from.
        validation: What chooses the best epoch.
        config: Device and precision resolved.
        hooks: What to call.

    Returns:
        0 when the training is complete, else the number `hooks.should_stop` gave; the state is
        saved either way.

    Raises:
        RunFailedError: The loss is not a number any more; the last saved state is untouched.
    """
    progress = state.progress
    n_steps = count_steps(len(train.labels), config.batch_size)
    first = draw_first_mirrored(len(train.labels), config.seed).to(state.device)
    criterion = build_criterion(config, count_labels(train.labels, train.n_labels))
    while not progress.finished:
        stopped_by = _run_epoch(state, train, first, config, criterion, hooks)
        if stopped_by:
            hooks.save(state, progress.epoch * n_steps + progress.step)
            return stopped_by
        _end_epoch(state, validation, config, n_steps, hooks)
        hooks.save(state, progress.epoch * n_steps)
    return 0


def choose_size(config: TrainConfig, epoch: int) -> int:
    """Return the side of the images in an epoch (0-based), pixels; the last is always the last.

    The parts of a run are equal where its epochs can be divided so; a run too short for all sizes
    leaves out the smaller ones' successors, never the last, in which the model is used.
    """
    if epoch == config.epochs - 1:
        return config.sizes_px[-1]
    return config.sizes_px[epoch * len(config.sizes_px) // config.epochs]


def validate(network: FaceNetwork, split: LabeledImages) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy, computed in fp32 as the saved model computes."""
    network.eval()
    loss, n_right = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(split.labels), _VALIDATION_BATCH):
            labels = split.labels[start : start + _VALIDATION_BATCH]
            logits = network(to_pixels(split.images[start : start + _VALIDATION_BATCH]))
            loss += functional.cross_entropy(logits, labels, reduction="sum").item()
            n_right += int((logits.argmax(1) == labels).sum())
    return loss / len(split.labels), n_right / len(split.labels)


def _run_epoch(
    state: TrainingState,
    train: LabeledImages,
    first: Tensor,
    config: TrainConfig,
    criterion: Criterion,
    hooks: TrainHooks,
) -> int:
    """Run what is left of an epoch; return the signal that stopped it, or 0."""
    progress = state.progress
    batches = draw_batches(train.labels, config, progress.epoch)
    state.network.train()
    if config.transfer.freeze_epochs:
        freeze(state.network, frozen=progress.epoch < config.transfer.freeze_epochs)
    # Reading a number back stalls a GPU, so there it is done now and then.
    stride = 1 if state.device.type == "cpu" else 20
    sums = torch.tensor([progress.loss_sum, progress.n_right], dtype=torch.float64)
    sums = sums.to(state.device) if state.device.type != "mps" else sums
    started, elapsed_before = time.perf_counter(), progress.train_s
    saved_at = started
    size_px = choose_size(config, progress.epoch)
    while progress.step < len(batches):
        batch = batches[progress.step].to(state.device)
        pixels = prepare_batch(state, train.images[batch], first[batch], config, size_px)
        pixels, labels, targets = _blend_batch(pixels, train, batch, config, progress)
        rate, momentum = _compute_rates(progress, config, progress.step, len(batches))
        set_rates(state.optimizer, rate, momentum)
        loss, right = take_step(state, pixels, labels, config.precision, criterion, targets)
        sums += torch.stack([loss * len(batch), right]).to(sums)
        progress.step += 1
        if state.average is not None:
            done = progress.epoch * len(batches) + progress.step
            total = config.epochs * len(batches)
            update_average(state.average, state.network, config.optimization, done, total)
        progress.n_seen += len(batch)
        stopped_by = hooks.should_stop()
        save_due = time.perf_counter() - saved_at > _SAVE_EVERY_S
        last = progress.step == len(batches)
        if progress.step % stride == 0 or last or stopped_by or save_due:
            progress.loss_sum, progress.n_right = sums[0].item(), round(sums[1].item())
            _check_finite(progress.loss_sum, progress.epoch + 1, rate)
            progress.train_s = elapsed_before + time.perf_counter() - started
            hooks.on_step(_report_step(state, len(batches)))
        if stopped_by:
            return stopped_by
        if save_due and not last:
            hooks.save(state, progress.epoch * len(batches) + progress.step)
            saved_at = time.perf_counter()
    return 0


def prepare_batch(
    state: TrainingState, images: Tensor, first: Tensor, config: TrainConfig, size_px: int
) -> Tensor:
    """Return a batch as the network sees it in training: varied, at the size of the moment.

    Args:
        state: Its generator is used, its epoch decides which images are mirrored.
        images: `[N, 48, 48]` uint8.
        first: `[N]` bool, the batch's part of `draw_first_mirrored`.
        config: What to vary.
        size_px: Side of the result.

    Returns:
        `[N, 1, size_px, size_px]` float32 in [0, 1].
    """
    mirrored = draw_mirrored(config.augment.flip, first, state.progress.epoch, state.generator)
    pixels = augment(to_pixels(images), mirrored, config.augment, state.generator)
    return resize(pixels, size_px)


def _blend_batch(
    pixels: Tensor, train: LabeledImages, batch: Tensor, config: TrainConfig, progress: Progress
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return pixels, labels and a teacher's targets of a batch, mixed up if asked for."""
    labels = train.labels[batch]
    targets = None if train.targets is None else train.targets[batch]
    if not config.augment.mixup:
        return pixels, labels, targets
    share = draw_share(config.augment.mixup, config.seed, progress.epoch, progress.step)
    wanted = blend(spread(labels, train.n_labels), share)
    return blend(pixels, share), wanted, None if targets is None else blend(targets, share)


def take_step(
    state: TrainingState,
    pixels: Tensor,
    labels: Tensor,
    precision: str,
    criterion: Criterion,
    targets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Update the weights once.

    Args:
        state: Changed in place.
        pixels: `[N, 1, H, W]` float32 in [0, 1].
        labels: `[N]` int64, or `[N, K]` float32, a probability for each label.
        precision: `fp32`, `bf16` or `fp16`.
        criterion: What to minimize.
        targets: `[N, K]` float32, a teacher's softened probabilities.

    Returns:
        The mean loss and the number of right answers, both on the device.
    """
    dtype = _DTYPES.get(precision, torch.bfloat16)
    with torch.autocast(state.device.type, dtype=dtype, enabled=precision in _DTYPES):
        logits = state.network(pixels)
    logits = logits.float()
    loss = compute_loss(logits, labels, criterion, targets)
    state.optimizer.zero_grad(set_to_none=True)
    scaled: Tensor = state.scaler.scale(loss)
    scaled.backward()  # type: ignore[no-untyped-call]  # torch's backward has no annotations
    state.scaler.step(state.optimizer)
    state.scaler.update()
    wanted = labels if labels.ndim == 1 else labels.argmax(1)
    return loss.detach(), (logits.detach().argmax(1) == wanted).sum()


def _compute_rates(
    progress: Progress, config: TrainConfig, step: int, n_steps: int
) -> tuple[float, float]:
    """Return learning rate and momentum of a step, 0-based, of the current epoch."""
    optimization = config.optimization
    done, total = progress.epoch * n_steps + step, config.epochs * n_steps
    drops = progress.epoch // optimization.step_epochs
    if optimization.schedule == "plateau":
        accuracies = [report.validation_accuracy for report in progress.history]
        drops = count_drops(accuracies, optimization.plateau_patience)
    rate = compute_learning_rate(optimization, done, total_steps=total, drops=drops)
    return rate, compute_momentum(optimization, done, total_steps=total)


def _end_epoch(
    state: TrainingState,
    validation: LabeledImages,
    config: TrainConfig,
    n_steps: int,
    hooks: TrainHooks,
) -> None:
    """Validate, report, keep the best weights and decide whether to go on."""
    progress = state.progress
    started = time.perf_counter()
    loss, accuracy = validate(state.judged, validation)
    # Not the optimizer's own: resumed after the last step of an epoch, it was never told.
    rate, _ = _compute_rates(progress, config, n_steps - 1, n_steps)
    # The last step of an epoch may have spoilt the weights: they must not be saved.
    _check_finite(loss, progress.epoch + 1, rate)
    if accuracy > progress.best_accuracy:
        progress.best_accuracy, progress.best_epoch = accuracy, progress.epoch + 1
        state.keep_best()
    report = EpochReport(
        epoch=progress.epoch + 1,
        train_loss=progress.loss_sum / progress.n_seen,
        train_accuracy=progress.n_right / progress.n_seen,
        validation_loss=loss,
        validation_accuracy=accuracy,
        learning_rate=rate,
        images_per_s=progress.n_seen / progress.train_s,
        duration_s=progress.train_s + time.perf_counter() - started,
    )
    progress.history.append(report)
    progress.epoch += 1
    progress.start_epoch()
    out_of_patience = config.patience and progress.epoch - progress.best_epoch >= config.patience
    progress.finished = progress.epoch >= config.epochs or bool(out_of_patience)
    hooks.on_epoch(report, state)


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
