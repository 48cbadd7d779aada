"""A digest within an ONNX file of all its bytes, since onnxruntime loads flipped ones.

The file holds its own sha256, taken with zeros in its place, as an entry of `metadata_props`. It
is found by its bytes, so that nothing of a file is parsed before it is known to be whole. What
fercli wrote says in its other entry that there is such a digest: a flipped bit in the name of the
first does not make it a file without one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from fercli.errors import ModelFileError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SEAL_BLANK", "SEAL_KEY", "check_seal", "refuse_damaged", "seal"]

SEAL_KEY: Final = "fercli.sha256"
"""Of the entry of `metadata_props`."""
SEAL_BLANK: Final = "0" * 64
"""Stands where the digest will be."""
_HEAD: Final = b"\x0a" + bytes([len(SEAL_KEY)]) + SEAL_KEY.encode() + b"\x12\x40"
"""What precedes the digest: an entry of two fields, as protobuf writes it."""


def seal(content: bytes) -> bytes:
    """Return an ONNX file whose entry `SEAL_KEY` is blank with its digest in it.

    Raises:
        ValueError: It has no such entry, or several.
    """
    at = _find_digest(content)
    if at is None or content.count(_HEAD) != 1 or content[at : at + 64] != SEAL_BLANK.encode():
        message = "the model does not have exactly one place for its digest"
        raise ValueError(message)
    digest = hashlib.sha256(content).hexdigest().encode()
    return content[:at] + digest + content[at + 64 :]


def check_seal(content: bytes, path: Path) -> str | None:
    """Return the digest that an ONNX file holds of itself, or None where it holds none.

    Args:
        content: The file.
        path: Its name, for errors.

    Raises:
        ModelFileError: It is not what was written.
    """
    at = _find_digest(content)
    if at is None:
        return None
    view = memoryview(content)
    digest = hashlib.sha256(view[:at])
    digest.update(SEAL_BLANK.encode())
    digest.update(view[at + 64 :])
    found = bytes(view[at : at + 64])
    if found != digest.hexdigest().encode():
        raise refuse_damaged(path)
    return found.decode()


def refuse_damaged(path: Path) -> ModelFileError:
    """Return the error of a file that is not what was written."""
    message = f"{path} is damaged: its content does not match its sha256"
    return ModelFileError(message, hint="download or export it again")


def _find_digest(content: bytes) -> int | None:
    """Return where the digest is: at the last place that looks like one; None without any.

    Looking for another place would take a third as long as hashing.
    """
    at = content.rfind(_HEAD)
    return None if at < 0 or at + len(_HEAD) + 64 > len(content) else at + len(_HEAD)
