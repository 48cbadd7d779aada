"""`fer export`: a model as one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fercli.cli._command import register
from fercli.cli._display import print_pairs, watch_images, watch_work
from fercli.cli._options import DataOption, ForceOption, complete_model
from fercli.cli._output import Outcome, Output
from fercli.errors import ConfigError, DatasetNotFoundError
from fercli.results import to_json
from fercli.storage import check_apart, check_output

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.data import Dataset
    from fercli.model_files import ModelFile
    from fercli.results import ExportResult

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "export", needs=["torch"])(export_command)


def export_command(
    output: Output,
    *,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="A run folder, a .safetensors, an .onnx or a bundled model; several are joined. "
            "Default: the newest finished run under ./runs, else base.",
            autocompletion=complete_model,
        ),
    ] = None,
    onnx: Annotated[  # noqa: ARG001  # the only format there is; the word is for the reader
        bool, typer.Option("--onnx", help="Export as ONNX, the only format; may be left out.")
    ] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Store weights in half precision: half the size.")
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Compute in eight bits: a quarter to half of the size, and several times faster.",
        ),
    ] = False,
    data: DataOption = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="The file to write. Default: model.onnx, model-fp16.onnx or model-int8.onnx.",
        ),
    ] = None,
    force: ForceOption = False,
) -> Outcome:
    """Export a model as one ONNX file, and check its predictions.

    The file takes raw pixels: scaling, normalization and softmax are inside the graph. The file is
    kept only if its probabilities are within 1e-4 of torch's and its labels are the same on the
    parity images: those of --data, else of the prepared default, else 256 synthetic faces.

    Several models become one ensemble that returns the mean of their probabilities. It is more
    often right than any of them, at the sum of their cost. They must be trained on the same
    dataset. The temperature of the mean is fitted on the split that selected them, `public` or
    `validation`.

    --int8 calibrates on training images and reports label agreement, accuracy and speed on a
    held-out split. Nothing is written when less than 95 % of the labels agree or more than half a
    point of accuracy is lost.

    Exit status: 0 done, 2 the output is there already or may not be written, 3 data missing,
    4 model missing or refused, 6 the file disagrees with the model.

    Examples:
      fer export --onnx
      fer export runs/fast --onnx --output face.onnx
      fer export runs/fast --int8 --data synthetic
      fer export runs/fast runs/standard --output both.onnx --data synthetic
      fer export runs/fast --fp16 --data synthetic:1000 --force
    """
    from fercli.data import list_source_files
    from fercli.export import check_target, export_any, find_judging_split

    if fp16 and int8:
        message = "--fp16 and --int8 are two ways to store weights: choose one"
        raise ConfigError(message)
    kind = "-fp16" if fp16 else "-int8" if int8 else ""
    path = target or Path(f"model{kind}.onnx")
    found = _find_models(output, models)
    check_target(path, found)
    check_apart([path], list_source_files(data))
    check_output(path, force=force)
    dataset = _load(output, data) if int8 else _load_if_there(output, data)
    if len(found) > 1:
        if find_judging_split(dataset) is None:
            output.note("no public or validation split: the mean keeps temperature 1")
        output.note(f"joining {len(found)} models")
    with watch_work(output, "quantizing" if int8 else "exporting"):
        result = export_any(found, path, dataset, half=fp16, int8=int8)

    def show(console: Console) -> None:
        size = f"{result.size_bytes:,} bytes, opset {result.opset}"
        pairs = {"written to": result.output, "size": size, "sha256": result.sha256}
        if result.max_abs_difference is not None:
            pairs["largest difference"] = f"{result.max_abs_difference:.2g} of a probability"
            pairs["labels agree"] = f"{result.label_agreement:.2%}"
            pairs["checked on"] = f"{result.n_checked:,} images of {result.parity_images}"
            pairs |= _describe_quantized(result)
        else:
            pairs["checked"] = "a copy of an ONNX model, with the same digest"
        print_pairs(console, pairs)

    return Outcome(to_json(result), show)


def _find_models(output: Output, models: list[str] | None) -> list[ModelFile]:
    from fercli.model_files import find_model

    found = [find_model(spec) for spec in models] if models else [find_model(None)]
    for one in found:
        if one.remark:
            output.note(one.remark)
    return found


def _load(output: Output, data: str | None) -> Dataset:
    from fercli.data import load_data

    with watch_images(output, "reading the dataset") as on_progress:
        return load_data(data, on_progress, output.warn)


def _load_if_there(output: Output, data: str | None) -> Dataset | None:
    """Return the dataset asked for, or the prepared default if there is one."""
    try:
        return _load(output, data)
    except DatasetNotFoundError:
        if data is not None:
            raise
        return None


def _describe_quantized(result: ExportResult) -> dict[str, str]:
    if result.accuracy is None or result.accuracy_before is None:
        return {}
    before, after = result.images_per_s_before or 0, result.images_per_s or 0
    return {
        "accuracy": f"{result.accuracy:.2%}, before {result.accuracy_before:.2%}",
        "speed here": f"{after:,.0f} images/s, before {before:,.0f}: {after / before:.1f} times",
    }
