"""What each stage of a prediction takes of a processor, and what a hundred million images come to.

Seconds are of the processor's time (`process_time`, all threads), so that a machine that is busy
gives the same figures as one that is not, but for what its caches lose. Files are in the page
cache: what a disk, a network or a store adds is waiting, not computing. One thread per call of a
model, as `fer predict` has it. Crops are drawn faces of 48 x 48 as PNG and JPEG; photos are of
1920 x 1080 with a face each.

python benchmarks/stages.py [--part crops|photos|rows]... [--crops 2000] [--photos 20]
    [--rows 50000] [--weights YUNET] [--repeat 3] [--write]
"""

from __future__ import annotations

import argparse
import os
import pickle
import tempfile
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from _report import add_write_option, measure, print_header, publish
from PIL import Image
from predict_throughput import draw_photos, profile

from fercli.config import ROW_FILE_FORMATS, PredictConfig
from fercli.data import build_synthetic
from fercli.images import Face, FaceFinder, load_image
from fercli.inference.onnx import OnnxRuntime
from fercli.model_files import find_model
from fercli.prediction import FilePrediction, find_images
from fercli.prediction.answers import build_rows, describe_faces, predict_loaded
from fercli.prediction.loading import LoadedImage, load_faces
from fercli.prediction.merge import merge_parts
from fercli.prediction.parts import Origin, Part, PartRows, write_part
from fercli.prediction.row_files import RowFile
from fercli.prediction.shards import Shard, ShardInputs
from fercli.prediction.summary import PredictionSummary
from fercli.prediction.writers import RowLayout
from fercli.ray_engine import strip_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODELS = ("tiny", "base", "plus")
PARTS = ("crops", "photos", "rows")
MANY = 10**8
SHARDS = 8


def main() -> None:
    """Read the options, measure, add up."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--crops", type=int, default=2000)
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--weights", type=Path, help="of yunet; left out without them")
    parser.add_argument("--repeat", type=int, default=3, help="the least of so many counts")
    add_write_option(parser)
    options = parser.parse_args()
    runtimes = {
        name: OnnxRuntime(find_model(name, prefer_onnx=True).path, n_threads=1) for name in MODELS
    }
    if options.weights:
        options.weights = options.weights.resolve()
    measures = {"crops": time_crops, "photos": time_photos, "rows": time_rows}
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        for part in options.part or PARTS:
            with publish(f"stages: {part}", write=options.write):
                print_header("the processor's time of each stage of a prediction")
                measures[part](options, runtimes)


def count_cpu(repeat: int, work: Callable[[], object]) -> float:
    """Return the least seconds of the processor that something took."""
    taken = []
    for _ in range(repeat):
        with measure() as spent:
            work()
        taken.append(spent.cpu_s)
    return min(taken)


def show(what: str, seconds: float) -> float:
    """Print the time of one of many; return it."""
    print(f"  {what:<36} {1e6 * seconds:12,.1f} us, {1 / seconds:12,.1f} a core-second")
    return seconds


def sum_up(what: str, seconds: float, n_bytes: float) -> None:
    """Print what 10^8 come to."""
    print(f"  {what}: {1e3 * seconds:.2f} ms, {3600 / seconds:,.0f} a core-hour; 10^8 take "
          f"{MANY * seconds / 3600:,.0f} core-hours; a core reads "
          f"{n_bytes / seconds / 1e6:.2f} MB/s")  # fmt: skip


def time_crops(options: argparse.Namespace, runtimes: dict[str, OnnxRuntime]) -> None:
    """Print the stages of face crops."""
    images = build_synthetic(options.crops).images
    finder, config = FaceFinder("whole"), PredictConfig(faces="whole")
    for kind in ("png", "jpg"):
        crops = Path(kind)
        paths = write_crops(crops, images)
        contents = [path.read_bytes() for path in paths]
        n_bytes = sum(map(len, contents)) / len(contents)
        print(f"{len(images):,} crops of 48 x 48 as {kind.upper()}, {n_bytes:,.0f} bytes each:")

        def one(work: Callable[[], object], of: int = len(images)) -> float:
            return count_cpu(options.repeat, work) / of

        listed = show("listed in a folder", one(partial(list_folder, crops)))
        show("read", one(partial(read_files, paths)))
        show("decoded", one(partial(decode_all, contents)))
        loaded = [load_faces(path, finder, config) for path in paths]
        cut = show("read, decoded and cut", one(partial(load_all, paths, finder, config)))
        stacked = np.stack([image.crops[0] for image in loaded])
        for name, runtime in runtimes.items():
            show(f"inferred by {name}", one(partial(infer, runtime, stacked)))
            said = one(partial(predict_all, runtime, loaded, config))
            show("  with its rows made", said)
            sum_up(f"  all of it by {name}, but for writing", listed + cut + said, n_bytes)


def time_photos(options: argparse.Namespace, runtimes: dict[str, OnnxRuntime]) -> None:
    """Print the stages of photos."""
    photos = sorted(draw_photos(Path("photos"), options.photos).iterdir())
    n_bytes = sum(photo.stat().st_size for photo in photos) / len(photos)
    print(f"{len(photos)} photos of 1920 x 1080, {n_bytes:,.0f} bytes each:")
    for name in ["haar", "yunet"] if options.weights else ["haar"]:
        finder = FaceFinder(name, options.weights if name == "yunet" else None)
        steps = [profile(photos, finder, runtimes["plus"]) for _ in range(options.repeat)]
        best = min(steps, key=lambda one: sum(one.values()))
        for step, milliseconds in best.items():
            show(f"{name}: {step}", milliseconds / 1e3)
        sum_up(f"  all of it by {name} and plus", sum(best.values()) / 1e3, n_bytes)


def time_rows(options: argparse.Namespace, runtimes: dict[str, OnnxRuntime]) -> None:
    """Print what rows take: written, in parts, merged, and on their way from an actor of Ray."""
    runtime = runtimes["tiny"]
    names = [f"crops/{number // 1000:06}/{number:09}.png" for number in range(options.rows)]
    # No two rows are alike, as with real faces: that decides what a compressed format takes.
    generator = np.random.default_rng(0)
    drawn = generator.dirichlet(np.ones(len(runtime.labels)), len(names)).astype(np.float32)
    image = LoadedImage(
        Path(), crops=(np.zeros((48, 48), np.uint8),), faces=(Face(0, 0, 48, 48),),
        detector="whole", width=48, height=48, frames=1,
    )  # fmt: skip
    predictions = [
        strip_pixels(
            FilePrediction(
                Path(name),
                build_rows(replace(image, path=Path(name)), [said], "tiny"),
                np.empty((1, 48, 48), np.uint8),
            )
        )
        for name, said in zip(names, describe_faces(drawn, runtime.labels, 0.0), strict=True)
    ]
    layout = RowLayout(runtime.labels, model="tiny")
    print(f"{len(names):,} rows of {len(runtime.labels)} labels:")

    def one(work: Callable[[], object]) -> float:
        return count_cpu(options.repeat, work) / len(names)

    for kind in ROW_FILE_FORMATS:
        file = RowFile(path=Path(f"rows.{kind}"), kind=kind, overwrite=True)
        taken = one(partial(write_rows, file, layout, predictions))
        size = file.path.stat().st_size / len(names)
        show(f"written as {kind}, {size:.0f} bytes", taken)
    blocks = [pickle.dumps(predictions[at : at + 256]) for at in range(0, len(names), 256)]
    size = sum(map(len, blocks)) / len(names)
    show(f"taken from an actor, {size:.0f} bytes", one(partial(unpack_all, blocks)))
    shards = [ShardInputs(Shard(0, SHARDS)) for _ in range(options.repeat)]
    listed = [Path(name) for name in names]
    show("path looked at by a shard", one(lambda: drain(shards.pop().select(listed))))
    for kind in ROW_FILE_FORMATS:
        parts = Path(f"parts-{kind}")
        write_parts(parts, kind, layout, predictions)
        side = sum(path.stat().st_size for path in parts.glob("*.side.jsonl")) / len(names)
        merge = partial(merge_parts, parts, f"all.{kind}", overwrite=True)
        show(f"merged as {kind}, {SHARDS} parts", one(merge))
        print(f"    side files: {side:.2f} bytes an input")


def write_crops(folder: Path, images: NDArray[np.uint8]) -> list[Path]:
    """Write images, in the format that the folder's name ends in."""
    folder.mkdir()
    ending = folder.name.rpartition(".")[2]
    paths = [folder / f"{number:06}.{ending}" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path, quality=95)
    return paths


def write_parts(
    folder: Path, kind: str, layout: RowLayout, predictions: list[FilePrediction]
) -> None:
    """Write predictions as the parts of shards."""
    origin = Origin(model="tiny", model_sha256="", labels=layout.labels, options={}, versions={})
    by_path = {prediction.path: prediction for prediction in predictions}
    folder.mkdir()
    for index in range(SHARDS):
        inputs = ShardInputs(Shard(index, SHARDS))
        own = (by_path[cast("Path", source)] for source in inputs.select(list(by_path)))
        part = Part(folder=folder, shard=inputs.shard, kind=kind)
        summary = PredictionSummary(layout.labels, rows=None)
        write_part(part, PartRows(layout, origin, inputs), own, summary)


def write_rows(file: RowFile, layout: RowLayout, predictions: list[FilePrediction]) -> None:
    """Write all rows to a file, counted as the command counts them."""
    summary = PredictionSummary(layout.labels, rows=None)
    with file.open(layout) as rows:
        for prediction in predictions:
            summary.add(prediction, rows)


def list_folder(folder: Path) -> None:
    """Find all files of a folder."""
    drain(find_images([str(folder)]))


def read_files(paths: list[Path]) -> None:
    """Read files whole."""
    drain(path.read_bytes() for path in paths)


def decode_all(contents: list[bytes]) -> None:
    """Decode files that were read."""
    drain(map(load_image, contents))


def load_all(paths: list[Path], finder: FaceFinder, config: PredictConfig) -> None:
    """Read, decode and cut."""
    drain(load_faces(path, finder, config) for path in paths)


def infer(runtime: OnnxRuntime, crops: NDArray[np.uint8]) -> None:
    """Call a model with batches."""
    drain(runtime.predict(crops[at : at + 64]) for at in range(0, len(crops), 64))


def predict_all(runtime: OnnxRuntime, loaded: list[LoadedImage], config: PredictConfig) -> None:
    """Call a model with batches, and make rows of what it says."""
    drain(predict_loaded(runtime, loaded, config, "model"))


def unpack_all(blocks: list[bytes]) -> None:
    """Take predictions as they come from an actor."""
    drain(pickle.loads(block) for block in blocks)  # noqa: S301  # made above


def drain(values: Iterable[object]) -> None:
    """Take all there is, and keep nothing."""
    deque(values, maxlen=0)


if __name__ == "__main__":
    main()
