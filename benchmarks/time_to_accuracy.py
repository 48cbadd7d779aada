"""Time to accuracy: the `fast` recipe against the notebook's, on this machine, in one run.

The notebook's time is what its log says it needs, 19 epochs of 449 steps, at the seconds per step
measured here (fp32, default memory order). The fast side is trained in full, once per seed, and
counts every epoch with its validation. Neither side counts loading, export and pictures. Both keep
their memory, as `fer train` does.

python benchmarks/time_to_accuracy.py [--data SOURCE] [--seeds 3] [--steps 20] [--set KEY=VALUE]
    [--write]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from _report import add_write_option, print_header, publish

from fercli.data import load_data
from fercli.metrics import compute_wilson_interval
from fercli.networks import build_network, initialize
from fercli.recipes import find_recipe
from fercli.settings import build_config
from fercli.training import resolve_config, tune_malloc
from fercli.training.loss import build_criterion, count_labels
from fercli.training.state import build_state
from fercli.training.step import prepare_batch, take_step

if TYPE_CHECKING:
    from fercli.data import Dataset

SEED_STEPS = 449 * 19
"""ceil(28,709 / 64) steps an epoch, for the 19 epochs of the notebook's log."""


def measure_seed_step(dataset: Dataset, n_steps: int) -> list[float]:
    """Return the seconds of each of some steps of the notebook's recipe."""
    config = resolve_config(build_config({"device": "cpu"}, base=find_recipe("notebook")))
    train_split = dataset.select("train")
    network = build_network(config.model, len(dataset.label_names))
    initialize(network, torch.Generator().manual_seed(0))
    state = build_state(network, config, torch.device("cpu"))
    state.network.train()
    first = torch.zeros(config.batch_size, dtype=torch.bool)
    counts = count_labels(torch.from_numpy(train_split.labels), len(dataset.label_names))
    criterion = build_criterion(config, counts)
    taken = []
    for number in range(n_steps + 3):
        at = number * config.batch_size
        images = torch.from_numpy(np.array(train_split.images[at : at + config.batch_size]))
        labels = torch.from_numpy(train_split.labels[at : at + config.batch_size].astype(np.int64))
        start = time.perf_counter()
        pixels = prepare_batch(state, images, first, config, 48)
        take_step(state, pixels, labels, config, criterion)
        taken.append(time.perf_counter() - start)
    return taken[3:]


def train_fast(options: argparse.Namespace, seed: int) -> tuple[dict[str, Any], float]:
    """Run `fer train --recipe fast` as a user does; return its result and the command's seconds."""
    words = ["train", "--recipe", "fast", "--device", "cpu", "--seed", str(seed), "--json"]
    words += ["--validation", "public"]
    words += ["--data", options.data] if options.data else []
    for setting in options.settings:
        words += ["--set", setting]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "fercli", *words, "--output", f"{folder}/run"]
        start = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        result: dict[str, Any] = json.loads(done.stdout)["data"]
    return result, time.perf_counter() - start


def main() -> None:
    """Read the options, measure both sides and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=20, help="steps of the notebook's recipe to time"
    )
    parser.add_argument("--set", dest="settings", action="append", default=[])
    add_write_option(parser)
    options = parser.parse_args()
    tune_malloc()
    with publish("time to accuracy", write=options.write):
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Time a few steps of the notebook's recipe and whole trainings of the fast one."""
    dataset = load_data(options.data)
    print_header("time to accuracy, fast recipe against the notebook's, on the CPU")

    steps = measure_seed_step(dataset, options.steps)
    step_s = statistics.median(steps)
    notebook_s = step_s * SEED_STEPS
    spread = f"median of {len(steps)}, {min(steps):.3f} to {max(steps):.3f}"
    print(f"seed: {step_s:.3f} s a step ({spread})")
    print(f"seed: {notebook_s:,.0f} s for {SEED_STEPS:,} steps of 64 images")

    accuracies, durations = [], []
    n_images = len(dataset.select("public").labels)
    for seed in range(options.seeds):
        result, wall_s = train_fast(options, seed)
        accuracies.append(result["validation_accuracy"])
        durations.append(result["duration_s"])
        low, high = compute_wilson_interval(round(accuracies[-1] * n_images), n_images)
        score = f"{accuracies[-1]:.2%} on {result['validation_split']} plain"
        interval = f"{low:.2%} to {high:.2%}, n = {n_images:,}"
        spent = f"{durations[-1]:.1f} s of training, {result['cpu_s']:.1f} s CPU"
        print(f"fast ({result['epochs']} epochs), seed {seed}: {score} ({interval})")
        print(f"  {spent}; {wall_s:.1f} s for the command")
    mean_s = statistics.mean(durations)
    print(f"mean {statistics.mean(accuracies):.2%}, worst {min(accuracies):.2%}, {mean_s:.1f} s")
    print(
        f"ratio: 1/{notebook_s / mean_s:.1f} of the notebook's time, "
        f"worst 1/{notebook_s / max(durations):.1f}"
    )


if __name__ == "__main__":
    main()
