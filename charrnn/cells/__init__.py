"""The recurrent cells: one a file, the file's name is the cell's name.

B: batch   D: inputs   H: hidden units   G: gates, each H rows of the weights

A cell knows one step; the loops over time are in ``charrnn.training.network`` (torch) and
``charrnn.inference.network`` (NumPy), and both run the ``step`` written here. So no array library
is imported in this package: a step uses ``+ - * /``, slices, and the functions of
``Ops``. A new cell is one new file; every command and every law of
``tests/test_cells.py`` picks it up by its name.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, Protocol

from charrnn.errors import ConfigError

Array = Any
"""A torch tensor or a NumPy array, (B, ...)."""

LayerState = tuple[Array, ...]
"""What a cell hands to its next step: one (B, H) array for each name in ``Cell.state_names``."""

State = tuple[LayerState, ...]
"""The states of all layers, lowest layer first. A value: never changed in place."""


class Ops(Protocol):
    """What a step needs beyond operators; one set for torch, one for NumPy."""

    def product(self, x: Array, matrix: Array) -> Array:
        """(B, H), (rows, H) -> (B, rows): ``x @ matrix.T``."""

    def affine(self, x: Array, h: Array, matrix: Array) -> Array:
        """(B, rows), (B, H), (rows, H) -> (B, rows): ``x + h @ matrix.T``."""

    def tanh(self, x: Array) -> Array: ...

    def sigmoid(self, x: Array) -> Array: ...

    def split(self, x: Array, parts: int) -> Sequence[Array]:
        """(B, parts * H) -> parts arrays (B, H)."""

    def gates(self, x: Array, activations: tuple[str, ...]) -> Sequence[Array]:
        """(B, n * H) -> n arrays (B, H), the k-th through ``activations[k]``: "sigmoid" or "tanh"."""


class Cell(ABC):
    """One recurrent cell.

    state_names      what goes from step to step; the first is the layer's output
    gates        the names of the gates, in the order of their rows in ``weight_ih``
    activations        "sigmoid", "tanh" or "linear" for each gate
    initial_bias   the gates whose bias does not start at 0
    bare         whether a step sees its input bare too, H wide, after the rows of ``weight_ih``
    """

    state_names: ClassVar[tuple[str, ...]] = ("hidden",)
    gates: ClassVar[tuple[str, ...]]
    activations: ClassVar[tuple[str, ...]]
    initial_bias: ClassVar[dict[str, float]] = {}
    raw_input: ClassVar[bool] = False

    @property
    def signals(self) -> tuple[str, ...]:
        """All that can be watched: the state_names, then the gates."""
        return self.state_names + self.gates

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """The parameters of one layer. ``weight_ih`` (G*H, D) and ``bias`` (G*H,) make ``step``'s x."""
        rows = len(self.gates) * hidden
        return {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden), "bias": (rows,)}

    def projection(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """For ``bare`` cells: P (H, D), which makes the input as wide as the cell where it is not."""
        return {} if inputs == hidden else {"projection": (hidden, inputs)}

    def scan_coefficients(self, x: Array, ops: Ops) -> tuple[Array, Array] | None:
        """For cells whose only state moves as h' = a * h + b with a and b of the input alone: (a, b).

        x: (..., G*H) for any number of times at once; such a cell can be read in parallel over time.
        """
        return None

    @abstractmethod
    def step(self, w: Any, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        """One character on.

        w: the layer's parameters as attributes. ``weight_hh``, whole or ``weight_hh[rows]``, is read by
        ``ops.affine``, whose first argument is to come of x (with x's gradient training has the
        matrix's, of all times at once), or whole by ``ops.product``.
        x: (B, G*H), ``weight_ih @ input + bias``, done for all times at once (and for ``bare``
        cells the input itself behind it, (B, G*H + H)).
        state: a (B, H) each, not changed.  Returns the next state, and the gates in the order of
        ``gates``, (B, H) each.
        """


@cache
def names() -> tuple[str, ...]:
    """The names of all cells, sorted."""
    return tuple(sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)))


@cache
def get(name: str) -> Cell:
    """The cell of this name. Raises ConfigError, listing those that exist."""
    if name not in names():
        raise ConfigError(f"no cell is called {name!r}; there are: {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Cell) and value.__module__ == module.__name__
    ]
    (cell,) = found
    return cell()
