"""`fer predict`: expressions of faces in photos and videos."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Final

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
from fercli.cli._predict_display import print_summary, print_tracks
from fercli.cli._predict_engine import ENGINES, Engine, choose_engine
from fercli.cli._predict_outputs import (
    FORMATS,
    Target,
    choose_part,
    choose_target,
    open_rows,
    split_endings,
)
from fercli.cli._predict_pictures import WantedPictures
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
    from fercli.model_files import ModelFile
    from fercli.prediction.sinks import Sink
    from fercli.prediction.stores import StoredObject
    from fercli.prediction.summary import PredictionSummary
    from fercli.prediction.writers import RowLayout

__all__ = ["add_to"]

_MANY_MISSED: Final = 3
"""Photos in which the cascade found nothing; from so many on another detector is named."""


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
            help="Photos, videos, folders (searched), archives (zip, tar), Parquet files, "
            "patterns, s3://, gs:// or az:// addresses, or - for paths on stdin; or a camera's "
            "number, or an rtsp:// or http:// address.",
        ),
    ],
    model: PhotoModelOption = None,
    labels_of: Annotated[
        str | None,
        typer.Option(
            metavar="fer2013",
            help="Use FER2013's seven labels only: they share the probability of FER+'s contempt "
            "in proportion. Default: the model's own labels.",
            autocompletion=lambda: ["fer2013"],
        ),
    ] = None,
    row_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join(FORMATS),
            help="Format of the rows. Default: by the ending of --output, else table.",
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Write rows to a file; with --shard the folder of the parts.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue with --output: files that have rows, and finished parts, are skipped.",
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Predict shard K of N, from 0 to N - 1, and write its part into the folder "
            "--output; fer merge joins the parts.",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="|".join(ENGINES),
            help="local: this process; ray: the actors of a Ray cluster (extra ray).",
            autocompletion=lambda: list(ENGINES),
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto",
            help="With --engine ray: the cluster. Default: RAY_ADDRESS, else a temporary cluster "
            "on this machine's processors.",
        ),
    ] = None,
    excel: Annotated[
        bool,
        typer.Option("--excel", help="CSV for spreadsheets: with a UTF-8 mark and 4 digits."),
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
        typer.Option(
            metavar="DIR|FILE.webm|.mp4",
            help="Write images and videos with faces framed and labeled; one video to FILE.webm, "
            "or as H.264 with its sound to FILE.mp4 (extra video).",
        ),
    ] = None,
    sort_into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy files into folders by the label of the main face."),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="With --sort-into: links instead of copies.")
    ] = False,
    montage: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Write a contact sheet of the faces with labels."),
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png|.html", help="Videos: write a chart of each track's probabilities."
        ),
    ] = None,
    device: DeviceOption = None,
    force: ForceOption = False,
    **typed: Any,  # noqa: ANN401  # the options that fields of the configuration declare
) -> Outcome:
    """Classify the expressions of faces in photos, videos, streams.

    An image of up to 96 pixels is taken as one face; in larger images, faces are detected. Each
    face is a row: file, label, confidence, probabilities, box. A photo without a face also gets a
    row, and so does a file that cannot be read, with the reason. Other files in a folder are
    counted and ignored. In a video, each sampled frame gives rows with its time and the track
    number of each face; a camera runs until --end or Ctrl-C. An ONNX model runs without torch.

    Exit status: 0 done, 2 bad options, 3 a path or camera is missing or nothing was found, 4 model
    missing or refused, 5 no such device or cluster, or a store refused the credentials, 7 some
    files could not be read or a live source was lost, 8 a store or cluster was lost, 130, 143 or
    129 stopped by Ctrl-C, SIGTERM or a closed terminal (rows of a live source are complete).

    Examples:
      fer predict faces/
      fer predict faces/ photo.jpg --model runs/fast --format csv > rows.csv
      fer predict faces/ --ext jpg,png --min-face 40 --excel --output faces.csv --force
      fer predict faces/ --annotate framed/ --montage sheet.png --force
      fer predict faces/ --sort-into sorted/ --link --force
      fer predict clip.mp4 --every 0.5s --smooth 1s --output clip.csv
      fer predict clip.mp4 --annotate framed/ --timeline clip.html --force
      fer predict 0 --end 10s --smooth 1s --output camera.csv
      fer predict faces/ --shard 0/8 --output parts --resume
      fer predict dataset.parquet --image-column image --output rows.csv
      fer predict faces/ --engine ray --output rows.jsonl
      ls *.png | fer predict - --model model.onnx --output rows.jsonl
    """
    from fercli.prediction import find_images
    from fercli.prediction.sources import Others
    from fercli.prediction.summary import PredictionSummary
    from fercli.prediction.writers import RowLayout

    chosen = drop_untyped(typed)
    source = choose_live_source(paths, resume=resume, sorts=sort_into is not None)
    _check_labels_of(labels_of)
    alone = {
        "--annotate": annotate, "--sort-into": sort_into, "--montage": montage,
        "--timeline": timeline, "a live source": source,
    }  # fmt: skip
    computes = choose_engine(engine, address, alone)
    if shard is not None:
        asked = _ShardOptions(
            shard, target, row_format, resume, force, excel, model, labels_of, device,
            split_endings(ext or []), chosen, computes,
        )  # fmt: skip
        return _predict_shard(output, paths, asked, [flag for flag, x in alone.items() if x])
    written = [
        path for path in (target, target and name_partial(target), montage, timeline) if path
    ]
    _check_apart(written, paths, chosen, resume=resume)
    rows_go = choose_target(
        row_format,
        target,
        json=output.json,
        resume=resume,
        force=force,
        for_excel=excel,
        # An annotated video has all of its frames; an actor begins one anew.
        within_clips=annotate is None and not computes.on_ray,
    )
    endings, others = split_endings(ext or []), Others()
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
    runtime, found = _open_model(output, model, labels_of, name, written, computes)
    title, parallel = found.title, _is_parallel(found, name)
    sinks += pictures.open_timeline(runtime.labels)
    summary = PredictionSummary(
        runtime.labels,
        rows=[] if output.json and rows_go.kind == "table" else None,
        others=others,
    )
    layout = RowLayout(runtime.labels, smooth=bool(config.smooth_s), model=title, for_excel=excel)
    job = computes.describe_job(
        found, runtime, config, device=name, labels_of=labels_of, endings=endings, for_excel=excel,
        typed=chosen,
    )  # fmt: skip
    given = FileSource(
        files, "-" not in paths, parallel, title, endings, computes.prepare(job, output)
    )
    started = perf_counter()
    with (
        open_live(source, runtime, config, output, title)
        if source
        else open_work(given, runtime, config, summary) as work,
        open_rows(rows_go, layout, shown=not output.json) as rows,
        _watch(output, rows_go, work.follow) as on_progress,
        contextlib.closing(work.start(rows)) as predictions,
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


def _check_apart(
    written: list[Path], paths: list[str], chosen: dict[str, Any], *, resume: bool
) -> None:
    given = chosen.get("detector_weights")
    if not resume:
        check_apart(written, [*map(Path, paths), *([given] if given else [])])


def _check_labels_of(labels_of: str | None) -> None:
    if labels_of is not None and (
        problems := find_unknown_choice("--labels-of", labels_of, ("fer2013",))
    ):
        raise ConfigError(*problems)


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
        output.note(f"{videos} of them in archives or stores: only videos on disk are read")
    if summary.n_missed >= _MANY_MISSED:
        missed = f"haar found no face in {summary.n_missed:,} photos"
        output.note(f"{missed}; --faces yunet also finds turned and covered faces")
    if summary.n_unwritten:
        more = f"; {summary.n_unwritten - 1:,} more failed" if summary.n_unwritten > 1 else ""
        output.warn(f"a picture or copy was not written: {summary.unwritten}{more}")


def _open_model(
    output: Output,
    model: str | None,
    labels_of: str | None,
    device: str,
    written: list[Path],
    engine: Engine,
) -> tuple[Runtime, ModelFile]:
    """Return the model ready to run, and its file."""
    from fercli.images.memory import return_large_blocks
    from fercli.inference import choose_labels
    from fercli.model_files import find_model, open_runtime

    return_large_blocks()
    on_cpu = device in {"auto", "cpu"}
    found = find_model(model, prefer_onnx=on_cpu, for_photos=True)
    check_apart(written, found.files)
    if found.remark:
        output.note(found.remark)
    here = engine.name_own_device(device)
    runtime = choose_labels(open_runtime(found, device=here, n_threads=1), labels_of)
    warn_if_synthetic(output, runtime.metadata)
    return runtime, found


def _is_parallel(file: ModelFile, device: str) -> bool:
    """Return whether threads may share the model."""
    return file.is_onnx and device in {"auto", "cpu"}


@dataclass(frozen=True)
class _ShardOptions:
    """What was typed, for a shard."""

    shard: str
    folder: Path | None
    row_format: str | None
    resume: bool
    force: bool
    for_excel: bool
    model: str | None
    labels_of: str | None
    device: str | None
    endings: frozenset[str]
    config: dict[str, Any]
    engine: Engine


def _predict_shard(
    output: Output, paths: list[str], asked: _ShardOptions, alone: list[str]
) -> Outcome:
    """Write the part of a shard, or find that it is there.

    Args:
        output: Speaks.
        paths: What was typed.
        asked: The same.
        alone: Options among them that are of one process with all rows.
    """
    from fercli.prediction import find_images
    from fercli.prediction.parts import Origin, PartRows, write_part
    from fercli.prediction.shards import ShardInputs
    from fercli.prediction.sources import Others
    from fercli.prediction.summary import PredictionSummary
    from fercli.prediction.writers import RowLayout

    part = choose_part(
        asked.shard, asked.folder, asked.row_format, resume=asked.resume, force=asked.force,
        for_excel=asked.for_excel, alone=alone,
    )  # fmt: skip
    files_written = [part.path, name_partial(part.path), part.side]
    _check_apart(files_written, paths, asked.config, resume=False)
    others = Others()
    config = _build_config(output, asked.config)
    lines: Iterable[str] = _read_stdin() if "-" in paths else ()
    if part.resume and part.side.exists():
        # The list is gone through to compare it, and once more where the part is written anew.
        lines = list(lines)

    def list_files(others: Others | None = None) -> Iterator[Path | StoredObject]:
        return find_images(
            paths, lines, [part.folder], keep=True, endings=asked.endings, others=others
        )

    # A file that is missing is said before whether it would be used.
    files = list_files(others)
    name = choose_device_name(asked.device)
    runtime, found = _open_model(
        output, asked.model, asked.labels_of, name, files_written, asked.engine
    )
    layout = RowLayout(
        runtime.labels, smooth=bool(config.smooth_s), model=found.title, for_excel=asked.for_excel
    )
    job = asked.engine.describe_job(
        found, runtime, config, device=name, labels_of=asked.labels_of, endings=asked.endings,
        for_excel=asked.for_excel, typed=asked.config,
    )  # fmt: skip
    origin = job.origin if job else Origin.describe(
        found.title, found.compute_digest(), runtime, config, labels_of=asked.labels_of,
        excel=asked.for_excel, ext=sorted(asked.endings),
    )  # fmt: skip
    summary = PredictionSummary(runtime.labels, rows=None, others=others)
    inputs = ShardInputs(part.shard)
    parallel = _is_parallel(found, name)
    # Another shard's files would be counted, too: what is left is not known.
    finished = part.find_finished(origin, list_files)
    given = FileSource(
        files, is_counted=False, parallel=parallel, title=found.title, endings=asked.endings,
        connect=None if finished else asked.engine.prepare(job, output),
    )  # fmt: skip
    started = perf_counter()
    with open_work(given, runtime, config, summary, inputs) as work:
        if finished is None:
            with (
                work.follow(output) as on_progress,
                contextlib.closing(work.start(None)) as predictions,
            ):
                write_part(
                    part,
                    PartRows(layout, origin, inputs),
                    predictions,
                    summary,
                    lambda prediction: on_progress(prediction, summary, None),
                )
        else:
            summary.n_resumed = finished.counts.get("n_inputs", 0)
            output.note(f"shard {part.shard} is finished: {part.path} is left as it is")
    _note_passed_over(output, summary)
    result = summary.conclude(perf_counter() - started, output=part.path, model=found.title)
    result = replace(result, shard=str(part.shard))
    return _conclude(output, result, layout, Target(part.kind, None), [], work)


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
        output.note("if every picture is a single face, give --faces whole")
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
            print_tracks(console, result.tracks)

    status = ExitStatus.PARTIAL if result.n_skipped else ExitStatus.DONE
    return Outcome(data, show, status, errors, signal_number=work.get_signal())


def _list_troubles(output: Output, result: PredictResult, work: Work) -> list[dict[str, str]]:
    """Say what kept a result from being all that was asked for, and return it for the envelope."""
    errors = []
    if result.n_skipped:
        message = f"{result.n_skipped} of {count(result.n_inputs, 'file')} could not be read"
        hint = "each has a row with the reason"
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
    passed = f"{result.n_resumed:,} already had rows, " if result.n_resumed else ""
    frames = f" ({count(result.n_frames, 'frame')})" if result.n_frames else ""
    # A photo may take a second.
    rate = f"{result.images_per_s:,.{0 if result.images_per_s >= 10 else 1}f}"
    return (
        f"{count(result.n_inputs, 'file')}{frames}: {passed}{faces}, {result.n_skipped:,} skipped, "
        f"{rate} {'images' if result.n_frames else 'files'}/s"
    )


def _read_stdin() -> Iterator[str]:
    # Bytes that are not UTF-8 come through as they are in file names.
    for line in sys.stdin.buffer if sys.stdin else ():
        yield line.decode("utf-8", "surrogateescape")
