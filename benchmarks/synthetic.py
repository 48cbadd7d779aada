"""Synthetic faces: time to draw them, accuracy of a linear model and of our CNN.

python benchmarks/synthetic.py [--images 10000] [--epochs 8]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from _report import measure, print_header

from fercli.data import Dataset, build_synthetic
from fercli.evaluation import evaluate
from fercli.model_files import find_model, open_runtime
from fercli.recipes import find_recipe
from fercli.runs import RunFolder
from fercli.settings import build_config
from fercli.training import train


def score_linear(dataset: Dataset) -> dict[float, float]:
    """Return the private accuracy of logistic regression per strength of regularization."""
    from sklearn.linear_model import LogisticRegression

    splits = dataset.select("train"), dataset.select("private")
    pixels = [split.images.reshape(len(split.labels), -1) / 255 - 0.5 for split in splits]
    scores = {}
    for strength in (1e-4, 1e-3, 1e-2, 1e-1):
        model = LogisticRegression(C=strength, max_iter=200).fit(pixels[0], splits[0].labels)
        scores[strength] = float(np.mean(model.predict(pixels[1]) == splits[1].labels))
    return scores


def score_network(dataset: Dataset, epochs: int) -> float:
    """Return the private accuracy of the fast recipe's network."""
    config = build_config({"epochs": epochs, "batch_size": 64}, base=find_recipe("fast"))
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        train(dataset, config, run)
        model = find_model(str(run.path))
        return evaluate(open_runtime(model), model, dataset, "private").result.scores.accuracy


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    with measure() as drawing:
        dataset = build_synthetic(options.images)
    print_header(f"{options.images:,} synthetic faces")
    print(f"drawing: {drawing}; n = 1")
    linear = score_linear(dataset)
    listed = ", ".join(f"{score:.1%} at C = {strength:g}" for strength, score in linear.items())
    print(f"logistic regression on pixels, private: best {max(linear.values()):.1%} ({listed})")
    with measure() as training:
        accuracy = score_network(dataset, options.epochs)
    print(f"fast recipe, batch 64, {options.epochs} epochs, private: {accuracy:.1%} in {training}")


if __name__ == "__main__":
    main()
