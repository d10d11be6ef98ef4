"""The array operations of cells and of attention in NumPy, and matrices that OpenBLAS multiplies fast.

B: batch   H: hidden   N: outputs that a step attends to
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from types import EllipsisType

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@cache
def _gate_scale(activations: tuple[str, ...], width: int, dtype: str) -> tuple[Floats, Floats]:
    """(1, width) scale, 1/2 for a sigmoid and 1 for a tanh, and (1, width) shift, 1 minus the scale."""
    factors = [0.5 if activation == "sigmoid" else 1.0 for activation in activations]
    scale = np.repeat(factors, width // len(activations)).astype(dtype)[None]
    return scale, 1 - scale


@cache
def _slices(parts: int, width: int) -> tuple[tuple[EllipsisType, slice], ...]:
    """The index of each of ``parts`` equal parts of a last axis."""
    size = width // parts
    return tuple((..., slice(k * size, (k + 1) * size)) for k in range(parts))


FEW = 6
"""Batch size up to which OpenBLAS multiplies one row at a time faster than all at once."""


class NumpyOps:
    """``cells.Ops`` for NumPy.

    With one character per call, most of the time is the overhead of NumPy calls, and arrays of equal shapes
    take half the time of arrays that broadcast.
    """

    tanh = staticmethod(np.tanh)

    @staticmethod
    def product(x: Floats, matrix: Floats | Recurrent) -> Floats:
        if 1 < len(x) <= FEW:
            return (x[:, None] @ matrix.T)[:, 0]
        result: Floats = x.dot(matrix.T)  # as @, with fewer checks
        return result

    @staticmethod
    def affine(x: Floats, h: Floats, matrix: Floats | Recurrent) -> Floats:
        result = NumpyOps.product(h, matrix)
        result += x
        return result

    @staticmethod
    def sigmoid(x: Floats) -> Floats:
        return NumpyOps.gates(x, ("sigmoid",))[0]

    @staticmethod
    def split(x: Floats, parts: int) -> Sequence[Floats]:
        return [x[index] for index in _slices(parts, x.shape[-1])]

    @staticmethod
    def gates(x: Floats, activations: tuple[str, ...]) -> Sequence[Floats]:
        # One tanh for all gates, with sigmoid(x) = tanh(x / 2) / 2 + 1 / 2. This form does not overflow;
        # 1 / (1 + exp(-x)) does.
        scale, shift = _gate_scale(activations, x.shape[-1], x.dtype.char)
        x = x * scale
        np.tanh(x, x)
        x *= scale
        x += shift
        return NumpyOps.split(x, len(activations))

    @staticmethod
    def concatenate(left: Floats, right: Floats) -> Floats:
        result: Floats = np.concatenate([left, right], -1)
        return result


class OneHotOps(NumpyOps):
    """Ops for the V one-hot characters as input, a range: a product is V rows of the transposed matrix."""

    @staticmethod
    def product(x: range, matrix: Floats | Recurrent) -> Floats:  # type: ignore[override]
        return matrix.T[: len(x)]

    @staticmethod
    def affine(x: Floats, h: range, matrix: Floats | Recurrent) -> Floats:  # type: ignore[override]
        return matrix.T[: len(h)] + x

    @staticmethod
    def concatenate(left: Floats, right: Floats | range) -> Floats:
        if isinstance(right, range):  # the characters themselves are an input only of a cell with H = V
            right = np.eye(len(right), dtype=left.dtype)
        return NumpyOps.concatenate(left, right)


class AttentionOps(NumpyOps):
    """``attention.Ops`` for NumPy: one step, (B, H) queries, and the (B, N, H) outputs that it attends to."""

    @staticmethod
    def scores(queries: Floats, seen: Floats) -> Floats:
        result: Floats = (seen @ queries[..., None])[..., 0]
        return result

    @staticmethod
    def softmax(scores: Floats) -> Floats:
        result: Floats = np.exp(scores - scores.max(-1, keepdims=True))
        result /= result.sum(-1, keepdims=True)
        return result

    @staticmethod
    def contexts(weights: Floats, seen: Floats) -> Floats:
        result: Floats = (weights[:, None] @ seen)[:, 0]
        return result


def aligned(array: Floats) -> Floats:
    """A copy in column-major order that starts on a cache line.

    Products of 8 to 64 rows with its transpose are 1.2 to 2 times as fast as with that of a row-major matrix,
    and those of one row no slower (benchmarks/RESULTS.md). Other addresses cost up to 10 %.
    """
    line = 64
    buffer = np.empty(array.nbytes + line, np.uint8)
    start = -buffer.ctypes.data % line
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.T.shape).T
    copy[:] = array
    return copy


class Recurrent:
    """A recurrent matrix for ``cells.Ops``. Slices of its rows are column-major copies, made once.

    Slices of a column-major matrix are not contiguous, and make the step of one row up to 10 % slower.
    """

    def __init__(self, matrix: Floats) -> None:
        self._matrix = matrix
        self._slices: dict[tuple[int | None, int | None], Floats] = {}

    @cached_property
    def T(self) -> Floats:  # noqa: N802
        """The transpose of the whole matrix."""
        return aligned(self._matrix).T

    def __getitem__(self, rows: slice) -> Floats:
        key = rows.start, rows.stop
        if key not in self._slices:
            self._slices[key] = aligned(self._matrix[rows])
        return self._slices[key]
