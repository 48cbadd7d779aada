from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import Result

from fercli.data import Dataset, open_dataset, save_dataset
from fercli.data.dataset import take_images
from fercli.runs import RunFolder
from fercli.settings import build_config
from fercli.training import Callbacks, train

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.results import EpochReport

pytestmark = pytest.mark.usefixtures("weights_alone")

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]


def soften(faces: Dataset, share: float) -> Dataset:
    """Give each label a share of the votes, its neighbour the rest."""
    everything = np.ones(faces.n_images, dtype=bool)
    one_hot = np.eye(7, dtype=np.float32)[faces.labels]
    votes = (share * one_hot + (1 - share) * np.roll(one_hot, 1, axis=1)).astype(np.float32)
    return take_images(faces, everything, targets=votes, labeling="ferplus")


def train_once(dataset: Dataset, config: TrainConfig, folder: Path) -> EpochReport:
    reports: list[EpochReport] = []
    train(dataset, config, RunFolder(folder), callbacks=Callbacks(on_epoch=reports.append))
    return reports[-1]


def test_votes_are_learned_instead_of_labels(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    config = build_config({"epochs": 1}, base=tiny_config)

    by_label = train_once(faces, config, tmp_path / "label")
    by_clear_votes = train_once(soften(faces, 1.0), config, tmp_path / "clear")
    by_votes = train_once(soften(faces, 0.6), config, tmp_path / "votes")

    assert by_clear_votes.train_loss == pytest.approx(by_label.train_loss, rel=1e-4)
    assert abs(by_votes.train_loss - by_label.train_loss) > 1e-3


@pytest.mark.parametrize("option", ["mixup", "self_weight"])
def test_votes_go_with_other_options(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path, option: str
) -> None:
    changes = {option: 0.5, "validation": "0.2", "balance": "weights"}
    config = build_config(changes, base=tiny_config)

    assert train_once(soften(faces, 0.6), config, tmp_path / "run").epoch == 2


def test_a_model_of_votes_is_not_scored_by_labels(
    run: Run, run_json: RunJson, faces: Dataset, dataset_path: Path, trained: RunFolder
) -> None:
    save_dataset(Path("votes.safetensors"), soften(faces, 0.6))
    opened = open_dataset(Path("votes.safetensors"))
    run_json(
        "train", "--data", "votes.safetensors", "--recipe", "fast", "--epochs", 1,
        "--device", "cpu", "--batch-size", 60, "--set", "widths=8", "--set", "stem_width=4",
        "--output", "runs/votes",
    )  # fmt: skip

    assert (opened.labeling, opened.learned) == ("ferplus", "votes")
    shown = run("evaluate", "runs/votes", "--data", "votes.safetensors")
    assert "7 of FER+'s voters: angry, disgust," in shown.stdout
    shown = run("evaluate", trained.onnx, "--data", dataset_path)
    assert "7: angry, disgust," in shown.stdout
    shown = run(
        "compare", "runs/votes", "runs/votes/model.safetensors", "--data", "votes.safetensors"
    )
    assert "7 of FER+'s voters: angry, disgust," in shown.stdout
    for model, data in (("runs/votes", dataset_path), (trained.onnx, "votes.safetensors")):
        result = run("evaluate", model, "--data", data)
        assert result.exit_code == 4
        assert "be meaningless" in result.stderr
