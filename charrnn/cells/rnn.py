"""The simple recurrent network (Elman 1990).

h' = tanh(W x + U h + b)     hidden state h
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class RNN(Cell):
    """Equal to torch.nn.RNN. Its only gate is the new hidden state itself."""

    gates = ("candidate",)
    activations = ("tanh",)

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        (h,) = state
        h = ops.tanh(ops.affine(x, h, w.weight_hh))
        return (h,), (h,)
