"""What an audit leaves in a folder: every finding as a row, and what the labels look like."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.audit.check import describe_image
from fercli.data.ferplus import NOT_A_FACE, find_majority
from fercli.emotions import FERPLUS_LABELS
from fercli.names import disarm_cell
from fercli.plots import plot_faces, save_figure
from fercli.storage import check_apart, write_text

if TYPE_CHECKING:
    from fercli.audit.check import Audit
    from fercli.data import Dataset

__all__ = ["find_findings", "write_findings"]

_COLUMNS: Final = ("finding", "group", "image", "source_row", "split", "label", "detail")
_SHEET: Final = 80
"""Images of a label on its contact sheet."""
_SEED: Final = 0
"""Draws them, so that a sheet can be looked at again."""

Finding = tuple[str, int, int, str]
"""What, the first image of its group, the image, details."""


def write_findings(audit: Audit, folder: Path) -> dict[str, str]:
    """Write `findings.csv`, `mean-faces.png` and a contact sheet for each label.

    Returns:
        Paths by what they are.

    Raises:
        ConfigError: The dataset lies in one of these files.
        DependencyMissingError: matplotlib cannot be imported.
    """
    check_apart(find_findings(folder), [audit.dataset.path] if audit.dataset.path else [])
    files = {"findings": folder / "findings.csv"}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for finding, group, image, detail in _list_findings(audit):
        place = describe_image(audit.dataset, image)
        cells = [finding, group, image, *place.values(), detail]
        writer.writerow([disarm_cell(one) if isinstance(one, str) else one for one in cells])
    write_text(files["findings"], text.getvalue())
    return {name: str(path) for name, path in (files | _draw(audit.dataset, folder)).items()}


def find_findings(folder: Path) -> list[Path]:
    """Return the files in a folder that `write_findings` could write over."""
    return [folder / "findings.csv", folder / "mean-faces.png", *folder.glob("sheet-*.png")]


def _list_findings(audit: Audit) -> Iterator[Finding]:
    """Yield every finding; a group is named by its first image."""
    groups = audit.groups
    sizes = np.bincount(groups, minlength=len(groups))[groups]
    splits = audit.dataset.splits
    for image in np.flatnonzero(sizes > 1):
        group = int(groups[image])
        names = np.unique(splits[groups == group])
        where = " and ".join(audit.dataset.split_names[number] for number in names)
        kind = "conflict" if audit.conflicting[image] else "duplicate"
        yield kind, group, int(image), f"{sizes[image]} copies in {where}"
    for image in np.flatnonzero(audit.constant):
        value = int(audit.dataset.images[image].flat[0])
        yield "constant", int(groups[image]), int(image), f"every pixel is {value}"
    if audit.near is not None:
        pairs = zip(
            audit.near.first, audit.near.second, audit.near.correlation, audit.near.mirrored,
            strict=True,
        )  # fmt: skip
        for first, second, correlation, mirrored in pairs:
            how = "mirrored, " if mirrored else ""
            detail = f"{how}correlation {correlation:.4f} with image {first}"
            yield "near-duplicate", int(first), int(second), detail
    yield from _list_doubts(audit)


def _list_doubts(audit: Audit) -> Iterator[Finding]:
    """Yield what FER+'s voters see otherwise."""
    if audit.votes is None:
        return
    majority = find_majority(audit.votes, len(FERPLUS_LABELS))
    labels = audit.dataset.labels
    for image, votes in enumerate(audit.votes):
        group = int(audit.groups[image])
        if votes[NOT_A_FACE]:
            yield "not-a-face", group, image, f"{votes[NOT_A_FACE]} of {votes.sum()} votes"
        if majority[image] < 0:
            continue
        name = FERPLUS_LABELS[majority[image]]
        if name != audit.dataset.label_names[labels[image]]:
            detail = f"{votes[majority[image]]} of {votes.sum()} votes for {name}"
            yield "other-label", group, image, detail


def _draw(dataset: Dataset, folder: Path) -> dict[str, Path]:
    """Draw the mean image and some images of every label that occurs."""
    generator = np.random.default_rng(_SEED)
    files, means, captions = {}, [], []
    for number, name in enumerate(dataset.label_names):
        positions = np.flatnonzero(dataset.labels == number)
        if not len(positions):
            continue
        means.append(dataset.images[positions].mean(axis=0))
        captions.append(name)
        chosen = np.sort(generator.permutation(positions)[:_SHEET])
        path = folder / f"sheet-{number}-{_plain(name)}.png"
        title = f"{name}: {len(chosen)} of {len(positions):,} images"
        save_figure(plot_faces(dataset.images[chosen], title, columns=10), path)
        files[f"sheet_{name}"] = path
    path = folder / "mean-faces.png"
    title = f"mean image of each label, {dataset.n_images:,} images"
    rounded = np.rint(np.stack(means)).astype(np.uint8)
    figure = plot_faces(rounded, title, columns=len(means), captions=captions)
    save_figure(figure, path)
    return {"mean_faces": path, **files}


def _plain(name: str) -> str:
    """Return a label as part of a file name; labels may be any folder's name."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name)
