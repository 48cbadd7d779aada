"""One whole file of every kind that fercli writes, small ones, for the harnesses to damage."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from PIL import Image

import fercli
from fercli.data import build_synthetic
from fercli.model_files import describe_provenance, find_model, read_metadata
from fercli.runs import RunFolder
from fercli.training.distillation.targets import save_targets

__all__ = ["CONFIG", "ROW_KINDS", "Specimens", "open_work_folder", "write_faces", "write_specimens"]

CONFIG: Final[dict[str, Any]] = {
    "recipe": "fast", "stem_width": 4, "widths": (8,), "epochs": 2, "batch_size": 40,
    "sizes_px": (48,), "device": "cpu", "precision": "fp32",
}  # fmt: skip
"""A training of a second."""
ROW_KINDS: Final[tuple[Literal["jsonl", "csv", "parquet"], ...]] = ("jsonl", "csv", "parquet")


@dataclass(frozen=True)
class Specimens:
    """Where they are."""

    folder: Path

    @property
    def dataset(self) -> Path:
        """120 synthetic faces, prepared."""
        return self.folder / "faces.safetensors"

    @property
    def faces(self) -> Path:
        """A folder of six face crops."""
        return self.folder / "crops"

    @property
    def run(self) -> RunFolder:
        """A finished run, with scores, and what a teacher would have said."""
        return RunFolder(self.folder / "run")

    def parts(self, kind: str) -> Path:
        """Two parts and their side files."""
        return self.folder / f"parts-{kind}"


def write_faces(folder: Path) -> Specimens:
    """Write those that need no model."""
    specimens = Specimens(folder)
    data = build_synthetic(120)
    data.save(specimens.dataset)
    specimens.faces.mkdir(parents=True)
    for number in range(6):
        Image.fromarray(data.images[number]).save(specimens.faces / f"face-{number}.png")
    return specimens


def write_specimens(folder: Path) -> Specimens:
    """Write them all; the export of the run's model takes most of the time."""
    specimens = write_faces(folder)
    prepared = fercli.load_dataset(str(specimens.dataset))
    run = fercli.train(prepared, output=specimens.run.path, **CONFIG)
    run.model.evaluate(prepared, split="public")
    file = find_model(str(specimens.run.path))
    teacher = describe_provenance(file, read_metadata(file))
    shape = (len(prepared.select("train").images), len(prepared.label_names))
    save_targets(specimens.run.targets, np.full(shape, 1 / shape[1], dtype=np.float32), [teacher])
    model = fercli.load(specimens.run.onnx)
    for kind in ROW_KINDS:
        for index in range(2):
            rows = model.predict_files(specimens.faces, faces="whole", shard=(index, 2))
            rows.save_part(specimens.parts(kind), kind)
    return specimens


@contextlib.contextmanager
def open_work_folder() -> Iterator[Path]:
    """Make a folder for the block, in memory where the system has such a place."""
    memory = Path("/dev/shm")  # noqa: S108  # a folder of its own in it
    root = memory if memory.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="fercli-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
