"""The trained network in NumPy: ``logits, state = inference(ids, state)``.

B: batch   T: characters   V: vocabulary   D: inputs of a layer   H: hidden   G: gates
R: inputs of the readout   N: outputs that a step attends to
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import cache, cached_property
from types import EllipsisType, SimpleNamespace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn import cells
from charrnn.attention import attend, queries
from charrnn.cells import LayerState, State
from charrnn.conditions import Values, find
from charrnn.config import ModelConfig
from charrnn.runs import parameters

Ids = NDArray[np.integer]
Floats = NDArray[np.floating]
Logits = Floats

Mask = NDArray[np.bool_]
"""(V,) or (B, V) booleans, True for each character that may be generated next."""

Trace = Callable[[int, LayerState, tuple[Floats, ...]], None]
"""Called at each step of each layer with the layer's index, its new state and its gates. With attention, then
called at each step with the number of layers, no state, and the weights (B, N).

A layer computes all T steps before the next layer starts; the calls for one layer are in the order of time.
"""


class Predictor(Protocol):
    """A model that predicts characters: a network, an n-gram model, a mixture, or a small fake in a test."""

    def start(self, batch: int) -> State:
        """The state before the first character of ``batch`` texts."""

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        """(B, T) ids -> (B, T, V) logits of the character after each, and the state after the last."""


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


class _OneHotOps(NumpyOps):
    """Ops for the V one-hot characters as input: a product is the first V rows of the transposed matrix."""

    @staticmethod
    def product(x: Floats, matrix: Floats | Recurrent) -> Floats:
        return matrix.T[: len(x)]

    @staticmethod
    def affine(x: Floats, h: Floats, matrix: Floats | Recurrent) -> Floats:
        return matrix.T[: len(h)] + x


class _AttentionOps(NumpyOps):
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


def _aligned(array: Floats) -> Floats:
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
        return _aligned(self._matrix).T

    def __getitem__(self, rows: slice) -> Floats:
        key = rows.start, rows.stop
        if key not in self._slices:
            self._slices[key] = _aligned(self._matrix[rows])
        return self._slices[key]


class Inference:
    """The network of a checkpoint, a ``Predictor``. It computes in the dtype of the weights."""

    def __init__(self, config: ModelConfig, weights: dict[str, Floats]) -> None:
        """``weights`` has the names and shapes of ``parameters.shapes``."""
        self.config = config
        self.cell = cells.get(config.cell)
        self.readout, self.readout_bias = _aligned(weights["readout.weight"]), weights["readout.bias"][None]
        self.layers = [
            SimpleNamespace(
                **{
                    # a vector as (1, n), the shape of a row for batch size 1
                    name: Recurrent(weights[f"layers.{index}.{name}"])
                    if name == "weight_hh"
                    else np.atleast_2d(_aligned(weights[f"layers.{index}.{name}"]))
                    for name in self.cell.shapes(inputs, config.hidden)
                }
            )
            for index, inputs in enumerate(parameters.layer_inputs(config, len(self.readout)))
        ]
        self.steps = [self.cell.step] * len(self.layers)
        if config.attention:
            query, distance = weights["attention.query"], weights["attention.distance"]
            self.attention = SimpleNamespace(query=_aligned(query), distance=_aligned(distance)[None])
        # The first layer has only V different inputs: a step looks its products up in this table.
        self._condition_weights = [weights[f"conditions.{k}.weight"] for k in range(len(config.conditions))]
        symbols, dtype = len(self.readout), self.readout.dtype
        characters = weights["embedding.weight"] if config.embedding else np.eye(symbols, dtype=dtype)
        ops = NumpyOps if config.embedding else _OneHotOps
        nothing = np.zeros((symbols, config.condition_inputs), dtype)
        table = self.cell.inputs(self.layers[0], np.concatenate([characters, nothing], 1), ops)
        self.table = np.ascontiguousarray(table)
        self.boundary = symbols - 1 if config.documents else None
        self._given: Floats | None = None
        if config.conditions:
            self._given = self._condition_products([condition.input(None) for condition in config.conditions])

    def given(self, values: Values) -> Inference:
        """The same network, conditioned on these values of labels and vectors, by their names.

        It shares its weights with this one. Conditions that are not named are missing. Raises ConfigError for
        a condition that the model lacks, and for a value that it cannot have.
        """
        conditions = self.config.conditions
        for name in values:
            find(conditions, name)
        result = copy(self)
        if conditions:
            inputs = [condition.input(values.get(condition.name)) for condition in conditions]
            result._given = self._condition_products(inputs)
        return result

    def _condition_products(self, inputs: Sequence[Sequence[float]]) -> Floats:
        """(1, G*H) what the inputs of the conditions add to those of the first layer's steps."""
        embedded = [
            np.asarray(row, weight.dtype) @ weight
            for row, weight in zip(inputs, self._condition_weights, strict=True)
        ]
        width = self.config.embedding or len(self.readout)
        rows = np.zeros((2, width + self.config.condition_inputs), self.table.dtype)
        rows[0, width:] = np.concatenate(embedded)
        with_them, without = self.cell.inputs(self.layers[0], rows, NumpyOps)
        result: Floats = (with_them - without)[None]
        return result

    def start(self, batch: int) -> State:
        """Zeros, (B, H) for each part of each layer's state.

        In a network with attention, a further layer (B, N*H) follows: the last N outputs. In a network with
        conditions, a last layer (B, G*H) follows: what they add to each input. It never changes.
        """
        shape, dtype = (batch, self.config.hidden), self.table.dtype
        state: list[LayerState] = [
            tuple(np.zeros(shape, dtype) for _ in self.cell.state_names) for _ in self.layers
        ]
        if self.config.attention:
            state.append((np.zeros((batch, self.config.attention * self.config.hidden), dtype),))
        if self._given is not None:
            state.append((self._given.repeat(batch, 0),))
        return tuple(state)

    def _first_inputs(self, ids: Ids, state: State) -> Floats:
        """(B, T) ids -> (T*B, G*H) the inputs of the first layer's steps, time-major."""
        x: Floats = self.table.take(ids.T.ravel(), 0)
        if self._given is None:
            return x
        (given,) = state[-1]
        given = np.tile(given, (ids.shape[1], 1))
        if self.config.condition == "first":
            given = given * (ids.T.ravel() == self.boundary)[:, None]
        x += given
        return x

    def _resets(self, ids: Ids) -> NDArray[np.bool_] | None:
        """(T, B, 1) where a document begins, and the state before it is zeros; None where none does."""
        if self.boundary is None:
            return None
        begins = np.equal(ids.T, self.boundary)
        return begins[..., None] if begins.any() else None

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        """(B, T) ids -> (B, T, V) logits of the character after each, and the state after the last.

        Before a boundary is read, the state becomes zeros: a document begins.
        """
        batch, times = ids.shape
        new_state: list[LayerState] = []
        x = self._first_inputs(ids, state)
        resets = self._resets(ids)
        outputs: list[Floats] = []  # of each layer, (T*B, H)
        for index, (step, w) in enumerate(zip(self.steps, self.layers, strict=True)):
            layer_state = state[index]
            if outputs:
                x = self.cell.inputs(w, outputs[-1], NumpyOps)
            hidden = []
            for time, step_inputs in enumerate((x,) if times == 1 else x.reshape(times, batch, x.shape[1])):
                if resets is not None:
                    layer_state = tuple(np.where(resets[time], 0, part) for part in layer_state)
                layer_state, gates = step(w, step_inputs, layer_state, NumpyOps)
                hidden.append(layer_state[0])
                if trace is not None:
                    trace(index, layer_state, gates)
            # with T = 0 there is nothing to concatenate
            output = hidden[0] if times == 1 else np.concatenate(hidden or [layer_state[0][:0]])
            outputs.append(output + outputs[-1] if outputs and self.config.residual else output)
            new_state.append(layer_state)
        if self.config.attention:
            top = outputs[-1].reshape(times, batch, self.config.hidden)
            contexts, layer_state = self._contexts(top, state[len(self.layers)], resets, trace)
            outputs.append(contexts.reshape(outputs[-1].shape))
            new_state.append(layer_state)
        new_state += state[len(new_state) :]
        if self.config.readout != "all":
            outputs = outputs[len(self.layers) - 1 :]
        read = np.concatenate(outputs, -1) if len(outputs) > 1 else outputs[0]  # (T*B, R)
        logits = NumpyOps.affine(self.readout_bias, read, self.readout)
        return logits.reshape(times, batch, logits.shape[1]).swapaxes(0, 1), tuple(new_state)

    def _contexts(
        self,
        outputs: Floats,
        state: LayerState,
        resets: NDArray[np.bool_] | None,
        trace: Trace | None,
    ) -> tuple[Floats, LayerState]:
        """The contexts (T, B, H) of steps with these outputs (T, B, H), and the state after them."""
        (past,) = state
        times, batch, hidden = outputs.shape
        asked = queries(self.attention, outputs.reshape(times * batch, hidden), _AttentionOps)
        asked = asked.reshape(outputs.shape)
        contexts = np.empty_like(outputs)
        for time in range(times):
            if resets is not None:
                past = np.where(resets[time], 0, past)
            past = np.concatenate([past[:, hidden:], outputs[time]], 1)
            seen = past.reshape(batch, self.config.attention, hidden)
            contexts[time], weights = attend(self.attention, asked[time], seen, _AttentionOps)
            if trace is not None:
                trace(len(self.layers), (), (weights,))
        return contexts, (past,)


CHUNK = 512
"""Characters per call when a long text is read: few enough for little memory, enough for large products."""


def read(
    predictor: Predictor, ids: Ids, state: State, trace: Trace | None = None
) -> Iterator[tuple[Ids, Logits, State]]:
    """Read one long text (N,) in chunks: yields (ids (n,), logits (n, V), state after them)."""
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        logits, state = predictor(chunk[None], state, trace)
        yield chunk, logits[0], state
