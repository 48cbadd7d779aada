"""The recipes of docs/how-to/cluster.md for other engines, as they stand: `nox -s cluster`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import fercli

if TYPE_CHECKING:
    from fercli.results import PredictionRow

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("bundled")]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "cluster.md"


def read_recipe(engine: str) -> str:
    """Return the code below a heading."""
    page = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^### {engine}\b.*?```text\n(.*?)```", page, re.DOTALL | re.MULTILINE)
    assert found, engine
    return found[1]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A hundred crops in folders, and a file that is none."""
    generator = np.random.default_rng(0)
    for number in range(100):
        path = tmp_path / "photos" / str(number % 3) / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (48, 48), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    (tmp_path / "photos" / "0" / "broken.png").write_bytes(b"nothing")
    return Path("photos")


@pytest.fixture
def expected(photos: Path) -> dict[str, PredictionRow]:
    """What one process says of each file, by its name."""
    rows = fercli.load().predict_files(photos, faces="whole", batch_size=1)
    return {Path(row.path).name: row for row in rows}


def run_recipe(engine: str) -> str:
    """Run a recipe as a program, and return what it prints."""
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "DAFT_ANALYTICS_ENABLED": "0"}
    # Not a cluster that somebody else has on this machine.
    own = {"RAY_ADDRESS": "local", "RAY_worker_niceness": "0"}
    environment = {**os.environ, **quiet, **own}
    done = subprocess.run(
        [sys.executable, "-c", read_recipe(engine)], env=environment, capture_output=True,
        text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_rows() -> list[dict[str, Any]]:
    from pyarrow import parquet

    return [row for path in sorted(Path("rows").rglob("*.parquet"))
            for row in parquet.read_table(path).to_pylist()]  # fmt: skip


def check(rows: list[dict[str, Any]], expected: dict[str, PredictionRow]) -> None:
    """Compare labels, and confidences but for the last bits: `plus` sums in any order."""
    assert len(rows) == len(expected) == 101
    for row in rows:
        one = expected[Path(row["path"]).name]
        assert row["label"] == one.label
        assert row["confidence"] == pytest.approx(one.confidence, abs=1e-6)


def test_daft(expected: dict[str, PredictionRow]) -> None:
    run_recipe("Daft")

    check([{"path": row["path"], **row["face"]} for row in read_rows()], expected)


def test_ray(expected: dict[str, PredictionRow]) -> None:
    run_recipe("Ray Data")

    rows = read_rows()
    check(rows, expected)
    assert {row["status"] for row in rows} == {"ok", "unreadable"}


def test_duckdb(photos: Path, expected: dict[str, PredictionRow]) -> None:
    for k in range(2):
        rows = fercli.load().predict_files(photos, faces="whole", batch_size=1, shard=(k, 2))
        rows.save_part("parts", "parquet")

    shown = run_recipe("DuckDB")

    counts = {
        label: sum(one.label == label for one in expected.values())
        for label in {one.label for one in expected.values()} - {None}
    }
    for label, count in counts.items():
        assert re.search(rf"\b{label}\b\D+{count}\b", shown), shown
