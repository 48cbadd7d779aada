from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from fercli.config import NETWORKS, NetworkConfig
from fercli.evaluation import CORRUPTIONS, corrupt, explain
from fercli.evaluation.explain import compute_layer_cam
from fercli.metadata import ModelMetadata
from fercli.networks import build_network, count_parameters
from fercli.networks.summary import list_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.data import Dataset
    from fercli.runs import RunFolder

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]


class LooksAtOnePlace:
    """Says `yes` the more, the brighter a square of the face is."""

    labels = ("yes", "no")
    device = "cpu"
    metadata = ModelMetadata(labels=labels)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        bright = images[:, 10:16, 30:36].mean(axis=(1, 2)) / 255
        return np.stack([bright, 1 - bright], axis=1).astype(np.float32)


def test_occlusion_finds_what_the_answer_comes_from() -> None:
    face = np.full((48, 48), 20, dtype=np.uint8)
    face[10:16, 30:36] = 250

    explanation = explain(LooksAtOnePlace(), face, ("no",))

    lost = explanation.occlusion["yes"]
    row, column = np.unravel_index(lost.argmax(), lost.shape)
    assert explanation.label == "yes"
    assert 10 <= row < 16
    assert 30 <= column < 36
    assert lost[40:, :20] == pytest.approx(0, abs=1e-6)
    assert explanation.occlusion["no"] == pytest.approx(-lost, abs=1e-6)
    assert explanation.layer_cam == {}


@pytest.mark.parametrize("name", NETWORKS)
def test_layer_cam_of_every_network(name: str, faces: Dataset) -> None:
    network = build_network(NetworkConfig(network=name), 7).eval()

    heat = compute_layer_cam(network, faces.images[0], 3)

    assert heat.shape == (48, 48)
    assert heat.min() >= 0
    assert heat.max() == 1
    assert all(parameter.grad is None for parameter in network.parameters())


def test_pictures_and_rows(run: Run, trained: RunFolder, face_files: Path) -> None:
    (face_files / "zz-not-an-image.png").write_text("text")

    result = run("explain", face_files, "--model", trained.path, "--label", "sad", "--json")

    assert result.exit_code == 7
    data = json.loads(result.stdout)["data"]
    assert data["methods"] == ["occlusion", "layer-cam"]
    assert (data["n_inputs"], data["n_skipped"]) == (6, 1)
    *good, bad = data["rows"]
    assert (bad["status"], bad["output"]) == ("unreadable", None)
    for row in good:
        assert row["probabilities"][row["label"]] == row["confidence"]
        with Image.open(row["output"]) as image:
            assert min(image.size) > 300
    again = ["explain", face_files, "--model", trained.path]
    assert run(*again).exit_code == 2
    assert "not-an-image" in run(*again, "--force").stdout


def test_the_face_of_a_photo_is_explained(
    run_json: RunJson, trained: RunFolder, photo: Path, tmp_path: Path
) -> None:
    Image.new("L", (300, 200), 128).save(tmp_path / "wall.png")
    words = ["explain", photo, tmp_path / "wall.png", "--model", trained.onnx]

    found, wall = run_json(*words)["data"]["rows"]
    whole = run_json(*words, "--faces", "whole", "--output", "whole")["data"]["rows"][0]
    said = run_json("predict", photo, "--model", trained.onnx)["data"]["rows"][0]

    assert (found["status"], wall["status"]) == ("ok", "no_face")
    assert found["probabilities"] == pytest.approx(said["probabilities"], abs=1e-6)
    assert whole["probabilities"] != pytest.approx(said["probabilities"], abs=1e-6)


def test_an_onnx_says_that_it_has_no_gradients(
    run: Run, trained: RunFolder, face_files: Path
) -> None:
    result = run("explain", face_files / "face-0.png", "--model", trained.onnx, "--output", "out")

    assert result.exit_code == 0
    assert "no LayerCAM" in result.stderr
    assert [path.name for path in Path("out").iterdir()] == ["0001-face-0.png"]


def test_words_that_cannot_be_explained(run: Run, trained: RunFolder, face_files: Path) -> None:
    assert run("explain", face_files, "--model", trained.onnx, "--label", "sda").exit_code == 2
    assert run("explain", "nothing", "--model", trained.onnx).exit_code == 3
    assert run("explain", face_files, "--model", "nothing.onnx").exit_code == 4


def test_hostile_names_stay_in_the_folder(run: Run, trained: RunFolder, face_files: Path) -> None:
    shutil.copy(face_files / "face-0.png", face_files / "a b\n\x1b[31m.png")

    result = run("explain", face_files / "a b\n\x1b[31m.png", "--model", trained.onnx)

    assert result.exit_code == 0
    assert "\x1b[31m" not in result.stdout
    assert [path.name for path in Path("explained").iterdir()] == ["0001-a_b___31m.png"]


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_damage_is_the_same_every_time_and_grows(kind: str, faces: Dataset) -> None:
    images = faces.images[:20]

    damaged = [corrupt(images, kind, amount) for amount in CORRUPTIONS[kind][0]]

    for again, amount in zip(damaged, CORRUPTIONS[kind][0], strict=True):
        assert again.dtype == np.uint8
        assert again.shape == images.shape
        assert np.array_equal(again, corrupt(images, kind, amount))
    off = [np.abs(one.astype(int) - images).mean() for one in damaged]
    assert 0 < off[0] < off[1] < off[2]


def test_darkness_is_a_factor() -> None:
    images = np.full((1, 48, 48), 200, dtype=np.uint8)

    assert (corrupt(images, "darkness, factor", 0.35) == 70).all()


def test_damaged_images_are_scored(
    run: Run, run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    words = ["evaluate", trained.onnx, "--data", dataset_path, "--robustness"]

    data = run_json(*words, "--output", "scores")["data"]

    assert len(data["robustness"]) == 18
    assert {row["strength"] for row in data["robustness"]} == {1, 2, 3}
    assert all(0 <= row["accuracy"] <= 1 for row in data["robustness"])
    page = Path("scores/report.html").read_text()
    assert "Damaged images" in page
    assert f"<td>{data['robustness'][0]['accuracy']:.2%}</td>" in page
    with Image.open("scores/robustness.png") as image:
        assert min(image.size) > 300
    assert "corrupted" in run(*words).stdout
    assert run_json(*words[:-1])["data"]["robustness"] == []


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_drawn_with_all_its_numbers(name: str) -> None:
    network = build_network(NetworkConfig(network=name), 7)

    blocks = list_blocks(network)

    assert sum(block.n_parameters for block in blocks) == count_parameters(network)
    assert blocks[-1].shape == (7,)


def test_a_card_says_what_was_scored(run: Run, trained: RunFolder, dataset_path: Path) -> None:
    shutil.copytree(trained.path, "mine")
    assert run("info", "mine", "--card", "before.md", "--diagram", "network.png").exit_code == 0
    run("evaluate", "mine", "--data", dataset_path)

    assert run("info", "mine", "--card", "before.md").exit_code == 2
    assert run("info", "mine", "--card", "after.md").exit_code == 0

    assert "Not scored yet" in Path("before.md").read_text()
    card = Path("after.md").read_text()
    assert "| private | synthetic:600 | held-out | 60 |" in card
    assert "fer train" in card
    assert "Synthetic faces" in card
    assert "Whoever trained the model decides the license" in card
    assert "expected calibration error" in card
    assert run("info", "--card", "none.md").exit_code == 2
    assert run("info", trained.onnx, "--diagram", "onnx.png", "--card", "onnx.md").exit_code == 0
    with Image.open("network.png") as one, Image.open("onnx.png") as other:
        assert one.size == other.size
