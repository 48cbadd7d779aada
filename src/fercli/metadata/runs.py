"""What `run.json` holds, of one training or of repeated ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from fercli.metadata.networks import FORMER_NAMES
from fercli.metadata.origins import InitRecord, TeacherRecord
from fercli.metadata.records import Record, read_part, read_parts
from fercli.results import TrainResult

if TYPE_CHECKING:
    from fercli.fields import JsonObject

__all__ = [
    "REPEATS_SCHEMA",
    "RUN_SCHEMA",
    "ExtensionRecord",
    "RepeatsRecord",
    "RunDatasetRecord",
    "RunRecord",
]

REPEATS_SCHEMA: Final = 1
RUN_SCHEMA: Final = 1
"""Of `run.json`."""


@dataclass(frozen=True, kw_only=True)
class RunDatasetRecord(Record):
    """What a run learns from."""

    data: str | None = None
    """How it was named, for a later resume; None stands for the prepared default."""
    source: str
    """As `Dataset.source`."""
    sha256: str
    """As `Dataset.sha256`."""
    labels: tuple[str, ...] = ()
    """The K label names."""
    labeling: str = "source"
    """Whose they are, as `Dataset.labeling`."""
    targets: str = "labels"
    """What is learned, as `Dataset.learned`."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Images left out on request, per reason."""
    n_train: int
    """Training images."""
    validation: str
    """The split, or the fraction of train, that chooses the epoch."""
    n_validation: int
    """Images in it."""

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        return cls(
            data=values.maybe_text("data"),
            source=values.text("source"),
            sha256=values.text("sha256"),
            labels=values.texts("labels"),
            labeling=values.maybe_text("labeling") or "source",
            targets=values.maybe_text("targets") or "labels",
            dropped=values.counts("dropped"),
            n_train=values.count("n_train"),
            validation=values.text("validation"),
            n_validation=values.count("n_validation"),
            _raw=values.raw,
        )


@dataclass(frozen=True, kw_only=True)
class ExtensionRecord(Record):
    """The finished run that a longer one went on from."""

    run: str
    """Name of its folder."""
    epochs: int
    """Epochs that it had planned."""
    epochs_run: int
    """Epochs that it had run, of its own schedule; the next are of the longer one's."""
    started_at: str
    """When it began, in UTC."""
    validation_accuracy: float
    """What it had reached, in [0, 1]."""

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        return cls(
            run=values.text("run"),
            epochs=values.count("epochs"),
            epochs_run=values.count("epochs_run"),
            started_at=values.text("started_at"),
            validation_accuracy=values.number("validation_accuracy"),
            _raw=values.raw,
        )


@dataclass(frozen=True, kw_only=True)
class RunRecord(Record):
    """A run's `run.json`: written when it begins, completed when it ends."""

    schema: int = RUN_SCHEMA
    """Of the JSON object."""
    kind: str = "run"
    """Tells it from other JSON."""
    config: Mapping[str, object]
    """The flat configuration as it is written, for `settings.build_config`, which checks it."""
    versions: Mapping[str, str]
    """Of fercli, torch, numpy and python."""
    device: str
    """Name of the device."""
    processes: int = 1
    """That trained together."""
    dataset: RunDatasetRecord
    """What it learns from."""
    started_at: str
    """When, in UTC."""
    finished_at: str | None = None
    """When, in UTC; None before."""
    result: TrainResult | None = None
    """What was reached; None before it is finished."""
    teachers: tuple[TeacherRecord, ...] = ()
    """Who teaches, members left out."""
    init: InitRecord | None = None
    """The model it is fine-tuned from."""
    extends: ExtensionRecord | None = None
    """The finished run that it goes on from, for more epochs."""

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        values.check_head("run", RUN_SCHEMA)
        result = values.maybe_child("result")
        processes = values.maybe_count("processes")
        if processes == 0:
            values.complain("processes must be at least 1")
        finished_at = values.maybe_text("finished_at")
        if finished_at and result is None:
            values.refuse("result", "an object")
        return cls(
            config=_rename(values.child("config").raw),
            versions=values.text_map("versions"),
            device=values.text("device"),
            processes=processes or 1,
            dataset=RunDatasetRecord.read(values.child("dataset")),
            started_at=values.text("started_at"),
            finished_at=finished_at,
            result=None if result is None else _read_result(result),
            teachers=read_parts(values, "teachers", TeacherRecord),
            init=read_part(values, "init", InitRecord),
            extends=read_part(values, "extends", ExtensionRecord),
            _raw=values.raw,
        )


@dataclass(frozen=True, kw_only=True)
class RepeatsRecord(Record):
    """The `repeats.json` of repeated trainings: written when they begin, completed at their end."""

    schema: int = REPEATS_SCHEMA
    """Of the JSON object."""
    kind: str = "repeats"
    """Tells it from other JSON."""
    seeds: int
    """How many seeds; 0 for folds."""
    folds: int
    """How many folds; 0 for seeds."""
    config: Mapping[str, object]
    """The flat configuration that the runs vary."""
    processes: int = 1
    """That trained together."""
    data: str | None
    """How the dataset was named."""
    sha256: str
    """Digest of its tensors."""
    result: Mapping[str, object] | None = None
    """What they came to, for readers; None before the end."""

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        values.check_head("repeats", REPEATS_SCHEMA)
        result = values.maybe_child("result")
        return cls(
            seeds=values.count("seeds"),
            folds=values.count("folds"),
            config=values.child("config").raw,
            processes=values.maybe_count("processes") or 1,
            data=values.maybe_text("data"),
            sha256=values.text("sha256"),
            result=None if result is None else result.raw,
            _raw=values.raw,
        )


def _rename(config: Mapping[str, object]) -> Mapping[str, object]:
    """Return a configuration with today's names of what had another one."""
    return {
        key: FORMER_NAMES.get(str(value), value) if key in {"network", "recipe"} else value
        for key, value in config.items()
    }


def _read_result(values: JsonObject) -> TrainResult:
    """Return what a run reached; what was not measured yet is as `TrainResult` has it."""
    temperature = values.maybe_number("temperature")
    return TrainResult(
        run_directory=values.text("run_directory"),
        model=values.text("model"),
        network=values.text("network"),
        parameters=values.count("parameters"),
        epochs=values.count("epochs"),
        best_epoch=values.count("best_epoch"),
        validation_accuracy=values.number("validation_accuracy"),
        validation_split=values.text("validation_split"),
        duration_s=values.number("duration_s"),
        cpu_s=values.maybe_number("cpu_s") or 0.0,
        images_per_s=values.number("images_per_s"),
        device=values.text("device"),
        precision=values.text("precision"),
        seed=values.count("seed"),
        temperature=1.0 if temperature is None else temperature,
        members=values.maybe_count("members") or 0,
        onnx=values.maybe_text("onnx"),
        warnings=list(values.texts("warnings")),
    )
