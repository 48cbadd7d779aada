"""Muon: momentum whose every step is made orthogonal.

Stepping by the nearest semi-orthogonal matrix moves all directions of a weight matrix alike,
where plain momentum moves the few that the gradients agree on. Every bank of R filters is brought
to the length sqrt(R) before it is stepped, so the learning rate is about the relative change of a
step; a norm after each convolution undoes the length anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, overload

import torch
from torch import Tensor

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
            parameters: list[Tensor] = [item for item in group["params"] if item.grad is not None]
            if not parameters:
                continue
            # All of a group at once, which a GPU does in a launch or two.
            gradients = [item.grad for item in parameters if item.grad is not None]
            if group["orthogonal"]:
                self._step_orthogonally(parameters, gradients, group)
                continue
            decayed = list(torch._foreach_mul(parameters, group["weight_decay"]))  # noqa: SLF001  # torch's optimizers use it, too
            torch._foreach_add_(decayed, gradients)
            steps = self._add_momentum(parameters, decayed, group)
            torch._foreach_mul_(steps, group["lr"])
            torch._foreach_sub_(parameters, steps)
        return loss

    def _step_orthogonally(
        self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]
    ) -> None:
        steps = self._add_momentum(parameters, gradients, group)
        scales = list(torch._foreach_norm(parameters))  # noqa: SLF001  # likewise
        torch._foreach_reciprocal_(scales)
        torch._foreach_mul_(scales, [len(item) ** 0.5 for item in parameters])
        torch._foreach_mul_(parameters, scales)
        # Matrices of one shape are orthogonalized together.
        alike: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
        for parameter, step in zip(parameters, steps, strict=True):
            alike.setdefault(tuple(parameter.shape), []).append((parameter, step.flatten(1)))
        for shape, pairs in alike.items():
            same, matrices = zip(*pairs, strict=True)
            orthogonal = orthogonalize(torch.stack(matrices)).view(-1, *shape)
            scale = max(1.0, shape[0] ** 0.5 / matrices[0].shape[1] ** 0.5)
            torch._foreach_sub_(same, orthogonal.unbind(), alpha=group["lr"] * scale)

    def _add_momentum(
        self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]
    ) -> list[Tensor]:
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        buffers = [self.state[item]["momentum_buffer"] for item in parameters]
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, gradients)
        return list(torch._foreach_add(gradients, buffers, alpha=group["momentum"]))  # noqa: SLF001  # likewise


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
    identity = first * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    product = None
    for number in range(_ITERATIONS):
        factor = identity + third * gram + fifth * (gram @ gram)
        product = factor if product is None else factor @ product
        if number < _ITERATIONS - 1:
            gram = factor @ gram @ factor
    result: Tensor = product @ rows
    return result.mT if tall else result
