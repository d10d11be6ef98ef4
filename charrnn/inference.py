"""The trained network in NumPy: ``logits, state = inference(ids, state)``.

B: batch   T: characters   V: vocabulary   D: inputs of a layer   H: hidden   G: gates
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn import cells, network
from charrnn.cells import Carry
from charrnn.config import ModelConfig

Ids = NDArray[np.integer]
Floats = NDArray[np.floating]
Logits = Floats

State = tuple[Carry, ...]
"""One carry per layer, lowest first; a value: never changed in place."""

Trace = Callable[[int, Carry, tuple[Floats, ...]], None]
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
def _half_or_one(kinds: tuple[str, ...], hidden: int, dtype: str) -> tuple[Floats, Floats]:
    """(n*H,) scale, 1/2 at a sigmoid and 1 at a tanh, and what to add."""
    scale = np.repeat([0.5 if kind == "sigmoid" else 1.0 for kind in kinds], hidden).astype(dtype)
    return scale, 1 - scale


class NumpyOps:
    """``cells.Ops`` for NumPy."""

    tanh = staticmethod(np.tanh)

    @staticmethod
    def sigmoid(x: Floats) -> Floats:
        x = np.tanh(0.5 * x)  # which does not overflow, as 1 / (1 + exp(-x)) does
        return 0.5 * x + 0.5

    @staticmethod
    def split(x: Floats, parts: int) -> Sequence[Floats]:
        width = x.shape[-1] // parts
        return [x[..., k * width : (k + 1) * width] for k in range(parts)]

    @staticmethod
    def gates(x: Floats, kinds: tuple[str, ...]) -> Sequence[Floats]:
        # One tanh over all gates, since sigmoid(x) = tanh(x / 2) / 2 + 1 / 2: at one character a
        # call NumPy's price is the number of calls.
        scale, shift = _half_or_one(kinds, x.shape[-1] // len(kinds), x.dtype.char)
        x = x * scale
        np.tanh(x, out=x)
        x *= scale
        x += shift
        return NumpyOps.split(x, len(kinds))


class Inference:
    """The network of a checkpoint, as a Predictor. The weights' dtype is the arithmetic's."""

    def __init__(self, config: ModelConfig, weights: dict[str, Floats]) -> None:
        """``weights`` as ``network.shapes`` names them."""
        self.config = config
        self.cell = cells.get(config.cell)
        self.layers = [
            SimpleNamespace(
                **{
                    name: weights[f"layers.{index}.{name}"]
                    for name in self.cell.shapes(inputs, config.hidden)
                }
            )
            for index, inputs in enumerate(network.layer_inputs(config, len(weights["readout.bias"])))
        ]
        # The first layer's input product is one of V known rows: a lookup, not a product.
        first = self.layers[0]
        if config.embedding:
            table = self._rows(first, weights["embedding.weight"])
        else:  # what a one-hot input takes from a matrix is a column
            table = first.weight_ih.T + first.bias
            if self.cell.bare:
                bare = first.projection.T if hasattr(first, "projection") else np.eye(len(table))
                table = np.concatenate([table, bare.astype(table.dtype)], -1)
        self.table = np.ascontiguousarray(table)
        self.readout, self.readout_bias = weights["readout.weight"], weights["readout.bias"]

    def start(self, batch: int) -> State:
        """Zeros, (B, H) for each carry of each layer."""
        shape = (batch, self.config.hidden)
        return tuple(tuple(np.zeros(shape, self.table.dtype) for _ in self.cell.carries) for _ in self.layers)

    def _rows(self, w: SimpleNamespace, inputs: Floats) -> Floats:
        """(..., D) inputs of a layer -> (..., G*H), what its steps are given."""
        rows: Floats = inputs @ w.weight_ih.T + w.bias
        if not self.cell.bare:
            return rows
        bare = inputs @ w.projection.T if hasattr(w, "projection") else inputs
        joined: Floats = np.concatenate([rows, bare], -1)
        return joined

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        """(B, T) ids -> (B, T, V) logits of the character after each, and the state after the last."""
        after: list[Carry] = []
        outputs = np.empty(0)
        for index, (w, carry) in enumerate(zip(self.layers, state, strict=True)):
            x = self.table[ids.T] if index == 0 else self._rows(w, outputs)  # (T, B, G*H)
            outputs = np.empty((len(x), *carry[0].shape), x.dtype)  # (T, B, H)
            for t, row in enumerate(x):
                carry, gates = self.cell.step(w, row, carry, NumpyOps)
                outputs[t] = carry[0]
                if trace is not None:
                    trace(index, carry, gates)
            after.append(carry)
        logits = outputs @ self.readout.T + self.readout_bias
        return logits.swapaxes(0, 1), tuple(after)


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
