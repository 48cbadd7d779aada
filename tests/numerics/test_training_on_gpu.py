"""What a GPU changes of a training, without one; the steps are in `test_fake_gpu.py`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from fercli.networks.devices import full_fp32
from fercli.runs import RunFolder
from fercli.training import train

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from fercli.config import TrainConfig
    from fercli.data import Dataset


def test_a_gpu_leaves_an_onnx_too(
    faces: Dataset, tiny_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What holds cuDNN to fp32 makes torch's exporter fail, on any machine.
    monkeypatch.setattr("fercli.training.run.full_fp32", lambda _: full_fp32(torch.device("cuda")))
    run = RunFolder(tmp_path / "run")

    result = train(faces, replace(tiny_config, epochs=1), run)

    assert not result.warnings
    assert run.onnx.exists()
