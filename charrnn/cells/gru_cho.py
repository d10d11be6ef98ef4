"""Gated recurrent unit as published (Cho et al. 2014): reset before the recurrent product.

    r = sigmoid(Wr x + Ur h + br)             reset gate
    z = sigmoid(Wz x + Uz h + bz)             update gate
    n = tanh(Wn x + Un (r * h) + bn)          candidate
    h' = (1 - z) * n + z * h

The cell ``gru`` (cuDNN, torch.nn.GRU) resets after the product and is faster; it is another function.
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class GRUCho(Cell):
    """The textbook's GRU; z keeps the old state, as in ``gru`` (the paper has z and 1 - z so too)."""

    gates = ("reset", "update", "candidate")
    activations = ("sigmoid", "sigmoid", "tanh")

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        two = 2 * h.shape[-1]
        r, z = ops.gates(ops.affine(x[:, :two], h, w.weight_hh[:two]), self.activations[:2])
        n = ops.tanh(ops.affine(x[:, two:], r * h, w.weight_hh[two:]))
        h = n + z * (h - n)
        return (h,), (r, z, n)
