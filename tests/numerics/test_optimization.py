from __future__ import annotations

import copy
import platform
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.profiler import profile

from fercli.config import OPTIMIZERS, OptimizerConfig
from fercli.networks import build_network, initialize
from fercli.settings import build_config
from fercli.training.ema import build_average, pair_floats, update_average
from fercli.training.muon import Muon, orthogonalize
from fercli.training.optimizer import build_optimizer, set_rates

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


def test_norms_may_go_without_a_scale(tiny_config: TrainConfig) -> None:
    network = build_network(build_config({"norm_scale": False}, base=tiny_config).model, 7)
    stepped = {
        id(item)
        for group in build_optimizer(network, OptimizerConfig(bias_ratio=2.0)).param_groups
        for item in group["params"]
    }

    scales = [
        item for name, item in network.named_parameters() if "norms" in name and "weight" in name
    ]
    assert scales
    assert not stepped & {id(item) for item in scales}


def test_memory_is_kept_where_glibc_is() -> None:
    code = "import sys, fercli.training as t; sys.exit(t.tune_malloc() != (sys.argv[1] == 'glibc'))"

    done = subprocess.run([sys.executable, "-c", code, platform.libc_ver()[0]], check=False)

    assert done.returncode == 0


def test_learning_rates_keep_their_ratio(tiny_config: TrainConfig) -> None:
    network = build_network(tiny_config.model, 7)
    config = OptimizerConfig(optimizer="muon", sgd_ratio=3.0, bias_ratio=4.0)
    optimizer = build_optimizer(network, config)

    set_rates(optimizer, 0.1, 0.6)

    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([0.1, 0.3, 0.3, 1.2])


def test_a_frozen_stem_is_not_stepped(tiny_config: TrainConfig) -> None:
    config = build_config({"stem": "whitened"}, base=tiny_config)
    network = build_network(config.model, 7)
    stepped = {
        id(item)
        for name in OPTIMIZERS
        for group in build_optimizer(network, OptimizerConfig(optimizer=name)).param_groups
        for item in group["params"]
    }

    trained = {id(item) for name, item in network.named_parameters() if "stem" not in name}
    assert stepped == trained


def test_the_average_follows_its_formula(tiny_config: TrainConfig) -> None:
    network = build_network(tiny_config.model, 7)
    initialize(network, torch.Generator().manual_seed(0))
    config = OptimizerConfig(average="ema", average_decay=0.25)
    average = build_average(network, config)
    assert average is not None
    start = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        for item in network.state_dict().values():
            if item.is_floating_point():
                item.add_(1.0)

    floats = pair_floats(average, network)
    update_average(*floats, config, 100)
    later = average.state_dict()
    for name, value in start.items():
        if value.is_floating_point():
            assert torch.allclose(later[name], value + 0.75, atol=1e-6), name

    # The first steps look back less far: (1 + 1) / (10 + 1) is below 0.25.
    update_average(*floats, config, 1)
    head = "body.head.weight"
    assert torch.allclose(average.state_dict()[head], start[head] + 1 - 0.25 * 2 / 11, atol=1e-6)
    assert build_average(network, OptimizerConfig()) is None
