"""The third of the mutated cells of Jozefowicz, Zaremba & Sutskever 2015.

z = sigmoid(Wz x + Uz tanh(h) + bz)                update gate
r = sigmoid(Wr x + Ur h + br)                      reset gate
n = tanh(Un (r * h) + Wn x + bn)                   candidate
h' = z * n + (1 - z) * h
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class MUT3(Cell):
    """Its update gate sees tanh of the hidden state; a large z takes the new (in ``gru``, the old)."""

    gates = ("update", "reset", "candidate")
    activations = ("sigmoid", "sigmoid", "tanh")

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        one = h.shape[-1]
        zx, rx, nx = ops.split(x, 3)
        z = ops.sigmoid(ops.affine(zx, ops.tanh(h), w.weight_hh[:one]))
        r = ops.sigmoid(ops.affine(rx, h, w.weight_hh[one : 2 * one]))
        n = ops.tanh(ops.affine(nx, r * h, w.weight_hh[2 * one :]))
        h = h + z * (n - h)
        return (h,), (z, r, n)
