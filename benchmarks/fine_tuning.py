"""Fine-tuning: five labels of 160 images each, from nothing and from a model of other images.

A task of somebody else's is made of FER2013's Training: five of its labels under other names, 160
images of each to learn from, 40 that choose the epoch, 400 that are scored. The model to begin with
learned FER2013's seven labels from the images that are left; no image has a copy in another part.
PublicTest and PrivateTest are not looked at. Every row trains as long as the others. Trainings are
kept below --output and not repeated.

python benchmarks/fine_tuning.py [--data SOURCE] [--output DIR] [--seeds 3] [--epochs 20] [--write]
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from _report import add_write_option, print_header, publish

import fercli
from fercli.data import build_dataset
from fercli.data.duplicates import group_duplicates

if TYPE_CHECKING:
    from fercli.data import Dataset

NAMES: Final = {
    "angry": "furious", "happy": "cheerful", "sad": "gloomy", "surprise": "astonished",
    "neutral": "calm",
}  # fmt: skip
"""What labels of FER2013 are called in the other task."""
PARTS: Final = {"train": 160, "validation": 40, "test": 400}
"""Images of each label."""
WIDTHS: Final = (16, 32, 64)
"""Of the network, half of what `fast` has."""
_ROWS: Final[dict[str, dict[str, Any] | None]] = {
    "from nothing": None,
    "fine-tuned": {},
    "fine-tuned, trunk_ratio 0.3": {"trunk_ratio": 0.3},
    "fine-tuned, trunk_ratio 0.1": {"trunk_ratio": 0.1},
    "the same, freeze_epochs 5": {"trunk_ratio": 0.1, "freeze_epochs": 5},
    "last layer alone": {"freeze_epochs": 1_000_000},
}
"""What is set beside `init`; None is without."""
_LINE: Final = "{:28} {:>22} {:>22} {:>7} {:>7}"


@dataclass(frozen=True)
class Score:
    """What one training reached."""

    validation: float
    test: float
    wall_s: float
    cpu_s: float


def main() -> None:
    """Read the options, train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    parser.add_argument("--output", type=Path, default=Path("runs/fine-tuning"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    add_write_option(parser)
    options = parser.parse_args()
    with publish("fine-tuning", write=options.write):
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Train the model to begin with, then every row."""
    rest, task = split_training(fercli.load_dataset(options.data))
    source = train(rest, options.output / "source", recipe="fast", widths=WIDTHS, seed=0)
    print_header(f"fine-tuning on {len(NAMES)} labels of {PARTS['train']} images, fast recipe")
    found = source.result
    if found is None:
        raise RuntimeError(source)
    print(
        f"the model to begin with: {found.parameters:,} parameters, {found.epochs} epochs of "
        f"{len(rest.labels):,} other images, {found.validation_accuracy:.1%} on "
        f"{found.validation_split} of them, {found.duration_s:.0f} s"
    )
    print(
        f"{options.epochs} epochs, flips; accuracy, mean, smallest and largest of {options.seeds} "
        f"seeds; validation (n = {PARTS['validation'] * len(NAMES)}) chose the epoch, test "
        f"(n = {PARTS['test'] * len(NAMES):,}) nothing"
    )
    print(_LINE.format("", "validation", "test", "s wall", "s CPU"))
    for name, changes in _ROWS.items():
        scores = [run(task, source, changes, seed, options) for seed in range(options.seeds)]
        print(describe(name, scores))


def split_training(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """Return the images that the first model learns from, and the other task."""
    training = dataset.select("train")
    images, labels = training.images, training.labels
    first = group_duplicates(images) == np.arange(len(images))
    generator = np.random.default_rng(0)
    splits = np.full(len(images), len(PARTS), dtype=np.uint8)
    for name in NAMES:
        mine = np.flatnonzero(first & (labels == dataset.label_names.index(name)))
        mine = generator.permutation(mine)
        for number, count in enumerate(PARTS.values()):
            splits[mine[:count]] = number
            mine = mine[count:]
    names = list(NAMES)
    chosen = np.flatnonzero(splits < len(PARTS))
    renamed = np.array([names.index(dataset.label_names[label]) for label in labels[chosen]])
    task = build_dataset(
        {
            "images": images[chosen],
            "labels": renamed.astype(np.uint8),
            "splits": splits[chosen],
            "source_row": chosen.astype(np.int32),
        },
        label_names=tuple(NAMES.values()),
        split_names=tuple(PARTS),
        source="five labels of FER2013's Training",
    )
    left = np.flatnonzero(first & (splits == len(PARTS)))
    rest = build_dataset(
        {
            "images": images[left],
            "labels": labels[left],
            "splits": np.zeros(len(left), dtype=np.uint8),
            "source_row": left.astype(np.int32),
        },
        label_names=dataset.label_names,
        split_names=("train",),
        source="the rest of FER2013's Training",
    )
    return rest, task


def run(
    task: Dataset,
    source: fercli.Run,
    changes: dict[str, Any] | None,
    seed: int,
    options: argparse.Namespace,
) -> Score:
    """Return what one training reached, trained now or before."""
    transfer = {"widths": WIDTHS} if changes is None else {"init": source, **changes}
    words = ["nothing" if changes is None else "init"]
    words += [f"{key}={value}" for key, value in (changes or {}).items()]
    folder = options.output / "_".join([*words, f"epochs={options.epochs}", f"seed={seed}"])
    done = train(
        task, folder, recipe="fast", epochs=options.epochs, seed=seed, batch_size=64, flip="random",
        **transfer,
    )  # fmt: skip
    result = done.result
    if result is None:
        raise RuntimeError(done)
    accuracy = done.model.evaluate(task, split="test").accuracy
    return Score(result.validation_accuracy, accuracy, result.duration_s, result.cpu_s)


def train(
    dataset: Dataset,
    folder: Path,
    **settings: Any,  # noqa: ANN401  # any field of the configuration
) -> fercli.Run:
    """Return a run, finished before or now."""
    if (folder / "run.json").exists() and fercli.Run(folder).is_finished:
        return fercli.Run(folder)
    return fercli.train(dataset, output=folder, overwrite=True, device="cpu", **settings)


def describe(name: str, scores: list[Score]) -> str:
    """Return a row of the table."""

    def spread(values: list[float]) -> str:
        return f"{statistics.mean(values):.1%} ({min(values):.1%}-{max(values):.1%})"

    return _LINE.format(
        name,
        spread([score.validation for score in scores]),
        spread([score.test for score in scores]),
        f"{statistics.mean(score.wall_s for score in scores):.0f}",
        f"{statistics.mean(score.cpu_s for score in scores):.0f}",
    )


if __name__ == "__main__":
    main()
