"""What the actors of a cluster have to know, and what rows come of."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fercli.errors import ConfigError
from fercli.prediction.parts import Origin

if TYPE_CHECKING:
    from fercli.config import PredictConfig
    from fercli.inference import Runtime
    from fercli.model_files import ModelFile

__all__ = ["ACTOR_THREADS", "RayJob"]

ACTOR_THREADS: Final = 2
"""Of an actor with one processor: while one waits for a file, the other computes."""


@dataclass(frozen=True, kw_only=True)
class RayJob:
    """What every actor needs to know; small, and pickled."""

    model: str
    """A bundled model's name, or an absolute path."""
    device: str
    """`cpu` or `cuda`, which gives each actor a GPU."""
    labels_of: str | None
    """As `load`."""
    config: PredictConfig
    """What to look for, and with which weights of a detector here."""
    weights: Path | None
    """Those that somebody named; actors have the others themselves."""
    endings: frozenset[str]
    """Of the files that are taken from archives; all images where there are none."""
    origin: Origin
    """What rows come of here, and have to come of there."""
    folder: Path
    """Where relative paths start."""
    node: str = ""
    """The machine that has the list, as Ray calls it."""
    n_threads: int = ACTOR_THREADS

    @classmethod
    def describe(  # noqa: PLR0913  # all that rows come of
        cls,
        found: ModelFile,
        runtime: Runtime,
        config: PredictConfig,
        *,
        device: str,
        weights: Path | None = None,
        labels_of: str | None = None,
        endings: Collection[str] = (),
        for_excel: bool = False,
    ) -> RayJob:
        """Return what actors need.

        Args:
            found: The model.
            runtime: It, open on this machine.
            config: What to look for.
            device: `auto` and `cpu` compute on processors, `cuda` on a GPU for each actor.
            weights: Of a detector, as somebody named them.
            labels_of: As `load`.
            endings: Of the files that are taken from archives.
            for_excel: Whether rows go into a CSV for spreadsheets.

        Raises:
            ConfigError: It is another device.
        """
        kind = "cpu" if device == "auto" else device
        if kind not in {"cpu", "cuda"}:
            message = f"Ray assigns processors and GPUs: --device must be cpu or cuda, not {device}"
            raise ConfigError(message)
        origin = Origin.describe(
            found.title, found.compute_digest(), runtime, config,
            labels_of=labels_of, excel=for_excel, ext=sorted(endings), device=kind,
        )  # fmt: skip
        return cls(
            model=found.bundled or str(found.path.resolve()), device=kind, labels_of=labels_of,
            config=config, weights=weights, endings=frozenset(endings), origin=origin,
            folder=Path.cwd(),
        )  # fmt: skip
