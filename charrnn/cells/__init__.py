"""The recurrent cells: one file for each cell, with the cell's name.

B: batch   D: inputs of a layer   H: hidden units   G: gates that ``weight_ih`` has rows for

A new cell is one new file in this folder: a subclass of ``Cell``, whose docstring says what to write.
All commands and the tests of ``tests/test_cells.py`` find the cell by the name of its file.

A cell describes one step. The loops over time are in ``charrnn.training.network`` (torch) and
``charrnn.inference.network`` (NumPy). Both run the same ``step``, so this folder imports no array library.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, Protocol

from charrnn.errors import ConfigError, did_you_mean

Array = Any
"""A torch tensor or a NumPy array."""

LayerState = tuple[Array, ...]
"""What a cell hands to its next step: a (B, H) array for each name in ``Cell.state_names``."""

State = tuple[LayerState, ...]
"""The states of all layers, lowest layer first. A value: never changed in place."""


OTHER_NAMES = {
    **dict.fromkeys(("vanilla", "vanilla-rnn", "simple-rnn", "elman", "tanh", "rnn-tanh"), "rnn"),
    **dict.fromkeys(("bnlstm", "long-short-term-memory"), "lstm"),
    **dict.fromkeys(("cifg", "lstm-cifg"), "lstm-coupled"),
}
"""Names of cells elsewhere (char-rnn, torch-rnn, Keras, papers), for "did you mean"."""


class Ops(Protocol):
    """The array operations of a cell, besides ``+ - * /`` and slices. One set for torch, one for NumPy."""

    def product(self, x: Array, matrix: Array) -> Array:
        """(..., D), (R, D) -> (..., R): ``x @ matrix.T``."""

    def affine(self, x: Array, h: Array, matrix: Array) -> Array:
        """(..., R), (..., D), (R, D) -> (..., R): ``x + h @ matrix.T``."""

    def tanh(self, x: Array) -> Array: ...

    def sigmoid(self, x: Array) -> Array: ...

    def split(self, x: Array, parts: int) -> Sequence[Array]:
        """(..., parts * H) -> parts arrays (..., H)."""

    def gates(self, x: Array, activations: tuple[str, ...]) -> Sequence[Array]:
        """(..., n * H) -> n arrays (..., H), the k-th through ``activations[k]``: "sigmoid" or "tanh"."""

    def concatenate(self, left: Array, right: Array) -> Array:
        """(..., M), (..., N) -> (..., M + N)."""


class Cell(ABC):
    """One recurrent cell.

    To add one, copy ``lstm.py`` or ``gru_cho.py`` to a new file and write, in this order:

    1. the file's docstring: the paper and the equations, one line each;
    2. the class attributes

       state_names    the parts of the state; the first is the layer's output. Default: the hidden state
       gates          the names of the gates: first those that ``weight_ih`` has rows for, in the same order
       activations    for each gate "sigmoid", "tanh" or "linear"
       initial_bias   gate -> the value at which its bias starts. Default: 0 for all
       recurrent      the names of the matrices that ``step`` multiplies. Default: ``weight_hh`` alone
       raw_input      True when ``step`` also needs the layer's input itself. Default: False

    3. ``shapes``, only when the parameters differ from the default ones;
    4. ``step``, the equations;
    5. ``scan_coefficients``, only for a cell whose state is linear in its last state.

    Everything else here is shared by all cells.
    """

    state_names: ClassVar[tuple[str, ...]] = ("hidden",)
    gates: ClassVar[tuple[str, ...]]
    activations: ClassVar[tuple[str, ...]]
    initial_bias: ClassVar[dict[str, float]] = {}
    recurrent: ClassVar[tuple[str, ...]] = ("weight_hh",)
    raw_input: ClassVar[bool] = False

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Name -> shape of each parameter of a layer with D ``inputs``.

        Every cell has ``weight_ih`` (G*H, D) and ``bias`` (G*H,). The recurrent matrix is ``weight_hh``.
        """
        rows = len(self.gates) * hidden
        return {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden), "bias": (rows,)}

    @abstractmethod
    def step(self, w: Any, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        """One step: the next state, and the gates in the order of ``gates``, all (B, H).

        w: the layer's parameters as attributes. A matrix of ``recurrent``, or a slice of its rows, is
        multiplied by ``ops.affine`` or ``ops.product``.
        x: (B, G*H), this step's part of ``inputs``.
        state: the last state, (B, H) for each of ``state_names``; not changed in place.
        """

    def scan_coefficients(self, x: Array, ops: Ops) -> tuple[Array, Array] | None:
        """(a, b), each (..., H), of a cell with h' = a * h + b where a and b depend on the input alone.

        Training computes all steps of such a cell in parallel. None for all other cells.
        x: (..., G*H), the result of ``inputs``.
        """
        return None

    def inputs(self, w: Any, x: Array, ops: Ops) -> Array:
        """(..., D) inputs of a layer -> (..., G*H) inputs of its steps, W x + b for all times at once.

        With ``raw_input`` the result is (..., G*H + H): the layer's input follows, multiplied by
        ``projection`` where D is not H.
        """
        rows = ops.affine(w.bias, x, w.weight_ih)
        if not self.raw_input:
            return rows
        raw = ops.product(x, w.projection) if hasattr(w, "projection") else x
        return ops.concatenate(rows, raw)

    @property
    def signals(self) -> tuple[str, ...]:
        """The names of all that can be watched: the parts of the state, then the gates."""
        return self.state_names + self.gates

    @property
    def sigmoid_gates(self) -> tuple[str, ...]:
        """The names of the gates with values from 0 (closed) to 1 (open)."""
        kinds = zip(self.gates, self.activations, strict=True)
        return tuple(gate for gate, activation in kinds if activation == "sigmoid")

    def projection_shape(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """The shape of P (H, D) for a cell with ``raw_input``; empty where the input is already H wide."""
        return {} if inputs == hidden else {"projection": (hidden, inputs)}


@cache
def names() -> tuple[str, ...]:
    """The names of all cells, sorted."""
    return tuple(sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)))


@cache
def get(name: str) -> Cell:
    """The cell of this name. Raises ConfigError, with a similar name or all names."""
    if name not in names():
        hint = did_you_mean(name, names(), OTHER_NAMES) or f"; cells: {', '.join(names())}"
        raise ConfigError(f"no cell is called {name or repr(name)}{hint}")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    (cell,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Cell) and value.__module__ == module.__name__
    )
    return cell()
