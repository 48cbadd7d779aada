"""How a detector's boxes lie in FER2013's frames, and what its crops cost the model.

FER2013's images are crops of photos that nobody has. Enlarged, and with their edges drawn out, they
are photos of one face whose right frame is known: where a detector puts its box in them says how
its boxes are to be framed. The sheet shows FER2013's images beside what fercli cuts out of them;
it holds real faces and is not for publishing. With `--border 0` they fill their photos, in which
`haar` mostly finds them in its second search alone.

python benchmarks/face_crops.py [--weights YUNET] [--model MODEL] [--n 1500] [--sheet FILE.png]
    [--border 0.5] [--data SOURCE] [--write]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from _report import add_write_option, print_header, publish
from PIL import Image

from fercli.data import load_data, map_labels
from fercli.images import DecodedImage, Face, FaceFinder, cut_face
from fercli.inference import predict_in_batches
from fercli.model_files import find_model, open_runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.inference import Runtime

_FACTOR = 4
_SIDE = 48 * _FACTOR


def main() -> None:
    """Read the options, look for the faces, print the figures, write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="of yunet; left out without them")
    parser.add_argument("--model", help="what answers to the crops; default as `fer predict`")
    parser.add_argument("--n", type=int, default=1500, help="images of each split")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    parser.add_argument("--border", type=float, default=0.5, help="around them, in their sides")
    add_write_option(parser)
    options = parser.parse_args()
    border = round(options.border * _SIDE)
    dataset = load_data(options.data)
    generator = np.random.default_rng(0)
    chosen = {}
    for split in ("train", "public"):
        subset = dataset.select(split)
        count = min(options.n, len(subset.labels))
        chosen[split] = subset.take(
            np.sort(generator.choice(len(subset.labels), count, replace=False))
        )
    finders = {"haar": FaceFinder("haar")}
    if options.weights:
        finders["yunet"] = FaceFinder("yunet", options.weights)
    runtime = open_runtime(find_model(options.model))
    public = chosen["public"]
    labels = map_labels(public.labels, dataset.label_names, runtime.labels)
    with publish("face crops", write=options.write):
        print_header("faces found in FER2013's own images, and what is cut out of them")
        for name, finder in finders.items():
            boxes = [find_one(finder, image, border) for image in chosen["train"].images]
            describe_boxes(name, [box for box in boxes if box], len(boxes), border)
            score(name, finder, runtime, (public.images, labels), border)
    if options.sheet:
        draw_sheet(options.sheet, chosen["train"].images, finders, border)


def build_photo(image: NDArray[np.uint8], border: int) -> DecodedImage:
    """Return a face crop as a photo: enlarged, its edges drawn out."""
    large = np.asarray(Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))
    gray = np.pad(large, border, mode="edge")
    return DecodedImage(gray, 1, np.stack([gray] * 3, axis=2))


def find_one(finder: FaceFinder, image: NDArray[np.uint8], border: int) -> Face | None:
    """Return the largest face that is found in an enlarged crop."""
    faces = finder.find(build_photo(image, border))[1]
    return faces[0] if faces else None


def describe_boxes(name: str, boxes: list[Face], n_images: int, border_px: int) -> None:
    """Print where boxes lie, in sides of FER2013's frame."""
    table = np.array([(box.x, box.y, box.width, box.height) for box in boxes]) / _SIDE
    border = border_px / _SIDE
    size = np.sqrt(table[:, 2] * table[:, 3])
    right = table[:, 0] + table[:, 2] / 2 - border - 0.5
    down = table[:, 1] + table[:, 3] / 2 - border - 0.5
    print(f"{name}: a face in {len(boxes):,} of {n_images:,} training images")
    for what, values in (("size", size), ("right of center", right), ("below center", down)):
        low, middle, high = np.percentile(values, (25, 50, 75))
        print(f"  {what:16} median {middle:6.3f}, quartiles {low:6.3f} and {high:6.3f}")


def score(
    name: str,
    finder: FaceFinder,
    runtime: Runtime,
    faces: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    border: int,
) -> None:
    """Print the accuracy on FER2013's crops and on those cut out again."""
    images, labels = faces
    crops, kept = [], []
    for index, image in enumerate(images):
        photo = build_photo(image, border)
        _, found = finder.find(photo)
        if found:
            crops.append(cut_face(photo, found[0], name))
            kept.append(index)
    whole = predict_in_batches(runtime, images[kept]).argmax(1)
    again = predict_in_batches(runtime, np.stack(crops)).argmax(1)
    truth = labels[kept]
    print(
        f"  public, plain, n = {len(kept):,} with a face: {np.mean(whole == truth):.2%} on the "
        f"original crops, {np.mean(again == truth):.2%} on those cut by {name}; "
        f"{np.mean(whole == again):.2%} of the labels agree"
    )


def draw_sheet(
    path: Path, images: NDArray[np.uint8], finders: dict[str, FaceFinder], border: int
) -> None:
    """Draw originals above what is cut out of them, one column per image."""
    shown = images[:12]
    rows = [list(shown)]
    for name, finder in finders.items():
        cut = []
        for image in shown:
            photo = build_photo(image, border)
            _, faces = finder.find(photo)
            blank = np.full((48, 48), 255, dtype=np.uint8)
            cut.append(cut_face(photo, faces[0], name) if faces else blank)
        rows.append(cut)
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    size = (sheet.shape[1] * 2, sheet.shape[0] * 2)
    Image.fromarray(sheet).resize(size, Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    main()
