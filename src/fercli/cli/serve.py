"""`fer serve`: expressions in the browser and over HTTP."""

from __future__ import annotations

import os
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fercli.cli._command import register
from fercli.cli._display import print_pairs
from fercli.cli._options import PhotoModelOption, build_parameters, drop_untyped
from fercli.cli._output import Outcome, Output, warn_if_synthetic
from fercli.config import ServeConfig, list_options
from fercli.names import count
from fercli.results import ServeResult, to_json
from fercli.signals import name_signal

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.serve import Listener

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "serve", fields=build_parameters(list_options(ServeConfig)))(serve_command)


def serve_command(
    output: Output,
    *,
    model: PhotoModelOption = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    **typed: Any,  # noqa: ANN401  # the options that fields of the configuration declare
) -> Outcome:
    """Classify faces in the browser and over HTTP, on this machine.

    The page reads photos and the camera; programs send images to /api/predict and get the rows of
    `fer predict --json`. Pictures are not sent on, stored or logged. The service runs until Ctrl-C
    or SIGTERM, then finishes the requests in progress. PyTorch is not imported; the extra `serve`
    must be installed.

    Exit status: 2 bad options, host or port, 4 model missing or refused, 5 the extra is missing,
    130, 143 or 129 stopped by Ctrl-C, SIGTERM or a closed terminal.

    Examples:
      fer serve
      fer serve --open --model tiny
      fer serve --port 0 --max-images 4
    """
    from fercli.serve import ServedModels, listen, serve

    given = drop_untyped(typed)
    if "token" not in given and os.environ.get("FERCLI_TOKEN"):
        given["token"] = os.environ["FERCLI_TOKEN"]
    config = ServeConfig(**given)
    with listen(config) as listener:
        models = ServedModels(model)
        if models.remark:
            output.note(models.remark)
        warn_if_synthetic(output, models.open(models.default).metadata)

        def tell() -> None:
            _tell_address(output, listener)
            if open_page:
                _open_browser(listener.url_with_token)

        started = perf_counter()
        service, signal_number = serve(listener, models, on_ready=tell)
    message = f"stopped by {name_signal(signal_number)}"
    output.note(message)
    result = ServeResult(
        url=listener.url,
        model=models.default,
        n_requests=service.n_answered,
        n_faces=service.n_faces,
        duration_s=perf_counter() - started,
    )

    def show(console: Console) -> None:
        answered = count(result.n_requests, "request")
        print_pairs(console, {"answered": f"{answered}, {count(result.n_faces, 'face')}"})

    errors = [{"code": "interrupted", "message": message, "hint": ""}]
    return Outcome(to_json(result), show, errors=errors, signal_number=signal_number)


def _tell_address(output: Output, listener: Listener) -> None:
    """Say where the page is, and what it means where others can reach it."""
    if listener.is_open:
        output.warn(
            f"others can reach this service at {listener.address}, port {listener.config.port}, by "
            "plain HTTP: anyone with the token can send pictures, and anyone who listens on the "
            "network can read them"
        )
    if listener.token_is_drawn:
        # Said even to the quiet: nobody else knows it.
        output.warn(f"the token, random for this run: {listener.config.token}")
    output.note(
        f"serving on {listener.url_with_token if listener.token_is_drawn else listener.url}"
    )
    output.note("stop it with Ctrl-C")


def _open_browser(url: str) -> None:
    """Open a page; where there is no browser, the address has been said."""
    import webbrowser

    webbrowser.open(url)
