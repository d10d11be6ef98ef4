"""Gated recurrent unit as published (Cho et al. 2014): reset before the recurrent product.

    r = sigmoid(Wr x + Ur h + br)             reset gate r
    z = sigmoid(Wz x + Uz h + bz)             update gate z
    n = tanh(Wn x + Un (r * h) + bn)          candidate n
    h' = (1 - z) * n + z * h                  hidden state h

z weighs the old state here, as in the paper; in some books z weighs the new candidate.
The cell ``gru`` resets after the product. It is faster, and a different function.
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class GRUCho(Cell):
    """The GRU of most textbooks."""

    gates = ("reset", "update", "candidate")
    activations = ("sigmoid", "sigmoid", "tanh")

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        both = 2 * h.shape[-1]  # the rows of r and z
        r, z = ops.gates(ops.affine(x[:, :both], h, w.weight_hh[:both]), self.activations[:2])
        n = ops.tanh(ops.affine(x[:, both:], r * h, w.weight_hh[both:]))
        h = n + z * (h - n)
        return (h,), (r, z, n)
