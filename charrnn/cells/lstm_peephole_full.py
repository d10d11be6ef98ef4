"""LSTM whose gates see the cell states of all units: full peephole matrices, as many lectures draw them.

    i = sigmoid(Wi x + Ui h + Pi c + bi)      input gate i
    f = sigmoid(Wf x + Uf h + Pf c + bf)      forget gate f
    g = tanh(Wg x + Ug h + bg)                candidate g
    c' = f * c + i * g                        cell state c
    o = sigmoid(Wo x + Uo h + Po c' + bo)     output gate o
    h' = o * tanh(c')                         hidden state h

The lectures write W [c, h, x] for the sum of the three products. In the paper (Gers & Schmidhuber 2000) and
in ``lstm-peephole`` the matrices Pi, Pf and Po are diagonal.
"""

from charrnn.cells import Array, LayerState, Ops
from charrnn.cells.lstm import LSTM


class LSTMPeepholeFull(LSTM):
    """An LSTM with one more matrix: ``peephole`` (3H, H) has the rows of Pi, Pf and Po. They start at 0."""

    recurrent = ("weight_hh", "peephole")

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return super().shapes(inputs, hidden) | {"peephole": (3 * hidden, hidden)}

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        h, c = state
        units = h.shape[-1]
        both = 2 * units  # the rows of i and f
        a = ops.affine(x, h, w.weight_hh)
        i, f = ops.gates(ops.affine(a[:, :both], c, w.peephole[:both]), self.activations[:2])
        g = ops.tanh(a[:, both : 3 * units])
        c = f * c + i * g
        o = ops.sigmoid(ops.affine(a[:, 3 * units :], c, w.peephole[both:]))
        h = o * ops.tanh(c)
        return (h, c), (i, f, g, o)
