"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

i = sigmoid(Wi x + Ui h + bi)     input gate
f = sigmoid(Wf x + Uf h + bf)     forget gate
g = tanh(Wg x + Ug h + bg)        candidate
o = sigmoid(Wo x + Uo h + bo)     output gate
c' = f * c + i * g                memory
h' = o * tanh(c')                 hidden
"""

from typing import ClassVar

from charrnn.cells import Array, Carry, Cell, Ops


class LSTM(Cell):
    """Equal to torch.nn.LSTM, rows in the same order. The forget gate starts open (Gers et al. 2000)."""

    carries = ("hidden", "memory")
    gates = ("input", "forget", "candidate", "output")
    kinds = ("sigmoid", "sigmoid", "tanh", "sigmoid")
    start_bias: ClassVar = {"forget": 1.0}

    def step(self, w: Array, x: Array, carry: Carry, ops: Ops) -> tuple[Carry, tuple[Array, ...]]:
        h, c = carry
        i, f, g, o = ops.gates(ops.affine(x, h, w.weight_hh), self.kinds)
        c = f * c + i * g
        h = o * ops.tanh(c)
        return (h, c), (i, f, g, o)
