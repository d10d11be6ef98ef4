"""The second of the mutated cells of Jozefowicz, Zaremba & Sutskever 2015.

    z = sigmoid(Wz x + Uz h + bz)                      update gate z
    r = sigmoid(x + Ur h + br)                         reset gate r
    n = tanh(Un (r * h) + Wn x + bn)                   candidate n
    h' = z * n + (1 - z) * h                           hidden state h

z weighs the new candidate here, the opposite of ``gru``.
x + Ur h requires an input as wide as the cell. An input of another width is projected first: P x.
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class MUT2(Cell):
    """Its reset gate sees the raw input. ``bias_r`` (H,) is br of the equations."""

    gates = ("update", "candidate", "reset")
    activations = ("sigmoid", "tanh", "sigmoid")
    raw_input = True

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return self.projection_shape(inputs, hidden) | {
            "weight_ih": (2 * hidden, inputs),
            "weight_hh": (3 * hidden, hidden),
            "bias": (2 * hidden,),
            "bias_r": (hidden,),
        }

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        units = h.shape[-1]
        xz, xn, raw = ops.split(x, 3)
        z = ops.sigmoid(ops.affine(xz, h, w.weight_hh[:units]))
        r = ops.sigmoid(ops.affine(raw + w.bias_r, h, w.weight_hh[units : 2 * units]))
        n = ops.tanh(ops.affine(xn, r * h, w.weight_hh[2 * units :]))
        h = h + z * (n - h)
        return (h,), (z, n, r)
