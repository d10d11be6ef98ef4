"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

i = sigmoid(Wi x + Ui h + bi)     input gate i
f = sigmoid(Wf x + Uf h + bf)     forget gate f
g = tanh(Wg x + Ug h + bg)        candidate g
o = sigmoid(Wo x + Uo h + bo)     output gate o
c' = f * c + i * g                cell state c
h' = o * tanh(c')                 hidden state h
"""

from typing import ClassVar

from charrnn.cells import Array, Cell, LayerState, Ops


class LSTM(Cell):
    """Equal to torch.nn.LSTM, with the gates in the same order. The forget gate starts open, with bias 1."""

    state_names = ("hidden", "memory")
    gates = ("input", "forget", "candidate", "output")
    activations = ("sigmoid", "sigmoid", "tanh", "sigmoid")
    initial_bias: ClassVar = {"forget": 1.0}

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        h, c = state
        i, f, g, o = ops.gates(ops.affine(x, h, w.weight_hh), self.activations)
        c = f * c + i * g
        h = o * ops.tanh(c)
        return (h, c), (i, f, g, o)
