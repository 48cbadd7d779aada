"""The command line, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from fercli import __version__
from fercli.cli import (
    check,
    compare,
    demo,
    download,
    evaluate,
    explain,
    export,
    info,
    models,
    predict,
    prepare,
    train,
)
from fercli.cli._command import FerGroup, keep_lines

__all__ = ["app"]

app = typer.Typer(
    name="fer",
    cls=FerGroup,
    no_args_is_help=True,
    # Plain help is quick (Rich is not imported) and the same on every terminal.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001  # Typer calls it with the option's value
    if wanted:
        typer.echo(f"fer {__version__}")
        raise typer.Exit


def root(
    *,
    version: Annotated[  # the callback does it
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Facial expression recognition: prepare FER2013, train, evaluate, export, predict.

    Start with:
      fer demo                           the whole loop on synthetic faces, offline
      fer data download                  get FER2013 and make a dataset of it
      fer data prepare fer2013.csv       the same of your own copy
      fer data check                     copies, leaks and contradictions in it
      fer train --recipe fast            train in minutes on a laptop
      fer evaluate                       score the newest run
      fer compare runs/a runs/b          two models on the same images
      fer predict faces/ photo.jpg       tell expressions of faces in crops and photos
      fer explain face.png               where on a face an answer comes from
    """


app.callback(help=keep_lines(root.__doc__ or ""))(root)
data = typer.Typer(
    help="Get, prepare and check datasets.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
for module in (download, prepare, check):
    module.add_to(data)
app.add_typer(data, name="data")
others = typer.Typer(
    help="List the models and detectors that can be had, and fetch them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
models.add_to(others)
app.add_typer(others, name="models")
for module in (train, evaluate, compare, export, predict, explain, info, demo):
    module.add_to(app)
