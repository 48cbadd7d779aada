from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from fercli.emotions import LABELS
from fercli.inference.foreign import ForeignRuntime, parse_labels
from fercli.metrics import adjust_holm, compute_mcnemar, draw_difference_interval
from fercli.settings import build_config
from fercli.training import train

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.data import Dataset
    from fercli.runs import RunFolder

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]
MakeForeign = Callable[..., Any]


@pytest.fixture(scope="module")
def other(
    faces: Dataset, tiny_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """A second run: another seed, one epoch more."""
    from fercli.runs import RunFolder

    folder = RunFolder(tmp_path_factory.mktemp("runs") / "other")
    config = build_config({"seed": 7, "epochs": 3}, base=tiny_config)
    train(faces, config, folder)
    return folder


def test_two_runs(
    run: Run, run_json: RunJson, trained: RunFolder, other: RunFolder, dataset_path: Path
) -> None:
    words = ["compare", trained.path, other.path, "--data", dataset_path, "--split", "public"]

    result = run(*words, "--output", "first")
    data = run_json(*words)["data"]

    assert result.exit_code == 0
    assert [model["protocol"] for model in data["models"]] == ["selection", "selection"]
    assert set(data["settings"]) == {"seed", "epochs"}
    assert data["settings"]["epochs"] == {str(trained.path): 2, str(other.path): 3}
    (pair,) = data["pairs"]
    first, second = (model["scores"]["accuracy"] for model in data["models"])
    assert pair["difference"] == pytest.approx(second - first)
    assert pair["n_only_second"] - pair["n_only_first"] == round(60 * (second - first))
    low, high = pair["difference_ci95"]
    assert low <= pair["difference"] <= high
    assert "seed" in result.stdout
    kept = json.loads(Path("first/comparison.json").read_text())
    assert kept["pairs"][0]["p_value"] == pair["p_value"]
    for name in ("cost", "disagreements", "curves"):
        with Image.open(f"first/{name}.png") as image:
            assert min(image.size) > 300, name
    assert run(*words, "--output", "first").exit_code == 2


def test_a_model_does_not_differ_from_its_copy(
    run: Run, run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    words = ["compare", trained.model, trained.onnx, "--data", dataset_path]

    data = run_json(*words)["data"]

    assert data["n_disagreements"] == 0
    assert data["pairs"][0]["p_value"] == 1
    assert data["settings"] == {}
    assert data["models"][0]["parameters"] == data["models"][1]["parameters"]
    assert "no significant difference" in run(*words, "--output", "same").stdout
    assert not Path("same/disagreements.png").exists()
    assert not Path("same/curves.png").exists()


def test_the_same_name_twice_gets_a_number(
    run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    data = run_json("compare", trained.onnx, trained.onnx, "--data", dataset_path)["data"]

    assert [model["name"] for model in data["models"]] == [
        str(trained.onnx), f"{trained.onnx} (2)"
    ]  # fmt: skip


def test_one_model_alone_is_refused(run: Run, trained: RunFolder) -> None:
    result = run("compare", trained.onnx)

    assert result.exit_code == 2
    assert "at least two" in result.stderr


class Foreign(NamedTuple):
    """A form that other people's models come in."""

    shape: list[Any]
    n_outputs: int
    answers: str
    labels: str
    scaling: str


_WORDS = "anger,disgust,fear,happiness,sadness,surprise,neutral"
FORMS = {
    "grey": Foreign(["N", 1, 48, 48], 7, "logits", "fer2013", "0-1"),
    "ferplus": Foreign(["N", 1, 64, 64], 8, "logits", "ferplus", "0-255"),
    "channels-last": Foreign(["N", 48, 48, 3], 7, "softmax", _WORDS, "-1-1"),
    "one-at-a-time": Foreign([1, 3, 64, 64], 7, "softmax", "folders", "imagenet"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_other_peoples_models(
    run_json: RunJson,
    trained: RunFolder,
    dataset_path: Path,
    make_foreign: MakeForeign,
    form: Foreign,
) -> None:
    make_foreign(
        Path("foreign.onnx"), form.shape, form.n_outputs, softmax=form.answers == "softmax"
    )

    data = run_json(
        "compare", trained.onnx, "foreign.onnx", "--data", dataset_path, "--labels", form.labels,
        "--input", form.scaling,
    )["data"]  # fmt: skip

    ours, foreign = data["models"]
    assert (ours["protocol"], foreign["protocol"]) == ("held-out", "unknown")
    assert foreign["parameters"] == np.prod(form.shape[1:]) * form.n_outputs
    assert foreign["ignored_labels"] == (["contempt"] if form.n_outputs == 8 else [])
    assert sum(map(sum, foreign["scores"]["confusion_matrix"])) == 60


def test_a_foreign_model_gets_the_pixels_that_were_described(
    tmp_path: Path, faces: Dataset, make_foreign: MakeForeign
) -> None:
    weights = make_foreign(tmp_path / "f.onnx", ["N", 48, 48, 3], 7)
    images = faces.images[:5]

    answers = ForeignRuntime(tmp_path / "f.onnx", parse_labels("folders"), "-1-1").predict(images)

    pixels = np.repeat(images[..., None], 3, axis=3).reshape(5, -1) / 127.5 - 1
    powers = np.exp(pixels @ weights)
    assert answers == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-5)


def test_bad_words_about_foreign_models(
    run: Run, trained: RunFolder, dataset_path: Path, make_foreign: MakeForeign
) -> None:
    make_foreign(Path("foreign.onnx"), ["N", 1, 48, 48], 7)
    make_foreign(Path("flat.onnx"), ["N", 2304], 7)
    words = ["compare", trained.onnx, "foreign.onnx", "--data", dataset_path]

    assert run(*words).exit_code == 4
    assert run(*words, "--labels", "ferplus").exit_code == 4
    assert run(*words, "--labels", "happy,happy").exit_code == 2
    assert run(*words, "--labels", "fer2013", "--input", "0-2").exit_code == 2
    assert run(*words, "--labels", "a,b,c,d,e,f,g").exit_code == 4
    flat = ["compare", trained.onnx, "flat.onnx", "--data", dataset_path, "--labels", "fer2013"]
    assert run(*flat).exit_code == 4
    assert run(*words, "--split", "validation", "--labels", "fer2013").exit_code == 3


def test_a_torn_table_of_epochs_costs_the_curves_alone(
    run: Run, trained: RunFolder, other: RunFolder, dataset_path: Path
) -> None:
    shutil.copytree(trained.path, "torn")
    Path("torn/metrics.csv").write_text("epoch,train_loss\n1")

    result = run("compare", "torn", other.path, "--data", dataset_path, "--output", "out")

    assert result.exit_code == 0
    assert not Path("out/curves.png").exists()
    assert Path("out/cost.png").exists()


def test_mcnemar_counts_every_outcome() -> None:
    def count(first: int, second: int) -> float:
        n_images = first + second
        outcomes = [outcome.bit_count() for outcome in range(2**n_images)]
        far = [one for one in outcomes if abs(2 * one - n_images) >= abs(first - second)]
        return len(far) / float(2**n_images)

    for first in range(7):
        for second in range(7):
            assert compute_mcnemar(first, second) == pytest.approx(count(first, second))
    assert 0 < compute_mcnemar(2000, 1000) < 1e-50


def test_the_interval_is_that_of_drawing_images() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.random(400) < 0.6, generator.random(400) < 0.7

    low, high = draw_difference_interval(first, second, np.random.default_rng(0))

    drawn = generator.integers(0, 400, (4000, 400))
    differences = second[drawn].mean(axis=1) - first[drawn].mean(axis=1)
    assert (low, high) == pytest.approx(np.quantile(differences, [0.025, 0.975]), abs=0.006)


def test_holm_multiplies_the_smallest_most() -> None:
    assert adjust_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjust_holm([0.5, 0.9]) == [1.0, 1.0]
    assert adjust_holm([]) == []


def test_label_orders_are_understood_by_name() -> None:
    assert parse_labels("folders") == tuple(sorted(LABELS))
    assert parse_labels("anger, joy,Neutral") == ("angry", "happy", "neutral")
