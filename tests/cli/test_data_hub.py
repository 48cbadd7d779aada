"""The Hugging Face hub's library against a server of our own, where it is installed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import fercli

pytest.importorskip("huggingface_hub")

MakeTable = Callable[..., Path]
COMMIT = "a" * 40
ASSETS = Path(fercli.__file__).parent / "assets"


class Handler(BaseHTTPRequestHandler):
    """Speaks as the hub does of one dataset, and of one model."""

    server: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append(path)
        if path.startswith("/api/models/someone/reads-faces"):
            revision = path.partition("/revision/")[2] or "main"
            if revision not in {"main", COMMIT}:
                self.refuse("RevisionNotFound")
                return
            self.send(json.dumps(self.list_files(path)).encode(), "application/json", body=body)
        elif path.startswith("/someone/reads-faces/resolve/"):
            self.send(self.server.files[path.rsplit("/", 1)[1]], "text/plain", body=body)
        elif path.startswith("/api/datasets/someone/faces"):
            self.send(json.dumps(self.list_files(path)).encode(), "application/json", body=body)
        elif path.startswith("/datasets/someone/faces/resolve/"):
            self.send(self.server.files[path.rsplit("/", 1)[1]], "text/plain", body=body)
        else:
            self.refuse("RepoNotFound")

    def refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def list_files(self, path: str) -> object:
        names = self.server.files.items()
        if "/tree/" in path:
            return [
                {"type": "file", "path": name, "size": len(data), "oid": "0"}
                for name, data in names
            ]
        files = [{"rfilename": name, "size": len(data)} for name, data in names]
        return {"id": "someone/faces", "sha": COMMIT, "siblings": files}

    def send(self, content: bytes, kind: str, *, body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class Hub(ThreadingHTTPServer):
    """A hub with one dataset."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def download(hub: Hub, source: str, folder: Path) -> tuple[int, dict[str, Any]]:
    status, envelope, _ = call(hub, folder, "data", "download", "--source", source)
    return status, envelope


def call(hub: Hub, folder: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    # The library reads its address when it is imported, so in a process of its own.
    environment = {
        **os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "fercli", *words, "--json"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.stdout, done.stderr
    envelope: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, envelope, done.stderr


def test_a_hub_that_cannot_be_reached_is_said(hub: Hub, tmp_path: Path) -> None:
    hub.shutdown()
    hub.server_close()

    for words in (
        ("data", "download", "--source", "hf:someone/faces"),
        ("info", "hf:someone/reads-faces"),
    ):
        status, envelope, said = call(hub, tmp_path, *words)

        assert status == 3
        assert "download failed" in envelope["errors"][0]["message"]
        assert "Traceback" not in said


def test_a_dataset_of_the_hub_is_prepared(
    hub: Hub, table_rows: Any, make_table: MakeTable, tmp_path: Path
) -> None:
    table = make_table(tmp_path / "t.csv", table_rows).read_bytes()
    hub.files = {"fer2013.csv": table, "model.pt": b"a pickle", "README.md": b"faces"}

    status, envelope = download(hub, "hf:someone/faces", tmp_path)

    assert status == 0, envelope
    assert envelope["data"]["n_images"] == 10
    assert Path(envelope["data"]["archive"]).name == "someone--faces"
    assert not (Path(envelope["data"]["archive"]) / "model.pt").exists()


def test_what_the_hub_has_not_is_said(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"train.parquet": b"x"}

    for source, words in (("hf:someone/faces", "parquet"), ("hf:no/body", "not there")):
        status, envelope = download(hub, source, tmp_path)
        assert status == 3
        error = envelope["errors"][0]
        assert words in error["message"] + error["hint"]


@pytest.fixture
def model(hub: Hub, crop: bytes, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any], str]]:
    """Predict a crop by a model of the hub, which has `tiny`."""
    (tmp_path / "one.png").write_bytes(crop)
    hub.files = {"model.onnx": (ASSETS / "tiny.onnx").read_bytes(), "README.md": b"a card"}

    def predict(spec: str) -> tuple[int, dict[str, Any], str]:
        return call(hub, tmp_path, "predict", str(tmp_path / "one.png"), "--model", spec)

    return predict


def test_a_model_of_the_hub_predicts_and_is_said_to_be_unpinned(
    model: Callable[..., tuple[int, dict[str, Any], str]], hub: Hub, tmp_path: Path
) -> None:
    status, envelope, said = model("hf:someone/reads-faces")

    assert status == 0, envelope
    assert envelope["data"]["n_faces"] == 1
    assert f"hf:someone/reads-faces@{COMMIT}" in said
    assert "always stands for" in said
    kept = list((tmp_path / "home" / "models" / "hub").rglob("*.onnx"))
    assert [path.parent.name for path in kept] == [COMMIT]
    assert not [path for path in hub.asked if path.endswith("README.md")]


def test_a_pinned_model_is_fetched_once_and_then_nobody_is_asked(
    model: Callable[..., tuple[int, dict[str, Any], str]], hub: Hub
) -> None:
    pinned = f"hf:someone/reads-faces@{COMMIT}"
    first = model(pinned)
    hub.asked.clear()

    again = model(pinned)

    assert (first[0], again[0]) == (0, 0)
    assert "always stands for" not in first[2] + again[2]
    assert hub.asked == []
    assert again[1]["data"]["rows"] == first[1]["data"]["rows"]
    assert again[1]["data"]["model"] == pinned


@pytest.mark.parametrize(
    ("spec", "files", "status", "words"),
    [
        ("hf:no/body", ("model.onnx",), 4, "not there"),
        ("hf:someone/reads-faces@other", ("model.onnx",), 4, "revision"),
        ("hf:someone/reads-faces", ("model.pt",), 4, "ONNX"),
        ("hf:someone/reads-faces", ("a.onnx", "b.onnx"), 4, "a.onnx, b.onnx"),
        ("hf:alone", ("model.onnx",), 2, "OWNER/NAME"),
    ],
)
def test_what_is_no_model_of_the_hub_is_said(
    spec: str, files: tuple[str, ...], status: int, words: str,
    model: Callable[..., tuple[int, dict[str, Any], str]], hub: Hub,
) -> None:  # fmt: skip
    hub.files = dict.fromkeys(files, b"x")

    got, envelope, _ = model(spec)

    assert got == status, envelope
    (error,) = envelope["errors"]
    assert words in error["message"] + error["hint"]


def test_a_damaged_model_of_the_hub_is_refused(
    model: Callable[..., tuple[int, dict[str, Any], str]], hub: Hub
) -> None:
    content = bytearray(hub.files["model.onnx"])
    content[len(content) // 2] ^= 1
    hub.files["model.onnx"] = bytes(content)

    status, envelope, _ = model("hf:someone/reads-faces")

    assert status == 4, envelope


def test_a_training_keeps_the_commit_of_its_teacher(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"model.onnx": (ASSETS / "tiny.onnx").read_bytes()}
    words = ("train", "--recipe", "fast", "--batch-size", "16", "--data", "synthetic:200")
    asked = ("--teacher", "hf:someone/reads-faces", "--dry-run")

    status, envelope, _ = call(hub, tmp_path, *words, *asked)

    assert status == 0, envelope
    assert envelope["data"]["config"]["teacher"] == [f"hf:someone/reads-faces@{COMMIT}"]
