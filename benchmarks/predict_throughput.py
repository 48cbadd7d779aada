"""What `fer predict` makes of the machine: speed, start, memory, and others beside it.

Crops: a folder of 48 x 48 JPEGs end to end, start included and not, against bare `session.run` on
the same arrays in memory. Photos: 1080p with a face each, by detector: how busy
the cores are, and what each step of a photo takes on one. Start: `fer
predict one.png`. Memory: the largest resident size after few and after many files, given as a list
on stdin. `--rival` times another program's way over the same arrays, in its own interpreter.

python benchmarks/predict_throughput.py MODEL.onnx [--part crops|photos|start|memory]...
    [--crops 7178] [--photos 60] [--photo FILE] [--weights YUNET] [--listed 100000]
    [--rival PYTHON] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _report import add_write_option, measure, print_header, publish
from PIL import Image

from fercli.data import load_data
from fercli.images import FaceFinder, cut_faces, load_face_crop, load_image
from fercli.inference.onnx import OnnxRuntime

PARTS = ("crops", "photos", "start", "memory")

RIVAL = """
import json, sys, time
import numpy
images = numpy.load(sys.argv[1])
from fer.fer import FER
judge = FER()
started = time.perf_counter()
for image in images:
    judge.detect_emotions(numpy.stack([image] * 3, axis=2), face_rectangles=[(0, 0, 48, 48)])
print(json.dumps(len(images) / (time.perf_counter() - started)))
"""
"""The PyPI package `fer`, one image at a time, as its documentation has it."""


@dataclass(frozen=True)
class Ran:
    """A finished child process."""

    data: dict[str, Any]
    wall_s: float
    cpu_s: float
    peak_mib: float


def main() -> None:
    """Read the options, measure the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--crops", type=int, default=7178)
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--photo", type=Path, help="default: scikit-image's astronaut")
    parser.add_argument("--weights", type=Path, help="of yunet; left out without them")
    parser.add_argument("--listed", type=int, default=100_000)
    parser.add_argument("--rival", type=Path, help="an interpreter that has the package fer")
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    add_write_option(parser)
    options = parser.parse_args()
    parts = options.part or list(PARTS)
    measures = {"crops": time_crops, "photos": time_photos, "start": time_start, "memory": weigh}
    size = f"{options.model.stat().st_size:,} bytes"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        crops = write_crops(folder / "crops", options)
        for part in parts:
            with publish(f"predicting: {part}", write=options.write):
                print_header(f"`fer predict` with {options.model}, {size}")
                measures[part](folder, crops, options)


def predict(*words: object, stdin: Path | None = None) -> Ran:
    """Run `fer predict` in a process of its own."""
    command = [sys.executable, "-m", "fercli", "predict", *map(str, words), "--json"]
    started = time.perf_counter()
    with (stdin or Path(os.devnull)).open("rb") as lines:
        process = subprocess.Popen(
            command, stdin=lines, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        text = process.stdout.read() if process.stdout else b""
        _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    envelope = json.loads(text)
    if envelope["errors"]:
        raise SystemExit(str(envelope["errors"]))
    return Ran(envelope["data"], wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def write_crops(folder: Path, options: argparse.Namespace) -> list[Path]:
    """Write face crops as JPEG files: the splits that may be looked at, again where too few."""
    dataset = load_data(options.data)
    names = [name for name in ("public", "train") if dataset.find_split(name) is not None]
    images = np.concatenate([dataset.select(name).images for name in names])
    folder.mkdir()
    paths = []
    for number in range(options.crops):
        paths.append(folder / f"{number:06}.jpg")
        Image.fromarray(images[number % len(images)]).save(paths[-1], quality=95)
    return paths


def time_crops(folder: Path, crops: list[Path], options: argparse.Namespace) -> None:
    """Print images/s of files end to end, and of the bare model."""
    images = np.stack([load_face_crop(path)[0] for path in crops])
    runtime = OnnxRuntime(options.model)
    bare: list[float] = []
    rows: list[Ran] = []
    for _ in range(3):
        started = time.perf_counter()
        for at in range(0, len(images), 64):
            runtime.predict(images[at : at + 64])
        bare.append(len(images) / (time.perf_counter() - started))
        target = folder / "rows.jsonl"
        rows.append(
            predict(crops[0].parent, "--model", options.model, "--output", target, "--force")
        )
    model, files = (
        statistics.median(bare),
        statistics.median(ran.data["images_per_s"] for ran in rows),
    )
    whole = statistics.median(len(images) / ran.wall_s for ran in rows)
    print(f"{len(crops):,} JPEGs of 48 x 48, median of 3, taken in turns:")
    print(f"  bare session.run, batches of 64, arrays in memory  {model:8,.0f} images/s")
    print(f"  fer predict FOLDER --output rows.jsonl             {files:8,.0f} images/s, "
          f"{files / model:.0%}")  # fmt: skip
    print(f"  the same with the start of the process             {whole:8,.0f} images/s, "
          f"{whole / model:.0%}")  # fmt: skip
    if options.rival:
        time_rival(folder, images[:200], options.rival)


def time_rival(folder: Path, images: np.ndarray[Any, Any], python: Path) -> None:
    """Print what another program makes of the same arrays, or why it does not."""
    np.save(folder / "images.npy", images)
    command = [str(python), "-c", RIVAL, str(folder / "images.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"  PyPI fer: {done.stderr.strip().splitlines()[-1]}")
    else:
        speed = json.loads(done.stdout.splitlines()[-1])
        print(f"  PyPI fer, one by one, n = {len(images)}               {speed:8,.1f} images/s")


def time_photos(folder: Path, _crops: list[Path], options: argparse.Namespace) -> None:
    """Print photos/s of each detector that is there, and how busy the cores are."""
    photos = draw_photos(folder / "photos", options.photos, options.photo)
    cores = len(os.sched_getaffinity(0))
    print(f"{options.photos} photos of 1920 x 1080, once, {cores} cores:")
    for name in ["haar", "yunet"] if options.weights else ["haar"]:
        weights = ["--detector-weights", options.weights] if name == "yunet" else []
        ran = predict(photos, "--model", options.model, "--output", folder / f"{name}.csv",
                      "--faces", name, *weights)  # fmt: skip
        print(f"  {name}: {ran.data['images_per_s']:.1f} photos/s, "
              f"{options.photos / ran.cpu_s:.1f} per CPU second; {ran.data['n_faces']} faces, "
              f"{ran.data['n_no_face']} without; {ran.wall_s:.1f} s wall, {ran.cpu_s:.1f} s CPU, "
              f"{ran.cpu_s / ran.wall_s / cores:.0%} of the cores; "
              f"{ran.peak_mib:,.0f} MiB")  # fmt: skip
        finder = FaceFinder(name, options.weights if weights else None)
        steps = profile(sorted(photos.iterdir()), finder, OnnxRuntime(options.model))
        taken = ", ".join(f"{step} {ms:.1f} ms" for step, ms in steps.items())
        print(f"    CPU a photo: {taken}")


def draw_photos(folder: Path, count: int, face: Path | None = None) -> Path:
    """Write so many photos of 1920 x 1080 with a face each, scikit-image's astronaut by default."""
    if face:
        source = Image.open(face).convert("RGB")
    else:
        from skimage import data

        source = Image.fromarray(data.astronaut())
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        sheet = generator.integers(90, 160, (68, 120, 3), dtype=np.uint8)
        picture = Image.fromarray(sheet).resize((1920, 1080), Image.Resampling.BICUBIC)
        side = int(generator.integers(500, 1000))
        pasted = source.resize((side, side), Image.Resampling.LANCZOS)
        at = (int(generator.integers(0, 1920 - side)), int(generator.integers(0, 1080 - side)))
        picture.paste(pasted, at)
        picture.save(folder / f"{number:04}.jpg", quality=90)
    return folder


def profile(photos: list[Path], finder: FaceFinder, runtime: OnnxRuntime) -> dict[str, float]:
    """Return the milliseconds of CPU that each step of a photo takes, in this process."""
    spent = dict.fromkeys(("read and decode", "search", "cut", "infer"), 0.0)
    # What is made at the first photo is none of a photo's.
    finder.find(load_image(photos[0], color=finder.needs_color))
    for photo in photos:
        with measure() as decoding:
            image = load_image(photo, color=finder.needs_color, enough_px=finder.enough_px)
        with measure() as searching:
            detector, faces = finder.find(image)
        with measure() as cutting:
            crops = cut_faces(image, faces, detector)
        with measure() as inferring:
            if crops:
                runtime.predict(np.stack(crops))
        for name, step in zip(spent, (decoding, searching, cutting, inferring), strict=True):
            spent[name] += 1000 * step.cpu_s / len(photos)
    return spent


def time_start(folder: Path, crops: list[Path], options: argparse.Namespace) -> None:
    """Print what one file takes, from nothing."""
    one = folder / "one.png"
    Image.open(crops[0]).save(one)
    runs = [predict(one, "--model", options.model) for _ in range(10)][1:]
    walls = [ran.wall_s for ran in runs]
    print(f"fer predict one.png: median {statistics.median(walls):.2f} s, worst {max(walls):.2f} s,"
          f" {statistics.median(ran.cpu_s for ran in runs):.2f} s CPU, n = {len(runs)}; "
          f"{max(ran.peak_mib for ran in runs):.0f} MiB")  # fmt: skip


def weigh(folder: Path, crops: list[Path], options: argparse.Namespace) -> None:
    """Print the largest resident size after few files and after many."""
    print("largest resident size, a list on stdin, rows to a file:")
    for count in (1000, options.listed):
        listing = folder / "list.txt"
        with listing.open("w", encoding="utf-8") as lines:
            for number in range(count):
                lines.write(f"{crops[number % len(crops)]}\n")
        target = folder / f"{count}.jsonl"
        ran = predict("-", "--model", options.model, "--output", target, stdin=listing)
        print(f"  {count:9,} files: {ran.peak_mib:.0f} MiB, {ran.data['n_faces']:,} faces, "
              f"{ran.data['images_per_s']:,.0f} files/s")  # fmt: skip
        target.unlink()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
