"""Evaluation: a model's scores on a split, and the files that show them."""

from __future__ import annotations

from fercli.evaluation.compare import (
    COMPARISON_FILES,
    Candidate,
    Comparison,
    check_names,
    compare,
    list_runs,
    open_candidate,
    write_comparison,
)
from fercli.evaluation.diagram import plot_network
from fercli.evaluation.evaluate import Evaluation, describe_scores, evaluate, record_scores
from fercli.evaluation.explain import Explanation, explain
from fercli.evaluation.files import FILES, write_files
from fercli.evaluation.model_card import build_card, describe_training
from fercli.evaluation.protocol import (
    HELD_OUT,
    SELECTION,
    TRAINING,
    UNKNOWN,
    choose_split,
    find_own_data,
)
from fercli.evaluation.robustness import CORRUPTIONS, corrupt, measure_robustness

__all__ = [
    "COMPARISON_FILES",
    "CORRUPTIONS",
    "FILES",
    "HELD_OUT",
    "SELECTION",
    "TRAINING",
    "UNKNOWN",
    "Candidate",
    "Comparison",
    "Evaluation",
    "Explanation",
    "build_card",
    "check_names",
    "choose_split",
    "compare",
    "corrupt",
    "describe_scores",
    "describe_training",
    "evaluate",
    "explain",
    "find_own_data",
    "list_runs",
    "measure_robustness",
    "open_candidate",
    "plot_network",
    "record_scores",
    "write_comparison",
    "write_files",
]
