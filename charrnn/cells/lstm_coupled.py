"""LSTM with a coupled input gate, i = 1 - f (Greff et al. 2017, "CIFG").

f = sigmoid(Wf x + Uf h + bf)     forget gate f
g = tanh(Wg x + Ug h + bg)        candidate g
o = sigmoid(Wo x + Uo h + bo)     output gate o
c' = f * c + (1 - f) * g          cell state c
h' = o * tanh(c')                 hidden state h
"""

from typing import ClassVar

from charrnn.cells import Array, Cell, LayerState, Ops


class LSTMCoupled(Cell):
    """Three quarters of an LSTM's weights. The cell state stays between -1 and 1."""

    state_names = ("hidden", "memory")
    gates = ("forget", "candidate", "output")
    activations = ("sigmoid", "tanh", "sigmoid")
    initial_bias: ClassVar = {"forget": 1.0}

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        h, c = state
        f, g, o = ops.gates(ops.affine(x, h, w.weight_hh), self.activations)
        c = g + f * (c - g)
        h = o * ops.tanh(c)
        return (h, c), (f, g, o)
