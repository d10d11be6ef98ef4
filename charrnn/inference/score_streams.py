"""The probability of a long text, read as several pieces at once.

N: characters of the text   K: pieces   L: characters of a piece   B: pieces that one thread reads
T: characters read at once   V: vocabulary
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import State
from charrnn.inference.choice import log_softmax
from charrnn.inference.network import Ids, Predictor
from charrnn.inference.states import concatenate_states, select_rows

WARM_UP = 512
"""Characters read before a piece for an estimate of its initial state; pieces are at least so long."""
POSITIONS = 4096
"""Characters that one thread reads at once, in all its pieces together."""


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
    workers: int = 1,
    progress: Callable[[int], object] = lambda characters: None,
) -> StreamsScore:
    """Read a text (N,), N >= 1, as at most ``count`` pieces at once, in ``workers`` threads.

    The first piece starts as ``score_stream`` does. Each other piece starts from the state after the WARM_UP
    characters before it, because the state after all characters before it is not known yet.

    before    (1,) the character before the text
    progress  called with the number of characters read since the last call
    """
    length = max(-(-len(ids) // count), WARM_UP)
    pieces = -(-len(ids) // length)
    text = _Text(predictor, ids, before, length, progress)
    groups = np.array_split(np.arange(pieces), min(workers, pieces))
    with ThreadPoolExecutor(len(groups)) as pool:
        try:
            results = list(pool.map(text.read_pieces, groups))
            ends = concatenate_states([end for _, _, end in results])
            # A piece starts from the end of the one before, which has forgotten its own cut by then.
            starts = [select_rows(ends, rows[rows > 0] - 1) for rows in groups]
            again = list(pool.map(text.read_beginnings, groups, starts))
        finally:
            text.stop.set()  # Ctrl-C does not wait for the threads
    shift = sum(beginnings for _, beginnings, _ in results) - sum(again)
    return StreamsScore(sum(nats for nats, _, _ in results), shift, pieces)


class _Text:
    """A text as K pieces of L characters; the last one may be shorter."""

    def __init__(
        self, predictor: Predictor, ids: Ids, before: Ids, length: int, progress: Callable[[int], object]
    ) -> None:
        self.predictor, self.ids, self.before, self.length = predictor, ids, before, length
        self.progress, self.lock, self.stop = progress, Lock(), Event()

    def read_pieces(self, rows: NDArray[np.intp]) -> tuple[float, float, State]:
        """(nats of these pieces, nats of the first WARM_UP characters of all but piece 0, states after)."""
        _, state = self._read(rows, self.predictor.start(len(rows)), -WARM_UP, 0)
        if rows[0] == 0:  # nothing is before piece 0
            state = concatenate_states([self.predictor.start(1), select_rows(state, np.arange(1, len(rows)))])
        first, state = self._read(rows, state, 0, WARM_UP, self.progress)
        others, state = self._read(rows, state, WARM_UP, self.length, self.progress)
        return float(first.sum() + others.sum()), float(first[rows > 0].sum()), state

    def read_beginnings(self, rows: NDArray[np.intp], state: State) -> float:
        """The nats of the first WARM_UP characters of these pieces but piece 0, from the given states."""
        cut = rows[rows > 0]
        return float(self._read(cut, state, 0, WARM_UP)[0].sum()) if len(cut) else 0.0

    def _read(
        self,
        rows: NDArray[np.intp],
        state: State,
        start: int,
        stop: int,
        progress: Callable[[int], object] = lambda characters: None,
    ) -> tuple[NDArray[np.float64], State]:
        """Read positions ``start`` to ``stop`` of the pieces: (B,) the nats of each, and the state after."""
        nats = np.zeros(len(rows))
        times = max(1, POSITIONS // len(rows))
        for first in range(start, stop, times):
            if self.stop.is_set():
                break
            columns = np.arange(first, min(first + times, stop))
            positions = rows[:, None] * self.length + columns  # (B, T)
            inputs = np.where(positions > 0, self._at(positions - 1), self.before)
            targets = self._at(positions)[:, :, None]
            logits, state = self.predictor(inputs, state)
            scores = np.take_along_axis(log_softmax(logits), targets, 2)[:, :, 0]
            inside = positions < len(self.ids)
            nats -= np.where(inside, scores, 0).sum(1)
            with self.lock:
                progress(int(inside.sum()))
        return nats, state

    def _at(self, positions: NDArray[np.intp]) -> NDArray[np.int64]:
        """The characters at these positions; any character outside the text."""
        return self.ids[np.clip(positions, 0, len(self.ids) - 1)].astype(np.int64)
