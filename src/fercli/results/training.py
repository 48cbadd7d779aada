"""What a training came to, and each of its epochs."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["EpochReport", "TrainResult"]


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """One epoch of a training: one row of metrics.csv, in its order."""

    epoch: int
    """1-based."""
    train_loss: float
    """Mean over the epoch's steps, augmentation and label smoothing included."""
    train_accuracy: float
    """On the augmented images as they were trained on, in [0, 1]."""
    validation_loss: float
    """Mean cross-entropy on the validation split, without smoothing."""
    validation_accuracy: float
    """In [0, 1]."""
    learning_rate: float
    """Of the epoch's last step."""
    images_per_s: float
    """Training images over training time, validation and saving not counted."""
    duration_s: float
    """Training and validation, seconds."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A finished training."""

    run_directory: str
    """The run folder."""
    model: str
    """Path of `model.safetensors` in it."""
    network: str
    """Name of the network."""
    parameters: int
    """Numbers in it."""
    epochs: int
    """Epochs that were run."""
    best_epoch: int
    """The epoch whose weights were kept, 1-based."""
    validation_accuracy: float
    """Of that epoch, in [0, 1]."""
    validation_split: str
    """The split that chose it."""
    duration_s: float
    """Of all epochs, seconds; an interrupted and resumed run adds up its parts. Members have
    their own."""
    cpu_s: float = 0.0
    """Processor time of this process and all its threads, added up likewise."""
    images_per_s: float
    """Training images over training time."""
    device: str
    """Device it ran on."""
    precision: str
    """Precision it computed in."""
    seed: int
    """Seed of every random choice."""
    temperature: float = 1.0
    """Divides the logits; fitted on the validation split at the end."""
    members: int = 0
    """Networks trained before it, whose mean taught it."""
    onnx: str | None = None
    """Path of `model.onnx`, or None where it could not be written (see `warnings`)."""
    warnings: list[str] = field(default_factory=list)
    """What went less well than planned."""
