"""What an AVIF or HEIC says of its sizes is found wherever and however it is written.

Files are built here table by table, since an encoder writes one version of each.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from fercli.errors import ImageDecodeError, ImageRefusedError
from fercli.images import boxes, load_image
from fercli.images.boxes import Container, read_container

PLENTY = 100_000_000
Size = tuple[int, int]


def put(value: int, n_bytes: int) -> bytes:
    return value.to_bytes(n_bytes, "big")


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return put(8 + len(content), 4) + kind + content


def full_box(kind: bytes, version: int, *parts: bytes, flags: int = 0) -> bytes:
    return box(kind, put(version, 1), put(flags, 3), *parts)


def pack_bits(*fields: tuple[int, int] | str) -> bytes:
    """Return fields, each a value and its width or bits as text, filled up with ones."""
    bits = "".join(one if isinstance(one, str) else f"{one[0]:0{one[1]}b}" for one in fields)
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def exponential(value: int) -> str:
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def make_av1_header(size: Size, *middle: tuple[int, int] | str, reduced: bool = False) -> bytes:
    """Return a sequence header; `middle` is what stands between its first bits and its sizes."""
    levels = middle or ((0, 5) if reduced else (0, 1), *((0, width) for width in (1, 5, 12, 5)))
    sides = [side - 1 for side in size]
    widths = [max(1, side.bit_length()) for side in sides]
    return pack_bits(
        (1, 4),
        (int(reduced), 1),
        *(levels[:1] if reduced else levels),
        *((width - 1, 4) for width in widths),
        *zip(sides, widths, strict=True),
    )


def make_unit(kind: int, content: bytes, *, layered: bool = False, sized: bool = True) -> bytes:
    """Return a unit of AV1."""
    size = b""
    if sized:
        rest = len(content)
        while rest > 127:
            size, rest = size + put(rest & 127 | 128, 1), rest >> 7
        size += put(rest, 1)
    head = put(kind << 3 | layered << 2 | sized << 1, 1) + bytes(layered)
    return head + size + content


def make_av1(size: Size, *middle: Any, **options: Any) -> bytes:
    """Return data of AV1 whose frames have a size, behind units that say nothing of it."""
    header = make_unit(1, make_av1_header(size, *middle, **options), layered=True)
    return make_unit(2, b"") + make_unit(15, bytes(300)) + header + make_unit(6, b"x", sized=False)


def make_hevc_unit(size: Size, layers: str = "", chroma: int = 1) -> bytes:
    """Return HEVC's unit that says how large a frame is; `layers` are flags, two of each."""
    n_layers = len(layers) // 2
    filled = [
        bit for at in range(0, len(layers), 2)
        for bit in ("01" * 44 * int(layers[at]), "10" * 4 * int(layers[at + 1]))
    ]  # fmt: skip
    content = pack_bits(
        (3, 4), (n_layers, 3), "1", "1" * 40 + "0" * 48 + "1" * 8, layers,
        "0" * (2 * (8 - n_layers) if n_layers else 0), *filled, exponential(5),
        exponential(chroma), "1" if chroma == 3 else "", *map(exponential, size),
    )  # fmt: skip
    return b"\x42\1" + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", content)


def make_hevc(size: Size, length_bytes: int = 4, **options: Any) -> bytes:
    """Return data of HEVC of a size, behind a unit that says nothing of it."""
    units = (b"\x40\1" + bytes(100), make_hevc_unit(size, **options))
    return b"".join(put(len(unit), length_bytes) + unit for unit in units)


def configure_av1(size: Size) -> bytes:
    return box(b"av1C", b"\x81\0\0\0", make_unit(1, make_av1_header(size)))


def configure_hevc(size: Size, length_bytes: int = 4) -> bytes:
    units = [b"\x40\1", make_hevc_unit(size)]
    arrays = [b"\x20" + put(1, 2) + put(len(unit), 2) + unit for unit in units]
    return box(b"hvcC", bytes(21), put(0xFC | length_bytes - 1, 1), put(2, 1), *arrays)


def make_grid(size: Size, n_bytes: int = 2) -> bytes:
    return bytes([0, n_bytes == 4, 1, 1]) + b"".join(put(side, n_bytes) for side in size)


@dataclass(frozen=True)
class Item:
    kind: bytes
    size: Size
    """Of its property."""
    data: bytes
    configured: bytes = b""
    parts: list[int] = field(default_factory=list)
    alpha_of: list[int] = field(default_factory=list)
    pieces: int = 1


@dataclass(frozen=True)
class Tables:
    """Which version of each table a file has."""

    primary: int = 0
    kinds: int = 0
    entry: int = 2
    places: int = 1
    widths: tuple[int, int, int, int] = (4, 4, 0, 0)
    """Of an offset, a length, a base and an index."""
    associations: int = 0
    wide: bool = False
    references: int = 0
    in_idat: bool = True


def make_places(items: dict[int, Item], tables: Tables, begin: int) -> bytes:
    """Return the table of where data are, which lie one after the other from a place on."""
    wide = 4 if tables.places > 1 else 2
    offset, length, base, index = tables.widths
    rows = []
    at = 0
    for number, item in items.items():
        row = put(number, wide) + bytes(2)
        if tables.places:
            row = put(number, wide) + put(tables.in_idat, 2) + bytes(2)
        row += put(begin if base else 0, base) + put(item.pieces, 2)
        step = len(item.data) // item.pieces
        for piece in range(item.pieces):
            step_size = step if piece < item.pieces - 1 else len(item.data) - piece * step
            row += bytes(index) if tables.places else b""
            row += put(at + (0 if base else begin), offset) + (
                put(step_size, length) if length else b""
            )
            at += step_size
        rows.append(row)
    sizes = bytes([offset << 4 | length, base << 4 | (index if tables.places else 0)])
    return full_box(b"iloc", tables.places, sizes, put(len(items), wide), *rows)


def make_file(items: dict[int, Item], tables: Tables = Tables()) -> bytes:  # frozen
    """Return an AVIF or HEIC of items by their numbers; the first is the picture."""
    wide = 4 if tables.associations else 2
    number_bytes = 2 if tables.wide else 1
    essential = 0x8000 if tables.wide else 0x80
    kinds = [
        full_box(b"infe", tables.entry, put(number, 4 if tables.entry > 2 else 2), bytes(2),
                 item.kind, b"name\0")
        for number, item in items.items()
    ]  # fmt: skip
    properties, rows = [box(b"colr", b"nclx")], []
    for number, item in items.items():
        properties.append(full_box(b"ispe", 0, *(put(side, 4) for side in item.size)))
        properties += [item.configured] if item.configured else []
        own = range(len(properties) - bool(item.configured), len(properties) + 1)
        listed = [1, *own, 0]
        rows.append(put(number, wide) + put(len(listed), 1))
        rows += [put(essential | one, number_bytes) for one in listed]
    long = 4 if tables.references else 2
    links = [(b"dimg", number, item.parts) for number, item in items.items() if item.parts]
    links += [(b"auxl", number, item.alpha_of) for number, item in items.items() if item.alpha_of]
    links.append((b"thmb", max(items), [next(iter(items))]))
    references = [
        box(kind, put(number, long), put(len(others), 2), *(put(one, long) for one in others))
        for kind, number, others in links
    ]
    data = b"".join(item.data for item in items.values())

    def write(begin: int) -> bytes:
        meta = full_box(
            b"meta", 0,
            full_box(b"hdlr", 0, bytes(20)),
            full_box(b"pitm", tables.primary, put(next(iter(items)), 4 if tables.primary else 2)),
            full_box(b"iinf", tables.kinds, put(len(items), 4 if tables.kinds else 2), *kinds),
            make_places(items, tables, begin),
            box(b"iprp", box(b"ipco", *properties), full_box(
                b"ipma", tables.associations, put(len(items), 4), *rows, flags=int(tables.wide))),
            full_box(b"iref", tables.references, *references),
            box(b"idat", data) if tables.in_idat else b"",
        )  # fmt: skip
        return box(b"ftyp", b"avif", bytes(4), b"mif1") + meta

    if tables.in_idat:
        return write(0)
    return write(len(write(0)) + 8) + box(b"mdat", data)


def find_refused(content: bytes, max_pixels: int) -> Size | None:
    """Return the size that a file is refused for; None where it is read."""
    try:
        read_container(content, max_pixels)
    except ImageRefusedError as refusal:
        width, height = re.findall(r"(\d+)x(\d+) is more than", refusal.message)[0]
        return int(width), int(height)
    return None


def list_refused(content: bytes) -> list[Size]:
    """Return the sizes that a file is refused for, in their order, each larger than the last."""
    found: list[Size] = []
    most = 0
    while (size := find_refused(content, most)) is not None:
        assert size[0] * size[1] > most
        found.append(size)
        most = size[0] * size[1]
    return found


TABLES = {
    "in idat": Tables(),
    "oldest": Tables(places=0, in_idat=False),
    "with a base": Tables(widths=(4, 4, 4, 0), in_idat=False),
    "wide": Tables(1, 1, 3, 2, (8, 8, 8, 4), 1, True, 1, False),  # noqa: FBT003  # in their order
    "wide in idat": Tables(1, 1, 3, 2, (8, 4, 0, 8), 0, True, 1),  # noqa: FBT003  # as above
    "long numbers": Tables(associations=1, references=1),
}


@pytest.mark.parametrize("tables", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
def test_sizes_are_found_in_every_version_of_the_tables(kind: str, tables: Tables) -> None:
    code: bytes
    configure: Callable[[Size], bytes]
    make: Callable[[Size], bytes]
    code, configure, make = b"av01", configure_av1, make_av1
    if kind == "HEIC":
        code, configure, make = b"hvc1", configure_hevc, make_hevc
    sizes = [(5 + 3 * step, 7 + 2 * step) for step in range(14)]
    items = {
        9: Item(b"grid", sizes[0], make_grid(sizes[1]), parts=[3, 5]),
        3: Item(code, sizes[2], make(sizes[4]), configure(sizes[3]), pieces=3),
        5: Item(code, sizes[5], make(sizes[7]), configure(sizes[6])),
        6: Item(code, sizes[8], make(sizes[10]), configure(sizes[9]), alpha_of=[5]),
        200: Item(code, sizes[11], make(sizes[13]), configure(sizes[12]), alpha_of=[9]),
    }

    content = make_file(items, tables)

    assert list_refused(content) == sizes
    assert read_container(content, PLENTY) == Container(kind, 1)


@pytest.mark.parametrize("n_bytes", [2, 4])
def test_the_size_of_a_grid_has_two_widths(n_bytes: int) -> None:
    size = (70_000, 3) if n_bytes == 4 else (60_000, 3)
    tile = Item(b"av01", (1, 1), make_av1((1, 1)), configure_av1((1, 1)))
    grid = Item(b"grid", (1, 1), make_grid(size, n_bytes), parts=[2])

    assert list_refused(make_file({1: grid, 2: tile}))[-1] == size


def test_properties_may_have_high_numbers() -> None:
    tile = Item(b"hvc1", (1, 1), make_hevc((1, 1)), configure_hevc((1, 1)))
    last = Item(b"hvc1", (1, 1), make_hevc((1, 1)), configure_hevc((300, 200)))
    grid = Item(b"grid", (1, 1), make_grid((1, 1)), parts=[200])

    content = make_file(
        {1: grid, **dict.fromkeys(range(2, 200), tile), 200: last}, Tables(wide=True)
    )

    assert list_refused(content) == [(1, 1), (300, 200)]


def test_a_unit_of_one_byte_says_nothing() -> None:
    read_container(make_picture(put(1, 4) + b"\x42"), PLENTY)

    with pytest.raises(ImageDecodeError, match="cut short"):
        read_container(make_picture(put(2, 4) + b"\x42\1"), PLENTY)


OPERATING_POINT = ((0, 12), (3, 5))
HIGH_TIER = ((0, 12), (8, 5), (1, 1))
LOW_TIER = ((0, 12), (7, 5))
AV1_HEADERS: dict[str, tuple[tuple[int, int] | str, ...]] = {
    "one point": ((0, 1), (0, 1), (0, 5), *OPERATING_POINT),
    "timed": ((1, 1), "01" * 32, (0, 1), (0, 1), (0, 1), (0, 5), *OPERATING_POINT),
    "even": ((1, 1), "10" * 32, (1, 1), exponential(12), (0, 1), (0, 1), (0, 5), *OPERATING_POINT),
    "modeled": (
        (1, 1), "01" * 32, (0, 1), (1, 1), (9, 5), "01" * 21, (0, 1), (1, 5), *OPERATING_POINT,
        (1, 1), "10" * 10, (1, 1), *OPERATING_POINT, (0, 1),
    ),
    "delayed": ((0, 1), (1, 1), (2, 5), *OPERATING_POINT, (1, 1), (9, 4), *OPERATING_POINT, (0, 1),
                *OPERATING_POINT, (1, 1), (15, 4)),
    "tiers": ((0, 1), (0, 1), (2, 5), *HIGH_TIER, *LOW_TIER, *HIGH_TIER),
}  # fmt: skip


@pytest.mark.parametrize("middle", AV1_HEADERS.values(), ids=AV1_HEADERS)
def test_the_size_of_av1_stands_behind_what_a_header_may_hold(
    middle: tuple[tuple[int, int] | str, ...],
) -> None:
    item = Item(b"av01", (1, 1), make_av1((1234, 567), *middle), configure_av1((1, 1)))

    assert list_refused(make_file({1: item})) == [(1, 1), (1234, 567)]


def test_the_header_of_a_still_picture_is_short() -> None:
    data = make_av1((65_536, 2), (21, 5), reduced=True)
    item = Item(b"av01", (1, 1), data, configure_av1((1, 1)))

    assert list_refused(make_file({1: item})) == [(1, 1), (65_536, 2)]


@pytest.mark.parametrize("layers", ["", "11", "0001", "101101", "01" * 6])
@pytest.mark.parametrize("chroma", [1, 3])
@pytest.mark.parametrize("length_bytes", [1, 2, 4])
def test_the_size_of_hevc_stands_behind_its_layers(
    layers: str, chroma: int, length_bytes: int
) -> None:
    data = make_hevc((1234, 567), length_bytes, layers=layers, chroma=chroma)
    item = Item(b"hvc1", (1, 1), data, configure_hevc((2, 2), length_bytes))

    assert list_refused(make_file({1: item})) == [(1, 1), (2, 2), (1234, 567)]


def make_track(
    sizes: list[Size], *, same: bool = False, offset_bytes: int = 4, n_samples: int = 3
) -> bytes:
    """Return an animation of AV1: sizes of its description, its configuration, its first frame."""
    data = make_av1(sizes[2])
    lengths = [len(data), 3, 3][:n_samples]

    def write(begin: int) -> bytes:
        entry = box(
            b"av01", bytes(24), *(put(side, 2) for side in sizes[0]), bytes(50),
            box(b"colr", b"nclx"), configure_av1(sizes[1]),
        )  # fmt: skip
        measured = [put(lengths[0], 4), put(n_samples, 4)] if same else [
            bytes(4), put(n_samples, 4), *(put(one, 4) for one in lengths)
        ]  # fmt: skip
        table = box(
            b"stbl",
            full_box(b"stsd", 0, put(2, 4), box(b"text", b"x"), entry),
            full_box(b"stsz", 0, *measured),
            full_box(b"stco" if offset_bytes == 4 else b"co64", 0, put(1, 4),
                     put(begin, offset_bytes)),
        )  # fmt: skip
        sound = box(b"trak", box(b"mdia", box(b"minf", box(b"smhd"))))
        film = box(b"trak", box(b"tkhd"), box(b"mdia", box(b"minf", table)))
        return box(b"ftyp", b"avis") + box(b"moov", box(b"mvhd"), sound, film, box(b"trak"))

    return write(len(write(0)) + 8) + box(b"mdat", data, bytes(6))


@pytest.mark.parametrize("offset_bytes", [4, 8])
@pytest.mark.parametrize("same", [False, True])
def test_sizes_and_frames_of_an_animation_are_found(offset_bytes: int, *, same: bool) -> None:
    sizes = [(10, 11), (12, 13), (14, 15)]

    content = make_track(sizes, same=same, offset_bytes=offset_bytes)

    assert list_refused(content) == sizes
    assert read_container(content, PLENTY) == Container("AVIF", 3)
    assert read_container(make_track(sizes, n_samples=1), PLENTY).frames == 1
    # What it is without samples the codec says.
    for odd in (make_track(sizes, n_samples=0), swap(content, b"stsz", b"stsx")):
        assert read_container(odd, PLENTY) == Container("AVIF", 1)


def make_picture(data: bytes | None = None, **fields: Any) -> bytes:
    """Return a HEIC of one item."""
    data = make_hevc((8, 8)) if data is None else data
    return make_file({1: Item(b"hvc1", (8, 8), data, configure_hevc((8, 8)), **fields)})


def test_a_box_may_have_a_long_length_or_reach_to_the_end() -> None:
    data = make_av1((300, 200))
    content = make_file({1: Item(b"av01", (1, 1), data, configure_av1((1, 1)))})
    long = put(1, 4) + b"free" + put(16 + 3, 8) + b"abc"

    assert list_refused(long.join([content[:20], content[20:]])) == [(1, 1), (300, 200)]
    assert list_refused(content + put(0, 4) + b"free" + b"abc") == [(1, 1), (300, 200)]
    for wrong in (put(7, 4) + b"free", put(1, 4) + b"free" + put(15, 8), put(9, 4) + b"free"):
        with pytest.raises(ImageDecodeError, match="cut short"):
            read_container(content + wrong, PLENTY)


def test_data_without_a_length_go_on_to_the_end() -> None:
    tables = Tables(widths=(4, 0, 0, 0), in_idat=False)
    item = Item(b"av01", (1, 1), make_av1((300, 200)), configure_av1((1, 1)))

    assert list_refused(make_file({1: item}, tables)) == [(1, 1), (300, 200)]


def make_tiles(n_tiles: int, parts: list[int], size: Size = (10, 10)) -> bytes:
    """Return a grid of one or more tiles, each of which may be in it several times."""
    grid = Item(b"grid", (1, 1), make_grid((1, 1)), parts=parts)
    tile = Item(b"hvc1", size, make_hevc((1, 1)), configure_hevc((1, 1)))
    tiles = dict.fromkeys(range(2, 2 + n_tiles), tile)
    return make_file({1: grid, **tiles}, Tables(wide=True))


def make_units(n_units: int) -> bytes:
    """Return an AVIF whose data have so many parts, each of which says nothing."""
    data = make_unit(2, b"") * n_units
    return make_file({1: Item(b"av01", (1, 1), data, configure_av1((1, 1)))})


def test_so_much_is_read_and_no_more() -> None:
    picture, filler = make_picture(), box(b"free")

    for most, more, pixels, reason in (
        (picture + filler * 4094, picture + filler * 4095, PLENTY, "more than 4,096 parts"),
        (make_tiles(1999, [2]), make_tiles(2000, [2]), PLENTY, "more than 2,000 items"),
        (make_tiles(1, [2] * 2000), make_tiles(1, [2] * 2001), PLENTY, "more than 2,000 items"),
        (make_tiles(1, [2] * 4), make_tiles(1, [2] * 5), 100, "more than 4 times 100 pixels"),
        (make_units(100_000), make_units(100_001), PLENTY, "data have more than 100,000 parts"),
    ):
        read_container(most, pixels)
        with pytest.raises(ImageRefusedError, match=reason):
            read_container(more, pixels)


def test_units_of_hevc_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "_MAX_UNITS", 50)
    unit = put(2, 4) + b"\x40\1"

    read_container(make_picture(unit * 50), PLENTY)
    with pytest.raises(ImageRefusedError, match="data have more than 50 parts"):
        read_container(make_picture(unit * 51), PLENTY)


def nest(levels: int) -> bytes:
    """Return a grid of grids, so many, the last of which holds a tile."""
    items = {
        number: Item(b"grid", (1, 1), make_grid((1, 1)), parts=[number + 1])
        for number in range(1, levels + 1)
    }
    items[levels + 1] = Item(b"hvc1", (1, 1), make_hevc((1, 1)), configure_hevc((1, 1)))
    return make_file(items)


def test_grids_may_be_nested_a_little() -> None:
    assert read_container(nest(2), PLENTY).kind == "HEIC"

    with pytest.raises(ImageRefusedError, match="put together from too many parts"):
        read_container(nest(3), PLENTY)


def test_a_grid_may_not_hold_itself() -> None:
    content = make_file({1: Item(b"grid", (1, 1), make_grid((1, 1)), parts=[1, 1])})

    with pytest.raises(ImageRefusedError, match="put together from too many parts"):
        read_container(content, PLENTY)


def test_data_may_be_shared_by_few() -> None:
    def share(n_pieces: int) -> bytes:
        content = make_file(
            {1: Item(b"av01", (1, 1), b"", configure_av1((1, 1)), pieces=n_pieces)},
            Tables(in_idat=False),
        )
        # Every piece is the whole file.
        at = content.index(b"iloc") + 4 + 4 + 2 + 2 + 2 + 2 + 2 + 2
        pieces = (put(0, 4) + put(len(content), 4)) * n_pieces
        return content[:at] + pieces + content[at + len(pieces) :]

    read_container(share(2), PLENTY)
    with pytest.raises(ImageRefusedError, match="its parts share their data"):
        read_container(share(3), PLENTY)


def swap(content: bytes, old: bytes, new: bytes) -> bytes:
    assert content.count(old) == 1
    assert len(old) == len(new)
    return content.replace(old, new)


PICTURE = make_picture()
TWO_KINDS = {
    1: Item(b"grid", (1, 1), make_grid((1, 1)), parts=[2, 3]),
    2: Item(b"hvc1", (1, 1), make_hevc((1, 1)), configure_hevc((1, 1))),
    3: Item(b"av01", (1, 1), make_av1((1, 1)), configure_av1((1, 1))),
}


def make_av1_picture(data: bytes) -> bytes:
    return make_file({1: Item(b"av01", (1, 1), data, configure_av1((1, 1)))})


CONTRADICTIONS = {
    "property": swap(PICTURE, b"\4\x81\x82\x83\x80", b"\4\x81\x82\x84\x80"),
    "size": swap(PICTURE, b"ispe", b"ispx"),
    "empty": swap(PICTURE, put(8, 4) * 2, put(0, 4) * 2),
    "configuration": swap(PICTURE, b"hvcC", b"hvcX"),
    "data": swap(PICTURE, b"idat", b"idax"),
    "properties": swap(PICTURE, b"ipco", b"ipcx"),
    "table twice": swap(PICTURE, b"hdlr", b"pitm"),
    "box twice": PICTURE + PICTURE[20:],
    "item twice": make_tiles(2, [2]).replace(put(3, 2) + bytes(2), put(2, 2) + bytes(2)),
    "construction": swap(PICTURE, put(0x1_0001_0000_0001, 8), put(0x1_0002_0000_0001, 8)),
    "endless length": make_av1_picture(b"\x12" + b"\x80" * 8),
}
UNREAD = {
    "codec": (swap(PICTURE, b"hvc1", b"unci"), "compressed in a way that is not read"),
    "overlay": (swap(PICTURE, b"hvc1", b"iovl"), "compressed in a way that is not read"),
    "torn": (PICTURE[:-20], "cut short"),
    "empty": (box(b"ftyp", b"mif1", bytes(4)), "no image that is AVIF or HEIC"),
    "video": (box(b"ftyp", b"mp42") + box(b"moov", box(b"mvhd")), "it is a video"),
    "nothing": (box(b"ftyp", b"mif1") + full_box(b"meta", 0), "no primary image"),
    "two kinds": (make_file(TWO_KINDS), "no image that is AVIF or HEIC"),
    "no length": (make_av1_picture(b"\x12"), "cut short"),
    "half a length": (make_av1_picture(b"\x12" + b"\x80" * 7), "cut short"),
    "half a header": (make_av1_picture(make_unit(1, b"\x18")), "cut short"),
    **{name: (content, "contradict") for name, content in CONTRADICTIONS.items()},
}


@pytest.mark.parametrize(("content", "reason"), UNREAD.values(), ids=UNREAD)
def test_what_is_not_read_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(ImageDecodeError, match=reason) as refusal:
        read_container(content, PLENTY)

    assert not isinstance(refusal.value, ImageRefusedError)


def test_heic_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)

    with pytest.raises(ImageDecodeError) as refusal:
        load_image(PICTURE)

    assert refusal.value.message == "HEIC needs pip install 'fercli[heic]'"
