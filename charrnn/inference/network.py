"""The trained network in NumPy: ``logits, state = inference(ids, state)``.

B: batch   T: characters   V: vocabulary   D: inputs of a layer   H: hidden   G: gates
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from types import EllipsisType, SimpleNamespace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn import cells
from charrnn.cells import LayerState, State
from charrnn.config import ModelConfig
from charrnn.runs import parameters

Ids = NDArray[np.integer]
Floats = NDArray[np.floating]
Logits = Floats

Mask = NDArray[np.bool_]
"""(V,) or (B, V): whether each character may come."""

Trace = Callable[[int, LayerState, tuple[Floats, ...]], None]
"""Called at every step of every layer with the layer's index, its new carry and its gates.

Layers run one after the other over all T: a watcher of one layer sees its steps in order.
"""


class Predictor(Protocol):
    """Whatever can be asked: the network, an ensemble, or a fake of ten lines in a test."""

    def start(self, batch: int) -> State:
        """The state before any text."""

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        """(B, T) ids -> (B, T, V) logits of the character after each, and the state after the last."""


@cache
def _gate_scale(activations: tuple[str, ...], width: int, dtype: str) -> tuple[Floats, Floats]:
    """(1, width) scale, 1/2 at a sigmoid and 1 at a tanh, and what to add."""
    each = [0.5 if kind == "sigmoid" else 1.0 for kind in activations]
    scale = np.repeat(each, width // len(activations)).astype(dtype)[None]
    return scale, 1 - scale


@cache
def _slices(parts: int, width: int) -> tuple[tuple[EllipsisType, slice], ...]:
    """Where each of the equal parts of a last axis lies."""
    one = width // parts
    return tuple((..., slice(k * one, (k + 1) * one)) for k in range(parts))


FEW = 6
"""Up to so many rows, OpenBLAS multiplies sooner one by one than all at once."""


class NumpyOps:
    """``cells.Ops`` for NumPy.

    At one character a call the price is the number of calls to NumPy, and what each has to
    find out first: arrays of one shape cost half of those that broadcast.
    """

    tanh = staticmethod(np.tanh)

    @staticmethod
    def product(x: Floats, matrix: Floats) -> Floats:
        if 1 < len(x) <= FEW:
            return (x[:, None] @ matrix.T)[:, 0]
        rows: Floats = x.dot(matrix.T)  # as @, with less to find out first
        return rows

    @staticmethod
    def affine(x: Floats, h: Floats, matrix: Floats) -> Floats:
        rows = NumpyOps.product(h, matrix)
        rows += x
        return rows

    @staticmethod
    def sigmoid(x: Floats) -> Floats:
        return NumpyOps.gates(x, ("sigmoid",))[0]

    @staticmethod
    def split(x: Floats, parts: int) -> Sequence[Floats]:
        return [x[place] for place in _slices(parts, x.shape[-1])]

    @staticmethod
    def gates(x: Floats, activations: tuple[str, ...]) -> Sequence[Floats]:
        # One tanh over all gates: sigmoid(x) = tanh(x / 2) / 2 + 1 / 2, which does not overflow,
        # as 1 / (1 + exp(-x)) does.
        scale, shift = _gate_scale(activations, x.shape[-1], x.dtype.char)
        x = x * scale
        np.tanh(x, x)
        x *= scale
        x += shift
        return NumpyOps.split(x, len(activations))


def _aligned(array: Floats) -> Floats:
    """A copy where a cache line starts: at another place products take up to a tenth longer."""
    line = 64
    room = np.empty(array.nbytes + line, np.uint8)
    start = -room.ctypes.data % line
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[:] = array
    return copy


class Inference:
    """The network of a checkpoint, as a Predictor. The weights' dtype is the arithmetic's."""

    def __init__(self, config: ModelConfig, weights: dict[str, Floats]) -> None:
        """``weights`` as ``parameters.shapes`` names them."""
        self.config = config
        self.cell = cells.get(config.cell)
        self.layers = [
            SimpleNamespace(
                **{
                    # a vector as (1, n), the shape of one stream's rows
                    name: np.atleast_2d(_aligned(weights[f"layers.{index}.{name}"]))
                    for name in self.cell.shapes(inputs, config.hidden)
                }
            )
            for index, inputs in enumerate(parameters.layer_inputs(config, len(weights["readout.bias"])))
        ]
        # The first layer's input product is one of V known rows: a lookup, not a product.
        first = self.layers[0]
        if config.embedding:
            table = self._rows(first, weights["embedding.weight"])
        else:  # what a one-hot input takes from a matrix is a column
            table = first.weight_ih.T + first.bias
            if self.cell.raw_input:
                raw = first.projection.T if hasattr(first, "projection") else np.eye(len(table))
                table = np.concatenate([table, raw.astype(table.dtype)], -1)
        self.table = np.ascontiguousarray(table)
        self.readout, self.readout_bias = _aligned(weights["readout.weight"]), weights["readout.bias"][None]

    def start(self, batch: int) -> State:
        """Zeros, (B, H) for each carry of each layer."""
        shape = (batch, self.config.hidden)
        return tuple(
            tuple(np.zeros(shape, self.table.dtype) for _ in self.cell.state_names) for _ in self.layers
        )

    def _rows(self, w: SimpleNamespace, inputs: Floats) -> Floats:
        """(N, D) inputs of a layer -> (N, G*H), what its steps are given."""
        rows = NumpyOps.product(inputs, w.weight_ih)
        rows += w.bias
        if not self.cell.raw_input:
            return rows
        raw = NumpyOps.product(inputs, w.projection) if hasattr(w, "projection") else inputs
        joined: Floats = np.concatenate([rows, raw], -1)
        return joined

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        """(B, T) ids -> (B, T, V) logits of the character after each, and the state after the last."""
        batch, times = ids.shape
        after: list[LayerState] = []
        x = self.table.take(ids.T.ravel(), 0)  # (T*B, G*H), the batch of the first time first
        outputs = x
        for index, (w, carry) in enumerate(zip(self.layers, state, strict=True)):
            if index:
                x = self._rows(w, outputs)
            hidden = []
            for row in (x,) if times == 1 else x.reshape(times, batch, x.shape[1]):
                carry, gates = self.cell.step(w, row, carry, NumpyOps)
                hidden.append(carry[0])
                if trace is not None:
                    trace(index, carry, gates)
            outputs = carry[0] if times == 1 else np.concatenate(hidden or [carry[0][:0]])  # (T*B, H)
            after.append(carry)
        logits = NumpyOps.product(outputs, self.readout)
        logits += self.readout_bias
        return logits.reshape(times, batch, logits.shape[1]).swapaxes(0, 1), tuple(after)


CHUNK = 512
"""Characters a call when a long text is read: memory stays flat, and products stay large."""


def read(
    predictor: Predictor, ids: Ids, state: State, trace: Trace | None = None
) -> Iterator[tuple[Ids, Logits, State]]:
    """Read one long text (N,) in pieces: yields (ids (n,), logits (n, V), state after them)."""
    for start in range(0, len(ids), CHUNK):
        piece = ids[start : start + CHUNK]
        logits, state = predictor(piece[None], state, trace)
        yield piece, logits[0], state
