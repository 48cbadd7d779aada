"""Which map of gradients finds the parts of a face that a prediction depends on.

The fifth of the pixels that a map calls most important is covered with the face's mean gray: the
more of the label's probability is lost, the better the map. Grad-CAM, HiResCAM (Draelos et al.,
2020) and LayerCAM differ in the weights of the same maps alone; a map of random squares shows what
covering costs anywhere.

python benchmarks/explain_maps.py DATA MODEL.safetensors... [--faces 200] [--write]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from _report import add_write_option, print_header, publish
from torch.nn import functional

from fercli.data import load_data
from fercli.evaluation.explain import read_maps
from fercli.model_files import load_network
from fercli.networks.runtime import to_pixels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

_COVERED: Final = 0.2
_METHODS: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "Grad-CAM": lambda maps, gradient: gradient.mean(dim=(2, 3), keepdim=True) * maps,
    "HiResCAM": lambda maps, gradient: gradient * maps,
    "LayerCAM": lambda maps, gradient: functional.relu(gradient) * maps,
}


def compute_maps(
    network: torch.nn.Module, face: NDArray[np.uint8], label: int
) -> dict[str, NDArray[np.float32]]:
    """Return the map `[48, 48]` of each method."""
    maps, gradient = read_maps(network, face, label)
    found = {}
    for name, weigh in _METHODS.items():
        heat = functional.relu(weigh(maps, gradient).sum(dim=1, keepdim=True))
        large = functional.interpolate(heat, size=face.shape, mode="bilinear", align_corners=False)
        found[name] = large[0, 0].numpy()
    return found


def cover(
    face: NDArray[np.uint8], heat: NDArray[np.float32], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a face without its most important pixels; those of equal importance are drawn."""
    order = np.lexsort((generator.random(heat.size), -heat.ravel()))
    covered = face.ravel().copy()
    covered[order[: round(_COVERED * heat.size)]] = round(float(face.mean()))
    return covered.reshape(face.shape)


def predict(network: torch.nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return probabilities `[N, K]`."""
    with torch.inference_mode():
        logits: Tensor = network(to_pixels(torch.from_numpy(images)))
    answers: NDArray[np.float32] = logits.softmax(dim=1).numpy()
    return answers


def report(path: Path, images: NDArray[np.uint8]) -> None:
    """Print a line for each method."""
    network, _ = load_network(path)
    network.eval()
    before = predict(network, images.copy())
    labels, rows = before.argmax(axis=1), np.arange(len(images))
    generator = np.random.default_rng(0)
    covered: dict[str, list[NDArray[np.uint8]]] = {}
    empty: dict[str, int] = {}
    for face, label in zip(images, labels, strict=True):
        maps = compute_maps(network, face, int(label))
        squares = generator.random((6, 6), dtype=np.float32)
        maps["random"] = np.kron(squares, np.ones((8, 8), dtype=np.float32))
        for name, heat in maps.items():
            covered.setdefault(name, []).append(cover(face, heat, generator))
            empty[name] = empty.get(name, 0) + int(heat.max() == 0)
    print(f"{path.stem if path.stem != 'model' else path.parent.name}:")
    for name, faces in covered.items():
        after = predict(network, np.stack(faces))
        lost = float((before[rows, labels] - after[rows, labels]).mean())
        changed = float((after.argmax(axis=1) != labels).mean())
        print(
            f"  {name:10}{lost:6.3f} of the probability lost, {changed:5.1%} other labels, "
            f"{empty[name] / len(images):5.1%} empty maps"
        )


def main() -> None:
    """Compare the methods by each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("models", metavar="MODEL.safetensors", type=Path, nargs="+")
    parser.add_argument("--faces", type=int, default=200)
    add_write_option(parser)
    options = parser.parse_args()
    images = load_data(options.data).select("public").images[: options.faces]
    with publish("maps of an explanation", write=options.write):
        print_header("which map of gradients finds what a prediction depends on")
        print(f"public, n = {len(images)} faces, a fifth of each covered where the map is highest")
        for path in options.models:
            report(path, images)


if __name__ == "__main__":
    main()
