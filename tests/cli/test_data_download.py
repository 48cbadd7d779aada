"""Against a server of our own, which speaks as others do and misbehaves as others do."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from fercli.data import open_dataset
from fercli.download.fetch import fetch
from fercli.download.responses import RemoteFile
from fercli.errors import CredentialsError, DownloadError, OutputExistsError, SetupError

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]
MakeTable = Callable[..., Path]

CONTENT = bytes(range(256)) * 2000


class Handler(BaseHTTPRequestHandler):
    """Answers by the first part of the path; `seen` counts what was asked."""

    server: Server

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        self.server.seen.append((kind, self.headers.get("Range")))
        n_asked = sum(name == kind for name, _ in self.server.seen)
        status = re.fullmatch(r"(\d{3})(x\d+)?", kind)
        if status and (status[2] is None or n_asked <= int(status[2][1:])):
            self.send_response(int(status[1]))
            self.send_header("Retry-After", "7")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_part(kind, n_asked)

    def send_part(self, kind: str, n_asked: int) -> None:
        content = self.server.content
        if kind == "changing" and n_asked == 1:
            content = content[::-1]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        tag = '"old"' if kind == "changing" and n_asked == 1 else '"one"'
        start = int(asked[1]) if asked and kind != "no-ranges" else 0
        if self.headers.get("If-Range", tag) != tag:
            start = 0
        if start and start >= len(content) and kind != "long":
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        total = {"long": len(content) + 500, "short": len(content) - 500}.get(kind, len(content))
        self.send_response(206 if start else 200)
        if start:
            begins = start + 1 if kind == "odd-ranges" else start
            self.send_header("Content-Range", f"bytes {begins}-{total - 1}/{total}")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(total - start))
        if kind == "hashed":
            digest = hashlib.md5(content, usedforsecurity=False).digest()
            self.send_header("x-goog-hash", f"crc32c=AA==,md5={base64.b64encode(digest).decode()}")
        self.end_headers()
        rest = content[start:]
        cuts = kind == "odd-ranges" or (kind in {"cut", "changing"} and n_asked < 4)
        cut = 150_000 if cuts else len(rest)
        self.wfile.write(rest[:cut])
        self.close_connection = True

    def do_POST(self) -> None:
        """Answer as Kaggle's interface does."""
        length = int(self.headers.get("Content-Length", "0"))
        question = json.loads(self.rfile.read(length) or b"{}")
        self.server.asked.append((self.path, question, self.headers.get("Authorization")))
        if "private" in json.dumps(question) or "refused" in self.server.flags:
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.endswith("/GetDataset"):
            body = json.dumps({"currentVersionNumber": 3}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            self.send_response(302)
            # Signed anew each time, as storage does.
            self.send_header("Location", f"/hashed/archive.zip?signed={len(self.server.asked)}")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """What was asked of it, and what it has."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.seen: list[tuple[str, str | None]] = []
        self.asked: list[tuple[str, Any, str | None]] = []
        self.flags: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


class Getter:
    """Fetches from the server, and takes down how often and how long was waited."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.waits: list[float] = []

    def __call__(self, kind: str, **options: Any) -> Path:
        url = f"{self.server.url}/{kind}/file.bin"
        remote = RemoteFile(url=url, identity=url, headers=options.pop("headers", {}))
        target = self.folder / "file.bin"
        fetch(lambda: remote, target, **{"origin": url, **options})
        return target


@pytest.fixture
def get(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Getter:
    getter = Getter(server, tmp_path / "downloads")
    monkeypatch.setattr("fercli.download.fetch.sleep", getter.waits.append)
    return getter


def test_a_file_comes_whole_with_progress(get: Getter) -> None:
    reports: list[tuple[int, int | None]] = []

    path = get("file", on_progress=lambda *report: reports.append(report))

    assert path.read_bytes() == CONTENT
    assert reports[0] == (0, len(CONTENT))
    assert reports[-1] == (len(CONTENT), len(CONTENT))
    assert sorted(item.name for item in path.parent.iterdir()) == [
        ".file.bin.download.json", ".file.bin.lock", "file.bin",
    ]  # fmt: skip


def test_what_is_there_is_not_asked_for_again(get: Getter) -> None:
    get("file")
    path = get("file")

    assert len(get.server.seen) == 1
    path.write_bytes(b"rot")
    get("file")
    assert path.read_bytes() == CONTENT
    assert len(get.server.seen) == 2


@pytest.mark.parametrize("kind", ["cut", "changing", "no-ranges"])
def test_a_cut_download_goes_on(get: Getter, kind: str) -> None:
    assert get(kind, sha256=hashlib.sha256(CONTENT).hexdigest()).read_bytes() == CONTENT

    ranges = [asked for _, asked in get.server.seen]
    if kind == "no-ranges":
        assert ranges == [None]
    else:
        assert len(ranges) == 4
        assert ranges[0] is None
        assert all(asked and asked != "bytes=0-" for asked in ranges[1:])


def test_a_part_of_an_earlier_process_goes_on(get: Getter) -> None:
    class Interrupt(BaseException):
        pass

    def stop(done: int, _total: int | None) -> None:
        if done > 100_000:
            raise Interrupt

    with pytest.raises(Interrupt):
        get("file", on_progress=stop)
    part = get.folder / ".file.bin.part"
    size = part.stat().st_size

    assert get("file").read_bytes() == CONTENT
    assert get.server.seen[1] == ("file", f"bytes={size}-")
    assert not part.exists()


def test_a_complete_part_is_checked_before_it_counts(get: Getter) -> None:
    url = f"{get.server.url}/file/file.bin"
    get.folder.mkdir()
    part = get.folder / ".file.bin.part"
    for content, fine in ((CONTENT, True), (CONTENT[:-1] + b"?", False)):
        part.write_bytes(content)
        (get.folder / ".file.bin.state.json").write_text(
            json.dumps({"identity": url, "etag": '"one"'})
        )
        digest = hashlib.sha256(CONTENT).hexdigest()
        if fine:
            assert get("file", sha256=digest).read_bytes() == CONTENT
            (get.folder / "file.bin").unlink()
        else:
            with pytest.raises(DownloadError, match="sha256"):
                get("file", sha256=digest)
            assert not part.exists()


def test_a_part_of_another_file_is_not_gone_on_with(get: Getter) -> None:
    get.folder.mkdir()
    (get.folder / ".file.bin.part").write_bytes(b"something else")
    (get.folder / ".file.bin.state.json").write_text(json.dumps({"identity": "elsewhere"}))

    assert get("file").read_bytes() == CONTENT


def test_a_server_that_promises_more_than_it_has_is_given_up(get: Getter) -> None:
    with pytest.raises(DownloadError, match="failed 5 times") as caught:
        get("long")

    assert "to continue" in caught.value.hint
    assert (get.folder / ".file.bin.part").stat().st_size > 0
    assert not (get.folder / "file.bin").exists()


def test_a_server_that_stops_short_is_caught_by_the_digest(get: Getter) -> None:
    with pytest.raises(DownloadError, match="sha256"):
        get("short", sha256=hashlib.sha256(CONTENT).hexdigest())

    assert [path.name for path in get.folder.iterdir()] == [".file.bin.lock"]


@pytest.mark.parametrize("kind", ["429x2", "500x2", "503x2"])
def test_passing_troubles_are_waited_for(get: Getter, kind: str) -> None:
    assert get(kind).read_bytes() == CONTENT

    assert get.waits == [7, 7]


def test_waits_grow_and_end(get: Getter) -> None:
    get.server.server_close()

    with pytest.raises(DownloadError, match="cannot be reached"):
        get("file")

    assert get.waits == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("kind", "error"),
    [("401", CredentialsError), ("403", CredentialsError), ("404", DownloadError),
     ("410", DownloadError), ("418", DownloadError), ("500", DownloadError)],
)  # fmt: skip
def test_lasting_troubles_are_said_at_once(get: Getter, kind: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        get(kind)

    assert len(get.waits) == (4 if kind == "500" else 0)


def test_the_storage_s_own_digest_is_compared(get: Getter) -> None:
    digest = hashlib.md5(CONTENT, usedforsecurity=False).digest()
    for wanted, fine in ((bytes(16), False), (digest, True)):
        headers = {"x-goog-hash": f"crc32c=AA==,md5={base64.b64encode(wanted).decode()}"}
        if fine:
            assert get("file", headers=headers).read_bytes() == CONTENT
        else:
            with pytest.raises(DownloadError, match="md5"):
                get("file", headers=headers)


def test_a_part_that_is_dropped_again_and_again_is_no_progress(get: Getter) -> None:
    with pytest.raises(DownloadError, match="failed 5 times"):
        get("odd-ranges")

    assert len(get.waits) < 10


def test_a_file_of_the_user_is_never_replaced(get: Getter) -> None:
    get.folder.mkdir()
    (get.folder / "file.bin").write_bytes(b"mine")

    with pytest.raises(OutputExistsError):
        get("file")
    assert (get.folder / "file.bin").read_bytes() == b"mine"
    (get.folder / "file.bin").write_bytes(CONTENT)
    assert get("file", sha256=hashlib.sha256(CONTENT).hexdigest()).read_bytes() == CONTENT
    assert get.server.seen == []


def test_a_file_of_another_origin_is_not_taken(get: Getter) -> None:
    get("file", origin="kaggle:a/b")
    get("file", origin="kaggle:a-b/c")

    assert len(get.server.seen) == 2


def test_a_full_disk_is_noticed_before(get: Getter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fercli.download.fetch.SPARE_BYTES", 1 << 60)

    with pytest.raises(SetupError, match="MiB free"):
        get("file")


def test_many_at_once_download_once(get: Getter) -> None:
    threads = [threading.Thread(target=get, args=("file",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (get.folder / "file.bin").read_bytes() == CONTENT
    assert len(get.server.seen) == 1


@pytest.fixture
def table(server: Server, table_rows: Any, make_table: MakeTable, tmp_path: Path) -> str:
    """Put a table on the server; return its digest."""
    server.content = gzip.compress(make_table(tmp_path / "t.csv", table_rows).read_bytes())
    return hashlib.sha256(server.content).hexdigest()


def test_download_leaves_a_prepared_default(
    run: Run, run_json: RunJson, server: Server, table: str
) -> None:
    words = ("data", "download", "--source", f"{server.url}/file/fer2013.csv.gz", "--sha256", table)

    data = run_json(*words, "--output", "kept")["data"]
    again = run(*words)
    forced = run_json(*words, "--output", "kept", "--force")["data"]

    assert data["n_images"] == 10
    assert open_dataset(Path(data["output"])).n_images == 10
    assert (data["archive"], data["archive_sha256"]) == ("kept/fer2013.csv.gz", table)
    assert not data["was_there"]
    assert again.exit_code == 2
    assert forced["was_there"]
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--source", "kaggle:nobody"), 2),
        (("--source", "ftp://example.org/a.zip"), 2),
        (("--source", "http://example.org/a.zip", "--sha256", "0" * 64), 2),
        (("--source", "https://example.org/a.zip"), 2),
        (("--source", "https://example.org/a.zip", "--sha256", "123"), 2),
        (("--source", "https://[::1/a.zip", "--sha256", "0" * 64), 2),
        (("--source", "hf:someone/fer2013", "--sha256", "0" * 64), 2),
        (("--source", "hf:../.."), 2),
    ],
)
def test_sources_are_checked_before_anything_is_asked(
    run: Run, words: tuple[str, ...], status: int
) -> None:
    assert run("data", "download", *words).exit_code == status


@pytest.fixture
def kaggle(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """Let kagglehub ask our server, as nobody in particular."""
    from kagglesdk import kaggle_env

    known = kaggle_env._env_to_endpoint  # noqa: SLF001  # there is no other way to another server
    endpoints = {**known, kaggle_env.KaggleEnv.LOCAL: server.url}
    monkeypatch.setattr(kaggle_env, "_env_to_endpoint", endpoints)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "no-kaggle"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    return server


def test_kaggle_needs_no_account_for_public_data(
    run_json: RunJson, kaggle: Server, table: str
) -> None:
    data = run_json("data", "download", "--source", "kaggle:msambare/fer2013")["data"]

    assert data["n_images"] == 10
    assert data["archive_sha256"] == table
    assert Path(data["archive"]).name == "msambare--fer2013.zip"
    version, archive = kaggle.asked
    assert version[0].endswith("DatasetApiService/GetDataset")
    assert archive[1]["datasetVersionNumber"] == 3
    assert archive[2] is None


def test_what_is_no_dataset_is_downloaded_anew(run: Run, kaggle: Server) -> None:
    assert run("data", "download").exit_code == 3
    assert run("data", "download").exit_code == 3

    assert len([kind for kind, _ in kaggle.seen if kind == "hashed"]) >= 2


def test_broken_credentials_are_said(run: Run, kaggle: Server, tmp_path: Path) -> None:
    (tmp_path / "no-kaggle").mkdir()
    (tmp_path / "no-kaggle" / "kaggle.json").write_text("{")

    for source in ("kaggle:msambare/fer2013", "kaggle-challenge"):
        result = run("data", "download", "--source", source)
        assert result.exit_code == 5
        assert "fix that file" in result.stderr
    assert kaggle.asked == []


def test_the_page_of_a_browser_is_named_where_there_is_no_network(
    run: Run, kaggle: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fercli.download.fetch.sleep", lambda _seconds: None)
    kaggle.shutdown()
    kaggle.server_close()

    result = run("data", "download")

    assert result.exit_code == 3
    page = "https://www.kaggle.com/datasets/msambare/fer2013"
    assert f"download the file by hand from {page}, then: fer data prepare FILE" in result.stderr


def test_kaggle_refuses_in_one_sentence(run: Run, kaggle: Server) -> None:
    private = run("data", "download", "--source", "kaggle:someone/private")
    anonymous = run("data", "download", "--source", "kaggle-challenge")

    assert private.exit_code == anonymous.exit_code == 5
    assert "KAGGLE_API_TOKEN" in anonymous.stderr
    assert "rules" in anonymous.stderr
    assert len(kaggle.asked) == 1


def test_the_challenge_takes_a_token(
    run: Run, run_json: RunJson, kaggle: Server, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secret")
    kaggle.flags.add("refused")
    refused = run("data", "download", "--source", "kaggle-challenge")
    kaggle.flags.clear()

    data = run_json("data", "download", "--source", "kaggle-challenge")["data"]

    assert refused.exit_code == 5
    assert "rules" in refused.stderr
    assert "secret" not in refused.output
    assert data["archive_sha256"] == table
    assert kaggle.asked[-1][2] == "Bearer secret"


def test_the_hub_needs_its_library(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    result = run("data", "download", "--source", "hf:someone/fer2013")

    assert result.exit_code == 5
    assert "fercli[hub]" in result.stderr


SECRET = "s3cr3t"  # noqa: S105  # of nobody


def add_secrets(url: str) -> str:
    """Return an address with its secret in all places that an address has for one."""
    return url.replace("http://", f"http://me:{SECRET}@") + f"?token={SECRET}&Signature={SECRET}"


def read_everything(folder: Path) -> str:
    """Return the bytes of all files below a folder, and their names."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return "".join(f"{path} {path.read_bytes().decode('latin-1')}" for path in files)


def test_no_credential_of_an_address_is_kept_or_shown(
    run: Run, server: Server, table: str, tmp_path: Path
) -> None:
    source = add_secrets(f"{server.url}/file/fer2013.csv.gz")
    words = ("data", "download", "--sha256", table, "--output", "kept", "--json", "-v")

    found = run(*words, "--source", source)
    again = run(*words, "--source", source, "--force")

    assert (found.exit_code, again.exit_code) == (0, 0)
    assert json.loads(found.stdout)["data"]["source"] == (
        f"{server.url}/file/fer2013.csv.gz?token=***&Signature=***"
    )
    assert json.loads(again.stdout)["data"]["was_there"]
    assert (tmp_path / "kept" / ".fer2013.csv.gz.download.json").is_file()
    assert SECRET not in found.output + again.output
    assert SECRET not in read_everything(tmp_path)


@pytest.mark.parametrize("place", ["404/x", "401/x", "500/x", "short/x", "cut/x", "file/x"])
def test_no_credential_is_in_a_failure(
    run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr("fercli.download.fetch.sleep", lambda _: None)
    source = add_secrets(f"{server.url}/{place}")

    result = run("data", "download", "--source", source, "--sha256", "0" * 64, "--json", "-v")

    assert result.exit_code in {3, 5}
    assert "Traceback" in result.stderr
    assert SECRET not in result.output
    assert SECRET not in read_everything(tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        f"http://me:{SECRET}@example.org/a.zip?token={SECRET}",
        f"https://me:{SECRET}@[::1/a.zip",
        f"ftp://me:{SECRET}@example.org/a.zip",
        f"https://me:{SECRET}@127.0.0.1:1/a.zip?key={SECRET}",
    ],
)
def test_no_credential_is_in_a_refusal(
    run: Run, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr("fercli.download.fetch.sleep", lambda _: None)

    result = run("data", "download", "--source", source, "--sha256", "0" * 64, "--json", "-v")

    assert result.exit_code in {2, 3}
    assert SECRET not in result.output


def test_the_debug_log_has_no_credential(server: Server, tmp_path: Path) -> None:
    source = add_secrets(f"{server.url}/404/x")
    words = ("-m", "fercli", "data", "download", "--source", source, "--sha256", "0" * 64, "-vv")
    tokens = dict.fromkeys(("KAGGLE_KEY", "KAGGLE_API_TOKEN", "HF_TOKEN", "FERCLI_TOKEN"), SECRET)

    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, **tokens},
    )  # fmt: skip

    assert done.returncode == 3
    assert "/404/x?token=***" in done.stderr
    assert "DEBUG" in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_no_token_of_kaggle_is_kept_or_shown(
    run: Run, kaggle: Server, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", SECRET)
    kaggle.flags.add("refused")
    refused = run("data", "download", "--source", "kaggle-challenge", "-v", "--json")
    kaggle.flags.clear()

    found = run("data", "download", "--source", "kaggle-challenge", "-v", "--json")

    assert (refused.exit_code, found.exit_code) == (5, 0)
    assert kaggle.asked[-1][2] == f"Bearer {SECRET}"
    assert json.loads(found.stdout)["data"]["archive_sha256"] == table
    assert SECRET not in refused.output + found.output + read_everything(tmp_path)
