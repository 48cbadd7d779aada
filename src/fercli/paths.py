"""Where fercli keeps prepared data, and where paths begin."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Final

from fercli.errors import DependencyMissingError
from fercli.ranges import find_alike

__all__ = ["describe_start", "find_data_home", "find_default_dataset", "suggest_path"]

_MOST_NAMES: Final = 10_000
"""Of a folder's files that are looked at for one of a name alike."""


def find_data_home() -> Path:
    """Return the folder of prepared data: `FERCLI_HOME`, else the platform's data folder.

    Raises:
        DependencyMissingError: `FERCLI_HOME` is unset and platformdirs is not installed.
    """
    configured = os.environ.get("FERCLI_HOME")
    if configured:
        return Path(configured)
    try:
        import platformdirs
    except ImportError:
        message = "platformdirs is not installed, so the data folder is unknown"
        raise DependencyMissingError(message, hint="set FERCLI_HOME, or give --data") from None
    return Path(platformdirs.user_data_dir("fercli", appauthor=False))


def find_default_dataset() -> Path:
    """Return where `fer data prepare` puts its dataset without `--output`."""
    return find_data_home() / "fer2013.safetensors"


def suggest_path(path: Path | str) -> str:
    """Return the name that a path which is not there may be mistyped for, else `describe_start`."""
    path = Path(path)
    try:
        with os.scandir(path.parent) as found:
            names = [entry.name for entry in itertools.islice(found, _MOST_NAMES)]
    except (OSError, ValueError):
        return describe_start(path)
    alike = find_alike(path.name, sorted(names))
    return f"did you mean {str(path.with_name(alike))!r}?" if alike else describe_start(path)


def describe_start(path: Path | str) -> str:
    """Return where a path that is not there was looked for; nothing where the path says it."""
    if Path(path).is_absolute():
        return ""
    try:
        return f"it was looked for in the current folder, {Path.cwd()}"
    except OSError:
        # Somebody has deleted it.
        return ""
