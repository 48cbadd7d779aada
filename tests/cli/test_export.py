from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from typer.testing import Result

from fercli.inference.onnx import OnnxRuntime

if TYPE_CHECKING:
    from fercli.data import Dataset
    from fercli.runs import RunFolder
from fercli.data import save_dataset
from fercli.data.dataset import take_images
from fercli.emotions import LABELS
from fercli.metadata import ModelMetadata
from fercli.metrics import change_temperature
from fercli.model_files import find_model, load_network, open_runtime, save_model
from fercli.networks import build_network, initialize
from fercli.recipes import find_recipe

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]


def test_the_file_is_whole_and_self_describing(run_json: RunJson, trained: RunFolder) -> None:
    import onnx

    data = run_json("export", trained.path, "--onnx")["data"]

    model = onnx.load("model.onnx", load_external_data=False)
    assert data["max_abs_difference"] <= 1e-4
    assert data["label_agreement"] == 1
    assert data["parity_images"] == "synthetic:256"
    assert [
        len(tensor.external_data) for tensor in model.graph.initializer if tensor.external_data
    ] == []
    runtime = OnnxRuntime(Path("model.onnx"))
    assert runtime.metadata.labels[0] == "angry"
    for count in (1, 2, 9):
        probabilities = runtime.predict(np.zeros((count, 48, 48), dtype=np.uint8))
        assert probabilities.shape == (count, 7)
        assert probabilities.sum(1) == pytest.approx(np.ones(count), abs=1e-5)


def test_no_path_of_this_machine_is_in_the_file(trained: RunFolder) -> None:
    content = trained.onnx.read_bytes()

    assert b"site-packages" not in content
    assert b".py" not in content


def test_half_precision_halves_the_weights(
    run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    data = run_json("export", trained.path, "--fp16", "--data", dataset_path)["data"]

    assert data["output"] == "model-fp16.onnx"
    assert data["quantized"] == "fp16"
    assert data["size_bytes"] < trained.onnx.stat().st_size
    assert data["max_abs_difference"] <= 1e-4


def test_half_precision_of_a_network_that_people_train(run_json: RunJson, tmp_path: Path) -> None:
    config = find_recipe("fast").model
    network = build_network(config, 7)
    initialize(network, torch.Generator().manual_seed(0))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features)
            module.running_var = torch.rand(module.num_features) + 0.1
    save_model(tmp_path / "m.safetensors", network, config, ModelMetadata(labels=LABELS))

    data = run_json("export", tmp_path / "m.safetensors", "--fp16")["data"]

    assert data["max_abs_difference"] <= 1e-4
    assert data["size_bytes"] < 2_600_000


def test_eight_bits(run_json: RunJson, trained: RunFolder, dataset_path: Path) -> None:
    import onnx

    words = ["export", trained.path, "--int8", "--data", dataset_path]
    data = run_json(*words)["data"]
    again = run_json("export", trained.onnx, "--int8", "--data", dataset_path, "--output", "b.onnx")

    assert data["output"] == "model-int8.onnx"
    assert data["quantized"] == again["data"]["quantized"] == "int8"
    assert data["label_agreement"] >= 0.95
    assert data["accuracy"] >= data["accuracy_before"] - 0.005
    assert data["images_per_s"] > 0
    assert data["size_bytes"] < trained.onnx.stat().st_size
    types = {node.op_type for node in onnx.load("model-int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= types
    runtime = OnnxRuntime(Path("model-int8.onnx"))
    assert runtime.metadata.quantized == "int8"
    assert runtime.metadata.network == OnnxRuntime(trained.onnx).metadata.network
    probabilities = runtime.predict(np.zeros((3, 48, 48), dtype=np.uint8))
    assert probabilities.sum(1) == pytest.approx(np.ones(3), abs=1e-5)


def test_eight_bits_that_lose_too_much_leave_no_file(
    run: Run, trained: RunFolder, dataset_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fercli.export.quantize.MOST_LOSS", -2.0)

    result = run("export", trained.path, "--int8", "--data", dataset_path)

    assert result.exit_code == 6
    assert "points of accuracy" in result.stderr
    assert list(Path().glob("*.onnx")) == []


def test_eight_bits_are_judged_by_a_tenth_of_train_where_nothing_else_is(
    run_json: RunJson, trained: RunFolder, faces: Dataset
) -> None:
    is_train = faces.splits == faces.split_names.index("train")
    save_dataset(Path("train.safetensors"), take_images(faces, is_train))

    data = run_json("export", trained.path, "--int8", "--data", "train.safetensors")["data"]

    assert data["parity_images"].endswith("a tenth of train")
    assert data["n_checked"] == 48


def test_an_onnx_is_copied(run_json: RunJson, trained: RunFolder) -> None:
    data = run_json("export", trained.onnx, "--output", "copy.onnx")["data"]

    assert data["max_abs_difference"] is None
    assert data["n_checked"] == 0
    assert Path("copy.onnx").read_bytes() == trained.onnx.read_bytes()


def test_disagreement_leaves_no_file(
    run: Run, trained: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fercli.export.export.TOLERANCE", -1.0)

    result = run("export", trained.path)

    assert result.exit_code == 6
    assert list(Path().glob("*.onnx")) == list(Path().glob(".*.onnx")) == []


def test_refusals(run: Run, trained: RunFolder) -> None:
    assert run("export").exit_code == 4
    assert run("export", trained.onnx, "--fp16").exit_code == 2
    assert run("export", trained.path, "--data", "nothing").exit_code == 3
    assert run("export", trained.path, "--output", trained.onnx).exit_code == 2
    assert run("export", trained.path, "--int8", "--fp16").exit_code == 2
    assert run("export", trained.path, "--int8").exit_code == 3


@pytest.fixture
def other(trained: RunFolder, dataset_path: Path) -> Path:
    """A second model of the same data: its head answers the other way round, in another order."""
    network, metadata = load_network(trained.model)
    config = metadata.network.build_config(trained.model)
    with torch.no_grad():
        head = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
        head.weight.copy_(head.weight.flip(0) * 0.5)
        head.bias.copy_(head.bias.flip(0))
    path = dataset_path.with_name("other.safetensors")
    changed = metadata.replace(labels=metadata.labels[::-1], seed=7)
    save_model(path, network, config, changed)
    return path


def test_several_models_become_one(
    run_json: RunJson, trained: RunFolder, other: Path, dataset_path: Path, faces: Dataset
) -> None:
    words = ["export", trained.path, other, "--data", dataset_path, "--output"]
    data = run_json(*words, "both.onnx")["data"]
    info = run_json("info", "both.onnx")["data"]

    assert data["max_abs_difference"] <= 1e-4
    assert data["label_agreement"] == 1
    assert data["model"] == f"{trained.model} + {other}"
    assert info["network"] == "ensemble"
    assert info["trained"]["members"] == [trained.path.name, "other.safetensors"]
    images = faces.select("public").images
    one, two = (open_runtime(find_model(str(path))) for path in (trained.path, other))
    assert two.labels == one.labels[::-1]
    mean = (one.predict(images) + two.predict(images)[:, ::-1]) / 2
    expected = change_temperature(mean.astype(np.float32), before=1.0, after=info["temperature"])
    assert info["temperature"] != 1
    assert OnnxRuntime(Path("both.onnx")).predict(images) == pytest.approx(expected, abs=1e-4)


def test_a_joined_model_does_what_every_model_does(
    run: Run, run_json: RunJson, trained: RunFolder, other: Path, dataset_path: Path
) -> None:
    words = ["export", trained.path, other, "--data", dataset_path, "--output"]
    sizes = [
        run_json(*words, f"both{flag}.onnx", *([flag] if flag else []))["data"]["size_bytes"]
        for flag in ("", "--fp16", "--int8")
    ]
    scored = run_json("evaluate", "both.onnx", "--data", dataset_path, "--split", "public")["data"]

    assert sizes[0] > sizes[1]
    assert sizes[0] > sizes[2]
    assert scored["protocol"] == "selection"
    assert run("export", "both.onnx", trained.path, "--output", "three.onnx").exit_code == 0
    assert OnnxRuntime(Path("three.onnx")).metadata.temperature == 1
    assert run("info", "both.onnx", "--card", "card.md").exit_code == 0
    assert run("info", "both.onnx", "--diagram", "picture.png").exit_code == 4
    assert run("export", "both--int8.onnx", trained.path, "--output", "four.onnx").exit_code == 4


def test_models_that_cannot_be_joined(run: Run, trained: RunFolder, tmp_path: Path) -> None:
    network, metadata = load_network(trained.model)
    config = metadata.network.build_config(trained.model)
    assert metadata.dataset
    cases = {
        "labels": metadata.replace(labels=(*metadata.labels[:-1], "bored")),
        "data": metadata.replace(dataset=metadata.dataset.replace(sha256="0")),
    }
    for name, changed in cases.items():
        save_model(tmp_path / f"{name}.safetensors", network, config, changed)

        result = run("export", trained.path, tmp_path / f"{name}.safetensors")

        assert result.exit_code == 4
        assert name in result.stderr
    assert run("export", trained.path, trained.model).exit_code == 2
    assert run("export", trained.path, tmp_path / "missing.onnx").exit_code == 4
    assert list(Path().glob("*.onnx")) == []
