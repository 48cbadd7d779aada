"""What preparing and checking a dataset came to."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["CheckResult", "DuplicateCounts", "FerPlusReport", "NearCounts", "PrepareResult"]


@dataclass(frozen=True, kw_only=True)
class PrepareResult:
    """What `fer data prepare` made."""

    output: str
    """Path of the prepared dataset."""
    n_images: int
    """Images in it."""
    counts: dict[str, dict[str, int]]
    """Images per split and label."""
    sha256: str
    """Digest of its tensors."""
    official: bool
    """Whether the counts are those of the complete FER2013."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Images removed on request, per reason."""
    warnings: list[str] = field(default_factory=list)
    """What a user should know about the source."""


@dataclass(frozen=True, kw_only=True)
class DuplicateCounts:
    """Images that stand in a dataset more than once, pixel for pixel."""

    n_redundant: int
    """Images less distinct images."""
    within: dict[str, int]
    """The same of each split alone."""
    across: dict[str, int]
    """For `a/b`: images of b that stand in a too."""


@dataclass(frozen=True, kw_only=True)
class NearCounts:
    """Different images that show nearly the same."""

    n_pairs: int
    """Pairs of distinct images."""
    n_mirrored: int
    """Pairs of them in which one is like the mirror image of the other."""
    across: dict[str, int]
    """For `a/b`: images of b that are nearly an image of a."""


@dataclass(frozen=True, kw_only=True)
class FerPlusReport:
    """What the voters of FER+ say of a dataset's labels."""

    splits: dict[str, dict[str, int]]
    """For each split: images, images with a majority, of these those whose label is the majority's;
    images with a vote for "not a face", with most votes for it, with most votes for "unknown"."""
    label_noise: dict[str, float | None]
    """For each label the share of its images whose majority says another; None without any."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What `fer data check` found."""

    source: str
    """What was looked at."""
    n_images: int
    """Images in it."""
    counts: dict[str, dict[str, int]]
    """Images per split and label."""
    sha256: str
    """Digest of its tensors."""
    official: bool
    """Whether the counts are those of the complete FER2013."""
    duplicates: DuplicateCounts
    """Exact copies."""
    conflicting_groups: int
    """Groups of the same pixels with more than one label."""
    conflicting_images: int
    """Images in them."""
    constant_images: list[dict[str, int | str]]
    """Images of one gray value: position, row in the source, split, label."""
    near_duplicates: NearCounts | None
    """Pairs of nearly the same; None where they were not looked for."""
    ferplus: FerPlusReport | None
    """What FER+'s votes say; None without them."""
    files: dict[str, str] = field(default_factory=dict)
    """Tables and pictures that were written."""
    warnings: list[str] = field(default_factory=list)
    """What a user should know about the source."""
