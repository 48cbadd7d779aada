from __future__ import annotations

from typing import Any

import pytest
import torch

from fercli.environment import find_missing_kernels
from fercli.errors import DeviceUnavailableError
from fercli.networks.devices import (
    choose_device,
    choose_precision,
    find_passed_over,
    full_fp32,
)
from fercli.training.process import (
    keep_generators,
    read_generators,
    restore_generators,
    seed_generators,
)

BUILDS = {
    "2.14": "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120 compute_120",
    "old": "sm_50 sm_60 sm_70",
    "own": "sm_90a",
    "rocm": "gfx90a gfx942",
}


@pytest.fixture
def imagine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imagine CUDA devices of some compute capabilities, and what torch was built for."""

    def call(*capabilities: tuple[int, int], build: str = "2.14") -> None:
        def look_up(device: int | torch.device = 0) -> tuple[int, int]:
            index = device.index or 0 if isinstance(device, torch.device) else device
            return capabilities[index]

        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(capabilities))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
        monkeypatch.setattr(torch.cuda, "get_device_capability", look_up)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _index: "Tesla")
        monkeypatch.setattr(torch.cuda, "get_arch_list", BUILDS[build].split)

    return call


@pytest.mark.parametrize(
    ("build", "capability", "runs"),
    [
        ("2.14", (6, 0), False),
        ("2.14", (7, 0), False),
        ("2.14", (7, 5), True),
        ("2.14", (8, 9), True),
        ("2.14", (9, 0), True),
        ("2.14", (10, 3), True),
        ("2.14", (11, 0), False),
        ("2.14", (13, 0), True),
        ("old", (6, 1), True),
        ("old", (8, 0), False),
        ("own", (9, 0), True),
        ("own", (9, 1), False),
        ("rocm", (9, 4), True),
    ],
)
def test_kernels_run_on_what_they_were_built_for(
    imagine: Any, build: str, capability: tuple[int, int], *, runs: bool
) -> None:
    imagine(capability, build=build)

    assert (find_missing_kernels(0) is None) == runs


def test_a_device_without_kernels_is_refused_in_a_sentence(imagine: Any) -> None:
    imagine((7, 0), build="2.14")

    with pytest.raises(DeviceUnavailableError) as caught:
        choose_device("cuda")

    assert caught.value.message == (
        "this torch has no kernels for cuda:0 (Tesla): its compute capability is 7.0, that of the "
        "kernels 7.5, 8.0, 8.6, 9.0, 10.0, 12.0"
    )
    assert "--device cpu" in caught.value.hint


def test_auto_passes_over_a_device_without_kernels(imagine: Any) -> None:
    imagine((6, 0))
    assert choose_device("auto").type != "cuda"
    assert "no kernels for cuda:0" in str(find_passed_over("auto"))
    assert find_passed_over("cpu") is None

    imagine((8, 0))
    assert choose_device("auto").type == "cuda"
    assert find_passed_over("auto") is None

    imagine()
    assert find_passed_over("auto") is None


def test_precision_follows_the_device_asked_for(imagine: Any) -> None:
    imagine((6, 1), (7, 5), (8, 0), build="old")
    devices = [torch.device("cuda", index) for index in range(3)]

    assert [choose_precision("auto", one) for one in devices] == ["fp32", "fp16", "bf16"]
    assert choose_precision("fp32", devices[2]) == "fp32"


def test_fp32_is_no_tf32_until_the_last_thread_is_done() -> None:
    convolution = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # made at import
    before = convolution.fp32_precision
    first, second = full_fp32(torch.device("cuda")), full_fp32(torch.device("cuda"))

    first.__enter__()
    second.__enter__()
    within = [convolution.fp32_precision]
    first.__exit__(None, None, None)
    within.append(convolution.fp32_precision)
    second.__exit__(None, None, None)
    with full_fp32(torch.device("cpu")):
        within.append(convolution.fp32_precision)

    assert within == ["ieee", "ieee", before]
    assert convolution.fp32_precision == before


@pytest.fixture
def gpu_generators(monkeypatch: pytest.MonkeyPatch) -> list[torch.Generator]:
    """Generators of two CUDA devices and of MPS, in their stead."""
    generators = [torch.Generator() for _ in range(3)]
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "default_generators", generators[:2])
    monkeypatch.setattr(torch.mps, "_get_default_mps_generator", lambda: generators[2])
    return generators


@pytest.mark.parametrize(("name", "place"), [("cuda", 0), ("cuda:1", 1), ("mps", 2)])
def test_dropout_is_seeded_saved_and_put_back_on_its_device(
    gpu_generators: list[torch.Generator], name: str, place: int
) -> None:
    device = torch.device(name)
    own = gpu_generators[place]
    before = [generator.get_state() for generator in gpu_generators]

    with keep_generators(device):
        seed_generators(device, 5)
        states = read_generators(device)
        drawn = torch.rand(4, generator=own)
        restore_generators(device, states)
        again = torch.rand(4, generator=own)
        seeds = [generator.initial_seed() for generator in gpu_generators]

    assert [seed == 5 for seed in seeds] == [index == place for index in range(3)]
    assert torch.equal(drawn, again)
    after = [generator.get_state() for generator in gpu_generators]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
