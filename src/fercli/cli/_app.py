"""The command line, put together."""

from __future__ import annotations

from types import ModuleType

import typer

from fercli.cli import (
    check,
    compare,
    demo,
    download,
    evaluate,
    explain,
    export,
    info,
    merge,
    models,
    predict,
    prepare,
    serve,
    train,
)
from fercli.cli._command import FerGroup, VersionOption, keep_lines

__all__ = ["app"]

app = typer.Typer(
    name="fer",
    cls=FerGroup,
    no_args_is_help=True,
    # Plain help is quick (Rich is not imported) and the same on every terminal.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    # Commands inherit it.
    context_settings={"help_option_names": ["--help", "-h"]},
)


def root(*, version: VersionOption = False) -> None:
    """Facial expression recognition: prepare FER2013, train, evaluate, export, predict.

    Start with:
      fer demo                           run the loop on synthetic faces, offline
      fer data download                  download FER2013 and prepare it
      fer data prepare fer2013.csv       prepare your own copy instead
      fer data check                     find copies, leaks and contradictions
      fer train --recipe fast            train in minutes on a laptop
      fer evaluate                       score the newest run
      fer compare runs/a runs/b          compare two models on the same images
      fer predict faces/ photo.jpg       classify expressions in crops and photos
      fer merge parts --output all.csv   join what several machines predicted
      fer serve --open                   predict in the browser and over HTTP
      fer explain face.png               show which parts of a face matter
    """


def show_group(*, version: VersionOption = False) -> None:
    """Stand before the commands of a group, so that it has `-V`, too."""


def add_group(name: str, about: str, *modules: ModuleType) -> None:
    """Add commands that are typed after a common word."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)
    group.callback(help=about)(show_group)
    for one in modules:
        one.add_to(group)
    app.add_typer(group, name=name)


app.callback(help=keep_lines(root.__doc__ or ""))(root)
add_group("data", "Get, prepare and check datasets.", download, prepare, check)
add_group("models", "List the models and face detectors; download detectors.", models)
for module in (train, evaluate, compare, export, predict, merge, serve, explain, info, demo):
    module.add_to(app)
