"""The second of the mutated cells of Jozefowicz, Zaremba & Sutskever 2015.

    z = sigmoid(Wz x + Uz h + bz)                      update gate
    r = sigmoid(x + Ur h + br)                         reset gate
    n = tanh(Un (r * h) + Wn x + bn)                   candidate
    h' = z * n + (1 - z) * h

The bare x assumes an input as wide as the cell; where it is not, it is projected once, P x.
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class MUT2(Cell):
    """Its reset gate sees the input bare; a large z takes the new (in ``gru`` it keeps the old)."""

    gates = ("update", "candidate", "reset")
    activations = ("sigmoid", "tanh", "sigmoid")
    raw_input = True

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return self.projection(inputs, hidden) | {
            "weight_ih": (2 * hidden, inputs),
            "weight_hh": (3 * hidden, hidden),
            "bias": (2 * hidden,),
            "bias_r": (hidden,),
        }

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        one, two = h.shape[-1], 2 * h.shape[-1]
        zx, nx, raw = ops.split(x, 3)
        z = ops.sigmoid(ops.affine(zx, h, w.weight_hh[:one]))
        r = ops.sigmoid(ops.affine(raw + w.bias_r, h, w.weight_hh[one:two]))
        n = ops.tanh(ops.affine(nx, r * h, w.weight_hh[two:]))
        h = h + z * (n - h)
        return (h,), (z, n, r)
