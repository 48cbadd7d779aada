"""In how many faces a detector finds one, and in how many pictures without a face.

Portraits are FER2013's training images, enlarged: faces that fill their frame, turned and covered
ones among them. Pictures without a frontal face come with scikit-image, enlarged, too. Scenes are
photos of 1920 x 1080 with eight such faces, or fifty: of one size, at the edge, turned, dark.

python benchmarks/face_detection.py [--weights YUNET] [--n 250] [--scenes 12] [--data SOURCE]
    [--write]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from _report import add_write_option, measure, print_header, publish
from PIL import Image

from fercli.data import load_data
from fercli.images import DecodedImage, Face, FaceFinder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PORTRAIT_PX = 300
_PICTURE_PX = 1024
_PICTURES = (
    "camera", "coins", "page", "clock", "moon", "text", "brick", "grass", "gravel", "checkerboard",
    "rocket", "coffee", "chelsea", "immunohistochemistry", "colorwheel", "hubble_deep_field",
)  # fmt: skip
_SCENE = (1920, 1080)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What faces of a photo are like."""

    name: str
    side_px: int = 160
    """Of a face, FER2013's frame."""
    turn: float = 0
    """Degrees, in the plane of the photo."""
    light: float = 1
    """Share of the brightness that is left."""
    at_edge: bool = False
    """A quarter of the face is beyond the photo's left edge."""
    grid: tuple[int, int] = (4, 2)
    """Faces across and down."""


_SCENES = (
    *(Scene(name=f"{side} pixels", side_px=side) for side in (32, 40, 48, 64, 96, 160, 320)),
    Scene(name="group of 50", side_px=100, grid=(10, 5)),
    Scene(name="a quarter beyond the edge", at_edge=True, grid=(1, 4)),
    *(Scene(name=f"tilted by {turn} degrees", turn=turn) for turn in (15, 30, 45, 90, 180)),
    Scene(name="a quarter of the light", light=0.25),
    Scene(name="a tenth of the light", light=0.1),
)


def main() -> None:
    """Search portraits and pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="of yunet; left out without them")
    parser.add_argument("--n", type=int, default=250, help="portraits")
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    parser.add_argument("--scenes", type=int, default=12, help="photos of each kind")
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
        print("in photos of 1920 x 1080: faces that are found, and what else is")
        print(f"{'':28}" + "".join(f"{name:>18}" for name in finders))
        for scene in _SCENES:
            told = [search_scenes(scene, finder, subset.images, options.scenes)
                    for finder in finders.values()]  # fmt: skip
            print(f"{scene.name:28}" + "".join(f"{text:>18}" for text in told))


def search_scenes(
    scene: Scene, finder: FaceFinder, images: NDArray[np.uint8], n_scenes: int
) -> str:
    """Return in how many faces one is found, and how many boxes lie elsewhere."""
    generator = np.random.default_rng(1)
    n_faces = found = wrong = 0
    for _ in range(n_scenes):
        photo, places = draw_scene(scene, images, generator)
        boxes = finder.find(photo)[1]
        hits = [next((box for box in boxes if lies_at(box, place)), None) for place in places]
        n_faces += len(places)
        found += sum(hit is not None for hit in hits)
        wrong += len(set(boxes) - {hit for hit in hits if hit is not None})
    return f"{found / n_faces:.0%} of {n_faces}, {wrong:2}"


def draw_scene(
    scene: Scene, images: NDArray[np.uint8], generator: np.random.Generator
) -> tuple[DecodedImage, list[tuple[float, float, int]]]:
    """Return a photo, and centers and sides of its faces."""
    low = Image.fromarray(generator.integers(90, 160, (68, 120), dtype=np.uint8))
    sheet = low.resize(_SCENE, Image.Resampling.BICUBIC)
    wide, high = _SCENE[0] // scene.grid[0], _SCENE[1] // scene.grid[1]
    side, places = scene.side_px, []
    for cell in range(scene.grid[0] * scene.grid[1]):
        image = Image.fromarray(images[generator.integers(len(images))])
        face = image.resize((side, side), Image.Resampling.BICUBIC)
        mask = Image.new("L", face.size, 255)
        if scene.turn:
            face, mask = (
                one.rotate(scene.turn, Image.Resampling.BICUBIC, expand=True)
                for one in (face, mask)
            )
        column, row = cell % scene.grid[0], cell // scene.grid[0]
        room = max(1, wide - face.width), max(1, high - face.height)
        x = column * wide + int(generator.integers(room[0]))
        y = row * high + int(generator.integers(room[1]))
        x = -side // 4 if scene.at_edge else x
        sheet.paste(face, (x, y), mask)
        places.append((x + face.width / 2, y + face.height / 2, side))
    gray = (np.asarray(sheet) * scene.light).astype(np.uint8)
    return DecodedImage(gray, 1, np.stack([gray] * 3, axis=2)), places


def lies_at(box: Face, place: tuple[float, float, int]) -> bool:
    """Return whether a box lies where a face is, and is of its size; it is cut off at an edge."""
    x, y, side = place
    middle = (box.x + box.width / 2, box.y + box.height / 2)
    is_near = abs(middle[0] - x) < side / 3 and abs(middle[1] - y) < side / 3
    return is_near and 0.5 < max(box.width, box.height) / side < 1.6


def enlarge(gray: NDArray[np.uint8], side_px: int) -> DecodedImage:
    """Return an image whose longer side has so many pixels."""
    image = Image.fromarray(gray)
    factor = side_px / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    large = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    return DecodedImage(large, 1, np.stack([large] * 3, axis=2))


def load_pictures() -> list[DecodedImage]:
    """Return the pictures, gray."""
    from skimage import data

    pictures = []
    for name in _PICTURES:
        pixels = np.asarray(getattr(data, name)())
        gray = Image.fromarray(pixels[..., :3] if pixels.ndim == 3 else pixels).convert("L")
        pictures.append(enlarge(np.asarray(gray), _PICTURE_PX))
    return pictures


if __name__ == "__main__":
    main()
