"""Blocks: consecutive inputs that an actor predicts at a time, and what comes of them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fercli.images import is_video
from fercli.prediction.chunks import pack_images
from fercli.prediction.members import holds_images
from fercli.prediction.sources import Member, Others
from fercli.prediction.stores import StoredObject
from fercli.prediction.writers import key_path

if TYPE_CHECKING:
    from fercli.errors import FercliError
    from fercli.prediction.answers import FilePrediction
    from fercli.prediction.summary import PredictionSummary

__all__ = ["Answer", "Block", "Source", "cut_blocks"]

Source = Path | Member | StoredObject
"""A file, the content of one, or an object of a store, which is read where it is predicted."""
_BLOCK_INPUTS: Final = 256
"""Files in a block: half a second of face crops, against some ten milliseconds to hand it out."""
_BLOCK_FULL: Final = 8
"""Chunks that ended for their bytes, a MiB each at least, after which a block ends, too."""


@dataclass(frozen=True)
class Block:
    """What an actor predicts at a time."""

    number: int
    """Of all blocks of a command."""
    sources: tuple[Source, ...]
    """Consecutive inputs."""
    done: frozenset[str] = frozenset()
    """Those of an archive's that have their rows, as `key_path` gives them."""


@dataclass
class Answer:
    """What comes of a block."""

    predictions: list[FilePrediction] = field(default_factory=list)
    n_passed: int = 0
    """Inputs of an archive that had their rows."""
    others: Others = field(default_factory=Others)
    failure: FercliError | None = None
    """Why there is nothing; not raised there, where Ray would take it for a defect."""


def cut_blocks(
    sources: Iterable[Source],
    batch_size: int,
    done: Collection[str],
    summary: PredictionSummary,
) -> Iterator[Block]:
    """Yield the inputs that have no rows yet, in blocks that end where `predict_files` ends chunks.

    A video is a block of its own, since what is said of a frame depends on those before; so is an
    archive, which is read in one go.

    Args:
        sources: All inputs.
        batch_size: As `PredictConfig`.
        done: Inputs that have their rows, as `key_path` gives them.
        summary: Counts those that are passed over.
    """
    within = _group_by_archive(done)
    numbers = itertools.count()

    def is_left(source: Source) -> bool:
        is_done = bool(done) and key_path(str(source)) in done and not _is_packed(source)
        summary.n_resumed += is_done
        return not is_done

    for is_alone, group in itertools.groupby(filter(is_left, sources), _stands_alone):
        if is_alone:
            for source in group:
                name = key_path(str(source))
                own = {*within.get(name, ()), *([name] if name in done else [])}
                yield Block(next(numbers), (source,), frozenset(own))
            continue
        block: list[Source] = []
        n_full = 0
        for chunk in pack_images(group, batch_size):
            block += chunk
            n_full += len(chunk) < batch_size
            if len(block) >= _BLOCK_INPUTS or n_full >= _BLOCK_FULL:
                yield Block(next(numbers), tuple(block))
                block, n_full = [], 0
        if block:
            yield Block(next(numbers), tuple(block))


def _group_by_archive(done: Collection[str]) -> dict[str, set[str]]:
    """Return names of members by what may be the name of their archive."""
    within: dict[str, set[str]] = {}
    # Members are called so on every system.
    mark = "!/"
    for name in done:
        at = name.find(mark)
        while at >= 0:
            within.setdefault(name[:at], set()).add(name)
            at = name.find(mark, at + 1)
    return within


def _is_packed(source: Source) -> bool:
    return not isinstance(source, Member) and holds_images(source)


def _stands_alone(source: Source) -> bool:
    return _is_packed(source) or (isinstance(source, Path) and is_video(source))
