"""What the tests of generation share: predictors of a few lines, networks, and complete results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from charrnn.config import ModelConfig
from charrnn.inference.network import Inference
from charrnn.inference.sample import Chunk
from charrnn.inference.states import Cursor
from tests.conftest import random_weights


class Table:
    """A predictor whose row i holds the logits of what follows i. Its state counts what it has read."""

    def __init__(self, table) -> None:
        self.table = np.array(table, float)
        self.symbols = len(self.table)

    def start(self, batch: int):
        return ((np.zeros((batch, 1)),),)

    def __call__(self, ids, state, trace=None):
        return self.table[ids], ((state[0][0] + ids.shape[1],),)


def network(
    cell: str = "lstm", layers: int = 2, hidden: int = 6, symbols: int = 5, seed: int = 0, embedding: int = 4
) -> Inference:
    """A network with random weights."""
    config = ModelConfig(cell, layers, hidden, embedding)
    return Inference(config, random_weights(config, symbols, seed))


@dataclass
class Generated:
    """One generated text, all its chunks joined."""

    ids: tuple[int, ...]
    scores: tuple[float, ...]
    ended: str
    end: Cursor
    score: float | None


def gathered(chunks: Iterable[Chunk]) -> list[Generated]:
    """The texts, in the order of their rows. Nothing follows the end of a text, and every text ends."""
    parts: dict[int, list[Chunk]] = {}
    for chunk in chunks:
        parts.setdefault(chunk.row, []).append(chunk)
    texts = []
    for row in range(len(parts)):
        *before, last = parts[row]
        assert not any(chunk.ended or chunk.end for chunk in before)
        assert last.ended
        assert last.end is not None
        ids = tuple(symbol for chunk in parts[row] for symbol in chunk.ids)
        scores = tuple(score for chunk in parts[row] for score in chunk.scores)
        texts.append(Generated(ids, scores, last.ended, last.end, last.score))
    return texts


def softmax(logits: np.ndarray) -> np.ndarray:
    """(..., V) logits -> probabilities, in float64."""
    weights = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    result: np.ndarray = weights / weights.sum(-1, keepdims=True)
    return result
