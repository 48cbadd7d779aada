"""Training throughput: images/s with everything a step does, and where a step's time goes.

The share of the peak sets all floating-point work of a step, the optimizer's products included,
against a product of 2048 x 2048 matrices in the same run.

python benchmarks/train_throughput.py [--recipe fast] [--size 48] [--steps 30] [--set KEY=VALUE]
    [--write]
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from _report import add_write_option, print_header, publish, read_peak_mib
from torch.utils.flop_counter import FlopCounterMode

from fercli.data import build_synthetic
from fercli.networks import build_network, count_parameters, initialize
from fercli.recipes import find_recipe
from fercli.settings import build_config, parse_setting
from fercli.training import resolve_config, tune_malloc
from fercli.training.ema import pair_floats, update_average
from fercli.training.loss import build_criterion, count_labels
from fercli.training.state import build_state
from fercli.training.step import LabeledImages, prepare_batch, take_step

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.training.state import TrainingState


def measure_peak(dtype: torch.dtype, device: torch.device) -> float:
    """Return the best of four products of 2048 x 2048 matrices, GFLOP/s."""
    left = torch.ones(2048, 2048, dtype=dtype, device=device)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(left, left)
        _synchronize(device)
        best = max(best, 2 * 2048**3 / (time.perf_counter() - start) / 1e9)
    return best


def build(config: TrainConfig) -> tuple[TrainingState, LabeledImages]:
    """Return a training before its first step, and synthetic faces to step over."""
    device = torch.device(config.device)
    network = build_network(config.model, 7)
    initialize(network, torch.Generator().manual_seed(0))
    drawn = build_synthetic(2000)
    split = LabeledImages(
        torch.from_numpy(drawn.images).to(device),
        torch.from_numpy(drawn.labels.astype(np.int64)).to(device),
        n_labels=7,
    )
    return build_state(network, config, device), split


def time_steps(
    state: TrainingState, split: LabeledImages, config: TrainConfig, size_px: int, n_steps: int
) -> tuple[dict[str, float], float]:
    """Return the median seconds of each part of a step, and the step's floating-point work."""
    batch = torch.arange(config.batch_size, device=state.device)
    first = torch.zeros(config.batch_size, dtype=torch.bool, device=state.device)
    criterion = build_criterion(config, count_labels(split.labels, split.n_labels))
    average = state.average
    floats = None if average is None else pair_floats(average, state.network)
    times: list[float] = []

    def mark(*_arguments: object) -> None:
        _synchronize(state.device)
        times.append(time.perf_counter())

    def step() -> None:
        pixels = prepare_batch(state, split.images[batch], first, config, size_px)
        mark()
        take_step(state, pixels, split.labels[batch], config, criterion)
        if floats is not None:
            update_average(*floats, config.optimization, 5)

    state.network.register_forward_hook(mark)
    state.optimizer.register_step_pre_hook(mark)
    state.optimizer.register_step_post_hook(mark)
    spent: dict[str, list[float]] = {part: [] for part in _PARTS}
    for _ in range(n_steps + _WARM_UP):
        times.clear()
        mark()
        step()
        mark()
        for part, before, after in zip(_PARTS, times, times[1:], strict=False):
            spent[part].append(after - before)
    with FlopCounterMode(display=False) as counter:
        step()
    medians = {part: statistics.median(values[_WARM_UP:]) for part, values in spent.items()}
    return medians, counter.get_total_flops()


def main() -> None:
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--size", type=int, default=48, help="side of the images in pixels")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    add_write_option(parser)
    options = parser.parse_args()
    tune_malloc()
    section = f"throughput of {options.recipe} at {options.size} px"
    with publish(section, write=options.write):
        report(options)


def report(options: argparse.Namespace) -> None:
    """Time some steps and print where their time goes."""
    values = dict(map(parse_setting, options.settings))
    config = resolve_config(build_config(values, base=find_recipe(options.recipe)))
    state, split = build(config)
    medians, work = time_steps(state, split, config, options.size, options.steps)
    whole_s = sum(medians.values())
    print_header(f"training throughput, {options.recipe} at {options.size} px on {state.device}")
    print(f"network: {config.model.network}, {count_parameters(state.network):,} parameters")
    print(f"precision {config.precision}, batch {config.batch_size}, n = {options.steps} steps")
    rate = config.batch_size / whole_s
    bare = config.batch_size / (whole_s - medians["data path"])
    print(f"images/s: {rate:,.0f} with augmentation, {bare:,.0f} without")
    for part, median_s in medians.items():
        print(f"  {part}: {median_s * 1000:.1f} ms, {median_s / whole_s:.1%} of the step")
    peaks = {name: measure_peak(kind, state.device) for name, kind in _KINDS.items()}
    print("matrix product: " + ", ".join(f"{v:,.0f} GFLOP/s {k}" for k, v in peaks.items()))
    achieved = work / whole_s / 1e9
    kind = config.precision if config.precision in peaks else "fp32"
    print(f"the step: {achieved:,.0f} GFLOP/s, {achieved / peaks[kind]:.0%} of that in {kind}")
    print(f"peak memory {read_peak_mib():.0f} MiB")


_KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}
_PARTS = ("data path", "forward", "loss and backward", "optimizer", "average")
_WARM_UP = 3


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
