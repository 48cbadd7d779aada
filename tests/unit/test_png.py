"""Strips of a PNG are what Pillow makes of the whole."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fercli.errors import ImageDecodeError
from fercli.images import load_image
from fercli.images.png import cut_png


@pytest.fixture(autouse=True)
def _low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let images of some thousand pixels be large ones."""
    monkeypatch.setattr("fercli.images.png._WORTH_PIXELS", 100)
    monkeypatch.setattr("fercli.images.png._STRIP_PIXELS", 500)
    monkeypatch.setattr("fercli.images.png._PIECE_BYTES", 100)


def make_pixels(channels: int, height: int = 37, width: int = 61) -> np.ndarray[Any, Any]:
    """Return noise over slopes, of which a PNG takes all its filters."""
    generator = np.random.default_rng(channels)
    slopes = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)[..., None]
    noise = generator.integers(0, 40, (height, width, channels))
    noise[::3] *= 6
    return ((slopes + noise) % 256).astype(np.uint8)


def encode(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def load_whole(content: bytes, *, color: bool = True) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fercli.images.decode.cut_png", lambda *_: None)
        return load_image(content, color=color)


def cut(content: bytes) -> Any:
    def open_image(one: bytes) -> Image.Image:
        image = Image.open(io.BytesIO(one))
        image.load()
        return image

    return cut_png(content, open_image)


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("LA", 2), ("RGBA", 4)])
@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("orientation", [None, 6])
def test_strips_are_the_whole(
    mode: str,
    channels: int,
    color: bool,  # noqa: FBT001  # a case
    orientation: int | None,
) -> None:
    image = Image.fromarray(make_pixels(channels), mode)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    content = encode(image, exif=exif.tobytes())

    assert len(list(cut(content).cut())) == 5
    loaded, whole = load_image(content, color=color), load_whole(content, color=color)
    assert np.array_equal(loaded.gray, whole.gray)
    assert loaded.gray.shape == ((61, 37) if orientation else (37, 61))
    assert (loaded.rgb is None) == (not color)
    if loaded.rgb is not None:
        assert np.array_equal(loaded.rgb, whole.rgb)
    assert (loaded.frames, loaded.reduction) == (1, 1)


def test_a_transparent_color_is_white_in_every_strip() -> None:
    pixels = make_pixels(3)
    pixels[5:30:4, 7] = (1, 2, 3)
    content = encode(Image.fromarray(pixels), transparency=(1, 2, 3))

    loaded = load_image(content, color=True)

    assert loaded.rgb is not None
    assert (loaded.gray[5:30:4, 7] == 255).all()
    assert np.array_equal(loaded.rgb, load_whole(content).rgb)


def test_what_stands_behind_the_pixels_counts() -> None:
    plain = encode(Image.fromarray(make_pixels(3)))
    exif = Image.Exif()
    exif[0x0112] = 3
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    content = plain[:-12] + chunk + plain[-12:]

    assert np.array_equal(load_image(content).gray, load_image(plain).gray[::-1, ::-1])
    assert np.array_equal(load_image(content).gray, load_whole(content).gray)


def test_pixels_may_be_in_many_chunks() -> None:
    plain = encode(Image.fromarray(make_pixels(4)))
    begin, end = plain.index(b"IDAT") - 4, plain.index(b"IEND") - 4
    packed = plain[begin + 8 : end - 4]
    chunks = [packed[at : at + 7] for at in range(0, len(packed), 7)] + [b""]
    bodies = [b"IDAT" + one for one in chunks]
    split = b"".join(
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        for body in bodies
    )

    content = plain[:begin] + split + plain[end:]

    assert np.array_equal(load_image(content).gray, load_image(plain).gray)


def test_a_damaged_or_cut_file_is_refused() -> None:
    content = encode(Image.fromarray(make_pixels(4)))
    begin = content.index(b"IDAT")

    for cut_off in (begin + 5, begin + 400, len(content) // 2):
        with pytest.raises(ImageDecodeError, match="truncated"):
            load_image(content[:cut_off])
    damaged = bytearray(content)
    damaged[begin + 4 : begin + 8] = b"\xff" * 4
    with pytest.raises(ImageDecodeError, match="broken PNG file"):
        load_image(bytes(damaged))


@pytest.mark.parametrize(
    "kind", ["small", "palette", "sixteen", "interlaced", "animated", "chunks", "headless"]
)
def test_others_are_left_to_pillow(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(make_pixels(3))
    content = encode(image)
    if kind == "small":
        content = encode(image.crop((0, 0, 9, 11)))
    elif kind == "palette":
        content = encode(image.quantize())
    elif kind == "sixteen":
        content = encode(Image.fromarray(make_pixels(1)[..., 0].astype(np.uint16) * 257))
    elif kind == "interlaced":
        content = content[:28] + b"\1" + content[29:]
    elif kind == "animated":
        content = encode(image, save_all=True, append_images=[image.rotate(90)])
    elif kind == "chunks":
        monkeypatch.setattr("fercli.images.png._MOST_CHUNKS", 1)
    else:
        content = content[:33]

    assert cut(content) is None


def test_text_of_the_file_is_kept_in_the_shell(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("a", "b")
    path = tmp_path / "a.png"
    Image.fromarray(make_pixels(3)).save(path, pnginfo=info)

    shell = cut(path.read_bytes()).shell

    assert (shell.size, shell.info["a"]) == ((1, 1), "b")
