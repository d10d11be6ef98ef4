"""The array operations of cells in torch, dropout masks, and the scan of a linear state.

T: characters   B: batch   H: hidden   V: vocabulary   C: condition width   R: rows of a matrix
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from charrnn.training.recurrent_gradient import Recurrent, affine


@cache
def _gate_scale(
    activations: tuple[str, ...], hidden: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(n*H,) factors, 2 for a tanh and 1 for a sigmoid, and (n*H,) offsets, 1 minus the factor."""
    factors = [2.0 if activation == "tanh" else 1.0 for activation in activations]
    scale = torch.tensor(factors, dtype=dtype, device=device).repeat_interleave(hidden)
    return scale, 1 - scale


class OneHot(NamedTuple):
    """(..., V + C) inputs, of which the first V are a one-hot vector, as the ids (...) and the other C."""

    ids: Tensor
    symbols: int
    others: Tensor | None = None

    @property
    def shape(self) -> torch.Size:
        """That of the ids."""
        return self.ids.shape

    def product(self, matrix: Tensor) -> Tensor:
        """(R, V + C) -> (..., R): columns of the matrix, without the vectors."""
        columns = functional.embedding(self.ids, matrix[:, : self.symbols].T)
        return columns if self.others is None else columns + self.others @ matrix[:, self.symbols :].T


class TorchOps:
    """``cells.Ops`` for torch."""

    tanh = staticmethod(torch.tanh)
    sigmoid = staticmethod(torch.sigmoid)

    @staticmethod
    def affine(x: Tensor, h: Tensor | OneHot, matrix: Tensor | Recurrent) -> Tensor:
        return x + TorchOps.product(h, matrix) if isinstance(h, OneHot) else affine(x, h, matrix)

    @staticmethod
    def product(x: Tensor | OneHot, matrix: Tensor | Recurrent) -> Tensor:
        if isinstance(x, OneHot):
            assert isinstance(matrix, Tensor)  # the inputs of a layer are never multiplied by a Recurrent
            return x.product(matrix)
        return x @ matrix.T

    @staticmethod
    def split(x: Tensor, parts: int) -> Sequence[Tensor]:
        return x.chunk(parts, dim=-1)

    @staticmethod
    def gates(x: Tensor, activations: tuple[str, ...]) -> Sequence[Tensor]:
        if "tanh" not in activations:
            return torch.sigmoid(x).chunk(len(activations), dim=-1)
        # One sigmoid for all gates, with tanh(x) = 2 sigmoid(2 x) - 1: fewer and larger operations,
        # and torch's tanh takes several times as long as its sigmoid.
        scale, shift = _gate_scale(activations, x.shape[-1] // len(activations), x.dtype, x.device)
        return torch.addcmul(shift, torch.sigmoid(x * scale), scale).chunk(len(activations), dim=-1)

    @staticmethod
    def concatenate(left: Tensor, right: Tensor) -> Tensor:
        return torch.cat([left, right], -1)


def dropout_mask(
    shape: Sequence[int], share: float, generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """A mask of 0 and 1 / (1 - share), where ``share`` of the elements, rounded to 1/256, are 0.

    It takes one random byte for each element: a million random floats take as long as a layer's products.
    """
    count, threshold = math.prod(shape), round(share * 256)
    words = torch.empty(-(-count // 8), dtype=torch.int64, device=device)
    random_bytes = words.random_(-(2**63), None, generator=generator).view(torch.uint8)[:count]
    return (random_bytes >= threshold).view(*shape) * (256 / (256 - threshold))


def linear_scan(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """All steps of h' = a * h + b: (T, B, H), (T, B, H), (B, H) -> (T, B, H), in log2 T rounds.

    Each round doubles the number of steps that (a, b) of a position stand for (Hillis & Steele 1986).
    """
    reach = 1
    while reach < len(a):
        b = torch.cat([b[:reach], b[reach:] + a[reach:] * b[:-reach]])
        a = torch.cat([a[:reach], a[reach:] * a[:-reach]])
        reach *= 2
    return b + a * h
