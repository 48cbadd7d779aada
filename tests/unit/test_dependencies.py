from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fercli
from fercli.dependencies import explain_missing

if TYPE_CHECKING:
    from fercli.runs import RunFolder

WORK = """
import os, sys, time
from pathlib import Path
import numpy as np
from fercli import load

model, sockets = load(sys.argv[1]), set()
crops = np.zeros((4, 48, 48), dtype=np.uint8)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    model.predict_crops(crops)
    for _ in range(5):
        for entry in Path("/proc/self/fd").iterdir():
            try:
                target = os.readlink(entry)
            except OSError:
                continue
            if target.startswith("socket:"):
                sockets.add(target)
        time.sleep(0.02)
print(len(sockets))
"""

SETTING = """
import os
from fercli.dependencies import import_onnxruntime

import_onnxruntime()
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""


def work(model: Path, home: Path, seconds: float, **environment: str) -> tuple[int, list[Path]]:
    """Predict for a while with a home of its own; return sockets seen and files left."""
    home.mkdir()
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", WORK, model, str(seconds)],
        env={**os.environ, **places, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout), [path for path in home.rglob("*") if path.is_file()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_ten_seconds_of_predicting_open_no_socket_and_leave_no_file(
    trained: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)

    sockets, files = work(trained.onnx, tmp_path / "home", 10)

    assert (sockets, files) == (0, [])


def test_a_users_own_telemetry_setting_stays() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            SETTING,
        ],
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "0", "HOME": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "0"


def test_only_one_module_imports_onnxruntime() -> None:
    root = Path(fercli.__file__).parent
    checkout = Path(__file__).parents[2]
    places = [root, checkout / "benchmarks", checkout / "scripts"]
    importers = {
        path.name
        for place in places
        for path in place.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (
            isinstance(node, ast.Import)
            and any(alias.name.partition(".")[0] == "onnxruntime" for alias in node.names)
        )
        or (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").partition(".")[0] == "onnxruntime"
        )
    }

    assert importers == set()


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        ("PIL", "pip install pillow"),
        ("sklearn", "pip install scikit-learn"),
        ("cv2", "pip install 'opencv-python-headless<5'"),
        ("huggingface_hub", "pip install 'fercli[hub]'"),
        ("pyarrow", "pip install 'fercli[parquet]'"),
        ("numpy", "pip install numpy"),
    ],
)
def test_a_missing_module_is_named_by_what_installs_it(module: str, hint: str) -> None:
    error = explain_missing(module, ImportError("No module named it", name=module))

    assert error.hint == hint
    assert module in error.message
