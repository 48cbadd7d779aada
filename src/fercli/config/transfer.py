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
        help="Fine-tune this model: training starts from its network and weights.",
        details="A run, a `.safetensors` of a run, or a bundled model that brings its weights. If "
        "the dataset has the model's labels in the same order, its last layer is kept, else it is "
        "new.",
    )
    pretrained: bool = option(
        default=False,
        flag="--pretrained",
        help="Start from torchvision's ImageNet weights; downloaded once.",
    )
    pretrained_weights: str = option(
        "",
        help="A file with these weights: a `.pth` of torchvision's, or a `.safetensors`.",
    )
    freeze_epochs: int = option(
        0,
        low=0,
        high=1_000_000,
        help="Epochs at the start in which only the last layer is trained.",
        details="With `pretrained`, the first layer is trained, too, because it was made for "
        "color. Batch norms always follow the new images.",
    )

    def __post_init__(self) -> None:
        """Check every field; see `ConfigError.problems`."""
        problems = check_fields(self)
        if self.init and self.is_pretrained:
            problems.append("init and pretrained both set initial weights: give one of them")
        if self.freeze_epochs and not (self.init or self.is_pretrained):
            problems.append("freeze_epochs needs initial weights: give --init or --pretrained, too")
        raise_on(problems)

    @property
    def is_pretrained(self) -> bool:
        """Whether torchvision's weights, or a file of its names, are begun with."""
        return self.pretrained or bool(self.pretrained_weights)
