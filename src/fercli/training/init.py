"""The model that a fine-tuning begins with: opened, compared, taken over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fercli.config import ARCHITECTURE
from fercli.data.duplicates import save_digests
from fercli.errors import ModelFileError
from fercli.metadata import InitRecord
from fercli.model_files import describe_provenance, load_network, load_train_digests
from fercli.networks import find_head
from fercli.transfer import check_network, find_init

if TYPE_CHECKING:
    from pathlib import Path

    from fercli.config import TrainConfig
    from fercli.data import Dataset
    from fercli.metadata import ModelMetadata
    from fercli.model_files import ModelFile
    from fercli.networks import FaceNetwork

__all__ = ["InitModel", "open_init"]

_KEPT = "kept"
_NEW = "new"


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
            message = f"the model {self.file.title} is not the one the run was to begin with"
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
