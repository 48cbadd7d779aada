"""The page of `fer serve` in a real Chromium, against the real service."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image, ImageChops

from fercli.prediction.writers import RowLayout

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
pytest.importorskip("starlette", reason="the extra `serve` is not installed")

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
)  # fmt: skip
LABELS: Final = (
    "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral", "contempt",
)  # fmt: skip
HOSTILE: Final = (
    "<img src=x onerror=alert(1)>.png",
    '"quoted", and comma.png',
    "=HYPERLINK(A1).png",
    "two\nlines & \u202emore.png",
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
    # The browser answers when it can; on a busy machine that takes a while.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

Start = Callable[..., str]


@pytest.fixture(scope="module")
def start_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start `fer serve` in a process of its own and return its address."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> str:
        folder = tmp_path_factory.mktemp("serving")
        process = subprocess.Popen(
            [sys.executable, "-m", "fercli", "serve", "--port", "0", *words],
            cwd=folder,
            env={**os.environ, "FERCLI_HOME": str(folder / "home"), "NO_COLOR": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if "serving on " in line:
                return line.split("serving on ")[1].strip()
        pytest.fail("fer serve ended before it was ready")

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def address(start_service: Start) -> str:
    """One service for all tests."""
    return start_service()


@pytest.fixture(scope="module")
def camera_clip(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the camera sees: a face that moves slowly from side to side, 30 frames a second."""
    path = tmp_path_factory.mktemp("camera") / "clip.mjpeg"
    picture = Image.open(photo).resize((360, 360))
    with path.open("wb") as stream:
        for phase in np.linspace(0, 2 * np.pi, 60, endpoint=False):
            frame = Image.new("RGB", (480, 360), (60, 62, 66))
            frame.paste(picture, (20 + round(20 * np.sin(phase)), 0))
            frame.save(stream, "JPEG", quality=85)
    return path


@pytest.fixture(scope="module")
def browser(camera_clip: Path) -> Iterator[Any]:
    """A Chromium, whose camera shows the clip."""
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=[*FLAGS, f"--use-file-for-fake-video-capture={camera_clip}"],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Open the page; whatever it does, it asks our own origin only and nothing goes wrong in it."""
    contexts: list[Any] = []
    wrong: list[str] = []
    asked: set[str] = set()

    def note(message: Any) -> None:
        # Browsers log every status from 400 on; those are looked at where they are expected.
        expected = ("status of", "ERR_FILE_NOT_FOUND", "ERR_UPLOAD_FILE_CHANGED")
        if message.type in {"error", "warning"} and not any(
            one in message.text for one in expected
        ):
            wrong.append(message.text)

    def open_one(path: str = "", *, url: str = address, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.answers = []
        page.on("console", note)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("request", lambda request: asked.add(request.url))
        # playwright keeps its own mark on what it calls, which a bound method cannot carry.
        page.on("response", lambda response: page.answers.append(response))  # noqa: PLW0108
        page.goto(url + path)
        page.wait_for_selector("#model option", state="attached")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert wrong == []
    schemes = {(urlsplit(url).scheme, urlsplit(url).hostname) for url in asked}
    assert schemes <= {("http", "127.0.0.1"), ("blob", None)}


@pytest.fixture(scope="module")
def pictures(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures: turned by EXIF, several faces, without a face, broken."""
    folder = tmp_path_factory.mktemp("pictures")
    picture = Image.open(photo)
    shutil.copy(photo, folder / "astronaut.png")
    turned = picture.rotate(90, expand=True)
    orientation = Image.Exif()
    orientation[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=orientation, quality=92)
    face = picture.crop((120, 20, 330, 300))
    group = Image.new("RGB", (900, 640), (90, 96, 104))
    for index in range(8):
        group.paste(face, (10 + 225 * (index % 4), 20 + 310 * (index // 4)))
    group.save(folder / "group.png")
    picture.save(folder / "undisplayed.tif")
    Image.new("RGB", (300, 200), (90, 96, 104)).save(folder / "wall.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    return folder


@pytest.fixture(scope="module")
def expected(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `fer predict --json` says of these pictures: rows by file name."""
    answer = subprocess.run(
        [sys.executable, "-m", "fercli", "predict", "--json", "--model", "plus", str(pictures)],
        cwd=tmp_path_factory.mktemp("predicting"),
        capture_output=True,
        text=True,
        check=False,
    )
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(answer.stdout)["data"]["rows"]:
        rows.setdefault(Path(row["path"]).name, []).append(row)
    return rows


def read(page: Any, *paths: Path, n_rows: int = 1) -> None:
    """Give files to the page and wait for their rows."""
    page.set_input_files("#files", [str(path) for path in paths])
    wait_for_rows(page, n_rows)


def wait_for_rows(page: Any, n_rows: int) -> None:
    page.wait_for_selector(f"#rows tr:nth-child({n_rows})")


def download(page: Any, button: str) -> bytes:
    with page.expect_download() as started:
        page.click(button)
    return Path(started.value.path()).read_bytes()


def save_rows(page: Any) -> list[dict[str, Any]]:
    """Return the rows of the session as they are downloaded."""
    rows: list[dict[str, Any]] = json.loads(download(page, "#save-json"))
    return rows


def find_boxes(page: Any, width: int) -> list[list[float]]:
    """Return where boxes lie on the shown picture, in pixels of a picture so wide."""
    boxes: list[list[float]] = page.evaluate(
        """(width) => {
            const shown = [...document.querySelectorAll("#frame > :not([hidden], svg)")][0];
            const outer = shown.getBoundingClientRect();
            const scale = width / outer.width;
            return [...document.querySelectorAll("#overlay .box")].map((box) => {
                const one = box.getBoundingClientRect();
                return [one.left - outer.left, one.top - outer.top, one.width, one.height]
                    .map((value) => value * scale);
            });
        }""",
        width,
    )
    return boxes


def overlaps(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(a[at] < b[at] + b[at + 2] - 1 and b[at] < a[at] + a[at + 2] - 1 for at in (0, 1))


@pytest.mark.parametrize("name", ["astronaut.png", "turned.jpg", "group.png", "undisplayed.tif"])
def test_boxes_lie_where_the_command_line_puts_them(
    open_page: Callable[..., Any], pictures: Path, expected: dict[str, Any], name: str
) -> None:
    page = open_page()
    rows = expected[name]

    read(page, pictures / name, n_rows=len(rows))
    page.wait_for_selector("#overlay .box")

    boxes = find_boxes(page, rows[0]["image_width"])
    assert np.allclose(boxes, [row["box"] for row in rows], atol=1.5)
    got = save_rows(page)
    for mine, row in zip(got, rows, strict=True):
        assert mine["label"] == row["label"]
        assert mine["probabilities"] == pytest.approx(row["probabilities"], abs=1e-6)
    noun = "1 face" if len(rows) == 1 else f"{len(rows)} faces"
    assert page.get_attribute("#photo", "alt").startswith(f"{name}: {noun}: {rows[0]['label']}")
    assert page.is_visible("#blank") == (name == "undisplayed.tif")
    assert page.locator(".reading").count() == len(rows)
    assert page.locator(".reading >> nth=0 >> .bar-row").count() == len(LABELS)


def test_tags_cover_no_other_tag(open_page: Callable[..., Any], pictures: Path) -> None:
    page = open_page()

    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        read(page, pictures / "group.png", n_rows=8)
        page.wait_for_selector("#overlay .tag")
        tags = page.eval_on_selector_all(
            "#overlay .tag",
            "(all) => all.map((tag) => ['x', 'y', 'width', 'height']"
            ".map((key) => Number(tag.getAttribute(key))))",
        )

        assert len(tags) == 8
        assert not any(overlaps(a, b) for i, a in enumerate(tags) for b in tags[:i])


def test_downloads_hold_the_rows_of_the_service(
    open_page: Callable[..., Any], pictures: Path
) -> None:
    page = open_page()
    names = ["group.png", "broken.jpg", "wall.png"]
    given: list[dict[str, Any]] = []

    def listen(route: Any) -> None:
        answer = route.fetch()
        given.extend(answer.json()["data"]["rows"])
        route.fulfill(response=answer)

    page.route("**/api/predict?*", listen)

    read(page, *(pictures / name for name in names), n_rows=10)

    rows = save_rows(page)
    assert sorted(rows, key=str) == sorted(given, key=str)
    assert [row["path"] for row in rows] == ["group.png"] * 8 + ["broken.jpg", "wall.png"]
    lines = list(csv.reader(io.StringIO(download(page, "#save-csv").decode("utf-8-sig"))))
    layout = RowLayout(LABELS)
    assert lines[0] == layout.columns
    for line, row in zip(lines[1:], rows, strict=True):
        probabilities = row["probabilities"] or {}
        flat = {**row, **{f"p_{label}": probabilities.get(label) for label in LABELS}}
        flat.update(zip(("box_x", "box_y", "box_width", "box_height"), row["box"] or [None] * 4))  # noqa: B905
        for name, cell in zip(layout.columns, line, strict=True):
            value = flat[name]
            assert (float(cell) if isinstance(value, int | float) else cell or None) == value


def test_the_annotated_picture_is_saved(open_page: Callable[..., Any], pictures: Path) -> None:
    page = open_page()
    read(page, pictures / "astronaut.png")
    page.wait_for_selector("#overlay .box")

    with page.expect_download() as started:
        page.click("#save-picture")

    assert started.value.suggested_filename == "astronaut-annotated.png"
    saved = Image.open(started.value.path()).convert("RGB")
    original = Image.open(pictures / "astronaut.png").convert("RGB")
    assert saved.size == original.size
    x, y, width, height = save_rows(page)[0]["box"]
    changed = ImageChops.difference(saved, original).getbbox()
    assert changed is not None
    assert changed[0] <= x <= x + width <= changed[2]
    assert changed[3] == pytest.approx(y + height, abs=4)


def test_a_folder_is_read_with_a_reason_for_what_is_broken(
    open_page: Callable[..., Any], pictures: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "holiday"
    shutil.copytree(pictures, folder / "day one")
    (folder / "notes.txt").write_text("no picture", encoding="utf-8")
    shutil.copy(pictures / "wall.png", folder / ".hidden.png")
    page = open_page()

    page.set_input_files("#folder", str(folder))
    wait_for_rows(page, 13)

    rows = save_rows(page)
    assert [row["path"] for row in rows] == [
        f"holiday/day one/{name}"
        for name in sorted(expected)
        for _ in expected[name]
    ]  # fmt: skip
    assert page.inner_text("#film-count") == "6 \u00b7 1 other file passed over"
    broken = page.locator("#rows tr", has_text="broken.jpg")
    assert broken.locator(".reason-cell").inner_text().startswith("cannot be read ")
    assert page.locator("#film li").count() == 6
    page.click('.tile[aria-label*="broken.jpg"]')
    assert page.locator("#message").inner_text().startswith("It cannot be read: ")


def test_names_of_files_are_text_and_nothing_else(
    open_page: Callable[..., Any], pictures: Path
) -> None:
    page = open_page()
    content = (pictures / "astronaut.png").read_bytes()

    payloads = [{"name": name, "mimeType": "image/png", "buffer": content} for name in HOSTILE]
    page.set_input_files("#files", payloads)
    wait_for_rows(page, len(HOSTILE))

    shown = page.eval_on_selector_all("#rows .link", "(all) => all.map((one) => one.textContent)")
    assert shown == list(HOSTILE)
    assert page.locator("#rows img, .film img, [src='x']").count() == 0
    lines = list(
        csv.reader(io.StringIO(download(page, "#save-csv").decode("utf-8-sig"), newline=""))
    )
    assert [line[0] for line in lines[1:]] == [HOSTILE[0], HOSTILE[1], f"'{HOSTILE[2]}", HOSTILE[3]]


def test_dropped_and_pasted_pictures_are_read(
    open_page: Callable[..., Any], pictures: Path
) -> None:
    page = open_page()
    content = base64.b64encode((pictures / "astronaut.png").read_bytes()).decode()

    for number, event in enumerate(["drop", "paste"], start=1):
        page.evaluate(
            """([event, content]) => {
                const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], `${event}.png`, { type: "image/png" }));
                const given = event === "drop"
                    ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true })
                    : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true });
                document.body.dispatchEvent(given);
            }""",
            [event, content],
        )
        wait_for_rows(page, number)

    assert [row["path"] for row in save_rows(page)] == ["drop.png", "paste.png"]


def test_a_busy_service_is_asked_again_and_never_by_three(
    open_page: Callable[..., Any], pictures: Path
) -> None:
    page = open_page()
    at_once: list[int] = []
    times: list[float] = []
    flying = 0

    def answer(route: Any) -> None:
        nonlocal flying
        times.append(time.monotonic())
        if len(times) == 1:
            error = {"code": "busy", "message": "the queue is full", "hint": ""}
            body = json.dumps({"data": {"rows": []}, "errors": [error]})
            route.fulfill(status=503, headers={"Retry-After": "1"}, body=body)
            return
        route.continue_()

    def count(by: int) -> None:
        nonlocal flying
        flying += by
        at_once.append(flying)

    page.on("request", lambda one: count(1) if "api/predict" in one.url else None)
    page.on("requestfinished", lambda one: count(-1) if "api/predict" in one.url else None)
    page.route("**/api/predict?*", answer)
    names = ["astronaut.png", "turned.jpg", "wall.png", "broken.jpg"]
    read(page, *(pictures / name for name in names), n_rows=4)

    assert len(times) == 5
    assert max(at_once) == 2
    assert max(times) - times[0] > 0.9
    rows = save_rows(page)
    assert [row["path"] for row in rows] == names


def test_reading_can_be_cancelled_and_gone_on_with(
    open_page: Callable[..., Any], pictures: Path
) -> None:
    page = open_page()
    held: list[Any] = []
    page.route("**/api/predict?*", lambda route: held.append(route))  # noqa: PLW0108  # as above

    page.set_input_files("#files", [str(pictures / "astronaut.png")] * 5)
    page.wait_for_selector("#progress:not([hidden])")
    assert page.inner_text("#progress-text") == "0 of 5 read"
    page.click("#cancel")
    page.wait_for_selector("#resume:not([hidden])")
    assert "stopped" in page.inner_text("#progress-text")
    page.unroute("**/api/predict?*")
    page.click("#resume")
    wait_for_rows(page, 5)

    page.wait_for_selector("#progress", state="hidden")
    assert page.locator("#rows tr").count() == 5


def test_a_file_that_is_gone_has_its_row_and_the_rest_goes_on(
    open_page: Callable[..., Any], pictures: Path, tmp_path: Path
) -> None:
    page = open_page()
    held: list[Any] = []
    is_gone = False
    page.route(
        "**/api/predict?*", lambda route: route.continue_() if is_gone else held.append(route)
    )
    names = ["a.png", "b.png", "gone.png", "d.png"]
    for name in names:
        shutil.copy(pictures / "wall.png", tmp_path / name)

    page.set_input_files("#files", [str(tmp_path / name) for name in names])
    page.wait_for_selector('.tile[data-state="reading"]')
    (tmp_path / "gone.png").unlink()
    is_gone = True
    for route in held:
        route.continue_()
    page.wait_for_selector("#rows tr:nth-child(4)")

    rows = save_rows(page)
    assert [(row["path"], row["status"]) for row in rows] == [
        ("a.png", "no_face"),
        ("b.png", "no_face"),
        ("gone.png", "unreadable"),
        ("d.png", "no_face"),
    ]
    assert rows[2]["reason"] == "the file is gone, was changed or may not be read"
    assert not page.is_visible("#notice")


def test_another_model_reads_the_pictures_again(
    open_page: Callable[..., Any], pictures: Path
) -> None:
    page = open_page()
    read(page, pictures / "astronaut.png")
    page.wait_for_selector(".reading")

    page.select_option("#model", "base")
    assert "FER2013" in page.inner_text("#model-purpose")
    page.click("#again")
    page.wait_for_selector("#rows tr:has-text('base')")

    rows = save_rows(page)
    assert [row["model"] for row in rows] == ["base"]
    page.wait_for_selector("#again", state="hidden")
    assert page.locator(".reading .bar-row").count() == 7


def test_the_camera_is_read_live(
    open_page: Callable[..., Any], record_property: Callable[[str, object], None]
) -> None:
    page = open_page()

    page.click("#camera-start")
    page.wait_for_selector(".readings.big .reading")
    page.wait_for_timeout(6000)

    assert page.evaluate("document.activeElement.id") == "camera-stop"
    latency_ms, faces_per_s, n_dropped = (
        float(page.inner_text(f"#meter-{name}").replace(",", ""))
        for name in ("latency", "rate", "dropped")
    )
    for name, value in (("latency_ms", latency_ms), ("faces_per_s", faces_per_s)):
        record_property(name, value)
    print(f"camera: {faces_per_s} faces/s, {latency_ms} ms, {n_dropped:.0f} frames dropped")  # noqa: T201
    assert latency_ms > 0
    assert faces_per_s > 0
    assert page.locator("#video.mirrored").count() == 1

    page.click("#camera-stop")
    page.wait_for_selector("#camera-start:not([hidden])")
    page.wait_for_selector("#still:not([hidden])")
    rows = save_rows(page)
    assert {row["path"] for row in rows} == {"camera"}
    assert [row["time_s"] for row in rows] == sorted(row["time_s"] for row in rows)
    last = rows[-1]
    assert max(last["image_width"], last["image_height"]) <= 640
    [box] = find_boxes(page, last["image_width"])
    x, y, width, height = last["box"]
    assert box == pytest.approx([last["image_width"] - x - width, y, width, height], abs=2)
    requests = [answer.request for answer in page.answers if "api/predict" in answer.url]
    spans = sorted((one.timing["startTime"], one.timing["responseEnd"]) for one in requests)
    ends = [start + took for start, took in spans]
    starts = [start for start, _ in spans]
    assert all(end <= start + 1 for end, start in zip(ends, starts[1:], strict=False))


def test_a_camera_started_again_counts_anew_and_is_let_go(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.evaluate(
        """() => {
            const { mediaDevices } = navigator;
            const ask = mediaDevices.getUserMedia.bind(mediaDevices);
            window.tracks = [];
            mediaDevices.getUserMedia = async (wish) => {
                const stream = await ask(wish);
                window.tracks.push(...stream.getTracks());
                return stream;
            };
        }"""
    )
    for _ in range(3):
        # Twice at once, as somebody does who sees nothing happen.
        page.evaluate(
            "() => { for (const _ of [1, 2]) document.querySelector('#camera-start').click(); }"
        )
        page.wait_for_selector(".readings.big .reading")
        page.wait_for_timeout(1500)
        page.click("#camera-stop")
        page.wait_for_selector("#camera-start:not([hidden])")
        page.wait_for_selector("#still:not([hidden])")

    states = page.evaluate("window.tracks.map((track) => track.readyState)")
    assert states == ["ended"] * 3
    # The clip has 30 frames a second, which three loops would count three times.
    last = save_rows(page)[-1]
    assert last["frame"] < 40 * last["time_s"] + 10


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("NotAllowedError", "The camera is not allowed for this page"),
        ("NotFoundError", "No camera was found"),
    ],
)
def test_no_camera_is_one_sentence(open_page: Callable[..., Any], name: str, sentence: str) -> None:
    page = open_page()
    page.evaluate(
        """(name) => {
            navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", name); };
        }""",
        name,
    )

    page.click("#camera-start")

    page.wait_for_selector("#notice:not([hidden])")
    assert page.inner_text("#notice-message").startswith(sentence)
    assert page.is_visible("#camera-start")
    assert page.locator("#film li").count() == 0


def test_a_video_is_sampled_in_the_browser(
    open_page: Callable[..., Any], make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    page = open_page()
    clip = make_clip(tmp_path / "clip.webm", "ffff--bbbb" + "f" * 10)

    read(page, clip, n_rows=12)
    page.wait_for_selector("#video:not([hidden])")

    rows = save_rows(page)
    times = [row["time_s"] for row in rows]
    assert times == pytest.approx(
        [0, 0.2, 0.4, 0.6, 0.6, 0.8, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8], abs=0.002
    )
    assert [row["status"] for row in rows] == ["ok", "ok", "no_face", *["ok"] * 9]
    assert {row["path"] for row in rows} == {"clip.webm"}
    sent = [answer.request for answer in page.answers if "api/predict" in answer.url]
    assert {one.headers["content-type"] for one in sent} == {"image/jpeg"}
    assert page.inner_text("#strip-to").endswith(" s")


def test_all_can_be_done_by_keyboard(open_page: Callable[..., Any], pictures: Path) -> None:
    page = open_page()
    # Choosers are caught from now on; asked for at the last moment, they may come too early.
    page.on("filechooser", lambda _: None)
    seen: list[str] = []

    def press_tab_until(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            at = page.evaluate(
                """() => {
                    const { id, className } = document.activeElement;
                    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
                    return [id || className, outlineStyle, outlineWidth];
                }"""
            )
            assert at[1] != "none", f"the focus cannot be seen on {at[0]}"
            seen.append(at[0])
            if at[0] == name:
                return
        pytest.fail(f"{name} cannot be reached: {seen}")

    press_tab_until("skip")
    press_tab_until("pick-files")
    with page.expect_file_chooser() as chosen:
        page.keyboard.press("Enter")
    chosen.value.set_files([str(pictures / name) for name in ("astronaut.png", "wall.png")])
    wait_for_rows(page, 2)
    for name in ("pick-folder", "camera-start", "next", "save-picture", "model", "faces", "tile"):
        press_tab_until(name)
    page.keyboard.press("ArrowRight")
    page.wait_for_selector('.tile[aria-current][aria-label^="wall.png"]')
    assert page.inner_text("#message").startswith("No face was found")
    for name in ("save-csv", "save-json", "clear", "table-scroll", "link"):
        press_tab_until(name)
    page.keyboard.press("Enter")
    page.wait_for_selector('.tile[aria-current][aria-label^="astronaut.png"]')


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_serious_to_axe_and_nothing_sticks_out(
    open_page: Callable[..., Any], pictures: Path, width: int, scheme: str
) -> None:
    page = open_page(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 844})

    def look(state: str) -> None:
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{state}: {wide} pixels too wide"
        found = axe.Axe().run(page).response["violations"]
        serious = [one for one in found if one["impact"] in {"serious", "critical"}]
        assert serious == [], f"{state}: {[(one['id'], one['nodes']) for one in serious]}"

    look("empty")
    read(page, pictures / "group.png", pictures / "broken.jpg", n_rows=9)
    page.wait_for_selector("#overlay .box")
    look("photos")
    page.click("#camera-start")
    page.wait_for_selector(".readings.big .reading")
    look("camera")


def test_the_token_is_taken_out_of_the_address(
    open_page: Callable[..., Any], start_service: Start, pictures: Path
) -> None:
    url = start_service("--token", "a-secret-of-the-tests").split("#")[0]

    page = open_page("#token=a-secret-of-the-tests", url=url)

    assert page.url == url
    read(page, pictures / "astronaut.png")
    sent = [answer.request for answer in page.answers if "api/" in answer.url]
    assert {one.headers["authorization"] for one in sent} == {"Bearer a-secret-of-the-tests"}
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [
        0, 0, "",
    ]  # fmt: skip

    page.reload()
    page.wait_for_selector("#token-form:not([hidden])")
    assert "token" in page.inner_text("#notice")
    page.fill("#token", "a-secret-of-the-tests")
    page.keyboard.press("Enter")
    page.wait_for_selector("#token-form", state="hidden")
    read(page, pictures / "astronaut.png")


def test_parallel_requests_are_named_by_their_files(
    open_page: Callable[..., Any], pictures: Path
) -> None:
    page = open_page()

    read(page, pictures / "astronaut.png", pictures / "wall.png", n_rows=2)

    sent = [answer.url for answer in page.answers if "api/predict" in answer.url]
    names = {parse_qs(urlsplit(url).query)["name"][0] for url in sent}
    assert names == {"astronaut.png", "wall.png"}
