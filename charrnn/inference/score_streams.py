"""The probability of a long text, read as several pieces at once.

N: characters of the text   B: pieces that one thread reads
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import State
from charrnn.inference.choice import target_scores
from charrnn.inference.network import Ids, Predictor
from charrnn.inference.pieces import WARM_UP, Pieces, Rows
from charrnn.inference.states import concatenate_states, select_rows


class StreamsScore(NamedTuple):
    """The score of a text that was read in pieces.

    nats    of all characters together
    shift   the nats that the cuts have added, measured on the first WARM_UP characters of each piece:
            there the loss after the warm-up is compared with that after the end of the piece before
    pieces  into which the text was cut
    """

    nats: float
    shift: float
    pieces: int


def score_streams(
    predictor: Predictor,
    ids: Ids,
    before: Ids,
    count: int,
    threads: int = 1,
    progress: Callable[[int], object] = lambda characters: None,
) -> StreamsScore:
    """Read a text (N,), N >= 1, as at most ``count`` pieces at once, in ``threads`` threads.

    before    (1,) the character before the text
    progress  called with the number of characters read since the last call
    """
    text = _Text(predictor, ids, before, count, progress)
    results = text.pieces.in_threads([text.read_pieces] * threads)
    # A piece starts from the end of the one before, which has forgotten its own cut by then.
    ends = concatenate_states([end for _, _, end in results])
    again = text.pieces.in_threads([lambda rows: text.read_beginnings(rows, ends)] * threads)
    shift = sum(beginnings for _, beginnings, _ in results) - sum(again)
    return StreamsScore(sum(nats for nats, _, _ in results), shift, text.pieces.count)


class _Text:
    """A text, whose character at a position is predicted after the one before it."""

    def __init__(
        self, predictor: Predictor, ids: Ids, before: Ids, count: int, progress: Callable[[int], object]
    ) -> None:
        self.pieces = Pieces(predictor, np.concatenate([before.astype(ids.dtype), ids[:-1]]), count)
        self.ids, self.progress, self.lock = ids, progress, Lock()

    def read_pieces(self, rows: Rows) -> tuple[float, float, State]:
        """(nats of these pieces, nats of the first WARM_UP characters of all but piece 0, states after)."""
        first, state = self._read(rows, self.pieces.initial(rows), 0, WARM_UP, self.progress)
        others, state = self._read(rows, state, WARM_UP, self.pieces.length, self.progress)
        return float(first.sum() + others.sum()), float(first[rows > 0].sum()), state

    def read_beginnings(self, rows: Rows, ends: State) -> float:
        """The nats of the first WARM_UP characters of these pieces but piece 0; ``ends``: of all pieces."""
        cut = rows[rows > 0]
        return float(self._read(cut, select_rows(ends, cut - 1), 0, WARM_UP)[0].sum()) if len(cut) else 0.0

    def _read(
        self,
        rows: Rows,
        state: State,
        start: int,
        stop: int,
        progress: Callable[[int], object] = lambda characters: None,
    ) -> tuple[NDArray[np.float64], State]:
        """Read positions ``start`` to ``stop`` of the pieces: (B,) the nats of each, and the state after."""
        nats = np.zeros(len(rows))
        for positions, logits, after in self.pieces.read(rows, state, start, stop):
            state = after
            targets = self.ids[np.minimum(positions, len(self.ids) - 1)]
            inside = positions < len(self.ids)
            nats -= np.where(inside, target_scores(logits, targets), 0).sum(1)
            with self.lock:
                progress(int(inside.sum()))
        return nats, state
