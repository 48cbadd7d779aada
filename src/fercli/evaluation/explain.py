"""Where on a face an answer comes from: occlusion maps by any model, LayerCAM by gradients.

An occlusion map asks the model: part after part of the face is covered, and what the answer loses
is painted where it was covered. LayerCAM reads the last fine maps of the network instead; Grad-CAM,
which is better known, weights each map as a whole, and on these came out empty for many a face.
Neither says why a person would give the answer.

Shape legend: N images, K labels, h x w a small map.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.inference import predict_in_batches
from fercli.plots import plot_maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor

    from fercli.inference import Runtime

__all__ = ["Explanation", "compute_layer_cam", "compute_occlusion", "explain", "read_maps"]

_WINDOW_PX: Final = 10
"""Of a covering square: an eye, or half a mouth, of a 48x48 face."""
_STRIDE_PX: Final = 3
"""Between squares."""
_LEAST_PX: Final = 6
"""Side of the smallest maps that tell as much as a square."""
_LAYER_CAM: Final = "LayerCAM"


@dataclass(frozen=True)
class Explanation:
    """Maps of the parts of one face that a prediction depends on."""

    face: NDArray[np.uint8]
    """[48, 48], what the model saw."""
    label: str
    """What the model says."""
    probabilities: dict[str, float]
    """By label."""
    occlusion: dict[str, NDArray[np.float32]]
    """For each label asked: [48, 48], what its probability loses where the face is covered; where
    it gains, below 0."""
    layer_cam: dict[str, NDArray[np.float32]]
    """For each label asked: [48, 48] in [0, 1]; empty for a model without gradients."""

    def plot(self, title: str = "") -> Figure:
        """Return the face and its maps as a matplotlib figure: a row per label asked.

        Args:
            title: One line above them.

        Raises:
            DependencyMissingError: matplotlib cannot be imported.
        """
        rows = {}
        for label, lost in self.occlusion.items():
            maps = {"probability lost where covered": lost}
            if label in self.layer_cam:
                maps[_LAYER_CAM] = self.layer_cam[label]
            rows[f"{label} {self.probabilities[label]:.0%}"] = maps
        return plot_maps(self.face, rows, heat=(_LAYER_CAM,), title=title)


def explain(runtime: Runtime, face: NDArray[np.uint8], labels: tuple[str, ...] = ()) -> Explanation:
    """Return the maps of a face, for the label that the model gives and for others.

    Args:
        runtime: The model; one that runs in torch also gives LayerCAM.
        face: `[48, 48]`.
        labels: Other labels to ask about, each one of the model's.
    """
    answer = predict_in_batches(runtime, face[None])[0]
    said = runtime.labels[int(answer.argmax())]
    asked = list(dict.fromkeys([said, *labels]))
    columns = [runtime.labels.index(label) for label in asked]
    lost = compute_occlusion(runtime, face, answer)[columns]
    # Without some of its labels a model has the same network.
    whole = getattr(runtime, "whole", runtime)
    network = getattr(whole, "network", None)
    return Explanation(
        face=face,
        label=said,
        probabilities=dict(zip(runtime.labels, map(float, answer), strict=True)),
        occlusion=dict(zip(asked, lost, strict=True)),
        layer_cam={}
        if network is None
        else {
            label: compute_layer_cam(network, face, whole.labels.index(label)) for label in asked
        },
    )


def compute_occlusion(
    runtime: Runtime, face: NDArray[np.uint8], answer: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return what each label's probability loses where a face is covered, `[K, 48, 48]`.

    A square of the face's mean gray moves over it; a pixel gets the mean loss over all squares that
    cover it.

    Args:
        runtime: The model.
        face: `[48, 48]`.
        answer: `[K]`, what it says of the whole face.

    Source:
        Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014, section
        4.2. Window and stride are ours.
    """
    side = face.shape[0]
    # Squares may stick out, so that a pixel at the border is covered as often as one inside.
    starts = range(_STRIDE_PX - _WINDOW_PX, side, _STRIDE_PX)
    windows = [
        (slice(max(0, top), top + _WINDOW_PX), slice(max(0, left), left + _WINDOW_PX))
        for top in starts
        for left in starts
    ]
    covered = np.repeat(face[None], len(windows), axis=0)
    for image, window in zip(covered, windows, strict=True):
        image[window] = round(float(face.mean()))
    lost = answer - predict_in_batches(runtime, covered)
    total = np.zeros((len(answer), side, side), dtype=np.float32)
    times = np.zeros((side, side), dtype=np.float32)
    for losses, window in zip(lost, windows, strict=True):
        total[(slice(None), *window)] += losses[:, None, None]
        times[window] += 1
    mean: NDArray[np.float32] = total / times
    return mean


def compute_layer_cam(network: Any, face: NDArray[np.uint8], label: int) -> NDArray[np.float32]:  # noqa: ANN401  # torch is imported late
    """Return a LayerCAM map `[48, 48]` in [0, 1].

    Each place of each map counts by its own gradient where that is positive. Grad-CAM on the same
    maps was empty for 8 to 38 % of faces; what LayerCAM marks matters more in three of three
    models, and more than what HiResCAM marks in two (`benchmarks/explain_maps.py`).

    Args:
        network: A `FaceNetwork` in evaluation mode.
        face: `[48, 48]`.
        label: Its output.

    Source:
        Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization",
        2021, section III.
    """
    from torch.nn import functional

    maps, gradient = read_maps(network, face, label)
    cam = functional.relu((functional.relu(gradient) * maps).sum(dim=1, keepdim=True))
    cam = functional.interpolate(cam, size=face.shape, mode="bilinear", align_corners=False)
    heat: NDArray[np.float32] = cam[0, 0].float().cpu().numpy()
    top = float(heat.max())
    return heat / np.float32(top) if top > 0 else heat


def read_maps(network: Any, face: NDArray[np.uint8], label: int) -> tuple[Tensor, Tensor]:  # noqa: ANN401  # torch is imported late
    """Return the last maps of at least 6x6, and the gradient of a label's logit: `[1, C, h, w]`.

    Coarser maps, the usual choice on large photos, do not tell an eye from a mouth on 48 pixels.

    Args:
        network: A `FaceNetwork` in evaluation mode.
        face: `[48, 48]`.
        label: Its output.
    """
    import torch

    from fercli.networks.runtime import to_pixels

    kept: list[torch.Tensor] = []
    mine = threading.get_ident()

    def keep(module: torch.nn.Module, _inputs: object, output: object) -> None:
        # Other threads may run the same network. What a convolution gives is not yet normed nor
        # cut off at zero.
        if threading.get_ident() != mine or isinstance(module, torch.nn.Conv2d):
            return
        if (
            isinstance(output, torch.Tensor)
            and output.ndim == 4
            and min(output.shape[2:]) >= _LEAST_PX
        ):
            kept.append(output)

    hooks = [module.register_forward_hook(keep) for module in network.modules()]
    try:
        device = next(network.parameters()).device
        image = torch.from_numpy(face[None].copy()).to(device)
        with torch.enable_grad():
            # Frozen networks carry no gradient; the pixels do.
            pixels = to_pixels(image).requires_grad_()
            logits = network(pixels)
            (gradient,) = torch.autograd.grad(logits[0, label], kept[-1])
    finally:
        for hook in hooks:
            hook.remove()
    return kept[-1].detach(), gradient
