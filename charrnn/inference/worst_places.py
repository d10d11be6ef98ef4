"""The most surprising places of a text.

n: characters of a piece   W: characters in memory   A: alternatives of a character
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
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


class _Characters(NamedTuple):
    """Characters of a text, with the fields of their places."""

    nats: Array  # (W,); -1 outside the text
    positions: Array  # (W,)
    lines: Array  # (W,)
    columns: Array  # (W,)
    ids: Array  # (W,); -1 outside the text
    others: Array  # (W, A)
    other_scores: Array  # (W, A)


def worst_places(pieces: Iterable[ScoredPiece], count: int, others: int, newline: int) -> list[Place]:
    """The ``count`` most surprising places, the most surprising first, each with ``others`` alternatives.

    A place is a character such that no character within NEAR is more surprising; of equal ones it is the
    first. Memory does not grow with the text.

    newline  the id of the newline; -1 where the model does not know it
    """
    heap: list[tuple[float, int, Place]] = []  # the least surprising first, of equal ones the last
    for characters in _overlapping(pieces, others, newline):
        windows = sliding_window_view(characters.nats, 2 * NEAR + 1)  # (W - 2 NEAR, 2 NEAR + 1)
        lowest = heap[0][0] if len(heap) == count else 0
        for row in np.flatnonzero(windows[:, NEAR] >= lowest).tolist():
            if windows[row].argmax() == NEAR:  # the first of equal ones
                place = _place(characters, row + NEAR)
                push = heapq.heappush if len(heap) < count else heapq.heappushpop
                push(heap, (place.nats, -place.position, place))
    return [place for _, _, place in sorted(heap, key=lambda entry: entry[:2], reverse=True)]


def _overlapping(pieces: Iterable[ScoredPiece], others: int, newline: int) -> Iterator[_Characters]:
    """Yields the text in pieces of W > 2 NEAR characters, each with the last 2 NEAR of the piece before.

    The first piece begins, and the last one ends, with NEAR entries that are outside the text.
    """
    no_others = np.zeros((NEAR, others))
    outside = _Characters(*[*np.full((5, NEAR), -1), no_others.astype(int), no_others])
    kept, start = outside, (0, 1, 1)
    for piece in pieces:
        new, start = _of_piece(piece, others, newline, *start)
        kept = _Characters(*map(np.concatenate, zip(kept, new, strict=True)))
        if len(kept.ids) > 2 * NEAR:
            yield kept
        kept = _Characters(*(part[-2 * NEAR :] for part in kept))
    if len(kept.ids) > NEAR:
        yield _Characters(*map(np.concatenate, zip(kept, outside, strict=True)))


def _of_piece(
    piece: ScoredPiece, others: int, newline: int, position: int, line: int, column: int
) -> tuple[_Characters, tuple[int, int, int]]:
    """The characters of a piece, and the position, line and column after it; those of its first are given.

    A newline belongs to the line that it ends.
    """
    ends = piece.ids == newline
    index = np.arange(len(ends) + 1)
    newlines = np.append(0, np.cumsum(ends))  # before each character
    line_starts = np.append(1 - column, np.flatnonzero(ends) + 1)  # the index of each line's first character
    positions, lines, columns = index + position, newlines + line, index - line_starts[newlines] + 1
    other_ids = piece.others(others)
    other_scores = np.take_along_axis(piece.scores, other_ids, 1)
    numbers = (-piece.log_probabilities, positions[:-1], lines[:-1], columns[:-1], piece.ids)
    characters = _Characters(*numbers, other_ids, other_scores)
    return characters, (int(positions[-1]), int(lines[-1]), int(columns[-1]))


def _place(characters: _Characters, index: int) -> Place:
    values = [part[index].item() for part in characters[:5]] + [part[index] for part in characters[5:]]
    before, after = characters.ids[index - BEFORE : index], characters.ids[index + 1 : index + 1 + AFTER]
    return Place(*values, *(context[context >= 0] for context in (before, after)))
