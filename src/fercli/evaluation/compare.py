"""Several models on the same images: how good, how sure of the difference, at what cost."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.config import DEFAULTS
from fercli.dependencies import import_pandas
from fercli.errors import ConfigError, DeviceUnavailableError, FercliError, ModelFileError
from fercli.evaluation.evaluate import Evaluation, evaluate
from fercli.inference import predict_in_batches
from fercli.inference.external import (
    SCALINGS,
    ExternalRuntime,
    count_parameters,
    parse_labels,
)
from fercli.inference.onnx import is_exported
from fercli.inference.runtime import LabelSubsetRuntime
from fercli.metrics import (
    adjust_holm,
    bootstrap_difference,
    compute_mcnemar,
    compute_mean_interval,
)
from fercli.model_files import open_runtime
from fercli.plots import (
    check_format,
    letter_of,
    list_figure_names,
    name_figures,
    name_in_picture,
    plot_cost,
    plot_faces,
    plot_histories,
    save_figure,
)
from fercli.ranges import find_unknown_choice
from fercli.results import ComparedModel, ComparisonResult, PairedDifference, RepeatedScores
from fercli.runs import RunFolder, find_repeats, read_history, read_run_record
from fercli.settings import build_config, flatten_config
from fercli.storage import check_apart, check_outputs, remove_others, write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from matplotlib.figure import Figure
    from pandas import DataFrame

    from fercli.data import Dataset
    from fercli.inference import Runtime
    from fercli.model_files import ModelFile

__all__ = [
    "COMPARISON_FILES",
    "Candidate",
    "Comparison",
    "check_names",
    "compare",
    "list_runs",
    "open_candidate",
    "write_comparison",
]

COMPARISON_FILES: Final = {
    "comparison": "comparison.json",
    "disagreements": "disagreements.png",
    "cost": "cost.png",
    "curves": "curves.png",
}
"""What each file is, and its name; curves only where two runs are compared."""
_SIGNIFICANT: Final = 0.05
_N_TIMED: Final = 512
_ROUNDS: Final = 3
_BOOTSTRAP_SEED: Final = 0
_N_FACES: Final = 32
_N_NAMED: Final = 3
"""Different answers that stand under a face; more would not be legible."""


@dataclass(frozen=True)
class Candidate:
    """A model to compare."""

    name: str
    """What to call it."""
    model: ModelFile
    """Its file."""
    runtime: Runtime
    """The same, opened, with the dataset's labels."""
    ignored_labels: tuple[str, ...] = ()
    """Labels of the model that the runtime leaves out."""


@dataclass(frozen=True)
class Comparison:
    """A comparison of models, and the predictions that it was computed from."""

    result: ComparisonResult
    """The figures."""
    evaluations: list[Evaluation]
    """Of each model, in order; labels in each model's own order."""
    candidates: tuple[Candidate, ...]
    """What was compared."""

    def __repr__(self) -> str:
        models = ", ".join(f"{one.name} {one.scores.accuracy:.2%}" for one in self.result.models)
        return f"<comparison on {self.result.split}, n = {self.result.n_images:,}: {models}>"

    def _repr_html_(self) -> str:
        return f"{self.table.to_html()}{self.pairs.to_html()}"

    @property
    def table(self) -> DataFrame:
        """A row per model: accuracy and its interval, macro F1, ECE, parameters, size, speed.

        Raises:
            DependencyMissingError: pandas cannot be imported.
        """
        rows = [
            {
                "model": one.name, "accuracy": one.scores.accuracy,
                "accuracy_low": one.scores.accuracy_ci95[0],
                "accuracy_high": one.scores.accuracy_ci95[1],
                "macro_f1": one.scores.macro_f1, "ece": one.scores.ece,
                "parameters": one.parameters, "size_bytes": one.size_bytes,
                "images_per_s": one.images_per_s, "protocol": one.protocol,
            }
            for one in self.result.models
        ]  # fmt: skip
        frame: DataFrame = import_pandas().DataFrame(rows).set_index("model")
        return frame

    @property
    def pairs(self) -> DataFrame:
        """A row per two models: difference, its interval, p values, whether it is significant.

        Raises:
            DependencyMissingError: pandas cannot be imported.
        """
        rows = [dataclasses.asdict(pair) for pair in self.result.pairs]
        frame: DataFrame = import_pandas().DataFrame(rows)
        return frame

    def plot(self) -> Figure:
        """Return accuracy against parameters, size and speed as a matplotlib figure.

        Raises:
            DependencyMissingError: matplotlib cannot be imported.
        """
        title = f"accuracy against cost: {self.result.split}, n = {self.result.n_images:,}"
        return plot_cost(self.result.models, title)

    def save(
        self, folder: str | PathLike[str], *, overwrite: bool = False, figures: str = "png"
    ) -> ComparisonResult:
        """Write `comparison.json` and the pictures; return the result that names the files.

        Args:
            folder: Where to; made when missing.
            overwrite: Replace files that are there.
            figures: `png`, `pdf` or `svg`.

        Raises:
            ConfigError: `figures` is none of the formats.
            OutputExistsError: One of the files is there, and `overwrite` is not set.
            DependencyMissingError: matplotlib cannot be imported.
        """
        target = Path(folder)
        check_format(figures)
        check_outputs(target, list_figure_names(COMPARISON_FILES), force=overwrite)
        return write_comparison(self, target, figures)


def open_candidate(
    name: str,
    model: ModelFile,
    dataset: Dataset,
    *,
    device: str = "auto",
    order: str | Sequence[str] | None = None,
    scaling: str = "0-1",
) -> Candidate:
    """Open a model to compare; an ONNX file of somebody else as the arguments say.

    Args:
        name: What to call it.
        model: Its file.
        dataset: What it will be compared on; labels that it lacks are left out of an external
            model.
        device: Where it runs; an external model on the CPU only.
        order: What the outputs of an external model mean: names in order, or `fer2013`, `ferplus`
            or `folders`.
        scaling: How an external model wants its pixels.

    Raises:
        ModelFileError: It is damaged, or external and `order` does not say what its outputs mean.
        DeviceUnavailableError: It cannot run there.
        ConfigError: `order` or `scaling` is none of what it may be.
    """
    if not model.is_onnx or is_exported(model.path):
        return Candidate(name, model, open_runtime(model, device=device))
    if order is None:
        message = f"{name} is an ONNX model, but not one that fercli exported"
        raise ModelFileError(message, hint="name its outputs with --labels; see also --input")
    if device not in {"auto", "cpu"}:
        message = f"{name} was not exported by fercli, and such models run on the CPU only"
        raise DeviceUnavailableError(message, hint="use --device cpu")
    if problems := find_unknown_choice("input", scaling, SCALINGS):
        raise ConfigError(*problems)
    labels = parse_labels(order if isinstance(order, str) else ",".join(order))
    runtime = ExternalRuntime(model.path, labels, scaling)
    extra = tuple(label for label in labels if label not in dataset.label_names)
    if not extra or not set(dataset.label_names) <= set(labels):
        return Candidate(name, model, runtime)
    kept = tuple(label for label in labels if label not in extra)
    return Candidate(name, model, LabelSubsetRuntime(runtime, kept), extra)


def compare(
    candidates: Sequence[Candidate],
    dataset: Dataset,
    split: str,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare models.

    Args:
        candidates: At least two, with different names.
        dataset: Has the split, and the models' labels in any order.
        split: What to score on.
        on_progress: Called with the images that the models have answered, and with all they are
            asked.

    Raises:
        ModelFileError: A model's labels are not the dataset's, or are another task's.
    """
    evaluations = [
        evaluate(
            one.runtime, one.model, dataset, split, on_progress=_share(on_progress, at, candidates)
        )
        for at, one in enumerate(candidates)
    ]
    speeds = _measure_speeds([one.runtime for one in candidates], evaluations[0])
    models = [
        _describe(one, evaluation, speed)
        for one, evaluation, speed in zip(candidates, evaluations, speeds, strict=True)
    ]
    answers = np.stack([_name_answers(evaluation) for evaluation in evaluations])
    result = ComparisonResult(
        dataset=evaluations[0].result.dataset,
        split=split,
        n_images=answers.shape[1],
        models=models,
        pairs=_compare_pairs([model.name for model in models], evaluations),
        n_disagreements=int((answers != answers[0]).any(axis=0).sum()),
        settings=_list_differences(candidates),
        repeats=_sum_up_repeats(candidates, models),
    )
    return Comparison(result, evaluations, tuple(candidates))


def _share(
    on_progress: Callable[[int, int], None] | None, at: int, candidates: Sequence[Candidate]
) -> Callable[[int, int], None] | None:
    """Return what reports a model's images among those of all models."""
    if on_progress is None:
        return None
    return lambda done, total: on_progress(at * total + done, len(candidates) * total)


def write_comparison(
    comparison: Comparison, folder: Path, figures: str = "png"
) -> ComparisonResult:
    """Write everything, and return the result that names the files.

    Args:
        comparison: What `compare` returned.
        folder: Where to; made when missing.
        figures: Format of the pictures, of `FIGURE_FORMATS`.

    Raises:
        ConfigError: One of the files is a model's or the dataset's.
        DependencyMissingError: matplotlib cannot be imported.
    """
    paths = {kind: folder / name for kind, name in name_figures(COMPARISON_FILES, figures).items()}
    others = {name: folder / name for name in list_figure_names(COMPARISON_FILES)}
    for evaluation in comparison.evaluations:
        check_apart(others.values(), evaluation.sources)
    result = comparison.result
    written = ["cost"]
    save_figure(comparison.plot(), paths["cost"])
    if result.n_disagreements:
        save_figure(_plot_disagreements(comparison), paths["disagreements"])
        written.append("disagreements")
    histories = {
        one.name: history
        for one in comparison.candidates
        if (history := _find_history(one.model.run))
    }
    if len(histories) > 1:
        save_figure(
            plot_histories(histories, "training curves of the compared runs"), paths["curves"]
        )
        written.append("curves")
    remove_others(others, (paths[kind].name for kind in (*written, "comparison")))
    files = {kind: str(paths[kind]) for kind in (*written, "comparison")}
    named = dataclasses.replace(result, files=files)
    write_json(paths["comparison"], dataclasses.asdict(named))
    return named


def _measure_speeds(runtimes: list[Runtime], evaluation: Evaluation) -> list[list[float]]:
    """Return each model's images per second in several rounds, in turns: all share the noise.

    The evaluation before has paid for whatever a runtime prepares on its first call.
    """
    images = evaluation.images[:_N_TIMED]
    speeds: list[list[float]] = [[] for _ in runtimes]
    for _ in range(_ROUNDS):
        for index, runtime in enumerate(runtimes):
            started = time.perf_counter()
            predict_in_batches(runtime, images)
            speeds[index].append(len(images) / (time.perf_counter() - started))
    return speeds


def _describe(candidate: Candidate, evaluation: Evaluation, speeds: list[float]) -> ComparedModel:
    result, path = evaluation.result, candidate.model.path
    parameters = evaluation.metadata.parameters
    if parameters is None and candidate.model.is_onnx:
        parameters = count_parameters(path)
    return ComparedModel(
        name=candidate.name,
        model=result.model,
        model_sha256=result.model_sha256,
        protocol=result.protocol,
        scores=result.scores,
        parameters=parameters,
        size_bytes=path.stat().st_size,
        images_per_s=max(speeds),
        images_per_s_range=(min(speeds), max(speeds)),
        device=candidate.runtime.device,
        labels=result.labels,
        ignored_labels=list(candidate.ignored_labels),
    )


def _name_answers(evaluation: Evaluation) -> Any:  # noqa: ANN401  # an array of text
    """Return the label that each image got, `[N]` of text: models may order labels differently."""
    return np.array(evaluation.result.labels)[evaluation.plain.argmax(axis=1)]


def _compare_pairs(names: list[str], evaluations: list[Evaluation]) -> list[PairedDifference]:
    right = [evaluation.plain.argmax(axis=1) == evaluation.labels for evaluation in evaluations]
    generator = np.random.default_rng(_BOOTSTRAP_SEED)
    pairs = list(itertools.combinations(range(len(names)), 2))
    only = [
        (int((right[a] & ~right[b]).sum()), int((right[b] & ~right[a]).sum())) for a, b in pairs
    ]
    p_values = [compute_mcnemar(*counts) for counts in only]
    return [
        PairedDifference(
            first=names[a],
            second=names[b],
            difference=(counts[1] - counts[0]) / len(right[a]),
            difference_ci95=bootstrap_difference(right[a], right[b], generator),
            n_only_first=counts[0],
            n_only_second=counts[1],
            p_value=p_value,
            p_adjusted=adjusted,
            significant=adjusted < _SIGNIFICANT,
        )
        for (a, b), counts, p_value, adjusted in zip(
            pairs, only, p_values, adjust_holm(p_values), strict=True
        )
    ]


def list_runs(specs: Sequence[str]) -> list[str]:
    """Return names of models, those of the runs for a folder of repeated trainings."""
    runs = ((spec, find_repeats(Path(spec))) for spec in specs)
    return [one for spec, found in runs for one in (map(str, found) if found else [spec])]


def _sum_up_repeats(
    candidates: Sequence[Candidate], models: Sequence[ComparedModel]
) -> list[RepeatedScores]:
    """Return mean and interval of the runs that are of one folder of repeated trainings."""
    folders: dict[Path, list[ComparedModel]] = {}
    for candidate, model in zip(candidates, models, strict=True):
        run = candidate.model.run
        if run is not None and run in find_repeats(run.parent):
            folders.setdefault(run.parent, []).append(model)
    sums = []
    for folder, own in folders.items():
        if len(own) > 1:
            values = [one.scores.accuracy for one in own]
            mean, deviation, interval = compute_mean_interval(values)
            sums.append(
                RepeatedScores(
                    name=str(folder),
                    models=[one.name for one in own],
                    mean=mean,
                    standard_deviation=deviation,
                    mean_ci95=interval,
                )
            )
    return sums


def _list_differences(candidates: Sequence[Candidate]) -> dict[str, dict[str, Any]]:
    """Return the settings in which the runs among the models differ; none for fewer than two.

    A run of an older fercli did without settings that came later, which is what they default to.
    """
    configs = {
        one.name: _read_config(one.model.run) for one in candidates if one.model.run is not None
    }
    names = sorted({name for config in configs.values() for name in config})
    rows = {name: {run: config.get(name) for run, config in configs.items()} for name in names}
    return {
        name: row
        for name, row in rows.items()
        if any(value != next(iter(row.values())) for value in row.values())
    }


def _read_config(run: Path) -> dict[str, Any]:
    """Return a run's settings as this fercli would write them; a newer run's as they are."""
    own = read_run_record(run).config
    try:
        own = flatten_config(build_config(own))
    except ConfigError:
        own = {**flatten_config(DEFAULTS), **own}
    settings: dict[str, Any] = json.loads(json.dumps(own))
    return settings


def _find_history(run: Path | None) -> Any:  # noqa: ANN401  # a list of reports, or nothing
    """Return a run's epochs; a torn table of curves costs the curves and nothing else."""
    if run is None:
        return None
    try:
        return read_history(RunFolder(run))
    except FercliError:
        return None


def _plot_disagreements(comparison: Comparison) -> Figure:
    """Plot images on which the models differ, those first on which all are sure."""
    result, evaluations = comparison.result, comparison.evaluations
    answers = np.stack([_name_answers(evaluation) for evaluation in evaluations])
    sure = np.stack([evaluation.plain.max(axis=1) for evaluation in evaluations]).min(axis=0)
    differ = np.flatnonzero((answers != answers[0]).any(axis=0))
    chosen = differ[np.argsort(-sure[differ], kind="stable")][:_N_FACES]
    truth = np.array(evaluations[0].result.labels)[evaluations[0].labels]
    captions = [_caption(truth[image], list(answers[:, image])) for image in chosen]
    title = f"{result.split}: {len(differ):,} disagreements; true label above, the models' below\n"
    title += "\n".join(name_in_picture(index, one) for index, one in enumerate(result.models))
    return plot_faces(evaluations[0].images[chosen], title, columns=8, captions=captions)


def _caption(truth: str, answers: list[str]) -> str:
    """Return the true label and who says what, most voices first, always as many lines."""
    voices: dict[str, str] = {}
    for index, answer in enumerate(answers):
        voices[answer] = voices.get(answer, "") + letter_of(index)
    lines = [f"{who}: {answer}" for answer, who in sorted(voices.items(), key=_count_voices)]
    n_lines = min(len(answers), _N_NAMED)
    return "\n".join([truth, *lines[:n_lines], *[""] * (n_lines - len(lines))])


def _count_voices(voice: tuple[str, str]) -> int:
    return -len(voice[1])


def check_names(names: Sequence[str]) -> list[str]:
    """Return names of which none stands twice; copies get a number.

    Raises:
        ConfigError: There are fewer than two.
    """
    if len(names) < 2:
        message = "a comparison takes at least two models"
        raise ConfigError(message, hint="fer compare runs/fast runs/standard")
    distinct: list[str] = []
    for name in names:
        candidate, number = name, 2
        while candidate in distinct:
            candidate, number = f"{name} ({number})", number + 1
        distinct.append(candidate)
    return distinct
