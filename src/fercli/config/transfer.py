"""What a training begins with, where it does not begin from nothing."""

from __future__ import annotations

from dataclasses import dataclass

from fercli.config.options import check_fields, option, raise_on

__all__ = ["TransferConfig"]


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """Weights of another model to begin with: one of ours, or torchvision's for its networks."""

    init: str = option(
        "",
        flag="--init",
        metavar="MODEL",
        help="Fine-tune this model: its network and weights are what the training begins with.",
        details="A run, a `.safetensors` of a run, or a bundled model that brings its weights. "
        "Where the labels, by name and order, are the model's, its last layer is kept, else it is "
        "new.",
    )
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
        help="Epochs at the start in which only the last layer is trained.",
        details="After `pretrained` the first layer is trained, too: it was made for color. Norms "
        "follow the new images all the time.",
    )

    def __post_init__(self) -> None:
        """Check every field; see `ConfigError.problems`."""
        problems = check_fields(self)
        if self.init and self.is_pretrained:
            problems.append("init and pretrained are two ways to begin: give one of them")
        if self.freeze_epochs and not (self.init or self.is_pretrained):
            problems.append("freeze_epochs keeps given weights: give --init or --pretrained, too")
        raise_on(problems)

    @property
    def is_pretrained(self) -> bool:
        """Whether torchvision's weights, or a file of its names, are begun with."""
        return self.pretrained or bool(self.pretrained_weights)
