"""What a model says of itself, in short: what `fer info MODEL` and `Model.info` give."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from fercli.metadata.models import ModelMetadata
    from fercli.metadata.origins import InitRecord, ValidationRecord

__all__ = ["ModelInfo", "TrainingInfo"]


@dataclass(frozen=True, kw_only=True)
class TrainingInfo:
    """What a model was trained on, and how; None where nothing is known."""

    dataset: str | None
    """What the dataset was prepared from."""
    dataset_sha256: str | None
    """Digest of its arrays."""
    split: str
    """Always `train`."""
    validation: ValidationRecord | None
    """What chose the epoch."""
    epochs: int | None
    """That were run."""
    seed: int | None
    """Of its training."""
    recipe: str | None
    """Of its training; None of an ensemble."""
    pretrained: str | None
    """Weights of another task that the network began with."""
    init: InitRecord | None
    """The model that it was fine-tuned from."""
    teachers: tuple[str, ...]
    """Models that it was distilled from."""
    members: tuple[str, ...]
    """Models that it is made of."""
    fercli: str | None
    """The version that trained it."""

    @classmethod
    def read(cls, metadata: ModelMetadata) -> Self:
        """Return what a model's metadata says of its training."""
        dataset = metadata.dataset
        return cls(
            dataset=dataset.source if dataset else None,
            dataset_sha256=dataset.sha256 if dataset else None,
            split="train",
            validation=metadata.validation,
            epochs=metadata.epochs,
            seed=metadata.seed,
            recipe=metadata.recipe,
            pretrained=metadata.pretrained,
            init=metadata.init,
            teachers=tuple(one.model for one in metadata.teachers),
            members=tuple(one.model for one in metadata.members),
            fercli=metadata.fercli,
        )


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A model, in short."""

    kind: str
    """`torch` or `onnx`."""
    verified: bool
    """Whether the file was checked by a digest that it holds of itself."""
    labels: tuple[str, ...]
    """The K labels, in the order of the probabilities."""
    network: str
    """Name of the network."""
    parameters: int | None
    """Numbers in it; None where it was not noted."""
    input: str
    """Type, shape and range of the images that it takes."""
    temperature: float
    """What its logits are divided by."""
    trained: TrainingInfo
    """What it was trained on, and how."""

    @classmethod
    def read(cls, metadata: ModelMetadata, *, kind: str, verified: bool) -> Self:
        """Return what a model's metadata says.

        Args:
            metadata: The model's.
            kind: As the field.
            verified: As the field.
        """
        return cls(
            kind=kind,
            verified=verified,
            labels=metadata.labels,
            network=metadata.network.name,
            parameters=metadata.parameters,
            input="uint8 [N, 48, 48], gray, 0-255",
            temperature=metadata.temperature,
            trained=TrainingInfo.read(metadata),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, its records as they are stored."""
        trained = self.trained
        return {
            **asdict(self),
            "labels": list(self.labels),
            "trained": {
                **asdict(trained),
                "validation": trained.validation and trained.validation.to_json(),
                "init": trained.init and trained.init.to_json(),
                "teachers": list(trained.teachers),
                "members": list(trained.members),
            },
        }
