"""LSTM whose gates see the memory (Gers & Schmidhuber 2000).

    i = sigmoid(Wi x + Ui h + pi * c + bi)      input gate
    f = sigmoid(Wf x + Uf h + pf * c + bf)      forget gate
    g = tanh(Wg x + Ug h + bg)                  candidate
    c' = f * c + i * g                          memory
    o = sigmoid(Wo x + Uo h + po * c' + bo)     output gate
    h' = o * tanh(c')                           hidden

Input and forget gates see the memory as it was, the output gate as it has become.
"""

from typing import ClassVar

from charrnn.cells import Array, Carry, Cell, Ops


class LSTMPeephole(Cell):
    """``peephole`` (3H,) holds pi, pf, po: each unit's gates see that unit's memory alone."""

    carries = ("hidden", "memory")
    gates = ("input", "forget", "candidate", "output")
    kinds = ("sigmoid", "sigmoid", "tanh", "sigmoid")
    start_bias: ClassVar = {"forget": 1.0}

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return super().shapes(inputs, hidden) | {"peephole": (3 * hidden,)}

    def step(self, w: Array, x: Array, carry: Carry, ops: Ops) -> tuple[Carry, tuple[Array, ...]]:
        h, c = carry
        pi, pf, po = ops.split(w.peephole, 3)
        zi, zf, zg, zo = ops.split(ops.affine(x, h, w.weight_hh), 4)
        i, f = ops.sigmoid(zi + pi * c), ops.sigmoid(zf + pf * c)
        g = ops.tanh(zg)
        c = f * c + i * g
        o = ops.sigmoid(zo + po * c)
        h = o * ops.tanh(c)
        return (h, c), (i, f, g, o)
