from __future__ import annotations

import numpy as np

from fercli.data.splitting import SAMPLED_SPLITS, sample_folds, sample_splits

TRAIN, VALIDATION, TEST = range(3)


def draw(n_images: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (n_images, 48, 48), dtype=np.uint8)


def test_a_tenth_of_every_label_goes_to_each_small_split() -> None:
    labels = np.repeat(np.array([0, 1, 2], dtype=np.uint8), [40, 20, 10])

    drawn = sample_splits(draw(70), labels)

    assert SAMPLED_SPLITS == ("train", "validation", "test")
    for label, n_each in enumerate((4, 2, 1)):
        counts = np.bincount(drawn[labels == label], minlength=3)
        assert counts[[VALIDATION, TEST]].tolist() == [n_each, n_each], label


def test_the_same_images_get_the_same_splits() -> None:
    images, labels = draw(30), np.zeros(30, dtype=np.uint8)

    assert np.array_equal(sample_splits(images, labels), sample_splits(images, labels))


def test_copies_stay_together() -> None:
    images = draw(20)[np.arange(60) % 20]
    labels = np.zeros(60, dtype=np.uint8)

    drawn = sample_splits(images, labels)

    assert np.array_equal(drawn[:20], drawn[20:40])
    assert np.array_equal(drawn[:20], drawn[40:])
    # Of twenty different images, not of sixty, a tenth.
    assert np.bincount(drawn[:20], minlength=3).tolist() == [16, 2, 2]


def test_three_different_images_are_enough_for_three_splits_and_two_are_not() -> None:
    images = draw(5)
    labels = np.array([0, 0, 0, 1, 1], dtype=np.uint8)

    drawn = sample_splits(images, labels)

    assert sorted(drawn[:3].tolist()) == [TRAIN, VALIDATION, TEST]
    assert drawn[3:].tolist() == [TRAIN, TRAIN]


def test_folds_are_even_by_label_and_keep_copies_together() -> None:
    generator = np.random.default_rng(3)
    images = generator.integers(0, 256, (400, 2, 2), dtype=np.uint8)
    labels = generator.choice(3, 400, p=[0.7, 0.25, 0.05]).astype(np.uint8)
    images[200:240] = images[100:140]
    images[240:243] = images[0]

    folds = sample_folds(images, labels, 5, seed=0)

    assert set(folds) == {1, 2, 3, 4, 5}
    assert (folds[200:240] == folds[100:140]).all()
    assert (folds[240:243] == folds[0]).all()
    kept = np.r_[0:200, 243:400]
    for label in range(3):
        counts = np.bincount(folds[kept][labels[kept] == label], minlength=6)[1:]
        assert counts.max() - counts.min() <= 4
    assert (sample_folds(images, labels, 5, seed=0) == folds).all()
    assert (sample_folds(images, labels, 5, seed=1) != folds).any()
