"""Copied runs: the longest run of characters of a text that a corpus holds too.

Karp, Miller and Rosenberg 1972, Rapid Identification of Repeated Patterns: every run of 2 ** k
characters gets a number, its name, and equal runs have equal names. A run of twice that length is
named by the pair of its halves' names. A run of a length between is identified by the names of
its first and of its last 2 ** k characters, which overlap. Nothing is hashed, so equal
names need no check.

Only runs of the texts have names; a run of the corpus that no text holds is UNKNOWN. The corpus
is read once, in windows.

C: characters of all texts, with one separator after each   W: characters of a window
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.text.vocabulary import UNKNOWN

CHUNK = 1 << 18
"""Characters by which the window moves; more where a text is longer."""

Integers = NDArray[np.int64]


class Run(NamedTuple):
    """``length`` characters from ``text[start]`` and from ``corpus[corpus_start]`` on; all 0 for no run."""

    length: int
    start: int
    corpus_start: int


def longest_runs(
    texts: Sequence[NDArray[np.integer[Any]]],
    corpus: NDArray[np.integer[Any]],
    progress: Callable[[int], None] = lambda characters: None,
) -> list[Run]:
    """The longest run of each text that the corpus holds: the first in the corpus, then in the text.

    texts     each (characters,) ids of the corpus's vocabulary; the corpus never holds UNKNOWN
    corpus    (characters,) ids below 2 ** 31; it may be memory-mapped, for only a window is loaded
    progress  called with the number of corpus characters that were read
    """
    search = _Search(texts)
    step = max(CHUNK, search.longest)
    for begin in range(0, len(corpus), step):
        search.read(corpus[begin : begin + step + search.longest].astype(np.int64), begin)
        progress(min(step, len(corpus) - begin))
    runs = zip(search.length, search.start - search.begins, search.corpus_start, strict=True)
    return [Run(*map(int, run)) for run in runs]


class _Search:
    """The texts' names, and the longest run of each text in the windows read so far.

    owner   (C,) the text that each character belongs to
    begins  the position of each text in (C,); ``start`` is also a position in (C,)
    names   [k] (C,) the names of the runs of 2 ** k characters, by their first character
    tables  [k] the sorted pairs of names [k]; a pair's position is the name of the run twice as long
    """

    def __init__(self, texts: Sequence[NDArray[np.integer[Any]]]) -> None:
        self.sizes = np.array([len(text) for text in texts], np.int64)
        self.longest = int(self.sizes.max(initial=0))
        self.owner = np.repeat(np.arange(len(texts)), self.sizes + 1)
        self.begins = np.cumsum(self.sizes + 1) - (self.sizes + 1)
        self.length, self.corpus_start = np.zeros((2, len(texts)), np.int64)
        self.start = self.begins.copy()
        characters = np.full(len(self.owner), UNKNOWN, np.int64)  # UNKNOWN separates the texts
        for begin, text in zip(self.begins, texts, strict=True):
            characters[begin : begin + len(text)] = text
        self.names, self.tables = [characters], list[Integers]()

    def read(self, characters: Integers, begin: int) -> None:
        """Search a window, (W,) from ``corpus[begin]`` on, for longer runs: bisection over their length."""
        window = self._window_names(characters)
        most = np.minimum(self.sizes, (1 << len(window)) - 1)
        # The first guess is one more character, for most windows hold no longer run.
        guess = self.length + 1
        while (open_texts := self.length < most).any():
            for size in map(int, np.unique(guess[open_texts])):
                asked = open_texts & (guess == size)
                self._look_for(size, asked, window, begin)
                most[asked & (self.length < size)] = size - 1
            guess = (self.length + most + 1) // 2

    def _window_names(self, characters: Integers) -> list[Integers]:
        """[k] (W,) the names of the window's runs of 2 ** k characters, as far as any text holds one."""
        window = [characters]
        while len(window) < self.longest.bit_length() and (window[-1] != UNKNOWN).any():
            k = len(window) - 1
            if k == len(self.tables):
                self.tables.append(np.unique(_pairs(self.names[k], 1 << k)[1]))
                self.names.append(_doubled(self.names[k], 1 << k, self.tables[k]))
            window.append(_doubled(window[k], 1 << k, self.tables[k]))
        return window

    def _look_for(self, size: int, asked: NDArray[np.bool_], window: list[Integers], begin: int) -> None:
        """Record a run of ``size`` characters for each of the asked texts that shares one with the window."""
        k = size.bit_length() - 1
        positions, pairs = _pairs(np.where(asked[self.owner], self.names[k], UNKNOWN), size - (1 << k))
        window_positions, window_pairs = _pairs(window[k], size - (1 << k))
        table, first = np.unique(window_pairs, return_index=True)
        places = _places(table, pairs)
        shared = places != UNKNOWN
        starts, corpus_starts = positions[shared], window_positions[first[places[shared]]] + begin
        order = np.lexsort((starts, corpus_starts))
        texts, first = np.unique(self.owner[starts[order]], return_index=True)
        self.length[texts] = size
        self.start[texts] = starts[order[first]]
        self.corpus_start[texts] = corpus_starts[order[first]]


def _pairs(names: Integers, distance: int) -> tuple[Integers, Integers]:
    """The positions of two known names at this distance, and both names as one number."""
    right = names[distance:]
    left = names[: len(right)]
    positions = np.flatnonzero((left != UNKNOWN) & (right != UNKNOWN))
    return positions, left[positions] << 32 | right[positions]


def _places(table: Integers, pairs: Integers) -> Integers:
    """The place of each pair in a sorted table, UNKNOWN where the table lacks it."""
    places = np.searchsorted(table, pairs)
    return np.where(np.append(table, UNKNOWN)[places] == pairs, places, UNKNOWN)


def _doubled(names: Integers, distance: int, table: Integers) -> Integers:
    """The names of the runs twice as long: the places of their pairs in the table."""
    positions, pairs = _pairs(names, distance)
    doubled = np.full_like(names, UNKNOWN)
    doubled[positions] = _places(table, pairs)
    return doubled
