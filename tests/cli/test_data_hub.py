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

pytest.importorskip("huggingface_hub")

MakeTable = Callable[..., Path]


class Handler(BaseHTTPRequestHandler):
    """Speaks as the hub does of one dataset."""

    server: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/api/datasets/someone/faces"):
            self.send(json.dumps(self.list_files(path)).encode(), "application/json", body=body)
        elif path.startswith("/datasets/someone/faces/resolve/"):
            self.send(self.server.files[path.rsplit("/", 1)[1]], "text/plain", body=body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
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
        return {"id": "someone/faces", "sha": "a" * 40, "siblings": files}

    def send(self, content: bytes, kind: str, *, body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"')
        self.send_header("X-Repo-Commit", "a" * 40)
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


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def download(hub: Hub, source: str, folder: Path) -> tuple[int, dict[str, Any]]:
    # The library reads its address when it is imported, so in a process of its own.
    environment = {
        **os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "fercli", "data", "download", "--source", source, "--json"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.stdout, done.stderr
    envelope: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, envelope


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
