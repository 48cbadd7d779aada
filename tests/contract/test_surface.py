"""The whole surface that scripts depend on, against `tests/golden/`.

A change here is one that users notice: `pytest tests/contract/test_surface.py --update-golden`
writes the files anew, and the review reads the difference.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import pytest
from typer.models import ArgumentInfo, OptionInfo

import fercli
from fercli.cli import app
from fercli.cli._exit import ExitStatus
from fercli.cli._help import GROUPS

if TYPE_CHECKING:
    import typer

GOLDEN = Path(__file__).parents[1] / "golden"


def list_commands(group: typer.Typer, words: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Return every command and group with what is typed for it."""
    if group.registered_callback and group.registered_callback.callback:
        yield words, group.registered_callback.callback
    for command in group.registered_commands:
        if command.callback:
            yield f"{words} {command.name}", command.callback
    for inner in group.registered_groups:
        if inner.typer_instance:
            yield from list_commands(inner.typer_instance, f"{words} {inner.name}")


def name_kind(kind: Any) -> str:
    if get_origin(kind) is None:
        return "none" if kind is type(None) else str(kind.__name__)
    parts = " or ".join(map(name_kind, get_args(kind)))
    return f"list of {parts}" if get_origin(kind) is list else parts


def describe_parameter(item: inspect.Parameter) -> str:
    kind, info = get_args(item.annotation)
    assert isinstance(info, (OptionInfo, ArgumentInfo))
    # In an annotation Typer takes the first word of an option for its default.
    words = [word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str)]
    flag = "argument" if isinstance(info, ArgumentInfo) else f"--{item.name.replace('_', '-')}"
    metavar = f" {info.metavar}" if info.metavar else ""
    needed = item.default is inspect.Parameter.empty
    default = "required" if needed else f"default {item.default!s}"
    return f"  {' '.join(words) or flag}{metavar}: {name_kind(kind)}, {default}"


def describe_commands() -> str:
    lines = []
    for words, callback in sorted(list_commands(app, "fer")):
        parameters = inspect.signature(callback, eval_str=True).parameters.values()
        lines += [words, *map(describe_parameter, parameters), ""]
    return "\n".join(lines)


def describe_statuses() -> str:
    return "".join(f"{status.value} {status.name}\n" for status in ExitStatus)


def describe_names() -> str:
    return "".join(f"fercli.{name}\n" for name in sorted(fercli.__all__))


@pytest.mark.parametrize(
    ("name", "describe"),
    [
        ("commands.txt", describe_commands),
        ("exit-statuses.txt", describe_statuses),
        ("names.txt", describe_names),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_surface_is_as_recorded(
    name: str, describe: Callable[[], str], request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--update-golden"):
        (GOLDEN / name).write_text(describe(), encoding="utf-8")

    assert describe() == (GOLDEN / name).read_text(encoding="utf-8"), __doc__


def test_the_reference_page_is_current() -> None:
    script = Path(__file__).parents[2] / "scripts" / "write_reference.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_help_groups_name_options_that_there_are() -> None:
    callbacks = dict(list_commands(app, "fer"))

    for command, groups in GROUPS.items():
        typed = {
            word.strip("-:")
            for item in inspect.signature(
                callbacks[f"fer {command}"], eval_str=True
            ).parameters.values()
            for word in describe_parameter(item).split()
            if word.startswith("--")
        }
        named = [name for names in groups.values() for name in names]
        assert set(named) <= typed
        assert len(set(named)) == len(named)
