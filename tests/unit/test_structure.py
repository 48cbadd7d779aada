from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from fercli.errors import ImageDecodeError, ImageRefusedError
from fercli.images import (
    decode,
    load_image,
    structure,
)
from fercli.images.memory import ByteBudget, Share
from fercli.images.structure import Structure, check_scans, check_structure

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


def make_tiled(gray: NDArray[np.uint8], side: int) -> bytes:
    """Return a TIFF of one tile, of which an image is a corner."""
    tile = np.zeros((side, side), dtype=np.uint8)
    tile[: gray.shape[0], : gray.shape[1]] = gray
    tags = [(256, gray.shape[1]), (257, gray.shape[0]), (258, 8), (259, 1), (262, 1), (277, 1),
            (322, side), (323, side), (324, 8 + 2 + 10 * 12 + 4), (325, side * side)]  # fmt: skip
    return make_tiff(*((tag, 4, 1, value) for tag, value in tags)) + tile.tobytes()


def test_tiles_are_decoded_and_counted_whole(gray: Any) -> None:
    content = make_tiled(gray, 160)
    asked: list[int] = []

    class NotedShare(Share):
        def resize(self, n_bytes: int) -> None:
            asked.append(n_bytes)

    found = load_image(content, share=NotedShare(ByteBudget(0)))

    assert np.array_equal(found.gray, gray)
    # Four bytes of a tile's pixel; two copies of the image, and its gray.
    assert max(asked) == len(content) + 4 * 160 * 160 + 3 * 48 * 48
    with pytest.raises(ImageRefusedError, match="a tile of 25600 pixels"):
        load_image(content, max_pixels=160 * 160 - 1)


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


PLENTY = 100_000_000


def make_jpeg(*parts: bytes) -> bytes:
    """Return markers and what follows them between a JPEG's first bytes and its last."""
    return b"\xff\xd8\xff\xe0\0\2" + b"".join(parts) + b"\xff\xd9"


SCAN = b"\xff\xda\0\4ab"


@pytest.mark.parametrize(
    ("parts", "scans"),
    [
        ([], 0),
        ([SCAN, b"pixels"], 1),
        ([SCAN, b"a\xff\0b\xff\xd0c\xff\xd7d\xff\xff\xff", SCAN[1:], b"more"], 2),
        # What stands in another segment, or behind the end, is no scan.
        ([b"\xff\xe1\0\x0a", SCAN, b"..", SCAN], 1),
        ([SCAN, b"\xff\xd9", SCAN], 1),
        # A scan's own head is not searched for markers.
        ([b"\xff\xda\0\x0a", SCAN, b"..", SCAN], 2),
        ([SCAN, SCAN[:3]], 2),
        *(([b"\xff", bytes([marker]), SCAN], 1) for marker in (0x01, *range(0xD0, 0xD9))),
    ],
)
def test_scans_are_what_markers_begin(parts: list[bytes], scans: int) -> None:
    assert check_structure(make_jpeg(*parts), PLENTY) == Structure(scans=scans)


def test_a_jpeg_has_a_bounded_number_of_segments() -> None:
    check_structure(make_jpeg(b"\xff\x01" * 99_999), PLENTY)

    with pytest.raises(ImageRefusedError, match="a JPEG of more than 100,000 parts"):
        check_structure(make_jpeg(b"\xff\x01" * 100_000), PLENTY)


def test_scans_times_pixels_are_bounded() -> None:
    check_scans(25, 100_000_000)

    with pytest.raises(ImageRefusedError, match="a JPEG of 25 scans of 100000001 pixels"):
        check_scans(25, 100_000_001)


def make_big_tiff(*entries: tuple[int, int, int, int], n_entries: int) -> bytes:
    """Return a BigTIFF of some entries, whose number may be said wrongly."""
    listed = b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
    return b"II\x2b\0\x08\0\0\0" + struct.pack("<QQ", 16, n_entries) + listed + bytes(8)


@pytest.mark.parametrize("layout", ["little", "big", "BigTIFF"])
@pytest.mark.parametrize("kind", [3, 4])
def test_the_tile_of_a_tiff_is_measured(layout: str, kind: int) -> None:
    # Of 16 bits are the first two bytes of a value's four, or eight.
    shift = 16 if kind == 3 and layout == "big" else 0
    sides = [side << shift for side in (300, 200, 150)]
    # Of a tag that comes twice the larger counts, whichever a codec takes.
    entries = [(256, 4, 1, 7), (322, kind, 1, sides[2]), (322, kind, 1, sides[0]),
               (323, kind, 1, sides[1])]  # fmt: skip
    content = (
        make_big_tiff(*entries, n_entries=4)
        if layout == "BigTIFF"
        else make_tiff(*entries, order=">" if layout == "big" else "<")
    )

    assert check_structure(content, 60_000) == Structure(frames=1, tile_pixels=60_000)
    with pytest.raises(ImageRefusedError, match="a tile of 60000 pixels is more than 59999"):
        check_structure(content, 59_999)


def test_the_lists_of_a_tiff_are_bounded() -> None:
    check_structure(make_tiff((273, 4, 262_144, 8)), PLENTY)
    with pytest.raises(ImageRefusedError, match="a list of more than 262,144 numbers"):
        check_structure(make_tiff((273, 4, 262_145, 8)), PLENTY)
    for kind in (1, 2, 7):
        check_structure(make_tiff((700, kind, 1 << 30, 8)), PLENTY)
    # The codec says that it is cut short.
    assert check_structure(make_big_tiff(n_entries=65_535), PLENTY).frames == 1
    with pytest.raises(ImageRefusedError, match="a TIFF of more than 65,535 entries"):
        check_structure(make_big_tiff(n_entries=65_536), PLENTY)


@pytest.mark.parametrize(
    ("entries", "is_raw"),
    [
        ([(254, 4, 1, 1), (330, 4, 1, 8)], True),
        ([(254, 4, 1, 3), (330, 4, 1, 8)], True),
        ([(254, 4, 1, 2), (330, 4, 1, 8)], False),
        ([(254, 4, 1, 1)], False),
        ([(330, 4, 1, 8)], False),
        ([(262, 3, 1, 32803)], True),
        ([(262, 3, 1, 34892)], True),
        ([(262, 3, 1, 2)], False),
        ([(50706, 1, 4, 1)], True),
    ],
)
def test_a_preview_of_a_raw_file_is_none(
    entries: list[tuple[int, int, int, int]], *, is_raw: bool
) -> None:
    content = make_tiff(*entries)

    if is_raw:
        with pytest.raises(ImageDecodeError, match="a camera's raw file"):
            check_structure(content, PLENTY)
    else:
        assert check_structure(content, PLENTY).frames == 1
