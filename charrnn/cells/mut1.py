"""The first of the mutated cells of Jozefowicz, Zaremba & Sutskever 2015.

    z = sigmoid(Wz x + bz)                             update gate z
    r = sigmoid(Wr x + Ur h + br)                      reset gate r
    n = tanh(Un (r * h) + tanh(x) + bn)                candidate n
    h' = z * n + (1 - z) * h                           hidden state h

z weighs the new candidate here, the opposite of ``gru``.
tanh(x) requires an input as wide as the cell. An input of another width is projected first: P x.
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class MUT1(Cell):
    """Its update gate does not see the hidden state. ``bias_n`` (H,) is bn of the equations."""

    gates = ("update", "reset", "candidate")
    activations = ("sigmoid", "sigmoid", "tanh")
    raw_input = True

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return self.projection_shape(inputs, hidden) | {
            "weight_ih": (2 * hidden, inputs),
            "weight_hh": (2 * hidden, hidden),
            "bias": (2 * hidden,),
            "bias_n": (hidden,),
        }

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        units = h.shape[-1]
        xz, xr, raw = ops.split(x, 3)
        z = ops.sigmoid(xz)
        r = ops.sigmoid(ops.affine(xr, h, w.weight_hh[:units]))
        n = ops.tanh(ops.affine(ops.tanh(raw) + w.bias_n, r * h, w.weight_hh[units:]))
        h = h + z * (n - h)
        return (h,), (z, r, n)
