"""Training throughput: images/s with everything a step does, and where a step's time goes.

python benchmarks/train_throughput.py [--recipe fast] [--size 48] [--steps 30] [--set KEY=VALUE]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from _report import print_header, read_peak_mib

from fercli.data import build_synthetic
from fercli.networks import build_network, count_parameters, initialize
from fercli.recipes import find_recipe
from fercli.settings import build_config, parse_setting
from fercli.training import resolve_config
from fercli.training.loop import LabeledImages, prepare_batch, take_step
from fercli.training.state import build_state


def measure_peak(dtype: torch.dtype) -> float:
    """Return the best of three products of 2048 x 2048 matrices, GFLOP/s."""
    left = torch.ones(2048, 2048, dtype=dtype)
    best = 0.0
    for _ in range(4):
        start = time.perf_counter()
        torch.mm(left, left)
        best = max(best, 2 * 2048**3 / (time.perf_counter() - start) / 1e9)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--size", type=int, default=48, help="side of the images in pixels")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args()
    values = dict(map(parse_setting, options.settings))
    config = resolve_config(build_config(values, base=find_recipe(options.recipe)))
    device = torch.device(config.device)
    network = build_network(config.model, 7)
    initialize(network, torch.Generator().manual_seed(0))
    state = build_state(network, config, device)
    drawn = build_synthetic(2000)
    split = LabeledImages(
        torch.from_numpy(drawn.images).to(device),
        torch.from_numpy(drawn.labels.astype(np.int64)).to(device),
    )
    batch = torch.arange(config.batch_size, device=device)
    first = torch.zeros(config.batch_size, dtype=torch.bool, device=device)
    preparing, stepping = [], []
    for _ in range(options.steps + 3):
        times = [time.perf_counter()]
        pixels = prepare_batch(state, split.images[batch], first, config, options.size)
        _synchronize(device)
        times.append(time.perf_counter())
        take_step(state, pixels, split.labels[batch], config)
        _synchronize(device)
        times.append(time.perf_counter())
        preparing.append(times[1] - times[0])
        stepping.append(times[2] - times[1])
    data_s, step_s = statistics.median(preparing[3:]), statistics.median(stepping[3:])
    print_header(f"training throughput, {options.recipe} at {options.size} px on {device}")
    print(f"network: {config.model.network}, {count_parameters(network):,} parameters")
    print(f"precision {config.precision}, batch {config.batch_size}, n = {options.steps} steps")
    rate = config.batch_size / (data_s + step_s)
    print(f"images/s: {rate:,.0f} with augmentation, {config.batch_size / step_s:,.0f} without")
    print(f"data path: {data_s * 1000:.1f} ms, {data_s / (data_s + step_s):.1%} of the step")
    if device.type == "cpu":
        peaks = {name: measure_peak(kind) for name, kind in _KINDS.items()}
        print("matrix product: " + ", ".join(f"{v:.0f} GFLOP/s {k}" for k, v in peaks.items()))
    print(f"peak memory {read_peak_mib():.0f} MiB")


_KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
