"""What a training begins with, where it does not begin from nothing."""

from __future__ import annotations

from dataclasses import dataclass

from fercli.config.checks import raise_on
from fercli.ranges import find_outside

__all__ = ["TransferConfig"]


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """Pretrained weights, for the networks of torchvision."""

    pretrained: bool = False
    """Begin with the weights that torchvision offers, trained on ImageNet; fetched once."""
    pretrained_weights: str = ""
    """A file to take them from instead: a `.pth` of torchvision's, or a `.safetensors`."""
    freeze_epochs: int = 0
    """Epochs at the start in which only the first and the last layer are trained, at least 0."""

    def __post_init__(self) -> None:
        """Check every range; see `ConfigError.problems`."""
        problems = find_outside("freeze_epochs", self.freeze_epochs, 0, 1_000_000)
        if self.freeze_epochs and not self.is_pretrained:
            problems.append("freeze_epochs keeps pretrained weights: give --pretrained, too")
        raise_on(problems)

    @property
    def is_pretrained(self) -> bool:
        """Whether there are weights to begin with."""
        return self.pretrained or bool(self.pretrained_weights)
