"""Choosing the order of an n-gram model: the one with the lowest loss on text that was not counted.

n: characters of the held-out text   V: vocabulary
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.config import MAX_ORDER
from charrnn.inference.network import CHUNK, Ids
from charrnn.inference.ngram import Level, NGram
from charrnn.inference.ngram_counts import count, discounts

HELD_OUT = 10
"""Without a validation part, one character in so many is held out at the end to choose the order."""


class Trial(NamedTuple):
    """A model of some order, and its mean loss in nats on the held-out text; None without such a text."""

    model: NGram
    nats: float | None


def held_out_loss(model: NGram, before: Ids, ids: Ids) -> float:
    """Mean nats per character of a text (n,), n >= 1, that follows ``before`` (1,), read as one stream."""
    state, total = model.start(1), 0.0
    for start in range(0, len(ids), CHUNK):
        piece = ids[start : start + CHUNK]
        logits, state = model(np.concatenate([before, piece[:-1]])[None], state)
        total -= float(logits[0, np.arange(len(piece)), piece].sum())
        before = piece[-1:]
    return total / len(ids)


def trials(ids: Ids, symbols: int, held_out: Ids, highest: int = MAX_ORDER) -> Iterator[Trial]:
    """Yields the models of a text of the orders 1, 2, 3 ... up to ``highest``, with their losses on another.

    The held-out text follows the counted text, whose last character is read before it.
    """
    levels: list[Level] = []
    values: list[NDArray[np.float64]] = []
    for level, shorter in count(ids, symbols, highest):
        if shorter is not None:
            levels[-1], values[-1] = shorter, discounts(shorter.counts)
        levels.append(level)
        values.append(discounts(level.counts))
        model = NGram(list(levels), np.array(values), symbols)
        yield Trial(model, held_out_loss(model, ids[-1:], held_out) if len(held_out) else None)
