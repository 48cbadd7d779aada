"""What of an installation works: the models, the detectors, the extras, the disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from fercli.dependencies import EXTRAS, is_left_out, is_there, name_distribution
from fercli.detectors import DETECTORS, find_weights
from fercli.environment import find_devices, find_paths, find_providers, find_versions
from fercli.errors import DependencyMissingError, FercliError
from fercli.model_files import find_model, list_bundled, read_metadata
from fercli.paths import find_data_home
from fercli.results import EnvironmentResult

__all__ = ["examine"]

_LEAST_FREE_BYTES: Final = 2**30
"""Below it a training with its checkpoints, or a download, may not fit."""


def examine() -> EnvironmentResult:
    """Return what this machine and this installation offer, and what is wrong with them."""
    problems: list[str] = []
    return EnvironmentResult(
        versions=find_versions(problems),
        devices=find_devices(problems),
        providers=find_providers(problems),
        paths=find_paths(problems),
        models=_examine_models(problems),
        detectors=_examine_detectors(problems),
        extras=_examine_extras(),
        free_bytes=_examine_disks(problems),
        problems=tuple(problems),
    )


def _examine_extras() -> dict[str, bool]:
    """Return of each extra that this package has whether all of it is installed."""
    states = {name: all(map(is_there, modules)) for name, modules in EXTRAS.items()}
    return {
        name: there
        for name, there in states.items()
        if there or not any(map(is_left_out, EXTRAS[name]))
    }


def _examine_models(problems: list[str]) -> dict[str, bool]:
    """Return of each bundled model whether it is the one that came with this fercli."""
    whole = {}
    for name in list_bundled():
        try:
            read_metadata(find_model(name))
            whole[name] = True
        except DependencyMissingError:
            # Told once already, of the environment.
            whole[name] = False
        except FercliError as reason:
            problems.append(f"{reason.message}: {reason.hint}")
            whole[name] = False
    if not whole:
        again = f"pip install --force-reinstall {name_distribution()}"
        problems.append(f"no bundled model is installed: {again}")
    return whole


def _examine_detectors(problems: list[str]) -> dict[str, bool]:
    """Return of each face detector whether it can be used now."""
    usable = {"haar": is_there("cv2")}
    for name, weights in DETECTORS.items():
        try:
            usable[name] = weights.path.is_file() and bool(find_weights(name))
        except FercliError as reason:
            problems.append(f"{reason.message}: {reason.hint}")
            usable[name] = False
    return usable


def _examine_disks(problems: list[str]) -> dict[str, int]:
    """Return the free bytes where datasets and where runs are written."""
    places = {"runs": Path.cwd()}
    try:
        home = find_data_home()
    except FercliError as reason:
        problems.append(reason.message)
    else:
        there = (folder for folder in (home, *home.absolute().parents) if folder.is_dir())
        places["data_home"] = next(there, places["runs"])
    free = {}
    for name, folder in places.items():
        try:
            free[name] = shutil.disk_usage(folder).free
        except OSError as reason:
            problems.append(f"{folder} cannot be looked at ({reason.strerror})")
            continue
        if free[name] < _LEAST_FREE_BYTES:
            place = "set FERCLI_HOME to another disk" if name == "data_home" else "use --output"
            problems.append(f"only {free[name] / 2**20:.0f} MiB are free at {folder}: {place}")
    return free
