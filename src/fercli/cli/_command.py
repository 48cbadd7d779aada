"""How a function becomes a command: common options, errors to statuses, one writer.

Every command gets `--json`, `-q`, `-v`, `--no-color` and `-V` here, so that none can lack them. A
command takes an `Output` first, raises `FercliError` for what a user can act on, and returns an
`Outcome`; whatever else escapes is a bug and shows its traceback.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from fercli import __version__
from fercli.cli._exit import ExitStatus
from fercli.cli._help import FerCommand
from fercli.cli._output import Outcome, Output, close_stdout, write_stderr
from fercli.dependencies import FULL, LITE, check_installed, explain_missing, is_left_out, is_there
from fercli.errors import FercliError, RunFailedError
from fercli.names import safe_name, shorten
from fercli.results import build_envelope

__all__ = ["FerGroup", "VersionOption", "keep_lines", "register"]


def _show_version(wanted: bool) -> None:  # noqa: FBT001  # Typer calls it with the option's value
    if wanted:
        typer.echo(f"fer {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version", "-V", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
]
_COMMON: Final = {
    "json_output": Annotated[
        bool, typer.Option("--json", help="Write exactly one JSON object to stdout.")
    ],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Say less on stderr.")],
    "verbose": Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            show_default=False,
            help="Show tracebacks of errors; -vv adds debug logs.",
        ),
    ],
    "no_color": Annotated[
        bool, typer.Option("--no-color", help="Never use colors; same as setting NO_COLOR.")
    ],
    "version": VersionOption,
}
_DEFAULTS: Final = {
    "json_output": False, "quiet": False, "verbose": 0, "no_color": False, "version": False,
}  # fmt: skip

_UsageError: Final[type[Exception]] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""Typer's own class for wrong usage; it exports only its children."""


_LITE_EPILOG: Final = (
    f"This is {LITE}: predict, serve, info, models, data prepare and data check work. "
    f"The other commands need fercli: pip install {FULL}, in a separate environment."
)


class FerGroup(TyperGroup):
    """The root: turns usage errors into our sentences, statuses and JSON."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  # Typer's are private
        """Say at the end of the help what `fercli-lite` does."""
        super().format_epilog(ctx, formatter)
        # Where torch is there, as most often, this is all that is looked at.
        if not is_there("torch") and is_left_out("torch"):
            formatter.write_paragraph()
            formatter.write_text(_LITE_EPILOG)

    def main(  # type: ignore[override]  # the base spells out arguments that we hand on
        self,
        args: Sequence[str] | None = None,
        *,
        standalone_mode: bool = True,
        **extra: Any,  # noqa: ANN401  # whatever the base class takes
    ) -> Any:  # noqa: ANN401  # as the base class
        """Run the command line; see the base class."""
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **extra)
        words = list(sys.argv[1:] if args is None else args)
        try:
            status = super().main(args, standalone_mode=False, **extra)
        except _UsageError as error:
            status = _report_usage_error(error, words)
        except typer.Abort:
            status = ExitStatus.INTERRUPTED
        except SystemExit as error:
            # The base class answers a broken pipe with status 1.
            broken = isinstance(error.__context__, BrokenPipeError)
            status = ExitStatus.DONE if broken else error.code
        except OSError as reason:
            # Help and version are written before a command of ours begins.
            write_stderr(f"error: nothing can be written to stdout ({reason.strerror})\n")
            close_stdout()
            status = ExitStatus.RUN_FAILED
        sys.exit(status if isinstance(status, int) else 0)


def register(
    app: typer.Typer,
    name: str,
    *,
    group: str = "",
    fields: Sequence[inspect.Parameter] = (),
    needs: Sequence[str] = (),
) -> Callable[..., Any]:
    """Return a decorator that adds a function to an app as a command.

    Args:
        app: Where to.
        name: What is typed.
        group: The words before it, for messages and the envelope.
        fields: Options that fields of a configuration declare, for the function's `**typed`.
        needs: Modules without which it is refused before it begins.
    """

    def decorate(function: Callable[..., Outcome]) -> Callable[..., Outcome]:
        app.command(name, cls=FerCommand)(_wrap(function, f"{group} {name}".strip(), fields, needs))
        return function

    return decorate


def keep_lines(docstring: str) -> str:
    """Return a docstring as help whose lists (a word and a colon, then lines) are not rewrapped."""
    return re.sub(r"^(\w[\w ]*:)$", "\b\n\\1", inspect.cleandoc(docstring), flags=re.MULTILINE)


def _wrap(
    function: Callable[..., Outcome],
    command: str,
    fields: Sequence[inspect.Parameter],
    needs: Sequence[str],
) -> Callable[..., None]:
    signature = inspect.signature(function, eval_str=True)
    own = [
        item
        for item in signature.parameters.values()
        if item.annotation is not Output and item.kind is not inspect.Parameter.VAR_KEYWORD
    ]

    @functools.wraps(function)
    def run(**values: Any) -> None:  # noqa: ANN401  # the options of any command
        common = {key: values.pop(key) for key in _COMMON}
        output = Output(
            command=command,
            json=common["json_output"],
            verbosity=-1 if common["quiet"] else common["verbose"],
            color=not (common["no_color"] or os.environ.get("NO_COLOR")),
        )
        output.start_logging()
        status = _run(function, output, values, needs)
        if status:
            raise typer.Exit(status)

    keyword = inspect.Parameter.KEYWORD_ONLY
    extra = [
        inspect.Parameter(key, keyword, annotation=kind, default=_DEFAULTS[key])
        for key, kind in _COMMON.items()
    ]
    parameters = [*(item.replace(kind=keyword) for item in own), *fields, *extra]
    # Typer reads both: the signature for defaults, the annotations for types.
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]  # read by inspect
        parameters=parameters, return_annotation=None
    )
    run.__annotations__ = {item.name: item.annotation for item in parameters}
    del run.__wrapped__
    run.__doc__ = keep_lines(function.__doc__ or "")
    return run


def _run(
    function: Callable[..., Outcome],
    output: Output,
    values: dict[str, Any],
    needs: Sequence[str],
) -> int:
    try:
        check_installed(*needs)
        outcome = function(output, **values)
        status = output.show(outcome)
    except FercliError as error:
        return output.fail(error)
    except BrokenPipeError:
        close_stdout()
        return ExitStatus.DONE
    except ImportError as reason:
        missing = (reason.name or "").partition(".")[0]
        if missing in {"", "fercli"}:
            raise
        failure: FercliError = explain_missing(missing, reason)
        failure.__cause__ = reason
        return output.fail(failure)
    except OSError as reason:
        # A full disk, a folder that may not be written: nothing that a traceback would explain.
        place = str(reason.filename or "")
        place = str(Path(place).parent) if place.endswith(".tmp") else place
        words = reason.strerror or str(reason)
        failure = RunFailedError(f"{place}: {words}" if place else words)
        failure.__cause__ = reason
        return output.fail(failure)
    except KeyboardInterrupt:
        return _report_interrupt(output)
    return status


def _report_interrupt(output: Output) -> int:
    output.warn("interrupted")
    if output.json:
        errors = [{"code": "interrupted", "message": "interrupted", "hint": ""}]
        status = ExitStatus.INTERRUPTED
        output.write_json(build_envelope(output.command, "error", status, {}, errors))
    return ExitStatus.INTERRUPTED


def _find_in_groups(context: Any, words: Sequence[str]) -> str:  # noqa: ANN401  # as below
    """Return the whole command where the word before it was left out: `fer data prepare`."""
    word = next((one for one in words if not one.startswith("-")), "")
    groups = getattr(context.command, "commands", {}) if context else {}
    return next(
        (f"fer {name} {word}" for name, group in groups.items()
         if word in getattr(group, "commands", {})),
        "",
    )  # fmt: skip


def _find_example(context: Any) -> str:  # noqa: ANN401  # Typer's is private
    """Return the first example of a command's help."""
    lines = (context.command.help or "").partition("Examples:\n")[2].splitlines()
    return lines[0].strip() if lines else ""


def _report_usage_error(error: Any, words: list[str]) -> int:  # noqa: ANN401  # Typer's is private
    """Say what was wrong with the words typed, as an error of ours is said."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        with contextlib.suppress(OSError):
            error.show()
        return ExitStatus.USAGE
    path = context.command_path if context else "fer"
    command = path.partition(" ")[2]
    message = shorten(" ".join(error.format_message().split()))
    hint = f"see {path} --help"
    if message.startswith("No such command") and (longer := _find_in_groups(context, words)):
        hint = f"{longer}; {hint}"
    if type(error).__name__ == "MissingParameter" and (example := _find_example(context)):
        hint = f"{example}, for example; {hint}"
    output = Output(command=command, json="--json" in words)
    write_stderr(f"error: {safe_name(message)}\nhint: {hint}\n")
    if output.json:
        errors = [{"code": "usage", "message": message, "hint": hint}]
        output.write_json(build_envelope(command, "error", ExitStatus.USAGE, {}, errors))
    return ExitStatus.USAGE
