"""Predictions of this process, or of a cluster's actors for it: rows, pictures and copies."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePath
from time import perf_counter
from typing import TYPE_CHECKING

from fercli.cli._predict_end import conclude, note_passed_over
from fercli.cli._predict_outputs import Target, choose_target, open_rows
from fercli.cli._predict_request import PredictRequest, open_model
from fercli.cli._predict_sources import FileSource, open_live, open_work
from fercli.storage import name_partial

if TYPE_CHECKING:
    from fercli.cli._output import Outcome, Output
    from fercli.cli._predict_engine import Engine
    from fercli.cli._predict_sources import Follow, OnPrediction, Work
    from fercli.images import LiveSource
    from fercli.prediction.sinks import Sink
    from fercli.prediction.sources import Others
    from fercli.prediction.stores import StoredObject
    from fercli.prediction.summary import PredictionSummary
    from fercli.prediction.writers import RowLayout

__all__ = ["predict_rows"]


def predict_rows(
    output: Output, request: PredictRequest, source: LiveSource | None, engine: Engine
) -> Outcome:
    """Predict all that was asked for.

    Args:
        output: Speaks.
        request: What was typed.
        source: The live source, where it is one.
        engine: What predicts.

    Raises:
        FercliError: As `fer predict` says.
    """
    from fercli.prediction.sources import Others
    from fercli.prediction.summary import PredictionSummary

    written = _list_written(request)
    if not request.resume:
        request.check_apart(written)
    target = _choose_target(output, request, engine)
    endings, others = request.endings, Others()
    # A file that is missing is said before whether it would be used.
    config = request.build_config(output)
    sinks = request.pictures.open_sinks(
        [] if source else [PurePath(path) for path in request.paths], config
    )
    files = iter(()) if source else _find_files(request, endings, others)
    model = open_model(output, request, config, engine, written)
    labels, title = model.runtime.labels, model.file.title
    sinks += request.pictures.open_timeline(labels, config)
    summary = PredictionSummary(
        labels, rows=[] if output.json and target.kind == "table" else None, others=others
    )
    layout = model.build_layout(for_excel=request.for_excel)
    job = engine.describe_job(model, request)
    given = FileSource(
        files, "-" not in request.paths, model.is_shared, title, endings,
        engine.prepare(job, output),
    )  # fmt: skip
    started = perf_counter()
    with (
        open_live(source, model.runtime, config, output, title)
        if source
        else open_work(given, model.runtime, config, summary)
    ) as work:
        _write(output, work, summary, sinks, target, layout)
    for sink in sinks:
        sink.close()
    note_passed_over(output, summary)
    result = summary.conclude(perf_counter() - started, output=request.target, model=title)
    return conclude(output, result, layout, work, sinks=sinks, as_table=target.kind == "table")


def _list_written(request: PredictRequest) -> list[Path]:
    """Return the files that rows and single pictures go to."""
    target, pictures = request.target, request.pictures
    paths = (target, target and name_partial(target), pictures.montage, pictures.timeline)
    return [path for path in paths if path]


def _choose_target(output: Output, request: PredictRequest, engine: Engine) -> Target:
    return choose_target(
        request.row_format,
        request.target,
        json=output.json,
        resume=request.resume,
        force=request.force,
        for_excel=request.for_excel,
        # An annotated video has all of its frames; an actor begins one anew.
        within_clips=request.pictures.annotate is None and not engine.on_ray,
    )


def _find_files(
    request: PredictRequest, endings: frozenset[str], others: Others
) -> Iterator[Path | StoredObject]:
    from fercli.prediction import find_images

    return find_images(
        request.paths,
        request.read_paths(),
        request.pictures.list_outputs(request.target),
        keep=request.resume,
        endings=endings,
        others=others,
    )


def _write(
    output: Output,
    work: Work,
    summary: PredictionSummary,
    sinks: list[Sink],
    target: Target,
    layout: RowLayout,
) -> None:
    """Predict, and give each prediction to the rows and to the pictures."""
    with (
        open_rows(target, layout, shown=not output.json) as rows,
        _watch(output, target, work.follow) as on_progress,
        contextlib.closing(work.start(rows)) as predictions,
    ):
        for prediction in predictions:
            summary.add(prediction, rows)
            if sinks or work.source:
                # A picture without its row would be drawn again under another name; and who
                # follows what is live wants to see it.
                rows.flush()
            for sink in sinks:
                summary.keep(sink, prediction)
            on_progress(prediction, summary, work.total)
        summary.n_dropped = work.count_dropped()


def _watch(output: Output, target: Target, follow: Follow) -> AbstractContextManager[OnPrediction]:
    """Show progress, unless the rows themselves run over the same terminal."""
    if target.file is None and not output.json and sys.stdout.isatty():
        return contextlib.nullcontext(lambda *_: None)
    return follow(output)
