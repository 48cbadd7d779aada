"""The bytes of an ONNX file: with our metadata, and the digest that every load checks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fercli.errors import VerificationError
from fercli.inference.onnx import METADATA_KEY, SEALED
from fercli.inference.seal import SEAL_BLANK, SEAL_KEY, seal

if TYPE_CHECKING:
    from fercli.metadata import ModelMetadata

__all__ = ["serialize_model"]


def check_graph(model: Any) -> None:  # noqa: ANN401  # onnx ships no types
    """Refuse a graph that is not valid ONNX.

    Args:
        model: An `onnx.ModelProto`.

    Raises:
        VerificationError: It is not.
    """
    import onnx

    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as reason:
        message = f"the exported graph is not valid ONNX ({' '.join(str(reason).split())[:300]})"
        raise VerificationError(message) from reason


def serialize_model(model: Any, metadata: ModelMetadata) -> bytes:  # noqa: ANN401  # onnx ships no types
    """Return an ONNX model as a file.

    Args:
        model: An `onnx.ModelProto`; what it says of itself is replaced.
        metadata: What it says of itself.
    """
    from onnx.helper import set_model_props

    text = json.dumps({**metadata.to_json(), SEALED: True})
    set_model_props(model, {METADATA_KEY: text, SEAL_KEY: SEAL_BLANK})
    return seal(model.SerializeToString())
