"""A network that learns the text it reads: dynamic evaluation (Krause et al. 2018).

After each piece of the text, with g the gradient of its mean loss and q the mean of g^2 over all pieces:

    theta  <-  theta  -  rate * g / (sqrt(q) + epsilon m)  +  min(1/2, decay * sqrt(q) / m) (theta_0 - theta)

theta_0 are the weights of the checkpoint; m is the mean of sqrt(q) over one parameter's elements. The paper
takes q from the training text; here it is a running mean over the text that is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from charrnn.cells import State
from charrnn.config import ModelConfig
from charrnn.inference.network import Ids, Inference, Logits, Predictor, Trace
from charrnn.training.network import CharRNN, load_weights, weights

RATE = 1e-3
DECAY = 3e-3
EPSILON = 0.1
MEMORY = 0.999
"""How much of the running mean of g^2 remains after a piece."""


def use_one_thread() -> None:
    """Let torch compute on one thread: the products of one text are too small to share."""
    torch.set_num_threads(1)


class LearningNetwork:
    """The network of a checkpoint as a ``LearningPredictor``; the checkpoint does not change."""

    def __init__(
        self,
        config: ModelConfig,
        initial: dict[str, NDArray[Any]],
        rate: float = RATE,
        decay: float = DECAY,
    ) -> None:
        self.symbols = len(initial["readout.bias"])
        self.config, self.rate, self.decay = config, rate, decay
        self.model = CharRNN(config, self.symbols).eval()
        load_weights(self.model, initial)
        self._parameters = list(self.model.parameters())
        self._initial = [parameter.detach().clone() for parameter in self._parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._pieces = 0
        self._logits: Tensor | None = None

    def start(self, batch: int) -> State:
        """Zeros, (B, H) for each part of each layer's state, as arrays."""
        return tuple(tuple(part.numpy() for part in layer) for layer in self.model.start(batch))

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        """(B, T) ids -> (B, T, V) logits of the character after each, and the state after the last."""
        tensors = tuple(tuple(torch.from_numpy(part) for part in layer) for layer in state)
        self._logits, after = self.model(torch.from_numpy(np.asarray(ids, np.int64)), tensors)
        logits: Logits = self._logits.detach().numpy()
        return logits, tuple(tuple(part.detach().numpy() for part in layer) for layer in after)

    def learn(self, targets: Ids) -> None:
        """Change the weights by the gradient of the loss of the characters that the last call predicted."""
        if self._logits is None:
            raise ValueError("learn() follows a call")
        loss = functional.cross_entropy(self._logits[0], torch.from_numpy(np.asarray(targets, np.int64)))
        self._logits = None
        self._step(torch.autograd.grad(loss, self._parameters))

    @torch.no_grad()
    def _step(self, gradients: tuple[Tensor, ...]) -> None:
        self._pieces += 1
        rows = zip(self._parameters, self._initial, self._squares, gradients, strict=True)
        for parameter, initial, squares, gradient in rows:
            squares.mul_(MEMORY).addcmul_(gradient, gradient, value=1 - MEMORY)
            root = (squares / (1 - MEMORY**self._pieces)).sqrt_()
            mean = root.mean().clamp(min=1e-30)
            returned = (self.decay * root / mean).clamp_(max=0.5)
            difference = (initial - parameter).mul_(returned)
            parameter.addcdiv_(gradient, root.add_(EPSILON * mean), value=-self.rate).add_(difference)

    def frozen(self) -> Predictor:
        """The network as it is now, in NumPy."""
        return Inference(self.config, weights(self.model))
