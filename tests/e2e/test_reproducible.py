"""The same command twice, in other places and other processes: the same bytes, but for clocks."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from fercli.errors import DataError
from fercli.storage import digest_tensors, load_tensors

DRIVER: Final = """
import json, sys
from fercli.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["fer", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
COMMANDS: Final = [
    line.split()
    for line in (
        "data prepare synthetic:300 --output set.safetensors",
        "data check set.safetensors --output checked",
        "train --data set.safetensors --recipe tiny --epochs 2 --batch-size 64 --output run",
        "export run --data set.safetensors --output exported.onnx",
        "export run --data set.safetensors --int8 --output int8.onnx",
        "export run --data set.safetensors --fp16 --output fp16.onnx",
        "info run --card card.md --diagram diagram.svg",
        "evaluate run --data set.safetensors --output evaluated",
        "explain photo.png --model run --output explained",
        "predict photo.png --model run --output rows.jsonl --annotate framed --montage faces.png",
        "predict photo.png --model run --output rows.csv",
        "predict photo.png --model run --output rows.parquet",
        "predict clip.webm --model run --every 0 --output clip.jsonl --timeline clip.html",
        "compare run tiny --data set.safetensors --split public --output compared",
    )
]
CLOCKS: Final = {
    "at", "cpu_s", "duration_s", "finished_at", "images_per_s", "images_per_s_range",
    "record_sha256", "started_at",
}  # fmt: skip
"""Columns and keys that say when something was, how long it took, or are digests of these."""
DATED: Final = {
    "compared/comparison.json", "compared/cost.png", "evaluated/metrics.json", "run/log.txt",
    "run/metrics.csv", "run/run.json", "run/scores.jsonl",
    "run/checkpoints/step-000000004.safetensors", "run/checkpoints/step-000000008.safetensors",
}  # fmt: skip
"""Files that have some of them."""


def run_commands(folder: Path, **environment: str) -> dict[str, bytes]:
    """Run the commands in a folder; return the files that they made."""
    subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(COMMANDS)],
        cwd=folder, capture_output=True, check=True,
        env={**os.environ, "FERCLI_HOME": str(folder / "home"), **environment},
    )  # fmt: skip
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def drop_clocks(path: Path) -> object:
    """Return what a file says, without what clocks said and without its folder."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(one) for key, one in value.items() if key not in CLOCKS}
        return [strip(one) for one in value] if isinstance(value, list) else value

    if path.suffix == ".safetensors":
        tensors, metadata = load_tensors(path, DataError)
        # Its digest is of all of it.
        return digest_tensors(tensors), strip(metadata)
    if path.suffix == ".txt":
        return re.sub(r"^\S+|\d+ images/s$", "", path.read_text(), flags=re.MULTILINE)
    if path.suffix == ".csv":
        with path.open(newline="") as stream:
            return strip(list(csv.DictReader(stream)))
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    found = [strip(json.loads(line)) for line in lines]
    if path.name == "run.json":
        found[0]["dataset"]["data"] = Path(found[0]["dataset"]["data"]).name
    return found


@pytest.mark.slow
def test_the_same_commands_make_the_same_bytes(tmp_path: Path, photo: Path, make_clip: Any) -> None:
    clip = make_clip(tmp_path / "clip.webm", "ff-f")
    folders = tmp_path / "one", tmp_path / "another-place"
    made = []
    for folder, seed in zip(folders, ("1", "2"), strict=True):
        folder.mkdir()
        Image.open(photo).save(folder / "photo.png")
        shutil.copyfile(clip, folder / "clip.webm")
        made.append(run_commands(folder, PYTHONHASHSEED=seed, OMP_NUM_THREADS="1"))
    one, other = made

    assert one.keys() == other.keys()
    assert len(one) > 30
    assert {name for name in one if one[name] != other[name]} <= DATED
    for name in DATED - {"compared/cost.png"}:
        first, second = (drop_clocks(folder / name) for folder in folders)
        assert first == second, name
