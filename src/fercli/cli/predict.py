"""`fer predict`: expressions of faces in photos and videos."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fercli.cli._command import register
from fercli.cli._display import count, watch_images, watch_seconds
from fercli.cli._exit import ExitStatus
from fercli.cli._options import (
    DeviceOption,
    ForceOption,
    PhotoModelOption,
    build_parameters,
    choose_device_name,
    drop_untyped,
)
from fercli.cli._output import Outcome, Output, warn_if_synthetic
from fercli.cli._predict_outputs import (
    FORMATS,
    Target,
    WantedPictures,
    choose_target,
    open_rows,
    print_summary,
)
from fercli.config import PredictConfig, list_options
from fercli.errors import ConfigError
from fercli.names import safe_name
from fercli.ranges import find_unknown_choice
from fercli.results import PredictResult, to_json
from fercli.storage import check_apart, name_partial

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from rich.console import Console

    from fercli.inference import Runtime
    from fercli.prediction import FilePrediction
    from fercli.prediction.sinks import Sink
    from fercli.prediction.summary import PredictionSummary
    from fercli.prediction.writers import RowLayout

    OnPrediction = Callable[[FilePrediction, PredictionSummary, int | None], None]
    Follow = Callable[[Output], AbstractContextManager[OnPrediction]]

__all__ = ["add_to"]

_COUNTED_AHEAD: Final = 20_000
"""Files that are listed before the first is read, so that the time left can be told."""


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "predict", fields=build_parameters(list_options(PredictConfig)))(predict_command)


def predict_command(
    output: Output,
    *,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Photos, videos, folders (searched), patterns, or - for paths on stdin.",
        ),
    ],
    model: PhotoModelOption = None,
    labels_of: Annotated[
        str | None,
        typer.Option(
            metavar="fer2013",
            help="Keep to FER2013's seven labels: FER+'s contempt leaves its probability to them "
            "in proportion. Default: the model's own labels.",
            autocompletion=lambda: ["fer2013"],
        ),
    ] = None,
    row_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join(FORMATS),
            help="How to write rows. Default: table, or what --output's name ends in.",
        ),
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write rows to a file.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with --output: files that have rows are passed over."),
    ] = False,
    annotate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write images and videos with faces framed and named."),
    ] = None,
    sort_into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy files into folders named by their largest face."),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="With --sort-into: links instead of copies.")
    ] = False,
    montage: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Write a sheet of the faces with their labels."),
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png", help="Videos: write a chart of each track's probabilities."
        ),
    ] = None,
    device: DeviceOption = None,
    force: ForceOption = False,
    **typed: Any,  # noqa: ANN401  # the options that fields of the configuration declare
) -> Outcome:
    """Tell the expression of every face in photos, videos or face crops.

    Images of up to 96 pixels are taken as one face; in others faces are looked for. Each face is a
    row: file, label, confidence, probabilities, box. A photo without a face is a row, and a file
    that cannot be read is a row with its reason. Of a video, each sampled frame gives rows with its
    time, and each face the number of its track. An ONNX model runs without torch.

    Exit status: 0 done, 2 bad options, 3 a path is missing or nothing was found, 4 model missing
    or refused, 5 no such device, 7 some files could not be read.

    Examples:
      fer predict faces/
      fer predict faces/ photo.jpg --model runs/fast --format csv > rows.csv
      fer predict faces/ --annotate framed/ --montage sheet.png --force
      fer predict faces/ --sort-into sorted/ --link --force
      fer predict clip.mp4 --every 0.5s --smooth 1s --output clip.csv
      fer predict clip.mp4 --annotate framed/ --timeline clip.png --force
      ls *.png | fer predict - --model model.onnx --output rows.jsonl
    """
    from fercli.images import is_video
    from fercli.prediction import find_images, predict_files
    from fercli.prediction.summary import PredictionSummary
    from fercli.prediction.weights import provide_weights
    from fercli.prediction.writers import RowLayout

    chosen = drop_untyped(typed)
    written = [
        path for path in (target, target and name_partial(target), montage, timeline) if path
    ]
    if not resume:
        given = chosen.get("detector_weights")
        check_apart(written, [*map(Path, paths), *([given] if given else [])])
    if labels_of is not None and (
        problems := find_unknown_choice("--labels-of", labels_of, ("fer2013",))
    ):
        raise ConfigError(*problems)
    rows_go = choose_target(row_format, target, json=output.json, resume=resume, force=force)
    # A file that is missing is said before whether it would be used.
    config = PredictConfig(**chosen)
    weights = provide_weights(config.faces, config.detector_weights, note=output.note)
    config = replace(config, detector_weights=weights)
    pictures = WantedPictures(
        annotate,
        sort_into,
        link,
        montage,
        timeline,
        force,
        resume,
        config.max_pixels,
        config.every_s,
    )
    sinks = pictures.open_sinks([PurePath(path) for path in paths])
    files = find_images(
        paths,
        _read_stdin() if "-" in paths else (),
        pictures.list_outputs(target),
        keep=resume,
    )
    name = choose_device_name(device)
    runtime, title, parallel = _open_model(output, model, labels_of, name, written)
    sinks += pictures.open_timeline(runtime.labels)
    summary = PredictionSummary(
        runtime.labels, rows=[] if output.json and rows_go.kind == "table" else None
    )
    layout = RowLayout(runtime.labels, smooth=bool(config.smooth_s))
    left, total = (files, None) if "-" in paths else _look_ahead(files)
    follow = _follow_clip if total == 1 and is_video(Path(paths[0])) else _follow_files
    started = perf_counter()
    with (
        open_rows(rows_go, layout, shown=not output.json) as rows,
        _watch(output, rows_go, follow) as on_progress,
        contextlib.closing(
            predict_files(runtime, summary.pass_over(left, rows.done), config, parallel=parallel)
        ) as predictions,
    ):
        for prediction in predictions:
            summary.add(prediction, rows)
            if sinks:
                # A picture without its row would be drawn again under another name.
                rows.flush()
            for sink in sinks:
                summary.keep(sink, prediction)
            on_progress(prediction, summary, total)
    for sink in sinks:
        sink.close()
    if summary.n_unwritten:
        more = f", nor of {summary.n_unwritten - 1:,} others" if summary.n_unwritten > 1 else ""
        output.warn(f"no picture or copy of {summary.unwritten}{more}")
    result = summary.conclude(perf_counter() - started, output=target, model=title)
    return _conclude(output, result, layout, rows_go, sinks)


def _open_model(
    output: Output, model: str | None, labels_of: str | None, device: str, written: list[Path]
) -> tuple[Runtime, str, bool]:
    """Return the model ready to run, what to call it, and whether threads may share it."""
    from fercli.inference import choose_labels
    from fercli.model_files import find_model, open_runtime

    on_cpu = device in {"auto", "cpu"}
    found = find_model(model, prefer_onnx=on_cpu, for_photos=True)
    check_apart(written, found.files)
    if found.assumed:
        output.note(f"model: {found.origin}")
    runtime = choose_labels(open_runtime(found, device=device, n_threads=1), labels_of)
    warn_if_synthetic(output, runtime.metadata)
    return runtime, found.title, found.is_onnx and on_cpu


def _look_ahead(files: Iterator[Path]) -> tuple[Iterable[Path], int | None]:
    """Return the files, and their number where they are few enough to be listed at once."""
    first = list(itertools.islice(files, _COUNTED_AHEAD))
    if len(first) < _COUNTED_AHEAD:
        return first, len(first)
    return itertools.chain(first, files), None


@contextlib.contextmanager
def _watch(output: Output, target: Target, follow: Follow) -> Iterator[OnPrediction]:
    """Show progress, unless the rows themselves run over the same terminal."""
    if target.file is None and not output.json and sys.stdout.isatty():
        yield lambda *_: None
        return
    with follow(output) as on_prediction:
        yield on_prediction


@contextlib.contextmanager
def _follow_files(output: Output) -> Iterator[OnPrediction]:
    """Count files."""
    with watch_images(output, "predicting") as report:
        yield lambda _prediction, summary, total: report(summary.n_done, total)


@contextlib.contextmanager
def _follow_clip(output: Output) -> Iterator[OnPrediction]:
    """Count the seconds of one video, which say more than that it is one file."""
    with watch_seconds(output, "predicting") as report:

        def on_prediction(prediction: FilePrediction, *_: object) -> None:
            if (frame := prediction.frame) is not None:
                report(int(frame.time_s), int(frame.duration_s) if frame.duration_s else None)

        yield on_prediction


def _conclude(
    output: Output, result: PredictResult, layout: RowLayout, target: Target, sinks: list[Sink]
) -> Outcome:
    passed = f"{result.n_resumed:,} had their rows, " if result.n_resumed else ""
    frames = f" ({count(result.n_frames, 'frame')})" if result.n_frames else ""
    output.note(
        f"{count(result.n_inputs, 'file')}{frames}: {passed}{count(result.n_faces, 'face')}, "
        f"{result.n_no_face:,} without a face, {result.n_skipped:,} skipped, "
        f"{result.images_per_s:,.0f} {'images' if result.n_frames else 'files'}/s"
    )
    for sink in sinks:
        output.note(sink.describe())
    if result.n_no_face > result.n_faces:
        output.note("if these are pictures of one face each: --faces whole takes them as they are")
    errors = []
    if result.n_skipped:
        message = f"{result.n_skipped} of {count(result.n_inputs, 'file')} could not be read"
        hint = "each has its row with the reason"
        output.warn(f"{message}; {hint}")
        errors = [{"code": "skipped", "message": message, "hint": hint}]
    data = to_json(result)
    if result.rows is None:
        del data["rows"]
    else:
        data["rows"] = [layout.select(row) for row in result.rows]

    def show(console: Console) -> None:
        if result.output:
            console.print(f"rows written to {safe_name(result.output)}", soft_wrap=True)
        if result.output or target.kind == "table":
            print_summary(console, result.labels)

    status = ExitStatus.PARTIAL if result.n_skipped else ExitStatus.DONE
    return Outcome(data, show, status, errors)


def _read_stdin() -> Iterator[str]:
    # Bytes that are not UTF-8 come through as they are in file names.
    for line in sys.stdin.buffer if sys.stdin else ():
        yield line.decode("utf-8", "surrogateescape")
