"""What commands and library calls return: frozen values that turn into JSON as they are.

Numbers keep full precision; rounding belongs to tables. Fields are named as in the JSON output,
so `to_json` is the identity on names.
"""

from __future__ import annotations

from fercli.results.comparison import (
    ComparedModel,
    ComparisonResult,
    PairedDifference,
    RepeatedScores,
)
from fercli.results.data import (
    CheckResult,
    DuplicateCounts,
    FerPlusReport,
    NearCounts,
    PrepareResult,
)
from fercli.results.envelope import build_envelope, list_errors
from fercli.results.environment import Device, EnvironmentResult, Paths
from fercli.results.evaluation import (
    Calibration,
    ClassScores,
    Confusion,
    CoveragePoint,
    Deduplicated,
    EvaluationResult,
    RobustnessRow,
    Scores,
)
from fercli.results.explanation import ExplainedImage, ExplainResult
from fercli.results.models import ExportResult
from fercli.results.plain import to_json
from fercli.results.prediction import MergeResult, PredictionRow, PredictResult, TrackTime
from fercli.results.repeats import RepeatedRun, RepeatsResult
from fercli.results.service import (
    DemoResult,
    FetchResult,
    ListedModel,
    ModelsResult,
    ServeResult,
)
from fercli.results.training import EpochReport, TrainResult

__all__ = [
    "Calibration",
    "CheckResult",
    "ClassScores",
    "ComparedModel",
    "ComparisonResult",
    "Confusion",
    "CoveragePoint",
    "Deduplicated",
    "DemoResult",
    "Device",
    "DuplicateCounts",
    "EnvironmentResult",
    "EpochReport",
    "EvaluationResult",
    "ExplainResult",
    "ExplainedImage",
    "ExportResult",
    "FerPlusReport",
    "FetchResult",
    "ListedModel",
    "MergeResult",
    "ModelsResult",
    "NearCounts",
    "PairedDifference",
    "Paths",
    "PredictResult",
    "PredictionRow",
    "PrepareResult",
    "RepeatedRun",
    "RepeatedScores",
    "RepeatsResult",
    "RobustnessRow",
    "Scores",
    "ServeResult",
    "TrackTime",
    "TrainResult",
    "build_envelope",
    "list_errors",
    "to_json",
]
