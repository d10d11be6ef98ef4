"""What of a text is copied: the longest run of characters that stands in a corpus too.

Every run of 2 ** k characters of the texts gets a number, its name. A run twice as long is a pair of
names, and so is any run of a length between, for its first and its last 2 ** k characters may
overlap (Karp, Miller and Rosenberg, 1972: Rapid Identification of Repeated Patterns). Equal pairs
are equal runs: nothing is hashed, and nothing needs a second look.

The corpus is read once, in windows. What stands in no text has no name, so after a few doublings
only what may be copied is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.text.vocabulary import UNKNOWN

CHUNK = 1 << 18
"""The fewest characters by which a window goes on."""

_BEYOND = np.iinfo(np.int64).max

Integers = NDArray[np.int64]


class Run(NamedTuple):
    """``text[start : start + length]`` is ``corpus[found : found + length]``; all are 0 where none is."""

    length: int
    start: int
    found: int


def longest_runs(
    texts: Sequence[NDArray[np.integer[Any]]],
    corpus: NDArray[np.integer[Any]],
    progress: Callable[[int], None] = lambda characters: None,
) -> list[Run]:
    """The longest run of each text that stands in the corpus.

    Of several equally long it is the one that the corpus has first, and ``found`` is its first
    occurrence there; standing twice in the text, it starts at the first.

    texts     each (characters,) ids of the corpus's vocabulary; UNKNOWN is never in the corpus
    corpus    (characters,) ids below 2 ** 31, which may be mapped: a window at a time is in memory
    progress  is told how many characters of the corpus further it is
    """
    sizes = np.array([len(text) for text in texts], np.int64)
    longest = int(sizes.max(initial=0))
    owner = np.repeat(np.arange(len(texts)), sizes + 1)
    begins = np.cumsum(sizes + 1) - (sizes + 1)
    joined = np.full(len(owner), UNKNOWN, np.int64)  # one stays between two texts: no run crosses it
    for begin, text in zip(begins, texts, strict=True):
        joined[begin : begin + len(text)] = text
    named, tables = [joined], list[Integers]()  # [k] is of the runs of 2 ** k characters

    length, start, found = np.zeros((3, len(texts)), np.int64)
    step = max(CHUNK, longest)
    for begin in range(0, len(corpus), step):
        if (length == sizes).all():
            break
        window = [corpus[begin : begin + step + longest].astype(np.int64)]
        while (k := len(window)) < longest.bit_length() and (window[-1] != UNKNOWN).any():
            if k == len(named):
                tables.append(np.unique(np.append(_pairs(named[-1], 1 << (k - 1))[1], _BEYOND)))
                named.append(_doubled(named[-1], 1 << (k - 1), tables[-1]))
            window.append(_doubled(window[-1], 1 << (k - 1), tables[k - 1]))

        # Bisection; the first question is one more, for most windows hold nothing longer than is known.
        most, asked = np.minimum(sizes, (1 << len(window)) - 1), length + 1
        while (unsure := length < most).any():
            for size in map(int, np.unique(asked[unsure])):
                askers, k = unsure & (asked == size), size.bit_length() - 1
                theirs = np.where(askers[owner], named[k], UNKNOWN)
                at, places = _shared(theirs, window[k], size - (1 << k))
                lucky, first = np.unique(owner[at], return_index=True)
                start[lucky], found[lucky] = at[first] - begins[lucky], places[first] + begin
                length[lucky] = size
                most[askers & (length < size)] = size - 1
            asked = (length + most + 1) // 2
        progress(min(step, len(corpus) - begin))
    return [Run(*map(int, run)) for run in zip(length, start, found, strict=True)]


def _pairs(names: Integers, apart: int) -> tuple[Integers, Integers]:
    """Where two names stand ``apart``, and both as one number."""
    right = names[apart:]
    left = names[: len(right)]
    at = np.flatnonzero((left != UNKNOWN) & (right != UNKNOWN))
    return at, left[at] << 32 | right[at]


def _doubled(names: Integers, apart: int, table: Integers) -> Integers:
    """The names of the runs twice as long: their pairs' places in the table, UNKNOWN for what it lacks."""
    at, pairs = _pairs(names, apart)
    place = np.searchsorted(table, pairs)
    doubled = np.full_like(names, UNKNOWN)
    doubled[at] = np.where(table[place] == pairs, place, UNKNOWN)
    return doubled


def _shared(texts: Integers, window: Integers, apart: int) -> tuple[Integers, Integers]:
    """Where the texts hold a pair that the window holds, and where it has it first; sorted by the latter."""
    at, pairs = _pairs(window, apart)
    table, first = np.unique(pairs, return_index=True)
    ours, theirs = _pairs(texts, apart)
    place = np.searchsorted(table, theirs)
    hit = np.flatnonzero(np.append(table, _BEYOND)[place] == theirs)
    places = at[first[place[hit]]]
    order = np.argsort(places, kind="stable")
    return ours[hit[order]], places[order]
