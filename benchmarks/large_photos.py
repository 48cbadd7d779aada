"""Photos of 2 to 100 megapixels: their time and memory, and what reduced decoding changes.

The photos are made here: the astronaut of scikit-image over the whole of it, blurred, with her
picture and FER2013's training images pasted on it in sizes from 2 to 30 hundredths of the width.
Each is decoded whole and as `fer predict` decodes it. Memory is a process's that predicts one
photo, less than that of one that predicts a face crop.

python benchmarks/large_photos.py [--weights YUNET] [--model plus] [--megapixels 2 12 24 100]
    [--n 6] [--data SOURCE] [--write]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from _report import add_write_option, measure, print_header, publish
from PIL import Image

from fercli.data import load_data
from fercli.images import FaceFinder, cut_faces, load_image
from fercli.inference import predict_in_batches
from fercli.model_files import find_model, open_runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.images import Face
    from fercli.inference import Runtime

_MOST = 100_000_000
_SHARES = (0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)
_CHILD = """
import json, resource, subprocess, sys
subprocess.run([sys.executable, "-m", "fercli", "predict", *sys.argv[1:], "-q"], check=True,
               stdout=subprocess.DEVNULL)
print(json.dumps(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024))
"""


def main() -> None:
    """Make the photos, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="of yunet; left out without them")
    parser.add_argument("--model", default="plus")
    parser.add_argument("--megapixels", type=int, nargs="+", default=[2, 12, 24, 100])
    parser.add_argument("--n", type=int, default=6, help="photos of 2 megapixels; fewer above")
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    add_write_option(parser)
    options = parser.parse_args()
    images = load_data(options.data).select("train").images
    runtime = open_runtime(find_model(options.model, prefer_onnx=True), n_threads=1)
    finders = {"haar": FaceFinder("haar")}
    if options.weights:
        finders["yunet"] = FaceFinder("yunet", options.weights)
    with publish("large photos", write=options.write), tempfile.TemporaryDirectory() as name:
        print_header("photos decoded whole, and as much of them as is needed")
        for size in options.megapixels:
            count = max(1, options.n * 2 // size) if size > 2 else options.n
            photos = [make_photo(Path(name) / f"{size}-{number}.jpg", size, images, number)
                      for number in range(count)]  # fmt: skip
            for kind, finder in finders.items():
                words = ["--faces", kind, "--model", options.model, "--max-pixels", str(_MOST)]
                if kind == "yunet":
                    words += ["--detector-weights", str(options.weights)]
                print(f"{size} megapixels, {kind}: {compare(photos, finder, runtime)}; "
                      f"{weigh(photos[0], words):.0f} MiB")  # fmt: skip


def make_photo(path: Path, megapixels: int, images: NDArray[np.uint8], seed: int) -> Path:
    """Write a photo of 4:3."""
    from skimage import data

    generator = np.random.default_rng(seed)
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = round(width * 3 / 4)
    astronaut = Image.fromarray(data.astronaut())
    sheet = astronaut.resize((16, 12)).resize((width, height), Image.Resampling.BICUBIC)
    left = 0
    for number, share in enumerate(generator.permutation(_SHARES)):
        side = round(width * share)
        own = Image.fromarray(images[generator.integers(len(images))]).convert("RGB")
        one = astronaut if number == 3 else own
        at = (left, int(generator.integers(height - side)))
        sheet.paste(one.resize((side, side), Image.Resampling.BICUBIC), at)
        left += side + round(0.02 * width)
    sheet.save(path, quality=90)
    return path


def compare(photos: list[Path], finder: FaceFinder, runtime: Runtime) -> str:
    """Return the time of both ways, and how far their answers are from each other."""
    found: list[list[tuple[list[Face], NDArray[np.float32]]]] = []
    spent = []
    for is_whole in (True, False):
        answers = []
        with measure() as taken:
            for photo in photos:
                image = load_image(
                    photo,
                    max_pixels=_MOST,
                    color=finder.needs_color,
                    enough_px=None if is_whole else finder.enough_px,
                )
                detector, faces = finder.find(image)
                crops = cut_faces(image, faces, detector)
                empty = np.empty((0, len(runtime.labels)), dtype=np.float32)
                said = predict_in_batches(runtime, np.stack(crops)) if crops else empty
                answers.append((faces, said))
        found.append(answers)
        spent.append(1000 * taken.cpu_s / len(photos))
    n_faces = [sum(len(faces) for faces, _ in answers) for answers in found]
    shifts, agree, differences = [], [], []
    for (faces, said), (others, saying) in zip(*found, strict=True):
        for face, first in zip(faces, said, strict=True):
            for other, second in zip(others, saying, strict=True):
                shift = measure_shift(face, other)
                if shift < 0.5:
                    shifts.append(shift)
                    agree.append(first.argmax() == second.argmax())
                    differences.append(np.abs(first - second).max())
    return (
        f"{spent[0]:.0f} and {spent[1]:.0f} ms CPU; {n_faces[0]} and {n_faces[1]} faces, "
        f"{len(shifts)} the same, boxes {np.median(shifts):.1%} apart, at most "
        f"{max(shifts):.1%}; labels agree in {np.mean(agree):.0%}, probabilities differ by "
        f"{np.median(differences):.3f}, at most {max(differences):.3f}"
    )


def measure_shift(one: Face, other: Face) -> float:
    """Return the largest distance of two boxes' edges, in sides of the first."""
    pairs = zip(
        (one.x, one.y, one.x + one.width, one.y + one.height),
        (other.x, other.y, other.x + other.width, other.y + other.height),
        strict=True,
    )
    return max(abs(first - second) for first, second in pairs) / max(one.width, one.height)


def weigh(photo: Path, words: list[str]) -> float:
    """Return the largest memory of a process that predicts a photo, MiB."""
    command = [sys.executable, "-c", _CHILD, str(photo), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak: float = json.loads(done.stdout)
    return peak


if __name__ == "__main__":
    main()
