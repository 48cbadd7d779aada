"""What a shell completes where a value is expected; torch is not imported for it."""

from __future__ import annotations

from pathlib import Path

from fercli.runs import RUNS
from fercli.settings import OPTIONS

__all__ = ["complete_model", "complete_run", "complete_setting", "complete_split"]


def complete_run() -> list[str]:
    """Return the runs under `./runs`."""
    return sorted(str(record.parent) for record in Path(RUNS).glob("*/run.json"))


def complete_model() -> list[str]:
    """Return the bundled models and the runs; a shell completes files where none fits."""
    from fercli.model_files import list_bundled

    return [*list_bundled(), *complete_run()]


def complete_split() -> list[str]:
    """Return the usual splits; data of one's own may have others."""
    return ["train", "public", "private", "test", "validation"]


def complete_setting(incomplete: str) -> list[str]:
    """Return the keys of `--set`, each with its `=`, and once one is typed, its values."""
    name, equals, _ = incomplete.partition("=")
    if equals and name in OPTIONS:
        return [f"{name}={value}" for value in OPTIONS[name].values]
    return [f"{one.name}=" for one in OPTIONS.values() if not one.is_internal]
