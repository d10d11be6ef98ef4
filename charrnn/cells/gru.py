"""Gated recurrent unit as in cuDNN and torch.nn.GRU: reset after the recurrent product.

    r = sigmoid(Wr x + Ur h + br)             reset gate r
    z = sigmoid(Wz x + Uz h + bz)             update gate z
    n = tanh(Wn x + bn + r * (Un h + dn))     candidate n
    h' = (1 - z) * n + z * h                  hidden state h

z weighs the old state here; in some books z weighs the new candidate.
Cho et al. 2014 and most textbooks reset h before the product: the cell ``gru-cho``. The two cells are
different functions, so the weights of one do not fit the other.
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class GRU(Cell):
    """Equal to torch.nn.GRU, with the gates in the same order. ``bias_hh`` (H,) is dn of the equations."""

    gates = ("reset", "update", "candidate")
    activations = ("sigmoid", "sigmoid", "tanh")

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return super().shapes(inputs, hidden) | {"bias_hh": (hidden,)}

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        both = 2 * h.shape[-1]  # the rows of r and z
        u = ops.product(h, w.weight_hh)
        r, z = ops.gates(x[:, :both] + u[:, :both], self.activations[:2])
        n = ops.tanh(x[:, both:] + r * (u[:, both:] + w.bias_hh))
        h = n + z * (h - n)
        return (h,), (r, z, n)
