"""The architecture of a model as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fercli.plots import plot_diagram

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from fercli.metadata import ModelMetadata

__all__ = ["plot_network"]

_LONGEST: Final = 28
"""Boxes in a column, so that deep networks stay legible."""


def plot_network(model: Path, metadata: ModelMetadata) -> Figure:
    """Plot the layers of a model's network, shapes and parameters.

    Args:
        model: The model's file, for errors.
        metadata: What is stored in it; its weights are not needed, so an ONNX will do.

    Raises:
        ModelFileError: It is of a network that this fercli lacks.
        DependencyMissingError: matplotlib cannot be imported.
    """
    from fercli.model_files import build_untrained
    from fercli.networks import count_parameters
    from fercli.networks.summary import list_blocks

    network = build_untrained(model, metadata)
    rows = [("gray face crop, normalized", "1 x 48 x 48", "")]
    for block in list_blocks(network):
        shape = " x ".join(map(str, block.shape))
        rows.append((block.kind, shape, f"{block.n_parameters:,}" if block.n_parameters else ""))
    rows.append(("softmax", str(len(metadata.labels)), ""))
    total = count_parameters(network)
    title = f"{metadata.network.name}, {total:,} parameters"
    return plot_diagram(rows, title, n_columns=-(-len(rows) // _LONGEST))
