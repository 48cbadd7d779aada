from __future__ import annotations

import io
import os
import struct
import threading
import tracemalloc
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from fercli.config.limits import MOST_PIXELS
from fercli.errors import ImageDecodeError, ImageRefusedError
from fercli.images import (
    MEMORY,
    DecodedImage,
    convert_image,
    decode,
    load_image,
)
from fercli.images.decode import cut_rows
from fercli.images.limits import refuse_pixels
from fercli.images.memory import ByteBudget, Share
from fercli.images.png import StripedPng, cut_png

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.data import Dataset


@pytest.fixture
def gray(faces: Dataset) -> NDArray[np.uint8]:
    """One drawn face."""
    image: NDArray[np.uint8] = faces.images[0]
    return image


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_lossless_formats_give_the_same_pixels(gray: Any, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}

    found = load_image(encode(Image.fromarray(gray), kind, **options)).gray

    assert np.abs(found.astype(int) - gray).max() <= (1 if kind == "WEBP" else 0)


def test_jpeg_is_close(gray: Any) -> None:
    found = load_image(encode(Image.fromarray(gray), "JPEG", quality=95)).gray

    assert np.abs(found.astype(int) - gray).mean() < 3


def test_colors_do_not_change_the_gray_of_a_jpeg() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), "JPEG", quality=95)

    colored = load_image(content, color=True)

    assert colored.rgb is not None
    assert np.array_equal(colored.rgb, np.asarray(Image.open(io.BytesIO(content))))
    assert np.array_equal(colored.gray, load_image(content).gray)
    by_hand = np.asarray(Image.fromarray(colored.rgb).convert("L")).astype(int)
    assert np.abs(colored.gray - by_hand).mean() < 3


@pytest.mark.parametrize(
    ("enough_px", "reduction"), [(None, 1), (501, 1), (500, 2), (250, 4), (100, 8), (1, 8)]
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_is_reduced_as_far_as_is_enough(
    enough_px: int | None, reduction: int, mode: str
) -> None:
    content = encode(Image.new(mode, (1001, 43)), "JPEG")

    found = load_image(content, color=True, enough_px=enough_px)

    assert found.reduction == reduction
    assert (found.width, found.height) == (1001, 43)
    assert found.rgb is not None
    assert found.gray.shape == found.rgb.shape[:2] == (-(-43 // reduction), -(-1001 // reduction))


def test_sixteen_bits_are_scaled_not_clipped(gray: Any) -> None:
    wide = Image.fromarray(gray.astype(np.uint16) * 257)

    for kind in ("PNG", "TIFF"):
        assert np.array_equal(load_image(encode(wide, kind)).gray, gray)


def test_color_modes_give_the_same_pixels(gray: Any) -> None:
    plain = Image.fromarray(gray)
    opaque = plain.convert("RGBA")

    assert np.array_equal(load_image(encode(plain.convert("RGB"), "PNG")).gray, gray)
    assert np.array_equal(load_image(encode(opaque, "PNG")).gray, gray)
    assert np.array_equal(load_image(encode(plain.convert("LA"), "PNG")).gray, gray)
    assert np.array_equal(load_image(encode(plain.convert("P"), "PNG")).gray, gray)
    cmyk = plain.convert("RGB").convert("CMYK")
    assert np.abs(load_image(encode(cmyk, "TIFF")).gray.astype(int) - gray).max() <= 1


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    palette = Image.new("P", (4, 4), 0)

    assert load_image(encode(clear, "PNG")).gray.min() == 255
    assert load_image(encode(palette, "PNG", transparency=0)).gray.min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(gray: Any, orientation: int) -> None:
    turned = {
        1: gray, 2: gray[:, ::-1], 3: gray[::-1, ::-1], 4: gray[::-1], 5: gray.T,
        6: np.rot90(gray), 7: gray[::-1, ::-1].T, 8: np.rot90(gray, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation

    found = load_image(encode(Image.fromarray(turned.copy()), "PNG", exif=exif)).gray

    assert np.array_equal(found, gray)


def test_the_first_frame_counts(gray: Any) -> None:
    frames = [Image.fromarray(gray), Image.fromarray(255 - gray)]

    for kind in ("GIF", "TIFF"):
        content = encode(frames[0], kind, save_all=True, append_images=frames[1:])
        decoded = load_image(content)
        assert decoded.frames == 2
        assert np.array_equal(decoded.gray, gray)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.3, 0.6])
def test_truncated_files_are_refused(faces: Dataset, kind: str, part: float) -> None:
    big = Image.fromarray(np.concatenate(list(faces.images[:6])))
    content = encode(big, kind)

    with pytest.raises(ImageDecodeError):
        load_image(content[: int(len(content) * part)])


def test_float_pixels(gray: Any) -> None:
    unit = Image.fromarray((gray / 255).astype(np.float32))
    full = Image.fromarray(gray.astype(np.float32))

    assert np.array_equal(load_image(encode(unit, "TIFF")).gray, gray)
    assert np.array_equal(load_image(encode(full, "TIFF")).gray, gray)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 1000.0])
def test_float_pixels_without_brightness_are_refused(gray: Any, bad: float) -> None:
    values = gray.astype(np.float32)
    values[3, 3] = bad

    with pytest.raises(ImageDecodeError):
        load_image(encode(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize(("low", "high"), [(0, 65_536), (-1, 65_535)])
def test_integers_beyond_16_bits_are_refused(low: int, high: int) -> None:
    image = Image.fromarray(np.array([[low, 9], [9, high]], dtype=np.int32))

    with pytest.raises(ImageDecodeError, match=f"from {low} to {high} have no defined brightness"):
        load_image(encode(image, "TIFF"))


def test_which_number_is_white_is_told_by_the_largest() -> None:
    def read(mode: Any, *values: float) -> list[int]:
        image = Image.fromarray(np.array([values], dtype=mode))
        return list(map(int, load_image(encode(image, "TIFF")).gray[0]))

    assert read(np.int32, 0, 65_535) == [0, 255]
    assert read(np.float32, 0, 1) == [0, 255]
    assert read(np.float32, 0, 1.5) == [0, 2]
    assert read(np.float32, 0, 255) == [0, 255]
    with pytest.raises(ImageDecodeError, match=r"float pixels from 0 to 255\.5"):
        read(np.float32, 0, 255.5)


@pytest.mark.parametrize(
    ("kind", "mode", "counts_as"),
    [
        ("JPEG", "RGB", 20_000), ("WEBP", "RGB", 80_000), ("AVIF", "RGB", 45_000),
        ("TIFF", "RGB", 26_667), ("TIFF", "L", 20_000), ("PNG", "I;16", 26_667),
        ("PNG", "L", 20_000), ("BMP", "RGB", 20_000),
    ],
)  # fmt: skip
def test_what_is_decoded_as_a_whole_counts_for_more(
    kind: str, mode: str, counts_as: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encode(Image.new(mode, (200, 100)), kind)
    assert load_image(content, max_pixels=20_000).gray.shape == (100, 200)
    monkeypatch.setattr("fercli.images.decode._LIGHT_PIXELS", 0)

    assert load_image(content, max_pixels=counts_as).gray.shape == (100, 200)
    with pytest.raises(ImageRefusedError, match=r"200x100.* is more than") as refusal:
        load_image(content, max_pixels=counts_as - 1)
    assert refusal.value.hint == f"--max-pixels {counts_as}"


def test_size_is_capped_before_decoding() -> None:
    content = encode(Image.new("L", (200, 100)), "PNG")

    assert load_image(content, max_pixels=20_000).gray.shape == (100, 200)
    with pytest.raises(ImageDecodeError, match="200x100"):
        load_image(content, max_pixels=19_999)


def test_what_a_file_is_its_content_decides(gray: Any, tmp_path: Path) -> None:
    path = tmp_path / "face.jpg"
    path.write_bytes(encode(Image.fromarray(gray), "PNG"))

    assert np.array_equal(load_image(path).gray, gray)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"P5 2 2 255 abcd"]
)
def test_other_formats_are_refused(content: bytes) -> None:
    with pytest.raises(ImageDecodeError):
        load_image(content)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")

    for name in ("pipe.png", "loop.png", "missing.png", "."):
        with pytest.raises(ImageDecodeError):
            load_image(tmp_path / name)


def test_a_file_over_one_gib_is_refused_unread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[int] = []

    def read(_descriptor: int, size: int) -> bytes:
        asked.append(size)
        return b""

    # Holes: neither file takes space on the disk.
    for name, size in (("over.png", 2**30 + 1), ("at.png", 2**30)):
        with (tmp_path / name).open("wb") as stream:
            stream.truncate(size)

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read)
        with pytest.raises(ImageRefusedError) as refusal:
            load_image(tmp_path / "over.png")
        asked_over = list(asked)
        with pytest.raises(ImageDecodeError) as other:
            load_image(tmp_path / "at.png")

    assert refusal.value.message == "larger than 1073741824 bytes"
    assert asked_over == []
    assert asked[0] == 2**30
    assert not isinstance(other.value, ImageRefusedError)


def test_sides_are_capped() -> None:
    load_image(encode(Image.new("1", (1_000_000, 1)), "PNG"))
    content = encode(Image.new("1", (1_000_001, 1)), "PNG")

    with pytest.raises(ImageRefusedError, match="1000001x1 has a side of more"):
        load_image(content)


def draw(mode: str, height: int, width: int) -> Image.Image:
    """Return an image of random pixels."""
    generator = np.random.default_rng(height)
    kind, top = {
        "I;16": (np.uint16, 65536),
        "I": (np.int32, 65536),
        "F": (np.float32, 256),
    }.get(mode, (np.uint8, 256))
    shape = (height, width) if top > 256 or mode == "F" else (height, width, 4)
    image = Image.fromarray(generator.integers(0, top, shape).astype(kind))
    if mode == "P":
        image = image.convert("RGB").quantize(16)
        image.info["transparency"] = 3
    return image if image.mode == mode else image.convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_pixels_do_not_depend_on_the_strips(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    image = draw(mode, 37, 23)
    whole = convert_image(image, color=True)

    for n_pixels in (1, 100, 23 * 36):
        monkeypatch.setattr(decode, "_STRIP_PIXELS", n_pixels)
        found = convert_image(image, color=True)
        assert np.array_equal(found.gray, whole.gray)
        assert found.rgb is not None
        assert whole.rgb is not None
        assert np.array_equal(found.rgb, whole.rgb)


def test_numbers_are_rounded_to_the_nearest_gray() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    floats = np.random.default_rng(0).random((200, 200), dtype=np.float32)
    floats[0, :2] = 0, 1

    wanted = np.rint(every.astype(np.float64) * (255.0 / 65535)).astype(np.uint8)
    assert np.array_equal(load_image(encode(Image.fromarray(every), "PNG")).gray, wanted)
    wanted = np.rint(floats.astype(np.float64) * 255.0).astype(np.uint8)
    assert np.array_equal(load_image(encode(Image.fromarray(floats), "TIFF")).gray, wanted)


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "RGBA"])
def test_copies_are_small(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(decode, "_STRIP_PIXELS", 1 << 14)
    image = draw(mode, 1000, 1000)
    convert_image(image)

    tracemalloc.start()
    convert_image(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # The gray values are a byte each; float64 of all pixels would be eight.
    assert peak < 3_000_000


def test_large_images_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(encode(Image.new("L", (2000, 1000)), "PNG"))
    waiting = threading.Thread(target=load_image, args=(path,))

    with MEMORY.open_share() as share:
        share.resize(1 << 40)
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
    waiting.join(10)

    assert not waiting.is_alive()


class NotedShare(Share):
    """A share that notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__(ByteBudget(0))
        self.asked: list[int] = []

    def resize(self, n_bytes: int) -> None:
        self.asked.append(n_bytes)


@pytest.mark.parametrize(
    ("mode", "kind", "options", "color", "bytes_a_pixel"),
    [
        ("L", "PNG", {}, False, 1 + 1),
        ("L", "PNG", {}, True, 1 + 4),
        ("RGB", "PNG", {}, False, 4 + 1),
        ("I;16", "PNG", {}, False, 2 + 1),
        ("L", "TIFF", {}, False, 2 * 1 + 1),
        ("RGB", "WEBP", {}, False, 4 * 4 + 1),
        ("RGB", "AVIF", {}, False, 5 * 4 + 1),
        ("L", "JPEG", {}, False, 1 + 1),
        ("L", "JPEG", {"progressive": True}, False, 1 + 1 + 8),
    ],
)
def test_what_decoding_takes_is_asked_for_before(
    mode: str,
    kind: str,
    options: dict[str, Any],
    color: bool,  # noqa: FBT001  # a case
    bytes_a_pixel: int,
    tmp_path: Path,
) -> None:
    path = tmp_path / "image"
    path.write_bytes(encode(draw(mode, 48, 64), kind, **options))
    size = path.stat().st_size
    share = NotedShare()

    found = load_image(path, color=color, share=share)

    assert share.asked[:2] == [size, size + 48 * 64 * bytes_a_pixel]
    assert share.asked[-1] == found.n_bytes == 48 * 64 * (4 if color else 1)


def test_an_image_counts_its_colors_and_its_file() -> None:
    gray = np.zeros((5, 7), dtype=np.uint8)

    assert DecodedImage(gray, 1).n_bytes == 35
    assert DecodedImage(gray, 1, np.zeros((5, 7, 3), dtype=np.uint8)).n_bytes == 140
    assert DecodedImage(gray, 1, content=b"content").n_bytes == 42


def test_a_file_may_come_in_pieces(
    gray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "face.bmp"
    Image.fromarray(gray).save(path)
    read = os.read
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 100)))
        whole = load_image(path)
        # A file that became shorter meanwhile ends.
        patch.setattr(os, "read", lambda *_: b"")
        with pytest.raises(ImageDecodeError):
            load_image(path)

    assert np.array_equal(whole.gray, gray)


def test_an_image_without_pixels_is_refused() -> None:
    for size in ((0, 5), (5, 0)):
        with pytest.raises(ImageDecodeError, match="it has no pixels"):
            convert_image(Image.new("L", size))


def test_the_option_that_lifts_a_limit_is_named_where_it_may_be_lifted_so_far() -> None:
    for n_pixels, hint in ((MOST_PIXELS, f"--max-pixels {MOST_PIXELS}"), (MOST_PIXELS + 1, "")):
        refusal = refuse_pixels("a tile", n_pixels, 5)
        assert (refusal.message, refusal.hint) == ("a tile is more than 5 pixels", hint)


@pytest.mark.parametrize(
    ("width", "height", "n_rows"),
    [(1024, 3000, 1024), (1025, 3000, 1023), (1 << 20, 3, 1), (1 << 21, 3, 1), (48, 48, 48)],
)
def test_pieces_of_an_image_are_about_a_megapixel(width: int, height: int, n_rows: int) -> None:
    pieces = list(cut_rows(width, height))

    assert pieces[0] == slice(0, n_rows)
    assert [piece.start for piece in pieces] == [0, *(piece.stop for piece in pieces[:-1])]
    assert pieces[-1].stop == height


def cut_drawn(width: int, height: int, n_empty: int = 0) -> StripedPng | None:
    """Cut a PNG of nothing, with so many chunks of nothing before."""

    def pack(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    def open_image(content: bytes) -> Image.Image:
        if n_empty:
            return Image.new("LA", (1, 1))
        image = Image.open(io.BytesIO(content))
        image.load()
        return image

    head = struct.pack(">IIBBBBB", width, height, 8, 4, 0, 0, 0)
    pixels = zlib.compress(bytes((2 * width + 1) * min(height, 300)))
    chunks = [pack(b"IHDR", head), pack(b"teXt", b"") * n_empty, pack(b"IDAT", pixels)]
    return cut_png(b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + pack(b"IEND", b""), open_image)


def test_pngs_of_eight_megapixels_and_more_are_cut_into_strips_of_one() -> None:
    assert cut_drawn(4096, 2047) is None
    striped = cut_drawn(4096, 2048)
    assert striped is not None

    rows, strip = next(striped.cut())

    assert rows == slice(0, 256)
    assert (strip.size, strip.mode) == ((4096, 256), "LA")


def test_a_png_of_very_many_chunks_is_left_to_pillow() -> None:
    # The pixels' chunk and the last one count, too.
    assert cut_drawn(4096, 2048, 99_998) is not None
    assert cut_drawn(4096, 2048, 99_999) is None
