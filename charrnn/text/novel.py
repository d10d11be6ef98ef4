"""Copied runs: the longest run of characters of a text that a corpus holds too.

Karp, Miller and Rosenberg 1972, Rapid Identification of Repeated Patterns: every run of 2 ** k
characters gets a number, its name, and equal runs have equal names. A run of twice that length is
named by the pair of its halves' names. A run of a length between is identified by the names of
its first and of its last 2 ** k characters, which overlap. So nothing is hashed, and equal names
need no comparison of characters.

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

_LAST = np.iinfo(np.int64).max
"""Ends a sorted table, so that every search has a result; no pair of names is as large."""

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
    """The longest run of each text that the corpus holds.

    Of several longest runs it is the first in the corpus; ``start`` and ``corpus_start`` are its first
    positions in the text and in the corpus.

    texts     each (characters,) ids of the corpus's vocabulary; the corpus never holds UNKNOWN
    corpus    (characters,) ids below 2 ** 31; it may be memory-mapped, for only a window is loaded
    progress  called with the number of corpus characters that were read
    """
    search = _Search(texts)
    step = max(CHUNK, search.longest)
    for begin in range(0, len(corpus), step):
        if (search.length == search.sizes).all():
            break
        search.read(corpus[begin : begin + step + search.longest].astype(np.int64), begin)
        progress(min(step, len(corpus) - begin))
    return [Run(*map(int, run)) for run in zip(search.length, search.start, search.corpus_start, strict=True)]


class _Search:
    """The texts' names, and the longest run of each text in the windows read so far.

    owner   (C,) the text that each character belongs to
    names   [k] (C,) the names of the runs of 2 ** k characters, by their first character
    tables  [k] the sorted pairs of names [k]; a pair's position is the name of the run twice as long
    """

    def __init__(self, texts: Sequence[NDArray[np.integer[Any]]]) -> None:
        self.sizes = np.array([len(text) for text in texts], np.int64)
        self.longest = int(self.sizes.max(initial=0))
        self.length, self.start, self.corpus_start = np.zeros((3, len(texts)), np.int64)
        self.owner = np.repeat(np.arange(len(texts)), self.sizes + 1)
        self.begins = np.cumsum(self.sizes + 1) - (self.sizes + 1)
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
                self.tables.append(np.unique(np.append(_pairs(self.names[k], 1 << k)[1], _LAST)))
                self.names.append(_doubled(self.names[k], 1 << k, self.tables[k]))
            window.append(_doubled(window[k], 1 << k, self.tables[k]))
        return window

    def _look_for(self, size: int, asked: NDArray[np.bool_], window: list[Integers], begin: int) -> None:
        """Record a run of ``size`` characters for each of the asked texts that shares one with the window."""
        k = size.bit_length() - 1
        names = np.where(asked[self.owner], self.names[k], UNKNOWN)
        positions, places = _shared(names, window[k], size - (1 << k))
        texts, first = np.unique(self.owner[positions], return_index=True)
        self.length[texts] = size
        self.start[texts] = positions[first] - self.begins[texts]
        self.corpus_start[texts] = places[first] + begin


def _pairs(names: Integers, distance: int) -> tuple[Integers, Integers]:
    """The positions of two names at this distance, and both names as one number."""
    right = names[distance:]
    left = names[: len(right)]
    positions = np.flatnonzero((left != UNKNOWN) & (right != UNKNOWN))
    return positions, left[positions] << 32 | right[positions]


def _doubled(names: Integers, distance: int, table: Integers) -> Integers:
    """The names of the runs twice as long: their pairs' places in the table, UNKNOWN where it lacks them."""
    positions, pairs = _pairs(names, distance)
    places = np.searchsorted(table, pairs)
    doubled = np.full_like(names, UNKNOWN)
    doubled[positions] = np.where(table[places] == pairs, places, UNKNOWN)
    return doubled


def _shared(texts: Integers, window: Integers, distance: int) -> tuple[Integers, Integers]:
    """(positions in the texts, first places in the window) of the pairs in both, sorted by the places."""
    window_positions, window_pairs = _pairs(window, distance)
    table, first = np.unique(window_pairs, return_index=True)
    positions, pairs = _pairs(texts, distance)
    index = np.searchsorted(table, pairs)
    hits = np.flatnonzero(np.append(table, _LAST)[index] == pairs)
    places = window_positions[first[index[hits]]]
    order = np.argsort(places, kind="stable")
    return positions[hits[order]], places[order]
