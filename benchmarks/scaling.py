"""What a step of training takes in one process and in two, and what that would make of 64 GPUs.

Measured: the processor's seconds of a step whose batch is shared by 1 to 64 processes, of one of
them, without the others (the data path is the whole batch's in each of them, by design); of two
real processes, which average their gradients and norms through gloo; and the time of their
collectives alone. Modeled, from assumptions that are options: a GPU's speed, a link's bandwidth
and the latency of a collective. No GPU is measured.

python benchmarks/scaling.py [--recipe standard] [--steps 5] [--tflops 20] [--gbytes 25]
    [--latency-us 30] [--write]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from _report import add_write_option, measure, print_header, publish
from torch import distributed, nn
from torch.utils.flop_counter import FlopCounterMode

from fercli.data import build_synthetic
from fercli.networks import build_network, count_parameters, initialize
from fercli.recipes import find_recipe
from fercli.settings import build_config
from fercli.training import resolve_config
from fercli.training.distributed import Group, join_group
from fercli.training.loss import build_criterion, count_labels
from fercli.training.state import TrainingState, build_state
from fercli.training.step import LabeledImages, prepare_batch, take_step

if TYPE_CHECKING:
    from fercli.config import TrainConfig

SIZES = (1, 2, 4, 8, 16, 32, 64)
CPU = torch.device("cpu")


def main() -> None:
    """Measure here, or as one of two processes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--recipe", default="standard")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--tflops", type=float, default=20, help="that a GPU reaches in a step")
    parser.add_argument("--gbytes", type=float, default=25, help="a second, of each GPU's link")
    parser.add_argument("--latency-us", type=float, default=30, help="of a collective's each hop")
    parser.add_argument("--one-of-two", action="store_true", help=argparse.SUPPRESS)
    add_write_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = resolve_config(build_config({"device": "cpu", "precision": "fp32"},
                                         base=find_recipe(options.recipe)))  # fmt: skip
    if options.one_of_two:
        with join_group(CPU, "") as group:
            report_share(config, group, options.steps)
        return
    with publish("training on many", write=options.write):
        print_header(f"a step of {options.recipe}, one thread in each process")
        report(config, options)


def report(config: TrainConfig, options: argparse.Namespace) -> None:
    """Print what was measured, then what is made of it."""
    state, split = build(config, Group(0, 1))
    n_parameters = count_parameters(state.network)
    n_norms = sum(isinstance(one, nn.BatchNorm2d) for one in state.network.modules())
    print(f"{n_parameters:,} parameters, {n_norms} norms, batch {config.batch_size}")
    data_s, step_s, work = 0.0, 0.0, 0
    for size in SIZES:
        state.group = Group(0, size)
        data, rest = time_step(state, split, config, options.steps)
        if size == 1:
            data_s, step_s = data, data + rest
            with FlopCounterMode(display=False) as counter:
                time_step(state, split, config, 1)
            work = counter.get_total_flops()
        print(f"one of {size:>2}: data path {1e3 * data:.1f} ms, the rest {1e3 * rest:.1f} ms of "
              f"CPU; without communication {step_s / (data + rest):.1f} times one")  # fmt: skip
    shares = run_two(options)
    first, second = (1e3 * share["cpu_s"] for share in shares)
    print(f"two real processes: {first:.0f} and {second:.0f} ms of CPU a step, "
          f"{(first + second) / 1e3 / step_s:.2f} times one; all-reduce through gloo: "
          f"{1e6 * shares[0]['small_s']:,.0f} us of 256 numbers, "
          f"{1e3 * shares[0]['large_s']:,.1f} ms of all gradients")  # fmt: skip
    print(f"a step's work: {work / 1e9:,.0f} GFLOP; gradients {4 * n_parameters / 1e6:.1f} MB")
    print(f"modeled: {options.tflops:g} TFLOP/s of a GPU, {options.gbytes:g} GB/s of its link, "
          f"{options.latency_us:g} us a hop; the data path's share as measured")  # fmt: skip
    for factor in (1, 16, 64):
        one_s = factor * work / (options.tflops * 1e12)
        print(f"  batch {factor * config.batch_size:,}, {1e3 * one_s:,.1f} ms on one:")
        for size in SIZES[1:]:
            data_path_s = one_s * data_s / step_s
            rest_s = (one_s - data_path_s) / size
            # Norms gather their sums forward and backward, the gradients go round once.
            hops = math.ceil(math.log2(size)) * (2 * n_norms + 1)
            waits_s = hops * options.latency_us * 1e-6
            moves_s = 2 * (size - 1) / size * 4 * n_parameters / (options.gbytes * 1e9)
            total_s = data_path_s + rest_s + waits_s + moves_s
            print(f"    {size:>2}: {1e3 * total_s:8.2f} ms = data path {1e3 * data_path_s:.2f} + "
                  f"rest {1e3 * rest_s:.2f} + latencies {1e3 * waits_s:.2f} + gradients "
                  f"{1e3 * moves_s:.2f}; {one_s / total_s:.1f} times one")  # fmt: skip


def build(config: TrainConfig, group: Group) -> tuple[TrainingState, LabeledImages]:
    """Return a training before its first step, and faces to step over."""
    network = build_network(config.model, 7)
    initialize(network, torch.Generator().manual_seed(0))
    drawn = build_synthetic(2000)
    images, labels = drawn.images[: config.batch_size], drawn.labels[: config.batch_size]
    split = LabeledImages(
        torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)), n_labels=7
    )
    return build_state(network, config, CPU, group), split


def time_step(
    state: TrainingState, split: LabeledImages, config: TrainConfig, n_steps: int
) -> tuple[float, float]:
    """Return the least seconds of the processor of the data path and of the rest of a step."""
    first = torch.zeros(len(split.labels), dtype=torch.bool)
    criterion = build_criterion(config, count_labels(split.labels, split.n_labels))
    data, rest = [], []
    for _ in range(n_steps):
        with measure() as preparing:
            pixels = prepare_batch(state, split.images, first, config, 48)
        with measure() as stepping:
            take_step(state, pixels, split.labels, config, criterion)
        data.append(preparing.cpu_s)
        rest.append(stepping.cpu_s)
    return min(data), min(rest)


def report_share(config: TrainConfig, group: Group, n_steps: int) -> None:
    """Print, as JSON, what a step and its collectives take of this process, one of two."""
    state, split = build(config, group)
    state.wrap()
    data, rest = time_step(state, split, config, n_steps + 1)
    gradients = torch.ones(count_parameters(state.network))
    shares = group.all_gather(
        {
            "cpu_s": data + rest,
            "small_s": time_collective(lambda: distributed.all_reduce(torch.ones(256))),
            "large_s": time_collective(lambda: distributed.all_reduce(gradients)),
        }
    )
    if group.is_main:
        print(json.dumps(shares))


def time_collective(work: Callable[[], object]) -> float:
    """Return the median seconds of something that two processes do together."""
    taken = []
    for _ in range(20):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def run_two(options: argparse.Namespace) -> list[dict[str, float]]:
    """Return what two processes say of themselves."""
    words = ["--one-of-two", "--recipe", options.recipe, "--steps", str(options.steps)]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launch, __file__, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    shares: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return shares


if __name__ == "__main__":
    main()
