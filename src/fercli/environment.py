"""What this machine offers, and what is wrong with it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any, Final

import fercli
from fercli.dependencies import import_onnxruntime
from fercli.errors import DependencyMissingError, FercliError
from fercli.paths import find_default_dataset

__all__ = ["describe_environment"]

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


def describe_environment() -> dict[str, Any]:
    """Return versions, devices, providers, paths and problems, as plain JSON values."""
    problems: list[str] = []
    versions: dict[str, str | None] = {
        "fercli": fercli.__version__,
        "python": platform.python_version(),
    }
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
            problems.append(f"{name} is not installed")
    return {
        "versions": versions,
        "devices": _find_devices(problems),
        "providers": _find_providers(problems),
        "paths": _find_paths(problems),
        "problems": problems,
    }


def _find_devices(problems: list[str]) -> list[dict[str, Any]]:
    cpu = {"device": "cpu", "name": platform.processor() or platform.machine()}
    devices = [{**cpu, "cores": os.cpu_count()}]
    try:
        import torch
    except (ImportError, OSError) as reason:
        problems.append(f"torch cannot be imported ({reason}): no training")
        return devices
    devices[0]["threads"] = torch.get_num_threads()
    devices.extend(
        {"device": f"cuda:{index}", "name": torch.cuda.get_device_name(index)}
        for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    )
    if torch.backends.mps.is_available():
        devices.append({"device": "mps", "name": "Apple GPU"})
    try:
        import torchvision  # noqa: F401  # whether it can be imported is the question
    except ModuleNotFoundError as reason:
        problems.append(f"torchvision cannot be imported ({reason}): no networks of it")
    except (ImportError, RuntimeError, OSError) as reason:
        text = " ".join(str(reason).split())
        problems.append(f"torchvision does not fit this torch ({text}): install both together")
    return devices


def _find_providers(problems: list[str]) -> list[str]:
    try:
        onnxruntime = import_onnxruntime()
    except DependencyMissingError as reason:
        problems.append(f"{reason.message}: no ONNX models ({reason.hint})")
        return []
    providers: list[str] = onnxruntime.get_available_providers()
    return providers


def _find_paths(problems: list[str]) -> dict[str, Any]:
    try:
        dataset = find_default_dataset()
    except FercliError as error:
        problems.append(error.message)
        return {}
    return {
        "data_home": str(dataset.parent),
        "dataset": str(dataset) if dataset.exists() else None,
    }
