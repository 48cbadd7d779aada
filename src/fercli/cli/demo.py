"""`fer demo`: the whole loop on drawn faces, offline, in under two minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fercli.cli._command import register
from fercli.cli._options import DeviceOption, ForceOption, choose_device_name
from fercli.cli._output import Outcome, Output
from fercli.cli._progress import watch_images, watch_training
from fercli.cli._tables import print_pairs
from fercli.cli.evaluate import show_evaluation
from fercli.errors import OutputExistsError, VerificationError
from fercli.recipes import find_recipe
from fercli.runs import RunFolder

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.data import Dataset
    from fercli.results import EvaluationResult

__all__ = ["add_to"]

_SOURCE: Final = "synthetic:6000"
_LEAST_ACCURACY: Final = 0.9
_N_FACES: Final = 24


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "demo")(demo_command)


def demo_command(
    output: Output,
    *,
    folder: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Where everything goes.")
    ] = Path("fer-demo"),
    device: DeviceOption = None,
    force: ForceOption = False,
) -> Outcome:
    """Run the whole loop on drawn faces: prepare, train, evaluate, export, predict.

    Needs no data and no network, and takes under two minutes on two cores. The faces are drawn:
    the score shows that the tool works and says nothing about real faces.

    Exit status: 0 done, 2 the folder is already there, 6 the accuracy is under 90 %.

    Examples:
      fer demo
      fer demo --output /tmp/demo --force --json
    """
    started = time.perf_counter()
    if folder.exists() and not force:
        message = f"{folder} is already there"
        raise OutputExistsError(message, hint="give --force to run again, or another --output")
    dataset = _prepare(output, folder)
    run = _train(output, dataset, folder, device)
    output.note("3/5 evaluating")
    result = _evaluate(dataset, run, folder)
    made = _export_and_predict(output, dataset, run, folder)
    duration_s = time.perf_counter() - started
    accuracy = result.scores.accuracy
    failure = None
    if accuracy < _LEAST_ACCURACY:
        message = f"the demo reached {accuracy:.1%} on drawn faces, less than {_LEAST_ACCURACY:.0%}"
        failure = VerificationError(message, hint=f"please report this, with {run.log}")
    data = {
        "output": str(folder),
        "accuracy": accuracy,
        "duration_s": duration_s,
        "files": {**result.files, **made},
    }

    def show(console: Console) -> None:
        show_evaluation(console, result)
        print_pairs(console, made)
        console.print(
            f"The whole loop took {duration_s:.0f} s. These faces are drawn: the score says "
            "nothing about real ones. Next: fer data prepare, fer train."
        )

    return Outcome(data, show, failure=failure)


def _prepare(output: Output, folder: Path) -> Dataset:
    from fercli.data import load_source, open_dataset, save_dataset

    output.note(f"1/5 drawing faces ({_SOURCE})")
    with watch_images(output, "drawing") as on_progress:
        drawn = load_source(_SOURCE, on_progress).dataset
    path = folder / "faces.safetensors"
    save_dataset(path, drawn)
    return open_dataset(path)


def _train(output: Output, dataset: Dataset, folder: Path, device: str | None) -> RunFolder:
    from fercli.settings import build_config
    from fercli.training import Watcher, catch_signals, train

    config = build_config(
        {**_SETTINGS, "device": choose_device_name(device)}, base=find_recipe("fast")
    )
    output.note(f"2/5 training for {config.epochs} epochs")
    run = RunFolder(folder / "run")
    with (
        watch_training(output, config.epochs) as (on_step, on_epoch),
        catch_signals() as should_stop,
    ):
        watcher = Watcher(
            on_step=on_step, on_epoch=on_epoch, on_note=output.note, should_stop=should_stop
        )
        train(dataset, config, run, data=str(dataset.path), watcher=watcher, overwrite=True)
    return run


_SETTINGS: Final[dict[str, object]] = {
    "stem": "learned",
    "widths": (48, 96, 288),
    "norm_scale": True,
    "epochs": 8,
    "flip": "alternating",
    "rotation_deg": 8.0,
    "scale": 0.1,
    "shift": 0.08,
    "brightness": 0.1,
    "contrast": 0.2,
    "bias_ratio": 1.0,
    "warmup": 0.15,
    "batch_size": 64,
    "optimizer": "adamw",
    "learning_rate": 0.003,
    "weight_decay": 0.05,
    "sizes_px": (48,),
}
"""The fast recipe, for fewer images and steps that are easier: AdamW learns drawn faces from the
first epoch, where SGD needs two to begin (docs/explanation/log.md)."""


def _evaluate(dataset: Dataset, run: RunFolder, folder: Path) -> EvaluationResult:
    from fercli.evaluation import evaluate, record_scores, write_files
    from fercli.models import find_model, open_runtime

    model = find_model(str(run.path))
    evaluation = evaluate(open_runtime(model, device="cpu"), model, dataset, "private")
    record_scores(run, evaluation.result)
    return write_files(evaluation, folder / "report", curves=run.curves)


def _export_and_predict(
    output: Output, dataset: Dataset, run: RunFolder, folder: Path
) -> dict[str, str]:
    """Write an ONNX model, a folder of face files, and what the one says of the other."""
    from PIL import Image

    from fercli.export import ParityImages, export_model
    from fercli.inference import open_writer, predict_files
    from fercli.inference.onnx import OnnxRuntime
    from fercli.models import find_model
    from fercli.storage import open_partial, wrap_text

    output.note("4/5 exporting as ONNX")
    subset = dataset.select("private")
    onnx = folder / "model.onnx"
    export_model(find_model(str(run.path)), onnx, ParityImages(subset.images[:256], "private"))
    output.note(f"5/5 predicting {_N_FACES} face files")
    faces = folder / "faces"
    faces.mkdir(exist_ok=True)
    paths = []
    for number in range(_N_FACES):
        label = dataset.label_names[subset.labels[number]]
        paths.append(faces / f"{number:02}-{label}.png")
        Image.fromarray(subset.images[number]).save(paths[-1])
    runtime = OnnxRuntime(onnx)
    table = folder / "predictions.csv"
    with (
        open_partial(table) as stream,
        wrap_text(stream) as text,
        open_writer("csv", text, runtime.labels) as write,
    ):
        stream.truncate(0)
        for prediction in predict_files(runtime, paths):
            for row in prediction.rows:
                write(row)
    return {
        "curves": str(run.curves),
        "model": str(onnx),
        "faces": str(faces),
        "predictions": str(table),
    }
