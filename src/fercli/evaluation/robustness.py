"""How a score falls when the pictures get worse: six ways, each at three strengths.

The same seeded corruption for every model, so that two models can be compared. It is mild,
middling and strong by eye at 48 pixels; other sizes would need other numbers.

Source:
    The idea and most of the kinds: Hendrycks and Dietterich, "Benchmarking Neural Network
    Robustness to Common Corruptions and Perturbations", 2019. The strengths are ours.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.inference import predict_in_batches
from fercli.metrics import compute_scores
from fercli.results import RobustnessRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.evaluation.evaluate import Evaluation
    from fercli.inference import Runtime

__all__ = ["CORRUPTIONS", "corrupt", "measure_robustness"]

_SEED: Final = 0
_PAD_PX: Final = 12


def measure_robustness(
    runtime: Runtime,
    evaluation: Evaluation,
    on_progress: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> Evaluation:
    """Return the evaluation with `robustness` in its result.

    Args:
        runtime: The model that was evaluated.
        evaluation: What `evaluate` returned.
        on_progress: Called with how many corrupted images are done, and how many there are.
    """
    conditions = [(kind, at) for kind, (amounts, _) in CORRUPTIONS.items() for at in amounts]
    rows = []
    for done, (kind, amount) in enumerate(conditions, start=1):
        corrupted = corrupt(evaluation.images, kind, amount)
        answers = predict_in_batches(runtime, corrupted)
        scores = compute_scores(answers, evaluation.labels, evaluation.result.labels)
        strength = CORRUPTIONS[kind][0].index(amount) + 1
        rows.append(
            RobustnessRow(
                corruption=kind,
                strength=strength,
                amount=amount,
                accuracy=scores.accuracy,
                macro_f1=scores.macro_f1,
            )
        )
        on_progress(done * len(corrupted), len(conditions) * len(corrupted))
    result = dataclasses.replace(evaluation.result, robustness=rows)
    return dataclasses.replace(evaluation, result=result)


def corrupt(images: NDArray[np.uint8], kind: str, amount: float) -> NDArray[np.uint8]:
    """Return corrupted images, the same for the same images, kind and amount.

    Args:
        images: `[N, H, W]`.
        kind: A key of `CORRUPTIONS`.
        amount: In the unit of the kind.

    Raises:
        KeyError: There is no such kind.
    """
    return CORRUPTIONS[kind][1](images, amount, np.random.default_rng(_SEED))


def _blur(images: NDArray[np.uint8], sigma_px: float, _: np.random.Generator) -> NDArray[np.uint8]:
    from PIL import Image, ImageFilter

    blurred = (
        Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma_px)) for image in images
    )
    return np.stack([np.asarray(image) for image in blurred])


def _add_noise(
    images: NDArray[np.uint8], deviation: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    noise = generator.standard_normal(images.shape, dtype=np.float32) * np.float32(deviation)
    return _to_uint8(images + noise)


def _compress(
    images: NDArray[np.uint8], quality: float, _: np.random.Generator
) -> NDArray[np.uint8]:
    from PIL import Image

    compressed = []
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=int(quality))
        compressed.append(np.asarray(Image.open(stream)))
    return np.stack(compressed)


def _darken(images: NDArray[np.uint8], factor: float, _: np.random.Generator) -> NDArray[np.uint8]:
    return _to_uint8(images * np.float32(factor))


def _occlude(
    images: NDArray[np.uint8], side_px: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Cover a square, wholly inside, with the image's own mean."""
    side = int(side_px)
    tops = generator.integers(0, images.shape[1] - side + 1, len(images))
    lefts = generator.integers(0, images.shape[2] - side + 1, len(images))
    covered = images.copy()
    for image, top, left in zip(covered, tops, lefts, strict=True):
        image[top : top + side, left : left + side] = round(float(image.mean()))
    return covered


def _rotate(
    images: NDArray[np.uint8], angle_deg: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Turn about the center, half of the images each way; borders are reflected, not black."""
    from PIL import Image

    signs = generator.choice([-1.0, 1.0], len(images))
    padded = np.pad(images, ((0, 0), (_PAD_PX, _PAD_PX), (_PAD_PX, _PAD_PX)), mode="reflect")
    turned = [
        np.asarray(Image.fromarray(image).rotate(sign * angle_deg, Image.Resampling.BILINEAR))
        for image, sign in zip(padded, signs, strict=True)
    ]
    return np.stack(turned)[:, _PAD_PX:-_PAD_PX, _PAD_PX:-_PAD_PX]


def _to_uint8(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


CORRUPTIONS: Final[
    dict[
        str,
        tuple[
            tuple[float, float, float],
            Callable[[NDArray[np.uint8], float, np.random.Generator], NDArray[np.uint8]],
        ],
    ]
] = {
    "blur, sigma in pixels": ((0.7, 1.2, 2.0), _blur),
    "noise, deviation in gray levels": ((8.0, 16.0, 32.0), _add_noise),
    "JPEG quality": ((40.0, 20.0, 10.0), _compress),
    "darkness, factor": ((0.6, 0.35, 0.15), _darken),
    "occlusion, side in pixels": ((12.0, 18.0, 24.0), _occlude),
    "rotation, degrees": ((5.0, 10.0, 20.0), _rotate),
}
"""Amounts from mild to strong, and what is done, for each kind."""
