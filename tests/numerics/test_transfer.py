from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fercli.config import NetworkConfig
from fercli.config.network import NETWORKS, TORCHVISION
from fercli.errors import ModelFileError, RunInterruptedError, SetupError
from fercli.model_files import load_network
from fercli.networks import FaceNetwork, build_network, count_parameters, initialize
from fercli.networks.backbones import Backbone, import_models
from fercli.networks.pretrained import freeze, load_pretrained
from fercli.runs import RunFolder
from fercli.settings import build_config
from fercli.training import Callbacks, resume, train
from fercli.training.optimizer import build_optimizer

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.data import Dataset

pytestmark = pytest.mark.usefixtures("weights_alone")

NAME = "shufflenet_v2_x0_5"
"""torchvision's smallest with a plain last layer."""


@pytest.fixture(autouse=True)
def small_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the smallest classifier of torchvision be one of ours: one line, as for any other."""
    monkeypatch.setitem(NETWORKS, NAME, TORCHVISION)


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    """Weights for color and a thousand classes, as torchvision's are."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(3)
        model: nn.Module = import_models().get_model(NAME, weights=None)
    return model.state_dict()


def build(config: TrainConfig, seed: int = 0) -> tuple[FaceNetwork, Backbone]:
    network = build_network(config.model, 7)
    initialize(network, torch.Generator().manual_seed(seed))
    assert isinstance(network.body, Backbone)
    return network, network.body


def use(path: Path, **changes: object) -> TrainConfig:
    return build_config({"network": NAME, "pretrained_weights": str(path), **changes})


@pytest.mark.parametrize(("name", "millions"), [("resnet18", 11.2), ("vgg11_bn", 9.2)])
def test_the_head_is_ours_and_the_stem_gray(name: str, millions: float) -> None:
    network = build_network(NetworkConfig(network=name), 5).eval()

    assert count_parameters(network) / 1e6 == pytest.approx(millions, abs=0.1)
    assert network(torch.rand(2, 1, 48, 48)).shape == (2, 5)
    assert next(m for m in network.modules() if isinstance(m, nn.Conv2d)).weight.shape[1] == 1


def test_the_image_is_enlarged_if_asked_for() -> None:
    sizes = []
    network = build_network(NetworkConfig(network=NAME, input_px=64), 5).eval()
    assert isinstance(network.body, Backbone)
    network.body.model.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape))

    network(torch.rand(2, 1, 48, 48))

    assert sizes == [(2, 1, 64, 64)]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_pretrained_weights_see_gray_as_they_saw_color(
    weights: dict[str, torch.Tensor], tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    config = use(path)
    network, body = build(config)
    before = body.model.get_parameter(f"{body.head}.1.weight").clone()

    title = load_pretrained(network, config)

    assert title == path.name
    color = import_models().get_model(NAME, weights=None)
    color.load_state_dict(weights)
    image = torch.rand(2, 1, 48, 48)
    with torch.no_grad():
        stem = body.model.get_submodule(body.stem)(image)
        expected = color.get_submodule(body.stem)(image.expand(-1, 3, -1, -1))
    assert torch.allclose(stem, expected, atol=1e-5)
    assert torch.equal(body.model.get_parameter(f"{body.head}.1.weight"), before)
    assert torch.equal(body.model.state_dict()["conv5.0.weight"], weights["conv5.0.weight"])


@pytest.mark.parametrize("kind", ["missing", "garbage", "shape", "names", "code", "list"])
def test_weights_that_do_not_fit_are_refused(
    weights: dict[str, torch.Tensor], tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "weights.pth"
    if kind == "garbage":
        path.write_bytes(b"no weights at all")
    elif kind == "shape":
        torch.save({**weights, "conv5.0.weight": torch.zeros(3, 3, 1, 1)}, path)
    elif kind == "names":
        torch.save({f"module.{name}": tensor for name, tensor in weights.items()}, path)
    elif kind == "code":
        torch.save(Path("/"), path)
    elif kind == "list":
        torch.save([torch.zeros(3)], path)
    config = use(path)

    with pytest.raises(ModelFileError):
        load_pretrained(build(config)[0], config)


def test_without_a_network_the_manual_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise URLError(OSError())

    entry = import_models().get_model_weights(NAME).DEFAULT
    monkeypatch.setattr(type(entry), "get_state_dict", fail)
    config = build_config({"network": NAME, "pretrained": True})

    with pytest.raises(SetupError, match="cannot be downloaded") as caught:
        load_pretrained(build(config)[0], config)
    assert entry.url in caught.value.hint
    assert "pretrained_weights=FILE" in caught.value.hint


def test_frozen_epochs_change_the_first_and_last_layer_only(
    weights: dict[str, torch.Tensor], faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(weights, path)
    changes = {"network": NAME, "pretrained_weights": str(path), "learning_rate": 0.01}
    runs = {}
    for frozen in (1, 0):
        config = build_config({**changes, "freeze_epochs": frozen, "epochs": 1}, base=tiny_config)
        runs[frozen] = RunFolder(tmp_path / f"{frozen}")
        train(faces, config, runs[frozen])

    network, metadata = load_network(runs[1].model)
    after = network.body.state_dict()
    assert metadata.pretrained == "weights.pth"
    assert torch.equal(after["model.conv5.0.weight"], weights["conv5.0.weight"])
    assert not torch.allclose(
        after["model.conv1.0.weight"], weights["conv1.0.weight"].sum(1, keepdim=True)
    )
    moved = load_network(runs[0].model)[0].body.state_dict()["model.conv5.0.weight"]
    assert not torch.equal(moved, weights["conv5.0.weight"])


def test_unfrozen_means_all_of_it() -> None:
    config = build_config({"network": NAME, "pretrained": True})
    network, body = build(config)
    optimizer = build_optimizer(network, config.optimization)

    freeze(network, optimizer, config.transfer, frozen=True)
    trained = [item for item in network.parameters() if item.requires_grad]
    assert {id(item) for item in trained} == {id(item) for item in body.list_new()}
    freeze(network, optimizer, config.transfer, frozen=False)

    assert all(item.requires_grad for item in network.parameters())


def test_a_resumed_run_needs_no_pretrained_weights(
    weights: dict[str, torch.Tensor], faces: Dataset, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(weights, path)
    changes = {"network": NAME, "pretrained_weights": str(path), "freeze_epochs": 1, "epochs": 2}
    config = build_config(changes, base=tiny_config)
    run = RunFolder(tmp_path / "run")
    with pytest.raises(RunInterruptedError):
        train(faces, config, run, callbacks=Callbacks(should_stop=lambda: 2))
    path.unlink()

    result = resume(faces, run)

    assert result.epochs == 2
