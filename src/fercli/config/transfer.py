"""What a training begins with, where it does not begin from nothing."""

from __future__ import annotations

from dataclasses import dataclass

from fercli.config.options import check_fields, option, raise_on

__all__ = ["TransferConfig"]


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """Pretrained weights, for the networks of torchvision."""

    pretrained: bool = option(
        default=False,
        flag="--pretrained",
        help="Begin with torchvision's ImageNet weights; fetched once.",
    )
    pretrained_weights: str = option(
        "",
        help="A file to take them from instead: a `.pth` of torchvision's, or a `.safetensors`.",
    )
    freeze_epochs: int = option(
        0,
        low=0,
        high=1_000_000,
        help="Epochs at the start in which only the first and the last layer are trained.",
    )

    def __post_init__(self) -> None:
        """Check every field; see `ConfigError.problems`."""
        problems = check_fields(self)
        if self.freeze_epochs and not self.is_pretrained:
            problems.append("freeze_epochs keeps pretrained weights: give --pretrained, too")
        raise_on(problems)

    @property
    def is_pretrained(self) -> bool:
        """Whether there are weights to begin with."""
        return self.pretrained or bool(self.pretrained_weights)
