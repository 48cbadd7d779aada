from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fercli.config import NETWORKS, NetworkConfig, TrainConfig
from fercli.errors import ConfigError
from fercli.metadata import ModelMetadata
from fercli.networks import FaceNetwork, build_network, count_parameters, initialize
from fercli.networks.batch_norm_fusion import fuse
from fercli.networks.runtime import TorchRuntime, to_pixels
from fercli.networks.whitening import compute_paired_filters
from fercli.recipes import find_recipe

if TYPE_CHECKING:
    from fercli.data import Dataset

CONFIGS = {
    "cnn": NetworkConfig(stem_width=8, widths=(16, 32), convolutions=3, dropout=0.0),
    "paired": NetworkConfig(
        stem_width=8, widths=(16, 32), convolutions=3, dropout=0.0, flip_equivariant=True
    ),
    "stride of one": NetworkConfig(
        stem_width=8, stem_stride=1, widths=(16, 32), dropout=0.0, flip_equivariant=True
    ),
    "separable": NetworkConfig(network="separable", stem_width=8, widths=(16, 32), dropout=0.0),
    "notebook": NetworkConfig(network="notebook", dropout=0.0),
    "resnet18": NetworkConfig(network="resnet18", dropout=0.0),
    "vgg11_bn": NetworkConfig(network="vgg11_bn", dropout=0.0),
}


def build(name: str, seed: int = 0) -> FaceNetwork:
    network = build_network(CONFIGS[name], 7)
    initialize(network, torch.Generator().manual_seed(seed))
    return network


def test_the_notebooks_network_is_the_notebooks() -> None:
    network = build_network(find_recipe("notebook").model, 7)
    kernels = [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]
    dense = [m.in_features for m in network.modules() if isinstance(m, nn.Linear)]

    assert count_parameters(network) == 7_382_983
    assert kernels == [32, 64, 128, 256, 512, 1024]
    assert dense == [4096, 256, 128, 64]


def test_sizes_of_ours() -> None:
    assert count_parameters(build_network(find_recipe("fast").model, 7)) == 298_151
    assert count_parameters(build_network(find_recipe("standard").model, 7)) == 2_175_351
    # The frontier that is compared with is one of five million at most.
    assert count_parameters(build_network(find_recipe("best").model, 7)) == 3_793_959
    assert count_parameters(build_network(find_recipe("tiny").model, 7)) == 59_767


@pytest.mark.parametrize("name", NETWORKS)
def test_one_batch_can_be_learned_by_heart(name: str, faces: Dataset) -> None:
    network = build(name).train()
    # Of the large ones a step on eight images takes as long as all steps of ours.
    n_images = 32 if name in {"cnn", "separable"} else 8
    pixels = to_pixels(torch.from_numpy(faces.images[:n_images]))
    labels = torch.from_numpy(faces.labels[:n_images].astype(np.int64))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)

    accuracy = 0.0
    for _ in range(60):
        logits = network(pixels)
        accuracy = float((logits.argmax(1) == labels).float().mean())
        if accuracy == 1:
            break
        loss = functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation there
        optimizer.step()

    assert accuracy == 1


@pytest.mark.parametrize("turned", [False, True], ids=["as trained", "turned around"])
@pytest.mark.parametrize("name", [*NETWORKS, "paired"])
def test_norms_melt_into_convolutions(name: str, faces: Dataset, *, turned: bool) -> None:
    network = build(name).eval()
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=generator)
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.2
            with torch.no_grad():
                module.weight.uniform_(-1 if turned else 0.2, 1, generator=generator)
                module.bias.uniform_(-1, 1, generator=generator)
    pixels = to_pixels(torch.from_numpy(faces.images[:8]))

    simple = fuse(network)

    with torch.inference_mode():
        expected, found = network(pixels), simple(pixels)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    norms = [module for module in simple.modules() if isinstance(module, nn.BatchNorm2d)]
    if name in {"cnn", "paired", "separable"}:
        # One stays behind each pooling whose channels it may turn around.
        assert len(norms) == (2 if turned else 0)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    torch.rand(3)
    first, again, other = (build(name, seed).state_dict() for seed in (3, 3, 4))

    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_ours_takes_any_size() -> None:
    network = build("cnn").eval()

    for side in (16, 32, 40, 48, 64):
        assert network(torch.zeros(2, 1, side, side)).shape == (2, 7)


def test_any_number_of_labels() -> None:
    for name, config in CONFIGS.items():
        network = build_network(config, 3).eval()
        assert network(torch.zeros(2, 1, 48, 48)).shape == (2, 3), name


def test_the_first_layer_normalizes() -> None:
    config = CONFIGS["cnn"]
    network = build_network(config, 7, mean=0.4, std=0.2).eval()
    pixels = torch.rand(3, 1, 48, 48)

    assert torch.allclose(network(pixels), network.body((pixels - 0.4) / 0.2))


def test_the_runtime_gives_probabilities(faces: Dataset) -> None:
    metadata = ModelMetadata(labels=("a",) * 7, temperature=2.0)
    runtime = TorchRuntime(build_network(CONFIGS["cnn"], 7), metadata, torch.device("cpu"))
    images = faces.images[:5]

    probabilities = runtime.predict(images)

    with torch.inference_mode():
        logits = runtime.network(to_pixels(torch.from_numpy(images)))
    expected = torch.softmax(logits / 2, dim=1).numpy()
    assert probabilities == pytest.approx(expected, abs=1e-6)
    assert probabilities.dtype == np.float32


def test_a_whitened_stem_decorrelates_patches_and_is_frozen(faces: Dataset) -> None:
    config = NetworkConfig(stem="whitened", stem_width=16, widths=(8,))
    network = build_network(config, 7, mean=0.5, std=0.2)
    pixels = to_pixels(torch.from_numpy(np.array(faces.images[:100])))
    initialize(network, torch.Generator().manual_seed(0), pixels)

    stem = network.get_submodule("body.stem")
    assert isinstance(stem, torch.nn.Conv2d)
    answers = functional.conv2d((pixels - 0.5) / 0.2, stem.weight, stride=2)
    values = answers.transpose(0, 1).flatten(1).double()
    covariance = torch.cov(values[:8])
    spread = covariance.diagonal()
    assert float((covariance - torch.diag(spread)).abs().max()) < 1e-3
    assert 0 < float(spread.min()) <= float(spread.max()) < 1
    assert torch.equal(stem.weight[:8], -stem.weight[8:])
    assert not any(item.requires_grad for item in stem.parameters())


@pytest.mark.parametrize(("stem", "stride"), [("learned", 2), ("whitened", 2), ("learned", 1)])
def test_a_flip_equivariant_network_answers_mirror_images_alike(
    faces: Dataset, stem: str, stride: int
) -> None:
    config = NetworkConfig(
        flip_equivariant=True, stem=stem, stem_stride=stride, stem_width=16, widths=(8, 12),
        convolutions=3, dropout=0,
    )  # fmt: skip
    network = build_network(config, 7, mean=0.5, std=0.2)
    pixels = to_pixels(torch.from_numpy(np.array(faces.images[:40])))
    initialize(network, torch.Generator().manual_seed(0), pixels)

    for train in (True, False):
        network.train(train)
        answers, mirrored = network(pixels), network(pixels.flip(3))
        assert torch.allclose(answers, mirrored, atol=1e-5)
        assert not torch.allclose(answers, network(pixels.flip(2)), atol=1e-3)
    maps = network.get_submodule("body.stem")((pixels - 0.5) / 0.2)
    other = network.get_submodule("body.stem")((pixels.flip(3) - 0.5) / 0.2)
    assert torch.allclose(maps.roll(8, 1), other.flip(3), atol=1e-5)


def test_paired_filters_whiten_with_their_mirror_images(faces: Dataset) -> None:
    pixels = to_pixels(torch.from_numpy(np.array(faces.images[:100])))
    filters = compute_paired_filters(pixels, 16, 4)

    both = torch.cat([pixels, pixels.flip(3)]).double()
    answers = functional.conv2d(both, torch.cat([filters[:8], filters[:8].flip(3)]), stride=2)
    covariance = torch.cov(answers.transpose(0, 1).flatten(1))
    spread = covariance.diagonal()
    assert 0 < float(spread.min()) <= float(spread.max()) < 1
    assert torch.equal(filters[:8], -filters[8:])
    # A filter and its own mirror image share what is symmetric in them less what is not: nothing,
    # but for the floor that keeps noise from being blown up.
    between = torch.diag(covariance[:8, 8:].diagonal())
    assert float(between.abs().max()) < 0.5
    alone = covariance - torch.diag(spread)
    alone[:8, 8:] -= between
    alone[8:, :8] -= between
    assert float(alone.abs().max()) < 1e-6


def test_a_flip_equivariant_network_has_half_the_weights() -> None:
    plain, shared = (
        build_network(NetworkConfig(flip_equivariant=shared, widths=(8, 16)), 7)
        for shared in (False, True)
    )
    n_plain, n_shared = (
        sum(item.numel() for item in network.parameters() if item.ndim == 4)
        for network in (plain, shared)
    )

    assert n_plain == 2 * n_shared
    for refused in (
        {"widths": (7,)}, {"stem_width": 31}, {"stem": "whitened", "stem_width": 30},
        {"stem": "whitened", "stem_stride": 1},
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            NetworkConfig(flip_equivariant=True, **refused)


@pytest.mark.parametrize("network", ["notebook", "resnet18"])
def test_other_networks_have_no_stem_of_ours(network: str) -> None:
    config = NetworkConfig(network=network, stem_stride=1)

    with pytest.raises(ConfigError, match="stem_stride must be 2"):
        TrainConfig(model=config)


def test_a_learned_stem_does_not_look_at_the_images(faces: Dataset) -> None:
    pixels = to_pixels(torch.from_numpy(np.array(faces.images[:10])))
    weights = []
    for shown in (None, pixels):
        network = build_network(CONFIGS["cnn"], 7)
        initialize(network, torch.Generator().manual_seed(0), shown)
        weights.append(network.get_parameter("body.stem.weight").clone())

    assert torch.equal(weights[0], weights[1])
