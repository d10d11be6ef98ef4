"""The simple recurrent network (Elman 1990).

h' = tanh(W x + U h + b)
"""

from charrnn.cells import Array, Carry, Cell, Ops


class RNN(Cell):
    """Equal to torch.nn.RNN; its one gate is the new hidden state itself."""

    gates = ("candidate",)
    kinds = ("tanh",)

    def step(self, w: Array, x: Array, carry: Carry, ops: Ops) -> tuple[Carry, tuple[Array, ...]]:
        (h,) = carry
        h = ops.tanh(ops.affine(x, h, w.weight_hh))
        return (h,), (h,)
