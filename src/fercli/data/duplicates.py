"""Which images stand in a dataset more than once, pixel for pixel.

Images are compared by a digest of eight bytes: among a million of them the odds that two different
ones share it are one in thirty million.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from fercli.storage import save_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["digest_images", "group_duplicates", "save_digests"]


def digest_images(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return a digest of each image's pixels, `[N]` of images `[N, H, W]`."""
    digests = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def save_digests(path: Path, digests: NDArray[np.uint64], dataset_sha256: str) -> None:
    """Keep which images were learned from, so that a score can leave them out later.

    Args:
        path: Where.
        digests: `[N]`, as `digest_images` gives them.
        dataset_sha256: Digest of the dataset that was learned from.
    """
    metadata = {"schema": 1, "kind": "train-digests", "dataset_sha256": dataset_sha256}
    save_tensors(path, {"digests": np.unique(digests)}, metadata)


def group_duplicates(images: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return for each of images `[N, H, W]` the position of the first with the same pixels."""
    _, first, inverse = np.unique(digest_images(images), return_index=True, return_inverse=True)
    groups: NDArray[np.intp] = first[inverse]
    return groups
