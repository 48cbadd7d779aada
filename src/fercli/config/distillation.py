"""What is learned from beside the labels."""

from __future__ import annotations

from dataclasses import dataclass

from fercli.config.options import check_fields, option, raise_on

__all__ = ["DistillationConfig"]


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """Whose predictions are learned beside the labels."""

    members: int = option(
        0,
        low=2,
        high=64,
        off=0,
        flag="--members",
        help="Train an ensemble of N networks, then distill it into one.",
        details="Each member has a seed of its own; the mean of their predictions is the teacher. "
        "0 trains one network alone.",
    )
    cross_fit: bool = option(
        default=False,
        help="Each member leaves out one fold of the training images and predicts only that fold.",
        details="It then predicts only images that it was not trained on (Dao et al., "
        '"Knowledge Distillation as Semiparametric Inference", 2021, section 4).',
    )
    folds: int = option(
        0,
        low=2,
        high=64,
        off=0,
        internal=True,
        help="Folds that the training images are split into; copies of an image share one.",
    )
    fold: int = option(
        0,
        low=0,
        high=64,
        internal=True,
        help="The fold that this member leaves out, from 1; 0 leaves none out.",
    )
    teacher: tuple[str, ...] = option(
        (),
        flag="--teacher",
        metavar="MODEL",
        help="Distill from this model. Repeat to average several teachers.",
        details="A run, a `.safetensors`, an `.onnx` or a bundled model; `members` trains its own "
        "teachers.",
    )
    teacher_weight: float = option(
        0.7,
        above=0,
        high=1,
        help="Weight of the distillation loss; the loss against the labels has the rest.",
    )
    teacher_temperature: float = option(
        2.0, low=1, high=20, help="Temperature that divides both sides' logits in that loss."
    )
    consistent_teaching: bool = option(
        default=False,
        help="Show the teacher every varied image that the network sees, instead of asking it once "
        "about each image.",
        details="Its predictions then fit what is learned from them, and never run out; each step "
        "takes longer, and it must be a model with weights, not an ONNX (Beyer et al., "
        '"Knowledge distillation: A good teacher is patient and consistent", 2022, section 3.1).',
    )
    self_weight: float = option(
        0.0,
        low=0,
        below=1,
        help="Weight of the network's own previous prediction in the target at the last epoch.",
        details="It grows from 0 epoch by epoch; 0 is no self-distillation (Kim et al., "
        '"Self-Knowledge Distillation with Progressive Refinement of Targets", 2021, section 3.1, '
        "there 0.8).",
    )
    self_memory: float = option(
        0.5,
        low=0,
        below=1,
        help="Decay per epoch of the average of those predictions; 0 keeps the last epoch's only.",
    )

    def __post_init__(self) -> None:
        """Check every field; see `ConfigError.problems`."""
        problems = check_fields(self)
        if self.cross_fit and not self.members:
            problems.append("cross_fit needs members: members must be at least 2")
        if self.consistent_teaching and not self.has_teacher:
            problems.append("consistent_teaching needs a teacher: give --teacher or --members")
        if self.consistent_teaching and self.cross_fit:
            problems.append(
                "cross_fit asks each member about its own fold alone: consistent_teaching must be "
                "false"
            )
        if (self.folds or self.fold) and not 1 <= self.fold <= self.folds:
            problems.append(
                f"fold must be one of at least two folds, and not {self.fold} of {self.folds}"
            )
        if self.members and self.teacher:
            problems.append("members and teacher both provide teachers: give one of them")
        problems += [
            f"the teacher {one} is named twice"
            for one in dict.fromkeys(self.teacher)
            if self.teacher.count(one) > 1
        ]
        raise_on(problems)

    @property
    def has_teacher(self) -> bool:
        """Whether there is a teacher."""
        return bool(self.members or self.teacher)
