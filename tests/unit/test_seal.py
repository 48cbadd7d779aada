"""No bit of an exported model flips unnoticed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fercli
from fercli.errors import ModelFileError
from fercli.inference import first_look
from fercli.inference.onnx import OnnxRuntime, is_exported
from fercli.inference.seal import SEAL_BLANK, SEAL_KEY, check_seal, seal
from fercli.model_files import find_model, open_runtime

ASSETS = Path(fercli.__file__).parent / "assets"
TINY = ASSETS / "tiny.onnx"


@pytest.fixture
def looked_at_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process look at files without a digest: a child of its own takes a second each."""
    monkeypatch.setattr(first_look, "_ask_child", first_look.find_fault)


def flip(content: bytes, bit: int) -> bytes:
    at, position = divmod(bit, 8)
    return content[:at] + bytes([content[at] ^ (1 << position)]) + content[at + 1 :]


def list_damages() -> Iterator[tuple[str, bytes]]:
    content = TINY.read_bytes()
    generator = np.random.default_rng(0)
    for bit in generator.integers(8 * len(content), size=300):
        yield f"bit {bit}", flip(content, int(bit))
    for at in generator.integers(len(content) - 4096, size=20):
        if any(content[at : at + 4096]):
            yield f"zeros at {at}", content[:at] + bytes(4096) + content[at + 4096 :]
    for size in generator.integers(len(content), size=20):
        yield f"cut at {size}", content[:size]
    yield "longer", content + b"\0"


@pytest.mark.usefixtures("looked_at_here")
def test_every_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"

    for what, content in list_damages():
        path.write_bytes(content)
        with pytest.raises(ModelFileError):
            pytest.fail(f"{what}: {OnnxRuntime(path).labels}")


@pytest.mark.usefixtures("looked_at_here")
def test_no_byte_of_the_digests_own_place_makes_a_model_without_one(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    content = TINY.read_bytes()
    begin = content.rindex(SEAL_KEY.encode()) - 2

    for at in range(begin, begin + len(SEAL_KEY) + 4 + 64):
        bit = 8 * at + at % 8
        path.write_bytes(flip(content, bit))
        with pytest.raises(ModelFileError):
            pytest.fail(f"bit {bit}: {OnnxRuntime(path).labels}")


def test_a_damaged_model_is_not_taken_for_somebody_elses(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    content = TINY.read_bytes()
    path.write_bytes(flip(content, 8 * content.rindex(b"fercli\x12")))

    with pytest.raises(ModelFileError, match="is damaged"):
        is_exported(path)


def test_a_whole_model_holds_its_digest_and_a_blank_place_is_filled_once() -> None:
    content = TINY.read_bytes()
    digest = check_seal(content, TINY)
    assert digest is not None

    blank = content.replace(digest.encode(), SEAL_BLANK.encode())

    assert seal(blank) == content
    with pytest.raises(ValueError, match="exactly one place"):
        seal(content)
    assert check_seal(b"no model", TINY) is None


@pytest.mark.parametrize("name", sorted(path.stem for path in ASSETS.glob("*.onnx")))
def test_bundled_models_are_the_pinned_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import fercli.model_files as module

    monkeypatch.setattr(module, "_ASSETS", ASSETS)
    open_runtime(find_model(name), device="cpu")

    monkeypatch.setattr(module, "_read_pinned", lambda: {name: SEAL_BLANK})
    with pytest.raises(ModelFileError, match="not the model that came with"):
        open_runtime(find_model(name), device="cpu")


def test_the_last_of_several_places_is_the_digests_and_the_others_are_content() -> None:
    head = read_head()
    body = b"graph" + head + b"1" * 64 + b"more" + head
    digest = hashlib.sha256(body + SEAL_BLANK.encode()).hexdigest()
    content = body + digest.encode()

    assert check_seal(content, TINY) == digest
    with pytest.raises(ModelFileError, match="damaged"):
        check_seal(content.replace(b"1111", b"1121", 1), TINY)
    with pytest.raises(ValueError, match="exactly one place"):
        seal(body + SEAL_BLANK.encode())


def read_head() -> bytes:
    """Return what stands before a digest, as a bundled model has it."""
    content = TINY.read_bytes()
    begin = content.rindex(SEAL_KEY.encode()) - 2
    return content[begin : begin + 2 + len(SEAL_KEY) + 2]


def test_a_digest_may_be_the_last_of_a_file_and_not_less_than_whole() -> None:
    head = read_head()
    content = seal(head + SEAL_BLANK.encode())

    assert check_seal(content, TINY) == content[-64:].decode()
    assert check_seal(content[:-1], TINY) is None
    with pytest.raises(ValueError, match="exactly one place"):
        seal(head + SEAL_BLANK.encode()[:-1])
