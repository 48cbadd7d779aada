from __future__ import annotations

import gzip
import io

import pytest

from fercli.data.streams import decompress


@pytest.mark.parametrize("content", [b"", b"\x1f", b"emotion,pixels\n", b"\x1f\x8a rest"])
def test_what_is_not_gzip_comes_as_it_is(content: bytes) -> None:
    with decompress(io.BytesIO(content)) as stream:
        assert stream.read() == content


def test_gzip_comes_unpacked() -> None:
    content = b"emotion,pixels,Usage\n" * 1000

    with decompress(io.BytesIO(gzip.compress(content))) as stream:
        assert stream.read() == content


def test_gzip_that_is_cut_off_is_not_taken_for_the_end() -> None:
    packed = gzip.compress(bytes(range(256)) * 64)

    with decompress(io.BytesIO(packed[: len(packed) // 2])) as stream, pytest.raises(EOFError):
        stream.read()
