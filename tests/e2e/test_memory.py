"""How much memory a list of large photos takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from fercli.runs import RunFolder

MEASURE = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "fercli", *sys.argv[1:]], check=True, stdout=sys.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count otherwise")
def test_large_photos_are_decoded_one_at_a_time(trained: RunFolder, photo: Path) -> None:
    folder = Path("large")
    folder.mkdir()
    Image.open(photo).convert("RGB").resize((8000, 8000)).save(folder / "0.jpg")
    for number in range(1, 6):
        shutil.copy(folder / "0.jpg", folder / f"{number}.jpg")

    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "predict", folder, "--model", trained.onnx, "--faces",
         "haar"],
        capture_output=True, check=True,
    )  # fmt: skip

    # Two at a time took 697 MiB.
    assert int(done.stdout) < 600 * 1024
