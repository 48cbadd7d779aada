"""Take the pictures of the page of `fer serve` that README and docs show.

python scripts/picture_page.py [--every FOLDER]

Needs Chromium, the extra `serve` and the groups `browser` and `test`. With --every, pictures of
all states at 390 and 1280 pixels, light and dark, are written to a folder instead, to be looked at.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageFilter
from playwright.sync_api import sync_playwright
from skimage import data

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs" / "how-to"
FLAGS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
)  # fmt: skip
STATES: Final = ("empty", "photo", "many", "camera")
QUALITY: Final = 90
"""Of a picture that is kept, which then stays below 200 kB."""


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=Path, help="folder for pictures of every state")
    folder = parser.parse_args().every
    with tempfile.TemporaryDirectory() as name, serve(Path(name)) as address:
        photos = make_photos(Path(name))
        clip = make_clip(Path(name) / "clip.mjpeg")
        with open_browser(clip) as browser:
            if folder is None:
                keep(
                    show(browser, address, photos, "many", 1280, "light"), DOCS / "page-photos.webp"
                )
                keep(
                    show(browser, address, photos, "camera", 390, "dark"), DOCS / "page-camera.webp"
                )
                return
            folder.mkdir(parents=True, exist_ok=True)
            every = itertools.product(STATES, (390, 1280), ("light", "dark"))
            for state, width, scheme in every:
                content = show(browser, address, photos, state, width, scheme, whole=True)
                (folder / f"{state}-{width}-{scheme}.png").write_bytes(content)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Run `fer serve` and yield its address."""
    process = subprocess.Popen(  # our own command
        [sys.executable, "-m", "fercli", "serve", "--port", "0", "--model", "plus"],
        cwd=folder,
        env={**os.environ, "FERCLI_HOME": str(folder), "NO_COLOR": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr or ():
        if "serving on " in line:
            yield line.split("serving on ")[1].strip()
            break
    process.terminate()
    process.communicate()


@contextmanager
def open_browser(clip: Path) -> Iterator[Any]:
    """Yield a Chromium whose camera shows a clip."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={clip}"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


def make_photos(folder: Path) -> list[Path]:
    """Write photos from scikit-image's astronaut, which is in the public domain."""
    astronaut = Image.fromarray(data.astronaut())
    pair = Image.new("RGB", (760, 512))
    soft = astronaut.transpose(Image.Transpose.FLIP_LEFT_RIGHT).filter(ImageFilter.GaussianBlur(7))
    pair.paste(astronaut.crop((20, 0, 400, 512)), (0, 0))
    pair.paste(soft.crop((112, 0, 492, 512)), (380, 0))
    pictures = {
        "sharp and soft.jpg": pair,
        "astronaut.jpg": astronaut,
        "portrait.jpg": astronaut.crop((120, 10, 330, 250)),
        "coffee.jpg": Image.fromarray(data.coffee()),
    }
    for name, picture in pictures.items():
        picture.save(folder / name, quality=92)
    (folder / "cut off.jpg").write_bytes((folder / "astronaut.jpg").read_bytes()[:300])
    return [folder / name for name in (*pictures, "cut off.jpg")]


def make_clip(path: Path) -> Path:
    """Write what the camera sees: a face that moves a little and now and then is out of focus."""
    astronaut = Image.fromarray(data.astronaut()).crop((0, 0, 512, 384))
    with path.open("wb") as stream:
        for phase in np.linspace(0, 2 * np.pi, 300, endpoint=False):
            blur = max(0.0, float(8 * np.sin(phase)))
            frame = Image.new("RGB", (512, 384), (60, 62, 66))
            frame.paste(
                astronaut.filter(ImageFilter.GaussianBlur(blur)), (round(8 * np.sin(phase)), 0)
            )
            frame.save(stream, "JPEG", quality=85)
    return path


def show(  # noqa: PLR0913  # what a picture depends on
    browser: Any,  # noqa: ANN401  # playwright has no types where it is not installed
    address: str,
    photos: list[Path],
    state: str,
    width: int,
    scheme: str,
    *,
    whole: bool = False,
) -> bytes:
    """Return a picture of the page in a state, as PNG; `whole`: of all of it."""
    is_phone = width < 500
    context = browser.new_context(
        viewport={"width": width, "height": 980 if is_phone else 1000},
        color_scheme=scheme,
        is_mobile=is_phone,
        has_touch=is_phone,
    )
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#model option", state="attached")
    if state in {"photo", "many"}:
        chosen = photos if state == "many" else photos[1:2]
        page.set_input_files("#files", [str(path) for path in chosen])
        page.wait_for_selector(f"#film li:nth-child({len(chosen)})", state="attached")
        page.wait_for_selector("#progress", state="hidden")
        page.wait_for_selector(f"#rows tr:nth-child({len(chosen)})")
        page.wait_for_timeout(1500)
    if state == "camera":
        page.click("#camera-start")
        page.wait_for_selector(".readings.big .reading")
        page.wait_for_timeout(62_000 if not whole else 8_000)
        page.wait_for_selector(".answer-label:text-is('neutral')")
        page.wait_for_selector(".answer-label:text-is('happy')")
        page.wait_for_timeout(1_500)
    content: bytes = page.screenshot(full_page=whole)
    context.close()
    return content


def keep(content: bytes, path: Path) -> None:
    """Write a picture as WebP: few colors, as of a PNG this small, would mix those of labels."""
    Image.open(io.BytesIO(content)).convert("RGB").save(path, quality=QUALITY, method=6)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
