from __future__ import annotations

import base64
import io
import json
import os
import pickle
import re
import shlex
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest
from typer.testing import Result

from fercli.prediction import buckets, fetch
from fercli.prediction.buckets import Bucket
from fercli.prediction.stores import StoredObject, match_key
from fercli.prediction.summary import PredictionSummary
from fercli.ray_engine import cut_blocks

if TYPE_CHECKING:
    from fercli.runs import RunFolder

pytest.importorskip("obstore")

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]
ROOT = Path(__file__).parents[2]
ACCOUNT = "account"
SECRET = "wJalrXUtnFEMI-K7MDENG"  # noqa: S105  # of nobody


class Store:
    """A server that speaks as S3 does, as far as reading goes, and can be told to misbehave.

    Attributes:
        objects: By keys, of the bucket `faces`.
        odd: Does something else with a request for a key, or for the list (an empty key).
        asked: Counts requests by keys.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.odd: dict[str, Callable[[Any], bool]] = {}
        self.asked: Counter[str] = Counter()
        self.page = 2
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()

    def answer(self, handler: Any) -> None:
        parts = urlsplit(handler.path)
        _, bucket, *rest = unquote(parts.path.removeprefix(f"/{ACCOUNT}")).split("/", 2)
        key = rest[0] if rest else ""
        with self.lock:
            self.asked[key] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if bucket not in {"faces", "bucket"}:
                refuse(handler, 404, "NoSuchBucket")
            elif key in self.odd and self.odd[key](handler):
                pass
            elif not key:
                self.send_list(handler, {k: v[0] for k, v in parse_qs(parts.query).items()})
            elif key in self.objects:
                send_object(handler, self.objects[key])
            else:
                refuse(handler, 404, "NoSuchKey")
        finally:
            with self.lock:
                self.at_once -= 1

    def send_list(self, handler: Any, query: dict[str, str]) -> None:
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        keys = [k for k in sorted(self.objects) if k.startswith(prefix) and k > after]
        page = keys[: self.page]
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z"
            f"</LastModified><ETag>e</ETag><Size>{len(self.objects[key])}</Size></Contents>"
            for key in page
        )
        more = len(keys) > len(page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        body = f"<ListBucketResult>{token}{items}</ListBucketResult>"
        if query.get("comp") == "list":
            body = format_for_azure(self.objects, keys)
        send(handler, 200, body.encode())


def format_for_azure(objects: dict[str, bytes], keys: list[str]) -> str:
    items = "".join(
        f"<Blob><Name>{escape(key)}</Name><Properties><Content-Type>x</Content-Type>"
        "<Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified>"
        f"<Content-Length>{len(objects[key])}</Content-Length><Etag>e</Etag>"
        "</Properties></Blob>"
        for key in keys
    )
    return f"<EnumerationResults><Blobs>{items}</Blobs><NextMarker /></EnumerationResults>"


def send(handler: Any, status: int, body: bytes, **headers: object) -> None:
    handler.send_response(status)
    every = {"Content-Length": len(body), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
             "ETag": '"e"', **{k.replace("_", "-"): v for k, v in headers.items()}}  # fmt: skip
    for name, value in every.items():
        handler.send_header(name, str(value))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def send_object(handler: Any, content: bytes) -> None:
    asked = handler.headers.get("Range")
    if asked is None:
        send(handler, 200, content)
        return
    start, end = asked.removeprefix("bytes=").split("-")
    piece = content[int(start) : int(end or len(content)) + 1]
    shown = f"bytes {start}-{int(start) + len(piece) - 1}/{len(content)}"
    send(handler, 206, piece, Content_Range=shown)


def refuse(handler: Any, status: int, code: str) -> bool:
    # As Amazon does, which repeats what was signed.
    body = f"<Error><Code>{code}</Code><StringToSign>{SECRET}</StringToSign></Error>"
    send(handler, status, body.encode())
    return True


@pytest.fixture
def store(face_files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Five faces under `a/`, at a server of this machine; failures are not waited for."""
    served = Store()
    for path in sorted(face_files.iterdir()):
        served.objects[f"a/{path.name}"] = path.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "none",
        "AWS_SHARED_CREDENTIALS_FILE": "none",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(buckets, "MOST_RETRIES", 3)
    monkeypatch.setattr(buckets, "_BACKOFF_S", (0.01, 0.05))
    yield served
    server.shutdown()
    server.server_close()


def list_rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_objects_are_rows_in_the_order_of_the_list(
    run: Run, trained: RunFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_AT_ONCE", 2)
    monkeypatch.setattr(fetch, "_AHEAD", 3)
    store.objects |= {
        "a/b c/é%41#?.png": store.objects["a/face-0.png"], "a/.hidden/x.png": b"x",
        "a/notes.txt": b"x", "a/clip.mp4": b"x", "a/nameless": store.objects["a/face-1.png"],
        "a/text": b"hello", "a/folder": b"", "ab.png": b"x", "z.png": b"x",
    }  # fmt: skip
    words = ["--model", trained.onnx, "--format", "jsonl"]

    result = run("predict", "s3://faces/a", *words)
    plain = run("predict", "faces", *words)

    rows = list_rows(result)
    assert result.exit_code == 0, result.stderr
    assert [row["path"] for row in rows] == [
        "s3://faces/a/b c/é%41#?.png", *(f"s3://faces/a/face-{k}.png" for k in range(5)),
        "s3://faces/a/nameless",
    ]  # fmt: skip
    expected = [row["probabilities"] for row in list_rows(plain)]
    assert [row["probabilities"] for row in rows[1:6]] == expected
    assert "4 other files passed over" in result.stderr
    assert "1 video of them in archives or stores" in result.stderr
    assert store.most_at_once <= 2


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["s3://faces/a/face-1.png"], ["face-1.png"]),
        (["s3://faces/a/face-[02].png"], ["face-0.png", "face-2.png"]),
        (["S3://faces/*/face-3.png", "s3://faces/**/*-4.png"], ["face-3.png", "face-4.png"]),
        (["s3://faces/a/face-{3..2}.png"], ["face-3.png", "face-2.png"]),
        (["s3://faces/a*"], [f"face-{k}.png" for k in range(5)]),
        (["s3://faces"], [f"face-{k}.png" for k in range(5)]),
    ],
)
def test_addresses_are_of_objects_folders_and_patterns(
    run: Run, trained: RunFolder, store: Store, words: list[str], names: list[str]
) -> None:
    assert store.objects

    rows = list_rows(run("predict", *words, "--model", trained.onnx, "--format", "jsonl"))

    assert [row["path"] for row in rows] == [f"s3://faces/a/{name}" for name in names]


@pytest.mark.parametrize(
    ("key", "pattern", "below"),
    [
        ("a/b/c.png", "a/b/c.png", 0),
        ("a/b/c.png", "a/*", 1),
        ("a/b/c.png", "**/*.png", 0),
        ("c.png", "**/*.png", 0),
        ("a/b/c.png", "a/**/c.png", 0),
        ("a/b/c.png", "*.png", None),
        ("a/.b/c.png", "a/*/c.png", None),
        ("a/.b/c.png", "a/.*/c.png", 0),
        ("a/b", "a/b/*", None),
        (".b/c.png", "**/c.png", None),
        ("a/.b/c.png", "a/**/c.png", None),
        ("a/.b/c.png", "**/.b/c.png", 0),
    ],
)
def test_keys_match_as_paths_do(key: str, pattern: str, below: int | None) -> None:
    assert match_key(key, pattern) == below


@pytest.mark.parametrize(
    ("word", "status", "said"),
    [
        ("s3://faces/b/", 3, "there is no object or folder 's3://faces/b/'"),
        ("s3://faces/b.png", 3, "there is no object or folder 's3://faces/b.png'"),
        ("s3://faces/a/*.jpg", 3, "nothing matches 's3://faces/a/*.jpg'"),
        ("s3://nothing/a", 3, "there is no bucket s3://nothing"),
        ("s3://", 2, "SCHEME://BUCKET/KEY"),
        (f"s3://me:{SECRET}@faces/a", 2, "SCHEME://BUCKET/KEY, without a name or password"),
        ("s3://faces/a//b.png", 3, "a key has an empty part"),
    ],
)
def test_what_is_not_there_is_said_at_once(
    run: Run, trained: RunFolder, store: Store, word: str, status: int, said: str
) -> None:
    assert store.objects

    result = run("predict", word, "--model", trained.onnx, "--output", "rows.jsonl")

    assert result.exit_code == status, result.stderr
    assert said in result.stderr
    assert SECRET not in result.output
    assert not list(Path().glob("rows*"))


@pytest.mark.parametrize(
    ("code", "status"),
    [("InvalidAccessKeyId", 403), ("SignatureDoesNotMatch", 403), ("AccessDenied", 403),
     ("ExpiredToken", 400)],
)  # fmt: skip
@pytest.mark.parametrize("word", ["s3://faces/a/", "s3://faces/a/face-0.png"])
def test_who_asks_may_be_nobody(
    run: Run, trained: RunFolder, store: Store, word: str, code: str, status: int
) -> None:
    store.odd = {key: lambda one: refuse(one, status, code) for key in ["", *store.objects]}
    words = ["predict", word, "--model", trained.onnx]

    for more in ([], ["--json"], ["-v"]):
        result = run(*words, *more)

        assert result.exit_code == 5
        assert f"error: s3://faces refuses access (status {status}, {code})" in (result.stderr)
        assert SECRET not in result.output


def test_objects_that_may_be_listed_and_not_read_are_no_rows(
    run: Run, trained: RunFolder, store: Store
) -> None:
    """As `unreadable` rows, `--resume` would pass them over for good."""
    store.odd = {key: lambda one: refuse(one, 403, "AccessDenied") for key in store.objects}

    result = run("predict", "s3://faces/", "--model", trained.onnx, "--output", "rows.jsonl")

    assert result.exit_code == 5
    assert not list(Path().glob("rows*"))


def test_a_token_that_expires_ends_the_command_and_keeps_the_rows(
    run: Run, run_json: RunJson, trained: RunFolder, store: Store
) -> None:
    store.odd = {"a/face-3.png": lambda one: refuse(one, 400, "ExpiredToken")}
    words = ["predict", "s3://faces/a/", "--model", trained.onnx, "--batch-size", 1,
             "--output", "rows.jsonl"]  # fmt: skip

    result = run(*words)
    kept = Path("rows.jsonl.partial").read_text().splitlines()
    store.odd = {}
    resumed = run_json(*words, "--resume")["data"]

    assert result.exit_code == 5
    assert len(kept) == 3
    assert resumed["n_resumed"] + resumed["n_inputs"] == 5
    assert resumed["n_skipped"] == 0


def lie(handler: Any, content: bytes, promised: int) -> bool:
    """Send a body of another length than was promised, whatever part of it is asked for."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(promised))
    handler.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
    handler.end_headers()
    handler.wfile.write(content)
    handler.close_connection = True
    return True


def test_an_object_that_is_not_what_was_listed_is_a_row(
    run: Run, trained: RunFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "MAX_OBJECT_BYTES", 3000)
    monkeypatch.setattr(buckets, "_REQUEST_LIMIT", "1s")
    whole = dict(store.objects)
    size = {key: len(content) for key, content in whole.items()}
    store.objects |= {"a/huge.png": bytes(4000), "a/noise.jpg": b"noise"}
    store.odd = {
        "a/face-0.png": lambda one: refuse(one, 404, "NoSuchKey"),
        "a/face-1.png": lambda one: lie(one, whole["a/face-1.png"][:100], size["a/face-1.png"]),
        "a/face-2.png": lambda one: lie(one, whole["a/face-2.png"] * 2, size["a/face-2.png"]),
        "a/face-3.png": lambda one: lie(one, whole["a/face-3.png"] * 2, 2 * size["a/face-3.png"]),
    }

    result = run("predict", "s3://faces/a/", "--model", trained.onnx, "--format", "jsonl")

    rows = {row["path"].rpartition("/")[2]: row for row in list_rows(result)}
    assert result.exit_code == 7, result.stderr
    assert rows["face-0.png"]["reason"] == "it is not there"
    assert "ended the transfer early" in rows["face-1.png"]["reason"]
    # What is sent beyond what was promised is never read.
    assert rows["face-2.png"]["status"] == rows["face-4.png"]["status"] == "ok"
    listed = size["a/face-3.png"]
    assert rows["face-3.png"]["reason"] == (
        f"it was listed with {listed:,} bytes, and has {2 * listed:,}"
    )
    assert rows["huge.png"]["status"] == "refused"
    assert rows["huge.png"]["reason"] == "longer than 3,000 bytes, in a store"
    assert rows["noise.jpg"]["reason"].startswith("not a JPEG")
    assert len(rows) == 7


def test_a_key_may_look_like_an_error(run: Run, trained: RunFolder, store: Store) -> None:
    names = ["timed out.png", "<Code>ExpiredToken</Code>.png", "error sending request.png"]
    for name in names:
        store.objects[f"a/{name}"] = b"x"
        store.odd[f"a/{name}"] = lambda one: refuse(one, 404, "NoSuchKey")

    result = run("predict", "s3://faces/a/", "--model", trained.onnx, "--format", "jsonl")

    assert result.exit_code == 7, result.stderr
    reasons = {row["path"].rpartition("a/")[2]: row["reason"] for row in list_rows(result)}
    assert [reasons[name] for name in names[::2]] == ["it is not there"] * 2
    assert list(reasons.values()).count("it is not there") == 3


def test_a_server_of_something_else_is_no_rows(run: Run, trained: RunFolder, store: Store) -> None:
    def send_other(handler: Any) -> bool:
        send(handler, 200, b"hello", Last_Modified="today")
        return True

    store.odd = dict.fromkeys(store.objects, send_other)

    result = run("predict", "s3://faces/", "--model", trained.onnx, "--output", "rows.jsonl")

    assert result.exit_code == 3
    assert "s3://faces does not answer like an object store" in result.stderr
    assert not list(Path().glob("rows*"))


def test_one_object_that_may_not_be_read_is_a_row(
    run: Run, trained: RunFolder, store: Store
) -> None:
    store.odd = {"a/face-2.png": lambda one: refuse(one, 403, "InvalidObjectState")}

    result = run("predict", "s3://faces/a/", "--model", trained.onnx, "--format", "jsonl")

    assert result.exit_code == 7
    assert [row["status"] for row in list_rows(result)] == ["ok", "ok", "unreadable", "ok", "ok"]
    assert list_rows(result)[2]["reason"] == "it may not be read (status 403, InvalidObjectState)"


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (429, "TooManyRequests")])
def test_a_store_that_asks_to_come_later_is_asked_later(
    run: Run, trained: RunFolder, store: Store, status: int, code: str
) -> None:
    def slow_down(key: str) -> Callable[[Any], bool]:
        return lambda one: store.asked[key] <= 2 and refuse(one, status, code)

    store.odd = {key: slow_down(key) for key in ["", *store.objects]}

    result = run("predict", "s3://faces/a/", "--model", trained.onnx, "--format", "jsonl")

    assert result.exit_code == 0
    assert [row["status"] for row in list_rows(result)] == ["ok"] * 5
    assert min(store.asked.values()) == 3


@pytest.mark.parametrize("key", ["a/face-3.png", ""])
def test_a_store_that_dies_halfway_keeps_the_rows(
    run: Run,
    run_json: RunJson,
    trained: RunFolder,
    store: Store,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While an object is read, and while the rest is listed."""
    monkeypatch.setattr(buckets, "_PAGE", store.page)
    healthy = 2 if key == "" else 0
    store.odd = {key: lambda one: store.asked[key] > healthy and refuse(one, 500, "InternalError")}
    words = ["predict", "s3://faces/a/", "--model", trained.onnx, "--batch-size", 1]

    result = run(*words, "--output", "rows.jsonl", "--json")
    kept = Path("rows.jsonl.partial").read_text().splitlines()
    store.odd = {}
    resumed = run_json(*words, "--output", "rows.jsonl", "--resume")["data"]
    run(*words, "--output", "whole.jsonl")

    assert result.exit_code == 8
    (error,) = json.loads(result.stdout)["errors"]
    assert error["message"] == "s3://faces no longer answers (status 500, InternalError)"
    assert "--resume to continue" in error["hint"]
    # Of the last one nobody knows whether it has all its rows.
    assert len(kept) == (3 if key else 2)
    assert resumed["n_resumed"] == len(kept) - 1
    assert Path("rows.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


def test_a_store_that_is_not_there_is_said_before_a_row(
    run: Run, trained: RunFolder, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    assert store.objects
    for address, status, said in (
        ("http://127.0.0.1:9", 3, "error: s3://faces no longer answers"),
        (f"127.0.0.1:9/{SECRET}", 2, "AWS_ENDPOINT_URL is not an http:// or https:// address"),
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)

        result = run("predict", "s3://faces/a/", "--model", trained.onnx, "--output", "a.csv")

        assert result.exit_code == status
        assert said in result.stderr
        assert SECRET not in result.stderr
        assert not list(Path().glob("a.csv*"))


def test_profiles_say_who_asks(
    run: Run, trained: RunFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def note(handler: Any) -> bool:
        seen.append(handler.headers["Authorization"].partition("Credential=")[2].split(",")[0])
        return False

    store.odd = {"": note}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "credentials")
    Path("config").write_text(
        "[default]\nregion = eu-west-1\n[profile far]\nregion = sa-east-1\n"
        "[profile login]\nsso_session = x\n"
    )
    Path("credentials").write_text(
        f"[default]\naws_access_key_id = one\naws_secret_access_key = {SECRET}\n"
        f"[far]\naws_access_key_id = two\naws_secret_access_key = {SECRET}%\n"
        "aws_session_token = t\n"
    )
    words = ["predict", "s3://faces/a/", "--model", trained.onnx]

    assert run(*words).exit_code == 0
    monkeypatch.setenv("AWS_PROFILE", "far")
    assert run(*words).exit_code == 0
    for name, said in (("login", "gets its keys from another source"), ("no", "is not there")):
        monkeypatch.setenv("AWS_PROFILE", name)
        result = run(*words)
        assert result.exit_code == 5
        assert said in result.stderr
    Path("credentials").write_text(f"{SECRET}\n")
    broken = run(*words)

    assert {one.split("/")[0]: one.split("/")[2] for one in seen} == {
        "one": "eu-west-1", "two": "sa-east-1"
    }  # fmt: skip
    assert broken.exit_code == 5
    assert "credentials cannot be read as a file of profiles" in broken.stderr
    assert SECRET not in broken.output


def test_without_keys_nobody_waits(
    run: Run, trained: RunFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """obstore would ask a machine of Amazon's for two minutes."""

    def refuse_connection(*_: object, **__: object) -> None:
        raise TimeoutError

    assert store.objects
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setattr("socket.create_connection", refuse_connection)

    result = run("predict", "s3://faces/a/", "--model", trained.onnx)

    assert result.exit_code == 5
    assert "error: keys for s3:// are neither in the environment nor in a profile" in result.stderr


@pytest.fixture
def clouds(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The same objects at a server that answers as Google's and Azure's do."""
    address = os.environ["AWS_ENDPOINT_URL"]
    google = {"gcs_base_url": address, "disable_oauth": True, "client_email": "",
              "private_key": "", "private_key_id": ""}  # fmt: skip
    for name, value in {
        "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(google),
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(SECRET.encode()).decode(),
        "AZURE_STORAGE_ENDPOINT": f"{address}/{ACCOUNT}",
    }.items():
        monkeypatch.setenv(name, value)
    return store


@pytest.mark.parametrize(
    ("scheme", "missing", "nobody"),
    [("gs", "NoSuchBucket", "AccessDenied"), ("az", "ContainerNotFound", "AuthenticationFailed")],
)
def test_other_clouds_are_read_alike(
    run: Run, trained: RunFolder, clouds: Store, scheme: str, missing: str, nobody: str
) -> None:
    words = ["--model", trained.onnx, "--format", "jsonl"]

    result = run("predict", f"{scheme}://faces/a/", *words)
    clouds.odd = {"": lambda one: refuse(one, 403, nobody)}
    unknown = run("predict", f"{scheme}://faces/a/", *words, "-v")
    clouds.odd = {"": lambda one: refuse(one, 404, missing)}
    gone = run("predict", f"{scheme}://faces/a/", *words)

    assert result.exit_code == 0, result.stderr
    assert [row["path"] for row in list_rows(result)] == [
        f"{scheme}://faces/{key}" for key in clouds.objects
    ]
    assert unknown.exit_code == 5
    assert f"refuses access (status 403, {nobody})" in unknown.stderr
    assert SECRET not in unknown.output
    assert gone.exit_code == 3
    assert f"there is no bucket {scheme}://faces" in gone.stderr


def test_azure_needs_an_account(run: Run, trained: RunFolder) -> None:
    result = run("predict", "az://faces/a/", "--model", trained.onnx)

    assert result.exit_code == 5
    assert "az://faces cannot be opened with the environment's settings" in result.stderr
    assert "AZURE_STORAGE_ACCOUNT_NAME" in result.stderr


def test_files_of_many_images_are_read_in_their_store(
    run: Run, trained: RunFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "BLOCK_BYTES", 1000)
    files = {key.rpartition("/")[2]: content for key, content in store.objects.items()}
    store.objects = {
        "x/a.tar": pack(files, "tar"), "x/b.zip": pack(files, "zip"),
        "x/c.parquet": pack(files, "parquet"), "x/cut.tar": pack(files, "tar")[:2000],
    }  # fmt: skip
    words = ["--model", trained.onnx, "--format", "jsonl"]

    rows = list_rows(run("predict", "s3://faces/x/a.tar", "s3://faces/x/[bc].*", *words))
    found = run("predict", "s3://faces/x/", *words)

    assert [row["path"] for row in rows] == [
        *(f"s3://faces/x/a.tar!/{name}" for name in files),
        *(f"s3://faces/x/b.zip!/{name}" for name in files),
        *(f"s3://faces/x/c.parquet!/{number}" for number in range(5)),
    ]  # fmt: skip
    assert {row["status"] for row in rows} == {"ok"}
    # As in folders, tables are read where they are named.
    paths = [row["path"] for row in list_rows(found)]
    assert len(paths) == 5 + 5 + 1 + sum("cut.tar!" in path for path in paths)
    assert paths[-1] == "s3://faces/x/cut.tar"
    assert found.exit_code == 7


@pytest.mark.parametrize("kind", ["tar", "zip", "parquet"])
def test_a_file_that_its_store_lost_ends_the_command(
    run: Run, trained: RunFolder, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It must not look as if the file were cut off: its other images would be lost."""
    monkeypatch.setattr(buckets, "BLOCK_BYTES", 1000)
    packed = pack(store.objects, kind)
    key = f"x.{kind}"
    store.objects = {key: packed}
    words = ["predict", f"s3://faces/{key}", "--model", trained.onnx, "--format", "jsonl"]
    assert run(*words).exit_code == 0
    n_asked = store.asked[key]
    last = 2 * n_asked - 2
    store.odd = {key: lambda one: store.asked[key] > last and refuse(one, 503, "SlowDown")}

    result = run(*words)

    assert n_asked > 4
    assert result.exit_code == 8
    assert all(row["status"] == "ok" for row in list_rows(result))


def pack(contents: dict[str, bytes], kind: str) -> bytes:
    """Return a file of some images."""
    packed = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, content in contents.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    elif kind == "zip":
        with zipfile.ZipFile(packed, "w") as other:
            for name, content in contents.items():
                other.writestr(name, content)
    else:
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"image": list(contents.values())}), packed, row_group_size=2)
    return packed.getvalue()


def test_shards_of_a_bucket_merge_to_what_one_command_writes(
    run: Run, run_json: RunJson, trained: RunFolder, store: Store
) -> None:
    store.objects |= {"a/nameless": b"hello", "a/z.png": b"noise"}
    words = ["predict", "s3://faces/a/", "--model", trained.onnx, "--batch-size", 1]

    assert run(*words, "--output", "one.jsonl").exit_code == 7
    for k in range(3):
        assert run(*words, "--shard", f"{k}/3", "--output", "parts").exit_code in {0, 7}
    again = run_json(*words, "--shard", "1/3", "--output", "parts", "--resume")["data"]
    assert run("merge", "parts", "--output", "all.jsonl").exit_code == 0

    assert again["n_inputs"] == 0
    assert Path("all.jsonl").read_bytes() == Path("one.jsonl").read_bytes()
    store.objects["a/face-0.png"] += b"x"
    changed = [run(*words, "--shard", f"{k}/3", "--output", "parts", "--resume") for k in range(3)]
    assert sorted(result.exit_code for result in changed) == [0, 0, 2]


def test_a_list_of_addresses_is_not_looked_up(run: Run, trained: RunFolder, store: Store) -> None:
    listed = "s3://faces/a/face-4.png\nfaces/face-1.png\ns3://faces/a/gone.png\ns3://faces/a/\n"
    words = ["predict", "-", "--model", trained.onnx, "--batch-size", 1]

    result = run(*words, "--format", "jsonl", stdin=listed)
    run(*words, "--output", "one.jsonl", stdin=listed)
    for k in range(2):
        run(*words, "--shard", f"{k}/2", "--output", "parts", stdin=listed)
    assert run("merge", "parts", "--output", "all.jsonl").exit_code == 0

    paths = [row["path"] for row in list_rows(result)]
    assert paths[:3] == ["s3://faces/a/face-4.png", "faces/face-1.png", "s3://faces/a/gone.png"]
    assert len(paths) == 8
    assert list_rows(result)[2]["reason"] == "it is not there"
    assert store.asked["a/gone.png"] == 3
    assert Path("all.jsonl").read_bytes() == Path("one.jsonl").read_bytes()


def test_pictures_and_copies_come_from_stores(run: Run, trained: RunFolder, store: Store) -> None:
    words = ["predict", "s3://faces/a/", "--model", trained.onnx, "--sort-into", "sorted", "--link",
             "--annotate", "framed"]  # fmt: skip

    assert run(*words).exit_code == 0

    copies = {path.name: path.read_bytes() for path in Path("sorted").glob("*/*.png")}
    assert {f"a/{name}": content for name, content in copies.items()} == store.objects
    assert len(list(Path("framed").iterdir())) == 5


def test_examples_of_the_documentation_run(
    run: Run, trained: RunFolder, store: Store, face_files: Path
) -> None:
    faces = {path.name: path.read_bytes() for path in sorted(face_files.iterdir())}
    store.objects = {
        "photos/1.jpg": faces["face-0.png"], "photos/x/front-1.jpg": faces["face-1.png"],
        "dataset.parquet": pack(faces, "parquet"),
    }  # fmt: skip
    numbers = ("00", "01", *(f"3{k}" for k in range(10)))
    store.objects |= {f"shards/shard-0{number}.tar": pack(faces, "tar") for number in numbers}
    pages = [ROOT / "docs" / "how-to" / f"{name}.md" for name in ("predict", "cluster")]
    lines = [line for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    examples = [line for line in lines if re.match(r'fer predict .*"?s3://', line)]

    assert len(examples) == 5
    for example in examples:
        words = shlex.split(example.replace("$SLURM_ARRAY_TASK_ID", "3"))[1:]
        result = run(*words, "--model", trained.onnx)
        assert result.exit_code == 0, f"{example}: {result.stderr}"


def test_what_reads_files_on_disk_says_so(run: Run, trained: RunFolder) -> None:
    result = run("explain", "s3://faces/a/", "--model", trained.onnx)

    assert result.exit_code == 2
    assert "'s3://faces/a/' is in a store" in result.stderr


def test_the_library_reads_stores(trained: RunFolder, store: Store) -> None:
    import fercli

    rows = list(fercli.load(trained.onnx).predict_files("s3://faces/a/"))

    assert [row.path for row in rows] == [f"s3://faces/{key}" for key in store.objects]


def test_memory_does_not_grow_with_what_waits(
    run: Run, trained: RunFolder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much is listed, so many bytes are asked for ahead of their turn."""
    assert store.objects
    monkeypatch.setattr(fetch, "_AHEAD_BYTES", 1)
    ahead: list[int] = []
    monkeypatch.setattr(fetch, "deque", lambda: Spy(ahead))

    assert run("predict", "s3://faces/a/", "--model", trained.onnx).exit_code == 0

    assert max(ahead) == 1


class Spy(list[Any]):
    """A queue that notes how long it is when something is added."""

    def __init__(self, seen: list[int]) -> None:
        super().__init__()
        self._seen = seen

    def append(self, one: Any) -> None:
        super().append(one)
        self._seen.append(len(self))

    def popleft(self) -> Any:
        return self.pop(0)


def test_an_object_travels_without_its_connection() -> None:
    bucket = Bucket("s3", "faces")
    bucket._client = object()  # noqa: SLF001  # it could not be pickled
    objects = [StoredObject(bucket, key, 5) for key in ("a.png", "b.tar")]

    first, second = pickle.loads(pickle.dumps(objects))  # noqa: S301  # made above

    assert [str(first), str(second)] == ["s3://faces/a.png", "s3://faces/b.tar"]
    assert first.bucket is second.bucket
    assert first.bucket._client is None  # noqa: SLF001
    summary = PredictionSummary(("happy",), rows=None)
    blocks = list(cut_blocks([first, second, first], 64, (), summary))
    assert [[str(one) for one in block.sources] for block in blocks] == [
        ["s3://faces/a.png"], ["s3://faces/b.tar"], ["s3://faces/a.png"],
    ]  # fmt: skip
