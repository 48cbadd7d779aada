"""Muon: momentum whose every step is made orthogonal.

Stepping by the nearest semi-orthogonal matrix moves all directions of a weight matrix alike,
where plain momentum moves the few that the gradients agree on. Every bank of R filters is brought
to the length sqrt(R) before it is stepped, so the learning rate is about the relative change of a
step; a norm after each convolution undoes the length anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, overload

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.nn import Parameter

__all__ = ["Muon", "orthogonalize"]

_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
_ITERATIONS: Final = 3
"""Enough to bring the singular values of random wide matrices near one (a test says how near);
values far below the largest would need more, and are left small."""


class Muon(torch.optim.Optimizer):
    """Orthogonal steps for the groups with `orthogonal` set, SGD-Nesterov for the others.

    Args:
        groups: Each with `params`, `weight_decay` (of the others only) and `orthogonal`; the
            parameters of orthogonal groups have two or more dimensions, the first the outputs.
        lr: Learning rate, > 0.
        momentum: In [0, 1).

    Source:
        Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the fixed
        filter length: airbench94_muon, 2024.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [item for item in group["params"] if item.grad is not None]
            if group["orthogonal"]:
                self._step_orthogonally(parameters, group)
            else:
                for parameter in parameters:
                    gradient = parameter.grad + group["weight_decay"] * parameter
                    parameter.sub_(group["lr"] * self._add_momentum(parameter, gradient, group))
        return loss

    def _step_orthogonally(self, parameters: list[Parameter], group: dict[str, Any]) -> None:
        # Matrices of one shape are orthogonalized together, which a GPU does in one go.
        alike: dict[tuple[int, ...], list[Parameter]] = {}
        for parameter in parameters:
            alike.setdefault(tuple(parameter.shape), []).append(parameter)
        for same in alike.values():
            steps = [self._add_momentum(item, item.grad, group).flatten(1) for item in same]
            for parameter, step in zip(same, orthogonalize(torch.stack(steps)), strict=True):
                length = len(parameter) ** 0.5
                parameter.mul_(length / parameter.norm())
                scale = max(1.0, length / step.shape[1] ** 0.5)
                parameter.sub_(step.view_as(parameter).to(parameter), alpha=group["lr"] * scale)

    def _add_momentum(self, parameter: Parameter, gradient: Any, group: dict[str, Any]) -> Tensor:  # noqa: ANN401
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        buffer.mul_(group["momentum"]).add_(gradient)
        return torch.add(gradient, buffer, alpha=group["momentum"])


def orthogonalize(matrices: Tensor) -> Tensor:
    """Return nearly the nearest semi-orthogonal matrix of each, by Newton-Schulz iteration.

    Every iterate is a polynomial of the R x R products of rows times the matrix, so all iterations
    are done on those, and the matrices, nine times as wide as they are high or more, are read
    twice only.

    Args:
        matrices: `[N, R, C]` float32.

    Returns:
        `[N, R, C]`, singular values around one.
    """
    first, third, fifth = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    rows = matrices.mT if tall else matrices
    rows = rows / (rows.norm(dim=(1, 2), keepdim=True) + 1e-7)
    gram = rows @ rows.mT
    identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    product = None
    for number in range(_ITERATIONS):
        factor = first * identity + third * gram + fifth * (gram @ gram)
        product = factor if product is None else factor @ product
        if number < _ITERATIONS - 1:
            gram = factor @ gram @ factor
    result: Tensor = product @ rows
    return result.mT if tall else result
