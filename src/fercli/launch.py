"""Several processes of one training: start them through torch's launcher, and which one this is.

torch is needed to start them and not to know.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fercli.errors import ConfigError, DeviceUnavailableError, RunFailedError

if TYPE_CHECKING:
    import torch

__all__ = ["check_group_device", "check_processes", "has_speaker", "launch", "read_launch"]

_RUN_ID_PREFIX: Final = "fercli-"
"""How `fer train --processes` begins the name that torch's launcher hands to its processes."""


def read_launch() -> tuple[int, int]:
    """Return which process this is, from 0, and of how many that torch's launcher started.

    0 of 1 where nobody launched anything; a cluster's own variables of like names do not count.
    """
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if not all(os.environ.get(name) for name in names):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def has_speaker() -> bool:
    """Return whether `fer train --processes` started this process, and will say who died."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(_RUN_ID_PREFIX)


def check_processes(n_processes: int, device: str) -> None:
    """Refuse more processes than there are devices for.

    Args:
        n_processes: On this machine.
        device: What the configuration asks for, resolved.

    Raises:
        ConfigError: More than the processor has cores, or the device is one that they cannot share.
        DeviceUnavailableError: More than there are GPUs.
    """
    import torch

    kind = torch.device(device)
    if n_processes > 1:
        check_group_device(kind)
    n_gpus = torch.cuda.device_count()
    if kind.type == "cuda" and n_processes > n_gpus:
        message = f"{n_processes} processes need a GPU each, and this machine has {n_gpus}"
        raise DeviceUnavailableError(message, hint=f"give --processes {n_gpus}, or --device cpu")
    n_cores = os.cpu_count() or 1
    if kind.type != "cuda" and n_processes > n_cores:
        message = f"{n_processes} processes are more than this machine's {n_cores} cores"
        raise ConfigError(message, hint=f"give --processes {n_cores} or less")


def check_group_device(device: torch.device) -> None:
    """Refuse a device that several processes cannot share out, one each.

    Raises:
        ConfigError: It is one GPU.
    """
    if device.type == "mps" or (device.type == "cuda" and device.index is not None):
        message = f"several processes need a device each, and {device} is a single one"
        hint = "give --device cuda" if device.type == "cuda" else "give --device cpu, or 1 process"
        raise ConfigError(message, hint=hint)


def launch(words: Sequence[str], n_processes: int, run: Path) -> int:
    """Run a command of fercli's in some processes, which find out that they are many.

    They write to stdout and stderr themselves, the leading one the result.

    Args:
        words: What is typed after `fer`.
        n_processes: How many, on this machine.
        run: Their run folder, for the messages.

    Returns:
        The exit status they agree on.

    Raises:
        RunFailedError: One of them died without a word.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Its messages are about its own workings, in many lines.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    threads = max(1, (os.cpu_count() or 1) // n_processes)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=n_processes,
        run_id=f"{_RUN_ID_PREFIX}{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "fercli", *words)
    except SignalException as reason:
        # The leading process has said so, and where the state is, as it would alone.
        return 128 + int(reason.sigval)
    except ChildFailedError as reason:
        # Who was killed says nothing; who failed in our own words has said it already.
        failures = reason.failures.values()
        first = min(failures, key=lambda failure: (failure.exitcode > 0, failure.timestamp))
        if first.exitcode > 0:
            return int(first.exitcode)
        name = signal.Signals(-first.exitcode).name
        message = f"process {first.local_rank} of {n_processes} died ({name})"
        hint = f"go on from the last state: fer train --resume {run}"
        raise RunFailedError(message, hint=hint) from None
    return 0
