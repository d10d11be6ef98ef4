"""Naive reference implementations and helpers that several tests of networks share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from charrnn import cells
from charrnn.training.network import CharRNN
from charrnn.training.ops import TorchOps

NETWORKS = (*cells.names(), "lstm+3", "mingru+30")
"""The cells, and two networks with attention over 3 and 30 outputs."""


def network_settings(name: str) -> dict[str, Any]:
    """The settings of ``ModelConfig`` for one of NETWORKS."""
    cell, _, attention = name.partition("+")
    return {"cell": cell, "attention": int(attention or 0)}


class PlainOps(TorchOps):
    """``TorchOps`` whose products, and their gradients, are left to torch."""

    @staticmethod
    def affine(x: Tensor, h: Tensor, matrix: Tensor) -> Tensor:  # type: ignore[override]
        return x + h @ matrix.T


def plain_network(model: CharRNN, ids: Tensor) -> tuple[Tensor, tuple[tuple[Tensor, ...], ...]]:
    """Logits (B, T, V) and state of nothing but the cells' steps and torch's autograd."""
    x = model.embedding(ids.T)
    states = []
    for layer, state in zip(model.stack, model.start(len(ids)), strict=True):
        w, outputs = layer.weights(), []
        for row in layer.cell.inputs(w, x, PlainOps):
            state, _ = layer.cell.step(w, row, state, PlainOps)
            outputs.append(state[0])
        x = torch.stack(outputs)
        states.append(state)
    return model.readout(x).transpose(0, 1), tuple(states)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """(..., V) logits -> (..., V) log probabilities, in nats."""
    result: np.ndarray = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return result


def gradients_of(model: torch.nn.Module) -> list[Tensor]:
    """The gradient of every parameter. Fails where a parameter has none."""
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None for gradient in gradients)
    return [gradient for gradient in gradients if gradient is not None]
