"""Gated recurrent unit, reset after the recurrent product: what cuDNN and torch.nn.GRU compute.

    r = sigmoid(Wr x + Ur h + br)             reset gate
    z = sigmoid(Wz x + Uz h + bz)             update gate
    n = tanh(Wn x + bn + r * (Un h + dn))     candidate
    h' = (1 - z) * n + z * h

Cho et al. 2014 and most textbooks reset h *before* the product: that is the cell ``gru-cho``.
The two are different functions: weights of one do not fit the other.
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class GRU(Cell):
    """Equal to torch.nn.GRU, rows in the same order; ``bias_hh`` (H,) is the d of the equations."""

    gates = ("reset", "update", "candidate")
    activations = ("sigmoid", "sigmoid", "tanh")

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return super().shapes(inputs, hidden) | {"bias_hh": (hidden,)}

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        two = 2 * h.shape[-1]
        u = ops.product(h, w.weight_hh)
        r, z = ops.gates(x[:, :two] + u[:, :two], self.activations[:2])
        n = ops.tanh(x[:, two:] + r * (u[:, two:] + w.bias_hh))
        h = n + z * (h - n)
        return (h,), (r, z, n)
