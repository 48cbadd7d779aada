from __future__ import annotations

import pytest
import torch
from torch import distributed

from fercli.errors import ConfigError, PeerLostError, RunFailedError
from fercli.launch import check_group_device
from fercli.training.distributed import ALONE, Group, explain_silence, join_group


@pytest.mark.parametrize(("n_images", "size"), [(33, 2), (7, 3), (2, 2), (1, 3), (0, 2), (5, 1)])
def test_parts_hold_every_image_once_and_differ_by_one(n_images: int, size: int) -> None:
    parts = [range(n_images)[Group(rank, size).shard(n_images)] for rank in range(size)]

    assert [number for part in parts for number in part] == list(range(n_images))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("n_images", "size", "n_parts"), [(33, 2, 3), (8, 2, 2), (6, 1, 4)])
def test_parts_of_a_batch_hold_the_same_images_in_any_number_of_processes(
    n_images: int, size: int, n_parts: int
) -> None:
    alone = ALONE.shard_parts(n_images, n_parts)
    shared = [Group(rank, size).shard_parts(n_images, n_parts) for rank in range(size)]

    assert [number for part in alone for number in range(n_images)[part]] == list(range(n_images))
    for number, whole in enumerate(alone):
        together = [one for parts in shared for one in range(n_images)[parts[number]]]
        assert together == list(range(n_images)[whole])


def test_alone_everything_stays_as_it_is() -> None:
    values = torch.tensor([1.0, 2.0])

    assert ALONE.is_main
    assert ALONE.all_reduce_sum(values) is values
    assert ALONE.all_reduce_max((3, 4), torch.device("cpu")) == (3, 4)
    assert ALONE.all_gather("x") == ["x"]
    assert ALONE.broadcast("x") == "x"


def test_the_first_process_leads() -> None:
    assert [Group(rank, 3).is_main for rank in range(3)] == [True, False, False]


def test_each_process_of_a_machine_has_a_gpu_of_its_own() -> None:
    group = Group(5, 8, local_rank=1)

    assert group.local_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert group.local_device(torch.device("cuda:3")) == torch.device("cuda:3")
    assert group.local_device(torch.device("cpu")) == torch.device("cpu")
    assert ALONE.local_device(torch.device("cuda")) == torch.device("cuda")


def test_without_a_launcher_nobody_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)

    with join_group(torch.device("cpu"), "advice") as group:
        assert group is ALONE


REMOTE = (
    "NCCL error in: ProcessGroupNCCL.cpp:2251, remote process exited or there was a network error, "
    "NCCL version 2.27.5\nncclRemoteError: A call failed possibly due to a network error"
)
USAGE = (
    "NCCL error in: NCCLUtils.cpp:94, invalid usage (run with NCCL_DEBUG=WARN for details)\n"
    "ncclInvalidUsage: This usually reflects invalid usage of NCCL library.\n"
    "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000"
)


@pytest.mark.parametrize(
    "reason",
    [
        RuntimeError("[pair.cc:534] Connection closed by peer [127.0.0.1]:38297"),
        RuntimeError("[unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation"),
        distributed.DistNetworkError("The client socket has failed to connect"),
        distributed.DistBackendError(REMOTE),
        distributed.DistBackendError("NCCL communicator was aborted on rank 0."),
        distributed.DistBackendError("Watchdog caught collective operation timeout: WorkNCCL(1)"),
    ],
    ids=["closed", "silent", "network", "remote", "aborted", "watchdog"],
)
def test_a_lost_process_is_called_lost(reason: RuntimeError) -> None:
    with pytest.raises(PeerLostError, match="is gone") as caught, explain_silence("go on"):
        raise reason

    assert caught.value.hint == "go on"


def test_another_failure_of_nccl_is_called_by_its_words() -> None:
    with pytest.raises(RunFailedError) as caught, explain_silence("go on"):
        raise distributed.DistBackendError(USAGE)

    assert not isinstance(caught.value, PeerLostError)
    assert "ncclInvalidUsage" in caught.value.message
    assert "\n" not in caught.value.message
    assert "NCCL_DEBUG" in caught.value.hint
    assert caught.value.hint.endswith("go on")


def test_other_errors_pass_through_a_group() -> None:
    with pytest.raises(RuntimeError, match="inconsistent tensor size"), explain_silence("go on"):
        torch.ones(2) @ torch.ones(3)


def test_processes_share_out_devices_not_one_device() -> None:
    for name in ("cpu", "cuda"):
        check_group_device(torch.device(name))
    for name in ("mps", "cuda:1"):
        with pytest.raises(ConfigError, match="is a single one"):
            check_group_device(torch.device(name))
