from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from fercli.config import OptimizerConfig
from fercli.networks import build_network, initialize
from fercli.training.ema import build_average, pair_floats, update_average

if TYPE_CHECKING:
    from fercli.config import TrainConfig


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
