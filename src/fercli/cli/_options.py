"""Options that several commands share, declared once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fercli.config import DEVICES, is_device_name
from fercli.errors import ConfigError

__all__ = [
    "DataOption",
    "DeviceOption",
    "ForceOption",
    "ModelArgument",
    "OutputFolderOption",
    "SplitOption",
    "choose_device_name",
]

DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SOURCE",
        help="A prepared dataset, any source that `fer data prepare` reads, or synthetic[:N]. "
        "Default: the prepared dataset in the data home.",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|cuda:N|mps",
        help="Where to compute. Default: FERCLI_DEVICE, else auto, the fastest that is there.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite what is already there.")]
ModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help="A run folder, a .safetensors, an .onnx or a bundled model. Default: the newest "
        "finished run under ./runs, else base.",
    ),
]
OutputFolderOption = Annotated[
    Path | None, typer.Option("--output", metavar="DIR", help="Write pictures and tables there.")
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="SPLIT",
        help="The split to score. Default: the first there is of private, test, public, "
        "validation.",
    ),
]


def choose_device_name(option: str | None) -> str:
    """Return the device asked for: the option's, else the environment's, else `auto`.

    Raises:
        ConfigError: It is no device's name.
    """
    name = option or os.environ.get("FERCLI_DEVICE") or "auto"
    if not is_device_name(name):
        message = f"device must be one of {', '.join(DEVICES)}, not {name!r}"
        raise ConfigError(message)
    return name
