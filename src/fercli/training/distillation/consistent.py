"""Teachers that look at every varied image beside the network that learns from them.

A network that is asked once about each training image answers what it has learned by heart; of a
view that it never saw it says what it makes of it, and there is a new one in every step.

Source:
    Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", 2022, arXiv
    2106.05237, section 3.1: "consistent teaching" and "function matching".

Shape legend: N images, K labels of the dataset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fercli.networks.batch_norm_fusion import fuse
from fercli.networks.runtime import TorchRuntime
from fercli.training.distillation.teacher import open_named, open_teachers
from fercli.training.loss import soften
from fercli.training.step import autocast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fercli.config import TrainConfig
    from fercli.networks import FaceNetwork
    from fercli.training.context import TrainingContext
    from fercli.training.distillation.teacher import Teacher

__all__ = ["ConsistentTeacher", "open_consistent"]


class ConsistentTeacher:
    """The mean of some models, asked about a batch.

    Args:
        teachers: Networks of torch, see `open_teachers`.
        config: Precision, memory order, the parts of a batch and the temperature of what is
            learned.
        device: Where the batches are.
    """

    def __init__(
        self, teachers: Sequence[Teacher], config: TrainConfig, device: torch.device
    ) -> None:
        self._precision = config.precision
        self._temperature = config.distillation.teacher_temperature
        self._n_parts = config.accumulate
        self._members: list[tuple[FaceNetwork, float, Tensor]] = []
        for teacher in teachers:
            if not isinstance(teacher.runtime, TorchRuntime):
                raise TypeError(teacher.runtime)
            network = fuse(teacher.runtime.network).to(device).requires_grad_(requires_grad=False)
            if config.channels_last:
                network.to(memory_format=torch.channels_last)
            columns = torch.tensor(teacher.columns, device=device)
            self._members.append((network, teacher.runtime.metadata.temperature, columns))

    def predict(self, pixels: Tensor) -> Tensor:
        """Return probabilities `[N, K]` float32, at the temperature that they are learned at.

        Args:
            pixels: `[N, 1, H, W]` float32 in [0, 1], as the network that learns sees them.
        """
        with torch.no_grad():
            # Each image is answered by itself, so parts take less memory and change nothing.
            parts = pixels.chunk(self._n_parts)
            answers = [
                torch.cat([self._ask(member, part) for part in parts]) for member in self._members
            ]
            return soften(torch.stack(answers).mean(0), self._temperature)

    def _ask(self, member: tuple[FaceNetwork, float, Tensor], pixels: Tensor) -> Tensor:
        network, temperature, columns = member
        with autocast(pixels.device, self._precision):
            logits = network(pixels)
        return torch.softmax(logits.float() / temperature, dim=1).index_select(1, columns)


def open_consistent(
    context: TrainingContext, members: list[str], device: torch.device
) -> ConsistentTeacher | None:
    """Open the teachers of a training that look at every varied image; None where none do.

    Args:
        context: The training.
        members: Folders of the trained members, where they teach.
        device: Where the batches will be.

    Raises:
        ModelFileError: A teacher is missing or damaged, or has no weights that torch can run.
    """
    config = context.config
    if not config.distillation.consistent_teaching:
        return None
    if config.distillation.members:
        names = tuple(context.dataset.label_names)
        teachers = open_teachers(members, names, config.device, with_weights=True)
    else:
        teachers = open_named(context.dataset, config)
    return ConsistentTeacher(teachers, config, device)
