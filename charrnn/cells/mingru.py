"""minGRU (Feng et al. 2024): gates that see the input alone, so that all times can be had at once.

    z = sigmoid(Wz x + bz)            update gate
    n = Wn x + bn                     candidate
    h' = (1 - z) * h + z * n

Without a product with h, h' is linear in h with factors that are known beforehand: a scan.
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class MinGRU(Cell):
    """No recurrent matrix; the hidden state is a running mean of candidates, as far out as they are."""

    gates = ("update", "candidate")
    activations = ("sigmoid", "linear")

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return {"weight_ih": (2 * hidden, inputs), "bias": (2 * hidden,)}

    def _gates(self, x: Array, ops: Ops) -> tuple[Array, Array]:
        zx, n = ops.split(x, 2)
        return ops.sigmoid(zx), n

    def scan_coefficients(self, x: Array, ops: Ops) -> tuple[Array, Array]:
        z, n = self._gates(x, ops)
        return 1 - z, z * n

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        z, n = self._gates(x, ops)
        h = (1 - z) * h + z * n
        return (h,), (z, n)
