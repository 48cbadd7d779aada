"""torchvision's classifiers, fitted to small gray faces.

Their first convolution takes one channel, their last dense layer has K outputs and dropout before
it, and the image may be enlarged first. VGG's classifier goes altogether: three dense layers with
119 of its 133 million numbers, whose input at 48 pixels is one place repeated 49 times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional

from fercli.errors import DependencyMissingError

if TYPE_CHECKING:
    from fercli.config import NetworkConfig

__all__ = ["Backbone", "build", "import_models"]


def build(config: NetworkConfig, n_labels: int) -> nn.Module:
    """Build the torchvision network that a config names, for K labels.

    Raises:
        DependencyMissingError: torchvision cannot be imported.
    """
    return Backbone(import_models().get_model(config.network, weights=None), config, n_labels)


def import_models() -> Any:  # noqa: ANN401  # a module, imported where it is needed
    """Return `torchvision.models`.

    Raises:
        DependencyMissingError: It is not installed, or does not fit the installed torch.
    """
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as reason:
        # One that was built for another torch fails with a RuntimeError about its operators.
        message = f"torchvision cannot be imported ({' '.join(str(reason).split())[:200]})"
        hint = "install torch and torchvision together, from the same index"
        raise DependencyMissingError(message, hint=hint) from reason
    return models


class Backbone(nn.Module):
    """A classifier of torchvision's, for gray images and K labels.

    Args:
        model: Its first convolution sees the image, its last dense layer gives the logits.
        config: `dropout` and `input_px` are used.
        n_labels: K.
    """

    def __init__(self, model: nn.Module, config: NetworkConfig, n_labels: int) -> None:
        super().__init__()
        self.model = model
        self.input_px = config.input_px
        self.stem = _find_names(model, nn.Conv2d)[0]
        """Name of the first convolution in `model`."""
        first = model.get_submodule(self.stem)
        first.in_channels = 1  # type: ignore[assignment]  # modules may hold anything
        first.weight = nn.Parameter(turn_gray(first.get_parameter("weight")))
        dense = _find_names(model, nn.Linear)
        pool = getattr(model, "avgpool", None)
        n_places = _count_places(pool)
        self.head = dense[-1] if n_places == 1 else dense[0].rpartition(".")[0]
        """Name of what was replaced in `model` and gives the logits."""
        if n_places > 1:
            model.avgpool = nn.AdaptiveAvgPool2d(1)
            n_features = int(model.get_submodule(dense[0]).in_features) // n_places  # type: ignore[arg-type]
        else:
            n_features = int(model.get_submodule(self.head).in_features)  # type: ignore[arg-type]
        head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(n_features, n_labels))
        model.set_submodule(self.head, head)

    def list_new(self) -> list[nn.Parameter]:
        """Return the parameters that pretrained weights do not bring as they are used here."""
        parts = (self.model.get_submodule(name) for name in (self.stem, self.head))
        return [parameter for part in parts for parameter in part.parameters()]

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits `[N, K]` for normalized pixels `[N, 1, H, W]`."""
        if self.input_px:
            size = (self.input_px, self.input_px)
            pixels = functional.interpolate(pixels, size=size, mode="bilinear")
        logits: Tensor = self.model(pixels)
        return logits


def turn_gray(weights: Tensor) -> Tensor:
    """Return filters `[C, 3, H, W]` for color as `[C, 1, H, W]` that see gray as they did."""
    return weights.detach().sum(1, keepdim=True)


def _find_names(model: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, kind)]


def _count_places(pool: nn.Module | None) -> int:
    """Return at how many places of the map a classifier looks; 49 in VGG, else 1."""
    if not isinstance(pool, nn.AdaptiveAvgPool2d):
        return 1
    size = pool.output_size
    height, width = size if isinstance(size, tuple) else (size, size)
    return (height or 1) * (width or 1)
