"""A model card: what a model is, how good, for what, and for what not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from fercli.data.dataset import FERPLUS, is_synthetic_source
from fercli.errors import FercliError, ModelFileError
from fercli.evaluation.report import render
from fercli.model_files import read_metadata
from fercli.names import name_split
from fercli.recipes import write_command
from fercli.runs import RunFolder, read_run_record, read_scores
from fercli.storage import digest_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fercli.metadata import MemberRecord, ModelMetadata, ScoreRecord
    from fercli.model_files import ModelFile

__all__ = ["build_card", "describe_training"]

_TEMPLATE: Final = Path(__file__).with_name("card.md")
_FER2013: Final = (
    "FER2013 (Goodfellow et al. 2013, arXiv 1307.0414), gathered by web search. The licence of the "
    "pictures is unclear; none of them is in the model file."
)
_DRAWN: Final = "Synthetic faces that fercli makes itself: the model says nothing about real ones."
_VOTES: Final = (
    "The labels are FER+'s: the votes of ten people on each image (Barsoum et al., 2016; given "
    "under the MIT licence). They are another task than FER2013's labels, from which a third of "
    "them differ, and the scores of the two do not compare."
)
_OWN: Final = "The data of whoever trained it ({}); ask them about its licence and whom it shows."


def build_card(
    model: ModelFile,
    *,
    name: str | None = None,
    more: Mapping[str, str] | None = None,
    scores: Mapping[str, ScoreRecord] | None = None,
) -> str:
    """Return a model card in Markdown, with the YAML at its head that model hubs read.

    A model that comes with fercli brings its card; it is returned as it is.

    Args:
        model: Whose.
        name: What to call it; its file's or run's name by default.
        more: Facts to add to the first table, by name.
        scores: By split, as `describe_scores` returns them; those of the run by default.

    Raises:
        ModelFileError: The file is damaged or not a fercli model.
        DependencyMissingError: jinja2 cannot be imported.
    """
    brought = model.path.with_suffix(".md")
    if model.bundled and name is None and brought.exists():
        return brought.read_text(encoding="utf-8")
    metadata = read_metadata(model)
    run = RunFolder(model.run) if model.run else None
    if scores is None:
        scores = read_scores(run) if run else metadata.scores
    title = name or (model.run.resolve().name if model.run else model.path.stem)
    return render(
        _TEMPLATE,
        escape=False,
        name=title,
        file=model.bundled or model.path.name,
        front_matter=_write_front_matter(title, scores, is_bundled=bool(model.bundled)),
        facts={**_list_facts(model, metadata), **(more or {})},
        scores=scores,
        temperature=metadata.temperature,
        calibration=metadata.calibration,
        labels=metadata.labels,
        worst=_find_worst(scores, metadata),
        data=_describe_data(metadata),
        bundled=bool(model.bundled),
    )


def _write_front_matter(
    title: str, scores: Mapping[str, ScoreRecord], *, is_bundled: bool
) -> list[str]:
    """Return what hubs read of a card: every line is JSON behind a key, which YAML is too."""
    results = [
        {
            "task": {"type": "image-classification", "name": "facial expression recognition"},
            "dataset": {
                "type": "fer2013", "name": f"{entry.dataset.source}, {entry.protocol or 'unknown'}",
                "split": entry.split,
            },
            "metrics": [
                {"type": "accuracy", "value": round(entry.accuracy, 4)},
                {"type": "f1", "name": "macro F1", "value": round(entry.macro_f1, 4)},
            ],
        }
        for entry in scores.values()
    ]  # fmt: skip
    values: dict[str, object] = {
        # Of other models only those who trained them know.
        **({"license": "mit"} if is_bundled else {}),
        "library_name": "fercli",
        "pipeline_tag": "image-classification",
        "tags": ["facial-expression-recognition", "emotion-recognition", "fer2013", "onnx"],
    }
    if results:
        values["model-index"] = [{"name": title, "results": results}]
    # The letters that the template would escape as Markdown's are JSON's to escape here.
    text = {key: json.dumps(value) for key, value in values.items()}
    return [
        f"{key}: {line}".replace("|", "\\u007c").replace("<", "\\u003c")
        for key, line in text.items()
    ]


def describe_training(run: Path) -> str:
    """Return how a finished run was trained, in one line.

    Raises:
        ModelFileError: It is not a run, or not finished.
    """
    record = read_run_record(run)
    if record.result is None:
        message = f"the run {run} is not finished"
        raise ModelFileError(message)
    best, split = record.result.validation_accuracy, name_split(record.result.validation_split)
    minutes = sum_durations(run) / 60
    return f"`{write_command(record, public=True)}`, {minutes:.0f} minutes, {best:.2%} on {split}"


def sum_durations(run: Path) -> float:
    """Return the training seconds of a run and its members, as far as they are finished."""
    folders = [run, *(path.parent for path in RunFolder(run).members.glob("*/run.json"))]
    results = [read_run_record(folder).result for folder in folders]
    return sum(result.duration_s for result in results if result)


def _list_facts(model: ModelFile, metadata: ModelMetadata) -> dict[str, str]:
    dataset, quantized, members = metadata.dataset, metadata.quantized, metadata.members
    by_votes = dataset is not None and dataset.labeling == FERPLUS
    facts = {
        "file": f"{_code(model.path.name)}, {model.path.stat().st_size:,} bytes, sha256 "
        f"`{digest_file(model.path)}`",
        "network": f"{metadata.network.name}, {metadata.parameters or 0:,} "
        f"parameters{', weights in ' + quantized if quantized else ''}",
        "labels": ", ".join(metadata.labels) + ("; by FER+'s votes" if by_votes else ""),
        "input": "grey face crop, uint8 [N, 48, 48], 0 to 255",
        **(_list_members(members) if members else _list_choices(metadata)),
        **_list_beginnings(metadata),
        "data": f"{dataset.source}, sha256 `{dataset.sha256}`" if dataset else "unknown",
        "versions": f"fercli {metadata.fercli}"
        + (f", torch {metadata.torch}" if metadata.torch else ""),
    }
    if model.run is None:
        return facts
    try:
        record = read_run_record(model.run)
        command = write_command(record, public=True)
    except FercliError:
        return facts
    facts["trained by"] = _code(command)
    if record.result:
        minutes = sum_durations(model.run) / 60
        included = ", members included" if record.result.members else ""
        facts["duration"] = f"{minutes:.0f} minutes on {record.device}{included}"
        facts["training images"] = f"{record.dataset.n_train:,}"
    return facts


def _list_choices(metadata: ModelMetadata) -> dict[str, str]:
    """Return what was chosen of a training, and by what."""
    split = metadata.validation.split if metadata.validation else None
    return {
        "recipe, seed": f"{metadata.recipe}, {metadata.seed}",
        "epoch": f"{metadata.best_epoch} of {metadata.epochs}, the best on {split}",
    }


def _list_beginnings(metadata: ModelMetadata) -> dict[str, str]:
    """Return whose weights a training began with, where it did not begin from nothing."""
    init = metadata.init
    if init is not None:
        return {"began with": f"{init.model}, sha256 `{init.sha256}`, its last layer {init.head}"}
    return {"began with": f"weights of {metadata.pretrained}"} if metadata.pretrained else {}


def _list_members(members: Sequence[MemberRecord]) -> dict[str, str]:
    """Return what an ensemble is made of."""
    return {
        f"part {number}": f"{one.model}: {one.recipe}, seed {one.seed}, sha256 `{one.sha256}`"
        for number, one in enumerate(members, start=1)
    }


def _code(text: str) -> str:
    """Return text as Markdown shows code; a backtick would end it."""
    return f"`{text.replace('`', chr(39))}`"


class _Worst(NamedTuple):
    """The label that a model finds least often."""

    split: str
    label: str
    recall: float


def _find_worst(scores: Mapping[str, ScoreRecord], metadata: ModelMetadata) -> _Worst | None:
    """Return the label that is found least often, on the last split of the model's own kind."""
    drawn = is_synthetic_source(metadata.source)
    for split, entry in reversed(list(scores.items())):
        found = {label: one.recall for label, one in entry.per_class.items() if one.support}
        if found and is_synthetic_source(entry.dataset.source) == drawn:
            label = min(found, key=found.__getitem__)
            return _Worst(split, label, found[label])
    return None


def _describe_data(metadata: ModelMetadata) -> str:
    source = metadata.source or "unknown"
    if is_synthetic_source(source):
        return _DRAWN
    named = any(word in source.lower() for word in ("fer2013", "icml_face", "kaggle"))
    said = _FER2013 if named else _OWN.format(source)
    by_votes = metadata.dataset is not None and metadata.dataset.labeling == FERPLUS
    return f"{said}\n\n{_VOTES}" if by_votes else said
