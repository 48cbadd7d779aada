"""Where to compute, and in which precision."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import torch

from fercli.environment import find_missing_kernels
from fercli.errors import DeviceUnavailableError

__all__ = ["choose_device", "choose_precision", "find_passed_over", "full_fp32", "name_device"]


def choose_device(name: str) -> torch.device:
    """Return a device that is there.

    Args:
        name: `auto` (CUDA where this torch has kernels for it, else Apple's MPS, else the CPU),
            `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        DeviceUnavailableError: The device asked for is not there, or this torch cannot compute on
            it; a CPU never stands in for it.
    """
    if name == "auto":
        if torch.cuda.is_available() and not find_passed_over(name):
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        _check_cuda(device)
    elif device.type == "mps" and not torch.backends.mps.is_available():
        message = "there is no MPS device (Apple GPU) here"
        raise DeviceUnavailableError(message, hint="use --device cpu or --device auto")
    return device


def find_passed_over(name: str) -> str | None:
    """Return a sentence where `auto` passes over a CUDA device that this torch cannot use."""
    return find_missing_kernels(0) if name == "auto" and torch.cuda.is_available() else None


def choose_precision(name: str, device: torch.device) -> str:
    """Return `fp32`, `bf16` or `fp16`; `auto` becomes what computes faster on the device.

    NVIDIA GPUs multiply bf16 in hardware from compute capability 8.0 on, fp16 from 7.0 on.
    A CPU has to multiply bf16 matrices in hardware: with AMX, or with AVX512-BF16 unless it is
    Intel's, where those instructions run at half the speed of fp32 (measured;
    docs/explanation/log.md). Timing it here was tried and rejected: on a busy machine the same
    command would choose now one, now the other.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return _choose_cuda_precision(device)
    return "bf16" if device.type == "cpu" and _is_cpu_faster_in_bf16() else "fp32"


def name_device(device: torch.device) -> str:
    """Return a device's name for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)" if device.type == "cpu" else "mps"


@contextmanager
def full_fp32(device: torch.device) -> Iterator[None]:
    """Let convolutions of fp32 on a CUDA device be in fp32 within the block.

    By default cuDNN rounds what goes into them to TF32, whose ten bits of mantissa change answers.
    """
    if device.type != "cuda":
        yield
        return
    with _TF32.forbid():
        yield


class _TF32:
    """cuDNN's TF32, a setting of the process: the last thread that forbids it puts it back."""

    _lock: ClassVar = threading.Lock()
    _n_threads: ClassVar = 0
    _before: ClassVar = ""

    @classmethod
    @contextmanager
    def forbid(cls) -> Iterator[None]:
        convolution = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # made at import
        with cls._lock:
            if not cls._n_threads:
                cls._before, convolution.fp32_precision = convolution.fp32_precision, "ieee"
            cls._n_threads += 1
        try:
            yield
        finally:
            with cls._lock:
                cls._n_threads -= 1
                if not cls._n_threads:
                    convolution.fp32_precision = cls._before


def _check_cuda(device: torch.device) -> None:
    hint = "use --device cpu, or --device auto to take what there is"
    if not torch.cuda.is_available():
        message = "there is no CUDA device here, or its driver does not fit this torch"
        raise DeviceUnavailableError(message, hint=hint)
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        message = f"{device} is not there: this machine has {count} CUDA devices"
        raise DeviceUnavailableError(message, hint=hint)
    missing = find_missing_kernels(device.index or 0)
    if missing:
        hint = "use --device cpu, or a torch that was built for it, from pytorch.org"
        raise DeviceUnavailableError(missing, hint=hint)


def _choose_cuda_precision(device: torch.device) -> str:
    capability = torch.cuda.get_device_capability(device)
    if torch.version.hip or capability >= (8, 0):
        return "bf16"
    return "fp16" if capability >= (7, 0) else "fp32"


def _is_cpu_faster_in_bf16() -> bool:
    """Tell from what Linux says of the processor; elsewhere fp32 is the safe answer."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    words = {
        word for line in lines if line.startswith(("flags", "vendor_id")) for word in line.split()
    }
    return "amx_bf16" in words or ("avx512_bf16" in words and "GenuineIntel" not in words)
