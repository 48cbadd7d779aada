"""What is stored with a model, and the lines of a run's scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Self

from fercli.metadata.networks import NetworkRecord
from fercli.metadata.origins import (
    CalibrationRecord,
    DatasetRecord,
    DatasetReference,
    InitRecord,
    MemberRecord,
    TeacherRecord,
    ValidationRecord,
)
from fercli.metadata.records import Record, read_part, read_parts
from fercli.results import ClassScores

if TYPE_CHECKING:
    from fercli.fields import JsonObject

__all__ = ["MODEL_SCHEMA", "DeduplicatedRecord", "ModelMetadata", "ScoreRecord"]

MODEL_SCHEMA: Final = 1
"""Of what is stored with a model."""
_COOLEST: Final = 0.01
_WARMEST: Final = 100.0
"""Temperatures that are read; those that are fitted are in [0.25, 4]."""


@dataclass(frozen=True, kw_only=True)
class DeduplicatedRecord(Record):
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
class ScoreRecord(Record):
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
            deduplicated=read_part(values, "deduplicated", DeduplicatedRecord),
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
class ModelMetadata(Record):
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
            init=read_part(values, "init", InitRecord),
            # An ensemble of models that know nothing of their data has an empty one.
            dataset=read_part(values, "dataset", DatasetRecord)
            if values.raw.get("dataset") != {}
            else None,
            validation=read_part(values, "validation", ValidationRecord),
            calibration=read_part(values, "calibration", CalibrationRecord),
            teachers=read_parts(values, "teachers", TeacherRecord),
            members=read_parts(values, "members", MemberRecord),
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
