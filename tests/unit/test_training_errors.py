from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from fercli.errors import DataError, RunFailedError
from fercli.runs import RunFolder
from fercli.settings import build_config
from fercli.training.errors import explain_failures


@pytest.fixture
def run_folder(tmp_path: Path) -> RunFolder:
    """A run that has saved two states."""
    folder = RunFolder(tmp_path / "run")
    folder.checkpoints.mkdir(parents=True)
    for step in (8, 16):
        (folder.checkpoints / f"step-{step:09d}.safetensors").touch()
    return folder


def explain(reason: BaseException, run: RunFolder) -> RunFailedError:
    config = build_config({"batch_size": 96})
    with pytest.raises(RunFailedError) as caught, explain_failures(run, config):
        raise reason
    return caught.value


@pytest.mark.parametrize(
    "reason",
    [
        MemoryError(),
        torch.OutOfMemoryError("Tried to allocate 2.00 GiB."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)."),
    ],
    ids=["python", "torch", "windows", "linux", "cuda", "cudnn", "cublas", "mps"],
)
def test_running_out_of_memory_names_the_batch_and_half_of_it(
    reason: BaseException, run_folder: RunFolder
) -> None:
    error = explain(reason, run_folder)

    assert error.message == "memory ran out at batch size 96"
    newest = run_folder.checkpoints / "step-000000016.safetensors"
    assert error.hint == f"train anew with --batch-size 48; the last good state is {newest}"
    assert error.__cause__ is reason


def test_other_errors_pass_through(run_folder: RunFolder) -> None:
    for reason in (
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x8 and 4x8)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        DataError("no images"),
        # A callback that asked something of a network.
        ConnectionRefusedError(errno.ECONNREFUSED, "webhook is down"),
        OSError("a library's own"),
    ):
        with pytest.raises(type(reason)) as caught, explain_failures(run_folder, build_config({})):
            raise reason
        assert caught.value is reason


def test_a_full_disk_names_the_last_state(run_folder: RunFolder, tmp_path: Path) -> None:
    reason = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "metrics.csv")

    error = explain(reason, run_folder)
    first = explain(reason, RunFolder(tmp_path / "new"))

    assert error.message == "the run's files cannot be written (No space left on device)"
    newest = run_folder.checkpoints / "step-000000016.safetensors"
    assert error.hint == f"free some space; the last good state is {newest}"
    assert first.hint == "free some space; no state was saved yet"


def test_a_failure_of_ours_gains_the_last_state(run_folder: RunFolder) -> None:
    error = explain(RunFailedError("the loss is no number", hint="lower it"), run_folder)

    assert error.message == "the loss is no number"
    newest = run_folder.checkpoints / "step-000000016.safetensors"
    assert error.hint == f"lower it; the last good state is {newest}"
