from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fercli.networks import build_network, initialize
from fercli.settings import build_config
from fercli.storage import save_tensors
from fercli.training.checkpoint import find_checkpoints, restore_newest, save_checkpoint
from fercli.training.state import build_state

if TYPE_CHECKING:
    from fercli.config import TrainConfig

CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_checkpoints_come_back_bit_for_bit(tiny_config: TrainConfig, tmp_path: Path) -> None:
    def build(seed: int) -> Any:
        network = build_network(tiny_config.model, 7)
        initialize(network, generator(seed))
        return build_state(network, tiny_config, CPU)

    state, other = build(0), build(1)
    state.network(torch.rand(4, 1, 48, 48)).sum().backward()
    state.optimizer.step()
    state.keep_best()
    state.progress.loss_sum = 1 / 3
    save_checkpoint(tmp_path, state, 7)

    assert restore_newest(tmp_path, other, lambda _text: None) == find_checkpoints(tmp_path)[0]
    first, second = state.to_arrays(), other.to_arrays()
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert other.progress == state.progress


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_restored_moments_lie_in_memory_as_their_weights(
    tiny_config: TrainConfig, tmp_path: Path, optimizer: str
) -> None:
    config = build_config({"optimizer": optimizer}, base=tiny_config)

    def build() -> Any:
        network = build_network(config.model, 7)
        initialize(network, generator())
        return build_state(network, config, CPU)

    state, other = build(), build()
    state.network(torch.rand(4, 1, 48, 48)).sum().backward()
    state.optimizer.step()
    save_checkpoint(tmp_path, state, 1)

    restore_newest(tmp_path, other, lambda _text: None)

    n_seen = 0
    for parameter, moments in other.optimizer.state.items():
        for moment in moments.values():
            if isinstance(moment, torch.Tensor) and moment.ndim == 4:
                n_seen += not parameter.is_contiguous()
                assert moment.stride() == parameter.stride()
    assert n_seen


def test_the_newest_two_checkpoints_are_kept_and_the_newest_whole_one_counts(
    tiny_config: TrainConfig, tmp_path: Path
) -> None:
    state = build_state(build_network(tiny_config.model, 7), tiny_config, CPU)
    paths = []
    for step in (9, 10, 999_999_999):
        state.progress.step = step
        paths.append(save_checkpoint(tmp_path, state, step))
    said: list[str] = []

    assert find_checkpoints(tmp_path) == [paths[2], paths[1]]
    assert restore_newest(tmp_path, state, said.append) == paths[2]
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    assert restore_newest(tmp_path, state, said.append) == paths[1]
    assert state.progress.step == 10
    head = {"schema": 1, "kind": "checkpoint", "progress": state.progress.to_json()}
    for changes in ({"kind": "model"}, {"schema": 2}):
        save_tensors(paths[1], state.to_arrays(), {**head, **changes})
        assert restore_newest(tmp_path, state, said.append) is None
    assert said[0].startswith(f"skipped a checkpoint: {paths[2]} ")
    assert said[-1].endswith("is not a checkpoint of schema 1")


def test_checkpoints_of_a_run_that_began_again_replace_the_damaged_ones(
    tiny_config: TrainConfig, tmp_path: Path
) -> None:
    state = build_state(build_network(tiny_config.model, 7), tiny_config, CPU)
    for step in (400, 500):
        save_checkpoint(tmp_path, state, step).write_bytes(b"torn")

    paths = [save_checkpoint(tmp_path, state, step) for step in (50, 100, 150)]

    assert find_checkpoints(tmp_path) == [paths[2], paths[1]]
