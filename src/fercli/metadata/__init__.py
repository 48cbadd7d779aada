"""What is stored with a model, and in a run's `run.json`, as typed records.

JSON is read here once, at the edge: whatever is odd in it is a `ModelFileError` that names the file
and the field, and nothing later asks whether a value is of its type. A record keeps the object that
it was read from, so keys of a younger fercli, which are not read, survive a copy. Fields that an
older fercli did not write get what their absence meant. A library for schemas was considered: it
would be imported by every command, for a dozen classes.
"""

from __future__ import annotations

from fercli.metadata.information import ModelInfo, TrainingInfo
from fercli.metadata.models import (
    MODEL_SCHEMA,
    DeduplicatedRecord,
    ModelMetadata,
    ScoreRecord,
)
from fercli.metadata.networks import ENSEMBLE, NetworkRecord
from fercli.metadata.origins import (
    CalibrationRecord,
    DatasetRecord,
    DatasetReference,
    InitRecord,
    MemberRecord,
    TeacherRecord,
    ValidationRecord,
    read_teachers,
)
from fercli.metadata.runs import (
    REPEATS_SCHEMA,
    RUN_SCHEMA,
    ExtensionRecord,
    RepeatsRecord,
    RunDatasetRecord,
    RunRecord,
)

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
    "ModelInfo",
    "ModelMetadata",
    "NetworkRecord",
    "RepeatsRecord",
    "RunDatasetRecord",
    "RunRecord",
    "ScoreRecord",
    "TeacherRecord",
    "TrainingInfo",
    "ValidationRecord",
    "read_teachers",
]
