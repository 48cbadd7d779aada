from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from fercli.errors import ImageRefusedError
from fercli.images import (
    decode,
    load_image,
    structure,
)

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


def add_frames(content: bytes, n_frames: int) -> bytes:
    """Return a little-endian TIFF with frames that list nothing behind its own."""
    changed = bytearray(content + bytes(len(content) % 2))
    (first,) = struct.unpack_from("<I", changed, 4)
    (n_entries,) = struct.unpack_from("<H", changed, first)
    struct.pack_into("<I", changed, first + 2 + 12 * n_entries, len(changed))
    for left in range(n_frames - 1, -1, -1):
        changed += struct.pack("<HI", 0, len(changed) + 6 if left else 0)
    return bytes(changed)


def make_gif(n_frames: int) -> bytes:
    content = encode(Image.new("L", (4, 4)), "GIF")
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x00"
    return content[:-1] + frame * (n_frames - 1) + b";"


def repeat_scan(content: bytes, n_scans: int) -> bytes:
    """Return a JPEG whose last scan comes again until there are so many."""
    at = content.rindex(b"\xff\xda")
    times = n_scans - content.count(b"\xff\xda") + 1
    return content[:at] + content[at:-2] * times + content[-2:]


def test_frames_are_counted_with_a_bound(gray: Any) -> None:
    tiff = encode(Image.fromarray(gray), "TIFF")

    for make in (lambda n: add_frames(tiff, n - 1), make_gif):
        assert load_image(make(structure.MAX_FRAMES)).frames == structure.MAX_FRAMES
        with pytest.raises(ImageRefusedError, match="more than 10,000 frames"):
            load_image(make(structure.MAX_FRAMES + 1))


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}, {"compression": "tiff_lzw"}])
def test_frames_of_a_tiff_are_those_that_pillow_counts(gray: Any, options: Any) -> None:
    frames = [Image.fromarray(gray + number) for number in range(5)]
    content = encode(frames[0], "TIFF", save_all=True, append_images=frames[1:], **options)

    assert load_image(content).frames == Image.open(io.BytesIO(content)).n_frames == 5  # type: ignore[attr-defined]  # of this format


def test_a_chain_of_frames_may_be_a_ring_or_torn(gray: Any) -> None:
    content = bytearray(add_frames(encode(Image.fromarray(gray), "TIFF"), 3))
    for link in (content[4:8], struct.pack("<I", 1 << 30)):
        content[-4:] = link

        decoded = load_image(bytes(content))

        assert decoded.frames in {4, 5}
        assert np.array_equal(decoded.gray, gray)


def test_scans_of_a_jpeg_are_counted_with_a_bound(gray: Any) -> None:
    plain = encode(Image.fromarray(gray), "JPEG", progressive=True)
    exif = Image.Exif()
    exif[0x010E] = (b"\xff\xda" * 500).decode("latin-1")
    metadata = encode(Image.fromarray(gray), "JPEG", progressive=True, exif=exif)

    # Scans of a preview or of what comes behind the image are none of its own.
    assert np.array_equal(load_image(metadata).gray, load_image(plain).gray)
    assert np.array_equal(load_image(plain + plain * 200).gray, load_image(plain).gray)
    load_image(repeat_scan(plain, 100))
    with pytest.raises(ImageRefusedError, match="more than 100 scans"):
        load_image(repeat_scan(plain, 101))
    with pytest.raises(ImageRefusedError, match="more than 100 scans"):
        load_image(repeat_scan(encode(Image.fromarray(gray), "JPEG"), 101))


def test_a_large_jpeg_may_have_fewer_scans(monkeypatch: pytest.MonkeyPatch, gray: Any) -> None:
    plain = encode(Image.fromarray(gray), "JPEG", progressive=True)
    monkeypatch.setattr(structure, "_MAX_SCANNED_PIXELS", 48 * 48 * 50)

    load_image(repeat_scan(plain, 50))
    with pytest.raises(ImageRefusedError, match="51 scans of 2304 pixels"):
        load_image(repeat_scan(plain, 51))


def make_tiff(*entries: tuple[int, int, int, int], order: str = "<") -> bytes:
    """Return a TIFF of some entries: tag, type, count, value as it stands in the file."""
    head = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(entries))
    listed = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    return head + listed + bytes(4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (make_tiff((322, 4, 1, 40_000), (323, 4, 1, 40_000)), "a tile of 1600000000 pixels"),
        (make_tiff((322, 3, 1, 40_000), (323, 3, 1, 40_000)), "a tile of 1600000000 pixels"),
        (
            make_tiff((322, 3, 1, 40_000 << 16), (323, 3, 1, 40_000 << 16), order=">"),
            "a tile of 1600000000 pixels",
        ),
        (make_tiff((273, 4, 16_000_000, 8)), "a list of more than 262,144 numbers"),
        (b"II\x2b\0\x08\0\0\0" + struct.pack("<QQ", 16, 10**9), "more than 65,535 entries"),
    ],
)
def test_a_tiff_that_asks_for_too_much_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ImageRefusedError, match=reason):
        load_image(content)


def test_tiles_are_decoded(gray: Any) -> None:
    content = encode(
        Image.fromarray(gray), "TIFF", compression="tiff_deflate", tiffinfo={322: 64, 323: 64}
    )

    assert np.array_equal(load_image(content).gray, gray)


def test_parts_of_a_file_are_counted_with_a_bound(
    monkeypatch: pytest.MonkeyPatch, gray: Any
) -> None:
    monkeypatch.setattr(decode, "_MAX_READS", 1000)
    plain = encode(Image.fromarray(gray), "PNG")
    at = plain.index(b"IDAT") - 4
    empty = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))

    load_image(plain[:at] + empty * 100 + plain[at:])
    with pytest.raises(ImageRefusedError, match="more than 1,000 parts"):
        load_image(plain[:at] + empty * 1000 + plain[at:])
