"""What each choice of a training is worth: accuracy and macro F1 on `public`, plain.

Every row changes one small network's training, a budget that two cores can carry, in what it names,
and is trained once per seed. One group asks for augmentation's worth again in a longer training.
Large networks get one seed and fewer epochs. Trainings are kept in `--output` and gone on with when
the script is called again; a finished one is not repeated.

python benchmarks/ablations.py --output DIR [--group NAME]... [--epochs 5] [--seeds 3]
    [--long-epochs 20] [--large-epochs 2] [--data SOURCE] [--write]
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from _report import RESULTS, add_write_option, print_header, publish

from fercli.data import load_data
from fercli.evaluation import evaluate
from fercli.model_files import find_model, open_runtime
from fercli.runs import RunFolder, is_finished, read_run_record
from fercli.settings import build_config
from fercli.storage import write_json
from fercli.training import train, tune_malloc

if TYPE_CHECKING:
    from fercli.data import Dataset

_BASE: Final = {
    "stem": "whitened", "widths": (32, 64, 128), "norm_scale": False, "dropout": 0.0,
    "flip": "alternating", "rotation_deg": 0.0, "scale": 0.0, "shift": 0.06, "brightness": 0.0,
    "contrast": 0.0, "optimizer": "muon", "learning_rate": 0.15, "momentum": 0.6,
    "bias_ratio": 16.0, "schedule": "linear", "warmup": 0.03, "sizes_px": (32, 32, 32, 36, 48),
}  # fmt: skip
"""What every row changes. Written out, for a recipe may move while trainings are kept; change it
only with another `--output`."""
_STILL: Final = {
    "flip": "none", "rotation_deg": 0.0, "scale": 0.0, "shift": 0.0, "brightness": 0.0,
    "contrast": 0.0, "erasing": 0.0,
}  # fmt: skip
_ADAMW: Final = {
    "optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.05, "bias_ratio": 1.0,
}  # fmt: skip
ROWS: Final[dict[str, dict[str, dict[str, object]]]] = {
    "augmentation": {
        "none": _STILL,
        "the notebook's: flip, rotation 10": {**_STILL, "flip": "random", "rotation_deg": 10.0},
        "ours: alternating flip, shift 0.06": {},
        "ours, flip random": {"flip": "random"},
        "ours + rotation 15, scale 0.15": {"rotation_deg": 15.0, "scale": 0.15},
        "ours + contrast 0.3, brightness 0.1": {"contrast": 0.3, "brightness": 0.1},
        "ours + erasing 0.3": {"erasing": 0.3},
        "ours + mixup 0.2": {"mixup": 0.2},
    },
    "rare labels": {
        "nothing": {},
        "weights": {"balance": "weights"},
        "weights, square root": {"balance": "weights", "balance_power": 0.5},
        "oversample": {"balance": "oversample"},
        "oversample, square root": {"balance": "oversample", "balance_power": 0.5},
        "focal loss, gamma 2": {"focal_gamma": 2.0},
        "logit adjustment 1": {"logit_adjustment": 1.0},
        "logit adjustment 1, no smoothing": {"logit_adjustment": 1.0, "label_smoothing": 0.0},
    },
    "the rest": {
        "nothing": {},
        "label smoothing off": {"label_smoothing": 0.0},
        "averaged weights (ema 0.99)": {"average": "ema", "average_decay": 0.99},
        "learned stem": {"stem": "learned"},
        "one-cycle": {"schedule": "onecycle", "warmup": 0.3},
        "cosine": {"schedule": "cosine"},
        "AdamW": {
            "optimizer": "adamw", "learning_rate": 0.004, "weight_decay": 0.05, "warmup": 0.15,
        },
        "48 pixels throughout": {"sizes_px": (48,)},
        "filters shared with the mirror image": {"flip_equivariant": True, "flip": "none"},
    },
    "size of our CNN": {
        "16, 32, 64": {"widths": (16, 32, 64)},
        "24, 48, 96": {"widths": (24, 48, 96)},
        "32, 64, 128": {},
        "48, 96, 192": {"widths": (48, 96, 192)},
        "64, 128, 256": {"widths": (64, 128, 256)},
    },
    "augmentation in a longer training": {
        "none": _STILL,
        "the notebook's: flip, rotation 10": {**_STILL, "flip": "random", "rotation_deg": 10.0},
        "ours: alternating flip, shift 0.06": {},
        "the standard recipe's": {
            "rotation_deg": 15.0, "scale": 0.2, "shift": 0.12, "contrast": 0.3, "erasing": 0.4,
        },
    },
    "other networks": {
        "ours, 64, 128, 256": {"widths": (64, 128, 256), "sizes_px": (48,)},
        "the notebook's network": {
            "network": "notebook",
            "stem": "learned",
            "sizes_px": (48,),
            **_ADAMW,
        },
        "resnet18, from scratch": {"network": "resnet18", "sizes_px": (48,), **_ADAMW},
        "vgg11_bn, from scratch": {"network": "vgg11_bn", "sizes_px": (48,), **_ADAMW},
    },
}  # fmt: skip
_LONG: Final = "augmentation in a longer training"
_LARGE: Final = "other networks"
"""The group whose trainings are so long that they get one seed and fewer epochs."""

_LINE: Final = "{:38} {:>10} {:>22} {:>22} {:>7} {:>7}"


@dataclass(frozen=True)
class Score:
    """What one training reached."""

    parameters: int
    accuracy: float
    macro_f1: float
    wall_s: float
    cpu_s: float


def main() -> None:
    """Read the options, train what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="where the trainings are kept")
    parser.add_argument("--group", choices=list(ROWS), action="append", help="default: all")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--long-epochs", type=int, default=20)
    parser.add_argument("--large-epochs", type=int, default=2)
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    add_write_option(parser)
    options = parser.parse_args()
    tune_malloc()
    dataset = load_data(options.data)
    everything = {}
    for group in options.group or ROWS:
        with publish(f"ablations: {group}", write=options.write):
            everything[group] = compare(group, dataset, options)
    if options.write and everything.keys() == ROWS.keys():
        draw(everything, options, RESULTS.parent / "parameters.png")


def compare(group: str, dataset: Dataset, options: argparse.Namespace) -> dict[str, list[Score]]:
    """Train and print one group of rows."""
    large = group == _LARGE
    n_seeds = 1 if large else options.seeds
    epochs = {_LONG: options.long_epochs, _LARGE: options.large_epochs}.get(group, options.epochs)
    n_images = len(dataset.select("public").labels)
    print_header(f"{group}, {epochs} epochs")
    seeds = "1 seed" if large else f"{n_seeds} seeds; mean, smallest and largest"
    print(f"public, plain, n = {n_images:,}, {seeds}")
    print(
        f"{'':38} {'parameters':>10} {'accuracy':>22} {'macro F1':>22} {'s wall':>7} {'s CPU':>7}"
    )
    scores = {}
    for name, changes in ROWS[group].items():
        scores[name] = [
            run(dataset, {**_BASE, **changes, "epochs": epochs, "seed": seed}, options)
            for seed in range(n_seeds)
        ]
        print(describe(name, scores[name]))
    return scores


def run(dataset: Dataset, values: dict[str, Any], options: argparse.Namespace) -> Score:
    """Return what one training reached, trained now, gone on with, or finished before."""
    config = build_config(values)
    words = sorted(f"{key}={value}" for key, value in values.items() if value != _BASE.get(key))
    folder = RunFolder(options.output / "_".join(words).replace(" ", ""))
    if not is_finished(folder):
        train(dataset, config, folder, data=options.data)
    kept = folder.path / "ablation.json"
    if not kept.exists():
        model = find_model(str(folder.path))
        scores = evaluate(open_runtime(model), model, dataset, "public").result.scores
        write_json(kept, {"accuracy": scores.accuracy, "macro_f1": scores.macro_f1})
    result = read_run_record(folder.path).result
    if result is None:
        message = f"{folder.path} is not finished"
        raise RuntimeError(message)
    return Score(wall_s=result.duration_s, cpu_s=result.cpu_s,
                 parameters=result.parameters, **json.loads(kept.read_text()))  # fmt: skip


def describe(name: str, scores: list[Score]) -> str:
    """Return a row of the table."""

    def spread(values: list[float]) -> str:
        return f"{statistics.mean(values):.1%} ({min(values):.1%}-{max(values):.1%})"

    accuracy = spread([score.accuracy for score in scores])
    macro_f1 = spread([score.macro_f1 for score in scores])
    wall_s = statistics.mean(score.wall_s for score in scores)
    cpu_s = statistics.mean(score.cpu_s for score in scores)
    return _LINE.format(
        name, f"{scores[0].parameters:,}", accuracy, macro_f1, f"{wall_s:.0f}", f"{cpu_s:.0f}"
    )


def draw(
    everything: dict[str, dict[str, list[Score]]], options: argparse.Namespace, path: Path
) -> None:
    """Draw parameters against accuracy, a point for each training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for group, epochs, marker in (
        ("size of our CNN", options.epochs, "o"),
        (_LARGE, options.large_epochs, "s"),
    ):
        rows = everything[group]
        points = [score for scores in rows.values() for score in scores]
        x, y = zip(*((score.parameters, 100 * score.accuracy) for score in points), strict=True)
        axes.plot(x, y, marker, label=f"{group}, {epochs} epochs")
        for name, scores in rows.items():
            place = (scores[0].parameters, 100 * max(score.accuracy for score in scores))
            # Left of the points, but for the million, whose neighbor stands there.
            ha, offset_pt = ("left", 8) if 1e6 < scores[0].parameters < 3e6 else ("right", -8)
            axes.annotate(
                name, place, xytext=(offset_pt, -3), textcoords="offset points", fontsize=8, ha=ha
            )
    axes.set(xscale="log", xlabel="parameters", ylabel="accuracy on public, plain, %")
    axes.margins(x=0.2, y=0.15)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
