"""What this machine offers, and what is wrong with it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from dataclasses import replace
from pathlib import Path
from typing import Final

import fercli
from fercli.dependencies import FULL, LITE, find_distributions, import_onnxruntime, is_left_out
from fercli.errors import DependencyMissingError, FercliError
from fercli.paths import find_default_dataset
from fercli.results import Device, Paths

__all__ = [
    "find_devices",
    "find_missing_kernels",
    "find_paths",
    "find_providers",
    "find_versions",
    "name_processor",
]

_LIBRARIES: Final = (
    "torch",
    "torchvision",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "numpy",
    "pandas",
    "scikit-learn",
    "matplotlib",
    "pillow",
    "safetensors",
    "typer",
    "rich",
    "platformdirs",
    "kagglehub",
    "opencv-python-headless",
)
_MODULES: Final = {"scikit-learn": "sklearn"}
"""Modules whose names are not their libraries'."""
_ARCHITECTURE: Final = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")
"""What `torch.cuda.get_arch_list` has of NVIDIA's: `sm_90`, `sm_100`, `compute_120`, `sm_90a`."""


def find_versions(problems: list[str]) -> dict[str, str | None]:
    """Return the versions of fercli, Python and the libraries, None of those not installed.

    Args:
        problems: Gets a sentence for each thing that is wrong.
    """
    versions: dict[str, str | None] = {
        "fercli": fercli.__version__,
        "python": platform.python_version(),
    }
    packages = find_distributions()
    versions |= {name: version for name, version in packages.items() if name == LITE}
    if len(packages) > 1:
        problems.append(
            f"{FULL} and {LITE} are both installed, and removing one breaks the other: "
            f"pip uninstall {FULL} {LITE}, then install one of them"
        )
    for name in _LIBRARIES:
        if is_left_out(_MODULES.get(name, name)):
            continue
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
            problems.append(f"{name} is not installed")
    return versions


def find_devices(problems: list[str]) -> tuple[Device, ...]:
    """Return what a network can run on; the processors alone where there is no torch.

    Args:
        problems: Gets a sentence for each thing that is wrong.
    """
    cpu = Device(device="cpu", name=name_processor(), cores=os.cpu_count())
    try:
        import torch
    except (ImportError, OSError) as reason:
        if not is_left_out("torch"):
            problems.append(f"torch cannot be imported ({reason}): no training")
        return (cpu,)
    devices = [replace(cpu, threads=torch.get_num_threads())]
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        devices.append(Device(device=f"cuda:{index}", name=torch.cuda.get_device_name(index)))
        problems.extend(filter(None, [find_missing_kernels(index)]))
    if torch.backends.mps.is_available():
        devices.append(Device(device="mps", name="Apple GPU"))
    try:
        import torchvision  # noqa: F401  # whether it can be imported is the question
    except ModuleNotFoundError as reason:
        problems.append(f"torchvision cannot be imported ({reason}): no torchvision networks")
    except (ImportError, RuntimeError, OSError) as reason:
        text = " ".join(str(reason).split())
        problems.append(f"torchvision does not fit this torch ({text}): install both together")
    return tuple(devices)


def name_processor() -> str:
    """Return what this machine's processor is called; its architecture where nothing says more."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def find_providers(problems: list[str]) -> tuple[str, ...]:
    """Return what onnxruntime can run on.

    Args:
        problems: Gets a sentence where it is nothing.
    """
    try:
        onnxruntime = import_onnxruntime()
    except DependencyMissingError as reason:
        problems.append(f"{reason.message}: no ONNX models ({reason.hint})")
        return ()
    return tuple(onnxruntime.get_available_providers())


def find_paths(problems: list[str]) -> Paths:
    """Return where fercli looks for data.

    Args:
        problems: Gets a sentence where it cannot be told.
    """
    try:
        dataset = find_default_dataset()
    except FercliError as error:
        problems.append(error.message)
        return Paths()
    there = str(dataset) if dataset.exists() else None
    return Paths(data_home=str(dataset.parent), dataset=there)


def find_missing_kernels(index: int) -> str | None:
    """Return a sentence where this torch cannot compute on a CUDA device, else None.

    A kernel built for compute capability X.y runs on X.z where z >= y; code to be compiled at run
    time (PTX) runs on anything younger.

    Args:
        index: Of the device.
    """
    import torch

    capability = torch.cuda.get_device_capability(index)
    # ROCm calls its architectures otherwise, and is not judged.
    built = [_ARCHITECTURE.fullmatch(name) for name in torch.cuda.get_arch_list()]
    kernels = [(one[1], (int(one[2]), int(one[3])), one[4]) for one in built if one]
    for kind, target, only in kernels:
        fits = target <= capability and (kind == "compute" or target[0] == capability[0])
        if target == capability or (fits and only != "a"):
            return None
    if not kernels:
        return None
    versions = ", ".join(dict.fromkeys(f"{major}.{minor}" for _, (major, minor), _ in kernels))
    return (
        f"this torch has no kernels for cuda:{index} ({torch.cuda.get_device_name(index)}): its "
        f"compute capability is {capability[0]}.{capability[1]}, that of the kernels {versions}"
    )
