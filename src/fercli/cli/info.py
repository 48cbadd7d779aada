"""`fer info`: what a model holds, or what the environment offers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fercli.cli._command import register
from fercli.cli._display import print_pairs
from fercli.cli._options import ForceOption, complete_model
from fercli.cli._output import Outcome, Output
from fercli.dependencies import name_distribution
from fercli.errors import ConfigError, FercliError
from fercli.names import count, name_split
from fercli.results import to_json
from fercli.storage import check_apart, check_output, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fercli.metadata import InitRecord, ScoreRecord, TrainingInfo, ValidationRecord
    from fercli.model_files import ModelFile

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
            help="A run folder, a .safetensors, an .onnx or a bundled model. Without it: describe "
            "the installation.",
            autocompletion=complete_model,
        ),
    ] = None,
    diagram: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the network with its shapes, as a PNG file."),
    ] = None,
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a model card there, in Markdown.")
    ] = None,
    force: ForceOption = False,
) -> Outcome:
    """Describe a model, or this installation and machine.

    For the installation, it lists what is missing or wrong, and how to fix it. A model card says
    what the model is, how it scored (`fer evaluate` first), and what it is and is not for.

    Exit status: 0 done, 2 bad options or an output that exists, 4 model missing or refused.

    Examples:
      fer info
      fer info runs/fast
      fer info runs/fast --diagram network.png --card CARD.md
      fer info model.onnx --json
    """
    if model is None:
        if diagram or card:
            message = "--diagram and --card need a MODEL"
            raise ConfigError(message, hint="fer info runs/fast --card CARD.md")
        return _describe_environment(output)
    return _describe_model(output, model, diagram, card, force=force)


def _describe_model(
    output: Output, model: str, diagram: Path | None, card: Path | None, *, force: bool
) -> Outcome:
    from fercli.model_files import describe_model, find_model, read_metadata
    from fercli.runs import RunFolder, read_scores

    found = find_model(model)
    if found.remark:
        output.note(found.remark)
    kept = read_metadata(found).scores
    scores = read_scores(RunFolder(found.run)) if found.run else kept
    info, command = describe_model(found), _find_command(found)
    files = _write_files(found, diagram, card, force=force)
    data = {
        **info.to_json(),
        "scores": {split: score.to_json() for split, score in scores.items()},
    }
    if files:
        data["files"] = files
    if command:
        data["trained"]["command"] = command
    pairs = {
        "kind": info.kind,
        "file": found.path,
        "integrity": "verified" if info.verified else "unverified: it holds no digest",
        "labels": ", ".join(info.labels),
        "network": info.network,
        "parameters": f"{info.parameters:,}" if info.parameters else "unknown",
        "input": info.input,
        "temperature": f"{info.temperature:.3f}",
        **_say_training(info.trained),
        **({"trained: command": command} if command else {}),
        **{f"scored: {split}": _say_score(score) for split, score in scores.items()},
        **files,
    }
    return Outcome(data, lambda console: print_pairs(console, pairs))


def _say_training(trained: TrainingInfo) -> dict[str, str]:
    """Return what is known of a training, for people."""
    said = {
        "dataset": trained.dataset,
        "dataset_sha256": trained.dataset_sha256,
        "split": trained.split,
        "validation": trained.validation and _say_validation(trained.validation),
        "epochs": trained.epochs,
        "seed": trained.seed,
        "recipe": trained.recipe,
        "pretrained": trained.pretrained,
        "init": trained.init and _say_init(trained.init),
        "init sha256": trained.init and trained.init.sha256,
        "teachers": ", ".join(trained.teachers) or None,
        "members": ", ".join(trained.members) or None,
        "fercli": trained.fercli,
    }
    return {f"trained: {key}": str(value) for key, value in said.items() if value is not None}


def _say_validation(record: ValidationRecord) -> str:
    images = count(record.n_images, "image")
    return f"{record.accuracy:.2%} on {name_split(record.split)}, {images}"


def _say_score(score: ScoreRecord) -> str:
    return f"{score.accuracy:.2%} (n = {score.n_images:,}) {score.protocol or ''}".rstrip()


def _say_init(record: InitRecord) -> str:
    chosen = f"; chosen on {', '.join(record.chosen_on)}" if record.chosen_on else ""
    return f"{record.model}, its last layer {record.head}{chosen}"


def _write_files(
    found: ModelFile, diagram: Path | None, card: Path | None, *, force: bool
) -> dict[str, str]:
    """Write what was asked for, and return where it is."""
    files = {}
    outputs = [path for path in (diagram, card) if path is not None]
    check_apart(outputs, found.files)
    for path in outputs:
        check_output(path, force=force)
    if diagram is not None:
        from fercli.evaluation import plot_network
        from fercli.model_files import read_metadata
        from fercli.plots import save_figure

        save_figure(plot_network(found.path, read_metadata(found)), diagram)
        files["diagram"] = str(diagram)
    if card is not None:
        from fercli.evaluation import build_card

        write_text(card, build_card(found))
        files["card"] = str(card)
    return files


def _describe_environment(output: Output) -> Outcome:
    from fercli.doctor import examine

    found = examine()
    for problem in found.problems:
        output.warn(problem)
    pairs = {name: version or "not installed" for name, version in found.versions.items()}
    for one in found.devices:
        details = [one.name]
        details += [count(one.cores, "core")] if one.cores else []
        details += [count(one.threads, "thread")] if one.threads else []
        pairs[one.device] = ", ".join(details)
    if len(found.devices) == 1 and pairs.get("torch"):
        pairs["GPU"] = "none that the installed torch can use"
    # Wheels of onnxruntime bring one that asks a cloud: it is never used, and would frighten.
    used = [name for name in found.providers if not name.startswith("Azure")]
    extra = f"'{name_distribution()}[{{}}]'"
    n_problems = len(found.problems)
    pairs |= {
        "onnxruntime runs on": ", ".join(used) or "nothing",
        "data home": found.paths.data_home or "unknown",
        "prepared dataset": found.paths.dataset
        or "none yet: fer data download, or fer data prepare SOURCE with your own copy",
        "free disk": ", ".join(
            f"{number / 1e9:,.1f} GB for {name.replace('_', ' ')}"
            for name, number in found.free_bytes.items()
        ),
        "models": _join(found.models, "damaged"),
        "face detectors": _join(found.detectors, "fer models fetch {} fetches it"),
        "extras": _join(found.extras, f"pip install {extra}"),
        "problems": f"{n_problems}, see above" if n_problems else "none",
    }
    return Outcome(to_json(found), lambda console: print_pairs(console, pairs))


def _join(states: Mapping[str, bool], remedy: str) -> str:
    """Return names, and of those that are not there what mends that."""
    return ", ".join(
        name if there else f"no {name} ({remedy.format(name)})" for name, there in states.items()
    )


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
