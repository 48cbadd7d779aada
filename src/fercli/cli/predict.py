"""`fer predict`: expressions of faces in photos and videos."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fercli.cli._command import register
from fercli.cli._display import count
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
    split_endings,
)
from fercli.cli._predict_sources import (
    FileSource,
    choose_live_source,
    open_live,
    open_work,
)
from fercli.config import PredictConfig, list_options
from fercli.errors import ConfigError
from fercli.names import safe_name
from fercli.ranges import find_unknown_choice
from fercli.results import PredictResult, to_json
from fercli.signals import name_signal
from fercli.storage import check_apart, name_partial

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.cli._predict_sources import Follow, OnPrediction, Work
    from fercli.inference import Runtime
    from fercli.prediction.sinks import Sink
    from fercli.prediction.summary import PredictionSummary
    from fercli.prediction.writers import RowLayout

__all__ = ["add_to"]


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
            help="Photos, videos, folders (searched), archives (zip, tar), patterns, or - for "
            "paths on stdin; or a camera's number, or an rtsp:// or http:// address.",
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
    excel: Annotated[
        bool,
        typer.Option("--excel", help="CSV as spreadsheets take it: marked as UTF-8, 4 digits."),
    ] = False,
    ext: Annotated[
        list[str] | None,
        typer.Option(
            metavar="jpg,png",
            help="Take only files with these endings from folders and archives.",
        ),
    ] = None,
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
    """Tell the expression of every face in photos, videos, live pictures or face crops.

    Images of up to 96 pixels are taken as one face; in others faces are looked for. Each face is a
    row: file, label, confidence, probabilities, box. A photo without a face is a row, and a file
    that cannot be read is a row with its reason; what lies in a folder and is neither image nor
    video is counted and passed over. Of a video, each sampled frame gives rows with its time, and
    each face the number of its track; a camera goes on until --end or Ctrl-C. An ONNX model runs
    without torch.

    Exit status: 0 done, 2 bad options, 3 a path or camera is missing or nothing was found, 4 model
    missing or refused, 5 no such device, 7 some files could not be read or a live source was lost,
    130, 143 or 129 stopped by Ctrl-C, SIGTERM or a closed terminal, a live source's rows whole.

    Examples:
      fer predict faces/
      fer predict faces/ photo.jpg --model runs/fast --format csv > rows.csv
      fer predict faces/ --ext jpg,png --min-face 40 --excel --output faces.csv --force
      fer predict faces/ --annotate framed/ --montage sheet.png --force
      fer predict faces/ --sort-into sorted/ --link --force
      fer predict clip.mp4 --every 0.5s --smooth 1s --output clip.csv
      fer predict clip.mp4 --annotate framed/ --timeline clip.png --force
      fer predict 0 --end 10s --smooth 1s --output camera.csv
      ls *.png | fer predict - --model model.onnx --output rows.jsonl
    """
    from fercli.prediction import find_images
    from fercli.prediction.members import Others
    from fercli.prediction.summary import PredictionSummary
    from fercli.prediction.writers import RowLayout

    chosen = drop_untyped(typed)
    source = choose_live_source(paths, resume=resume, sorts=sort_into is not None)
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
    rows_go = choose_target(
        row_format, target, json=output.json, resume=resume, force=force, for_excel=excel
    )
    endings = split_endings(ext or [])
    others = Others()
    # A file that is missing is said before whether it would be used.
    config = _build_config(output, chosen)
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
    sinks = pictures.open_sinks([] if source else [PurePath(path) for path in paths])
    outputs = pictures.list_outputs(target)
    files = (
        iter(())
        if source
        else find_images(
            paths,
            _read_stdin() if "-" in paths else (),
            outputs,
            keep=resume,
            endings=endings,
            others=others,
        )
    )
    name = choose_device_name(device)
    _return_large_blocks()
    runtime, title, parallel = _open_model(output, model, labels_of, name, written)
    sinks += pictures.open_timeline(runtime.labels)
    summary = PredictionSummary(
        runtime.labels,
        rows=[] if output.json and rows_go.kind == "table" else None,
        others=others,
    )
    layout = RowLayout(runtime.labels, smooth=bool(config.smooth_s), model=title, for_excel=excel)
    given = FileSource(files, "-" not in paths, parallel, title, endings)
    started = perf_counter()
    with (
        open_live(source, runtime, config, output, title)
        if source
        else open_work(given, runtime, config, summary) as work,
        open_rows(rows_go, layout, shown=not output.json) as rows,
        _watch(output, rows_go, work.follow) as on_progress,
        contextlib.closing(work.start(rows.done)) as predictions,
    ):
        for prediction in predictions:
            summary.add(prediction, rows)
            if sinks or source:
                # A picture without its row would be drawn again under another name; and who
                # follows what is live wants to see it.
                rows.flush()
            for sink in sinks:
                summary.keep(sink, prediction)
            on_progress(prediction, summary, work.total)
        summary.n_dropped = work.count_dropped()
    for sink in sinks:
        sink.close()
    _note_passed_over(output, summary)
    result = summary.conclude(perf_counter() - started, output=target, model=title)
    return _conclude(output, result, layout, rows_go, sinks, work)


def _build_config(output: Output, chosen: dict[str, Any]) -> PredictConfig:
    """Return what was asked for, with the detector's weights."""
    from fercli.prediction.weights import provide_weights

    config = PredictConfig(**chosen)
    weights = provide_weights(config.faces, config.detector_weights, note=output.note)
    return replace(config, detector_weights=weights)


def _note_passed_over(output: Output, summary: PredictionSummary) -> None:
    """Say what was not looked at, and what could not be written."""
    others = summary.others
    if others.n_files:
        output.note(f"{count(others.n_files, 'other file')} passed over")
    if others.n_packed_videos:
        videos = count(others.n_packed_videos, "video")
        output.note(f"{videos} of them in archives: videos are read from files of their own")
    if summary.n_unwritten:
        more = f", nor of {summary.n_unwritten - 1:,} others" if summary.n_unwritten > 1 else ""
        output.warn(f"no picture or copy of {summary.unwritten}{more}")


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


@contextlib.contextmanager
def _watch(output: Output, target: Target, follow: Follow) -> Iterator[OnPrediction]:
    """Show progress, unless the rows themselves run over the same terminal."""
    if target.file is None and not output.json and sys.stdout.isatty():
        yield lambda *_: None
        return
    with follow(output) as on_prediction:
        yield on_prediction


def _conclude(
    output: Output,
    result: PredictResult,
    layout: RowLayout,
    target: Target,
    sinks: list[Sink],
    work: Work,
) -> Outcome:
    output.note(_count_result(result, work))
    for sink in sinks:
        output.note(sink.describe())
    if result.n_no_face > result.n_faces and not work.source:
        output.note("if these are pictures of one face each: --faces whole takes them as they are")
    errors = _list_troubles(output, result, work)
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
    return Outcome(data, show, status, errors, signal_number=work.get_signal())


def _list_troubles(output: Output, result: PredictResult, work: Work) -> list[dict[str, str]]:
    """Say what kept a result from being all that was asked for, and return it for the envelope."""
    errors = []
    if result.n_skipped:
        message = f"{result.n_skipped} of {count(result.n_inputs, 'file')} could not be read"
        hint = "each has its row with the reason"
        if work.source:
            message = f"{work.source.noun} could not be read to its end"
            hint = "the last row has the reason"
        output.warn(f"{message}; {hint}")
        errors.append({"code": "skipped", "message": message, "hint": hint})
    if signal_number := work.get_signal():
        message = f"stopped by {name_signal(signal_number)}"
        output.note(message)
        errors.append({"code": "interrupted", "message": message, "hint": ""})
    return errors


def _count_result(result: PredictResult, work: Work) -> str:
    faces = f"{count(result.n_faces, 'face')}, {result.n_no_face:,} without a face"
    if work.source:
        looked_at = f"{count(result.n_frames, 'frame')}, {result.n_dropped:,} dropped"
        return f"{work.source.noun} ({looked_at}): {faces}, {result.images_per_s:,.1f} images/s"
    passed = f"{result.n_resumed:,} had their rows, " if result.n_resumed else ""
    frames = f" ({count(result.n_frames, 'frame')})" if result.n_frames else ""
    return (
        f"{count(result.n_inputs, 'file')}{frames}: {passed}{faces}, {result.n_skipped:,} skipped, "
        f"{result.images_per_s:,.0f} {'images' if result.n_frames else 'files'}/s"
    )


def _return_large_blocks() -> None:
    from fercli.images.memory import return_large_blocks

    return_large_blocks()


def _read_stdin() -> Iterator[str]:
    # Bytes that are not UTF-8 come through as they are in file names.
    for line in sys.stdin.buffer if sys.stdin else ():
        yield line.decode("utf-8", "surrogateescape")
