"""A trained network as one ONNX file that takes raw pixels.

Scaling, normalization, temperature and softmax are inside the graph, the labels in its metadata:
whoever runs it, in whatever language, cannot get the preprocessing wrong.
"""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from fercli.errors import DependencyMissingError
from fercli.export.writing import check_graph, serialize_model
from fercli.networks.runtime import to_pixels

if TYPE_CHECKING:
    from fercli.metadata import ModelMetadata
    from fercli.networks import FaceNetwork

__all__ = ["OPSET", "build_onnx", "round_to_half"]

OPSET: Final = 20
"""Version of the ONNX operator set; 20 is what torch's exporter writes without conversion."""


class _ExportedNetwork(nn.Module):
    """From uint8 images [N, 48, 48] to probabilities [N, K]."""

    def __init__(self, network: FaceNetwork, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(to_pixels(images))
        return torch.softmax(logits / self.temperature, dim=1)


def build_onnx(network: FaceNetwork, metadata: ModelMetadata, *, half: bool = False) -> bytes:
    """Return an ONNX model.

    Args:
        network: Trained, on the CPU; put in evaluation mode. See `fuse`.
        metadata: What is stored with the model, in the file too; `temperature` is built in.
        half: Store weights in half precision; they are computed with in fp32.

    Raises:
        DependencyMissingError: onnx or onnxscript cannot be imported.
    """
    try:
        import onnx  # noqa: F401  # the graph is checked by it, when all is computed
        import onnxscript  # noqa: F401  # torch's exporter needs it and says so less clearly
    except ImportError as reason:
        message = f"the ONNX libraries cannot be imported ({reason})"
        raise DependencyMissingError(message, hint="pip install onnx onnxscript") from reason
    module = _ExportedNetwork(network, metadata.temperature).eval()
    # Two images: a batch of one would be taken for a constant.
    example = torch.zeros(2, 48, 48, dtype=torch.uint8)
    with warnings.catch_warnings(), _quiet_exporter(), redirect_stdout(io.StringIO()):
        # Its notices are about its own internals, not about our model; some go to stdout.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            verbose=False,
            # Melting norms that are left would make other weights than those rounded below.
            optimize=not (half and _has_norms(network)),
            opset_version=OPSET,
            external_data=False,
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
        )
    if program is None:
        message = "torch.onnx.export returned nothing"
        raise RuntimeError(message)
    model = program.model_proto
    if half:
        _store_half(model)
    _strip_notes(model)
    stored = metadata.replace(quantized="fp16" if half else None)
    check_graph(model)
    return serialize_model(model, stored)


def round_to_half(network: FaceNetwork) -> None:
    """Round, in place, the weights that `build_onnx(half=True)` stores in half precision."""
    with torch.no_grad():
        for parameter in network.parameters():
            # Of convolutions and dense layers; norms and biases weigh nothing.
            if parameter.ndim > 1:
                parameter.copy_(parameter.half().float())


def _has_norms(network: FaceNetwork) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def _store_half(model: Any) -> None:  # noqa: ANN401  # onnx ships no types
    """Replace fp32 weights by fp16 ones and a cast, which runtimes fold when they load.

    The exporter may have turned and joined weights already, which rounding does not mind.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        name = tensor.name
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.ndim < 2:
            continue
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_fp16"))
        casts.append(helper.make_node("Cast", [f"{name}_fp16"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _strip_notes(model: Any) -> None:  # noqa: ANN401  # onnx ships no types
    """Remove what the exporter noted about each node: source lines and paths of this machine."""
    for item in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""


class _quiet_exporter:  # noqa: N801  # a context manager, used like a function
    """Silence the exporter's log, which speaks of libraries it does without."""

    def __enter__(self) -> None:
        self._loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
