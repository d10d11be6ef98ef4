"""The third of the mutated cells of Jozefowicz, Zaremba & Sutskever 2015.

    z = sigmoid(Wz x + Uz tanh(h) + bz)                update gate z
    r = sigmoid(Wr x + Ur h + br)                      reset gate r
    n = tanh(Un (r * h) + Wn x + bn)                   candidate n
    h' = z * n + (1 - z) * h                           hidden state h

z weighs the new candidate here, the opposite of ``gru``.
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class MUT3(Cell):
    """Its update gate sees tanh of the hidden state."""

    gates = ("update", "reset", "candidate")
    activations = ("sigmoid", "sigmoid", "tanh")

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        units = h.shape[-1]
        xz, xr, xn = ops.split(x, 3)
        z = ops.sigmoid(ops.affine(xz, ops.tanh(h), w.weight_hh[:units]))
        r = ops.sigmoid(ops.affine(xr, h, w.weight_hh[units : 2 * units]))
        n = ops.tanh(ops.affine(xn, r * h, w.weight_hh[2 * units :]))
        h = h + z * (n - h)
        return (h,), (z, r, n)
