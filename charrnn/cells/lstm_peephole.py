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

from charrnn.cells import Array, Cell, LayerState, Ops


class LSTMPeephole(Cell):
    """``peephole_i``, ``_f``, ``_o`` (H,) are pi, pf, po: a unit's gates see that unit's memory alone."""

    state_names = ("hidden", "memory")
    gates = ("input", "forget", "candidate", "output")
    activations = ("sigmoid", "sigmoid", "tanh", "sigmoid")
    initial_bias: ClassVar = {"forget": 1.0}

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        peepholes = {f"peephole_{gate}": (hidden,) for gate in "ifo"}
        return super().shapes(inputs, hidden) | peepholes

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        h, c = state
        zi, zf, zg, zo = ops.split(ops.affine(x, h, w.weight_hh), 4)
        i = ops.sigmoid(zi + w.peephole_i * c)
        f = ops.sigmoid(zf + w.peephole_f * c)
        g = ops.tanh(zg)
        c = f * c + i * g
        o = ops.sigmoid(zo + w.peephole_o * c)
        h = o * ops.tanh(c)
        return (h, c), (i, f, g, o)
