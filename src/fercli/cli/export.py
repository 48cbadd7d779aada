"""`fer export`: a model as one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fercli.cli._command import register
from fercli.cli._options import DataOption, ForceOption, ModelArgument
from fercli.cli._output import Outcome, Output
from fercli.cli._progress import watch_images
from fercli.cli._tables import print_pairs
from fercli.errors import DatasetNotFoundError
from fercli.results import to_json
from fercli.storage import check_output

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.export import ParityImages

__all__ = ["add_to"]

_N_PARITY: Final = 256


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "export")(export_command)


def export_command(
    output: Output,
    *,
    model: ModelArgument = None,
    onnx: Annotated[  # noqa: ARG001  # the only format there is; the word is for the reader
        bool, typer.Option("--onnx", help="Export as ONNX, the only format; may be left out.")
    ] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Store weights in half precision: half the size.")
    ] = False,
    data: DataOption = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", help="Default: model.onnx, or model-fp16.onnx, here."
        ),
    ] = None,
    force: ForceOption = False,
) -> Outcome:
    """Export a model as one ONNX file that takes raw pixels, and prove that it agrees.

    Scaling, normalization and softmax are inside the graph. The file is kept only when it gives
    torch's probabilities within 1e-4 and the same labels on the parity images: those of --data,
    else of the prepared default, else 256 drawn faces.

    Exit status: 0 done, 2 the output is already there, 3 data missing, 4 model missing or refused,
    6 the two disagree.

    Examples:
      fer export --onnx
      fer export runs/fast --onnx --output face.onnx
      fer export runs/fast --fp16 --data synthetic:1000 --force
    """
    from fercli.export import export_model
    from fercli.models import find_model

    path = target or Path("model-fp16.onnx" if fp16 else "model.onnx")
    found = find_model(model)
    check_output(path, force=force)
    if found.assumed:
        output.note(f"model: {found.origin}")
    result = export_model(found, path, _choose_parity_images(output, data), half=fp16)

    def show(console: Console) -> None:
        size = f"{result.size_bytes:,} bytes, opset {result.opset}"
        pairs = {"written to": result.output, "size": size, "sha256": result.sha256}
        if result.max_abs_difference is not None:
            pairs["largest difference"] = f"{result.max_abs_difference:.2g} of a probability"
            pairs["labels agree"] = f"{result.label_agreement:.2%}"
            pairs["checked on"] = f"{result.n_checked:,} images of {result.parity_images}"
        else:
            pairs["checked"] = "a copy of an ONNX model, its digest compared"
        print_pairs(console, pairs)

    return Outcome(to_json(result), show)


def _choose_parity_images(output: Output, data: str | None) -> ParityImages:
    """Return public images of the data, or train's where it has none, else drawn faces."""
    from fercli.data import build_synthetic, load_data
    from fercli.export import ParityImages

    try:
        with watch_images(output, "reading the dataset") as on_progress:
            dataset = load_data(data, on_progress, output.warn)
    except DatasetNotFoundError:
        if data is not None:
            raise
        return ParityImages(build_synthetic(_N_PARITY).images, f"synthetic:{_N_PARITY}")
    splits = ("public", "validation", "train", *dataset.split_names)
    split = next(name for name in splits if dataset.find_split(name) is not None)
    images = dataset.select(split).images[:_N_PARITY]
    return ParityImages(images, f"{dataset.source}, {split}")
