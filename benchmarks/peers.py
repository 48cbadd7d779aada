"""Other people's expression networks beside ours, on FER2013's `public` and on photos.

Those that can be installed with their weights. Each runs in its own interpreter, given by an
option, on the same uint8 48 x 48 crops as ours, prepared as its own package does it; what is not
given, or fails, is named and left out. One core, whatever the machine has; speeds are per second
of CPU time.

python benchmarks/peers.py [--fer PYTHON] [--facex PYTHON] [--facemood PYTHON]
    [--what-the-face PYTHON] [--face-api FOLDER] [--human FOLDER] [--photos FILE_OR_FOLDER]...
    [--votes SOURCE] [--data SOURCE] [--jobs 1] [--write]

PYTHON is an interpreter that has the package and what it requires, FOLDER one with `node_modules`
that has it and `@tensorflow/tfjs` with `@tensorflow/tfjs-backend-wasm`. `--votes` is a dataset with
FER+'s labels; the answers to its `public` are scored, too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from _peer import BATCH_SIZE, Answers, Image, time_images, weigh_installed
from _report import add_write_option, print_header, publish

import fercli
from fercli.data import Dataset, load_data, map_labels
from fercli.emotions import FERPLUS_LABELS, LABELS, find_label
from fercli.images import DecodedImage, Face, FaceFinder, cut_face, load_image
from fercli.inference.runtime import choose_labels, predict_in_batches
from fercli.metrics import compute_mcnemar, compute_scores
from fercli.model_files import find_model, open_runtime, read_metadata

OURS: Final = ("base", "plus", "tiny")
N_TRAIN: Final = 500
DETECTOR: Final = "haar"


@dataclass(frozen=True)
class Peer:
    """A network of other people's."""

    name: str
    """What `_peer.py` or `_peer.cjs` calls it."""
    option: str
    """Which option says where it is installed."""
    reads: str
    """What its package does to a crop, and to a detector's box."""
    learned: str
    """What it learned from and was chosen on, as far as that is known."""


PEERS: Final = (
    Peer(
        "fer",
        "fer",
        "64 x 64, gray, -1 to 1; boxes 10 pixels wider on each side",
        "FER2013's Training; chosen on public and private, so this is a selection score, as ours",
    ),
    Peer(
        "fer-lite",
        "fer",
        "as fer; the file that the package takes unasked, one image at a time",
        "made of fer's",
    ),
    Peer(
        "facex",
        "facex",
        "200 x 200, gray three times, 0 to 1, one image at a time",
        "its package does not say",
    ),
    Peer(
        "facemood",
        "facemood",
        "170 x 170, RGB, 0 to 1; its own program gives it whole frames, without a detector",
        "its package does not say; see the column train",
    ),
    Peer(
        "what-the-face",
        "what-the-face",
        "48 x 48, gray, 0 to 1",
        "FER2013 and CK+, by its package; which part of FER2013 it does not say",
    ),
    Peer(
        "face-api",
        "face-api",
        "112 x 112, RGB, less a mean, by its own function; tfjs in WebAssembly",
        "public datasets and images from the web, by face-api.js' page; which ones it does not say",
    ),
    Peer(
        "human",
        "human",
        "64 x 64, gray, -1 to 1; tfjs in WebAssembly",
        "by its file a network of oarriaga/face_classification, as fer's; so presumably FER2013, "
        "too",
    ),
)

WITHOUT_WEIGHTS: Final = (
    "deepface 0.0.103, emotiefflib 1.1.1, erml 1.0.1, face-api.js 0.22.2, facetorch 0.6.2, "
    "fer-pytorch 1.1.2, ffemcv 0.3.0, hsemotion 0.3.0, hsemotion-onnx 0.3.1, id-fer 0.4.0, "
    "libreface 0.2.0, openface-test 0.1.26, py-feat 2.1.5, pypaz 0.2.5, rmn 3.3.0"
)
"""Packages that fetch their weights from elsewhere when they run; looked at in November 2026."""


@dataclass(frozen=True)
class Entrant:
    """A network and what it said."""

    name: str
    answers: Answers
    """[P + T + F, 7] in the order of `LABELS`: of public, of train, of the photos' faces."""
    told: dict[str, Any]
    """What `_peer.py` tells of it."""
    wide: Answers | None = None
    """[P, 8] in the order of `FERPLUS_LABELS`, of a model that knows them."""


@dataclass(frozen=True)
class Photo:
    """A photo and the faces that our detector finds in it."""

    path: Path
    image: DecodedImage
    faces: list[Face]


def main() -> None:
    """Ask everyone, print what they said."""
    parser = argparse.ArgumentParser(description=__doc__)
    for option in dict.fromkeys(peer.option for peer in PEERS):
        parser.add_argument(f"--{option}", type=Path)
    parser.add_argument("--photos", type=Path, nargs="+", default=[])
    parser.add_argument("--votes", help="faces with FER+'s labels")
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    parser.add_argument("--jobs", type=int, default=1, help="peers at a time; more blur the speeds")
    add_write_option(parser)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    dataset = load_data(options.data)
    public, train = dataset.select("public"), dataset.select("train")
    chosen = np.random.default_rng(0).choice(len(train.labels), N_TRAIN, replace=False)
    images = np.concatenate([public.images, train.images[np.sort(chosen)]])
    truth = map_labels(public.labels, dataset.label_names, LABELS)
    seen = map_labels(train.labels[np.sort(chosen)], dataset.label_names, LABELS)
    photos = find_photos(options.photos)
    places = {peer: getattr(options, peer.option.replace("-", "_")) for peer in PEERS}
    absent = [f"{peer.name} (--{peer.option})" for peer in PEERS if places[peer] is None]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(options.jobs) as jobs:
        write_request(Path(name), images, photos)
        asked = [
            jobs.submit(ask_peer, peer, place, Path(name))
            for peer, place in places.items()
            if place is not None
        ]
        if options.jobs == 1:
            wait(asked)
        entrants = [ask_ours(name, images, photos) for name in OURS]
        said = [one.result() for one in asked]
    entrants += [one for one in said if isinstance(one, Entrant)]
    absent += [one for one in said if isinstance(one, str)]
    with publish("other people's networks", write=options.write):
        print_header("expression networks that are installed with their weights, beside ours")
        print_sizes(entrants)
        print_scores(entrants, truth, seen)
        print_recalls(entrants, truth)
        if options.votes:
            print_votes(entrants, public.images, load_data(options.votes))
        if photos:
            print_photos(entrants, photos, len(images))
        print_notes(entrants, absent)


def find_photos(places: Sequence[Path]) -> list[Photo]:
    """Return the JPEGs of files and folders, with the faces in them."""
    finder = FaceFinder(DETECTOR)
    photos = []
    for place in places:
        for path in sorted(place.glob("*.jpg")) if place.is_dir() else [place]:
            image = load_image(path, color=True)
            photos.append(Photo(path, image, finder.find(image)[1]))
    return photos


def write_request(folder: Path, images: Image, photos: Sequence[Photo]) -> None:
    """Write what every peer is asked."""
    images.tofile(folder / "images.raw")
    asked = []
    for number, photo in enumerate(photos):
        if photo.image.rgb is None:
            continue
        height, width = photo.image.gray.shape
        np.ascontiguousarray(photo.image.rgb).tofile(folder / f"{number}.raw")
        boxes = [[face.x, face.y, face.width, face.height] for face in photo.faces]
        asked.append({"file": f"{number}.raw", "height": height, "width": width, "boxes": boxes})
    request = {"n_images": len(images), "photos": asked}
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")


def ask_peer(peer: Peer, place: Path, folder: Path) -> Entrant | str:
    """Run a peer on the request; return why there is no answer where there is none."""
    beside = Path(__file__).resolve().parent
    answer, answers = folder / f"{peer.name}.json", folder / f"{peer.name}.raw"
    if place.is_dir():
        command = ["node", str(beside / "_peer.cjs"), peer.name, str(folder)]
        where: Path | None = place
    else:
        command = [str(place), str(beside / "_peer.py"), peer.name, str(folder)]
        where = None
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""}
    done = subprocess.run(
        command, cwd=where, env=quiet, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return f"{peer.name} (exit status {done.returncode})"
    told = json.loads(answer.read_text(encoding="utf-8"))
    said = np.fromfile(answers, dtype="<f4").reshape(-1, len(told["labels"]))
    if not np.allclose(said.sum(1), 1, atol=1e-3):
        return f"{peer.name} (its answers are no probabilities)"
    # By name: these networks count the same seven in three different orders.
    words = [find_label(label) for label in told["labels"]]
    columns = [words.index(label) for label in LABELS]
    return Entrant(peer.name, np.ascontiguousarray(said[:, columns]), told)


def ask_ours(name: str, images: Image, photos: Sequence[Photo]) -> Entrant:
    """Run a bundled model on the same."""
    model = find_model(name)
    own = open_runtime(model, device="cpu", n_threads=1)
    runtime = choose_labels(own, "fer2013")

    def predict(batch: Sequence[Image]) -> Answers:
        return runtime.predict(np.stack(batch))

    crops = [cut_face(photo.image, face, DETECTOR) for photo in photos for face in photo.faces]
    n_bytes, missing = weigh_installed("fercli")
    # Of an editable install the distribution lists one file.
    package = Path(fercli.__file__).parent
    own_bytes = sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
    listed = list(images)
    told = {
        "version": fercli.__version__,
        "n_parameters": read_metadata(model).parameters,
        "file_bytes": model.path.stat().st_size,
        "install_bytes": n_bytes + own_bytes,
        "missing": missing,
        "batches": time_images(predict, listed, BATCH_SIZE),
        "one_by_one": time_images(predict, listed, 1),
    }
    answers = predict_in_batches(runtime, np.stack([*listed, *crops]))
    wide = None
    if len(own.labels) > len(LABELS):
        said = predict_in_batches(own, images)
        wide = said[:, [own.labels.index(label) for label in FERPLUS_LABELS]]
    return Entrant(name, answers, told, wide)


def print_sizes(entrants: Sequence[Entrant]) -> None:
    """Print what each weighs and how fast it is."""
    print(f"\n{'':14}{'version':>10}{'parameters':>12}{'weights':>12}{'installed':>12}"
          f"{'batches of 64':>15}{'one by one':>12}")  # fmt: skip
    for entrant in entrants:
        told = entrant.told
        weights, installed = told["file_bytes"] / 1e6, told["install_bytes"] / 1e6
        print(f"{entrant.name:14}{told['version']:>10}{told['n_parameters']:12,}"
              f"{weights:9.2f} MB{installed:9,.0f} MB{told['batches']:15,.0f}"
              f"{told['one_by_one']:12,.0f}")  # fmt: skip
    print(
        "  images per second of CPU time on one core, from uint8 48 x 48 to probabilities; "
        "installed:\n  the package with all it requires, as far as that was there:"
    )
    for entrant in entrants:
        if entrant.told["missing"]:
            print(f"  {entrant.name} without {', '.join(entrant.told['missing'])}")


def print_scores(entrants: Sequence[Entrant], truth: Image, seen: Image) -> None:
    """Print the scores on `public`, and on images of `train`."""
    n_public = len(truth)
    right = {one.name: one.answers[:n_public].argmax(1) == truth for one in entrants}
    head = "".join(f"{f'p: {name}':>12}" for name in OURS)
    print(f"\n{f'public plain, n = {n_public:,}':28}{'accuracy':>16}{'macro F1':>10}{'ECE':>7}"
          f"{'train':>8}{head}")  # fmt: skip
    for entrant in entrants:
        scores = compute_scores(entrant.answers[:n_public], truth, LABELS)
        low, high = scores.accuracy_ci95
        on_train = np.mean(entrant.answers[n_public : n_public + N_TRAIN].argmax(1) == seen)
        tests = "".join(
            f"{describe_difference(right[entrant.name], right[name]):>12}" for name in OURS
        )
        print(f"{entrant.name:14}{scores.accuracy:12.2%} ({low:.2%}-{high:.2%})"
              f"{scores.macro_f1:9.1%}{scores.ece:8.3f}{on_train:8.1%}{tests}")  # fmt: skip
    print(
        f"  train: accuracy on {N_TRAIN:,} images of Training, drawn by seed 0; p: McNemar's exact "
        "test\n  against ours, not adjusted for how many there are"
    )


def describe_difference(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> str:
    """Return McNemar's p of two networks, given which images each has right."""
    if first is second:
        return "-"
    p_value = compute_mcnemar(int((first & ~second).sum()), int((second & ~first).sum()))
    return f"{p_value:.3f}" if p_value >= 0.001 else f"{p_value:.0e}"


def print_recalls(entrants: Sequence[Entrant], truth: Image) -> None:
    """Print how many images of each label are called it."""
    print("\nrecall        " + "".join(f"{label:>10}" for label in LABELS))
    for entrant in entrants:
        scores = compute_scores(entrant.answers[: len(truth)], truth, LABELS)
        print(f"{entrant.name:14}"
              + "".join(f"{scores.per_class[label].recall:10.1%}" for label in LABELS))  # fmt: skip


def print_votes(entrants: Sequence[Entrant], images: Image, votes: Dataset) -> None:
    """Print the scores by FER+'s labels of the same images."""
    subset = votes.select("public")
    where = {image.tobytes(): index for index, image in enumerate(images)}
    rows = [where[image.tobytes()] for image in subset.images]
    truth = map_labels(subset.labels, votes.label_names, FERPLUS_LABELS)
    told = "".join(f"{label:>10}" for label in FERPLUS_LABELS)
    print(f"\n{f'by votes of ten, n = {len(rows):,}':28}{'accuracy':>16}{'recall:':>9}{told}")
    for entrant in entrants:
        wide = entrant.wide
        if wide is None:
            wide = np.pad(entrant.answers[: len(images)], ((0, 0), (0, 1)))
        scores = compute_scores(wide[rows], truth, FERPLUS_LABELS)
        low, high = scores.accuracy_ci95
        recalls = "".join(f"{scores.per_class[label].recall:10.1%}" for label in FERPLUS_LABELS)
        print(f"{entrant.name:14}{scores.accuracy:12.2%} ({low:.2%}-{high:.2%}){'':8}{recalls}")
    print(
        "  the same answers and images, by FER+'s labels; plus learned from such, nobody else did"
    )


def print_photos(entrants: Sequence[Entrant], photos: Sequence[Photo], n_crops: int) -> None:
    """Print what each says of each face of the photos."""
    said = {one.name: one.answers[n_crops:].argmax(1) for one in entrants}
    n_faces = sum(len(photo.faces) for photo in photos)
    print(f"\n{len(photos)} photos, {n_faces} boxes of our detector ({DETECTOR}), right or wrong; "
          "the same box for all")  # fmt: skip
    width = max(len(photo.path.name) for photo in photos) + 3
    print(f"{'':{width}}" + "".join(f"{one.name:>14}" for one in entrants))
    row = 0
    for photo in photos:
        for number in range(len(photo.faces)):
            words = "".join(f"{LABELS[said[one.name][row]]:>14}" for one in entrants)
            print(f"{f'{photo.path.name} {number + 1}':{width}}{words}")
            row += 1
        if not photo.faces:
            print(f"{photo.path.name:{width}}{'no face':>14}")
    for name in OURS:
        same = "".join(f"{(said[one.name] == said[name]).sum():>14}" for one in entrants)
        print(f"{f'as {name}':{width}}{same}")


def print_notes(entrants: Sequence[Entrant], absent: Sequence[str]) -> None:
    """Print how each was asked and what it learned from."""
    names = {entrant.name for entrant in entrants}
    print("\nprepared as its own package does it, and learned from:")
    for peer in PEERS:
        if peer.name in names:
            print(f"  {peer.name}: {peer.reads}\n    {peer.learned}")
    print("  base, tiny: FER2013's Training, epoch chosen on public; plus: FER+'s votes on it")
    if absent:
        print(f"not there, left out: {', '.join(absent)}")
    print(f"weights not in the package, left out: {WITHOUT_WEIGHTS}")


if __name__ == "__main__":
    main()
