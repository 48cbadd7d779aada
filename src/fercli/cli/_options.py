"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DataOption", "DeviceOption", "ForceOption", "ModelArgument", "OutputFolderOption"]

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
        envvar="FERCLI_DEVICE",
        help="Where to compute. Default: auto, the fastest that is there.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite what is already there.")]
ModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help="A run folder, a .safetensors or an .onnx. Default: the newest finished run under "
        "./runs.",
    ),
]
OutputFolderOption = Annotated[
    Path | None, typer.Option("--output", metavar="DIR", help="Write pictures and tables there.")
]
