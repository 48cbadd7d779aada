from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fercli.audit.near_duplicates import find_near_duplicates

if TYPE_CHECKING:
    from fercli.data import Dataset


def test_near_duplicates_are_found_through_light_and_mirrors(faces: Dataset) -> None:
    generator = np.random.default_rng(0)
    plain = np.array(faces.images[:60])
    # Textures of their own: synthetic faces resemble each other more than photographs do.
    blocks = generator.integers(0, 255, (60, 16, 16)).repeat(3, 1).repeat(3, 2)
    images = (plain * 0.1 + blocks * 0.8).astype(np.uint8)
    brighter = (images[3] * 0.5 + 90).astype(np.uint8)
    mirrored = np.clip(images[7][:, ::-1] + generator.normal(0, 4, (48, 48)), 0, 255)
    flat = np.full((2, 48, 48), 9, dtype=np.uint8)
    flat[1, 0, 0] = 10
    together = np.concatenate([images, brighter[None], mirrored[None].astype(np.uint8), flat])

    found = find_near_duplicates(together, lambda _done, _total: None)

    pairs = list(zip(found.first.tolist(), found.second.tolist(), found.mirrored, strict=True))
    assert pairs == [(3, 60, False), (7, 61, True)]
    assert (found.correlation >= 0.96).all()


def test_nothing_is_near_in_nothing() -> None:
    found = find_near_duplicates(np.empty((0, 48, 48), dtype=np.uint8), lambda _done, _total: None)

    assert len(found.first) == 0
