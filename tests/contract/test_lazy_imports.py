from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fercli.runs import RunFolder

HEAVY = {"torch", "torchvision", "sklearn", "scipy", "pandas", "matplotlib", "cv2", "onnx"}

PROBE = """
import json, sys
from fercli.cli import main
statuses = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["fer", *words]
    try:
        main()
    except SystemExit as end:
        statuses.append(end.code or 0)
print("MODULES " + json.dumps([statuses, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def list_modules(*commands: list[object]) -> tuple[list[int], set[str]]:
    """Run commands in a new process; return their statuses and the top names of its modules."""
    arguments = json.dumps([[str(word) for word in words] for words in commands])
    done = subprocess.run(
        [sys.executable, "-c", PROBE, arguments], capture_output=True, text=True, check=True
    )
    statuses, modules = json.loads(done.stdout.rpartition("MODULES ")[2])
    return statuses, set(modules)


def test_help_imports_nothing_heavy() -> None:
    """One process for all: what none of them imports, each of them does not."""
    commands: list[list[object]] = [
        ["--help"], ["--version"], ["train", "--help"], ["evaluate", "--help"],
        ["export", "--help"], ["predict", "--help"], ["merge", "--help"],
        ["info", "--help"], ["demo", "--help"],
        ["data", "prepare", "--help"],
    ]  # fmt: skip

    statuses, modules = list_modules(*commands)

    assert statuses == [0] * len(commands)
    assert not modules & {*HEAVY, "numpy", "PIL", "rich", "click"}


def test_usage_errors_import_nothing_heavy() -> None:
    statuses, modules = list_modules(
        ["train", "--epoch", "3"],
        ["train", "--recipe", "fsat"],
        ["train", "--recipe", "fsat", "--batch-size", "64"],
        ["predict", "missing.png"],
    )

    assert statuses == [2, 2, 2, 3]
    assert not modules & HEAVY


@pytest.mark.parametrize("words", ["train --network", "evaluate", "predict --model"])
def test_completion_imports_nothing_heavy(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_FER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"fer {words} ")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) + 1))

    statuses, modules = list_modules([])

    assert statuses == [0]
    assert not modules & HEAVY


def test_data_prepare_imports_no_torch(tmp_path: Path) -> None:
    words = ["data", "prepare", "synthetic:100", "--output", tmp_path / "drawn.safetensors"]
    statuses, modules = list_modules(words)

    assert statuses == [0]
    assert not modules & HEAVY


def test_onnx_predict_imports_no_torch(trained: RunFolder, face_files: Path) -> None:
    models = (trained.onnx, trained.path)
    statuses, modules = list_modules(*(["predict", face_files, "--model", m] for m in models))

    assert statuses == [0, 0]
    assert not modules & (HEAVY | {"obstore", "pyarrow"})


def test_shards_and_their_merge_import_no_torch(trained: RunFolder, face_files: Path) -> None:
    words = ["predict", face_files, "--model", trained.onnx, "--output", "parts", "--shard"]
    statuses, modules = list_modules(
        [*words, "0/2"], [*words, "1/2"], ["merge", "parts", "--output", "all.jsonl"]
    )

    assert statuses == [0, 0, 0]
    assert not modules & HEAVY


SERVE = """
import http.client, os, re, signal, sys, threading
from pathlib import Path

def ask_and_stop():
    for line in told:
        if found := re.search(r"127.0.0.1:([0-9]+)/", line):
            break
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]))
    connection.request("POST", "/api/predict", image)
    print("STATUS", connection.getresponse().status)
    os.kill(os.getpid(), signal.SIGINT)

image = Path(sys.argv[1]).read_bytes()
reading, writing = os.pipe()
told = os.fdopen(reading)
sys.stderr = os.fdopen(writing, "w")
threading.Thread(target=ask_and_stop).start()
from fercli.cli import main
sys.argv = ["fer", "serve", "--port", "0", "--model", sys.argv[2]]
try:
    main()
except SystemExit as end:
    print("END", end.code)
print("MODULES", *sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_serving_imports_no_torch(trained: RunFolder, face_files: Path) -> None:
    words = [sys.executable, "-c", SERVE, str(face_files / "face-0.png"), str(trained.path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)

    said, _, modules = done.stdout.rpartition("MODULES ")
    assert "STATUS 200" in said
    assert "END 130" in said
    assert not set(modules.split()) & HEAVY


def test_importing_the_package_is_light() -> None:
    code = "import sys; before = len(sys.modules); import fercli; print(len(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert int(done.stdout) < 50
