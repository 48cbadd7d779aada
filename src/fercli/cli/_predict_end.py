"""How `fer predict` ends: what was passed over, what it counted, its tables and its status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fercli.cli._exit import ExitStatus
from fercli.cli._output import Outcome, Output
from fercli.cli._predict_display import print_summary, print_tracks
from fercli.names import count, safe_name
from fercli.results import PredictResult, to_json
from fercli.signals import name_signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fercli.cli._predict_sources import Work
    from fercli.prediction.sinks import Sink
    from fercli.prediction.summary import PredictionSummary
    from fercli.prediction.writers import RowLayout

__all__ = ["conclude", "note_passed_over"]

_MANY_MISSED: Final = 3
"""Photos in which the cascade found nothing; from so many on another detector is named."""


def note_passed_over(output: Output, summary: PredictionSummary) -> None:
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


def conclude(
    output: Output,
    result: PredictResult,
    layout: RowLayout,
    work: Work,
    *,
    sinks: Sequence[Sink] = (),
    as_table: bool = False,
) -> Outcome:
    """Say what was done, and return what the command ends with.

    Args:
        output: Speaks.
        result: What was counted.
        layout: Of the rows, for those that go into the envelope.
        work: What was looked at.
        sinks: The pictures and copies that were made.
        as_table: Whether rows went to the terminal as a table.
    """
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
        if result.output or as_table:
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
