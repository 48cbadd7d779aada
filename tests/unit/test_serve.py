"""The service over real sockets, in a thread."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from fercli.config import ServeConfig
from fercli.errors import ConfigError, ModelFileError
from fercli.inference import LABEL_SETS
from fercli.model_files import open_runtime
from fercli.serve import ServedModels, listen
from fercli.serve.answers import RequestError
from fercli.serve.service import Service

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.runs import RunFolder

Open = Callable[..., Any]
RunJson = Callable[..., dict[str, Any]]
FACES = "choose from auto, whole, haar, yunet"
MODELS = "choose from tiny, plus, base"
KNOWN = "choose from model, labels_of, name, faces, min_face, min_confidence"
Y = f"unknown model 'y': {MODELS}"
FIELD = "unknown field 'image': images go into 'images'; did you mean 'images'?"
FORM = "multipart/form-data; boundary=xyz"


def build_form(*parts: tuple[str, bytes], field: str = "images", end: bytes = b"--\r\n") -> bytes:
    form = b""
    for name, content in parts:
        form += f'--xyz\r\nContent-Disposition: form-data; name="{field}"'.encode()
        form += f'; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'.encode("utf-8", "replace")
        form += content + b"\r\n"
    return form + b"--xyz" + end


def build_bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes for each row that unpacks to all of its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        sizes = len(content).to_bytes(4, "big"), zlib.crc32(checked).to_bytes(4, "big")
        return sizes[0] + checked + sizes[1]

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    rows = zlib.compress(bytes(1 + width) * 100, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def read_answer(connection: socket.socket) -> tuple[int, Any]:
    """Return the status and the JSON of an answer, read until the connection is closed."""
    content = b""
    while piece := connection.recv(65536):
        content += piece
    head, _, body = content.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def say(answer: Any) -> str:
    """Return what the errors of an envelope say."""
    assert set(answer) == {"schema", "command", "status", "exit_code", "data", "errors"}
    return "; ".join(error["message"] for error in answer["errors"])


def test_rows_are_those_of_the_command(
    open_service: Open, photo: Path, crop: bytes, run_json: RunJson, tmp_path: Path
) -> None:
    small = tmp_path / "crop.png"
    small.write_bytes(crop)
    service = open_service("plus")

    for path in (photo, small):
        wanted = run_json("predict", path, "--model", "plus")
        status, _, answer = service.predict(path.read_bytes(), f"?name={path.name}")

        assert status == 200
        [row], [expected] = answer["data"].pop("rows"), wanted["data"].pop("rows")
        assert row.pop("path") == path.name
        assert expected.pop("path") == str(path)
        assert row.pop("probabilities") == pytest.approx(expected.pop("probabilities"), abs=1e-6)
        assert row.pop("confidence") == pytest.approx(expected.pop("confidence"), abs=1e-6)
        assert row == expected
        assert set(answer["data"]) - {"duration_s"} == set(wanted["data"])
        assert {**answer, "data": {}} == {**wanted, "data": {}}


def test_a_form_has_rows_in_order_under_its_names(open_service: Open, crop: bytes) -> None:
    names = ["b.png", "a/../ü.png", "nonsense", 'q"uote.png']
    form = build_form(*((name, b"?" if name == "nonsense" else crop) for name in names[:3]))

    status, _, answer = open_service().ask("POST", "/api/predict", form, {"Content-Type": FORM})

    assert status == 200
    rows = answer["data"]["rows"]
    assert [(row["path"], row["status"]) for row in rows] == [
        ("b.png", "ok"), ("a/../ü.png", "ok"), ("nonsense", "unreadable"),
    ]  # fmt: skip
    assert (answer["status"], answer["exit_code"], answer["data"]["n_skipped"]) == ("partial", 7, 1)
    assert say(answer).startswith("nonsense: not a JPEG")


def test_one_image_that_cannot_be_read_is_a_row_and_422(open_service: Open) -> None:
    status, _, answer = open_service().predict(b"nonsense", "?name=x.jpg")

    assert status == 422
    assert [row["status"] for row in answer["data"]["rows"]] == ["unreadable"]
    assert answer["exit_code"] == 7
    assert say(answer).startswith("x.jpg: ")


def test_options_are_those_of_the_command(open_service: Open, photo: Path) -> None:
    service, image = open_service("plus"), photo.read_bytes()

    def ask(query: str) -> Any:
        status, _, answer = service.predict(image, query)
        assert status == 200
        return answer["data"]["rows"][0]

    assert list(ask("?labels_of=fer2013")["probabilities"]) == [
        "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral",
    ]  # fmt: skip
    assert ask("?model=tiny&min_confidence=1&labels_of=")["label"] == "uncertain"
    assert ask("?min_face=200")["status"] == "no_face"
    assert ask("?faces=whole&min_face=200")["box"] == [0, 0, 512, 512]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("min_fase=1", f"unknown parameter 'min_fase': {KNOWN}; did you mean 'min_face'?"),
        ("faces=haar&faces=haar", "faces is given twice"),
        ("faces=har", f"unknown faces 'har': {FACES}; did you mean 'haar'?"),
        ("faces=yunet", "this service has no weights of yunet: fer models fetch yunet gets them"),
        ("model=pluss", f"unknown model 'pluss': {MODELS}; did you mean 'plus'?"),
        ("model=../../x", f"unknown model '../../x': {MODELS}"),
        ("labels_of=x", "unknown labels_of 'x': choose from fer2013"),
        ("min_confidence=2", "min_confidence must be between 0 and 1, not 2.0"),
        ("min_confidence=nan", "min_confidence must be a number, not 'nan'"),
        ("min_confidence=", "min_confidence must be a number, not ''"),
        ("min_confidence=1e999", "min_confidence must be between 0 and 1, not inf"),
        ("min_face=-1", "min_face must be at least 0, not -1"),
        ("min_face=1_0", "min_face must be a whole number, not '1_0'"),
        ("min_face=" + 9999 * "9", f"min_face must be a whole number, not '{100 * '9'}'"),
        ("name=" + 1025 * "n", "name has more than 1024 characters"),
        ("min_face=x&model=y", f"min_face must be a whole number, not 'x'; {Y}"),
    ],
)
def test_what_is_asked_wrongly_is_named(
    open_service: Open, crop: bytes, query: str, text: str
) -> None:
    status, _, answer = open_service().predict(crop, f"?{query}")

    assert (status, answer["status"], answer["exit_code"]) == (400, "error", 2)
    assert say(answer) == text


def test_labels_that_a_model_lacks_are_named(
    open_service: Open, crop: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LABEL_SETS, "birds", ("happy", "tern", "auk"))

    status, _, answer = open_service().predict(crop, "?labels_of=birds")

    assert (status, say(answer)) == (400, "tiny lacks auk, tern of birds")


def test_models_are_listed_the_default_first(open_service: Open) -> None:
    service = open_service("base")
    _, _, answer = service.ask("GET", "/api/models")

    assert [(model["name"], model["default"]) for model in answer["models"]] == [
        ("base", True), ("plus", False), ("tiny", False),
    ]  # fmt: skip
    assert answer["models"][1]["labels"][-1] == "contempt"
    assert [model["int8"] for model in answer["models"]] == [True, True, False]
    assert len({model["purpose"] for model in answer["models"]}) == 3
    assert answer["faces"] == ["auto", "whole", "haar"]
    assert answer["limits"] == {"bytes": 33554432, "pixels": 100_000_000, "images": 32}
    status, _, refused = service.ask("GET", "/api/models?x=1")
    assert (status, say(refused)) == (400, "unknown parameter 'x': there are none")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404), ("GET", "/assets/../__init__.py", 404),
        ("GET", "/assets/%2e%2e/__init__.py", 404), ("GET", "/assets//etc/passwd", 404),
        ("GET", "/docs", 404), ("GET", "/api/predict", 405), ("PUT", "/healthz", 405),
        ("OPTIONS", "/api/predict", 405), ("GET", "/healthz/", 404),
    ],
)  # fmt: skip
def test_other_paths_and_methods_are_refused(
    open_service: Open, method: str, path: str, status: int
) -> None:
    found, headers, answer = open_service().ask(method, path)

    assert found == status
    assert say(answer)
    assert ("allow" in headers) == (status == 405)
    assert "access-control-allow-origin" not in headers


def test_the_page_is_served_as_it_was_at_the_start(
    open_service: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "page"
    (folder / "inner").mkdir(parents=True)
    for name in ("index.html", "page.js", "page.css", "icon.svg", "inner/secret.js"):
        (folder / name).write_text(name)
    (tmp_path / "secret.js").write_text("secret")
    monkeypatch.setattr("fercli.serve.application.files", lambda _package: tmp_path)
    service = open_service()
    (folder / "page.js").write_text("changed")

    for path, name, kind in (
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/assets/page.js", "page.js", "text/javascript; charset=utf-8"),
        ("/assets/page.css?v=1", "page.css", "text/css; charset=utf-8"),
        ("/assets/icon.svg", "icon.svg", "image/svg+xml"),
    ):
        status, headers, content = service.ask("GET", path)
        assert (status, headers["content-type"], content) == (200, kind, name.encode())
        status, headers, content = service.ask("HEAD", path)
        assert (status, headers["content-length"], content) == (200, str(len(name)), b"")
    for path in ("/assets/../secret.js", "/assets/%2e%2e/secret.js", "/assets/inner/secret.js"):
        assert service.ask("GET", path)[0] == 404


def test_every_answer_has_the_headers_that_protect(open_service: Open, crop: bytes) -> None:
    service = open_service()
    answers = [
        service.ask("GET", "/healthz"), service.ask("GET", "/nothing"), service.predict(crop),
        service.ask("GET", "/", headers={"Host": "evil.example"}),
    ]  # fmt: skip

    for _, headers, _ in answers:
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["permissions-policy"].startswith("camera=(self)")
        assert "server" not in headers


@pytest.mark.parametrize(
    ("kind", "body", "status", "text"),
    [
        ("text/plain", b"x", 415, "the body must be an image, or a form with images"),
        ("application/x-www-form-urlencoded", b"x", 415, "the body must be an image"),
        ("image/png", b"", 400, "the body is empty"),
        ("multipart/form-data", b"--xyz--", 400, "the form has no boundary"),
        ("multipart/form-data; boundary=" + 300 * "x", b"--x", 400, "the form is damaged"),
        ("multipart/form-data; boundary=other", build_form(("a", b"b")), 400, "the form"),
        (FORM, b"", 400, "the form ends too early"),
        (FORM, build_form(("a", b"b"), end=b""), 400, "the form ends too early"),
        (FORM, build_form(("a", b"b"))[:60], 400, "the form ends too early"),
        (FORM, build_form(), 400, "the form"),
        (FORM, build_form(("a", b"b"), field="image"), 400, FIELD),
        (FORM, build_form(*((str(n), b"") for n in range(10_000))), 413, "more than 32 images"),
        (FORM, build_form((2000 * "n", b"b")), 400, "the name of an image has more than 1024"),
        (FORM, build_form((20_000 * "n", b"b")), 400, "the form is damaged"),
        (FORM, b"--xyz\r\n" + 100 * b"a: b\r\n" + b"\r\nx\r\n--xyz--", 400, "the form is damaged"),
        (FORM, b"--xyz\r\n\r\nx\r\n--xyz--", 400, "unknown field ''"),
        (FORM, b"\xff" * 100_000, 400, "the form"),
    ],
)  # fmt: skip
def test_hostile_bodies_are_refused(
    open_service: Open, kind: str, body: bytes, status: int, text: str
) -> None:
    service = open_service()

    found, _, answer = service.ask("POST", "/api/predict", body, {"Content-Type": kind})

    assert (found, answer["data"]) == (status, {})
    assert say(answer).startswith(text)
    assert service.ask("GET", "/healthz")[0] == 200


def test_a_name_with_nul_and_controls_comes_back_as_it_was(open_service: Open, crop: bytes) -> None:
    name = "a\x00b\x1b[31m<img>"
    form = build_form((name, crop))

    _, _, answer = open_service().ask("POST", "/api/predict", form, {"Content-Type": FORM})

    assert [row["path"] for row in answer["data"]["rows"]] == [name]


def test_images_that_ask_for_too_much_are_rows(open_service: Open, crop: bytes) -> None:
    form = build_form(("bomb", build_bomb(12_000, 12_000)), ("torn", crop[:-40]), ("fine", crop))

    status, _, answer = open_service().ask("POST", "/api/predict", form, {"Content-Type": FORM})

    assert status == 200
    statuses = [(row["path"], row["status"]) for row in answer["data"]["rows"]]
    assert statuses == [("bomb", "refused"), ("torn", "unreadable"), ("fine", "ok")]
    assert "100000000 pixels" in answer["data"]["rows"][0]["reason"]


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_too_many_bytes_are_refused_and_the_client_hears_of_it(
    open_service: Open, *, chunked: bool
) -> None:
    service, body = open_service(max_bytes=100_000), bytes(150_000)
    kind = {"Content-Type": "image/png"}

    # What is an iterator is sent in chunks.
    sent = iter([body[:75_000]] * 2) if chunked else body
    status, _, answer = service.ask("POST", "/api/predict", sent, kind)

    assert (status, say(answer)) == (413, "more than 100000 bytes")


def test_all_requests_together_have_a_budget_of_bytes(open_service: Open, crop: bytes) -> None:
    service = open_service(max_waiting_bytes=1000, max_bytes=1000)

    assert service.predict(crop[:1000])[0] == 422
    own = Service(ServedModels("tiny"), ServeConfig(max_waiting_bytes=1000, max_bytes=2000))
    with contextlib.closing(own), own.open_slot() as first, own.open_slot() as second:
        # The largest request has room where it is alone.
        first(2000)
        with pytest.raises(RequestError) as caught:
            second(1)
        assert (caught.value.status, caught.value.errors[0]["code"]) == (503, "busy")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:1"}, 200), ({"Host": "127.0.0.1"}, 200), ({"Host": "[::1]:80"}, 200),
        ({"Host": "LOCALHOST"}, 200), ({"Host": "evil.example"}, 403), ({"Host": ""}, 403),
        ({"Host": "localhost.evil.example"}, 403), ({"Host": "127.0.0.1:80@evil.example"}, 403),
        ({"Host": "192.168.1.1"}, 403), ({"Host": "localhost:x"}, 403),
        ({"Origin": "http://localhost:1", "Host": "localhost:1"}, 200),
        ({"Origin": "http://localhost:2", "Host": "localhost:1"}, 403),
        ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403), ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200), ({"Sec-Fetch-Site": "none"}, 200),
    ],
    ids=str,
)  # fmt: skip
def test_other_names_and_other_sites_are_refused(
    open_service: Open, crop: bytes, headers: dict[str, str], status: int
) -> None:
    found, _, answer = open_service().predict(crop, "", **headers)

    assert found == status
    assert (status == 403) == (answer["status"] == "error")


def test_a_name_that_is_allowed_is_known_as_host_and_origin(
    open_service: Open, crop: bytes
) -> None:
    token = 4 * "0123"
    service = open_service(allow_host=("fer.example.org",), token=token)
    bearer = {"Authorization": f"Bearer {token}"}
    ours = {"Origin": "https://fer.example.org"}

    assert service.predict(crop, Host="fer.example.org", **bearer, **ours)[0] == 200
    assert service.predict(crop, **bearer, **ours)[0] == 200
    assert service.predict(crop, Host="other.example.org", **bearer)[0] == 403


def test_a_token_is_demanded_of_the_api_alone(open_service: Open, crop: bytes) -> None:
    token = 4 * "0123"
    service = open_service(token=token)

    for given in ("", "Bearer", "Bearer x", f"Basic {token}", f"Bearer {token}x", "Bearer ü"):
        status, headers, answer = service.predict(crop, Authorization=given)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert token not in json.dumps(answer)
    assert service.ask("GET", "/api/models")[0] == 401
    assert service.predict(crop, Authorization=f"bearer {token}")[0] == 200
    assert service.ask("GET", "/healthz")[0] == 200
    assert service.ask("GET", "/openapi.json")[2]["components"]["securitySchemes"]


def test_two_first_requests_at_once_open_a_model_once(
    open_service: Open, crop: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, opened = open_service("tiny"), []

    def open_slowly(file: Any, **options: Any) -> Any:
        opened.append(file.title)
        time.sleep(0.2)
        return really(file, **options)

    really = open_runtime
    monkeypatch.setattr("fercli.serve.models.open_runtime", open_slowly)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(service.predict, [crop] * 4, ["?model=base"] * 4))

    assert [status for status, _, _ in answers] == [200] * 4
    assert opened == ["base"]


class Gate:
    """A model that waits until it may answer; remembers the sizes of its calls."""

    def __init__(self, models: ServedModels) -> None:
        runtime = models.open(models.default)
        self.answer = runtime.predict
        self.calls: list[int] = []
        self.is_open = threading.Event()
        vars(runtime)["predict"] = self.predict

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.calls.append(len(images))
        assert self.is_open.wait(30)
        return self.answer(images)


def test_many_clients_share_calls_of_the_model(open_service: Open, faces: Any) -> None:
    gates: list[Gate] = []
    service = open_service(prepare=lambda models: gates.append(Gate(models)))
    [gate] = gates
    threading.Timer(1, gate.is_open.set).start()
    images = []
    for number in range(64):
        stream = io.BytesIO()
        Image.fromarray(faces.images[number]).save(stream, "PNG")
        images.append(stream.getvalue())

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(service.predict, images))

    assert [status for status, _, _ in answers] == [200] * 64
    assert sum(gate.calls) == 64
    assert len(gate.calls) < 16
    alone = gate.answer(faces.images[:64])
    said = [list(rows[2]["data"]["rows"][0]["probabilities"].values()) for rows in answers]
    assert np.array(said) == pytest.approx(alone, abs=1e-6)


def test_beyond_the_queue_clients_are_sent_away(open_service: Open, crop: bytes) -> None:
    gates: list[Gate] = []
    service = open_service(prepare=lambda models: gates.append(Gate(models)), max_requests=2)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(service.predict, crop) for _ in range(2)]
        time.sleep(0.5)

        status, headers, answer = service.predict(crop)
        assert (status, headers["retry-after"]) == (503, "1")
        assert answer["errors"][0]["code"] == "busy"
        assert service.ask("GET", "/healthz")[0] == 200
        gates[0].is_open.set()

        assert [one.result()[0] for one in waiting] == [200, 200]
    assert service.predict(crop)[0] == 200


def test_a_request_without_end_does_not_keep_the_service(open_service: Open, crop: bytes) -> None:
    gates: list[Gate] = []
    service = open_service(prepare=lambda models: gates.append(Gate(models)), drain_s=0.3)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(service.predict, crop)
        time.sleep(0.5)

        started = time.perf_counter()
        service.stop()
        took_s = time.perf_counter() - started
        gates[0].is_open.set()

        status, headers, answer = waiting.result()
    assert 0.3 < took_s < 10
    assert (status, headers["retry-after"]) == (503, "1")
    assert say(answer) == "the service is shutting down"


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /api", b"GET /healthz HTTP/1.1\r\nHost: local"],
    ids=["nothing", "line", "headers"],
)
def test_a_client_that_does_not_say_what_it_wants_is_sent_away(
    open_service: Open, sent: bytes
) -> None:
    service = open_service(header_s=0.3)

    with service.connect() as connection:
        connection.sendall(sent)
        started = time.perf_counter()
        status, answer = read_answer(connection)

    assert (status, answer["errors"][0]["code"]) == (408, "slow-client")
    assert time.perf_counter() - started < 5


def test_trickling_headers_do_not_help(open_service: Open) -> None:
    service = open_service(header_s=0.5)

    with service.connect() as connection:
        for _ in range(100):
            time.sleep(0.05)
            try:
                connection.sendall(b"G")
            except OSError:
                break
        else:
            pytest.fail("it is still listened to")


@pytest.mark.parametrize("options", [{"idle_s": 0.3}, {"body_s": 0.5}], ids=["idle", "trickling"])
def test_a_body_that_does_not_come_is_given_up(
    open_service: Open, options: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "idle_s" in options:
        # How long the rest of a body is awaited after the answer; cut short, who still sends would
        # see a reset in place of it.
        monkeypatch.setattr("fercli.serve.guard._DISCARD_S", 0.3)
    service = open_service(**options)
    head = b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n"

    with service.connect() as connection:
        connection.sendall(head + b"Connection: close\r\n\r\nx")
        stopped = threading.Event()

        def trickle() -> None:
            while "body_s" in options and not stopped.wait(0.1):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        status, answer = read_answer(connection)
        stopped.set()
        thread.join()

    assert (status, answer["errors"][0]["code"]) == (408, "slow-client")


def test_what_is_no_http_is_refused_in_our_words(open_service: Open) -> None:
    with open_service().connect() as connection:
        connection.sendall(b"\x16\x03\x01nonsense\r\n\r\n")
        status, answer = read_answer(connection)

    assert (status, say(answer)) == (400, "the request is not valid HTTP")


def test_connections_have_a_limit(open_service: Open) -> None:
    service = open_service(max_connections=2)

    with service.connect(), service.connect():
        time.sleep(0.2)
        with service.connect() as third:
            status, answer = read_answer(third)
    time.sleep(0.2)

    assert (status, answer["errors"][0]["code"]) == (503, "busy")
    assert service.ask("GET", "/healthz")[0] == 200


def test_a_client_that_reads_no_answer_is_let_go(
    open_service: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fercli.serve.server._LINGER_S", 0.3)
    service = open_service(max_connections=1)
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"

    with service.connect() as connection:
        connection.settimeout(0.2)
        for _ in range(2000):
            try:
                connection.sendall(ask)
            except OSError:
                break
        for _ in range(50):
            if service.ask("GET", "/healthz")[0] == 200:
                break
            time.sleep(0.2)
        else:
            pytest.fail("its connection is still open")


def test_a_connection_is_used_again_after_a_refusal(open_service: Open, crop: bytes) -> None:
    service = open_service()
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    statuses = []
    for query in ("?model=x", "", "?faces=x", ""):
        connection.request("POST", f"/api/predict{query}", crop, {"Content-Type": "image/png"})
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()

    assert statuses == [400, 200, 400, 200]


def test_a_model_that_breaks_says_so_without_a_path(
    open_service: Open, crop: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def break_it(models: ServedModels) -> None:
        def predict(_images: Any) -> Any:
            message = "/home/me/secret.onnx is damaged"
            raise ModelFileError(message)

        vars(models.open("tiny"))["predict"] = predict

    status, _, answer = open_service(prepare=break_it).predict(crop)

    assert (status, answer["errors"][0]["code"], answer["exit_code"]) == (500, "model-file", 1)
    assert "secret" not in json.dumps(answer)
    assert "secret" in caplog.text


def test_a_bug_is_answered_and_logged(
    open_service: Open, crop: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def break_it(models: ServedModels) -> None:
        def predict(_images: Any) -> Any:
            message = "a secret"
            raise KeyError(message)

        vars(models.open("tiny"))["predict"] = predict

    status, headers, answer = open_service(prepare=break_it).predict(crop)

    assert (status, answer["errors"][0]["code"]) == (500, "error")
    assert headers["x-content-type-options"] == "nosniff"
    assert "secret" not in json.dumps(answer)
    assert "KeyError" in caplog.text


def test_a_model_of_ones_own_has_a_name_without_folders(
    open_service: Open, trained: RunFolder, crop: bytes, tmp_path: Path
) -> None:
    own = tmp_path / "plus.onnx"
    own.write_bytes(trained.onnx.read_bytes())

    for path, name in ((trained.path, "tiny"), (own, "own-plus")):
        models = ServedModels(str(path))
        assert models.default == (f"own-{name}" if name == "tiny" else name)
        assert len(models.names) == 4
    service = open_service(str(own))
    row = service.predict(crop)[2]["data"]["rows"][0]
    assert row["model"] == "own-plus"
    assert service.predict(crop, "?model=plus")[2]["data"]["rows"][0]["model"] == "plus"


def test_what_needs_torch_is_not_served(trained: RunFolder) -> None:
    with pytest.raises(ModelFileError, match="needs torch") as caught:
        ServedModels(str(trained.model))

    assert caught.value.hint == f"fer export {trained.model}, or give --model plus"


def test_the_description_fits_the_answers(open_service: Open, photo: Path) -> None:
    service = open_service("plus")
    _, _, described = service.ask("GET", "/openapi.json")
    _, _, answer = service.predict(photo.read_bytes())
    schemas = described["components"]["schemas"]

    assert described["openapi"] == "3.1.0"
    for name, value in (
        ("Prediction", answer), ("Result", answer["data"]), ("Row", answer["data"]["rows"][0]),
        ("Models", service.ask("GET", "/api/models")[2]),
    ):  # fmt: skip
        assert set(schemas[name]["required"]) == set(schemas[name]["properties"]) == set(value)
    parameters = {one["name"] for one in described["paths"]["/api/predict"]["post"]["parameters"]}
    assert parameters == {
        "model", "labels_of", "name", "faces", "min_confidence", "min_face",
    }  # fmt: skip
    for path in described["paths"]:
        assert service.ask("GET", path)[0] in {200, 405}


def test_answers_do_not_wait_for_acknowledgements() -> None:
    with listen(ServeConfig(port=0)) as listener:
        # What asyncio looks at before it turns Nagle's algorithm off.
        assert listener.socket.proto == socket.IPPROTO_TCP


def test_other_machines_need_a_token() -> None:
    with listen(ServeConfig(host="0.0.0.0", port=0)) as listener:  # noqa: S104  # what is tested
        assert listener.is_open
        assert listener.token_is_drawn
        assert len(listener.config.token or "") >= 32
        assert listener.url_with_token == f"{listener.url}#token={listener.config.token}"
        assert listener.url.startswith("http://127.0.0.1:")
    with listen(ServeConfig(host="localhost", port=0)) as listener:
        assert not listener.is_open
        assert listener.config.token is None
    with listen(ServeConfig(port=0, allow_host=("fer.example.org",))) as listener:
        assert listener.is_open
        assert listener.config.token


def test_any_address_may_be_a_host_where_all_are_listened_on(open_service: Open) -> None:
    service = open_service(host="0.0.0.0")  # noqa: S104  # what is tested

    for host, status in (("192.168.1.7:80", 200), ("[fe80::1]", 200), ("evil.example", 403)):
        assert service.ask("GET", "/healthz", headers={"Host": host})[0] == status


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"token": "short"}, "a token must be 16 or more"),
        ({"token": 16 * "ü"}, "a token must be"),
        ({"allow_host": ("a b",)}, "'a b' is not a host name"),
        ({"port": 70_000}, "port must be between"),
        ({"max_pixels": 10**9}, "max_pixels must be between"),
    ],
)  # fmt: skip
def test_odd_options_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        ServeConfig(**options)

    assert "short" not in str(caught.value)
