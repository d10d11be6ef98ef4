"""How far back the loss of a character reaches: why an rnn forgets, and an lstm does not.

B: texts   T: characters of each   H: hidden units   V: vocabulary
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from charrnn.config import ModelConfig
from charrnn.errors import ConfigError
from charrnn.runs import parameters
from charrnn.training.network import CharRNN, TorchOps

TEXTS = 4
"""Texts the norms are the mean of."""
LONGEST = 5000
MOST_PARAMETERS, MOST_UNITS = 20_000_000, 10_000_000
"""Parameters of a fresh network, and units times characters of any: some gigabytes, and minutes."""


@dataclass(frozen=True)
class Flow:
    """One carry of one layer.

    norms      (T,) mean over texts of the norm of d loss / d carry; position k is of the carry that
               enters k + 1 steps before the prediction, as one value among those handed on
    singular   the largest singular value of the layer's recurrent matrix; None where it has none
    """

    cell: str
    layer: int
    carry: str
    norms: NDArray[np.float64]
    singular: float | None


def fresh(cell: str, layers: int, hidden: int, symbols: int, seed: int) -> CharRNN:
    """A network as training would begin with it, in float64. Raises ConfigError when it is too large."""
    config = ModelConfig(cell, layers, hidden)
    if (count := parameters.count(config, symbols)) > MOST_PARAMETERS:
        raise ConfigError(
            f"--layers {layers} --hidden {hidden}: {count:,} parameters of {cell} are too many to look at;"
            f" at most {MOST_PARAMETERS:,}"
        )
    return CharRNN(config, symbols, torch.Generator().manual_seed(seed)).double()


def texts(ids: NDArray[np.integer], length: int, count: int = TEXTS) -> NDArray[np.int64]:
    """(count, length + 1) pieces spread evenly over a text. Raises ConfigError when it is too short."""
    room = len(ids) - length - 1
    if room < 0:
        raise ConfigError(
            f"--length {length}: the text has {len(ids)} characters, and one more than the length is needed"
        )
    starts = np.linspace(0, room, count).astype(int)
    return np.stack([ids[start : start + length + 1] for start in starts]).astype(np.int64)


def flow(model: CharRNN, ids: NDArray[np.int64], clip: float = 0.0) -> list[Flow]:
    """The gradients of the loss of the last of (B, T + 1) characters, for each layer and carry.

    The cells' own steps are taken, and every carry between them is kept. With ``clip`` the norms
    are those of an update whose global gradient norm is clipped there. Raises ConfigError when the
    graph would be too large to keep.
    """
    length, config = ids.shape[1] - 1, model.config
    if config.layers * config.hidden * length > MOST_UNITS:
        most = MOST_UNITS // (config.layers * config.hidden)
        raise ConfigError(
            f"--length {length}: with {config.layers} layers of {config.hidden} it must be at most {most}"
        )
    model.eval()
    text = torch.from_numpy(ids)
    carries = [tuple(part.requires_grad_() for part in carry) for carry in model.start(len(text))]
    kept: list[list[tuple[Tensor, ...]]] = []
    inputs = functional.embedding(text, model.embedding.weight) if model.config.embedding else None
    for t in range(text.shape[1] - 1):
        if inputs is not None:
            x = inputs[:, t]
        else:
            x = functional.one_hot(text[:, t], model.symbols).to(model.readout.weight.dtype)
        # What is handed on is a copy, so that its gradient is of being handed on alone: not of what
        # the step itself made of it (an lstm's hidden from its memory) or gave to the layer above.
        carries = [tuple(part.clone() for part in carry) for carry in carries]
        kept.append(list(carries))
        for index, layer in enumerate(model.stack):
            w = layer.weights()
            carry, _ = layer.cell.step(w, layer.rows(w, x), carries[index], TorchOps)
            carries[index], x = carry, carry[0]
    loss = functional.cross_entropy(model.readout(x), text[:, -1], reduction="sum")
    wanted = [part for moment in kept for carry in moment for part in carry]
    parameters = list(model.parameters()) if clip else []  # else theirs take most of time and memory
    found = torch.autograd.grad(loss, [*wanted, *parameters], allow_unused=True)
    total = math.sqrt(sum(float(g.square().sum()) for g in found[len(wanted) :] if g is not None)) / len(text)
    scale = min(1.0, clip / total) if clip and total else 1.0
    norms = [0.0 if g is None else scale * float(g.norm(dim=1).mean()) for g in found[: len(wanted)]]
    rows = np.array(norms).reshape(len(kept), -1)[::-1]  # the nearest first
    named = [(index, name) for index, layer in enumerate(model.stack) for name in layer.cell.state_names]
    return [
        Flow(model.config.cell, index, name, rows[:, column].copy(), singular(model, index))
        for column, (index, name) in enumerate(named)
    ]


def singular(model: CharRNN, layer: int) -> float | None:
    """The largest singular value of a layer's recurrent matrix, all its gates together."""
    matrix = getattr(model.stack[layer], "weight_hh", None)
    return None if matrix is None else float(torch.linalg.matrix_norm(matrix.detach(), 2))
