"""The most surprising places of a text.

n: characters of a piece   W: characters kept   A: alternatives of a character
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from charrnn.inference.network import Ids
from charrnn.inference.score import ScoredPiece

Array = NDArray[Any]

BEFORE, AFTER = 30, 10
"""Characters of the context before and after a place."""
NEAR = BEFORE + AFTER
"""Characters on either side of a place, none of them more surprising. So the contexts do not overlap."""


class Place(NamedTuple):
    """A surprising character.

    nats           its surprise: minus its log-probability
    position       in the text, from 0
    line, column   of the text, from 1
    others         (A,) the most probable characters there besides it
    other_scores   (A,) their log-probabilities
    before, after  the characters around it
    """

    nats: float
    position: int
    line: int
    column: int
    symbol: int
    others: Ids
    other_scores: NDArray[np.float64]
    before: Ids
    after: Ids


class _Kept(NamedTuple):
    """Characters whose neighbours have not all come yet, and NEAR characters before them."""

    nats: Array  # (W,)
    ids: Array  # (W,)
    others: Array  # (W, A)
    other_scores: Array  # (W, A)


class _Lines:
    """The positions of the newlines that are kept, and the last one before them; -1 is before the text."""

    def __init__(self) -> None:
        self.newlines, self.dropped = [-1], -1

    def drop_before(self, position: int) -> None:
        """Drop the newlines before the last one before ``position``."""
        drop = bisect_left(self.newlines, position) - 1
        if drop > 0:
            del self.newlines[:drop]
            self.dropped += drop

    def locate(self, position: int) -> tuple[int, int]:
        """The line and column of a position; a newline belongs to the line that it ends."""
        index = bisect_left(self.newlines, position)
        return self.dropped + index + 1, position - self.newlines[index - 1]


def worst_places(
    pieces: Iterable[ScoredPiece], count: int, others: int, newline: int | None = None
) -> list[Place]:
    """The ``count`` most surprising places, the most surprising first, each with ``others`` alternatives.

    A place is a character such that no character within NEAR is more surprising; of equal ones it is the
    first. Memory does not grow with the text.

    newline  the id of the newline, if the model knows it
    """
    finder = _Finder(count)
    kept = padding = _padding(others)
    length = 0
    for piece in pieces:
        finder.lines.newlines += (np.flatnonzero(piece.ids == newline) + length).tolist()
        length += len(piece.ids)
        kept = _joined(kept, _of_piece(piece, others))
        finder.search(kept, length)
        kept = _Kept(*(part[-2 * NEAR :] for part in kept))
        finder.lines.drop_before(length - 2 * NEAR)
    finder.search(_joined(kept, padding), length, len(padding.ids))
    return finder.places()


def _joined(first: _Kept, second: _Kept) -> _Kept:
    return _Kept(*map(np.concatenate, zip(first, second, strict=True)))


def _padding(others: int) -> _Kept:
    """NEAR characters that stand before and after the text, less surprising than any of it."""
    no_others = np.zeros((NEAR, others))
    return _Kept(np.full(NEAR, -1.0), np.zeros(NEAR, np.int64), no_others.astype(np.int64), no_others)


def _of_piece(piece: ScoredPiece, others: int) -> _Kept:
    other_ids = piece.others(others)
    other_scores = np.take_along_axis(piece.scores, other_ids, 1)
    return _Kept(-piece.log_probabilities, piece.ids, other_ids, other_scores)


class _Finder:
    """Keeps the most surprising places so far."""

    def __init__(self, count: int) -> None:
        self.count, self.lines = count, _Lines()
        self._heap: list[tuple[float, int, Place]] = []  # the least surprising, of equal ones the last, first

    def places(self) -> list[Place]:
        """The places, the most surprising first, of equal ones the first in the text."""
        return [place for _, _, place in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]

    def search(self, kept: _Kept, length: int, padding: int = 0) -> None:
        """Find the places among the characters whose neighbours are all kept.

        length   the number of characters of the text so far
        padding  the number of characters kept that stand after them
        """
        if len(kept.ids) <= 2 * NEAR:
            return
        start = length + padding - len(kept.ids)
        windows = sliding_window_view(kept.nats, 2 * NEAR + 1)  # (W - 2 NEAR, 2 NEAR + 1)
        nats = windows[:, NEAR]
        wanted = nats >= (self._heap[0][0] if len(self._heap) == self.count else 0)
        for row in np.flatnonzero(wanted).tolist():
            if windows[row].argmax() == NEAR:  # the first of equal ones
                self._push(kept, row + NEAR, start + row + NEAR, length)

    def _push(self, kept: _Kept, index: int, position: int, length: int) -> None:
        line, column = self.lines.locate(position)
        place = Place(
            float(kept.nats[index]),
            position,
            line,
            column,
            int(kept.ids[index]),
            kept.others[index],
            kept.other_scores[index],
            kept.ids[index - min(BEFORE, position) : index],
            kept.ids[index + 1 : index + 1 + min(AFTER, length - position - 1)],
        )
        push = heapq.heappush if len(self._heap) < self.count else heapq.heappushpop
        push(self._heap, (place.nats, -position, place))
