"""What is fuzzed: how a case is made of whole files, and who reads it.

A case is the bytes of one file. Where a digest would end the reading, it is made right: what is
looked for lies behind it. A reader raises nothing but errors that a user is told of.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import io
import json
import logging
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import torch
from mutations import (
    ODD_TEXTS,
    Change,
    change_bytes,
    change_json,
    change_json_text,
    change_lines,
    dump,
)
from PIL import Image
from specimens import ROW_KINDS, Specimens

from fercli.config import ServeConfig
from fercli.config_files import merge_config, read_data
from fercli.data import load_source
from fercli.data.ferplus import read_votes
from fercli.errors import FercliError, ModelFileError
from fercli.images import load_image
from fercli.inference.seal import SEAL_BLANK, SEAL_KEY, seal
from fercli.model_files import (
    ModelFile,
    describe_model,
    list_selection_splits,
    load_train_digests,
    open_runtime,
    read_metadata,
)
from fercli.networks import build_network
from fercli.prediction.members import Member, open_archives
from fercli.prediction.merge import merge_parts
from fercli.runs import RunFolder, read_history, read_run_record, read_scores
from fercli.serve import ServedModels
from fercli.serve.application import build_app
from fercli.serve.service import Service
from fercli.settings import build_config
from fercli.storage import RECORD_DIGEST, load_tensors, save_tensors, seal_json
from fercli.training.checkpoint import restore_newest
from fercli.training.state import build_state

if TYPE_CHECKING:
    from random import Random

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """A kind of input."""

    make: Change
    """Makes a case."""
    read: Callable[[bytes], object]
    """Reads one; a refusal is a `FercliError`."""
    limit_s: float = 5.0
    """What reading a case may take."""
    close: Callable[[], object] = lambda: None
    """Ends what the reader holds."""


Build = Callable[[Specimens, Path], Target]


def _read_path(path: Path, read: Callable[[Path], object], content: bytes) -> object:
    """Read a case that has to lie in a file."""
    path.write_bytes(content)
    return read(path)


def _check_dataset(path: Path, renames: Mapping[str, str] | None = None) -> None:
    """Read a source; what is accepted must be a dataset."""
    dataset = load_source(str(path), renames=renames).dataset
    assert dataset.images.dtype == np.uint8
    assert dataset.images.shape[1:] == (48, 48)
    assert len(dataset.labels) == len(dataset.splits) == dataset.n_images
    assert dataset.labels.max(initial=0) < len(dataset.label_names)
    json.dumps(dataset.count(), allow_nan=False)
    for split in dataset.split_names:
        if dataset.find_split(split) is not None:
            dataset.select(split)


# --- tables ---------------------------------------------------------------------------------------

_TABLE_TOKENS: Final = (
    b",", b'"', b"\n", b"\r", b"\r\n", b"\0", b" ", b"\t", b"-1", b"256", b"1.5", b"nan", b"\xff",
    b"\xef\xbb\xbf", b"\xff\xfe", b"Training", b"PublicTest", b"emotion", b" pixels", b"Usage",
    b"7", b"1_0", "\u0661".encode(), "\u2028".encode(), b"9" * 5000, b'"' * 3, b"0 " * 2304,
)  # fmt: skip


def build_csv(specimens: Specimens, folder: Path) -> Target:
    """FER2013's three tables, plain and gzipped, and FER+'s votes."""
    images = load_source(str(specimens.dataset)).dataset.images
    pixels = [" ".join(map(str, image.reshape(-1).tolist())) for image in images[:4]]
    usages = ("Training", "Training", "PublicTest", "PrivateTest")
    rows = [f"{place},{text}" for place, text in enumerate(pixels)]
    full = [f"{row},{usage}" for row, usage in zip(rows, usages, strict=True)]
    spaced = [f"{place},{usage},{text}" for place, (text, usage) in enumerate(
        zip(pixels, usages, strict=True))]  # fmt: skip
    tables = [
        "\n".join(lines).encode()
        for lines in (
            ["emotion,pixels,Usage", *full],
            ["emotion, Usage, pixels", *spaced],
            ["emotion,pixels", *rows],
        )
    ]
    names = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt"
    votes = f"{names},unknown,NF\nTraining,fer0.png,4,0,0,1,3,2,0,0,0,0\n"

    def make(random: Random) -> bytes:
        seed = random.choice((*tables, votes.encode()))
        content = change_lines(random, seed, _TABLE_TOKENS)
        if random.random() < 0.2:
            content = gzip.compress(content, 1, mtime=0)
            content = change_bytes(random, content) if random.random() < 0.5 else content
        return content

    def read(content: bytes) -> None:
        path = folder / "table.csv"
        path.write_bytes(content)
        if content[:20].startswith(b"Usage"):
            read_votes(path)
        _check_dataset(path)

    return Target(make, read)


# --- archives -------------------------------------------------------------------------------------

_NAMES: Final = (
    "train/angry/a.png", "test/happy/PrivateTest_1.png", "../up.png", "/root.png", "a\\b.png",
    "C:/x.png", "train/sad/", "train/sad/\x1b.png", "train/fear/" + "x" * 300 + ".png",
    "fer2013.csv", "train.csv", "train/angry/a.png", "NUL.png", "train/./angry/b.png", "é/ü.png",
    "__MACOSX/x", ".hidden/a.png", "train/angry/c.PNG", "a/" * 200 + "b.png", "",
)  # fmt: skip
_ARCHIVE_TOKENS: Final = (
    b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"\x1f\x8b",
    b"ustar", b"ustar  ", b"../", b"/", b"\0", b"\xff\xff\xff\xff", b"GNU.sparse.major=1\n", b"S",
    b"L", b"x", b"30 mtime=1.5\n", b"\x80\0\0\0\0\0\0\0\xff\xff\xff\xff",
)  # fmt: skip


_MEMBER_TYPES: Final = (
    *(tarfile.REGTYPE,) * 6, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE,
)  # fmt: skip


def _pack(random: Random, kind: str, content: bytes) -> bytes:
    """Return an archive of odd members."""
    stream = io.BytesIO()
    names = random.choices(_NAMES, k=random.randint(1, 5))
    if kind == "zip":
        packing = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
        with zipfile.ZipFile(stream, "w", packing) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in names:
                info = zipfile.ZipInfo(name)
                info.external_attr = random.choice((0, 0o120777 << 16, 0o10644 << 16, 0x10))
                archive.writestr(info, content[: random.choice((0, 10, len(content)))])
    else:
        style = random.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT))
        with tarfile.open(fileobj=stream, mode="w", format=style) as archive_:
            for name in names:
                member = tarfile.TarInfo(name)
                member.type = random.choice(_MEMBER_TYPES)
                member.linkname = random.choice(_NAMES)
                member.size = len(content)
                if random.random() < 0.3:
                    key = random.choice(("path", "size", "GNU.sparse.map", "x"))
                    member.pax_headers = {key: random.choice(("1", "-1", "a/b.png", ""))}
                with contextlib.suppress(ValueError, UnicodeError):
                    archive_.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def build_archives(specimens: Specimens, folder: Path) -> Target:
    """zip, tar and tar.gz of images and tables, as a dataset and as a source of `fer predict`."""
    face = next(specimens.faces.glob("*.png")).read_bytes()
    table = b"emotion,pixels,Usage\n0," + b" ".join([b"7"] * 2304) + b",Training\n"
    whole: dict[str, list[bytes]] = {"zip": [], "tar": []}
    members = [("train/angry/Training_1.png", face), ("test/happy/PublicTest_2.png", face)]
    for content in (members, [("fer2013/fer2013.csv", table), ("README", b"x")]):
        packed, taped = io.BytesIO(), io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in content:
                archive.writestr(name, data)
        with tarfile.open(fileobj=taped, mode="w") as tape:
            for name, data in content:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tape.addfile(info, io.BytesIO(data))
        whole["zip"].append(packed.getvalue())
        whole["tar"].append(taped.getvalue())

    def make(random: Random) -> bytes:
        kind = random.choice(("zip", "tar"))
        content = (
            _pack(random, kind, random.choice((face, table)))
            if random.random() < 0.3
            else random.choice(whole[kind])
        )
        if random.random() < 0.8:
            content = change_bytes(random, content, _ARCHIVE_TOKENS)
        if kind == "tar" and random.random() < 0.3:
            content = gzip.compress(content, 1, mtime=0)
            content = change_bytes(random, content) if random.random() < 0.3 else content
        return content

    def read(content: bytes) -> None:
        path = folder / ("case.zip" if content[:1] == b"P" else "case.tar")
        path.write_bytes(content)
        for member in open_archives([path]):
            if isinstance(member, Member) and member.reason is None:
                with contextlib.suppress(FercliError):
                    load_image(member.content)
        _check_dataset(path)

    return Target(make, read)


# --- images ---------------------------------------------------------------------------------------

_IMAGE_TOKENS: Final = (
    b"\xff\xd8", b"\xff\xc0", b"\xff\xc2", b"\xff\xda", b"\xff\xe1", b"Exif\0\0", b"II*\0",
    b"MM\0*", b"IHDR", b"IDAT", b"iCCP", b"acTL", b"fcTL", b"GIF89a", b"!\xff\x0bNETSCAPE2.0",
    b"RIFF", b"VP8X", b"ANIM", b"ftypavif", b"meta", b"iloc", b"ipma", b"ispe", b"grid", b"av01",
    b"irot", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"BM",
)  # fmt: skip


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def list_images() -> dict[str, bytes]:
    """Return small images of every format and of most modes."""
    rng = np.random.default_rng(0)
    colors = Image.fromarray(rng.integers(0, 256, (40, 56, 3), dtype=np.uint8))
    clear = Image.fromarray(rng.integers(0, 256, (40, 56, 4), dtype=np.uint8))
    gray, palette = colors.convert("L"), colors.convert("P")
    deep = Image.fromarray(rng.integers(0, 65536, (40, 56), dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = {
        "jpeg": _encode(colors, "JPEG", exif=exif),
        "jpeg-progressive": _encode(gray, "JPEG", progressive=True),
        "jpeg-cmyk": _encode(colors.convert("CMYK"), "JPEG"),
        "png": _encode(colors, "PNG"), "png-alpha": _encode(clear, "PNG"),
        "png-palette": _encode(palette, "PNG"), "png-16": _encode(deep, "PNG"),
        "png-frames": _encode(gray, "PNG", save_all=True, append_images=[gray]),
        "bmp": _encode(colors, "BMP"), "bmp-palette": _encode(palette, "BMP"),
        "gif": _encode(palette, "GIF", save_all=True, append_images=[palette.rotate(90)]),
        "webp": _encode(colors, "WEBP"), "webp-lossless": _encode(clear, "WEBP", lossless=True),
        "webp-frames": _encode(colors, "WEBP", save_all=True, append_images=[clear]),
        "tiff": _encode(colors, "TIFF"), "tiff-lzw": _encode(gray, "TIFF", compression="tiff_lzw"),
        "tiff-float": _encode(gray.convert("F"), "TIFF"), "tiff-16": _encode(deep, "TIFF"),
        "tiff-jpeg": _encode(colors, "TIFF", compression="jpeg"),
        "tiff-frames": _encode(gray, "TIFF", save_all=True, append_images=[gray]),
        "mpo": _encode(colors, "MPO", save_all=True, append_images=[colors]),
        "avif": _encode(colors, "AVIF"), "avif-alpha": _encode(clear, "AVIF"),
        "avif-frames": _encode(colors, "AVIF", save_all=True, append_images=[colors]),
    }  # fmt: skip
    with contextlib.suppress(ImportError):
        import pillow_heif

        for name, image in (("heic", colors), ("heic-alpha", clear)):
            stream = io.BytesIO()
            pillow_heif.from_pillow(image).save(stream)
            found[name] = stream.getvalue()
    return found


def build_images(_specimens: Specimens, _folder: Path) -> Target:
    """Every format that is read, as gray and as color, whole and reduced."""
    images = list(list_images().values())

    def make(random: Random) -> bytes:
        return change_bytes(random, random.choice(images), _IMAGE_TOKENS, most=10)

    def read(content: bytes) -> None:
        decoded = load_image(content, color=bool(len(content) % 2), enough_px=24)
        assert decoded.gray.dtype == np.uint8
        assert decoded.gray.size

    return Target(make, read)


# --- models ---------------------------------------------------------------------------------------


def _read_model(path: Path) -> None:
    """Open a model and look at all that is said of it; run it once."""
    model = ModelFile(path, None, assumed=False)
    json.dumps(describe_model(model).to_json(), allow_nan=False)
    list_selection_splits(read_metadata(model))
    runtime = open_runtime(model, device="cpu", n_threads=1)
    runtime.predict(np.zeros((1, 48, 48), dtype=np.uint8))


def _seal_onnx(model: Any) -> bytes:
    """Return a model as bytes that hold their own digest."""
    for entry in model.metadata_props:
        if entry.key == SEAL_KEY:
            entry.value = SEAL_BLANK
    content: bytes = model.SerializeToString()
    return seal(content)


def build_onnx(specimens: Specimens, folder: Path) -> Target:
    """Metadata under a right digest; a graph without one, which a child process looks at first."""
    whole = onnx.load(specimens.run.onnx)
    header = json.loads({one.key: one.value for one in whole.metadata_props}["fercli"])
    foreign = onnx.load(specimens.run.onnx)
    del foreign.metadata_props[:]
    bare: bytes = foreign.SerializeToString()

    def make(random: Random) -> bytes:
        # A look takes a process of its own, so most cases are of the other kind.
        if random.random() < 0.02:
            return change_bytes(random, bare, (b"Loop", b"Conv", b"\xff", b"images"))
        model = onnx.ModelProto()
        model.CopyFrom(whole)
        for entry in model.metadata_props:
            if entry.key == "fercli":
                text = change_json_text(random, header)
                # Of a protobuf, texts are UTF-8; bytes that are none come with the bytes below.
                entry.value = text.decode("utf-8", "replace")
        return _seal_onnx(model)

    return Target(make, partial(_read_path, folder / "case.onnx", _read_model), limit_s=30)


def _make_tensors(folder: Path, arrays: Mapping[str, Any], metadata: Mapping[str, Any]) -> Change:
    """Return what makes files of arrays, their digests right; header and arrays are changed."""

    def make(random: Random) -> bytes:
        path = folder / "made.safetensors"
        changed = dict(arrays)
        for _ in range(random.choice((0, 0, 1, 2))):
            name = random.choice(sorted(changed) or [""])
            _change_array(random, changed, name)
        while True:
            # JSON has no NaN and no halves of surrogate pairs: some changes cannot be written.
            with contextlib.suppress(ValueError, RecursionError):
                save_tensors(path, changed, change_json(random, metadata))
                break
        content = path.read_bytes()
        if random.random() < 0.2:
            return change_bytes(random, content[:4000]) + content[4000:]
        return content

    return make


def _change_array(random: Random, arrays: dict[str, Any], name: str) -> None:
    array = arrays.pop(name, None)
    kind = random.choice(("<i8", "<f4", "<f8", "<u2", "?", "<f2", "|u1", "<i4"))
    match random.randrange(6):
        case 0:
            return
        case 1 if array is not None and array.ndim:
            arrays[name] = array[: random.randrange(len(array) + 1)]
        case 2 if array is not None:
            arrays[name] = array.reshape(-1)
        case 3 if array is not None:
            with np.errstate(all="ignore"):
                arrays[name] = array.astype(kind)
        case 4:
            names = ("x", "", "images", "model.x", "optimizer.a.b", "optimizer.0", "é")
            shape: tuple[int, ...] = random.choice(((), (0,), (3,), (2, 0, 4)))
            arrays[random.choice(names)] = np.zeros(shape, dtype=kind)
        case _:
            odd = np.full(np.shape(array), random.choice((0, 1, 200, 255))).astype(kind)
            arrays[name] = odd if array is None else odd.astype(array.dtype)


def build_safetensors(specimens: Specimens, folder: Path) -> Target:
    """A model's header, metadata and weights, every digest right."""
    arrays, metadata = load_tensors(specimens.run.model, ModelFileError)
    metadata.pop("sha256")
    make = _make_tensors(folder, arrays, metadata)
    return Target(make, partial(_read_path, folder / "case.safetensors", _read_model))


def build_dataset(specimens: Specimens, folder: Path) -> Target:
    """A prepared dataset's header and arrays, every digest right."""
    arrays, metadata = load_tensors(specimens.dataset, ModelFileError)
    metadata.pop("sha256")
    make = _make_tensors(folder, {name: array[:5] for name, array in arrays.items()}, metadata)
    return Target(make, partial(_read_path, folder / "case.safetensors", _check_dataset))


# --- runs -----------------------------------------------------------------------------------------


def build_checkpoint(specimens: Specimens, folder: Path) -> Target:
    """A checkpoint, the digests of the images and a teacher's answers, every digest right."""
    run = specimens.run
    (newest, *_) = sorted(run.checkpoints.glob("*"), reverse=True)
    arrays, metadata = load_tensors(newest, ModelFileError)
    metadata.pop("sha256")
    config = build_config(dict(read_run_record(run.path).config))
    held = folder / "checkpoints"
    held.mkdir()
    make_checkpoint = _make_tensors(folder, arrays, metadata)
    digests, about = load_tensors(run.train_digests, ModelFileError)
    about.pop("sha256")
    make_digests = _make_tensors(folder, digests, about)
    model = ModelFile(held / "model.onnx", None, assumed=False)
    (held / "model.onnx").write_bytes(run.onnx.read_bytes())
    known = read_metadata(model)

    def make(random: Random) -> bytes:
        return make_checkpoint(random) if random.random() < 0.8 else make_digests(random)

    def read(content: bytes) -> None:
        name = "step-000000009.safetensors" if b"progress" in content else run.train_digests.name
        path = held / name
        path.write_bytes(content)
        try:
            if path.name == run.train_digests.name:
                load_train_digests(model, known)
                return
            network = build_network(config.model, 7)
            state = build_state(network, config, torch.device("cpu"))
            notes: list[str] = []
            before = state.progress
            found = restore_newest(held, state, notes.append)
            assert (found is None) == (state.progress is before)
            assert notes or found
        finally:
            path.unlink()

    return Target(make, read)


def build_run(specimens: Specimens, folder: Path) -> Target:
    """`run.json`, `metrics.csv` and `scores.jsonl`, told apart by how they begin."""
    record = json.loads(specimens.run.record.read_bytes())
    metrics = specimens.run.metrics.read_bytes()
    score = json.loads(specimens.run.scores.read_text().splitlines()[0])
    held = RunFolder(folder / "held")
    held.path.mkdir()

    def make(random: Random) -> bytes:
        match random.randrange(4):
            case 0:
                return b"m" + change_lines(random, metrics, (b"nan", b"inf", b"1e999", b"x", b'"'))
            case 1:
                bare = {key: value for key, value in score.items() if key != RECORD_DIGEST}
                return b"s" + change_json_text(random, random.choice((score, bare)))
            case _:
                return b"r" + change_json_text(random, record)

    def read(content: bytes) -> None:
        held.metrics.write_bytes(metrics)
        held.record.write_bytes(dump(record))
        held.scores.unlink(missing_ok=True)
        kind, rest = content[:1], content[1:]
        if kind == b"m":
            held.metrics.write_bytes(rest)
            for report in read_history(held):
                json.dumps(report.validation_accuracy)
        elif kind == b"s":
            held.scores.write_bytes(rest)
            for scored in read_scores(held).values():
                json.dumps(scored.to_json(), allow_nan=False)
        else:
            held.record.write_bytes(rest)
            json.dumps(read_run_record(held.path).to_json(), allow_nan=False)
            read_data(held.record)
            merge_config(held.record, None, [], {})

    return Target(make, read)


_TOML_TOKENS: Final = (
    b"=", b"[", b"]", b"[[", b"{", b"}", b'"', b"'''", b"\n", b"#", b".", b"inf", b"nan", b"-",
    b"0x", b"1979-05-27T07:32:00Z", b"1e400", b"9" * 5000, b"[" * 500, b"true", b"\\u0000",
    b"\xff", b"\0", b"a" * 300, b"widths", b"recipe", b"seed", b"[1, 2]", b"None", b"teacher",
    b"init",
)  # fmt: skip


def build_toml(_specimens: Specimens, folder: Path) -> Target:
    """A configuration: tables, lists, numbers of every kind."""
    whole = b"""# a comment
recipe = "fast"
seed = 3
[model]
widths = [8, 16]
dropout = 0.3
[optimization]
optimizer = "muon"
learning_rate = 1e-3
epochs = 2
batch_size = 32
average = "ema"
[data]
balance = "weights"
flip = "random"
"""

    def make(random: Random) -> bytes:
        content = change_bytes(random, whole, _TOML_TOKENS, most=3)
        return content if random.random() < 0.5 else _change_value(random, content)

    def read(path: Path) -> None:
        merge_config(path, None, [], {})

    return Target(make, partial(_read_path, folder / "case.toml", read))


def _change_value(random: Random, content: bytes) -> bytes:
    """Put something else behind one `=`."""
    lines = content.split(b"\n")
    places = [place for place, line in enumerate(lines) if b"=" in line]
    values = (*_TOML_TOKENS, *(json.dumps(text).encode() for text in ODD_TEXTS), b"-1", b"1e308",
              b'["a"]', b"{a = 1}", b"[]", b"9223372036854775807", b"-0.0")  # fmt: skip
    if places:
        place = random.choice(places)
        lines[place] = lines[place].partition(b"=")[0] + b"= " + random.choice(values)
    return b"\n".join(lines)


# --- parts ----------------------------------------------------------------------------------------


def build_parts(specimens: Specimens, folder: Path) -> Target:
    """A side file, or a part under a right digest, of two that `fer merge` takes.

    A case begins with the name of the file and a line end.
    """
    files: dict[str, dict[str, bytes]] = {
        kind: {path.name: path.read_bytes() for path in specimens.parts(kind).iterdir()}
        for kind in ROW_KINDS
    }

    def make(random: Random) -> bytes:
        kind = random.choice(ROW_KINDS)
        name = random.choice(sorted(files[kind]))
        content = files[kind][name]
        if name.endswith(".side.jsonl"):
            head, _, rest = content.partition(b"\n")
            record = json.loads(head)
            del record[RECORD_DIGEST]
            if random.random() < 0.3:
                rest = change_lines(random, rest, (b"[", b"]", b"-1", b"1e9", b"null", b'"a"'))
                record["order_sha256"] = hashlib.sha256(rest).hexdigest()
                head = dump(seal_json(record))
            elif random.random() < 0.2:
                head = change_json_text(random, record)
            else:
                head = dump(seal_json(change_json(random, record)))
            content = head + b"\n" + rest
        else:
            content = change_lines(random, content, (b'"', b"\r\n", b"\0", b"PAR1"))
        return f"{kind} {name}\n".encode() + content

    def read(case: bytes) -> None:
        kind, name = case.partition(b"\n")[0].decode().split(" ")
        held = folder / "parts"
        held.mkdir(exist_ok=True)
        for old in held.iterdir():
            old.unlink()
        written = {**files[kind], name: case.partition(b"\n")[2]}
        if not name.endswith(".side.jsonl"):
            side = name.partition(".")[0] + ".side.jsonl"
            head, _, rest = written[side].partition(b"\n")
            digest = hashlib.sha256(written[name]).hexdigest()
            record = {**json.loads(head), "n_bytes": len(written[name]), "sha256": digest}
            del record[RECORD_DIGEST]
            written[side] = dump(seal_json(record)) + b"\n" + rest
        for one, content in written.items():
            (held / one).write_bytes(content)
        merge_parts(held, folder / f"merged.{kind}", overwrite=True)

    return Target(make, read)


# --- the service ----------------------------------------------------------------------------------

_FORM_TOKENS: Final = (
    b"--xyz", b"--xyz--", b"\r\n", b"\n", b"\r\n\r\n", b"Content-Disposition: form-data", b'"',
    b'; name="images"', b"; filename*=utf-8''%ff", b"; filename=", b"\xff", b"\0", b"--", b":",
    b"Content-Transfer-Encoding: base64", b"x" * 9000, b"images",
)  # fmt: skip
_KINDS: Final = (
    "multipart/form-data; boundary=xyz", "multipart/form-data", "multipart/form-data; boundary=",
    "multipart/form-data; boundary=xy", "image/png", "application/octet-stream", "", "text/plain",
    "multipart/form-data; boundary=" + "x" * 300, "multipart/form-data; boundary=\xff",
    "multipart/form-data; boundary*=utf-8''%78yz", 'multipart/form-data; boundary="xyz',
)  # fmt: skip
_QUERIES: Final = (
    b"", b"", b"faces=whole", b"faces=haar", b"model=plus", b"model=%00", b"min_confidence=nan",
    b"min_face=1e400", b"min_face=99999999999999999999", b"name=%ff%fe", b"name=" + b"a" * 5000,
    b"=", b"&&&", b"labels_of=base", b"labels_of=tiny&model=plus", b"x=1",
    b"faces=whole&faces=haar",
)  # fmt: skip


def build_uploads(specimens: Specimens, _folder: Path) -> Target:
    """Requests to the service: a line of JSON, which is the type and the query, then the body."""
    face = next(specimens.faces.glob("*.png")).read_bytes()
    head = b'--xyz\r\nContent-Disposition: form-data; name="images"; filename="%s"\r\n'
    form = b"".join(head % name + b"Content-Type: image/png\r\n\r\n" + face + b"\r\n"
                    for name in (b"a.png", b"b/../c.png")) + b"--xyz--\r\n"  # fmt: skip
    logger = logging.getLogger("fercli")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    service = Service(ServedModels("tiny"), ServeConfig())
    app = build_app(service)

    def make(random: Random) -> bytes:
        is_form = random.random() < 0.8
        kind = _KINDS[0] if random.random() < 0.7 else random.choice(_KINDS)
        query = random.choice(_QUERIES)
        if random.random() < 0.2:
            query = change_bytes(random, query, (b"%", b"=", b"&", b"+", b"%ud800", b"faces"))
        body = change_bytes(random, form if is_form else face, _FORM_TOKENS)
        first = {"kind": kind, "query": query.decode("latin-1"), "at": random.randrange(1 << 16)}
        return dump(first) + b"\n" + body

    def read(case: bytes) -> None:
        line, _, body = case.partition(b"\n")
        status = loop.run_until_complete(_ask(app, json.loads(line), body))
        assert 200 <= status < 600
        assert status != 500

    def close() -> None:
        logger.setLevel(level)
        service.close()
        loop.close()

    return Target(make, read, close=close)


async def _ask(app: Any, request: Mapping[str, Any], body: bytes) -> int:
    """Return the status of a request, its body sent in two pieces."""
    pieces: Iterator[dict[str, Any]] = iter([
        {"type": "http.request", "body": body[: request["at"]], "more_body": True},
        {"type": "http.request", "body": body[request["at"] :], "more_body": False},
    ])  # fmt: skip
    sent: list[dict[str, Any]] = []
    headers = [(b"host", b"127.0.0.1:8013"), (b"content-type", request["kind"].encode("latin-1"))]
    scope = {
        "type": "http", "method": "POST", "path": "/api/predict", "raw_path": b"/api/predict",
        "query_string": request["query"].encode("latin-1"), "headers": headers,
        "http_version": "1.1", "scheme": "http", "root_path": "",
        "client": ("127.0.0.1", 9), "server": ("127.0.0.1", 8013), "asgi": {"version": "3.0"},
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return next(pieces, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    answer = b"".join(message.get("body", b"") for message in sent)
    json.loads(answer)
    return int(sent[0]["status"])


TARGETS: Final[dict[str, Build]] = {
    "csv": build_csv,
    "archives": build_archives,
    "images": build_images,
    "onnx": build_onnx,
    "safetensors": build_safetensors,
    "dataset": build_dataset,
    "checkpoint": build_checkpoint,
    "run": build_run,
    "toml": build_toml,
    "parts": build_parts,
    "uploads": build_uploads,
}
"""By the name that `--target` takes."""
