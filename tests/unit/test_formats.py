from __future__ import annotations

import io
import struct
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


def test_bitmaps_are_told_by_their_second_header() -> None:
    sizes = [size for size in range(200) if find_kind("photo", b"BM" + bytes(12) + bytes([size]))]

    assert sizes == [12, 40, 52, 56, 64, 108, 124]
    assert find_kind("photo", b"BM" + bytes(12) + b"\x0c\1") is None
