from __future__ import annotations

import pytest
import torch
from torch import distributed

from fercli.errors import ConfigError, PeerLostError, RunFailedError
from fercli.launch import check_group_device
from fercli.training.distributed import explain_silence

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
        with pytest.raises(ConfigError, match="is one"):
            check_group_device(torch.device(name))
