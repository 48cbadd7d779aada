"""The tutorial's page, in a real Chromium; FERCLI_ORT_WEB is the `dist` of onnxruntime-web."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from PIL import Image

import fercli

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

PAGE: Final = Path(__file__).parents[2] / "docs" / "tutorials" / "web-app.md"
CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
DIST: Final = os.environ.get("FERCLI_ORT_WEB", "")
FILES: Final = (
    "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm",
)  # fmt: skip
ASSETS: Final = Path(fercli.__file__).parent / "assets"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
    pytest.mark.skipif(not DIST, reason="FERCLI_ORT_WEB is not set"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where what the tutorial tells to put into a folder is served."""
    (html,) = re.findall(r"```html\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "index.html").write_text(html, encoding="utf-8")
    for name in FILES:
        shutil.copy(Path(DIST) / name, tmp_path / name)
    shutil.copy(ASSETS / "tiny.onnx", tmp_path / "face.onnx")
    model = fercli.load(ASSETS / "tiny.onnx")
    (tmp_path / "labels.json").write_text(json.dumps(model.labels))
    handler = functools.partial(Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_page_answers_as_fercli_does(address: str, photo: Path, tmp_path: Path) -> None:
    face = tmp_path / "crop.png"
    Image.open(photo).convert("RGB").crop((170, 60, 290, 180)).save(face)
    model = fercli.load(ASSETS / "tiny.onnx")
    (expected,) = model.predict(face, faces="whole")
    asked: list[str] = []
    wrong: list[str] = []

    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        page.wait_for_timeout(3000)
        page.set_input_files("input", str(face))
        page.wait_for_function("document.querySelector('#answer').textContent !== ''")
        lines = page.inner_text("#answer").splitlines()
        browser.close()

    shown = {line.split()[0]: float(line.split()[1]) / 100 for line in lines}
    assert wrong == []
    assert all(url.startswith((address, "blob:")) for url in asked)
    assert set(shown) == set(model.labels)
    # Chromium shrinks pictures by another filter than Pillow.
    for label, probability in expected.probabilities.items():
        assert shown[label] == pytest.approx(probability, abs=0.05), label
