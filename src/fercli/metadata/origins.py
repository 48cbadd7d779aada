"""What a model came from: data, what chose its epoch, teachers, members, an earlier model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fercli.metadata.records import Record, open_record, read_part, read_parts

if TYPE_CHECKING:
    from fercli.fields import JsonObject

__all__ = [
    "CalibrationRecord",
    "DatasetRecord",
    "DatasetReference",
    "InitRecord",
    "MemberRecord",
    "TeacherRecord",
    "ValidationRecord",
    "read_teachers",
]


@dataclass(frozen=True, kw_only=True)
class DatasetReference(Record):
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
class ValidationRecord(Record):
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
class CalibrationRecord(Record):
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


@dataclass(frozen=True, kw_only=True)
class TeacherRecord(Record):
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


def read_teachers(value: object, *, path: Path) -> tuple[TeacherRecord, ...]:
    """Return the teachers that a JSON object lists under `teachers`.

    Args:
        value: What a JSON parser gave.
        path: The file that it stands in, for errors.

    Raises:
        ModelFileError: It is no such object.
    """
    return read_parts(open_record(value, path), "teachers", TeacherRecord)


def _read_origin(values: JsonObject) -> dict[str, Any]:
    """Return the fields that every record of an earlier model has."""
    return {
        "model": values.maybe_text("model") or "unknown",
        "sha256": values.text("sha256"),
        "validation": read_part(values, "validation", ValidationRecord),
        "chosen_on": values.texts("chosen_on"),
        "_raw": values.raw,
    }
