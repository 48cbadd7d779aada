"""One step, and a look at the validation split: what a batch goes through.

Shape legend: images uint8 [N, 48, 48], labels int64 [N], on the training device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional

from fercli.networks.runtime import to_pixels
from fercli.training.augment import augment, resize
from fercli.training.distributed import ALONE, Group
from fercli.training.loss import Criterion, compute_loss
from fercli.training.sampling import sample_mirrored

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.networks import FaceNetwork
    from fercli.training.state import TrainingState

__all__ = ["LabeledImages", "autocast", "build_sums", "prepare_batch", "take_step", "validate"]

_DTYPES: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}
_VALIDATION_BATCH: Final = 512


@dataclass(frozen=True)
class LabeledImages:
    """A split on the device."""

    images: Tensor
    """[N, 48, 48] uint8."""
    labels: Tensor
    """[N] int64."""
    n_labels: int
    """K."""
    votes: Tensor | None = None
    """[N, K] float32, what is learned instead of the labels, where the dataset has votes."""
    targets: Tensor | None = None
    """[N, K] float32, a teacher's probabilities, at the temperature they are learned at."""
    teach: Callable[[Tensor], Tensor] | None = None
    """Gives such probabilities `[B, K]` of a varied batch `[B, 1, H, W]`, instead of `targets`."""


def prepare_batch(
    state: TrainingState, images: Tensor, first: Tensor, config: TrainConfig, size_px: int
) -> Tensor:
    """Return a batch as the network sees it in training: varied, at the size of the moment.

    Args:
        state: Its generator is used, its epoch decides which images are mirrored.
        images: `[N, 48, 48]` uint8.
        first: `[N]` bool, the batch's part of `sample_first_mirrored`.
        config: What to vary.
        size_px: Side of the result.

    Returns:
        `[N, 1, size_px, size_px]` float32 in [0, 1].
    """
    mirrored = sample_mirrored(config.augment.flip, first, state.progress.epoch, state.generator)
    pixels = augment(to_pixels(images), mirrored, config.augment, state.generator)
    return resize(pixels, size_px)


def take_step(
    state: TrainingState,
    pixels: Tensor,
    labels: Tensor,
    config: TrainConfig,
    criterion: Criterion,
    targets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Update the weights once.

    Args:
        state: Changed in place.
        pixels: `[N, 1, H, W]` float32 in [0, 1].
        labels: `[N]` int64, or `[N, K]` float32, a probability for each label.
        config: Precision, and the number of parts that the batch is computed in.
        criterion: What to minimize.
        targets: `[N, K]` float32, a teacher's softened probabilities.

    Of a group, every process is given the whole batch and steps through its part of it.

    Returns:
        The sum of the losses and the logits `[N, K]`, of this process, on the device; the logits
        part by part, as `Group.shard_parts` has them.
    """
    parts = state.group.shard_parts(len(pixels), config.accumulate)
    state.optimizer.zero_grad(set_to_none=True)
    results = []
    for number, part in enumerate(parts, start=1):
        # Gradients are averaged over the processes once, with the last part.
        with state.hold_back() if number < len(parts) else contextlib.nullcontext():
            taught = None if targets is None else targets[part]
            share = (part.stop - part.start) * state.group.size / len(pixels)
            batch = (pixels[part], labels[part], taught)
            results.append(_add_gradients(state, batch, config.precision, criterion, share))
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if len(results) == 1:
        return results[0]
    losses, logits = zip(*results, strict=True)
    return torch.stack(losses).sum(), torch.cat(logits)


def _add_gradients(
    state: TrainingState,
    batch: tuple[Tensor, Tensor, Tensor | None],
    precision: str,
    criterion: Criterion,
    share: float,
) -> tuple[Tensor, Tensor]:
    """Add a part's gradients to those that the weights have; return as `take_step`.

    Args:
        state: Its weights' gradients are changed in place.
        batch: Pixels, labels and targets of the part.
        precision: `fp32`, `bf16` or `fp16`.
        criterion: What to minimize.
        share: What the part's mean loss counts; gradients are averaged over the processes, whose
            parts may differ by an image.
    """
    pixels, labels, targets = batch
    with autocast(state.device, precision):
        logits = state.wrapped(pixels)
    logits = logits.float()
    loss = compute_loss(logits, labels, criterion, targets)
    scaled: Tensor = state.scaler.scale(loss if share == 1 else loss * share)
    scaled.backward()  # type: ignore[no-untyped-call]  # torch's backward has no annotations
    return loss.detach() * len(pixels), logits.detach()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the block in which networks on a device compute in a precision."""
    dtype = _DTYPES.get(precision, torch.bfloat16)
    return torch.autocast(device.type, dtype=dtype, enabled=precision in _DTYPES)


def build_sums(loss: float, n_correct: int, device: torch.device) -> Tensor:
    """Return `[2]`, to add losses and right answers to on the device, as exact as it can.

    MPS has no float64; float32 still counts 16 million images without an error.
    """
    dtype = torch.float32 if device.type == "mps" else torch.float64
    return torch.tensor([loss, n_correct], dtype=dtype, device=device)


def validate(
    network: FaceNetwork, split: LabeledImages, group: Group = ALONE
) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy, computed in fp32 as the saved model computes.

    Of a group, every process looks at its part; every image is counted once.
    """
    network.eval()
    sums = build_sums(0.0, 0, split.images.device)
    part = group.shard(len(split.labels))
    with torch.inference_mode():
        for start in range(part.start, part.stop, _VALIDATION_BATCH):
            stop = min(start + _VALIDATION_BATCH, part.stop)
            labels = split.labels[start:stop]
            logits = network(to_pixels(split.images[start:stop]))
            loss_sum = functional.cross_entropy(logits, labels, reduction="sum")
            sums += torch.stack([loss_sum, (logits.argmax(1) == labels).sum()])
    loss, n_correct = group.all_reduce_sum(sums).tolist()
    return loss / len(split.labels), n_correct / len(split.labels)
