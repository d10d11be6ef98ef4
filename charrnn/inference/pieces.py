"""A long text read as several pieces at once, in several threads.

N: characters of the text   K: pieces   L: characters of a piece   B: pieces that one thread reads
T: characters read at once   V: vocabulary
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import State
from charrnn.inference.network import Ids, Logits, Predictor, Trace, characters_at_once
from charrnn.inference.states import concatenate_states

WARM_UP = 512
"""Characters read before a piece for an estimate of its initial state; pieces are at least so long."""
POSITIONS = 4096
"""Characters that one thread reads at once, in all its pieces together."""

Rows = NDArray[np.intp]
"""(B,) the numbers of some pieces."""

Result = TypeVar("Result")


class Chunk(NamedTuple):
    """What a model computed at B x T positions of the text.

    positions  (B, T) in the text; N or more behind the end of a shorter last piece
    logits     (B, T, V) of the character after each
    state      after the last of the T characters of each piece
    """

    positions: NDArray[np.intp]
    logits: Logits
    state: State


class Pieces:
    """A text (N,), N >= 1, as K pieces of L characters; the last one may be shorter.

    The first piece begins from ``state``. Each other piece begins from the state after the WARM_UP characters
    before it, because the state after all characters before it is not known yet.
    """

    def __init__(self, predictor: Predictor, ids: Ids, count: int, state: State | None = None) -> None:
        """``count`` is the most pieces; ``state`` is by default that before a text."""
        self.predictor, self.ids = predictor, ids
        self.state = predictor.start(1) if state is None else state
        self.length = max(-(-len(ids) // count), WARM_UP)
        self.count = -(-len(ids) // self.length)
        self._stop = Event()

    def in_threads(self, workers: Sequence[Callable[[Rows], Result]]) -> Sequence[Result]:
        """The results of the workers, each called in its own thread with an equal part of the pieces.

        Where there are more workers than pieces, the last workers are not called.
        """
        groups = np.array_split(np.arange(self.count), min(len(workers), self.count))
        with ThreadPoolExecutor(len(groups)) as pool:
            try:
                return list(pool.map(lambda work, rows: work(rows), workers, groups))
            except BaseException:
                self._stop.set()  # Ctrl-C does not wait for the threads
                raise

    def initial(self, rows: Rows) -> State:
        """The states from which these pieces begin; their numbers are sorted, and may be repeated."""
        first, others = rows[rows == 0], rows[rows > 0]
        states = [self.state] * len(first)
        if len(others):
            *_, last = self.read(others, self.predictor.start(len(others)), -WARM_UP, 0)
            states.append(last.state)
        return concatenate_states(states)

    def read(
        self, rows: Rows, state: State, start: int, stop: int, trace: Trace | None = None
    ) -> Iterator[Chunk]:
        """Read characters ``start`` to ``stop`` of the pieces, T at a time."""
        times = max(1, characters_at_once(self.predictor, POSITIONS) // len(rows))
        for first in range(start, stop, times):
            if self._stop.is_set():
                return
            positions = rows[:, None] * self.length + np.arange(first, min(first + times, stop))
            inputs = self.ids[np.clip(positions, 0, len(self.ids) - 1)].astype(np.int64)
            logits, state = self.predictor(inputs, state, trace)
            yield Chunk(positions, logits, state)
