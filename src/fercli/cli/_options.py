"""Options that several commands share, and those that fields of the configuration declare."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fercli.config import DEVICES, Option, is_device_name
from fercli.errors import ConfigError
from fercli.runs import RUNS
from fercli.settings import OPTIONS, read_environment

__all__ = [
    "DataOption",
    "DeviceOption",
    "FiguresOption",
    "ForceOption",
    "ModelArgument",
    "OutputFolderOption",
    "PhotoModelOption",
    "ScoredDataOption",
    "SplitOption",
    "TableOption",
    "build_parameters",
    "choose_device_name",
    "complete_model",
    "complete_run",
    "complete_setting",
    "complete_split",
    "drop_untyped",
    "parse_seconds",
]


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


def build_option(one: Option, *, by_recipe: bool = False) -> Any:  # noqa: ANN401  # Typer's is private
    """Return the option of the command line that a field declares; it has a flag.

    Args:
        one: The field.
        by_recipe: Recipes change it, so its default is theirs.
    """
    declared = one.declared
    is_time = declared.get("unit") == "s"
    default = "the recipe's" if by_recipe else one.default
    defaults = [declared.get("env"), None if default in (None, (), "") else str(default)]
    ways = ", else ".join(filter(None, defaults))
    told = "" if not ways or one.kind is bool else f" Default: {ways}."
    complete = complete_model if declared.get("metavar") == "MODEL" else lambda: one.values
    return typer.Option(
        declared["flag"],
        metavar=declared.get("metavar") or "|".join(one.values) or ("TIME" if is_time else None),
        parser=parse_seconds if is_time else None,
        help=declared["help"] + told,
        autocompletion=complete if one.values or complete is complete_model else None,
    )


def parse_seconds(text: str) -> float:
    """Return a time as it is typed, `0.2`, `0.2s`, `200ms` or `1:23.5`, in seconds."""
    word = text.strip().lower()
    factor = 1.0
    if word.endswith("ms"):
        word, factor = word.removesuffix("ms"), 0.001
    *before, last = word.removesuffix("s").split(":")
    try:
        seconds = float(last) * factor
        for power, part in enumerate(reversed(before), start=1):
            seconds += int(part) * 60**power
    except ValueError:
        message = f"{text!r} is not a time; write seconds (0.2, 0.2s, 200ms) or 1:23.5"
        raise typer.BadParameter(message) from None
    return seconds


def build_parameters(
    options: Iterable[Option], by_recipe: Collection[str] = ()
) -> list[inspect.Parameter]:
    """Return the parameters of a command that fields declare; they default to None, untyped.

    Args:
        options: The fields; those without a flag are left out.
        by_recipe: Names of those that recipes change.
    """
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                list[str] | None if one.kind == tuple[str, ...] else one.kind | None,
                build_option(one, by_recipe=one.name in by_recipe),
            ],
        )
        for one in options
        if "flag" in one.declared
    ]


def drop_untyped(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were typed, those given several times as tuples."""
    typed = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return {name: value for name, value in typed.items() if value not in (None, ())}


def _build_data_option(default: str) -> Any:  # noqa: ANN401  # Typer's is private
    return typer.Option(
        "--data",
        metavar="SOURCE",
        help="A prepared dataset, any source that `fer data prepare` reads, or synthetic[:N]. "
        f"Default: {default}.",
    )


DataOption = Annotated[str | None, _build_data_option("the prepared dataset in the data home")]


ScoredDataOption = Annotated[
    str | None,
    _build_data_option("the run's training data, else the prepared dataset in the data home"),
]


DeviceOption = Annotated[str | None, build_option(OPTIONS["device"])]


ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite what is already there.")]


ModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help="A run folder, a .safetensors, an .onnx or a bundled model. Default: the newest "
        "finished run under ./runs, else base.",
        autocompletion=complete_model,
    ),
]


PhotoModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A run folder, a .safetensors, an .onnx, a bundled model, or hf:OWNER/NAME. Default: "
        "the newest finished run under ./runs, else plus.",
        autocompletion=complete_model,
    ),
]


OutputFolderOption = Annotated[
    Path | None, typer.Option("--output", metavar="DIR", help="Write pictures and tables there.")
]


FiguresOption = Annotated[
    str,
    typer.Option(
        "--figures",
        metavar="png|pdf|svg",
        help="Format of the pictures; pdf and svg are vector graphics.",
        autocompletion=lambda: ["png", "pdf", "svg"],
    ),
]


TableOption = Annotated[
    Path | None,
    typer.Option(
        "--table",
        metavar="FILE",
        help="Write the scores as a table: .tex, .md, .csv or .xlsx (extra excel).",
    ),
]


SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="SPLIT",
        help="The split to score. Default: the first that exists of private, test, public, "
        "validation.",
        autocompletion=complete_split,
    ),
]


def choose_device_name(option: str | None) -> str:
    """Return the device asked for: the option's, else the environment's, else `auto`.

    Raises:
        ConfigError: It is no device's name.
    """
    name = option or str({"device": "auto", **read_environment()}["device"])
    if not is_device_name(name):
        message = f"device must be one of {', '.join(DEVICES)}, not {name!r}"
        raise ConfigError(message)
    return name
