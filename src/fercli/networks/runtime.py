"""Run a trained network in torch, as a Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fercli.networks.devices import full_fp32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.metadata import ModelMetadata
    from fercli.networks import FaceNetwork

__all__ = ["TorchRuntime", "to_pixels"]


def to_pixels(images: Tensor) -> Tensor:
    """Return uint8 images `[N, 48, 48]` as float32 pixels `[N, 1, 48, 48]` in [0, 1]."""
    return images.unsqueeze(1).to(torch.float32) / 255


class TorchRuntime:
    """A network on a device.

    Args:
        network: Trained; put in evaluation mode and moved to `device`.
        metadata: What is stored with it; `labels` name its outputs, `temperature` divides the
            logits.
        device: Where it runs.
    """

    def __init__(self, network: FaceNetwork, metadata: ModelMetadata, device: torch.device) -> None:
        self.network = network.eval().to(device).to(memory_format=torch.channels_last)
        self.labels = metadata.labels
        self.metadata = metadata
        self.device = str(device)
        self._device = device

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities `[N, K]` for `[N, 48, 48]` uint8."""
        with torch.inference_mode(), full_fp32(self._device):
            # torch warns of arrays that it may not write to, as mapped files and Pillow give.
            batch = torch.from_numpy(np.require(images, requirements=("C", "W"))).to(self.device)
            logits: Tensor = self.network(to_pixels(batch))
            probabilities = torch.softmax(logits.float() / self.metadata.temperature, dim=1)
        result: NDArray[np.float32] = probabilities.cpu().numpy()
        return result
