from __future__ import annotations

import io
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from fercli.errors import ImageDecodeError, ImageRefusedError
from fercli.images import find_kind, is_video, load_image, may_hold_pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.data import Dataset

AT_WHICH_IT_IS_TURNED = range(1, 9)


@pytest.fixture
def picture(faces: Dataset) -> NDArray[np.uint8]:
    """A drawn face, enlarged, with a bright corner that tells how it is turned."""
    image: NDArray[np.uint8] = np.kron(faces.images[0], np.ones((2, 2), dtype=np.uint8))
    image[:20, :40] = 255
    return image


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turn(image: NDArray[np.uint8], orientation: int) -> Image.Image:
    """Return what is stored where the orientation says how to put it upright."""
    turned = {
        1: image, 2: image[:, ::-1], 3: image[::-1, ::-1], 4: image[::-1], 5: image.T,
        6: np.rot90(image), 7: image[::-1, ::-1].T, 8: np.rot90(image, -1),
    }[orientation]  # fmt: skip
    return Image.fromarray(np.ascontiguousarray(turned))


def measure_difference(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    return float(np.abs(found.astype(int) - wanted).mean())


@pytest.mark.parametrize("orientation", AT_WHICH_IT_IS_TURNED)
def test_avif_is_turned_once(picture: Any, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation

    decoded = load_image(encode(turn(picture, orientation), "AVIF", exif=exif), color=True)

    assert decoded.frames == 1
    assert decoded.rgb is not None
    assert measure_difference(decoded.gray, picture) < 3


def test_orientation_that_an_avif_has_in_its_metadata_alone_does_not_count(picture: Any) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    exif = Image.Exif()
    exif[0x010E] = "a face"

    for options in ({"xmp": xmp}, {"xmp": xmp, "exif": exif}):
        found = load_image(encode(Image.fromarray(picture), "AVIF", **options)).gray
        assert measure_difference(found, picture) < 3


def test_transparency_of_an_avif_lies_on_white() -> None:
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))

    assert load_image(encode(clear, "AVIF")).gray.min() == 255


@pytest.mark.parametrize("kind", ["AVIF", "MPO"])
def test_the_first_picture_of_several_counts(picture: Any, kind: str) -> None:
    first, other = Image.fromarray(picture), Image.fromarray(255 - picture)

    decoded = load_image(encode(first, kind, save_all=True, append_images=[other, other]))

    assert decoded.frames == 3
    assert measure_difference(decoded.gray, picture) < 4


def find_box(content: bytes, kind: bytes) -> int:
    """Return where a box's content begins."""
    return content.index(kind) + 4


def test_what_an_avif_asks_for_is_looked_at_before_its_codec_is(
    picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encode(Image.fromarray(picture), "AVIF")
    size = picture.size
    sized = find_box(content, b"ispe") + 4
    huge = content[:sized] + struct.pack(">II", 60_000, 60_000) + content[sized + 8 :]
    lying = content[:sized] + struct.pack(">II", 16, 16) + content[sized + 8 :]
    animated = encode(
        Image.fromarray(picture), "AVIF", save_all=True, append_images=[Image.fromarray(picture)]
    )
    counted = find_box(animated, b"stsz") + 8
    long = animated[:counted] + struct.pack(">I", 1_000_000) + animated[counted + 4 :]

    def never(*_: object, **__: object) -> None:
        pytest.fail("a codec saw it")

    load_image(content, max_pixels=size)
    monkeypatch.setattr(Image, "open", never)
    with pytest.raises(ImageRefusedError, match="60000x60000 is more") as refusal:
        load_image(huge)
    assert refusal.value.hint == ""
    # The compressed data say how large a frame is, whatever the file says around them.
    with pytest.raises(ImageRefusedError, match="96x96 is more than 300 pixels") as refusal:
        load_image(lying, max_pixels=300)
    assert refusal.value.hint == "--max-pixels 9216"
    with pytest.raises(ImageRefusedError, match="96x96 is more"):
        load_image(animated, max_pixels=size - 1)
    with pytest.raises(ImageRefusedError, match="more than 10,000 frames"):
        load_image(long)


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def make_container(  # what the picture is, and how it is put together
    kind: bytes = b"hvc1",
    *,
    size: tuple[int, int] = (64, 64),
    references: bytes = b"",
    n_items: int = 1,
    data: bytes = b"",
    configured: bytes = b"",
) -> bytes:
    """Return an AVIF or HEIC of some items of one kind, the first of which is the picture."""
    numbers = range(1, n_items + 1)
    full = bytes(4)
    items = [
        box(b"infe", b"\2\0\0\0", struct.pack(">HH4s", n, 0, kind if n == 1 else b"hvc1"), b"\0")
        for n in numbers
    ]
    places = [struct.pack(">HHHHII", n, 1, 0, 1, 0, len(data)) for n in numbers]
    shared = [struct.pack(">HBBB", n, 2, 1, 2) for n in numbers]
    properties = box(
        b"ipco",
        box(b"ispe", full, struct.pack(">II", *size)),
        box(b"av1C" if kind == b"av01" else b"hvcC", configured or bytes(23)),
    )
    meta = box(
        b"meta",
        full,
        box(b"pitm", full, struct.pack(">H", 1)),
        box(b"iinf", full, struct.pack(">H", n_items), *items),
        box(b"iloc", b"\1\0\0\0", b"\x44\0", struct.pack(">H", n_items), *places),
        box(b"iprp", properties, box(b"ipma", full, struct.pack(">I", n_items), *shared)),
        box(b"iref", full, references) if references else b"",
        box(b"idat", data),
    )
    return box(b"ftyp", b"heic", bytes(4), b"heic") + meta


def make_reference(kind: bytes, number: int, others: list[int]) -> bytes:
    return box(kind, struct.pack(f">HH{len(others)}H", number, len(others), *others))


def make_sequence_set(width: int, height: int) -> bytes:
    """Return HEVC's unit that says how large a frame is, as far as that."""

    def write(value: int) -> str:
        digits = f"{value + 1:b}"
        return "0" * (len(digits) - 1) + digits

    bits = f"{0:04b}{0:03b}1" + "01" * 48 + write(0) + write(1) + write(width) + write(height)
    bits += "1" * (-len(bits) % 8)
    return b"\x42\1" + int(bits, 2).to_bytes(len(bits) // 8, "big")


def test_heic_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)

    with pytest.raises(ImageDecodeError) as refusal:
        load_image(make_container())

    assert refusal.value.message == "HEIC needs pip install 'fercli[heic]'"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (make_container(size=(20_000, 20_000)), "20000x20000 is more"),
        (
            make_container(
                data=struct.pack(">I", len(make_sequence_set(16_000, 16_000)))
                + make_sequence_set(16_000, 16_000)
            ),
            "16000x16000 is more",
        ),
        (make_container(data=bytes(600_000)), "its data have more than 100,000 parts"),
        (make_container(n_items=2001), "more than 2,000 items"),
        (
            make_container(
                b"grid",
                n_items=2,
                data=struct.pack(">BBBBHH", 0, 0, 255, 255, 60_000, 60_000),
                references=make_reference(b"dimg", 1, [2]),
            ),
            "60000x60000 is more",
        ),
        (
            make_container(
                b"grid",
                n_items=2,
                size=(5000, 5000),
                data=struct.pack(">BBBBHH", 0, 0, 255, 255, 64, 64),
                references=make_reference(b"dimg", 1, [2] * 100),
            ),
            "more than 4 times",
        ),
        (
            make_container(
                b"grid",
                data=struct.pack(">BBBBHH", 0, 0, 255, 255, 64, 64),
                references=make_reference(b"dimg", 1, [1, 1]),
            ),
            "put together from too many parts",
        ),
        (box(b"ftyp", b"heic", bytes(4)) + box(b"free") * 5000, "more than 4,096 parts"),
    ],
    ids=["size", "frame", "units", "items", "canvas", "passes", "circle", "boxes"],
)
def test_a_container_that_asks_for_too_much_is_refused(content: bytes, reason: str) -> None:
    started = time.perf_counter()

    with pytest.raises(ImageRefusedError, match=reason):
        load_image(content)

    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (make_container(b"unci"), "compressed in a way that is not read"),
        (make_container(b"iovl"), "compressed in a way that is not read"),
        (make_container()[:-20], "cut short"),
        (make_container() + make_container()[20:], "contradict"),
        (box(b"ftyp", b"mif1", bytes(4)), "no image that is AVIF or HEIC"),
        (box(b"ftyp", b"mif1", bytes(4)) + box(b"meta", bytes(4)), "no picture of its own"),
    ],
    ids=["codec", "overlay", "torn", "twice", "empty", "nothing"],
)
def test_a_container_that_is_not_read_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(ImageDecodeError, match=reason) as refusal:
        load_image(content)

    assert not isinstance(refusal.value, ImageRefusedError)


@pytest.mark.parametrize("part", [0.02, 0.1, 0.3, 0.6, 0.95])
def test_truncated_avif_is_refused(picture: Any, part: float) -> None:
    content = encode(Image.fromarray(picture), "AVIF")

    with pytest.raises(ImageDecodeError):
        load_image(content[: int(len(content) * part)])


def test_damaged_avif_is_decoded_or_refused(picture: Any) -> None:
    still = encode(Image.fromarray(picture).convert("RGBA"), "AVIF")
    animated = encode(
        Image.fromarray(picture), "AVIF", save_all=True, append_images=[Image.fromarray(picture)]
    )
    generator = np.random.default_rng(0)

    n_refused = 0
    for number in range(120):
        changed = bytearray(animated if number % 2 else still)
        for at in generator.integers(0, min(len(changed), 700), 1 + number % 5):
            changed[at] = generator.integers(0, 256)
        try:
            load_image(bytes(changed))
        except ImageDecodeError:
            n_refused += 1

    assert n_refused > 20


@pytest.mark.parametrize("orientation", AT_WHICH_IT_IS_TURNED)
def test_heic_is_turned_once(picture: Any, orientation: int) -> None:
    heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = orientation
    heif.register_heif_opener()
    image = turn(picture, orientation)
    content = encode(image, "HEIF", exif=exif.tobytes(), quality=95)

    decoded = load_image(content)

    assert (b"irot" in content or b"imir" in content) == (orientation > 1)
    assert measure_difference(decoded.gray, picture) < 4
    with pytest.raises(ImageRefusedError, match="96x96 is more than 9215 pixels"):
        load_image(content, max_pixels=9215)


def make_raw(*entries: tuple[int, int, int, int]) -> bytes:
    """Return a little TIFF of some entries: tag, type, count, value."""
    listed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + listed + bytes(4)


@pytest.mark.parametrize(
    "content",
    [
        make_raw((254, 4, 1, 1), (330, 4, 2, 100)),
        make_raw((50706, 1, 4, 0x0401)),
        make_raw((262, 3, 1, 32803)),
        b"II*\0\x10\0\0\0CR\2\0" + bytes(40),
        b"FUJIFILMCCD-RAW 0201",
        b"IIU\0" + bytes(40),
        box(b"ftyp", b"crx ", bytes(4)),
    ],
    ids=["nef", "dng", "sensor", "cr2", "raf", "rw2", "cr3"],
)
def test_raw_files_say_so(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(content)

    with pytest.raises(ImageDecodeError, match="a camera's raw file: develop it"):
        load_image(tmp_path / "photo")
    assert not is_video(tmp_path / "photo")


def test_a_tiff_with_a_small_copy_beside_is_read(picture: Any) -> None:
    content = encode(Image.fromarray(picture), "TIFF", tiffinfo={330: 8})

    assert np.array_equal(load_image(content).gray, picture)


def test_what_may_hold_pictures(picture: Any, tmp_path: Path) -> None:
    files = {
        "notes.txt": b"BMW notes, nothing else in here at all",
        "data.json": b"{}",
        "Thumbs.db": b"\xd0\xcf\x11\xe0" * 10,
        "empty": b"",
        "text.jpg": b"hello",
        "clip.MOV": b"hello",
        "shot.NEF": b"hello",
        "gif": encode(Image.fromarray(picture), "GIF"),
        "bmp": encode(Image.fromarray(picture), "BMP"),
        "webp": encode(Image.fromarray(picture), "WEBP"),
        "avif": encode(Image.fromarray(picture), "AVIF"),
        "avi": b"RIFF\0\0\0\0AVI LIST",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "lost.txt").symlink_to("nowhere")

    found = [name for name in files if may_hold_pictures(tmp_path / name)]

    assert found == list(files)[4:]
    assert may_hold_pictures(tmp_path / "lost.txt")
    assert find_kind("clip.mp4") == find_kind("clip", files["avi"]) == "video"
