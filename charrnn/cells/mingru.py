"""minGRU (Feng et al. 2024): its gates depend on the input alone, so all steps can be computed in parallel.

    z = sigmoid(Wz x + bz)            update gate z
    n = Wn x + bn                     candidate n
    h' = (1 - z) * h + z * n          hidden state h

z weighs the new candidate here, the opposite of ``gru``.
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class MinGRU(Cell):
    """No recurrent matrix. The hidden state is a running mean of the candidates, which have no bound."""

    gates = ("update", "candidate")
    activations = ("sigmoid", "linear")
    recurrent = ()

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return {"weight_ih": (2 * hidden, inputs), "bias": (2 * hidden,)}

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        xz, n = ops.split(x, 2)
        z = ops.sigmoid(xz)
        h = (1 - z) * h + z * n
        return (h,), (z, n)

    def scan_coefficients(self, x: Array, ops: Ops) -> tuple[Array, Array]:
        xz, n = ops.split(x, 2)
        z = ops.sigmoid(xz)
        return 1 - z, z * n
