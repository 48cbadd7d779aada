from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fercli.config import OPTIMIZERS, OptimizerConfig
from fercli.networks import build_network
from fercli.settings import build_config
from fercli.training.optimizer import build_optimizer, set_rates

if TYPE_CHECKING:
    from fercli.config import TrainConfig


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
