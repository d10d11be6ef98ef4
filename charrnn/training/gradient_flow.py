"""Gradient norms through time: how far back the learning signal of one prediction reaches.

B: texts   T: characters read   H: hidden units   V: vocabulary
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from charrnn.config import ModelConfig
from charrnn.errors import ConfigError
from charrnn.runs import parameters
from charrnn.training.network import CharRNN
from charrnn.training.ops import TorchOps

TEXTS = 4
"""Number of texts that the norms are averaged over."""
LARGEST = 1e140
"""The limit of a norm: a float64 cannot hold the sum of the squares of larger numbers."""
LONGEST = 5000
"""The largest T that the command accepts."""
MOST_PARAMETERS, MOST_UNITS = 20_000_000, 10_000_000
"""Limits on a fresh network's parameters, and on any network's layers * H * T: gigabytes and minutes."""


@dataclass(frozen=True)
class Flow:
    """The gradient norms of one state array ("hidden" or "memory") of one layer.

    norms                   (T,) norms of d loss / d state, averaged over the texts: ``norms[k]`` is for the
                            state that the step k + 1 characters before the predicted character receives
    largest_singular_value  that of the layer's recurrent matrix, with the rows of all gates together; None
                            without such a matrix
    gate_singular_value     the largest one of the matrices of single gates
    global_norm             the norm of the gradient of all parameters together; None without clipping
    clip_factor             the factor by which clipping multiplies all gradients; 1 without clipping
    """

    cell: str
    layer: int
    state: str
    norms: NDArray[np.float64]
    largest_singular_value: float | None
    gate_singular_value: float | None
    global_norm: float | None
    clip_factor: float

    @property
    def clipped_norms(self) -> NDArray[np.float64]:
        """(T,) the norms after clipping."""
        return self.clip_factor * self.norms


def fresh(
    cell: str, layers: int, hidden: int, symbols: int, seed: int, singular: float | None = None
) -> CharRNN:
    """An untrained network, initialised as for training, in float64.

    ``singular``: the largest singular value that the recurrent matrix of each gate is scaled to.

    Raises ConfigError for a network that is too large, or has no recurrent matrix to scale.
    """
    config = ModelConfig(cell, layers, hidden)
    if (count := parameters.count(config, symbols)) > MOST_PARAMETERS:
        raise ConfigError(
            f"--layers {layers} --hidden {hidden}: cell {cell} would have {count:,} parameters;"
            f" at most {MOST_PARAMETERS:,} are possible"
        )
    model = CharRNN(config, symbols, torch.Generator().manual_seed(seed)).double()
    if singular is not None:
        _scale_recurrent_matrices(model, singular)
    return model


@torch.no_grad()
def _scale_recurrent_matrices(model: CharRNN, singular: float) -> None:
    """Multiply each gate's recurrent matrix so that this is its largest singular value."""
    for layer in model.stack:
        if not hasattr(layer, "weight_hh"):
            cell = model.config.cell
            raise ConfigError(f"--singular: {cell} has no recurrent matrix: leave {cell} out of --cells")
        for matrix in torch.split(layer.weight_hh, model.config.hidden):
            matrix.mul_(singular / torch.linalg.matrix_norm(matrix, 2))


def texts(ids: NDArray[np.integer], length: int, count: int = TEXTS) -> NDArray[np.int64]:
    """(count, length + 1) excerpts, evenly spaced. Raises ConfigError when ``ids`` is too short for one."""
    last_start = len(ids) - length - 1
    if last_start < 0:
        raise ConfigError(
            f"--length {length}: must be below {len(ids)}, the number of characters of the text"
        )
    starts = np.linspace(0, last_start, count).astype(int)
    return np.stack([ids[start : start + length + 1] for start in starts]).astype(np.int64)


def flow(
    model: CharRNN, ids: NDArray[np.int64], clip: float = 0.0, tick: Callable[[], object] = lambda: None
) -> list[Flow]:
    """The gradients of the last character's loss, for each layer and state array.

    ids: (B, T + 1). With ``clip``, the norm of all parameters' gradients is measured, and clipped there.
    ``tick`` is called 2 T times: after each character that is read, and after each that the gradient passes.

    Raises ConfigError when the graph would be too large or a norm reaches LARGEST.
    """
    length, config = ids.shape[1] - 1, model.config
    if config.layers * config.hidden * length > MOST_UNITS:
        most = MOST_UNITS // (config.layers * config.hidden)
        raise ConfigError(
            f"--length {length}: must be at most {most} with {config.layers} layers of {config.hidden} units"
        )
    model.eval()
    loss, states = _unrolled_loss(model, torch.from_numpy(ids), tick)
    # The parameters' gradients take most of the time and memory, and only clipping needs them.
    weights = list(model.parameters()) if clip else []
    gradients = torch.autograd.grad(loss, [*states, *weights], allow_unused=True)
    of_states, of_weights = gradients[: len(states)], gradients[len(states) :]
    global_norm = math.sqrt(sum(float(g.square().sum()) for g in of_weights if g is not None)) / len(ids)
    norms = np.array([0.0 if g is None else float(g.norm(dim=1).mean()) for g in of_states])
    by_distance = norms.reshape(length, -1)[::-1]
    if not (representable := (by_distance < LARGEST).all(1)).all():
        reach = int(representable.argmin()) + 1
        raise ConfigError(
            f"--length {length}: {reach} characters back, the norm of {config.cell} exceeds {LARGEST:g}:"
            f" try --length {max(1, reach * 9 // 10)}"
        )
    factor = min(1.0, clip / global_norm) if clip and global_norm else 1.0
    values = [singular_values(model, layer) for layer in range(config.layers)]
    arrays = [(index, name) for index, layer in enumerate(model.stack) for name in layer.cell.state_names]
    return [
        Flow(
            config.cell,
            index,
            name,
            by_distance[:, column].copy(),
            *values[index],
            global_norm if clip else None,
            factor,
        )
        for column, (index, name) in enumerate(arrays)
    ]


def _unrolled_loss(model: CharRNN, ids: Tensor, tick: Callable[[], object]) -> tuple[Tensor, list[Tensor]]:
    """The loss of the last of (B, T + 1) characters in nats, and the state arrays (B, H) each step received.

    The loss is summed over the texts. The arrays are in order of time, then layer, then state name. With
    attention, the gradient through an earlier output goes to the states of the step that made it.
    ``tick`` is called after each step, and again when the gradient has passed it.
    """

    def passed(gradient: Tensor) -> None:
        tick()

    received: list[Tensor] = []
    initial = model.start(len(ids))
    state = [tuple(part.requires_grad_() for part in initial[index]) for index in range(model.config.layers)]
    weights = [layer.weights() for layer in model.stack]
    tops: list[Tensor] = []
    for symbols in ids[:, :-1].T:
        first = model.stack[0].cell.inputs(weights[0], model.first_inputs(symbols[None]), TorchOps)
        # The next step receives copies, so that a gradient has only the paths through that step. The
        # originals have more: an lstm's cell state makes h of its own step, which the layer above reads.
        state = [tuple(part.clone() for part in layer_state) for layer_state in state]
        received += [part for layer_state in state for part in layer_state]
        state[0][0].register_hook(passed)
        outputs: list[Tensor] = []
        for index, (layer, w) in enumerate(zip(model.stack, weights, strict=True)):
            inputs = layer.cell.inputs(w, outputs[-1], TorchOps) if outputs else first[0]
            state[index], _ = layer.cell.step(w, inputs, state[index], TorchOps)
            h = state[index][0]
            outputs.append(h + outputs[-1] if outputs and model.config.residual else h)
        tops.append(outputs[-1])
        tick()
    if model.config.attention:
        contexts, _ = model.attention(torch.stack(tops), initial[-1])
        outputs.append(contexts[-1])
    logits = model.readout(model.readout_inputs(outputs))
    return functional.cross_entropy(logits, ids[:, -1], reduction="sum"), received


def singular_values(model: CharRNN, layer: int) -> tuple[float | None, float | None]:
    """The largest singular values of a layer's recurrent matrix and of the largest of its gates' matrices.

    The former has the rows of all gates together. None twice for a layer without such a matrix.
    """
    matrix = getattr(model.stack[layer], "weight_hh", None)
    if matrix is None:
        return None, None
    gates = matrix.detach().view(-1, model.config.hidden, model.config.hidden)
    norms = [torch.linalg.matrix_norm(part, 2).max() for part in (matrix.detach(), gates)]
    return float(norms[0]), float(norms[1])
