"""Accuracy on `public` over the minutes of training that it took, of runs, by their own records.

Each RUN is a run folder, `NAME=RUN` names its line. Time is what the processor worked, in
minutes of one core: the run's processor time, from `run.json`, shared out among its epochs by the
pixels of their images, since the clock's time of an epoch holds other work, too. On a GPU it is the
clock's, whatever shared the GPU, and such runs are plotted beside the others. What a run was begun
with, or taught by, is named in the table and is not counted. Of a run that is not finished its
epochs so far are drawn, dashed, by the time of the quickest of them.

python benchmarks/accuracy_over_time.py [NAME=]RUN... [--picture FILE.png] [--write]
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from _report import RESULTS, add_write_option, print_header, publish

from fercli.metrics import compute_wilson_interval
from fercli.plots.figures import build_figure, save_figure
from fercli.runs import RunFolder, read_history, read_run_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from fercli.metadata import RunRecord

SPLIT: Final = "public"
GOALS: Final = (0.612, 0.66, 0.69, 0.72)
"""The notebook's end, and what stands between it and the best single networks."""
COLORS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Okabe and Ito's, which are told apart by the color-blind too."""
TICKS: Final = (0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Curve:
    """A run as a line."""

    name: str
    """What it is called."""
    record: RunRecord
    """Its `run.json`."""
    minutes: tuple[float, ...]
    """One core's, or of a GPU, until each epoch's end."""
    accuracies: tuple[float, ...]
    """On `public`, plain."""

    @property
    def title(self) -> str:
        """What its line is called, with how far it is where it is not finished."""
        if self.record.result is not None:
            return self.name
        return f"{self.name}, {len(self.minutes)} of its {self.record.config['epochs']} epochs"

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU trained it."""
        return is_on_gpu(self.record)

    @property
    def best(self) -> float:
        """The accuracy of the epoch that was kept."""
        return max(self.accuracies)

    def find_minutes(self, goal: float) -> float | None:
        """Return when an accuracy was first reached; None where it was not."""
        pairs = zip(self.minutes, self.accuracies, strict=True)
        return next((minute for minute, accuracy in pairs if accuracy >= goal), None)


def main() -> None:
    """Read the runs, print the table, plot the lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="[NAME=]RUN")
    parser.add_argument(
        "--picture",
        type=Path,
        default=RESULTS.parent / "accuracy-over-time.png",
        help="default: %(default)s",
    )
    add_write_option(parser)
    options = parser.parse_args()
    curves = [read_curve(text) for text in options.runs]
    with publish("accuracy over time", write=options.write):
        print_header("accuracy on public over minutes of one core, or of a GPU")
        print_table(curves)
    plot(curves, options.picture)


def read_curve(text: str) -> Curve:
    """Return the line of a run."""
    name, found, folder = text.rpartition("=")
    run = RunFolder(Path(folder))
    record = read_run_record(run.path)
    result = record.result
    if record.dataset.validation != SPLIT:
        sys.exit(f"{SPLIT} does not choose the epoch of {folder}")
    history = read_history(run)
    if not history:
        sys.exit(f"{folder} has no epoch yet")
    accuracies = tuple(epoch.validation_accuracy for epoch in history)
    title = name if found else run.path.name
    if is_on_gpu(record):
        seconds = itertools.accumulate(epoch.duration_s for epoch in history)
        return Curve(title, record, tuple(end / 60 for end in seconds), accuracies)
    areas = measure_images(record, len(history))
    if result is None:
        unit_s = min(epoch.duration_s / area for epoch, area in zip(history, areas, strict=True))
    else:
        unit_s = (result.cpu_s or sum(epoch.duration_s for epoch in history)) / sum(areas)
    ends = itertools.accumulate(unit_s * area / 60 for area in areas)
    return Curve(title, record, tuple(ends), accuracies)


def is_on_gpu(record: RunRecord) -> bool:
    """Tell whether a GPU trained a run."""
    return str(record.config["device"]).startswith("cuda")


def measure_images(record: RunRecord, n_epochs: int) -> list[int]:
    """Return the pixels of an image in each of the first epochs."""
    sizes = cast("Sequence[int]", record.config["sizes_px"])
    n_all = cast("int", record.config["epochs"])
    return [sizes[int((epoch + 0.5) / n_all * len(sizes))] ** 2 for epoch in range(n_epochs)]


def print_table(curves: list[Curve]) -> None:
    """Print when each line crosses each goal, and where it ends."""
    goals = "".join(f"{f'min to {goal:.1%}':>15}" for goal in GOALS)
    print(f"{'run':32}{'weights':>11}{'epochs':>8}{'minutes':>9}{'best':>8}  {'95 %':15}{goals}")
    for curve in curves:
        result = curve.record.result
        n_images = curve.record.dataset.n_validation
        low, high = compute_wilson_interval(round(curve.best * n_images), n_images)
        reached = (curve.find_minutes(goal) for goal in GOALS)
        times = "".join(f"{'-' if at is None else write_minutes(at):>15}" for at in reached)
        parameters = "-" if result is None else f"{result.parameters:,}"
        print(
            f"{curve.title:32}{parameters:>11}{len(curve.minutes):>8}"
            f"{write_minutes(curve.minutes[-1]):>9}"
            f"{curve.best:>8.2%}  {f'{low:.1%} to {high:.1%}':15}{times}"
        )
    for curve in curves:
        begun = curve.record.init
        teachers = " and ".join(teacher.model for teacher in curve.record.teachers)
        more = [f"began with {begun.model}"] if begun else []
        more += [f"taught by {teachers}"] if teachers else []
        print(f"  {curve.name}: {', '.join([curve.record.device, *more])}")


def write_minutes(minutes: float) -> str:
    """Return minutes with a digit behind the point, or two where there are few."""
    return f"{minutes:.2f}" if minutes < 1 else f"{minutes:.1f}"


def plot(curves: list[Curve], path: Path) -> None:
    """Plot a line per run, those of a GPU beside the others."""
    groups = {False: "one core", True: "one GPU"}
    parts = {
        unit: [curve for curve in curves if curve.on_gpu is gpu] for gpu, unit in groups.items()
    }
    panels = {unit: part for unit, part in parts.items() if part}
    figure = build_figure(3 + 5 * len(panels), 4.8)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    for axes, (unit, part) in zip(grid[0], panels.items(), strict=True):
        draw(axes, part, unit)
    grid[0, 0].set_ylim(bottom=40)
    grid[0, 0].set_ylabel("accuracy on PublicTest, plain, %")
    figure.suptitle(
        "FER2013: accuracy over training time, best epoch so far, n = 3,589", fontsize=11
    )
    save_figure(figure, path)


def draw(axes: Axes, curves: list[Curve], unit: str) -> None:
    """Draw a line per run; the best so far, since that is what a run keeps."""
    styles = itertools.cycle(zip(COLORS, MARKERS, strict=True))
    for curve, (color, marker) in zip(curves, styles, strict=False):
        kept = [100 * accuracy for accuracy in itertools.accumulate(curve.accuracies, max)]
        axes.plot(
            curve.minutes,
            kept,
            color=color,
            marker=marker,
            markersize=4,
            markevery=max(1, len(kept) // 12),
            linestyle="-" if curve.record.result else "--",
            label=f"{curve.title}: {curve.best:.1%}",
        )
    for goal in GOALS:
        axes.axhline(100 * goal, color="0.85", linewidth=0.8, zorder=0)
    axes.set_xscale("log")
    ticks = [tick for tick in TICKS if curves_span(curves, tick)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"minutes of training on {unit} (logarithmic)")
    axes.legend(loc="lower right", fontsize=8, framealpha=1)
    axes.spines[["top", "right"]].set_visible(False)


def curves_span(curves: list[Curve], minute: float) -> bool:
    """Tell whether a tick lies where lines are."""
    first = min(curve.minutes[0] for curve in curves)
    last = max(curve.minutes[-1] for curve in curves)
    return first / 2 <= minute <= 2 * last


if __name__ == "__main__":
    main()
