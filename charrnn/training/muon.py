"""Muon: momentum with an orthogonalised direction (Jordan et al. 2024), gate by gate.

N: blocks of a matrix   H: hidden units
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Jordan's quintic a s + b s^3 + c s^5 moves singular values s to about 1: quickly near 0, roughly near 1."""

NUMBERS = 1 << 24
"""The most numbers of the blocks that are orthogonalised at once."""


def orthogonalised(blocks: Tensor) -> Tensor:
    """(N, rows, columns) -> the same singular vectors with all singular values near 1, by Newton-Schulz."""
    x: Tensor = blocks / (blocks.norm(dim=(1, 2), keepdim=True) * 1.01 + 1e-7)
    wide = x.shape[1] < x.shape[2]
    if wide:
        x = x.mT
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x.mT @ x
        x = torch.baddbmm(x, x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), beta=a)
    return x.mT if wide else x


class Muon(torch.optim.Optimizer):
    """The optimiser for the matrices of recurrent layers, whose rows are a multiple of ``hidden``.

    The H rows of each gate are orthogonalised as a matrix of their own. Where H is even they are two blocks,
    which halves the work and gave no worse losses (benchmarks/RESULTS.md). ``precision`` is the type of the
    iterations; a low one is enough.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        hidden: int,
        lr: float,
        momentum: float = 0.95,
        precision: torch.dtype | None = None,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})
        self.hidden, self.precision = hidden, precision

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Subtract lr times the orthogonalised Nesterov momentum from every parameter."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].lerp_(gradient, 1 - group["momentum"])
                ahead = gradient.lerp(momentum, group["momentum"])
                columns = parameter.shape[1]
                height = self.hidden // 2 if self.hidden % 2 == 0 else self.hidden
                # A tall block needs larger singular values for the same change of its output.
                rate = group["lr"] * max(1.0, height / columns) ** 0.5
                size = max(1, NUMBERS // (height * columns))
                parts = (tensor.view(-1, height, columns).split(size) for tensor in (parameter, ahead))
                for part, blocks in zip(*parts, strict=True):
                    direction = orthogonalised(blocks.to(self.precision or blocks.dtype))
                    part.add_(direction.to(part.dtype), alpha=-rate)
