"""What an AVIF or HEIC file is made of, read before a codec sees it.

Both are boxes within boxes: a table of items, which of them is the picture, of which tiles it is
put together, how large each is said to be. How large it is stands once more in the compressed data,
and a decoder makes room for what stands there; so that is read, too. Whatever the picture is not
made of is not looked at: previews, gain maps, other pictures.

A structure that is read in two ways could be one thing here and another to the codec. So boxes that
must be there once are refused where they come again, and only three kinds of items are let through.

Source:
    ISO/IEC 14496-12, 2022 (boxes, items, tracks); ISO/IEC 23008-12, 2022 (`ispe`, `ipma`, `grid`);
    "AV1 Image File Format", v1.1.0; "AV1 Bitstream & Decoding Process Specification", 2019,
    section 5.5; ITU-T H.265, 2021, section 7.3.2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from fercli.errors import ImageDecodeError, ImageRefusedError
from fercli.images.limits import refuse_pixels

__all__ = ["Container", "read_container"]

_MAX_BOXES: Final = 4096
"""In one box."""
_MAX_ITEMS: Final = 2000
"""Of one file; 100 megapixels in tiles of 512 pixels are 400, a gain map and previews beside."""
_MAX_UNITS: Final = 100_000
"""Parts of one item's compressed data."""
_MAX_PASSES: Final = 4
"""Largest images that may be decoded for one: its tiles, overlapping, and the same of its alpha."""
_CODED: Final = {b"av01": "AVIF", b"hvc1": "HEIC"}
_SEQUENCE_HEADER: Final = 1
_SEQUENCE_SET: Final = 33
"""Of HEVC's units the one that says how large a frame is."""


@dataclass(frozen=True)
class Container:
    """What was found."""

    kind: str
    """`AVIF` or `HEIC`, by how its picture is compressed."""
    frames: int
    """Samples of a track, 1 where there is none."""


@dataclass
class _Item:
    kind: bytes = b""
    in_idat: bool = False
    extents: list[tuple[int, int]] = field(default_factory=list)
    """Start and length of the pieces of its data."""
    properties: list[int] = field(default_factory=list)
    """Numbers of its boxes, from 1."""
    made_of: list[int] = field(default_factory=list)
    """Numbers of the items that it is put together from."""


@dataclass(frozen=True)
class _Limits:
    pixels: int

    def check(self, width: int, height: int) -> None:
        if width * height > self.pixels:
            what = f"{width}x{height}"
            raise refuse_pixels(what, width * height, self.pixels)


class _Bits:
    """Bytes read bit by bit, as the specifications of codecs do.

    Raises:
        ImageDecodeError: From any of its methods: there are no more.
    """

    def __init__(self, content: bytes) -> None:
        # Headers are short; more would make the shifts slow.
        content = content[:256]
        self._value = int.from_bytes(content, "big")
        self._left = 8 * len(content)

    def take(self, n_bits: int) -> int:
        if n_bits > self._left:
            raise _cut_short()
        self._left -= n_bits
        return (self._value >> self._left) & ((1 << n_bits) - 1)

    def take_exponential(self) -> int:
        n_zeros = 0
        while not self.take(1):
            n_zeros += 1
        return (1 << n_zeros) - 1 + self.take(n_zeros)


class _Bytes:
    """A part of a file, read number by number.

    Raises:
        ImageDecodeError: From any of its methods: there is no more.
    """

    def __init__(self, content: bytes, start: int, end: int) -> None:
        self.content = content
        self.at = start
        self.end = end

    def take(self, n_bytes: int) -> int:
        self.skip(n_bytes)
        return int.from_bytes(self.content[self.at - n_bytes : self.at], "big")

    def take_word(self) -> bytes:
        self.skip(4)
        return self.content[self.at - 4 : self.at]

    def skip(self, n_bytes: int) -> None:
        if n_bytes > self.end - self.at:
            raise _cut_short()
        self.at += n_bytes

    def split(self) -> Iterator[tuple[bytes, _Bytes]]:
        """Yield the boxes that it consists of, each with its kind."""
        for _ in range(_MAX_BOXES + 1):
            if self.at == self.end:
                return
            start = self.at
            size, kind = self.take(4), self.take_word()
            if size == 1:
                size = self.take(8)
            elif size == 0:
                size = self.end - start
            if size < self.at - start or size > self.end - start:
                raise _cut_short()
            yield kind, _Bytes(self.content, self.at, start + size)
            self.at = start + size
        message = f"it has more than {_MAX_BOXES:,} parts"
        raise ImageRefusedError(message)

    def index(self) -> dict[bytes, _Bytes]:
        """Return the boxes that it consists of by kind; the first of each."""
        found: dict[bytes, _Bytes] = {}
        for kind, box in self.split():
            found.setdefault(kind, box)
        return found


def read_container(content: bytes, max_pixels: int) -> Container:
    """Return what an AVIF or HEIC file holds.

    Args:
        content: The file; begins with the box `ftyp`.
        max_pixels: Largest image, tile or frame that is decoded, width times height.

    Raises:
        ImageDecodeError: It is damaged, or holds nothing that is read here.
        ImageRefusedError: There is too much of something.
    """
    limits = _Limits(max_pixels)
    boxes: dict[bytes, _Bytes] = {}
    for kind, box in _Bytes(content, 0, len(content)).split():
        if kind in {b"ftyp", b"meta", b"moov"} and kind in boxes:
            raise _damaged()
        boxes.setdefault(kind, box)
    kinds = []
    frames = 1
    if b"meta" in boxes:
        kinds.append(_Items(content, boxes[b"meta"], limits).check())
    # A decoder takes the track of a file that says it is an animation, and the item of others.
    if b"moov" in boxes:
        frames, coded = _check_tracks(boxes[b"moov"], limits)
        kinds += [coded] if coded else []
    if not kinds:
        message = "it holds no image that is AVIF or HEIC"
        raise ImageDecodeError("it is a video" if b"moov" in boxes else message)
    return Container(kinds[0], frames)


class _Items:
    """The table of items of a file.

    Raises:
        ImageDecodeError: It is damaged.
        ImageRefusedError: There are too many.
    """

    def __init__(self, content: bytes, meta: _Bytes, limits: _Limits) -> None:
        self._content = content
        self._limits = limits
        self._items: dict[int, _Item] = {}
        self._properties: list[tuple[bytes, _Bytes]] = []
        self._auxiliaries: dict[int, list[int]] = {}
        self._idat: _Bytes | None = None
        self._primary = -1
        self._n_bytes = 0
        self._n_passes = 0
        self._pixels = 0
        self._kinds: set[str] = set()
        self._checked: set[int] = set()
        meta.skip(4)
        readers: dict[bytes, Callable[[_Bytes], None]] = {
            b"iinf": self._read_kinds,
            b"iloc": self._read_places,
            b"iprp": self._read_properties,
            b"iref": self._read_references,
            b"pitm": self._read_primary,
            b"idat": self._keep_idat,
        }
        for kind, box in meta.split():
            if kind in readers:
                # Once each: popped.
                readers.pop(kind)(box)
            elif kind in {b"iinf", b"iloc", b"iprp", b"iref", b"pitm", b"idat"}:
                raise _damaged()

    def check(self) -> str:
        """Look at all that the picture is made of, and return how it is compressed."""
        if self._primary not in self._items:
            message = "it names no primary image"
            raise ImageDecodeError(message)
        for number in (self._primary, *self._auxiliaries.get(self._primary, ())):
            self._check_item(number, 0)
        if len(self._kinds) != 1:
            message = "it holds no image that is AVIF or HEIC"
            raise ImageDecodeError(message)
        return next(iter(self._kinds))

    def _check_item(self, number: int, depth: int) -> None:
        item = self._items.get(number)
        self._n_passes += 1
        if self._n_passes > 2 * _MAX_ITEMS or depth > 2:
            message = "it is put together from too many parts"
            raise ImageRefusedError(message)
        if item is None or item.kind not in {b"grid", *_CODED}:
            message = "its picture is compressed in a way that is not read"
            raise ImageDecodeError(message)
        pixels = self._check_sizes(item)
        if item.kind == b"grid":
            self._limits.check(*_read_grid_size(self._collect(item)))
            # Its alpha may belong to each tile instead.
            for part in item.made_of:
                self._check_item(part, depth + 1)
                for alpha in self._auxiliaries.get(part, ()):
                    self._check_item(alpha, depth + 1)
            return
        self._kinds.add(_CODED[item.kind])
        self._pixels += pixels
        if self._pixels > _MAX_PASSES * self._limits.pixels:
            message = f"its parts are more than {_MAX_PASSES} times {self._limits.pixels} pixels"
            raise ImageRefusedError(message)
        if number not in self._checked:
            self._checked.add(number)
            self._check_coded(item)

    def _check_sizes(self, item: _Item) -> int:
        """Return how many pixels an item has, as its property says."""
        pixels = 0
        for at in item.properties:
            if at > len(self._properties):
                raise _damaged()
            kind, box = self._properties[at - 1]
            if kind == b"ispe":
                width, height = _read_extent(box)
                self._limits.check(width, height)
                pixels = max(pixels, width * height)
        if not pixels:
            raise _damaged()
        return pixels

    def _check_coded(self, item: _Item) -> None:
        """Check what compressed data say about their size."""
        configured = [self._properties[at - 1] for at in item.properties]
        wanted = b"av1C" if item.kind == b"av01" else b"hvcC"
        boxes = [box for kind, box in configured if kind == wanted]
        if len(boxes) != 1:
            raise _damaged()
        data = self._collect(item)
        if item.kind == b"av01":
            _check_av1(_copy(boxes[0])[4:], self._limits)
            _check_av1(data, self._limits)
        else:
            _check_hevc(_copy(boxes[0]), data, self._limits)

    def _collect(self, item: _Item) -> bytes:
        """Return an item's data; what all have together is bounded by the file's own size."""
        source = self._content
        offset = 0
        if item.in_idat:
            if self._idat is None:
                raise _damaged()
            source = self._content[: self._idat.end]
            offset = self._idat.at
        pieces = []
        for place, said in item.extents:
            start = place + offset
            length = said or max(0, len(source) - start)
            if start + length > len(source):
                raise _cut_short()
            self._n_bytes += length
            if self._n_bytes > 2 * len(self._content):
                message = "its parts share their data"
                raise ImageRefusedError(message)
            pieces.append(source[start : start + length])
        return b"".join(pieces)

    def _get(self, number: int) -> _Item:
        if number not in self._items and len(self._items) >= _MAX_ITEMS:
            message = f"it has more than {_MAX_ITEMS:,} items"
            raise ImageRefusedError(message)
        return self._items.setdefault(number, _Item())

    def _keep_idat(self, box: _Bytes) -> None:
        self._idat = box

    def _read_primary(self, box: _Bytes) -> None:
        self._primary = box.take(4 if box.take(4) >> 24 else 2)

    def _read_kinds(self, box: _Bytes) -> None:
        box.skip(4 + (4 if _peek_version(box) else 2))
        for kind, entry in box.split():
            version = _peek_version(entry)
            if kind != b"infe" or version < 2:
                continue
            entry.skip(4)
            number = entry.take(4 if version > 2 else 2)
            entry.skip(2)
            item = self._get(number)
            if item.kind:
                raise _damaged()
            item.kind = entry.take_word()

    def _read_places(self, box: _Bytes) -> None:
        version = box.take(4) >> 24
        sizes = box.take(2)
        offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
        wide = 4 if version > 1 else 2
        for _ in range(self._count(box.take(wide))):
            item = self._get(box.take(wide))
            place = box.take(2) & 15 if version else 0
            if place > 1:
                # Within another item's data, which no encoder of pictures writes.
                raise _damaged()
            item.in_idat = place == 1
            box.skip(2)
            start = box.take(base)
            for _ in range(self._count(box.take(2))):
                box.skip(index if version else 0)
                item.extents.append((start + box.take(offset), box.take(length)))

    def _count(self, number: int) -> int:
        if number > _MAX_ITEMS:
            message = f"it has more than {_MAX_ITEMS:,} items or pieces of one"
            raise ImageRefusedError(message)
        return number

    def _read_properties(self, box: _Bytes) -> None:
        """Read the properties that the file has, and which item has which."""
        listed = [one for kind, one in _restart(box).split() if kind == b"ipco"]
        if len(listed) != 1:
            raise _damaged()
        self._properties = list(listed[0].split())
        for kind, one in box.split():
            if kind == b"ipma":
                self._read_associations(one)

    def _read_associations(self, box: _Bytes) -> None:
        head = box.take(4)
        wide = 2 if head & 1 else 1
        mask = 0x7FFF if head & 1 else 0x7F
        for _ in range(self._count(box.take(4))):
            item = self._get(box.take(4 if head >> 24 else 2))
            listed = [box.take(wide) & mask for _ in range(box.take(1))]
            item.properties += [number for number in listed if number]

    def _read_references(self, box: _Bytes) -> None:
        wide = 4 if box.take(4) >> 24 else 2
        for kind, reference in box.split():
            number = reference.take(wide)
            others = [reference.take(wide) for _ in range(self._count(reference.take(2)))]
            if kind == b"dimg":
                self._get(number).made_of += others
            elif kind == b"auxl":
                for other in others:
                    self._auxiliaries.setdefault(other, []).append(number)


def _check_tracks(moov: _Bytes, limits: _Limits) -> tuple[int, str | None]:
    """Check the tracks of an animation, and return its frames and how they are compressed."""
    most = 1
    found: str | None = None
    for kind, track in moov.split():
        table = _descend(track, b"mdia", b"minf", b"stbl") if kind == b"trak" else None
        if table is None or b"stsd" not in table:
            continue
        coded = _check_descriptions(table[b"stsd"], limits)
        found = coded or found
        most = max(most, _check_first_sample(table, limits, is_av1=coded == "AVIF"))
    return most, found


def _check_descriptions(box: _Bytes, limits: _Limits) -> str | None:
    """Check the sizes that a track is said to have, and return how it is compressed."""
    found: str | None = None
    box.skip(8)
    for kind, entry in box.split():
        if kind not in _CODED:
            continue
        found = _CODED[kind]
        # ISO/IEC 14496-12, 12.1.3: what a picture's entry begins with.
        entry.skip(24)
        limits.check(entry.take(2), entry.take(2))
        entry.skip(50)
        for configured, part in entry.split():
            if configured == b"av1C":
                _check_av1(_copy(part)[4:], limits)
    return found


def _check_first_sample(table: dict[bytes, _Bytes], limits: _Limits, *, is_av1: bool) -> int:
    """Check the sample of a track that is decoded, and return how many there are."""
    sizes, chunks = table.get(b"stsz"), table.get(b"stco") or table.get(b"co64")
    if sizes is None or chunks is None:
        return 1
    sizes.skip(4)
    size, n_samples = sizes.take(4), sizes.take(4)
    size = size or (sizes.take(4) if n_samples else 0)
    chunks.skip(4)
    if chunks.take(4) and is_av1:
        start = chunks.take(4 if b"stco" in table else 8)
        _check_av1(chunks.content[start : start + size], limits)
    return max(1, n_samples)


def _descend(box: _Bytes | None, *kinds: bytes) -> dict[bytes, _Bytes] | None:
    for kind in kinds:
        if box is None:
            return None
        box = box.index().get(kind)
    return None if box is None else box.index()


def _read_extent(box: _Bytes) -> tuple[int, int]:
    """Return the width and height that an `ispe` box says."""
    box = _restart(box)
    box.skip(4)
    return box.take(4), box.take(4)


def _read_grid_size(data: bytes) -> tuple[int, int]:
    """Return the width and height that tiles are put together to."""
    box = _Bytes(data, 0, len(data))
    wide = 4 if box.take(2) & 1 else 2
    box.skip(2)
    return box.take(wide), box.take(wide)


def _check_av1(data: bytes, limits: _Limits) -> None:
    """Check the sizes in compressed data of AV1, of whichever frame."""
    at = 0
    for _ in range(_MAX_UNITS + 1):
        if at >= len(data):
            return
        head = data[at]
        at += 2 if head & 4 else 1
        size = len(data) - at
        if head & 2:
            size, at = _read_leb128(data, at)
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            limits.check(*_read_av1_size(_Bits(data[at : at + min(size, 256)])))
        at += size
    message = f"its data have more than {_MAX_UNITS:,} parts"
    raise ImageRefusedError(message)


def _read_leb128(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and where it ends."""
    value = 0
    for place in range(8):
        if at >= len(data):
            raise _cut_short()
        value |= (data[at] & 127) << 7 * place
        at += 1
        if not data[at - 1] & 128:
            return value, at
    raise _damaged()


def _read_av1_size(bits: _Bits) -> tuple[int, int]:
    """Return the largest width and height of frames, of a sequence header."""
    bits.take(4)
    if bits.take(1):
        bits.take(5)
    else:
        _skip_operating_points(bits)
    wide, high = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(wide) + 1, bits.take(high) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):
        bits.take(64)
        if bits.take(1):
            bits.take_exponential()
        if bits.take(1):
            delay_bits = bits.take(5) + 1
            bits.take(42)
    has_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if has_delay and bits.take(1):
            bits.take(4)


def _check_hevc(record: bytes, data: bytes, limits: _Limits) -> None:
    """Check the sizes in compressed data of HEVC and in what a decoder is given before."""
    box = _Bytes(record, 0, len(record))
    box.skip(21)
    length_bytes = (box.take(1) & 3) + 1
    for _ in range(box.take(1)):
        box.skip(1)
        for _ in range(box.take(2)):
            size = box.take(2)
            box.skip(size)
            _check_hevc_unit(record[box.at - size : box.at], limits)
    at = 0
    for _ in range(_MAX_UNITS + 1):
        if at >= len(data):
            return
        size = int.from_bytes(data[at : at + length_bytes], "big")
        at += length_bytes
        _check_hevc_unit(data[at : at + min(size, 512)], limits)
        at += size
    message = f"its data have more than {_MAX_UNITS:,} parts"
    raise ImageRefusedError(message)


def _check_hevc_unit(unit: bytes, limits: _Limits) -> None:
    if len(unit) > 1 and unit[0] >> 1 & 63 == _SEQUENCE_SET:
        # Zeros are broken up by threes, which are no part of the numbers.
        bits = _Bits(unit[2:512].replace(b"\0\0\3", b"\0\0"))
        limits.check(*_read_hevc_size(bits))


def _read_hevc_size(bits: _Bits) -> tuple[int, int]:
    """Return the width and height of frames, of a sequence parameter set."""
    bits.take(4)
    n_layers = bits.take(3)
    bits.take(97)
    layers = [(bits.take(1), bits.take(1)) for _ in range(n_layers)]
    bits.take(2 * (8 - n_layers) if n_layers else 0)
    for has_profile, has_level in layers:
        bits.take(88 * has_profile + 8 * has_level)
    bits.take_exponential()
    if bits.take_exponential() == 3:
        bits.take(1)
    return bits.take_exponential(), bits.take_exponential()


def _peek_version(box: _Bytes) -> int:
    if box.at >= box.end:
        raise _cut_short()
    return box.content[box.at]


def _restart(box: _Bytes) -> _Bytes:
    """Return a box to be read anew; nothing of it must have been read yet."""
    return _Bytes(box.content, box.at, box.end)


def _copy(box: _Bytes) -> bytes:
    return box.content[box.at : box.end]


def _cut_short() -> ImageDecodeError:
    message = "it is cut short or damaged"
    return ImageDecodeError(message)


def _damaged() -> ImageDecodeError:
    message = "it is damaged: its parts contradict each other"
    return ImageDecodeError(message)
