from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.profiler import profile

from fercli.networks import build_network, initialize
from fercli.training.muon import Muon, orthogonalize
from fercli.training.optimizer import build_optimizer

if TYPE_CHECKING:
    from fercli.config import TrainConfig


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(48, 288), (288, 96), (16, 144)])
def test_orthogonalized_matrices_are_nearly_orthogonal(shape: tuple[int, int]) -> None:
    matrices = draw(2, *shape) * torch.tensor([1.0, 1e-3]).view(2, 1, 1)

    results = orthogonalize(matrices)

    for matrix, result in zip(matrices, results, strict=True):
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        values = torch.linalg.svdvals(result)
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.25
        nearest = (left @ right).flatten()
        assert float(functional.cosine_similarity(result.flatten(), nearest, dim=0)) > 0.98


def test_muon_keeps_the_length_of_filters_and_learns() -> None:
    layer = nn.Conv2d(4, 8, 3, bias=False)
    inputs, wanted = draw(64, 4, 6, 6), draw(64, 8, 4, 4, seed=1)
    group = {"params": [layer.weight], "orthogonal": True, "weight_decay": 0.0}
    optimizer = Muon([group], lr=0.05, momentum=0.8)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        cosine = functional.cosine_similarity(layer(inputs).flatten(1), wanted.flatten(1))
        loss = 1 - cosine.mean()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < losses[0] - 0.1
    assert float(layer.weight.detach().norm()) == pytest.approx(8**0.5, rel=0.02)


def test_muon_steps_the_rest_as_sgd_does(tiny_config: TrainConfig) -> None:
    config = replace(tiny_config.optimization, optimizer="muon", sgd_ratio=1.0, momentum=0.7)
    first = build_network(tiny_config.model, 7)
    initialize(first, torch.Generator().manual_seed(0))
    second = copy.deepcopy(first)
    optimizers = (
        build_optimizer(first, config),
        build_optimizer(second, replace(config, optimizer="sgd")),
    )
    for network, optimizer in zip((first, second), optimizers, strict=True):
        network.eval()
        network(draw(8, 1, 48, 48)).square().sum().backward()
        optimizer.step()

    ours, theirs = dict(first.named_parameters()), dict(second.named_parameters())
    hidden = {name for name in ours if "convolutions" in name}
    assert hidden
    for name, weights in ours.items():
        same = torch.allclose(weights, theirs[name], atol=1e-6)
        assert same == (name not in hidden), name


@pytest.mark.filterwarnings("ignore:Warning. Profiler clears events")  # of torch 2.10
def test_muon_steps_weights_of_a_shape_together() -> None:
    def count(n_layers: int) -> int:
        weights = [nn.Parameter(draw(8, 4, 3, 3, seed=number)) for number in range(n_layers)]
        rest = [nn.Parameter(draw(8, seed=number)) for number in range(n_layers)]
        for item in (*weights, *rest):
            item.grad = torch.ones_like(item)
        groups = [
            {"params": weights, "orthogonal": True, "weight_decay": 0.0},
            {"params": rest, "orthogonal": False, "weight_decay": 0.1},
        ]
        optimizer = Muon(groups, lr=0.1, momentum=0.9)
        optimizer.step()
        with profile() as profiler:
            optimizer.step()
        return sum(
            event.count
            for event in profiler.key_averages()
            if event.key.startswith("aten::_foreach") or event.key == "aten::matmul"
        )

    assert count(1) == count(6) > 0
