from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from fercli.images import (
    load_face_crop,
    to_face_crop,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.data import Dataset


@pytest.fixture
def gray(faces: Dataset) -> NDArray[np.uint8]:
    """One drawn face."""
    image: NDArray[np.uint8] = faces.images[0]
    return image


def test_crops(gray: Any) -> None:
    assert to_face_crop(gray) is gray
    assert to_face_crop(np.zeros((1, 1), dtype=np.uint8)).shape == (48, 48)
    doubled = np.kron(gray, np.ones((2, 2), dtype=np.uint8))
    small = to_face_crop(doubled)
    assert np.abs(small.astype(int) - gray).mean() < 8
    buffer = io.BytesIO()
    Image.fromarray(doubled).save(buffer, "PNG")
    crop, decoded = load_face_crop(buffer.getvalue())
    assert np.array_equal(crop, small)
    assert decoded.gray.shape == (96, 96)
