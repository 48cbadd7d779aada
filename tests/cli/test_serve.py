from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from typer.testing import Result

if TYPE_CHECKING:
    from fercli.runs import RunFolder

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]
Start = Callable[..., subprocess.Popen[str]]
TOKEN = 4 * "0123"


@pytest.fixture
def open_process(start: Start, trained: RunFolder) -> Iterator[Callable[..., Any]]:
    """Start the command in a process of its own; return it and its port."""
    started = []

    def call(*words: object) -> tuple[subprocess.Popen[str], int]:
        process = start("serve", "--port", 0, "--model", trained.onnx, *words)
        started.append(process)
        assert process.stderr
        for line in process.stderr:
            if found := re.search(r"serving on http://[^:]+:(\d+)/", line):
                return process, int(found[1])
        pytest.fail("it does not say where it is")

    yield call
    for process in started:
        process.kill()
        process.communicate()


def post(port: int, image: bytes, query: str = "") -> tuple[int, Any]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as asked:
        asked.request("POST", f"/api/predict{query}", image, {"Content-Type": "image/png"})
        answer = asked.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.usefixtures("stopped", "bundled")
def test_it_says_where_it_is_and_ends_with_the_signal(run: Run) -> None:
    result = run("serve", "--port", 0)

    assert result.exit_code == 130
    assert re.fullmatch(
        r"model: plus, which comes with fercli\nserving on http://127\.0\.0\.1:\d+/\n"
        r"stop it with Ctrl-C\nstopped by Ctrl-C\n",
        result.stderr,
    )
    assert result.stdout.split() == ["answered", "0", "requests,", "0", "faces"]


@pytest.mark.usefixtures("stopped")
def test_json_is_one_object_at_the_end(run_json: RunJson, trained: RunFolder) -> None:
    envelope = run_json("serve", "--port", 0, "--model", trained.path, status=130)

    assert set(envelope["data"]) == {"url", "model", "n_requests", "n_faces", "duration_s"}
    assert envelope["data"]["model"] == trained.path.name
    assert envelope["errors"][0]["code"] == "interrupted"


@pytest.mark.usefixtures("stopped")
def test_the_newest_run_is_served_where_no_model_is_named(run: Run, trained: RunFolder) -> None:
    Path("runs").mkdir()
    Path("runs/mine").symlink_to(trained.path)

    result = run("serve", "--port", 0)

    assert "of the newest finished run" in result.stderr
    assert "trained on synthetic faces only" in result.stderr


@pytest.mark.usefixtures("stopped")
def test_open_opens_the_page(run: Run, trained: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    run("serve", "--port", 0, "--model", trained.onnx, "--open", "--token", TOKEN)

    [url] = opened
    assert re.fullmatch(rf"http://127\.0\.0\.1:\d+/#token={TOKEN}", url)


@pytest.mark.usefixtures("stopped")
def test_other_machines_need_a_token_and_it_says_so(run: Run, trained: RunFolder) -> None:
    words = ("serve", "--port", 0, "--model", trained.onnx, "-q", "--host", "0.0.0.0")  # noqa: S104

    result = run(*words)

    assert "warning: others can reach this service at 0.0.0.0, port" in result.stderr
    assert re.search(r"warning: the token, random for this run: [A-Za-z0-9_-]{32}\n", result.stderr)
    assert "drawn" not in run(*words, "--token", TOKEN).stderr


@pytest.mark.usefixtures("stopped")
def test_a_token_that_is_given_is_never_shown(
    run: Run, trained: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("serve", "--port", 0, "--model", trained.onnx, "-vv")
    results = [run(*words, "--token", TOKEN)]
    monkeypatch.setenv("FERCLI_TOKEN", "short")
    assert run(*words).exit_code == 2
    monkeypatch.setenv("FERCLI_TOKEN", TOKEN)
    results.append(run(*words, "--host", "0.0.0.0"))  # noqa: S104  # what is tested

    for result in results:
        assert result.exit_code == 130
        assert TOKEN not in result.output
    assert "drawn" not in results[1].stderr


def test_a_port_that_is_taken_is_refused(run_json: RunJson, trained: RunFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        envelope = run_json("serve", "--port", port, "--model", trained.onnx, status=2)

    [error] = envelope["errors"]
    assert error["message"] == f"127.0.0.1:{port} is in use by another process"
    assert error["hint"] == f"give --port {port + 1}, or --port 0 for a free one"


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["--host", "no.such.host.invalid"], 2, "not an address of this machine"),
        (["--host", "203.0.113.1"], 2, "not an address of this machine"),
        (["--host", ""], 2, "--host is empty"),
        (["--port", "70000"], 2, "port must be between 0 and 65535"),
        (["--token", "short"], 2, "a token must be 16 or more"),
        (["--model", "nothing.onnx"], 4, "no model at nothing.onnx"),
        (["--colour"], 2, "No such option"),
    ],
)
def test_what_cannot_be_served_is_said(run: Run, words: list[str], status: int, text: str) -> None:
    result = run("serve", "--port", 0, *words)

    assert result.exit_code == status
    assert result.stderr.startswith("error: ")
    assert text in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("library", ["starlette", "uvicorn", "python_multipart"])
def test_without_the_extra(run: Run, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] == library or name.startswith("fercli.serve"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)

    result = run("serve", "--port", 0)

    assert result.exit_code == 5
    assert result.stderr.splitlines()[-1] == "hint: pip install 'fercli[serve]'"


def test_two_first_photos_at_once_are_answered(
    open_process: Callable[..., Any], photo: Path
) -> None:
    _, port = open_process()
    image = photo.read_bytes()

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(post, [port] * 2, [image] * 2))

    for status, answer in answers:
        assert status == 200
        (row,) = answer["data"]["rows"]
        assert row["box"] == pytest.approx([177, 66, 97, 97], abs=8)


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_signals_let_requests_under_way_be_finished(
    open_process: Callable[..., Any], crop: bytes, number: int, status: int
) -> None:
    process, port = open_process()
    head = b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += f"Content-Length: {len(crop)}\r\n\r\n".encode()

    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as under_way,
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as other,
    ):
        under_way.sendall(head + crop[:20])
        time.sleep(0.3)
        process.send_signal(number)
        time.sleep(0.3)
        other.request("GET", "/healthz")
        health = other.getresponse()
        assert (health.status, health.headers["Retry-After"]) == (503, "1")
        health.read()
        assert post(port, crop)[0] == 503
        under_way.sendall(crop[20:])
        content = b""
        while piece := under_way.recv(65536):
            content += piece

    assert content.startswith(b"HTTP/1.1 200 ")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == status
    assert output.split() == ["answered", "1", "request,", "1", "face"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_a_second_signal_ends_it_at_once(open_process: Callable[..., Any]) -> None:
    process, port = open_process()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as under_way:
        under_way.sendall(b"POST /api/predict HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n")
        under_way.sendall(b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\n")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)

    assert process.returncode in {-signal.SIGTERM, 143}


def test_pictures_and_names_are_neither_kept_nor_logged(
    open_process: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for variable in ("TMPDIR", "HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(variable, str(scratch))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    before = set(tmp_path.rglob("*"))
    process, port = open_process("-vv")
    Image.effect_noise((2000, 1500), 90).convert("RGB").save(tmp_path / "large.png")
    large = (tmp_path / "large.png").read_bytes()
    (tmp_path / "large.png").unlink()
    form = b'--x\r\nContent-Disposition: form-data; name="images"; filename="who-it-is.png"\r\n\r\n'
    form += large + b"\r\n--x--\r\n"
    seen: set[Path] = set()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.005):
            seen.update(set(tmp_path.rglob("*")) - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    asked.request("POST", "/api/predict?faces=whole", form, kind)
    assert asked.getresponse().status == 200
    asked.close()
    assert post(port, b"broken", "?name=who-it-is.png")[0] == 422
    open_files = list(Path(f"/proc/{process.pid}/fd").iterdir()) if sys.platform == "linux" else []
    names = [str(one.readlink()) for one in open_files if one.is_symlink()]
    is_over.set()
    watcher.join()
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=30)

    assert len(large) > 4_000_000
    assert seen == set()
    assert [name for name in names if "deleted" in name or str(scratch) in name] == []
    assert "who-it-is" not in log
