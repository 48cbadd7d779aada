"""Other people's networks that Python runs, asked in an interpreter that has their packages.

PYTHON benchmarks/_peer.py NAME FOLDER

FOLDER holds `request.json`: how many gray crops `images.raw` has, and photos with boxes of faces.
Into it go `NAME.raw`, float32 `[N + F, K]`, and `NAME.json`: labels, sizes, speed. Imports
nothing of fercli's, and of others' only what the network needs; `_peer.cjs` is the same for node.

Shape legend: N crops, F boxes of photos, K labels.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

Image = np.ndarray[Any, np.dtype[np.uint8]]
"""[H, W] or [H, W, 3], RGB."""
Answers = np.ndarray[Any, np.dtype[np.float32]]
"""[N, K], rows summing to 1."""

BATCH_SIZE: Final = 64
_FER2013: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network and what its package does to an image before it."""

    package: str
    """Distribution that it is installed by."""
    file: Path
    """Its weights."""
    n_parameters: int
    """Numbers in them."""
    predict: Callable[[Sequence[Image]], Answers]
    """Answers to images, all of one size."""
    labels: tuple[str, ...] = _FER2013
    """In the package's own words and order."""
    margin_px: int = 0
    """What its package adds to a detector's box on each side."""


def main() -> None:
    """Open the network, answer the request."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    network = NETWORKS[name]()
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    crops = read_pixels(folder / "images.raw", (request["n_images"], 48, 48))
    images = list(crops)
    answers = [
        network.predict(images[at : at + BATCH_SIZE]) for at in range(0, len(images), BATCH_SIZE)
    ]
    for photo in request["photos"]:
        pixels = read_pixels(folder / photo["file"], (photo["height"], photo["width"], 3))
        answers += [
            network.predict([cut_box(pixels, box, network.margin_px)]) for box in photo["boxes"]
        ]
    np.concatenate(answers).astype("<f4").tofile(folder / f"{name}.raw")
    n_bytes, missing = weigh_installed(network.package)
    told = {
        "version": importlib.metadata.version(network.package),
        "labels": network.labels,
        "n_parameters": network.n_parameters,
        "file_bytes": network.file.stat().st_size,
        "install_bytes": n_bytes,
        "missing": missing,
        "batches": time_images(network.predict, images, BATCH_SIZE),
        "one_by_one": time_images(network.predict, images, 1),
    }
    (folder / f"{name}.json").write_text(json.dumps(told), encoding="utf-8")


def time_images(
    predict: Callable[[Sequence[Image]], Answers], images: Sequence[Image], size: int
) -> float:
    """Return images per second of this process's CPU time, over about three seconds."""
    predict(images[:size])
    n_images, started = 0, time.process_time()
    while (spent_s := time.process_time() - started) < 3:
        at = n_images % (len(images) - size + 1)
        predict(images[at : at + size])
        n_images += size
    return n_images / spent_s


def weigh_installed(package: str) -> tuple[int, list[str]]:
    """Return the bytes of a distribution and of all it requires, and what of that is not there."""
    n_bytes, missing = 0, []
    waiting, met = [package], set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in met:
            continue
        met.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        paths = [Path(str(found.locate_file(file))) for file in found.files or ()]
        n_bytes += sum(path.stat().st_size for path in paths if path.is_file())
        for line in found.requires or ():
            word = re.match(r"[\w.-]+", line)
            # Requirements under a condition count where they are installed, those of extras not.
            if word and "extra ==" not in line and (";" not in line or is_installed(word[0])):
                waiting.append(word[0])
    return n_bytes, sorted(missing)


def is_installed(package: str) -> bool:
    """Return whether this interpreter finds a distribution."""
    return next(iter(importlib.metadata.distributions(name=package)), None) is not None


def read_pixels(path: Path, shape: tuple[int, ...]) -> Image:
    """Return the uint8 pixels of a file."""
    return np.fromfile(path, dtype=np.uint8).reshape(shape)


def cut_box(pixels: Image, box: Sequence[int], margin_px: int) -> Image:
    """Return what is within a box of x, y, width and height, as far as the photo goes."""
    x, y, width, height = box
    rows = slice(max(y - margin_px, 0), y + height + margin_px)
    return pixels[rows, max(x - margin_px, 0) : x + width + margin_px]


def find_package(name: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        message = f"{name} is not installed for {sys.executable}"
        raise SystemExit(message)
    return Path(found.origin).parent


def to_gray(image: Image) -> Image:
    """Return an image's brightness."""
    if image.ndim == 2:
        return image
    cv2 = importlib.import_module("cv2")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def scale_for_fer(images: Sequence[Image]) -> Answers:
    """Return images as `fer` has them, `[N, 64, 64, 1]` from -1 to 1."""
    cv2 = importlib.import_module("cv2")
    small = np.stack([cv2.resize(to_gray(image), (64, 64)) for image in images])
    scaled: Answers = (small.astype(np.float32) / np.float32(255) - np.float32(0.5)) * np.float32(2)
    return scaled[..., None]


def open_fer() -> Network:
    """Open the Keras network of `fer`."""
    tensorflow = importlib.import_module("tensorflow")
    file = find_package("fer") / "data" / "emotion_model.hdf5"
    model = tensorflow.keras.models.load_model(file, compile=False)

    def predict(images: Sequence[Image]) -> Answers:
        return np.asarray(model(scale_for_fer(images), training=False))

    return Network(
        package="fer", file=file, n_parameters=model.count_params(), predict=predict, margin_px=10
    )


def open_fer_lite() -> Network:
    """Open the TensorFlow Lite network of `fer`, which it takes unasked."""
    file = find_package("fer") / "data" / "emotion_model_quantized.tflite"
    answer, n_parameters = open_lite(file)

    def predict(images: Sequence[Image]) -> Answers:
        return np.concatenate([answer(image[None]) for image in scale_for_fer(images)])

    return Network(
        package="fer", file=file, n_parameters=n_parameters, predict=predict, margin_px=10
    )


def open_facex() -> Network:
    """Open the network of `facex`."""
    file = find_package("facex") / "assets" / "model_optimized.tflite"
    resize = importlib.import_module("facex.utils").input_resize
    answer, n_parameters = open_lite(file)

    def predict(images: Sequence[Image]) -> Answers:
        return np.concatenate(
            [answer(np.asarray(resize(to_gray(image)), dtype=np.float32)) for image in images]
        )

    return Network(
        package="facex",
        file=file,
        n_parameters=n_parameters,
        predict=predict,
        labels=("anger", "disgust", "fear", "happy", "neutral", "sadness", "surprised"),
    )


def open_facemood() -> Network:
    """Open the network of `facemood`."""
    tensorflow = importlib.import_module("tensorflow")
    pillow = importlib.import_module("PIL.Image")
    file = find_package("facemood") / "model__version1.0.0__.h5"
    model = tensorflow.keras.models.load_model(file, compile=False)

    def scale(image: Image) -> Answers:
        rgb = pillow.fromarray(np.ascontiguousarray(image)).convert("RGB").resize((170, 170))
        return np.asarray(rgb, dtype=np.float32) / np.float32(255)

    def predict(images: Sequence[Image]) -> Answers:
        return np.asarray(model(np.stack([scale(image) for image in images]), training=False))

    return Network(
        package="facemood", file=file, n_parameters=model.count_params(), predict=predict
    )


def open_what_the_face() -> Network:
    """Open the network of `what-the-face-classification`."""
    torch = importlib.import_module("torch")
    transforms = importlib.import_module("torchvision.transforms")
    pillow = importlib.import_module("PIL.Image")
    file = find_package("what_the_face_classification") / "active_model.pth"
    builder = importlib.import_module("what_the_face_classification.model")
    # Three layers of 3 x 3 without padding leave 4 x 4 of the 48 x 48.
    sizes = ([[1, 28], [28, 56], [56, 112]], [3, 3, 3], [0, 0, 0], 304, 4 * 4 * 112)
    model = builder.SimpleConvolutionalNetwork(3, *sizes)
    weights = torch.load(file, map_location="cpu", weights_only=True)
    model.load_state_dict(weights)
    model.eval()
    prepare = transforms.Compose(
        [
            transforms.Resize(48),
            transforms.CenterCrop(48),
            transforms.Grayscale(),
            transforms.ToTensor(),
        ]
    )

    def predict(images: Sequence[Image]) -> Answers:
        pictures = [pillow.fromarray(np.ascontiguousarray(image)) for image in images]
        with torch.inference_mode():
            logits = model(torch.stack([prepare(picture) for picture in pictures]))
            return np.asarray(logits.softmax(1))

    return Network(
        package="what-the-face-classification",
        file=file,
        n_parameters=sum(tensor.numel() for tensor in weights.values()),
        predict=predict,
    )


def open_lite(file: Path) -> tuple[Callable[[Answers], Answers], int]:
    """Return what answers by a TensorFlow Lite file, image by image, and its parameters."""
    tensorflow = importlib.import_module("tensorflow")
    interpreter = tensorflow.lite.Interpreter(model_path=str(file), num_threads=1)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    wanted = interpreter.get_output_details()[0]["index"]

    def answer(image: Answers) -> Answers:
        interpreter.set_tensor(given, image)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(wanted))

    schema = importlib.import_module("tensorflow.lite.python.schema_py_generated")
    model = schema.Model.GetRootAs(file.read_bytes(), 0)
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(index) for index in range(graph.TensorsLength())]
    n_parameters = sum(
        math.prod(tensor.ShapeAsNumpy().tolist())
        for tensor in tensors
        if model.Buffers(tensor.Buffer()).DataLength() and tensor.Type() != schema.TensorType.INT32
    )
    return answer, n_parameters


NETWORKS: Final = {
    "fer": open_fer,
    "fer-lite": open_fer_lite,
    "facex": open_facex,
    "facemood": open_facemood,
    "what-the-face": open_what_the_face,
}

if __name__ == "__main__":
    main()
