from __future__ import annotations

import pytest
import torch

from fercli.config import AugmentConfig
from fercli.training.augment import (
    augment,
    blend,
    erase,
    flip,
    jitter_tones,
    resize,
    sample_lambda,
    warp,
)
from fercli.training.loss import one_hot


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(5, 1, 48, 48), (1, 1, 32, 32)])
def test_augmentation_keeps_shape_and_range(shape: tuple[int, ...]) -> None:
    config = AugmentConfig(
        rotation_deg=30, scale=0.5, shift=0.3, brightness=0.5, contrast=0.5, erasing=1.0
    )
    pixels = torch.rand(shape, generator=generator())
    mirrored = torch.ones(len(pixels), dtype=torch.bool)

    varied = augment(pixels, mirrored, config, generator(1))

    assert varied.shape == pixels.shape
    assert varied.dtype == torch.float32
    assert 0 <= float(varied.min()) <= float(varied.max()) <= 1
    assert not torch.equal(varied, pixels)
    assert torch.equal(varied, augment(pixels, mirrored, config, generator(1)))


def test_no_augmentation_changes_nothing() -> None:
    off = AugmentConfig(
        flip="none", rotation_deg=0, scale=0, shift=0, brightness=0, contrast=0, erasing=0
    )
    pixels = torch.rand(4, 1, 48, 48, generator=generator())

    assert torch.equal(augment(pixels, torch.zeros(4, dtype=torch.bool), off, generator()), pixels)


def test_each_operation_does_what_it_says() -> None:
    pixels = torch.rand(64, 1, 48, 48, generator=generator())
    some = torch.arange(64) % 2 == 0

    flipped = flip(pixels, some)
    assert torch.equal(flipped[0], pixels[0].flip(2))
    assert torch.equal(flipped[1], pixels[1])
    still = AugmentConfig(rotation_deg=0, scale=0, shift=0)
    assert torch.allclose(warp(pixels, still, generator()), pixels, atol=1e-5)
    toned = jitter_tones(pixels, AugmentConfig(brightness=0.0, contrast=0.5), generator())
    assert torch.allclose(toned.mean((1, 2, 3)), pixels.mean((1, 2, 3)), atol=0.06)
    erased = erase(pixels, AugmentConfig(erasing=0.5, erasing_area=0.2), generator())
    changed = (erased != pixels).float().mean((1, 2, 3))
    assert 15 < int((changed > 0).sum()) < 50
    assert float(changed.max()) < 0.25
    assert resize(pixels, 48) is pixels
    assert resize(pixels, 32).shape == (64, 1, 32, 32)


def test_a_shift_moves_by_that_part_of_the_side() -> None:
    pixels = torch.zeros(400, 1, 48, 48)
    pixels[:, :, 24, 24] = 1
    config = AugmentConfig(rotation_deg=0, scale=0, shift=0.25)

    moved = warp(pixels, config, generator())

    places = moved.flatten(1).argmax(1) % 48
    assert 10 <= int(places.min()) <= 15
    assert 33 <= int(places.max()) <= 38


def test_mixup_keeps_an_image_its_own_label() -> None:
    labels = torch.tensor([0, 1, 2])
    share = sample_lambda(0.4, seed=1, epoch=2, step=3)

    mixed = blend(one_hot(labels, 7), share)

    assert 0.5 <= share <= 1
    assert share == sample_lambda(0.4, seed=1, epoch=2, step=3)
    assert share != sample_lambda(0.4, seed=1, epoch=2, step=4)
    assert torch.allclose(mixed.sum(1), torch.ones(3))
    assert torch.equal(mixed.argmax(1), labels)
    assert mixed[0, 2] == pytest.approx(1 - share, abs=1e-6)
    images = torch.randn(3, 1, 4, 4, generator=generator())
    assert torch.allclose(blend(images, share)[1], share * images[1] + (1 - share) * images[0])
    assert torch.equal(blend(images, 1.0), images)
