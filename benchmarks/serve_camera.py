"""The camera on the page of `fer serve`, end to end: faces a second, latency, time computed.

python benchmarks/serve_camera.py [--model plus] [--seconds 20] [--faces auto] [--write]

Chromium shows a recorded clip as its camera, 640 x 480 at 30 frames a second, without a GPU, on the
same cores as the service. The figures are the page's own, read once a second.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np
from _report import add_write_option, print_header, publish
from PIL import Image
from playwright.sync_api import sync_playwright
from serve import Served, count_cores, start
from skimage import data

FLAGS = ("--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream",
         "--use-fake-device-for-media-stream")  # fmt: skip
WARM_UP_S = 10
"""Until the page has found the size of frames that this machine is quick enough for."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="plus")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--faces", default="auto")
    add_write_option(parser)
    options = parser.parse_args()
    with publish("serve: camera", write=options.write):
        print_header("the camera on the page of `fer serve`, end to end")
        print(f"cores that may be used: {count_cores()}, by Chromium, too; other work runs beside")
        with tempfile.TemporaryDirectory() as folder, start(options.model) as served:
            clip = Path(folder) / "clip.mjpeg"
            draw_clip(clip)
            watch(served, clip, options.faces, options.seconds)


def draw_clip(path: Path) -> None:
    """Write what the camera sees: a face that moves from side to side."""
    astronaut = Image.fromarray(data.astronaut()).resize((480, 480))
    with path.open("wb") as stream:
        for phase in np.linspace(0, 2 * np.pi, 90, endpoint=False):
            frame = Image.new("RGB", (640, 480), (60, 62, 66))
            frame.paste(astronaut, (80 + round(60 * float(np.sin(phase))), 0))
            frame.save(stream, "JPEG", quality=85)


def watch(served: Served, clip: Path, faces: str, seconds: int) -> None:
    """Let the page read the camera, and print what it says."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={clip}"]
    n_answers = 0

    def count(url: str) -> None:
        nonlocal n_answers
        n_answers += "api/predict" in url

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("requestfinished", lambda request: count(request.url))
        page.goto(f"http://127.0.0.1:{served.port}/")
        page.wait_for_selector("#model option", state="attached")
        page.select_option("#faces", faces)
        page.click("#camera-start")
        page.wait_for_selector(".readings.big .reading")
        page.wait_for_timeout(1000 * WARM_UP_S)
        before = (n_answers, served.read_cpu_s(), read_browser_cpu_s())
        latencies_ms, rates = [], []
        for _ in range(seconds):
            page.wait_for_timeout(1000)
            latencies_ms.append(float(page.inner_text("#meter-latency")))
            rates.append(float(page.inner_text("#meter-rate")))
        after = (n_answers, served.read_cpu_s(), read_browser_cpu_s())
        n, service_s, browser_s = (b - a for a, b in zip(before, after, strict=True))
        print(f"{statistics.median(rates):.1f} faces/s, {min(rates):.1f} to {max(rates):.1f}")
        middle, worst = statistics.median(latencies_ms), max(latencies_ms)
        size = page.inner_text("#caption-detail")
        print(f"latency: median {middle:.0f} ms, worst second {worst:.0f} ms; {size}")
        print(f"computed for each of {n} answers: {1000 * service_s / n:.0f} ms by the service, "
              f"{1000 * browser_s / n:.0f} ms by Chromium")  # fmt: skip
        browser.close()


def read_browser_cpu_s() -> float:
    """Return the processor's time that Chromium's processes below this one have used."""
    below = [os.getpid()]
    total = 0.0
    for pid in below:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            below.extend(map(int, children.read_text(encoding="utf-8").split()))
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        name, _, rest = stat.partition("(")[2].rpartition(")")
        if name.startswith("chrom"):
            total += sum(map(int, rest.split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return total


if __name__ == "__main__":
    main()
