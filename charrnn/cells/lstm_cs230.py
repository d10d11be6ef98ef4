"""LSTM with a relevance gate, as in Stanford's lectures CS230 and their cheat sheet of recurrent networks.

    i = sigmoid(Wi x + Ui h + bi)           input gate i, there the update gate
    f = sigmoid(Wf x + Uf h + bf)           forget gate f
    o = sigmoid(Wo x + Uo h + bo)           output gate o
    r = sigmoid(Wr x + Ur h + br)           relevance gate r
    g = tanh(Wg x + Ug (r * h) + bg)        candidate g
    c' = f * c + i * g                      cell state c
    h' = o * c'                             hidden state h

The relevance gate is the reset gate of ``gru-cho``. The output has no second tanh, so h can exceed 1.
"""

from charrnn.cells import Array, Cell, LayerState, Ops


class LSTMCS230(Cell):
    """Five quarters of an LSTM's weights.

    All biases start at 0: with a forget gate that starts open, h grew so large that training diverged.
    """

    state_names = ("hidden", "memory")
    gates = ("input", "forget", "output", "relevance", "candidate")
    activations = ("sigmoid", "sigmoid", "sigmoid", "sigmoid", "tanh")

    def step(self, w: Array, x: Array, state: LayerState, ops: Ops) -> tuple[LayerState, tuple[Array, ...]]:
        h, c = state
        four = 4 * h.shape[-1]  # the rows of i, f, o and r
        i, f, o, r = ops.gates(ops.affine(x[:, :four], h, w.weight_hh[:four]), self.activations[:4])
        g = ops.tanh(ops.affine(x[:, four:], r * h, w.weight_hh[four:]))
        c = f * c + i * g
        h = o * c
        return (h, c), (i, f, o, r, g)
