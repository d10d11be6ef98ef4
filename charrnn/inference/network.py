"""The trained network in NumPy: ``logits, state = inference(ids, state)``.

B: batch   T: characters   V: vocabulary   D: inputs of a layer   H: hidden   G: gates
R: inputs of the readout   N: outputs that a step attends to
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from types import SimpleNamespace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn import cells
from charrnn.attention import attend, make_queries
from charrnn.cells import LayerState, State
from charrnn.conditions import Values, find
from charrnn.config import ModelConfig
from charrnn.inference.ops import AttentionOps, Floats, NumpyOps, OneHotOps, Recurrent, aligned
from charrnn.runs import parameters

Ids = NDArray[np.integer]
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

    @property
    def symbols(self) -> int:
        """V."""

    def start(self, batch: int) -> State:
        """The state before the first character of ``batch`` texts."""

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        """(B, T) ids -> (B, T, V) logits of the character after each, and the state after the last."""


TABLE = 1 << 24
"""The most numbers in a table of the first layer's products, where the characters are embedded."""


class Inference:
    """The network of a checkpoint, a ``Predictor``. It computes in the dtype of the weights."""

    def __init__(self, config: ModelConfig, weights: dict[str, Floats]) -> None:
        """``weights`` has the names and shapes of ``parameters.shapes``."""
        self.config = config
        self.cell = cells.get(config.cell)
        self.readout, self.readout_bias = aligned(weights["readout.weight"]), weights["readout.bias"][None]
        self.layers = [
            SimpleNamespace(
                **{
                    # a vector as (1, n), the shape of a row for batch size 1
                    name: Recurrent(weights[f"layers.{index}.{name}"])
                    if name == "weight_hh"
                    else np.atleast_2d(aligned(weights[f"layers.{index}.{name}"]))
                    for name in self.cell.shapes(inputs, config.hidden)
                }
            )
            for index, inputs in enumerate(parameters.layer_inputs(config, len(self.readout)))
        ]
        self.steps = [self.cell.step] * len(self.layers)
        if config.attention:
            query, distance = weights["attention.query"], weights["attention.distance"]
            self.attention = SimpleNamespace(query=aligned(query), distance=distance)
        self._condition_weights = [weights[f"conditions.{k}.weight"] for k in range(len(config.conditions))]
        # The first layer has only V different inputs: a step looks its products up in a table. Where that
        # would be much larger than the weights, the table has the embedded characters.
        self._has_products = not config.embedding or self.symbols * self.layers[0].bias.size <= TABLE
        if not config.embedding:
            table = self.cell.inputs(self.layers[0], range(self.symbols), OneHotOps)
        else:
            table = weights["embedding.weight"]
            table = self._products(table) if self._has_products else table
        self.table = np.ascontiguousarray(table)
        self.boundary = self.symbols - 1 if config.documents else None
        self._given: Floats | None = None
        if config.conditions:
            self._given = self._condition_products([condition.input(None) for condition in config.conditions])

    @property
    def symbols(self) -> int:
        """V."""
        return len(self.readout)

    def _products(self, embedded: Floats) -> Floats:
        """(N, E) embedded characters -> (N, G*H) what they give to the first layer's steps."""
        nothing = np.zeros((len(embedded), self.config.condition_inputs), embedded.dtype)
        result: Floats = self.cell.inputs(self.layers[0], np.concatenate([embedded, nothing], 1), NumpyOps)
        return result

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
        rows = np.zeros((2, width + self.config.condition_inputs), self.readout.dtype)
        rows[0, width:] = np.concatenate(embedded)
        with_them, without = self.cell.inputs(self.layers[0], rows, NumpyOps)
        result: Floats = (with_them - without)[None]
        return result

    def start(self, batch: int) -> State:
        """Zeros, (B, H) for each part of each layer's state.

        In a network with attention, a further layer (B, N*H) follows: the last N outputs. In a network with
        conditions, a last layer (B, G*H) follows: what they add to each input. It never changes.
        """
        shape, dtype = (batch, self.config.hidden), self.readout.dtype
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
        if not self._has_products:
            x = self._products(x)
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
        queries = make_queries(self.attention, outputs.reshape(times * batch, hidden), AttentionOps)
        queries = queries.reshape(outputs.shape)
        contexts = np.empty_like(outputs)
        for time in range(times):
            if resets is not None:
                past = np.where(resets[time], 0, past)
            past = np.concatenate([past[:, hidden:], outputs[time]], 1)
            seen = past.reshape(batch, self.config.attention, hidden)
            contexts[time], weights = attend(self.attention, queries[time], seen, AttentionOps)
            if trace is not None:
                trace(len(self.layers), (), (weights,))
        return contexts, (past,)


CHUNK = 512
"""Characters per call when a long text is read: few enough for little memory, enough for large products."""
NUMBERS = 1 << 22
"""The most logits of a call, so that many symbols take no more memory."""


def characters_at_once(predictor: Predictor, most: int = CHUNK) -> int:
    """How many characters, in all texts together, are read by one call; at most ``most``."""
    return max(1, min(most, NUMBERS // predictor.symbols))


def read(
    predictor: Predictor, ids: Ids, state: State, trace: Trace | None = None
) -> Iterator[tuple[Ids, Logits, State]]:
    """Read one long text (N,) in chunks: yields (ids (n,), logits (n, V), state after them)."""
    size = characters_at_once(predictor)
    for start in range(0, len(ids), size):
        chunk = ids[start : start + size]
        logits, state = predictor(chunk[None], state, trace)
        yield chunk, logits[0], state
