"""What is stored with a model, and in a run's `run.json`, as typed records.

JSON is read here once, at the edge: whatever is odd in it is a `ModelFileError` that names the file
and the field, and nothing later asks whether a value is of its type. A record keeps the object that
it was read from, so keys of a younger fercli, which are not read, survive a copy. Fields that an
older fercli did not write get what their absence meant. A library for schemas was considered: it
would be imported by every command, for a dozen classes.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar

from fercli.config import NetworkConfig
from fercli.errors import ConfigError, ModelFileError
from fercli.fields import JsonObject, find_flaw
from fercli.results import ClassScores, TrainResult

__all__ = [
    "ENSEMBLE",
    "MODEL_SCHEMA",
    "REPEATS_SCHEMA",
    "RUN_SCHEMA",
    "CalibrationRecord",
    "DatasetRecord",
    "DatasetReference",
    "DeduplicatedRecord",
    "ExtensionRecord",
    "InitRecord",
    "MemberRecord",
    "ModelMetadata",
    "NetworkRecord",
    "RepeatsRecord",
    "RunDatasetRecord",
    "RunRecord",
    "ScoreRecord",
    "TeacherRecord",
    "ValidationRecord",
    "read_teachers",
]

MODEL_SCHEMA: Final = 1
"""Of what is stored with a model."""
REPEATS_SCHEMA: Final = 1
RUN_SCHEMA: Final = 1
"""Of `run.json`."""
ENSEMBLE: Final = "ensemble"
"""What stands for the network of models that were joined into one ONNX file."""
_FORMER_NAMES: Final = {"seed": "notebook"}
"""What the network and the recipe of a name were called in files of 2026-11-23 and before."""
_COOLEST: Final = 0.01
_WARMEST: Final = 100.0
"""Temperatures that are read; those that are fitted are in [0.25, 4]."""


@dataclass(frozen=True, kw_only=True)
class _Record:
    """A JSON object with names and types."""

    _raw: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """What it was read from, unknown keys included; None where it was not read."""

    @classmethod
    def from_json(cls, value: object, *, path: Path) -> Self:
        """Return the record that a parsed JSON value holds.

        Args:
            value: What a JSON parser gave.
            path: The file that it stands in, for errors.

        Raises:
            ModelFileError: It is no such record, a field is missing or of another type, or the
                schema is a newer one.
        """
        return cls.read(_open(value, path))

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """Return the record that a part of a JSON value holds; see `from_json`."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values: what was read, or what is written of a new one."""
        if self._raw is not None:
            return copy.deepcopy(dict(self._raw))
        return {name: _to_plain(getattr(self, name)) for name in self._list_keys()}

    def replace(self, **changes: Any) -> Self:  # noqa: ANN401  # fields of the record
        """Return it with other fields; of one that was read, new keys are written last."""
        raw = self._raw
        if raw is not None:
            raw = {**raw, **{name: _to_plain(value) for name, value in changes.items()}}
        return dataclasses.replace(self, **changes, _raw=raw)

    def _list_keys(self) -> Iterable[str]:
        """Return which fields are written, in their order."""
        names = (item.name for item in dataclasses.fields(self))
        return [name for name in names if not name.startswith("_")]


_R = TypeVar("_R", bound=_Record)


@dataclass(frozen=True, kw_only=True)
class NetworkRecord(_Record):
    """A network by name and settings; of an ensemble, the networks of its members."""

    name: str = "unknown"
    """As `NetworkConfig.network`, or `ENSEMBLE`."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """The other fields of `NetworkConfig`; a fercli that runs an ONNX need not know them all."""
    networks: tuple[NetworkRecord, ...] = ()
    """Of an ensemble's members."""

    @classmethod
    def from_config(cls, config: NetworkConfig) -> Self:
        """Return what is stored of a configuration."""
        settings = {item.name: getattr(config, item.name) for item in dataclasses.fields(config)}
        return cls(name=settings.pop("network"), settings=settings)

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        name = values.text("network")
        name = _FORMER_NAMES.get(name, name)
        if name == ENSEMBLE:
            networks = _read_parts(values, "networks", cls)
            return cls(name=name, networks=networks, _raw=values.raw)
        settings = {
            key: values.value_like(key, _SETTINGS[key]) if key in _SETTINGS else value
            for key, value in values.raw.items()
            if key != "network"
        }
        return cls(name=name, settings=settings, _raw=values.raw)

    @property
    def is_ensemble(self) -> bool:
        """Whether it stands for several networks."""
        return self.name == ENSEMBLE

    def build_config(self, path: Path) -> NetworkConfig:
        """Return its configuration; settings that it lacks came later, and default to what it did.

        Args:
            path: The file that it stands in, for errors.

        Raises:
            ModelFileError: It is several networks, or one that this fercli lacks.
        """
        if self.is_ensemble:
            message = f"{path} is an ensemble, which is several networks"
            raise ModelFileError(message, hint="name one of its members")
        unknown = sorted(ascii(key) for key in self.settings.keys() - _SETTINGS.keys())
        if unknown:
            message = f"{path}: this fercli does not know the network's {', '.join(unknown)[:200]}"
            raise ModelFileError(message, hint="use the fercli that wrote it")
        try:
            return NetworkConfig(network=self.name, **self.settings)  # type: ignore[arg-type]  # checked when read
        except ConfigError as reason:
            message = f"{path} holds a network that this fercli cannot build ({reason.message})"
            raise ModelFileError(message) from reason

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values; the settings stand beside the name."""
        if self._raw is not None:
            return super().to_json()
        more = {"networks": self.networks} if self.is_ensemble else self.settings
        return {"network": self.name, **{key: _to_plain(value) for key, value in more.items()}}

    def replace(self, **changes: Any) -> Self:  # noqa: ANN401  # fields of the record
        """Return it with other fields, written anew: its fields are not the keys of the JSON."""
        return dataclasses.replace(self, **changes, _raw=None)


_SETTINGS: Final[Mapping[str, object]] = {
    item.name: item.default for item in dataclasses.fields(NetworkConfig) if item.name != "network"
}
"""Every setting of a network, and its default."""


@dataclass(frozen=True, kw_only=True)
class DatasetReference(_Record):
    """Which dataset."""

    source: str
    """What it was prepared from, as `Dataset.source`."""
    sha256: str
    """Digest of its arrays."""

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        return cls(source=values.text("source"), sha256=values.text("sha256"), _raw=values.raw)


@dataclass(frozen=True, kw_only=True)
class DatasetRecord(DatasetReference):
    """What a model learned from."""

    labeling: str = "source"
    """Whose its labels are, as `Dataset.labeling`."""
    targets: str = "labels"
    """What of it was learned, as `Dataset.learned`."""

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        return cls(
            source=values.text("source"),
            sha256=values.text("sha256"),
            labeling=values.maybe_text("labeling") or "source",
            targets=values.maybe_text("targets") or "labels",
            _raw=values.raw,
        )


@dataclass(frozen=True, kw_only=True)
class ValidationRecord(_Record):
    """What chose the epoch."""

    split: str
    """A split, or a fraction of train."""
    n_images: int
    """Images in it."""
    accuracy: float
    """Of the chosen epoch, in [0, 1]."""

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        return cls(
            split=values.text("split"),
            n_images=values.count("n_images"),
            accuracy=values.number("accuracy"),
            _raw=values.raw,
        )


@dataclass(frozen=True, kw_only=True)
class CalibrationRecord(_Record):
    """What a temperature was fitted on, and what it did there."""

    split: str
    """A split, or a fraction of train."""
    n_images: int
    """Images in it."""
    ece_before: float
    """Expected calibration error at temperature 1."""
    ece_after: float
    """The same at the fitted temperature."""
    nll_before: float
    """Mean negative log-likelihood at temperature 1, nats."""
    nll_after: float
    """The same at the fitted temperature."""

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        return cls(
            split=values.text("split"),
            n_images=values.count("n_images"),
            ece_before=values.number("ece_before"),
            ece_after=values.number("ece_after"),
            nll_before=values.number("nll_before"),
            nll_after=values.number("nll_after"),
            _raw=values.raw,
        )


def _read_origin(values: JsonObject) -> dict[str, Any]:
    """Return the fields that every record of an earlier model has."""
    return {
        "model": values.maybe_text("model") or "unknown",
        "sha256": values.text("sha256"),
        "validation": _read_part(values, "validation", ValidationRecord),
        "chosen_on": values.texts("chosen_on"),
        "_raw": values.raw,
    }


@dataclass(frozen=True, kw_only=True)
class TeacherRecord(_Record):
    """A model that taught another one."""

    model: str = "unknown"
    """What it is called."""
    sha256: str
    """As `ModelFile.compute_digest`."""
    validation: ValidationRecord | None = None
    """What chose its epoch; None of an ensemble, or where nothing is known."""
    chosen_on: tuple[str, ...] = ()
    """Splits, or fractions of train, that chose it and what it was made from."""

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        return cls(
            **_read_origin(values),
        )


@dataclass(frozen=True, kw_only=True)
class MemberRecord(TeacherRecord):
    """A model that is a part of another one."""

    recipe: str | None = None
    """Of its training; None where nothing is known, as below."""
    seed: int | None = None
    """Of its training."""
    epochs: int | None = None
    """That it was trained."""

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        return cls(
            **_read_origin(values),
            recipe=values.maybe_text("recipe"),
            seed=values.maybe_count("seed"),
            epochs=values.maybe_count("epochs"),
        )


@dataclass(frozen=True, kw_only=True)
class InitRecord(TeacherRecord):
    """A model that another one was fine-tuned from."""

    head: str
    """What became of its last layer: `kept`, or `new` where it knew other labels."""

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        return cls(
            **_read_origin(values),
            head=values.text("head"),
        )


@dataclass(frozen=True, kw_only=True)
class DeduplicatedRecord(_Record):
    """A score without images that were learned from."""

    n_images: int
    """Images that were not."""
    accuracy: float | None
    """On those, in [0, 1]; None where there is none."""
    n_seen: int | None = None
    """Images left out; None where it was not noted."""
    source: str | None = None
    """Who knew which; None where it was not noted."""

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        return cls(
            n_images=values.count("n_images"),
            accuracy=values.maybe_number("accuracy"),
            n_seen=values.maybe_count("n_seen"),
            source=values.maybe_text("source"),
            _raw=values.raw,
        )


@dataclass(frozen=True, kw_only=True)
class ScoreRecord(_Record):
    """What is kept of an evaluation: a line of `scores.jsonl`, what a model card shows."""

    at: str
    """When, in UTC."""
    split: str
    """The split scored."""
    protocol: str | None = None
    """As `EvaluationResult.protocol`; None where it was not judged."""
    dataset: DatasetReference
    """What it is a split of."""
    model_sha256: str
    """As `EvaluationResult.model_sha256`."""
    n_images: int
    """Images scored."""
    accuracy: float
    """Plain, in [0, 1]."""
    accuracy_ci95: tuple[float, float]
    """95 % Wilson interval of it."""
    macro_f1: float
    """Mean F1 over the labels."""
    ece: float | None = None
    """Expected calibration error; None where it was not computed."""
    tta_accuracy: float | None = None
    """With the mean of image and mirror image; None where it was not asked for."""
    deduplicated: DeduplicatedRecord | None = None
    """Without images that were learned from; None where those are unknown."""
    per_class: Mapping[str, ClassScores] = field(default_factory=dict)
    """Scores by label; none where they were not kept."""

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        interval = values.numbers("accuracy_ci95")
        if len(interval) != 2:
            values.refuse("accuracy_ci95", "two numbers")
        return cls(
            at=values.text("at"),
            split=values.text("split"),
            protocol=values.maybe_text("protocol"),
            dataset=DatasetReference.read(values.child("dataset")),
            model_sha256=values.text("model_sha256"),
            n_images=values.count("n_images"),
            accuracy=values.number("accuracy"),
            accuracy_ci95=(interval[0], interval[1]),
            macro_f1=values.number("macro_f1"),
            ece=values.maybe_number("ece"),
            tta_accuracy=values.maybe_number("tta_accuracy"),
            deduplicated=_read_part(values, "deduplicated", DeduplicatedRecord),
            per_class={
                label: ClassScores(
                    precision=one.number("precision"),
                    recall=one.number("recall"),
                    f1=one.number("f1"),
                    support=one.count("support"),
                )
                for label, one in values.named_children("per_class").items()
            },
            _raw=values.raw,
        )


@dataclass(frozen=True, kw_only=True)
class ModelMetadata(_Record):
    """What travels with a model's weights.

    Only `labels` are known of a model that fercli did not write; everything else is then what its
    absence means.
    """

    schema: int = MODEL_SCHEMA
    """Of the JSON object."""
    kind: str = "model"
    """Tells it from datasets and checkpoints."""
    labels: tuple[str, ...]
    """The K label names, in the order of the outputs."""
    network: NetworkRecord = field(default_factory=NetworkRecord)
    """Its network."""
    parameters: int | None = None
    """Numbers in it; None where it was not noted."""
    temperature: float = 1.0
    """Divides the logits; built into an ONNX graph."""
    recipe: str | None = None
    """Of its training; None of an ensemble, as below."""
    seed: int | None = None
    """Of its training."""
    epochs: int | None = None
    """That were run."""
    best_epoch: int | None = None
    """Whose weights these are, 1-based."""
    pretrained: str | None = None
    """Whose weights it began with: `torchvision`, or a file's name; None stands for nobody's."""
    init: InitRecord | None = None
    """The model it was fine-tuned from, of one of ours."""
    dataset: DatasetRecord | None = None
    """What it learned from; None where nothing is known."""
    validation: ValidationRecord | None = None
    """What chose its epoch; None of an ensemble, whose members say it."""
    calibration: CalibrationRecord | None = None
    """What its temperature was fitted on; None where it was not."""
    teachers: tuple[TeacherRecord, ...] = ()
    """Who taught it."""
    members: tuple[MemberRecord, ...] = ()
    """What it is made of, if it is an ensemble."""
    scores: Mapping[str, ScoreRecord] = field(default_factory=dict)
    """What its run was scored before it was exported, by split."""
    quantized: str | None = None
    """`fp16`, `int8`, or None for fp32."""
    fercli: str | None = None
    """Version that wrote it."""
    torch: str | None = None
    """Version that trained it; None of an ensemble."""
    sha256: str | None = None
    """Digest of the weights as torch has them; None of an ensemble."""

    _FIRST: ClassVar = (
        "schema", "kind", "parameters", "network", "temperature", "labels", "recipe", "seed",
        "epochs", "best_epoch", "pretrained", "dataset", "validation", "fercli", "torch",
        "calibration", "teachers",
    )  # fmt: skip
    """What is written of a trained network, in this order; the rest follows where there is some."""
    _FIRST_OF_ENSEMBLE: ClassVar = (
        "schema", "kind", "network", "parameters", "labels", "temperature", "dataset", "members",
        "quantized", "fercli",
    )  # fmt: skip

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        values.check_head("model", MODEL_SCHEMA)
        labels = values.texts("labels")
        if not labels:
            values.refuse("labels", "a list of names")
        if len(set(labels)) < len(labels):
            values.complain("two of its labels are the same")
        temperature = values.maybe_number("temperature")
        if temperature is not None and not _COOLEST <= temperature <= _WARMEST:
            values.complain(f"temperature must be from {_COOLEST:g} to {_WARMEST:g}")
        return cls(
            labels=labels,
            network=NetworkRecord.read(values.child("network")),
            parameters=values.maybe_count("parameters"),
            temperature=1.0 if temperature is None else temperature,
            recipe=values.maybe_text("recipe"),
            seed=values.maybe_count("seed"),
            epochs=values.maybe_count("epochs"),
            best_epoch=values.maybe_count("best_epoch"),
            pretrained=values.maybe_text("pretrained"),
            init=_read_part(values, "init", InitRecord),
            # An ensemble of models that know nothing of their data has an empty one.
            dataset=_read_part(values, "dataset", DatasetRecord)
            if values.raw.get("dataset") != {}
            else None,
            validation=_read_part(values, "validation", ValidationRecord),
            calibration=_read_part(values, "calibration", CalibrationRecord),
            teachers=_read_parts(values, "teachers", TeacherRecord),
            members=_read_parts(values, "members", MemberRecord),
            scores={
                split: ScoreRecord.read(one)
                for split, one in values.named_children("scores").items()
            },
            quantized=values.maybe_text("quantized"),
            fercli=values.maybe_text("fercli"),
            torch=values.maybe_text("torch"),
            sha256=values.maybe_text("sha256"),
            _raw=values.raw,
        )

    @property
    def source(self) -> str | None:
        """What its dataset was prepared from; None where nothing is known."""
        return None if self.dataset is None else self.dataset.source

    def _list_keys(self) -> Iterable[str]:
        first = self._FIRST_OF_ENSEMBLE if self.network.is_ensemble else self._FIRST
        rest = ("init", "calibration", "sha256", "scores", "quantized", "members")
        return (*first, *(name for name in rest if name not in first and getattr(self, name)))


@dataclass(frozen=True, kw_only=True)
class RunDatasetRecord(_Record):
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
class ExtensionRecord(_Record):
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
class RunRecord(_Record):
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
            teachers=_read_parts(values, "teachers", TeacherRecord),
            init=_read_part(values, "init", InitRecord),
            extends=_read_part(values, "extends", ExtensionRecord),
            _raw=values.raw,
        )


@dataclass(frozen=True, kw_only=True)
class RepeatsRecord(_Record):
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
        key: _FORMER_NAMES.get(str(value), value) if key in {"network", "recipe"} else value
        for key, value in config.items()
    }


def read_teachers(value: object, *, path: Path) -> tuple[TeacherRecord, ...]:
    """Return the teachers that a JSON object lists under `teachers`.

    Args:
        value: What a JSON parser gave.
        path: The file that it stands in, for errors.

    Raises:
        ModelFileError: It is no such object.
    """
    return _read_parts(_open(value, path), "teachers", TeacherRecord)


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


def _open(value: object, path: Path) -> JsonObject:
    if flaw := find_flaw(value):
        message = f"{path}: what it says of itself is damaged ({flaw})"
        raise ModelFileError(message)
    return JsonObject(value, path, ModelFileError)


def _read_part(values: JsonObject, key: str, kind: type[_R]) -> _R | None:
    inner = values.maybe_child(key)
    return None if inner is None else kind.read(inner)


def _read_parts(values: JsonObject, key: str, kind: type[_R]) -> tuple[_R, ...]:
    return tuple([kind.read(inner) for inner in values.children(key)])


def _to_plain(value: object) -> object:
    """Return a field as plain JSON values."""
    if isinstance(value, _Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(one) for one in value]
    if isinstance(value, ClassScores | TrainResult):
        return dataclasses.asdict(value)
    return value
