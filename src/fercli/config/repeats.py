"""The same training several times."""

from __future__ import annotations

from dataclasses import dataclass

from fercli.config.options import check_fields, option, raise_on

__all__ = ["RepeatConfig"]


@dataclass(frozen=True, kw_only=True)
class RepeatConfig:
    """How often a training is repeated, and what differs."""

    seeds: int = option(
        0,
        low=2,
        high=1000,
        off=0,
        flag="--seeds",
        metavar="N",
        help="Train N times, each with the next seed, and show mean, spread and interval.",
        details="0 trains once. With `members` seeds are so far apart that no two networks share "
        "one.",
    )
    folds: int = option(
        0,
        low=2,
        high=100,
        off=0,
        flag="--folds",
        metavar="N",
        help="Cross-validate: train N times, each without one fold of train, and score that fold.",
        details="Folds are stratified by label, and copies of an image share one. `split_seed` "
        "draws them; the epoch is selected on `validation` as usual, never on the fold.",
    )

    def __post_init__(self) -> None:
        """Check both; see `ConfigError.problems`."""
        problems = check_fields(self)
        if self.seeds and self.folds:
            problems.append("seeds and folds are two ways to repeat a training: give one of them")
        raise_on(problems)

    @property
    def kind(self) -> str:
        """`seeds` or `folds`; empty where nothing is repeated."""
        return "seeds" if self.seeds else "folds" if self.folds else ""
