"""`fer explain`: where on a face an answer comes from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fercli.cli._command import register
from fercli.cli._display import print_pairs, print_table, watch_images
from fercli.cli._exit import ExitStatus
from fercli.cli._options import (
    DeviceOption,
    FiguresOption,
    ForceOption,
    PhotoModelOption,
    choose_device_name,
)
from fercli.cli._output import Outcome, Output
from fercli.config import FACES
from fercli.errors import ConfigError, ImageDecodeError, ImageRefusedError
from fercli.names import count, safe_name
from fercli.ranges import find_unknown_choice
from fercli.results import ExplainedImage, ExplainResult, to_json
from fercli.storage import check_outputs

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.images import FaceFinder
    from fercli.inference import Runtime

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "explain", needs=["matplotlib"])(explain_command)


def explain_command(
    output: Output,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Face crops or photos, folders or patterns."),
    ],
    *,
    folder: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Where the pictures go.")
    ] = Path("explained"),
    model: PhotoModelOption = None,
    faces: Annotated[
        str,
        typer.Option(
            metavar="|".join(FACES),
            help="How the face is found, as in fer predict.",
            autocompletion=lambda: FACES,
        ),
    ] = "auto",
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="Explain this label, too; may be repeated."),
    ] = None,
    device: DeviceOption = None,
    figures: FiguresOption = "png",
    force: ForceOption = False,
) -> Outcome:
    """Show which parts of a face a prediction depends on.

    Each image gets one picture. Red parts lower the label's probability when they are covered, blue
    ones raise it. A run or a .safetensors also shows LayerCAM; an ONNX file has no gradients. In a
    photo, the largest face is used. The maps describe the model, not the person.

    Exit status: 0 done, 2 bad options, 3 no images, 4 model missing or refused, 5 no such device,
    7 some images could not be read.

    Examples:
      fer explain faces/
      fer explain faces/ --model runs/fast --label sad --output maps
    """
    from fercli.images import FaceFinder
    from fercli.model_files import find_model, open_runtime
    from fercli.plots import check_format
    from fercli.prediction.inputs import find_files
    from fercli.prediction.weights import provide_weights

    check_format(figures)
    if problems := find_unknown_choice("faces", faces, FACES):
        raise ConfigError(*problems)
    weights = provide_weights(faces, None, note=output.note)
    finder = FaceFinder(faces, weights)
    found = find_model(model, for_photos=True)
    if found.remark:
        output.note(found.remark)
    runtime = open_runtime(found, device=choose_device_name(device))
    asked = tuple(label or ())
    problems = [
        problem for name in asked for problem in find_unknown_choice("label", name, runtime.labels)
    ]
    if problems:
        raise ConfigError(*problems)
    # Unless it is to be looked at itself, what lies there was explained before.
    written = [] if folder in map(Path, images) else [folder]
    paths = list(find_files(images, written, keep=True))
    targets = [
        folder / _name_picture(number, path, figures) for number, path in enumerate(paths, 1)
    ]
    names = [target.name for target in targets]
    check_outputs(folder, names, force=force, inputs=[*paths, *found.files])
    if found.is_onnx:
        output.note("an ONNX file has no gradients: occlusion maps only, no LayerCAM")
    rows = []
    with watch_images(output, "explaining") as on_progress:
        for path, target in zip(paths, targets, strict=True):
            rows.append(_explain(runtime, path, target, asked, finder, found.title))
            on_progress(len(rows), len(paths))
    skipped = [row for row in rows if row.status in {"unreadable", "refused"}]
    result = ExplainResult(
        model=found.title,
        methods=("occlusion",) if found.is_onnx else ("occlusion", "layer-cam"),
        n_inputs=len(rows),
        n_skipped=len(skipped),
        rows=tuple(rows),
    )
    errors = [
        {"code": "image", "message": f"{row.path}: {row.reason}", "hint": ""} for row in skipped
    ]
    status = ExitStatus.PARTIAL if skipped else ExitStatus.DONE
    return Outcome(
        to_json(result), lambda console: _show(console, result), status=status, errors=errors
    )


def _name_picture(number: int, path: Path, kind: str) -> str:
    """Return a file name that starts like the image's, whatever stands in that."""
    return f"{number:04}-{re.sub(r'[^A-Za-z0-9_.-]', '_', path.stem)[:60]}.{kind}"


def _explain(  # what to explain, how, and what to call it
    runtime: Runtime,
    path: Path,
    target: Path,
    asked: tuple[str, ...],
    finder: FaceFinder,
    model: str,
) -> ExplainedImage:
    """Write one picture and return its row; a file that cannot be read gets one as well."""
    from fercli.evaluation import explain
    from fercli.images import cut_faces, load_image
    from fercli.plots import save_figure

    try:
        image = load_image(path, color=finder.needs_color, enough_px=finder.enough_px)
        detector, boxes = finder.find(image)
        crops = cut_faces(image, boxes[:1], detector)
    except ImageDecodeError as reason:
        return ExplainedImage(
            path=str(path),
            status="refused" if isinstance(reason, ImageRefusedError) else "unreadable",
            reason=reason.message,
        )
    if not crops:
        nothing = f"{detector} finds no face"
        return ExplainedImage(path=str(path), status="no_face", reason=nothing)
    explanation = explain(runtime, crops[0], asked)
    save_figure(explanation.plot(f"{safe_name(path.name)}, by {safe_name(model)}"), target)
    return ExplainedImage(
        path=str(path),
        label=explanation.label,
        confidence=explanation.probabilities[explanation.label],
        probabilities=explanation.probabilities,
        output=str(target),
    )


def _show(console: Console, result: ExplainResult) -> None:
    from rich.table import Table

    table = Table(title=count(result.n_inputs, "image"), title_justify="left")
    for column in ("image", "label", "confidence", "picture"):
        table.add_column(column)
    for row in result.rows:
        sure = "" if row.confidence is None else f"{row.confidence:.1%}"
        said = row.label or f"{row.status}: {row.reason}"
        cells = (row.path, said, sure, row.output or "")
        table.add_row(*(safe_name(cell) for cell in cells))
    print_table(console, table)
    print_pairs(console, {"model": result.model, "methods": ", ".join(result.methods)})
