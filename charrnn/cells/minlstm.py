"""minLSTM (Feng et al. 2024): its gates depend on the input alone, so all steps can be computed in parallel.

f = sigmoid(Wf x + bf)                     forget gate f
i = sigmoid(Wi x + bi)                     input gate i
n = Wn x + bn                              candidate n
h' = f / (f + i) * h + i / (f + i) * n     hidden state h
"""

from typing import ClassVar

from charrnn.cells import Array, Cell, LayerState, Ops


class MinLSTM(Cell):
    """No recurrent matrix, no output gate. The weights of the old state and of the candidate sum to 1."""

    gates = ("forget", "input", "candidate")
    activations = ("sigmoid", "sigmoid", "linear")
    recurrent = ()
    initial_bias: ClassVar = {"forget": 1.0}

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return {"weight_ih": (3 * hidden, inputs), "bias": (3 * hidden,)}

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        xf, xi, n = ops.split(x, 3)
        f, i = ops.sigmoid(xf), ops.sigmoid(xi)
        h = f / (f + i) * h + i / (f + i) * n
        return (h,), (f, i, n)

    def scan_coefficients(self, x: Array, ops: Ops) -> tuple[Array, Array]:
        xf, xi, n = ops.split(x, 3)
        f, i = ops.sigmoid(xf), ops.sigmoid(xi)
        return f / (f + i), i / (f + i) * n
