"""Run a trained network in torch, as a Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.networks import FaceNetwork

__all__ = ["TorchRuntime", "to_pixels"]


def to_pixels(images: Tensor) -> Tensor:
    """Return uint8 images `[N, 48, 48]` as float32 pixels `[N, 1, 48, 48]` in [0, 1]."""
    return images.unsqueeze(1).to(torch.float32) / 255


class TorchRuntime:
    """A network on a device.

    Args:
        network: Trained; put in evaluation mode and moved to `device`.
        labels: K label names, in the order of its outputs.
        device: Where it runs.
        metadata: The JSON object stored with the model; `temperature` divides the logits.
    """

    def __init__(
        self,
        network: FaceNetwork,
        labels: tuple[str, ...],
        device: torch.device,
        metadata: dict[str, Any],
    ) -> None:
        self.network = network.eval().to(device).to(memory_format=torch.channels_last)
        self.labels = labels
        self.metadata = metadata
        self.device = str(device)
        self._temperature = float(metadata.get("temperature", 1.0))

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities `[N, K]` for `[N, 48, 48]` uint8."""
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
            logits: Tensor = self.network(to_pixels(batch))
            probabilities = torch.softmax(logits.float() / self._temperature, dim=1)
        result: NDArray[np.float32] = probabilities.cpu().numpy()
        return result
