"""Counting the n-grams of a text.

N: characters of the text   V: vocabulary
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.network import Ids
from charrnn.inference.ngram import Level, NGram


def count(ids: Ids, symbols: int, orders: int) -> Iterator[tuple[Level, Level | None]]:
    """Yields, for each length from 1: the counts of its n-grams, and the continuation counts of one shorter.

    A continuation count is the number of different characters that an n-gram follows. The beginning of the
    text counts as one more of them.
    """
    ranks = np.zeros(len(ids), np.int64)  # the node of the n-gram that begins at each position
    shorter: Level | None = None
    for length in range(1, min(orders, len(ids)) + 1):
        size = len(ids) - length + 1
        found, first, inverse, counts = np.unique(
            ranks[:size] * symbols + ids[length - 1 :],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        if shorter is not None:
            followed = np.bincount(ranks[first + 1], minlength=len(shorter.keys))
            followed[ranks[0]] += 1
            shorter = Level(shorter.keys, _smallest(followed))
        level = Level(_smallest(found), _smallest(counts))
        yield level, shorter
        ranks, shorter = inverse, level


def _smallest(numbers: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
    """The numbers in the smallest unsigned type that holds them."""
    result: NDArray[np.unsignedinteger] = numbers.astype(np.min_scalar_type(int(numbers.max())))
    return result


def discounts(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """(3,) the discounts of counts 1, 2, and 3 or more (Chen & Goodman 1999, equation 26).

    They follow from how many n-grams have the counts 1 to 4; where that leaves no discount, or all of a
    count, they are limited, so that every character keeps a probability.
    """
    frequencies = [max(1, int(np.count_nonzero(counts == count))) for count in range(1, 5)]
    ones, twos = frequencies[:2]
    factor = ones / (ones + 2 * twos)
    found = [n - (n + 1) * factor * frequencies[n] / frequencies[n - 1] for n in (1, 2, 3)]
    return np.clip(found, 0.1, (0.9, 1.8, 2.7))


def build(ids: Ids, symbols: int, order: int) -> NGram:
    """The n-gram model of a text."""
    levels: list[Level] = []
    for level, shorter in count(ids, symbols, order):
        if shorter is not None:
            levels[-1] = shorter
        levels.append(level)
    return NGram(levels, np.array([discounts(level.counts) for level in levels]), symbols)
