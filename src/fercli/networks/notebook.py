"""The student notebook's network, exactly: what the project started from and is measured against.

Six 3x3 convolutions without padding, batch norm and ReLU after each, max-pooling after every
second, then dense layers 4096-256-128-64-K with batch norm, ReLU and dropout: 7,382,983 trained
numbers for seven labels. It takes 48x48 pixels and nothing else.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from torch import Tensor, nn

if TYPE_CHECKING:
    from fercli.config import NetworkConfig

__all__ = ["SeedCNN", "build"]

_CONVOLUTIONS: Final = (1, 32, 64, 128, 256, 512, 1024)
_DENSE: Final = (4096, 256, 128, 64)


def build(config: NetworkConfig, n_labels: int) -> nn.Module:
    """Build the network; of the config only `dropout` is used."""
    return SeedCNN(config.dropout, n_labels)


class SeedCNN(nn.Module):
    """The notebook's network.

    Args:
        dropout: After each dense layer, in [0, 1).
        n_labels: K.
    """

    def __init__(self, dropout: float, n_labels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise(_CONVOLUTIONS)):
            layers += [nn.Conv2d(before, after, 3), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
            if index % 2:
                layers.append(nn.MaxPool2d(2))
        layers.append(nn.Flatten())
        for before, after in pairwise(_DENSE):
            layers += [
                nn.Linear(before, after),
                nn.BatchNorm1d(after),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
            ]
        self.layers = nn.Sequential(*layers, nn.Linear(_DENSE[-1], n_labels))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits `[N, K]` for normalized pixels `[N, 1, 48, 48]`."""
        logits: Tensor = self.layers(pixels)
        return logits
