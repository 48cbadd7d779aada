"""Use an installed `fercli-lite` as its user does: `python run.py PHOTO`, in an empty folder.

`python run.py --together` looks at what `fer info` says where `fercli` is installed over it.

It must be run by the Python of the environment that `fercli-lite` is installed in, and needs
nothing else. `nox -s lite` does that.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import cv2

FER = Path(sysconfig.get_path("scripts")) / "fer"
LEFT_OUT = (
    "torch", "torchvision", "pandas", "sklearn", "scipy", "matplotlib", "jinja2", "onnx",
    "onnxscript", "kagglehub", "kagglesdk", "skimage",
)  # fmt: skip
REFUSED = (
    ("train --data synthetic:100", "torch"),
    ("train --recipe fast --dry-run", "torch"),
    ("evaluate base --data synthetic:100", "scikit-learn"),
    ("compare base tiny --data synthetic:100", "scikit-learn"),
    ("export base", "torch"),
    ("export --int8", "torch"),
    ("explain photo.png", "matplotlib"),
    ("demo", "torch"),
    ("data download", "kagglesdk"),
    ("data check synthetic:100 --output audit", "matplotlib"),
    ("info plus --diagram network.png", "torch"),
    ("predict clip.avi --timeline chart.png", "matplotlib"),
)
"""What is typed, and which module the answer names."""
HINT = "hint: pip install fercli, in a separate environment"


def run(words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command and look at its status."""
    done = subprocess.run(
        [FER, *words.split()], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == status, f"fer {words}: {done.returncode}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    print(f"fer {words}: {done.returncode}")
    return done


def read(words: str) -> Any:
    """Return what a command answers as JSON."""
    return json.loads(run(f"{words} --json").stdout)["data"]


def make_clip(photo: str, path: str, n_frames: int = 10) -> None:
    """Write a video of one second that shows a photo."""
    picture = cv2.resize(cv2.imread(photo), (240, 240))
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), n_frames, (240, 240))
    for _ in range(n_frames):
        writer.write(picture)
    writer.release()


def check_answers() -> None:
    """Photos, videos, models and the environment."""
    rows = read("predict photo.png")["rows"]
    assert [row["label"] for row in rows] == ["happy"], rows
    for name in ("base", "tiny"):
        assert read(f"predict photo.png --model {name}")["rows"][0]["label"] == "happy"
    frames = read("predict clip.avi --every 0.2s")["rows"]
    assert [row["label"] for row in frames] == ["happy"] * 5, frames
    run("predict photo.png --annotate framed --sort-into sorted --montage faces.png")
    run("predict clip.avi --annotate framed.webm")
    assert Path("faces.png").stat().st_size > 1000
    assert Path("framed.webm").stat().st_size > 1000
    assert read("info plus --card CARD.md")["labels"][-1] == "contempt"
    assert "# Model card: plus" in Path("CARD.md").read_text(encoding="utf-8")
    assert {"base", "plus", "tiny"} <= {one["name"] for one in read("models list")["models"]}
    environment = read("info")
    assert environment["problems"] == [], environment["problems"]
    assert environment["versions"]["fercli-lite"] == environment["versions"]["fercli"]
    assert "torch" not in environment["versions"]
    run("data prepare synthetic:100 --output drawn.safetensors")
    run("data check drawn.safetensors")


def check_service(photo: Path) -> None:
    """Start `fer serve`, ask it, stop it."""
    with subprocess.Popen(
        [FER, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True
    ) as service:
        assert service.stderr is not None
        said = ""
        while (found := re.search(r"127\.0\.0\.1:(\d+)/", said)) is None:
            line = service.stderr.readline()
            assert line, said
            said += line
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
        for method, path, body in (
            ("GET", "/healthz", None),
            ("GET", "/", None),
            ("POST", "/api/predict?name=photo.png", photo.read_bytes()),
        ):
            connection.request(method, path, body, {"Content-Type": "image/png"} if body else {})
            response = connection.getresponse()
            answer = response.read()
            assert response.status == 200, (path, response.status, answer[:200])
            print(f"{method} {path}: {response.status}")
            if body:
                assert json.loads(answer)["data"]["rows"][0]["label"] == "happy"
        service.terminate()
        assert service.wait(30) == 143
    print("fer serve: stopped")


def check_refusals() -> None:
    """What needs the rest ends with status 5 before any work, and leaves nothing behind."""
    before = sorted(map(str, Path().rglob("*")))
    for words, module in REFUSED:
        error, hint = run(words, status=5).stderr.splitlines()[-2:]
        assert error.startswith(f"error: {module} is not part of fercli-lite"), error
        assert hint == HINT, hint
    hint = run("predict photo.png --output rows.parquet", status=5).stderr.splitlines()[-1]
    assert hint == "hint: pip install 'fercli-lite[parquet]'", hint
    assert sorted(map(str, Path().rglob("*"))) == before
    assert "This is fercli-lite" in run("--help").stdout


def check_both() -> None:
    """Both packages in one environment are noticed."""
    problems = read("info")["problems"]
    assert problems[0].startswith("fercli and fercli-lite are both installed"), problems
    print(problems[0])


def main() -> None:
    """Check everything; the first thing that is wrong ends it."""
    if sys.argv[1:] == ["--together"]:
        check_both()
        return
    photo = Path("photo.png")
    photo.write_bytes(Path(sys.argv[1]).read_bytes())
    make_clip(str(photo), "clip.avi")
    there = [name for name in LEFT_OUT if importlib.util.find_spec(name)]
    assert there == [], there
    check_answers()
    check_service(photo)
    check_refusals()
    print("fercli-lite: all is well")


if __name__ == "__main__":
    main()
