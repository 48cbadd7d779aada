"""In how many faces a detector finds one, and in how many pictures without a face.

Portraits are FER2013's training images, enlarged: faces that fill their frame, turned and covered
ones among them. Pictures without a frontal face come with scikit-image, enlarged, too.

python benchmarks/face_detection.py [--weights YUNET] [--n 250] [--data SOURCE] [--write]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from _report import add_write_option, measure, print_header, publish
from PIL import Image

from fercli.data import load_data
from fercli.images import DecodedImage, FaceFinder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PORTRAIT_PX = 300
_PICTURE_PX = 1024
_PICTURES = (
    "camera", "coins", "page", "clock", "moon", "text", "brick", "grass", "gravel", "checkerboard",
    "rocket", "coffee", "chelsea", "immunohistochemistry", "colorwheel", "hubble_deep_field",
)  # fmt: skip


def main() -> None:
    """Search portraits and pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="of yunet; left out without them")
    parser.add_argument("--n", type=int, default=250, help="portraits")
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    add_write_option(parser)
    options = parser.parse_args()
    subset = load_data(options.data).select("train")
    chosen = np.random.default_rng(0).choice(len(subset.labels), options.n, replace=False)
    portraits = [enlarge(subset.images[row], _PORTRAIT_PX) for row in chosen]
    pictures = load_pictures()
    finders = {"haar": FaceFinder("haar")}
    if options.weights:
        finders["yunet"] = FaceFinder("yunet", options.weights)
    with publish("face detection", write=options.write):
        print_header("faces that are found, and faces that are none")
        for name, finder in finders.items():
            with measure() as spent:
                found = sum(bool(finder.find(image)[1]) for image in portraits)
            wrong = sum(len(finder.find(image)[1]) for image in pictures)
            print(
                f"{name}: a face in {found / options.n:.1%} of {options.n:,} portraits of "
                f"{_PORTRAIT_PX} pixels, {1000 * spent.cpu_s / options.n:.0f} ms CPU each; {wrong} "
                f"in {len(pictures)} pictures without one"
            )


def enlarge(gray: NDArray[np.uint8], side_px: int) -> DecodedImage:
    """Return an image whose longer side has so many pixels."""
    image = Image.fromarray(gray)
    factor = side_px / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    large = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    return DecodedImage(large, 1, np.stack([large] * 3, axis=2))


def load_pictures() -> list[DecodedImage]:
    """Return the pictures, grey."""
    from skimage import data

    pictures = []
    for name in _PICTURES:
        pixels = np.asarray(getattr(data, name)())
        gray = Image.fromarray(pixels[..., :3] if pixels.ndim == 3 else pixels).convert("L")
        pictures.append(enlarge(np.asarray(gray), _PICTURE_PX))
    return pictures


if __name__ == "__main__":
    main()
