from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fercli.data.duplicates import digest_images, group_duplicates, save_digests
from fercli.errors import ModelFileError
from fercli.storage import load_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def draw(n_images: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n_images, 48, 48), dtype=np.uint8)


def test_one_pixel_makes_another_image() -> None:
    images = draw(2)
    images[1] = images[0]
    images[1, 47, 47] ^= 1

    digests = digest_images(images)

    assert digests.dtype == np.uint64
    assert digests[0] != digests[1]


def test_a_digest_depends_on_the_pixels_alone() -> None:
    images = draw(3)

    turned = digest_images(images[::-1])

    assert np.array_equal(turned, digest_images(images)[::-1])
    # Kept in files: another byte order or hash would part what belongs together.
    assert int(digest_images(np.zeros((1, 48, 48), dtype=np.uint8))[0]) == 0x1F3870023622CF8B


def test_groups_are_named_by_their_first_image() -> None:
    images = draw(3)[[2, 0, 2, 1, 0, 2]]

    assert group_duplicates(images).tolist() == [0, 1, 0, 3, 1, 0]
    assert group_duplicates(images[:0]).tolist() == []


def test_digests_are_kept_once_each(tmp_path: Path) -> None:
    images = draw(3)

    digests = digest_images(images[[0, 1, 1, 2, 0]])
    save_digests(tmp_path / "digests.safetensors", digests, "of-the-data")

    arrays, metadata = load_tensors(tmp_path / "digests.safetensors", ModelFileError)
    assert arrays["digests"].tolist() == sorted(digest_images(images).tolist())
    assert (metadata["kind"], metadata["dataset_sha256"]) == ("train-digests", "of-the-data")
