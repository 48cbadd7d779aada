"""Every number that `fer evaluate` reports about one set of predictions.

scikit-learn computes what it has; the interval and the calibration error are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fercli.metrics.calibration import compute_brier, compute_ece, compute_nll
from fercli.metrics.intervals import compute_wilson_interval
from fercli.results import ClassScores, Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["compute_scores"]


def compute_scores(
    probabilities: NDArray[np.float32], labels: NDArray[np.uint8], names: Sequence[str]
) -> Scores:
    """Score predictions.

    Args:
        probabilities: `[N, K]`, rows summing to 1, N >= 1.
        labels: `[N]`, the truth, indices into `names`.
        names: The K label names.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    predicted = probabilities.argmax(axis=1)
    kinds = np.arange(len(names))
    n_correct = int((predicted == labels).sum())
    each = precision_recall_fscore_support(labels, predicted, labels=kinds, zero_division=0)
    precision, recall, f1, support = each
    weights = support / support.sum()
    # As scikit-learn does unasked: a label that is neither true nor said of any image has no score.
    met = (support > 0) | np.isin(kinds, predicted)
    return Scores(
        n_images=len(labels),
        accuracy=n_correct / len(labels),
        accuracy_ci95=compute_wilson_interval(n_correct, len(labels)),
        macro_f1=float(f1[met].mean()),
        macro_precision=float(precision[met].mean()),
        macro_recall=float(recall[met].mean()),
        weighted_f1=float(f1 @ weights),
        weighted_precision=float(precision @ weights),
        weighted_recall=float(recall @ weights),
        balanced_accuracy=float(recall[support > 0].mean()),
        nll=compute_nll(probabilities, labels),
        ece=compute_ece(probabilities, labels),
        brier=compute_brier(probabilities, labels),
        per_class={
            name: ClassScores(
                precision=float(precision[kind]),
                recall=float(recall[kind]),
                f1=float(f1[kind]),
                support=int(support[kind]),
            )
            for kind, name in enumerate(names)
        },
        confusion_matrix=confusion_matrix(labels, predicted, labels=kinds).tolist(),
    )
