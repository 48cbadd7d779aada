"""Predictions of a shard, which leave its part in a folder of parts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from fercli.cli._predict_end import conclude, note_passed_over
from fercli.cli._predict_outputs import choose_part
from fercli.cli._predict_request import PredictRequest, open_model
from fercli.cli._predict_sources import FileSource, open_work
from fercli.storage import name_partial

if TYPE_CHECKING:
    from fercli.cli._output import Outcome, Output
    from fercli.cli._predict_engine import Engine
    from fercli.prediction.sources import Others
    from fercli.prediction.stores import StoredObject

__all__ = ["predict_shard"]


def predict_shard(
    output: Output, request: PredictRequest, shard: str, engine: Engine, alone: list[str]
) -> Outcome:
    """Write the part of a shard, or find that it is there.

    Args:
        output: Speaks.
        request: What was typed.
        shard: The same, `K/N`.
        engine: What predicts.
        alone: Options that were typed and are of one process with all rows.

    Raises:
        FercliError: As `fer predict` says.
    """
    from fercli.prediction import find_images
    from fercli.prediction.parts import Origin, PartRows, write_part
    from fercli.prediction.shards import ShardInputs
    from fercli.prediction.sources import Others
    from fercli.prediction.summary import PredictionSummary

    part = choose_part(
        shard, request.target, request.row_format, resume=request.resume, force=request.force,
        for_excel=request.for_excel, alone=alone,
    )  # fmt: skip
    written = [part.path, name_partial(part.path), part.side]
    request.check_apart(written)
    endings, others = request.endings, Others()
    config = request.build_config(output)
    lines: Iterable[str] = request.read_paths()
    if part.resume and part.side.exists():
        # The list is gone through to compare it, and once more where the part is written anew.
        lines = list(lines)

    def list_files(others: Others | None = None) -> Iterator[Path | StoredObject]:
        return find_images(
            request.paths, lines, [part.folder], keep=True, endings=endings, others=others
        )

    # A file that is missing is said before whether it would be used.
    files = list_files(others)
    model = open_model(output, request, config, engine, written)
    title = model.file.title
    layout = model.build_layout(for_excel=request.for_excel)
    job = engine.describe_job(model, request)
    origin = job.origin if job else Origin.describe(
        title, model.file.compute_digest(), model.runtime, config, labels_of=request.labels_of,
        excel=request.for_excel, ext=sorted(endings),
    )  # fmt: skip
    summary = PredictionSummary(model.runtime.labels, rows=None, others=others)
    inputs = ShardInputs(part.shard)
    finished = part.find_finished(origin, list_files)
    # Another shard's files would be counted, too: what is left is not known.
    given = FileSource(
        files, is_counted=False, parallel=model.is_shared, title=title, endings=endings,
        connect=None if finished else engine.prepare(job, output),
    )  # fmt: skip
    started = perf_counter()
    with open_work(given, model.runtime, config, summary, inputs) as work:
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
    note_passed_over(output, summary)
    result = summary.conclude(perf_counter() - started, output=part.path, model=title)
    return conclude(output, replace(result, shard=str(part.shard)), layout, work)
