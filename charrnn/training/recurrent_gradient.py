"""The gradient of a recurrent matrix U, in one product for a whole window.

A step adds a recurrent product to its inputs: a_t = x_t + h_{t-1} U^T. With delta_t = d loss / d a_t,

    dU = sum_t delta_t^T h_{t-1} = [delta_1; ...; delta_T]^T [h_0; ...; h_{T-1}]

Autograd would make the small product of each step and add all of them. Here the backward pass of a step
only records delta_t and h_{t-1}. The product follows when every step of the window has recorded its pair;
so each backward pass must ask for the gradient of U, as training does.

T: steps   B: batch   D: columns of a matrix   R: rows of a matrix
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Pairs = list[tuple[Tensor, Tensor]]
"""(delta_t, h_{t-1}) of each step, (B, R) and (B, D)."""


class Recurrent:
    """A recurrent matrix for the steps of one window. A slice of its rows is a ``Recurrent`` too."""

    def __init__(self, matrix: Tensor) -> None:
        self.T = matrix.T  # the gradient of ``h @ u.T`` is left to autograd
        self.source = matrix
        self.pairs: Pairs = []
        self.matrix: Tensor = _Collected.apply(matrix, self.pairs)  # type: ignore[no-untyped-call]
        self.slices: dict[tuple[int | None, int | None], Recurrent] = {}

    def __getitem__(self, rows: slice) -> Recurrent:
        key = rows.start, rows.stop
        if key not in self.slices:
            self.slices[key] = Recurrent(self.source[rows])
        return self.slices[key]


class _Collected(torch.autograd.Function):
    """U itself, whose gradient is the product of all recorded pairs.

    Every step depends on the result, so autograd calls ``backward`` after the backward pass of every step.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, pairs: Pairs) -> Tensor:
        ctx.pairs = pairs
        ctx.set_materialize_grads(False)
        return matrix.view_as(matrix)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: None) -> tuple[Tensor | None, None]:
        if not ctx.pairs:
            return None, None
        deltas, states = (torch.cat(parts) for parts in zip(*ctx.pairs, strict=True))
        ctx.pairs.clear()
        return transposed_product(deltas, states), None


class _Affine(torch.autograd.Function):
    """x + h @ matrix.T, whose backward pass records the pair for the matrix, or multiplies it at once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, matrix: Tensor, pairs: Pairs | None) -> Tensor:
        ctx.save_for_backward(h, matrix)
        ctx.pairs = pairs
        return product(h, matrix).add_(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        h, matrix = ctx.saved_tensors
        for_h = product(delta, matrix.T) if ctx.needs_input_grad[1] else None
        for_matrix = None
        if ctx.pairs is None:
            for_matrix = transposed_product(delta.flatten(0, -2), h.flatten(0, -2))
        else:
            ctx.pairs.append((delta, h))
        return delta, for_h, for_matrix, None


def affine(x: Tensor, h: Tensor, matrix: Tensor | Recurrent) -> Tensor:
    """(..., R), (..., D), (R, D) -> (..., R): ``x + h @ matrix.T``; x may be (R,), a bias."""
    result: Tensor
    if isinstance(matrix, Recurrent):
        result = _Affine.apply(x, h, matrix.matrix, matrix.pairs)  # type: ignore[no-untyped-call]
    else:
        result = _Affine.apply(x.expand(*h.shape[:-1], -1), h, matrix, None)  # type: ignore[no-untyped-call]
    return result


ONEDNN = (
    torch.backends.cpu.get_cpu_capability() == "AVX512"
    and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
LARGE = 1 << 21
"""Multiplications from which oneDNN is faster than ``@`` on processors with AVX-512."""


def product(x: Tensor, matrix: Tensor) -> Tensor:
    """``x @ matrix.T`` without a gradient: (..., D), (R, D) -> (..., R).

    torch's LSTM multiplies with oneDNN, ``@`` with MKL, which takes twice as long on AMD processors with
    AVX-512 and less time on those without (benchmarks/RESULTS.md).
    """
    if ONEDNN and x.numel() * len(matrix) >= LARGE and x.dtype == torch.float32 and x.device.type == "cpu":
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, matrix, None, "none", [], "")
        return result
    return x @ matrix.T


def transposed_product(left: Tensor, right: Tensor) -> Tensor:
    """``left.T @ right`` without a gradient: (N, R), (N, D) -> (R, D)."""
    # oneDNN copies its first factor, so this is the narrower one: in nearly all layers D < R. A second factor
    # that is not contiguous would take 100 times as long.
    return product(right.contiguous().T, left.contiguous().T).T
