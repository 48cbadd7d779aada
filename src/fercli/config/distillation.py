"""Who teaches."""

from __future__ import annotations

from dataclasses import dataclass

from fercli.config.checks import raise_on
from fercli.ranges import find_excess, find_not_above, find_outside

__all__ = ["DistillationConfig"]


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """Whose answers are learned beside the labels."""

    members: int = 0
    """Networks trained first, each with a seed of its own, whose mean answer teaches the one that
    is kept; 0 trains that one alone, else 2 to 64."""
    cross_fit: bool = False
    """Whether each member leaves out one part of the training images and teaches on that part
    alone: what is said of images that were never learned from is not learned by heart (Dao et al.,
    "Knowledge Distillation as Semiparametric Inference", 2021, section 4)."""
    folds: int = 0
    """Parts that the training images are cut into, copies of an image into the same; 0 for none,
    else 2 to 64. Members that cross-fit set it for themselves."""
    fold: int = 0
    """The part that is left out of a training, from 1; 0 leaves none out."""
    teacher: tuple[str, ...] = ()
    """Paths or bundled names of models whose mean answer teaches; empty for none. `members` makes
    its own."""
    teacher_weight: float = 0.7
    """Part of the loss that compares with the teacher, in (0, 1]; the labels have the rest."""
    teacher_temperature: float = 2.0
    """What both sides' logits are divided by before they are compared, in [1, 20]."""

    self_weight: float = 0.0
    """Part of what is wanted of an image that is the network's own earlier answer to it, at the end
    of the run, in [0, 1); it grows from 0 epoch by epoch (Kim et al., "Self-Knowledge Distillation
    with Progressive Refinement of Targets", 2021, section 3.1, there 0.8)."""
    self_memory: float = 0.5
    """What an epoch leaves of those answers, in [0, 1); 0 keeps the last epoch's alone."""

    def __post_init__(self) -> None:
        """Check every range; see `ConfigError.problems`."""
        problems = [
            *find_outside("members", self.members, 0, 64),
            *find_not_above("teacher_weight", self.teacher_weight, 0),
            *find_excess("teacher_weight", self.teacher_weight, 1),
            *find_outside("self_weight", self.self_weight, 0, 0.99),
            *find_outside("self_memory", self.self_memory, 0, 0.99),
            *find_outside("teacher_temperature", self.teacher_temperature, 1, 20),
        ]
        if self.members == 1:
            problems.append("members must be 0 or at least 2: one network has nobody to agree with")
        if self.cross_fit and not self.members:
            problems.append("cross_fit is a way that members teach: members must be at least 2")
        if (self.folds or self.fold) and not (
            2 <= self.folds <= 64 and 1 <= self.fold <= self.folds
        ):
            problems.append(
                f"fold must be one of at least two folds, and not {self.fold} of {self.folds}"
            )
        if self.members and self.teacher:
            problems.append("members and teacher are two ways to a teacher: give one of them")
        problems += [
            f"the teacher {one} is named twice"
            for one in dict.fromkeys(self.teacher)
            if self.teacher.count(one) > 1
        ]
        raise_on(problems)

    @property
    def has_teacher(self) -> bool:
        """Whether anybody teaches."""
        return bool(self.members or self.teacher)
