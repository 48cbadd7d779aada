"""Where to compute, and in which precision."""

from __future__ import annotations

from pathlib import Path

import torch

from fercli.errors import DeviceUnavailableError

__all__ = ["choose_device", "choose_precision", "name_device"]


def choose_device(name: str) -> torch.device:
    """Return a device that is there.

    Args:
        name: `auto` (CUDA, else Apple's MPS, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        DeviceUnavailableError: The device asked for is not there; a CPU never stands in for it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        _check_cuda(device)
    elif device.type == "mps" and not torch.backends.mps.is_available():
        message = "there is no MPS device (Apple GPU) here"
        raise DeviceUnavailableError(message, hint="use --device cpu or --device auto")
    return device


def choose_precision(name: str, device: torch.device) -> str:
    """Return `fp32`, `bf16` or `fp16`; `auto` becomes what computes faster on the device.

    A CPU has to multiply bf16 matrices in hardware: with AMX, or with AVX512-BF16 unless it is
    Intel's, where those instructions run at half the speed of fp32 (measured;
    docs/explanation/log.md). Timing it here was tried and rejected: on a busy machine the same
    command would choose now one, now the other.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and _is_cpu_faster_in_bf16() else "fp32"


def name_device(device: torch.device) -> str:
    """Return a device's name for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)" if device.type == "cpu" else "mps"


def _check_cuda(device: torch.device) -> None:
    hint = "use --device cpu, or --device auto to take what there is"
    if not torch.cuda.is_available():
        message = "there is no CUDA device here, or its driver does not fit this torch"
        raise DeviceUnavailableError(message, hint=hint)
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        message = f"{device} is not there: this machine has {count} CUDA devices"
        raise DeviceUnavailableError(message, hint=hint)


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
