from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from fercli.networks import build_network, initialize
from fercli.training.loss import build_criterion
from fercli.training.state import build_state
from fercli.training.step import take_step

if TYPE_CHECKING:
    from torch import Tensor

    from fercli.config import TrainConfig


def step(config: TrainConfig, n_parts: int) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Take a step with batch norms that do not look at the batch; return it and the gradients."""
    network = build_network(config.model, 7, mean=0.5, std=0.2)
    sample = torch.rand(16, 1, 48, 48, generator=torch.Generator().manual_seed(2))
    initialize(network, torch.Generator().manual_seed(0), sample)
    state = build_state(network, config, torch.device("cpu"))
    network.eval()
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(11, 1, 48, 48, generator=generator)
    labels = torch.randint(7, (11,), generator=generator)
    criterion = build_criterion(config, torch.bincount(labels, minlength=7))
    loss, logits = take_step(state, pixels, labels, replace(config, accumulate=n_parts), criterion)
    found = [one.grad for one in network.parameters() if one.grad is not None]
    return loss, logits, found


@pytest.mark.parametrize("n_parts", [2, 3, 5])
def test_parts_of_a_batch_add_up_to_its_gradients(tiny_config: TrainConfig, n_parts: int) -> None:
    loss, logits, gradients = step(tiny_config, 1)

    loss_in_parts, logits_in_parts, in_parts = step(tiny_config, n_parts)

    torch.testing.assert_close(loss_in_parts, loss)
    torch.testing.assert_close(logits_in_parts, logits)
    assert len(in_parts) == len(gradients) > 4
    for one, whole in zip(in_parts, gradients, strict=True):
        torch.testing.assert_close(one, whole, rtol=1e-4, atol=1e-6)
