"""minLSTM (Feng et al. 2024): gates that see the input alone, so that all times can be had at once.

    f, i = sigmoid(W x + b)           forget and input gate
    n = Wn x + bn                     candidate
    h' = f / (f + i) * h + i / (f + i) * n

Without a product with h, h' is linear in h with factors that are known beforehand: a scan.
"""

from typing import ClassVar

from charrnn.cells import Array, Cell, LayerState, Ops


class MinLSTM(Cell):
    """No recurrent matrix and no output gate; what is dropout_mask and what is taken sum to 1."""

    gates = ("forget", "input", "candidate")
    activations = ("sigmoid", "sigmoid", "linear")
    initial_bias: ClassVar = {"forget": 1.0}

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return {"weight_ih": (3 * hidden, inputs), "bias": (3 * hidden,)}

    def _gates(self, x: Array, ops: Ops) -> tuple[Array, Array, Array]:
        fx, ix, n = ops.split(x, 3)
        return ops.sigmoid(fx), ops.sigmoid(ix), n

    def scan_coefficients(self, x: Array, ops: Ops) -> tuple[Array, Array]:
        f, i, n = self._gates(x, ops)
        return f / (f + i), i / (f + i) * n

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        f, i, n = self._gates(x, ops)
        h = f / (f + i) * h + i / (f + i) * n
        return (h,), (f, i, n)
