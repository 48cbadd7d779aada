from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fercli.data.duplicates import digest_images
from fercli.errors import ConfigError
from fercli.settings import build_config
from fercli.training.splits import assign_folds, choose_splits

if TYPE_CHECKING:
    from fercli.data import Dataset


def test_splits(faces: Dataset) -> None:
    by_default = choose_splits(faces, build_config({}))
    by_part = choose_splits(faces, build_config({"validation": "0.25"}))

    assert by_default.validation_name == "public"
    assert len(by_part.train.labels) + len(by_part.validation.labels) == 480
    shares = np.bincount(by_part.validation.labels) / np.bincount(faces.select("train").labels)
    assert shares == pytest.approx(np.full(7, 0.25), abs=0.02)
    for name in ("private", "test", "train", "0", "0.6"):
        with pytest.raises(ConfigError):
            choose_splits(faces, build_config({"validation": name}))


def test_a_fraction_holds_no_copies_of_what_is_learned(faces: Dataset) -> None:
    images = faces.images.copy()
    images[1::2] = images[::2]
    doubled = dataclasses.replace(faces, images=images)

    for seed in range(3):
        splits = choose_splits(doubled, build_config({"validation": "0.2", "split_seed": seed}))
        learned = set(digest_images(splits.train.images).tolist())
        assert not learned & set(digest_images(splits.validation.images).tolist())
        assert len(splits.validation.labels) > 60


def test_copies_share_a_fold_and_keep_it() -> None:
    images = np.random.default_rng(0).integers(0, 256, (100, 48, 48), dtype=np.uint8)

    folds = assign_folds(images, 4)

    assert set(folds) == {1, 2, 3, 4}
    assert np.array_equal(assign_folds(images[::-1], 4), folds[::-1])
    assert np.array_equal(
        assign_folds(np.repeat(images[:3], 2, axis=0), 4), np.repeat(folds[:3], 2)
    )
