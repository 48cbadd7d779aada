"""How a configuration refuses: with everything that is wrong at once."""

from __future__ import annotations

from fercli.errors import ConfigError

__all__ = ["raise_on"]


def raise_on(problems: list[str]) -> None:
    """Do nothing without problems.

    Raises:
        ConfigError: There are some; all are in it.
    """
    if problems:
        raise ConfigError(*problems)
