"""LSTM whose gates also see the cell state (Gers & Schmidhuber 2000).

    i = sigmoid(Wi x + Ui h + pi * c + bi)      input gate i
    f = sigmoid(Wf x + Uf h + pf * c + bf)      forget gate f
    g = tanh(Wg x + Ug h + bg)                  candidate g
    c' = f * c + i * g                          cell state c
    o = sigmoid(Wo x + Uo h + po * c' + bo)     output gate o
    h' = o * tanh(c')                           hidden state h

The input and forget gates see the last cell state, the output gate the new one. The peepholes are diagonal
as in the paper: pi, pf and po are vectors, and a unit's gates see that unit's cell state only. Some lectures
draw a full matrix instead.
"""

from charrnn.cells import Array, LayerState, Ops
from charrnn.cells.lstm import LSTM


class LSTMPeephole(LSTM):
    """An LSTM with three more vectors: ``peephole_i``, ``peephole_f`` and ``peephole_o`` (H,)."""

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return super().shapes(inputs, hidden) | {f"peephole_{gate}": (hidden,) for gate in "ifo"}

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        h, c = state
        ai, af, ag, ao = ops.split(ops.affine(x, h, w.weight_hh), 4)
        i = ops.sigmoid(ai + w.peephole_i * c)
        f = ops.sigmoid(af + w.peephole_f * c)
        g = ops.tanh(ag)
        c = f * c + i * g
        o = ops.sigmoid(ao + w.peephole_o * c)
        h = o * ops.tanh(c)
        return (h, c), (i, f, g, o)
