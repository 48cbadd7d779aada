"""A network's blocks, with the shapes that leave them and the numbers in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from fercli.networks import FaceNetwork

__all__ = ["Block", "list_blocks"]


@dataclass(frozen=True)
class Block:
    """A layer of a network, or several of the same that follow each other's numbers."""

    name: str
    """Its place, as the weights are called."""
    kind: str
    """What it is, for people."""
    shape: tuple[int, ...]
    """What leaves it for one image, without N."""
    n_parameters: int
    """Numbers in it."""


def list_blocks(network: FaceNetwork, side_px: int = 48) -> list[Block]:
    """Return the layers that hold weights or change the shape, in the order they are passed.

    Args:
        network: Any; put in evaluation mode.
        side_px: Of the image it is shown.
    """
    blocks: list[Block] = []
    hooks = []
    for name, module in network.body.named_modules():
        is_leaf = not any(True for _ in module.children())
        if is_leaf or (name and not isinstance(module, nn.Sequential | nn.ModuleList)):
            hooks.append(module.register_forward_hook(_note(blocks, name, is_leaf=is_leaf)))
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 1, side_px, side_px))
    finally:
        for hook in hooks:
            hook.remove()
    return blocks


def _note(
    blocks: list[Block], name: str, *, is_leaf: bool
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    """Return a hook that appends what passed; a norm joins what it norms."""

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shape = tuple(output.shape[1:])
        own = sum(parameter.numel() for parameter in module.parameters())
        if not is_leaf:
            blocks.append(Block(name, f"end of {name}", shape, 0))
        elif isinstance(module, _NORMS) and blocks:
            last = blocks[-1]
            blocks[-1] = replace(
                last, kind=f"{last.kind}, batch norm", n_parameters=last.n_parameters + own
            )
        elif own or shape != tuple(inputs[0].shape[1:]):
            blocks.append(Block(name, _describe(module), shape, own))

    return note


_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d)


def _describe(module: nn.Module) -> str:
    """Return a layer's kind and what sets it apart from others of the kind."""
    kind = type(module).__name__
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        stride = f", stride {module.stride[0]}" if module.stride[0] > 1 else ""
        if module.groups == module.in_channels > 1:
            return f"depthwise convolutions {height}x{width}"
        paired = "mirrored pairs of " if kind == "PairedConv2d" else ""
        return f"{paired}convolutions {height}x{width}{stride}"
    if isinstance(module, nn.Linear):
        return f"dense {module.in_features} to {module.out_features}"
    if isinstance(module, nn.MaxPool2d):
        return f"max pooling {module.kernel_size}x{module.kernel_size}"
    return kind
