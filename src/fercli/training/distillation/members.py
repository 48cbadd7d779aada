"""Train the members of an ensemble, each a whole run of its own within the run they teach in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from fercli.errors import RunFailedError, RunInterruptedError
from fercli.runs import RunFolder

if TYPE_CHECKING:
    from fercli.config import TrainConfig

__all__ = ["train_members"]


def train_members(
    config: TrainConfig,
    run: RunFolder,
    note: Callable[[str], None],
    train_one: Callable[[TrainConfig, RunFolder], object],
    is_done: Callable[[RunFolder], bool],
) -> list[str]:
    """Train what is missing of the members.

    Args:
        config: Of the whole; member i has its seed plus i and no teacher.
        run: The run that they will teach in.
        note: Told which member it is.
        train_one: Trains, or goes on with, one run.
        is_done: Tells whether a run needs no training any more.

    Returns:
        The folders of the members.

    Raises:
        RunFailedError: As `train_one`; says which member it was.
        RunInterruptedError: Likewise.
    """
    part = config.distillation
    folders = []
    for number in range(1, config.distillation.members + 1):
        folder = RunFolder(run.members / f"{number}")
        folders.append(str(folder.path))
        if is_done(folder):
            continue
        left_out = (part.members, number) if part.cross_fit else (0, 0)
        alone = dataclasses.replace(
            part,
            members=0,
            cross_fit=False,
            consistent_teaching=False,
            folds=left_out[0],
            fold=left_out[1],
        )
        member = dataclasses.replace(config, seed=config.seed + number, distillation=alone)
        which = f"member {number} of {config.distillation.members}"
        note(f"{which}, seed {member.seed}")
        try:
            train_one(member, folder)
        except RunInterruptedError as reason:
            message = f"{which}: {reason.message}"
            hint = f"go on with it: fer train --resume {run.path}"
            raise RunInterruptedError(
                message, signal_number=reason.signal_number, hint=hint
            ) from None
        except RunFailedError as reason:
            message = f"{which}: {reason.message}"
            raise RunFailedError(message, hint=reason.hint) from None
    return folders
