"""Where fercli keeps prepared data, and where paths begin."""

from __future__ import annotations

import os
from pathlib import Path

from fercli.errors import DependencyMissingError

__all__ = ["describe_start", "find_data_home", "find_default_dataset"]


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


def describe_start(path: Path | str) -> str:
    """Return where a path that is not there was looked for; nothing where the path says it."""
    if Path(path).is_absolute():
        return ""
    try:
        return f"it was looked for in the current folder, {Path.cwd()}"
    except OSError:
        # Somebody has deleted it.
        return ""
