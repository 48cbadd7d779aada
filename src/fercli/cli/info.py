"""`fer info`: what a model holds, or what the environment offers."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fercli.cli._command import register
from fercli.cli._output import Outcome, Output
from fercli.cli._tables import print_pairs
from fercli.errors import FercliError

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.models import ModelFile

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "info")(info_command)


def info_command(
    output: Output,
    *,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A run folder, a .safetensors, an .onnx or a bundled model. Without it: the "
            "environment.",
        ),
    ] = None,
) -> Outcome:
    """Show what a model holds; without one, the environment and what is wrong with it.

    Exit status: 0 done, 4 model missing or refused.

    Examples:
      fer info
      fer info runs/fast
      fer info model.onnx --json
    """
    if model is None:
        return _describe_environment(output)
    from fercli.models import describe_model, find_model

    found = find_model(model)
    data = {**describe_model(found), "scores": _read_scores(found)}
    if command := _find_command(found):
        data["trained"]["command"] = command

    def show(console: Console) -> None:
        trained = {
            f"trained: {key}": ", ".join(value) or "none" if isinstance(value, list) else value
            for key, value in data["trained"].items()
        }
        pairs = {
            "kind": data["kind"],
            "file": found.path,
            "labels": ", ".join(data["labels"]),
            "network": data["network"],
            "parameters": f"{data['parameters']:,}" if data["parameters"] else "unknown",
            "input": data["input"],
            **trained,
        }
        for split, score in data["scores"].items():
            protocol = score.get("protocol", "")
            pairs[f"scored: {split}"] = (
                f"{score['accuracy']:.2%} (n = {score['n_images']:,}) {protocol}".rstrip()
            )
        print_pairs(console, pairs)

    return Outcome(data, show)


def _describe_environment(output: Output) -> Outcome:
    from fercli.environment import describe_environment

    data = describe_environment()
    for problem in data["problems"]:
        output.warn(problem)

    def show(console: Console) -> None:
        pairs: dict[str, object] = dict(data["versions"])
        for device in data["devices"]:
            details = {key: value for key, value in device.items() if key != "device"}
            pairs[device["device"]] = ", ".join(f"{key} {value}" for key, value in details.items())
        pairs["onnxruntime runs on"] = ", ".join(data["providers"])
        pairs["data home"] = data["paths"].get("data_home")
        pairs["prepared dataset"] = data["paths"].get("dataset") or "none yet"
        pairs["problems"] = len(data["problems"]) or "none"
        print_pairs(console, pairs)

    return Outcome(data, show)


def _find_command(found: ModelFile) -> str | None:
    """Return the command that repeats a run, if its record can say so."""
    from fercli.recipes import write_command
    from fercli.runs import read_run_record

    if found.run is None:
        return None
    try:
        return write_command(read_run_record(found.run))
    except FercliError:
        return None


def _read_scores(found: ModelFile) -> dict[str, Any]:
    """Return the last score of each split that `fer evaluate` recorded for a run."""
    from fercli.runs import RunFolder

    if found.run is None or not RunFolder(found.run).scores.exists():
        return {}
    lines = RunFolder(found.run).scores.read_text(encoding="utf-8").splitlines()
    scores = {}
    for line in lines:
        # A line that a power cut tore is not worth more than the others.
        with contextlib.suppress(ValueError, KeyError):
            entry = json.loads(line)
            scores[entry["split"]] = entry
    return scores
