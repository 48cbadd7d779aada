"""Who this process is among those that torch's launcher started; torch is not needed to know."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["RUN_ID_PREFIX", "has_speaker", "read_launch"]

RUN_ID_PREFIX: Final = "fercli-"
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
    return os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(RUN_ID_PREFIX)
