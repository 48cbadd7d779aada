from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fercli.config import TrainConfig
from fercli.settings import build_config
from fercli.training.sampling import (
    count_steps,
    sample_batches,
    sample_first_mirrored,
    sample_mirrored,
)

if TYPE_CHECKING:
    from fercli.config import TrainConfig


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_image_is_seen_once_an_epoch() -> None:
    config = build_config({"batch_size": 64, "seed": 3})

    labels = torch.zeros(1000, dtype=torch.int64)

    batches = sample_batches(labels, config, 5)

    assert sorted(torch.cat(batches).tolist()) == list(range(1000))
    assert len(batches) == count_steps(1000, 64) == 16
    assert {len(batch) for batch in batches} == {62, 63}
    assert not torch.equal(torch.cat(batches), torch.cat(sample_batches(labels, config, 6)))


def test_alternating_mirrors_every_image_every_second_epoch() -> None:
    first = sample_first_mirrored(500, 0)

    epochs = [sample_mirrored("alternating", first, epoch, generator()) for epoch in range(3)]

    assert torch.equal(epochs[0], ~epochs[1])
    assert torch.equal(epochs[0], epochs[2])
    assert 150 < int(first.sum()) < 350
    assert not sample_mirrored("none", first, 0, generator()).any()
    assert 150 < int(sample_mirrored("random", first, 0, generator()).sum()) < 350


SKEWED = torch.tensor([40, 4, 40, 72, 48, 32, 50])


def test_oversampling_shows_every_label_alike(tiny_config: TrainConfig) -> None:
    labels = torch.repeat_interleave(torch.arange(7), 10 * SKEWED)
    config = build_config({"balance": "oversample", "batch_size": 100}, base=tiny_config)

    drawn = torch.cat(sample_batches(labels, config, 0))

    assert len(drawn) == len(labels)
    shares = torch.bincount(labels[drawn], minlength=7) / len(labels)
    assert float((shares - 1 / 7).abs().max()) < 0.03
    assert torch.equal(drawn, torch.cat(sample_batches(labels, config, 0)))
    assert not torch.equal(drawn, torch.cat(sample_batches(labels, config, 1)))
