"""The first of the mutated cells of Jozefowicz, Zaremba & Sutskever 2015.

    z = sigmoid(Wz x + bz)                             update gate
    r = sigmoid(Wr x + Ur h + br)                      reset gate
    n = tanh(Un (r * h) + tanh(x) + bn)                candidate
    h' = z * n + (1 - z) * h

The bare x assumes an input as wide as the cell; where it is not, it is projected once, P x.
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class MUT1(Cell):
    """Its update gate does not see the hidden state; a large z takes the new (in ``gru``, the old)."""

    gates = ("update", "reset", "candidate")
    activations = ("sigmoid", "sigmoid", "tanh")
    raw_input = True

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return self.projection(inputs, hidden) | {
            "weight_ih": (2 * hidden, inputs),
            "weight_hh": (2 * hidden, hidden),
            "bias": (2 * hidden,),
            "bias_n": (hidden,),
        }

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        one = h.shape[-1]
        zx, rx, raw = ops.split(x, 3)
        z = ops.sigmoid(zx)
        r = ops.sigmoid(ops.affine(rx, h, w.weight_hh[:one]))
        n = ops.tanh(ops.affine(ops.tanh(raw) + w.bias_n, r * h, w.weight_hh[one:]))
        h = h + z * (n - h)
        return (h,), (z, r, n)
