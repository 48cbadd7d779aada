"""What was typed of a training, and the configuration that it asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fercli.cli._configuration import merge_config, read_data
from fercli.config import find_batch_misfit
from fercli.errors import ConfigError, FercliError
from fercli.settings import build_config, parse_setting

if TYPE_CHECKING:
    from fercli.config import TrainConfig

__all__ = ["TrainRequest", "choose_config", "choose_data", "find_changes", "resolve_path"]


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What was typed of a training."""

    data: str | None
    """`--data`."""
    recipe: str | None
    """`--recipe`."""
    config: Path | None
    """`--config`."""
    settings: list[str]
    """Every `--set`."""
    options: dict[str, Any]
    """The options that stand for a field of the configuration."""
    folder: Path | None
    """`--output`."""
    processes: int | None
    """`--processes`."""
    force: bool
    """`--force`."""


def find_changes(request: TrainRequest, own: dict[str, Any], processes: int) -> list[str]:
    """Return the names of what would change a run that is gone on with."""
    never = {"recipe": request.recipe, "config": request.config, "output": request.folder}
    fields = {**dict(map(parse_setting, request.settings)), **request.options}
    if fields.get("teacher"):
        fields["teacher"] = _resolve_teachers(fields["teacher"])
    if fields.get("pretrained_weights"):
        fields["pretrained_weights"] = resolve_path(str(fields["pretrained_weights"]))
    refused = [name for name, value in never.items() if value is not None]
    # Saying again what the run was begun with changes nothing.
    refused += [name for name, value in fields.items() if value not in {own[name], "auto"}]
    return refused + (["processes"] if request.processes not in {None, processes} else [])


def choose_config(request: TrainRequest) -> TrainConfig:
    """Return the configuration that was request for, its files named for good."""
    try:
        chosen = merge_config(request.config, request.recipe, request.settings, request.options)
    except ConfigError as error:
        # Everything that is wrong is said at once, what only the data can tell included.
        misfits = _find_misfits(choose_data(request)[0], request.settings, request.options)
        problems = dict.fromkeys((*error.problems, *misfits))
        raise ConfigError(*problems, hint=error.hint) from None
    lasting = {
        "teacher": _resolve_teachers(chosen.distillation.teacher),
        "pretrained_weights": resolve_path(chosen.transfer.pretrained_weights) or "",
    }
    return build_config(lasting, base=chosen)


def choose_data(request: TrainRequest) -> tuple[str | None, str | None]:
    """Return the data to train on, and the digest that it had for a run that is repeated.

    A `run.json` that is given as the configuration names the data, too; `--data` goes before it.
    """
    if request.data is not None or request.config is None:
        return request.data, None
    return read_data(request.config)


def _find_misfits(data: str | None, settings: list[str], options: dict[str, Any]) -> list[str]:
    """Return how a batch size that was typed does not fit the data.

    Only data that is at hand is looked at, prepared or drawn, and without torch: a typing error
    must not cost the reading of an archive.
    """
    from fercli.data import load_data, parse_synthetic
    from fercli.paths import find_default_dataset

    path = Path(data) if data is not None else find_default_dataset()
    batch_size = options.get("batch_size")
    for text in settings:
        with contextlib.suppress(ConfigError):
            key, value = parse_setting(text)
            batch_size = value if key == "batch_size" and batch_size is None else batch_size
    try:
        at_hand = path.suffix == ".safetensors" or parse_synthetic(data or "") is not None
        if not batch_size or not at_hand:
            return []
        n_images = len(load_data(data).select("train").labels)
    except FercliError:
        return []
    return find_batch_misfit(batch_size, n_images)


def _resolve_teachers(teachers: Sequence[str]) -> tuple[str, ...]:
    """Return teachers as they will still be right from another folder; bundled names stay."""
    from fercli.model_files import list_bundled

    bundled = list_bundled()
    return tuple(one if one in bundled else str(Path(one).resolve()) for one in teachers)


def resolve_path(data: str | None) -> str | None:
    """Return the name of a source as it will still be right from another folder."""
    return str(Path(data).resolve()) if data and Path(data).exists() else data
