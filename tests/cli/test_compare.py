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
from fercli.evaluation import check_names
from fercli.inference.external import ExternalRuntime, parse_labels
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
    "gray": Foreign(["N", 1, 48, 48], 7, "logits", "fer2013", "0-1"),
    "ferplus": Foreign(["N", 1, 64, 64], 8, "logits", "ferplus", "0-255"),
    "channels-last": Foreign(["N", 48, 48, 3], 7, "softmax", _WORDS, "-1-1"),
    "one-at-a-time": Foreign([1, 3, 64, 64], 7, "softmax", "folders", "imagenet"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_other_peoples_models(
    run_json: RunJson,
    trained: RunFolder,
    dataset_path: Path,
    make_external: MakeForeign,
    form: Foreign,
) -> None:
    make_external(
        Path("external.onnx"), form.shape, form.n_outputs, softmax=form.answers == "softmax"
    )

    data = run_json(
        "compare", trained.onnx, "external.onnx", "--data", dataset_path, "--labels", form.labels,
        "--input", form.scaling,
    )["data"]  # fmt: skip

    ours, external = data["models"]
    assert (ours["protocol"], external["protocol"]) == ("held-out", "unknown")
    assert external["parameters"] == np.prod(form.shape[1:]) * form.n_outputs
    assert external["ignored_labels"] == (["contempt"] if form.n_outputs == 8 else [])
    assert sum(map(sum, external["scores"]["confusion_matrix"])) == 60


def test_a_foreign_model_gets_the_pixels_that_were_described(
    tmp_path: Path, faces: Dataset, make_external: MakeForeign
) -> None:
    weights = make_external(tmp_path / "f.onnx", ["N", 48, 48, 3], 7)
    images = faces.images[:5]

    answers = ExternalRuntime(tmp_path / "f.onnx", parse_labels("folders"), "-1-1").predict(images)

    pixels = np.repeat(images[..., None], 3, axis=3).reshape(5, -1) / 127.5 - 1
    powers = np.exp(pixels @ weights)
    assert answers == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-5)


def test_each_foreign_model_is_read_as_was_said_of_it(
    run_json: RunJson, dataset_path: Path, make_external: MakeForeign
) -> None:
    make_external(Path("a.onnx"), ["N", 1, 48, 48], 7)
    make_external(Path("b.onnx"), ["N", 1, 64, 64], 8)

    def score(*words: object) -> list[float]:
        models = run_json("compare", *words, "--data", dataset_path)["data"]["models"]
        return [model["scores"]["accuracy"] for model in models]

    both = score(
        "a.onnx", "b.onnx", "--labels", "fer2013", "--labels", "b.onnx=ferplus",
        "--input", "b.onnx=0-255",
    )  # fmt: skip

    assert both[0] == score("a.onnx", "a.onnx", "--labels", "fer2013")[0]
    alone = score("b.onnx", "b.onnx", "--labels", "ferplus", "--input", "0-255")
    assert both[1] == alone[0]


def test_bad_words_about_foreign_models(
    run: Run, trained: RunFolder, dataset_path: Path, make_external: MakeForeign
) -> None:
    make_external(Path("external.onnx"), ["N", 1, 48, 48], 7)
    make_external(Path("flat.onnx"), ["N", 2304], 7)
    words = ["compare", trained.onnx, "external.onnx", "--data", dataset_path]

    assert run(*words).exit_code == 4
    assert run(*words, "--labels", "ferplus").exit_code == 4
    assert run(*words, "--labels", "happy,happy").exit_code == 2
    assert run(*words, "--labels", "fer2013", "--input", "0-2").exit_code == 2
    assert run(*words, "--labels", "a,b,c,d,e,f,g").exit_code == 4
    assert run(*words, "--labels", "other.onnx=fer2013").exit_code == 2
    assert run(*words, "--labels", "fer2013", "--input", "external.onnx=0-2").exit_code == 2
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


def test_each_matrix_has_its_own_labels(
    run_json: RunJson, trained: RunFolder, dataset_path: Path, make_external: MakeForeign
) -> None:
    make_external(Path("external.onnx"), ["N", 1, 48, 48], 7)

    data = run_json(
        "compare", trained.onnx, "external.onnx", "--data", dataset_path, "--labels", "folders"
    )["data"]

    ours, external = data["models"]
    assert (ours["labels"], external["labels"]) == (list(LABELS), sorted(LABELS))
    for model in (ours, external):
        support = [model["scores"]["per_class"][label]["support"] for label in model["labels"]]
        assert [sum(row) for row in model["scores"]["confusion_matrix"]] == support


def test_strange_onnx_files_are_one_sentence(
    run: Run, trained: RunFolder, dataset_path: Path, make_constant: MakeForeign
) -> None:
    make_constant(Path("short.onnx"), np.ones((1, 7), dtype=np.float32), per_image=False)
    words = ["--data", dataset_path, "--labels", "fer2013"]

    assert run("compare", trained.onnx, "short.onnx", *words).exit_code == 4
    result = run("compare", trained.onnx, "short.onnx", "--data", dataset_path)
    assert result.exit_code == 4
    assert "--labels" in result.stderr
    assert run("compare", trained.onnx, "short.onnx", *words, "--device", "cuda").exit_code == 5


def test_settings_of_other_versions(
    run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    shutil.copytree(trained.path, "older")
    shutil.copytree(trained.path, "newer")
    record = json.loads(Path("older/run.json").read_text())
    del record["config"]["fold"]
    Path("older/run.json").write_text(
        json.dumps({**record, "config": {**record["config"], "teacher": ""}})
    )
    record = json.loads(Path("newer/run.json").read_text())
    record["config"]["telepathy"] = 0.5
    Path("newer/run.json").write_text(json.dumps(record))

    data = run_json("compare", "older", "newer", trained.path, "--data", dataset_path)["data"]

    assert data["settings"] == {"telepathy": {"older": None, "newer": 0.5, str(trained.path): None}}


def test_names_are_made_different() -> None:
    assert check_names(["a", "a", "a (2)"]) == ["a", "a (2)", "a (2) (2)"]
