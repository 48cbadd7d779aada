"""The networks, behind one door: `build_network(config, n_labels)`.

A network is a file with a `build(config, n_labels)` and a line in `config.NETWORKS`. What it
builds maps normalized pixels float32 [N, 1, H, W] to logits [N, K]; `FaceNetwork` puts the
normalization before it, so that it is trained, saved and exported as one thing.
"""

from __future__ import annotations

import importlib

import torch
from torch import Tensor, nn

from fercli.config import NETWORKS, NetworkConfig

__all__ = ["FaceNetwork", "build_network", "count_parameters", "find_head", "initialize"]


class FaceNetwork(nn.Module):
    """Normalization and a classifier.

    Args:
        body: Maps normalized pixels `[N, 1, H, W]` to logits `[N, K]`.
        mean: Mean of the training pixels, in [0, 1].
        std: Their standard deviation, > 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, *, mean: float = 0.5, std: float = 0.25) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits `[N, K]` for pixels `[N, 1, H, W]` in [0, 1]."""
        logits: Tensor = self.body((pixels - self.mean) / self.std)
        return logits


def build_network(
    config: NetworkConfig, n_labels: int, *, mean: float = 0.5, std: float = 0.25
) -> FaceNetwork:
    """Build a network; its weights are whatever torch leaves there, see `initialize`.

    Args:
        config: Which, and how large.
        n_labels: K, the number of labels.
        mean: Mean of the training pixels, in [0, 1].
        std: Their standard deviation, > 0.
    """
    module = importlib.import_module(NETWORKS[config.network])
    body: nn.Module = module.build(config, n_labels)
    return FaceNetwork(body, mean=mean, std=std)


def initialize(
    network: FaceNetwork, generator: torch.Generator, pixels: Tensor | None = None
) -> None:
    """Draw all weights from a generator, so that torch's global one plays no part.

    Convolutions and dense layers get normal weights of variance 2 / fan-in and zero biases, norms
    one and zero; the last layer starts small, so that the first loss is about log K.

    Args:
        network: Changed in place.
        generator: Source of the weights, on the CPU.
        pixels: Training images `[N, 1, H, W]` in [0, 1], for a network whose body has a `fit`
            that computes weights from them; without them such weights are sampled too.

    Source:
        He et al., "Delving Deep into Rectifiers", 2015, section 2.2.
    """
    last = network.get_submodule(find_head(network))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            gain = 0.1 if module is last else 1.0
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            with torch.no_grad():
                module.weight.mul_(gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    fit = getattr(network.body, "fit", None)
    if fit is not None and pixels is not None:
        fit((pixels - network.mean) / network.std)


def find_head(network: nn.Module) -> str:
    """Return the name of the last dense layer, which gives the logits."""
    names: list[str] = [n for n, part in network.named_modules() if isinstance(part, nn.Linear)]
    return names[-1]


def count_parameters(network: nn.Module) -> int:
    """Return how many numbers a network has, a frozen stem's included."""
    return sum(parameter.numel() for parameter in network.parameters())
