"""Against a server that speaks as S3 does and was written by others: moto's."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import Result

from fercli.prediction import buckets, find_images

if TYPE_CHECKING:
    from fercli.runs import RunFolder

pytestmark = pytest.mark.cloud

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]

SERVER = """
import sys, threading
from moto.server import ThreadedMotoServer
from moto.s3.models import s3_backends

server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
backend = s3_backends["123456789012"]["aws"]
backend.create_bucket("many", "us-east-1")
for number in range(int(sys.argv[1])):
    backend.put_object("many", f"{number // 1000:03}/{number:06}.png", b"x")
print(server.get_host_and_port()[1], flush=True)
threading.Event().wait()
"""


@contextmanager
def run_server(n_keys: int = 0, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Yield the address of a server with so many keys in the bucket `many`, and its process."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(n_keys)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}", process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "SECRETSECRET",
        "AWS_REGION": "us-east-1", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(buckets, "MOST_RETRIES", 3)
    monkeypatch.setattr(buckets, "_BACKOFF_S", (0.01, 0.05))


def put(address: str, bucket: str, files: dict[str, bytes]) -> None:
    """Put objects into a new bucket."""
    import boto3

    client = boto3.client("s3", endpoint_url=address)
    client.create_bucket(Bucket=bucket)
    for key, content in files.items():
        client.put_object(Bucket=bucket, Key=key, Body=content)


def test_a_bucket_is_read_as_a_folder_is(
    run: Run,
    run_json: RunJson,
    trained: RunFolder,
    face_files: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {
        f"faces/{k:02} é/{path.name}": path.read_bytes()
        for k in range(12)
        for path in face_files.iterdir()
    }
    files |= {"faces/notes.txt": b"hello", "faces/00 é/broken.png": b"hello"}
    for key, content in files.items():
        Path(key).parent.mkdir(parents=True, exist_ok=True)
        Path(key).write_bytes(content)
    for path in face_files.glob("*.png"):
        path.unlink()
    words = ["--model", trained.onnx, "--batch-size", 1]

    with run_server() as (address, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        put(address, "bucket", files)
        assert run("predict", "faces", *words, "--output", "folder.jsonl").exit_code == 7
        words = ["predict", "s3://bucket/faces", *words]
        assert run(*words, "--output", "bucket.jsonl").exit_code == 7
        for k in range(2):
            assert run(*words, "--shard", f"{k}/2", "--output", "parts").exit_code in {0, 7}
        assert run("merge", "parts", "--output", "all.jsonl").exit_code == 0
        lines = Path("bucket.jsonl").read_bytes().splitlines(keepends=True)
        Path("half.jsonl.partial").write_bytes(b"".join(lines[:30]))
        resumed = run_json(*words, "--output", "half.jsonl", "--resume")["data"]

    whole = Path("bucket.jsonl").read_text()
    assert whole.replace('"s3://bucket/', '"') == Path("folder.jsonl").read_text()
    assert Path("all.jsonl").read_text() == whole == Path("half.jsonl").read_text()
    assert resumed["n_resumed"] == 29


def test_a_hundred_thousand_keys_are_listed_as_they_are_needed(
    monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    with run_server(100_000) as (address, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        next(iter(find_images(["s3://many/"])))
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        found = find_images(["s3://many/"])
        first = str(next(found))
        first_s = time.perf_counter() - started
        n_found, last = 1, first
        for one in found:
            assert str(one) > last
            n_found, last = n_found + 1, str(one)
        all_s = time.perf_counter() - started
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    for name, value in {"first_s": first_s, "all_s": all_s, "grown_mib": grown_mib}.items():
        record_property(name, value)
    print(f"first key {first_s:.2f} s, all {all_s:.1f} s, {grown_mib:.0f} MiB more")  # noqa: T201  # for `-s`

    assert (n_found, last) == (100_000, "s3://many/099/099999.png")
    assert first_s < all_s / 10
    assert grown_mib < 32


def test_somebody_whom_the_server_does_not_know(
    run: Run, trained: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_server(3, INITIAL_NO_AUTH_ACTION_COUNT="0") as (address, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for word in ("s3://many/", "s3://many/000/000000.png", "s3://none/"):
            result = run("predict", word, "--model", trained.onnx, "--json", "-v")

            assert result.exit_code == 5, result.output
            (error,) = json.loads(result.stdout)["errors"]
            assert "refuses access (status 403, InvalidAccessKeyId)" in error["message"]
            assert "SECRETSECRET" not in result.output


def test_a_bucket_that_is_not_there(
    run: Run, trained: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_server() as (address, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        result = run("predict", "s3://none/", "--model", trained.onnx)

    assert result.exit_code == 3
    assert result.stderr.splitlines()[0] == "error: there is no bucket s3://none"


def test_a_server_that_dies_halfway(
    run: Run,
    run_json: RunJson,
    trained: RunFolder,
    face_files: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = (face_files / "face-0.png").read_bytes()
    files = {f"{number:04}.png": content for number in range(900)}
    words = ["predict", "s3://bucket/", "--model", trained.onnx, "--output", "rows.jsonl"]
    partial = Path("rows.jsonl.partial").absolute()

    with run_server() as (address, process):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        put(address, "bucket", files)

        def kill() -> None:
            while not (partial.exists() and partial.stat().st_size):
                time.sleep(0.005)
            process.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        result = run(*words)
        killer.join()
    kept = len(partial.read_bytes().splitlines())
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=1)  # noqa: S310  # of this machine
    with run_server() as (address, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        put(address, "bucket", files)
        resumed = run_json(*words, "--resume")["data"]

    assert result.exit_code == 8, result.output
    assert "error: s3://bucket no longer answers" in result.stderr
    assert "hint: run the same command with --resume to continue" in result.stderr
    assert 0 < kept < 900
    assert resumed["n_resumed"] == kept - 1
    rows = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == [f"s3://bucket/{key}" for key in files]
    assert {row["status"] for row in rows} == {"ok"}
