"""Counting the n-grams of a text, in memory that does not grow with it.

The key of a position is the n-gram that begins there, packed into 64 bits. The keys are sorted once; the
shorter n-grams are their prefixes. Where the longest n-gram does not fit into 64 bits, the keys are sorted
again, and begin with the node of the longest n-gram so far in place of its characters.

In a text of documents, a boundary stands before the first one, between two, and after the last one. In an
n-gram it is the first character, START, or the last one, END: no n-gram crosses it.

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
    ids: Ids,
    symbols: int,
    orders: int,
    progress: Progress = lambda characters: None,
    boundary: int | None = None,
    chunk: int = CHUNK,
) -> Iterator[tuple[Level, Level | None]]:
    """Yields, for each length from 1, its n-grams with their counts, and the shorter ones with theirs.

    The shorter n-grams have one character less, and continuation counts: the number of different characters
    before an n-gram, where the beginning of the text is one more. They are None for the length 1. ``ids`` may
    be memory-mapped; arrays of more than ``chunk`` numbers are kept in temporary files of the cache's folder.
    Raises CorpusError where the disk refuses.

    The ids of documents begin and end with their ``boundary``, the largest id. Nothing stands before START:
    an n-gram that begins with it keeps its count, and START alone is not counted.
    """
    orders = min(orders, longest_ngram(ids, boundary, chunk))
    shorter: Level | None = None
    suffixes: NDArray[Any] = np.empty(0, np.uint8)
    beginning = 0  # the node of the text's first n - 1 characters
    for length, level in enumerate(_levels(ids, symbols, orders, progress, boundary, chunk), 1):
        continued: Level | None = None
        if shorter is None:
            suffixes = np.zeros(len(level.keys), np.uint8)
            if boundary is not None:
                level.counts[-1] -= 1  # the boundary before the first document is the END of none
        else:
            suffixes, followed = _continuations(level, shorter, suffixes, symbols, chunk)
            if boundary is None:
                beginning = int(_nodes(shorter, np.array([beginning * symbols + int(ids[length - 2])]))[0])
                followed[beginning] += 1
            else:
                followed = _or_counts(followed, shorter.counts, chunk)
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


def _or_counts(
    followed: NDArray[np.unsignedinteger], counts: NDArray[np.unsignedinteger], chunk: int
) -> NDArray[np.unsignedinteger]:
    """(M,) how many characters each n-gram of documents follows; for none, the n-gram's own count."""
    result = GrowingArray(np.int64, chunk)
    for start in range(0, len(followed), chunk):
        part = followed[start : start + chunk]
        result.append(np.where(part, part, counts[start : start + chunk]))
    return smallest(result.array(), chunk)


def longest_ngram(ids: Ids, boundary: int | None = None, chunk: int = CHUNK) -> int:
    """The length of the longest n-gram: all of a text, or the longest document with its START and END."""
    if boundary is None:
        return len(ids)
    longest, last = 0, 0  # characters from one boundary to the next; the last boundary so far
    for start in range(0, len(ids), chunk):
        positions = start + np.flatnonzero(ids[start : start + chunk] == boundary)
        if len(positions):
            longest = max(longest, int(np.diff(positions, prepend=last).max()))
            last = int(positions[-1])
    return longest + 1


def _nodes(level: Level, keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nodes of keys that the level holds."""
    return np.searchsorted(level.keys, keys.astype(level.keys.dtype))


@dataclass(frozen=True)
class _Packing:
    """How the keys of one sort are made: each is a node, then characters.

    symbols     V
    before      the length of the node's n-gram; 0 for the empty context
    nodes       the number of n-grams of that length
    characters  how many follow the node; each is its id plus 1, and 0 stands for the end of the text, and for
                all characters after END
    boundary    of documents; None for one long text
    """

    symbols: int
    before: int
    nodes: int
    characters: int
    boundary: int | None = None

    @property
    def base(self) -> int:
        """The number of values of one character."""
        return self.symbols + 1

    def keys(self, ids: Ids, ranks: NDArray[Any] | None, start: int, stop: int) -> Keys:
        """The keys of the positions from ``start`` to ``stop``; ``ranks`` are their nodes.

        A position whose node would cross a boundary has no node, but any number; only zeros follow it.
        """
        size = stop - start
        result = np.zeros(size, np.uint64) if ranks is None else ranks[start:stop].astype(np.uint64)
        text = ids[start + self.before : stop + self.before + self.characters - 1]
        characters = np.zeros(size + self.characters - 1, np.uint64)
        characters[: len(text)] = text
        characters[: len(text)] += np.uint64(1)
        lengths = None if self.boundary is None else self._lengths(ids, start, stop)
        for offset in range(self.characters):
            result *= np.uint64(self.base)
            following = characters[offset : offset + size]
            result += following if lengths is None else following * (lengths > self.before + offset)
        return result

    def _lengths(self, ids: Ids, start: int, stop: int) -> NDArray[np.int64]:
        """(stop - start,) characters from each position to the next END, or as many as a key has, or more."""
        following = ids[start + 1 : stop + self.before + self.characters - 1]
        ends = np.append(np.flatnonzero(following == self.boundary), len(following))
        positions = np.arange(stop - start)
        result: NDArray[np.int64] = ends[np.searchsorted(ends, positions)] + 2 - positions
        return result


def _levels(
    ids: Ids, symbols: int, orders: int, progress: Progress, boundary: int | None, chunk: int
) -> Iterator[Level]:
    """Yields the n-grams of each length from 1 to ``orders``, and how often each occurs."""
    before, nodes = 0, 1
    ranks: NDArray[Any] | None = None  # of the n-gram that begins at each position
    while before < orders:
        characters = 1
        while before + characters < orders and nodes * (symbols + 1) ** (characters + 1) < 1 << 64:
            characters += 1
        packing = _Packing(symbols, before, nodes, characters, boundary)
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
    """The node, among the longest n-grams of the keys, of the n-gram that begins at each position.

    A position from which the n-gram would cross a boundary gets any number up to that of the n-grams.
    """
    cuts = GrowingArray(np.int64, chunk)  # the keys that END or the end of the text cuts: they are no n-grams
    for start in range(0, len(keys), chunk):
        cuts.append(start + np.flatnonzero(keys[start : start + chunk] % np.uint64(packing.base) == 0))
    cut = cuts.array()
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
    ids: Ids,
    symbols: int,
    order: int,
    progress: Progress = lambda characters: None,
    boundary: int | None = None,
    chunk: int = CHUNK,
) -> NGram:
    """The n-gram model of a text. Arguments and errors as of ``count``."""
    levels: list[Level] = []
    for level, shorter in count(ids, symbols, order, progress, boundary, chunk):
        if shorter is not None:
            levels[-1] = shorter
        levels.append(level)
    return NGram(levels, np.array([discounts(level.counts) for level in levels]), symbols)
