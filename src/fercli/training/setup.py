"""The state before the first step, and the images it will see, on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from fercli.networks import build_network, initialize
from fercli.networks.pretrained import load_pretrained
from fercli.networks.runtime import to_pixels
from fercli.runs import read_run_record
from fercli.training.distillation.self_distillation import build_memory
from fercli.training.generators import seed_generators
from fercli.training.init import open_init
from fercli.training.loss import soften
from fercli.training.state import build_state
from fercli.training.step import LabeledImages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.data import Subset
    from fercli.networks import FaceNetwork
    from fercli.training.context import TrainingContext
    from fercli.training.state import TrainingState

__all__ = ["put_on_device", "start"]

_RANK_STRIDE: Final = 2**31
"""Keeps the seeds of a group's processes apart from each other and from other seeds."""
_N_FITTED: Final = 4096
"""Training images from which weights may be computed."""


def start(context: TrainingContext, device: torch.device, *, transfer: bool) -> TrainingState:
    """Return the state before the first step, every generator seeded.

    Args:
        context: The training.
        device: Where it trains.
        transfer: Whether to take over the weights that it begins with; a state that is restored
            needs none, and they may be gone meanwhile.

    Raises:
        ModelFileError: Those weights are missing, damaged, or not those that the run is to begin
            with.
    """
    config = context.config
    # Dropout draws from torch's own generators; they are put back when the training ends.
    # Each process of a group draws its own.
    seed = config.seed + context.group.rank * _RANK_STRIDE
    seed_generators(device, seed)
    pixels = context.splits.train.images
    mean, std = float(pixels.mean()) / 255, max(float(pixels.std()) / 255, 1e-3)
    network = build_network(config.model, len(context.dataset.label_names), mean=mean, std=std)
    sample = to_pixels(torch.from_numpy(np.ascontiguousarray(pixels[:_N_FITTED])))
    initialize(network, torch.Generator().manual_seed(config.seed), sample)
    if transfer:
        _take_over(network, context)
    state = build_state(network, config, device, context.group)
    memory = build_memory(len(pixels), len(context.dataset.label_names), config)
    state.memory = None if memory is None else memory.to(device)
    return state


def _take_over(network: FaceNetwork, context: TrainingContext) -> None:
    """Put the weights that the training begins with into its network, where it has some."""
    config, group = context.config, context.group
    if config.transfer.is_pretrained:
        context.run_log.note(f"began with {load_pretrained(network, config)}")
    init = open_init(context.dataset, config)
    if init is not None:
        # Only the leading process sees the run folder.
        record = read_run_record(context.run.path) if group.is_main else None
        init.check(group.broadcast(record and record.init))
        init.load_into(network)
        context.run_log.note(init.describe())


def put_on_device(
    split: Subset,
    n_labels: int,
    device: torch.device,
    targets: NDArray[np.float32] | None = None,
    temperature: float = 1.0,
) -> LabeledImages:
    """Return a split as the epochs take it.

    Args:
        split: Its images and labels.
        n_labels: Of the dataset.
        device: Where to.
        targets: `[N, K]`, a teacher's probabilities.
        temperature: At which they are learned.
    """
    softened = None
    if targets is not None:
        softened = soften(torch.from_numpy(targets), temperature).to(device)
    votes = None if split.targets is None else torch.from_numpy(split.targets).to(device)
    return LabeledImages(
        votes=votes,
        n_labels=n_labels,
        targets=softened,
        images=torch.from_numpy(np.ascontiguousarray(split.images)).to(device),
        labels=torch.from_numpy(split.labels.astype(np.int64)).to(device),
    )
