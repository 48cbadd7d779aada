"""Weights that somebody trained on other pictures: torchvision's, or a file with the same names.

They go into a network whose first layer sees gray and whose last is new; everything between must
fit, name by name and shape by shape.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fercli.errors import ModelFileError, SetupError
from fercli.networks import find_head
from fercli.networks.backbones import Backbone, import_models, turn_gray

if TYPE_CHECKING:
    from fercli.config import TrainConfig, TransferConfig
    from fercli.networks import FaceNetwork

__all__ = ["freeze", "load_pretrained"]


def load_pretrained(network: FaceNetwork, config: TrainConfig) -> str:
    """Put pretrained weights into a network.

    Args:
        network: Of torchvision's kind, initialized; changed in place.
        config: Says which network it is and whether the weights come from a file.

    Returns:
        What they are, for the record of the model.

    Raises:
        DependencyMissingError: torchvision cannot be imported.
        ModelFileError: The file is missing, damaged, or of another network.
        SetupError: The weights cannot be downloaded.
    """
    name, file = config.model.network, config.transfer.pretrained_weights
    if file:
        weights, title = _read_file(Path(file)), Path(file).name
    else:
        weights, title = _download(name)
    body = network.body
    if not isinstance(body, Backbone):
        raise TypeError(name)
    _load(body, weights, f"{title} for {name}")
    return title


def freeze(
    network: FaceNetwork,
    optimizer: torch.optim.Optimizer,
    config: TransferConfig,
    *,
    frozen: bool,
) -> None:
    """Train only what the weights that were begun with do not bring, or all that is trained at all.

    The last layer is always trained; the first, where it was made for color.

    Args:
        network: Its parameters are frozen, or not any more.
        optimizer: Has what is trained at all: a computed stem, for one, never is.
        config: Says whose the weights are.
        frozen: Whether the others rest.
    """
    new = list(network.get_submodule(find_head(network)).parameters())
    if config.is_pretrained and isinstance(network.body, Backbone):
        new += network.body.list_new()
    always = set(map(id, new))
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.requires_grad_(not frozen or id(parameter) in always)


def _load(body: Backbone, weights: dict[str, Tensor], which: str) -> None:
    stem, head = f"{body.stem}.weight", f"{body.head}."
    if stem in weights and weights[stem].ndim == 4 and weights[stem].shape[1] == 3:
        weights[stem] = turn_gray(weights[stem])
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(head)}
    try:
        result = body.model.load_state_dict(kept, strict=False)
    except RuntimeError as reason:
        text = " ".join(str(reason).split())[:200]
        message = f"the weights {which} have another shape ({text})"
        raise ModelFileError(message) from reason
    missing = [name for name in result.missing_keys if not name.startswith(head)]
    strange = [*missing, *result.unexpected_keys]
    if strange:
        message = f"the weights {which} are for another network ({', '.join(strange[:3])}, ...)"
        raise ModelFileError(message)


def _download(name: str) -> tuple[dict[str, Tensor], str]:
    """Return torchvision's own weights, from its cache where they are there."""
    entry = import_models().get_model_weights(name).DEFAULT
    try:
        weights: dict[str, Tensor] = entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as reason:
        message = f"the pretrained weights of {name} cannot be downloaded ({reason})"
        hint = f"download {entry.url} and give --set pretrained_weights=FILE"
        raise SetupError(message, hint=hint) from reason
    return weights, str(entry)


def _read_file(path: Path) -> dict[str, Tensor]:
    """Read a `.safetensors`, or a `.pth` without running what may be in it."""
    if not path.is_file():
        message = f"there are no pretrained weights at {path}"
        raise ModelFileError(message)
    try:
        if path.suffix == ".safetensors":
            arrays: dict[str, Tensor] = load_file(path)
            return arrays
        weights: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as reason:
        message = f"{path} cannot be read as weights"
        hint = "give a .safetensors, or a .pth that holds only tensors"
        raise ModelFileError(message, hint=hint) from reason
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        message = f"{path} does not hold a plain mapping of names to tensors"
        raise ModelFileError(message)
    return weights
