"""Before the first step: the model that is begun with, the state, the images on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from fercli.config import ARCHITECTURE
from fercli.data.duplicates import save_digests
from fercli.errors import ModelFileError
from fercli.metadata import InitRecord
from fercli.model_files import describe_provenance, load_network, load_train_digests
from fercli.networks import build_network, find_head, initialize
from fercli.networks.pretrained import load_pretrained
from fercli.networks.runtime import to_pixels
from fercli.runs import read_run_record
from fercli.training.distillation.self_distillation import build_memory
from fercli.training.loss import soften
from fercli.training.process import seed_generators
from fercli.training.state import build_state
from fercli.training.step import LabeledImages
from fercli.transfer import check_network, find_init

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fercli.config import TrainConfig
    from fercli.data import Dataset, Subset
    from fercli.metadata import ModelMetadata
    from fercli.model_files import ModelFile
    from fercli.networks import FaceNetwork
    from fercli.training.context import TrainingContext
    from fercli.training.state import TrainingState

__all__ = ["InitModel", "open_init", "put_on_device", "start"]

_RANK_STRIDE: Final = 2**31
"""Keeps the seeds of a group's processes apart from each other and from other seeds."""
_N_FITTED: Final = 4096
"""Training images from which weights may be computed."""
_KEPT: Final = "kept"
_NEW: Final = "new"


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


@dataclass(frozen=True)
class InitModel:
    """A model that another one is fine-tuned from."""

    file: ModelFile
    """Its weights."""
    metadata: ModelMetadata
    """What is stored with them."""
    network: FaceNetwork
    """On the CPU."""
    record: InitRecord
    """What the run and the model that comes of it say of it."""

    def load_into(self, network: FaceNetwork) -> None:
        """Put its weights and its normalization into a network of the same kind, in place.

        The last layer is left as it is where the labels are others.
        """
        weights = self.network.state_dict()
        if self.record.head == _NEW:
            head = f"{find_head(network)}."
            own = network.state_dict()
            weights |= {name: own[name] for name in own if name.startswith(head)}
        network.load_state_dict(weights)

    def describe(self) -> str:
        """Return what a training says when it begins."""
        known = f"it knows other labels ({', '.join(self.metadata.labels)})"
        reason = "the labels are the same" if self.record.head == _KEPT else known
        return f"began with {self.record.model}, its last layer {self.record.head}: {reason}"

    def check(self, begun_with: InitRecord | None) -> None:
        """Refuse it where the run began with another one.

        Raises:
            ModelFileError: It did.
        """
        if begun_with is not None and begun_with.sha256 != self.record.sha256:
            message = f"the model {self.file.title} is not the one that the run started from"
            raise ModelFileError(message, hint="put the old one back, or train anew")

    def save_train_digests(self, path: Path, dataset_sha256: str) -> None:
        """Keep which images it learned from, for the model that will have learned from them too.

        Args:
            path: Where; nothing is written where they are not known.
            dataset_sha256: Digest of what is learned from next.

        Raises:
            ModelFileError: The file beside the model is damaged.
        """
        digests = load_train_digests(self.file, self.metadata)
        if digests is not None:
            save_digests(path, digests, dataset_sha256)


def open_init(dataset: Dataset, config: TrainConfig) -> InitModel | None:
    """Open the model that a training begins with; None where it begins with none of ours.

    Args:
        dataset: Its labels decide whether the last layer is kept.
        config: The model's network, as `build_train_config` makes it.

    Raises:
        ModelFileError: It is missing, damaged, or nothing that can be fine-tuned.
        ConfigError: The configuration is of another network.
    """
    if not config.transfer.init:
        return None
    file = find_init(config.transfer.init)
    network, metadata = load_network(file.path)
    check_network(config, metadata.network.build_config(file.path), ARCHITECTURE)
    known = describe_provenance(file, metadata)
    record = InitRecord(
        model=known.model,
        sha256=known.sha256,
        validation=known.validation,
        chosen_on=known.chosen_on,
        head=_KEPT if metadata.labels == dataset.label_names else _NEW,
    )
    return InitModel(file, metadata, network, record)
