"""Counting the n-grams of a text, in memory that does not grow with it.

The key of a position is the n-gram that begins there, packed into 64 bits. The keys are sorted once; the
shorter n-grams are their prefixes. Where the longest n-gram does not fit into 64 bits, the keys are sorted
again, and begin with the node of the longest n-gram so far in place of its characters.

N: characters of the text   V: vocabulary   M: n-grams of one length
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.growing_array import GrowingArray, smallest
from charrnn.inference.key_counts import KeyCounts, Keys, count_keys, starts_of_groups
from charrnn.inference.network import Ids
from charrnn.inference.ngram import Level, NGram

CHUNK = 1 << 20
"""Positions, or n-grams, that are held in memory at once."""

Progress = Callable[[float], None]
"""Called with the characters counted since the last call; each length counts the whole text."""


def count(
    ids: Ids, symbols: int, orders: int, progress: Progress = lambda characters: None, chunk: int = CHUNK
) -> Iterator[tuple[Level, Level | None]]:
    """Yields, for each length from 1, its n-grams with their counts, and the shorter ones with theirs.

    The shorter n-grams have one character less, and continuation counts: the number of different characters
    before an n-gram, where the beginning of the text is one more. They are None for the length 1. ``ids`` may
    be memory-mapped; arrays of more than ``chunk`` numbers are kept in temporary files of the cache's folder.
    Raises CorpusError where the disk refuses.
    """
    orders = min(orders, len(ids))
    shorter: Level | None = None
    suffixes: NDArray[Any] = np.empty(0, np.uint8)
    beginning = 0  # the node of the text's first n - 1 characters
    for length, level in enumerate(_levels(ids, symbols, orders, progress, chunk), 1):
        continued: Level | None = None
        if shorter is None:
            suffixes = np.zeros(len(level.keys), np.uint8)
        else:
            beginning = int(_nodes(shorter, np.array([beginning * symbols + int(ids[length - 2])]))[0])
            suffixes, followed = _continuations(level, shorter, suffixes, symbols, chunk)
            followed[beginning] += 1
            continued = Level(shorter.keys, followed)
        yield level, continued
        shorter = level
        progress(len(ids) / 2)


def _continuations(
    level: Level, shorter: Level, suffixes: NDArray[Any], symbols: int, chunk: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(M,) the node of each n-gram without its first character, and how many n-grams end in each such node.

    ``suffixes`` are those of the ``shorter`` n-grams.
    """
    result = GrowingArray(np.min_scalar_type(len(shorter.keys) - 1), chunk)
    zeros = GrowingArray(np.min_scalar_type(symbols + 1), chunk)
    zeros.extend_to(len(shorter.keys))
    followed = zeros.array()
    for start in range(0, len(level.keys), chunk):
        prefixes, characters = np.divmod(level.keys[start : start + chunk].astype(np.int64), symbols)
        nodes = _nodes(shorter, suffixes[prefixes].astype(np.int64) * symbols + characters)
        result.append(nodes)
        np.add.at(followed, nodes, followed.dtype.type(1))
    return result.array(), followed


def _nodes(level: Level, keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nodes of keys that the level holds."""
    return np.searchsorted(level.keys, keys.astype(level.keys.dtype))


@dataclass(frozen=True)
class _Packing:
    """How the keys of one sort are made: each is a node, then characters.

    symbols     V
    before      the length of the node's n-gram; 0 for the empty context
    nodes       the number of n-grams of that length
    characters  how many follow the node; each is its id plus 1, and 0 stands for the end of the text
    """

    symbols: int
    before: int
    nodes: int
    characters: int

    @property
    def base(self) -> int:
        """The number of values of one character."""
        return self.symbols + 1

    def keys(self, ids: Ids, ranks: NDArray[Any] | None, start: int, stop: int) -> Keys:
        """The keys of the positions from ``start`` to ``stop``; ``ranks`` are their nodes."""
        size = stop - start
        result = np.zeros(size, np.uint64) if ranks is None else ranks[start:stop].astype(np.uint64)
        text = ids[start + self.before : stop + self.before + self.characters - 1]
        characters = np.zeros(size + self.characters - 1, np.uint64)
        characters[: len(text)] = text
        characters[: len(text)] += np.uint64(1)
        for offset in range(self.characters):
            result *= np.uint64(self.base)
            result += characters[offset : offset + size]
        return result


def _levels(ids: Ids, symbols: int, orders: int, progress: Progress, chunk: int) -> Iterator[Level]:
    """Yields the n-grams of each length from 1 to ``orders``, and how often each occurs."""
    before, nodes = 0, 1
    ranks: NDArray[Any] | None = None  # of the n-gram that begins at each position
    while before < orders:
        characters = 1
        while before + characters < orders and nodes * (symbols + 1) ** (characters + 1) < 1 << 64:
            characters += 1
        packing = _Packing(symbols, before, nodes, characters)
        positions = len(ids) - max(0, before - 1)
        counted = count_keys(_chunks(packing, ids, ranks, positions, progress, chunk), chunk)
        for length in range(1, characters + 1):
            level = _level(packing, counted, length, nodes, chunk)
            nodes = len(level.keys)
            yield level
        if before + characters < orders:
            ranks = _ranks(packing, counted.keys, ids, ranks, chunk)
        before += characters


def _chunks(
    packing: _Packing, ids: Ids, ranks: NDArray[Any] | None, positions: int, progress: Progress, chunk: int
) -> Iterator[Keys]:
    """Yields the keys of all positions."""
    for start in range(0, positions, chunk):
        stop = min(start + chunk, positions)
        yield packing.keys(ids, ranks, start, stop)
        progress((stop - start) * packing.characters / 2)


def _ranks(
    packing: _Packing, keys: Keys, ids: Ids, ranks: NDArray[Any] | None, chunk: int
) -> NDArray[np.unsignedinteger]:
    """The node, among the longest n-grams of the keys, of the n-gram that begins at each position."""
    cut = np.concatenate(  # the few keys that the end of the text cuts short, which are no n-grams
        [
            start + np.flatnonzero(keys[start : start + chunk] % np.uint64(packing.base) == 0)
            for start in range(0, len(keys), chunk)
        ]
    )
    result = GrowingArray(np.min_scalar_type(len(keys)), chunk)
    positions = len(ids) - (packing.before + packing.characters) + 1
    for start in range(0, positions, chunk):
        stop = min(start + chunk, positions)
        wanted = packing.keys(ids, ranks, start, stop)
        order = np.argsort(wanted)  # a search for increasing keys reads the memory in order: 8 times as fast
        indices = np.searchsorted(keys, wanted[order])
        found = np.empty(stop - start, np.int64)
        found[order] = indices - np.searchsorted(cut, indices)
        result.append(found)
    return result.array()


def _level(packing: _Packing, counted: KeyCounts, length: int, contexts: int, chunk: int) -> Level:
    """The n-grams that the first ``length`` characters of the keys complete.

    ``contexts`` is the number of n-grams one shorter.
    """
    base = np.uint64(packing.base)
    keys = GrowingArray(np.min_scalar_type(contexts * packing.symbols - 1), chunk)
    counts = GrowingArray(np.int64, chunk)
    last_context, last_node = None, -1
    for prefixes, sums in _prefixes(counted, packing.base ** (packing.characters - length), chunk):
        before = prefixes // base
        characters = (prefixes - before * base).astype(np.int64)
        nodes = before.astype(np.int64)
        if length > 1:  # the contexts are numbered as they come; those that the end of the text cuts are none
            new = np.zeros(len(before), np.bool_)
            new[starts_of_groups(before)] = True
            new[0] &= before[0] != last_context
            nodes = last_node + np.cumsum(new & (before % base != 0))
            last_context, last_node = before[-1], int(nodes[-1])
        complete = characters > 0
        keys.append((nodes * packing.symbols + characters - 1)[complete])
        counts.append(sums[complete])
    return Level(keys.array(), smallest(counts.array(), chunk))


def _prefixes(counted: KeyCounts, divisor: int, chunk: int) -> Iterator[tuple[Keys, NDArray[np.int64]]]:
    """Yields the distinct keys // divisor, increasing, and their counts; no prefix comes twice."""
    held = np.empty(0, np.uint64), np.empty(0, np.int64)  # the last prefix so far, which may go on
    for start in range(0, len(counted.keys), chunk):
        prefixes = counted.keys[start : start + chunk] // np.uint64(divisor)
        starts = starts_of_groups(prefixes)
        prefixes = prefixes[starts]
        sums = np.add.reduceat(counted.counts[start : start + chunk], starts, dtype=np.int64)
        if len(held[0]) and held[0][0] == prefixes[0]:
            sums[0] += held[1][0]
        elif len(held[0]):
            yield held
        if len(prefixes) > 1:
            yield prefixes[:-1], sums[:-1]
        held = prefixes[-1:], sums[-1:]
    yield held


def discounts(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """(3,) the discounts of counts 1, 2, and 3 or more (Chen & Goodman 1999, equation 26).

    They are computed from the numbers of n-grams with the counts 1 to 4, and limited to between 0.1 and nine
    tenths of the count, so that no character has the probability 0.
    """
    parts = [counts[start : start + CHUNK] for start in range(0, len(counts), CHUNK)]
    frequencies = [max(1, sum(int(np.count_nonzero(part == n)) for part in parts)) for n in range(1, 5)]
    ones, twos = frequencies[:2]
    factor = ones / (ones + 2 * twos)
    found = [n - (n + 1) * factor * frequencies[n] / frequencies[n - 1] for n in (1, 2, 3)]
    return np.clip(found, 0.1, (0.9, 1.8, 2.7))


def build(
    ids: Ids, symbols: int, order: int, progress: Progress = lambda characters: None, chunk: int = CHUNK
) -> NGram:
    """The n-gram model of a text. Arguments and errors as of ``count``."""
    levels: list[Level] = []
    for level, shorter in count(ids, symbols, order, progress, chunk):
        if shorter is not None:
            levels[-1] = shorter
        levels.append(level)
    return NGram(levels, np.array([discounts(level.counts) for level in levels]), symbols)
