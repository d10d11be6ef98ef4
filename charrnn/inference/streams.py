"""Texts side by side in one batch, each as it would be alone.

A batch is multiplied in another order than one row is, so that its logits differ in the last digits.

B: texts   V: vocabulary   N: characters of a prompt
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import State
from charrnn.inference.choice import Choice, Scores, gumbel
from charrnn.inference.network import CHUNK, Ids, Logits, Mask, Predictor, Trace, read
from charrnn.inference.states import Cursor, joined, row, rows


def after(predictor: Predictor, start: Cursor) -> tuple[Logits, State]:
    """Read what is unread -> (1, V) logits of the character after it, and the state."""
    logits: Logits = np.empty(0)
    state = start.state
    for _, found, now in read(predictor, start.unread, state):
        logits, state = found[-1:], now
    return logits, state


def after_all(predictor: Predictor, starts: Sequence[Cursor]) -> tuple[Logits, State]:
    """Read several, of unequal lengths, as one batch -> (B, V) logits, and the state.

    Those still unread are read on to where the shortest of them ends, and so on.
    """
    if all(start is starts[0] for start in starts):
        logits, state = after(predictor, starts[0])
        return logits.repeat(len(starts), 0), rows(state, np.zeros(len(starts), int))
    lengths = np.array([len(start.unread) for start in starts])
    found: list[Logits] = [np.empty(0)] * len(starts)
    states: list[State] = [start.state for start in starts]
    which, state, done = np.arange(len(starts)), joined(states), 0
    for length in np.unique(lengths):
        texts = np.stack([starts[k].unread[done:length] for k in which.tolist()])
        for begin in range(0, texts.shape[1], CHUNK):
            logits, state = predictor(texts[:, begin : begin + CHUNK], state)
        for at, k in enumerate(which.tolist()):
            if lengths[k] == length:
                found[k], states[k] = logits[at, -1:], row(state, at)
        stay = np.flatnonzero(lengths[which] > length)
        which, state, done = which[stay], rows(state, stay), length
    return np.concatenate(found), joined(states)


class Streams:
    """Texts that are drawn side by side.

    A draw so close that rounding may decide it is made again from logits computed alone, and a
    network in which rounding grows is asked for one text at a time.

    logits  (B, V) of the next character of each        state  (B, H) each
    """

    def __init__(self, predictor: Predictor, starts: Sequence[Cursor], choice: Choice) -> None:
        self._predictor, self._choice = predictor, choice
        self._starts = starts
        self._read: tuple[Ids, State] | None = None  # what has been read last, and after which state
        self._alone: list[_Alone] = []
        self.logits, self.state = after_all(predictor, starts)
        if len(starts) == 1:
            return
        if _forgets(predictor, choice):  # type: ignore[arg-type]  # as any object it is hashed by identity
            # A start that all share has been read alone.
            shared = all(start is starts[0] for start in starts)
            self._alone = [
                _Alone(predictor, start, (self.logits[k : k + 1], row(self.state, k)) if shared else None)
                for k, start in enumerate(starts)
            ]
        else:
            self.logits, self.state = _side_by_side([after(predictor, start) for start in starts])
            self._predictor = _Singly(predictor)

    def draw(
        self, noise: Scores, may: Mask | None, recent: Mask | None, temperature: float
    ) -> NDArray[np.intp]:
        """(B,) ids; the arguments are those of ``Choice.draw``, and what it raises."""
        ids, doubtful = self._choice.draw(self.logits, noise, may, recent, temperature)
        for at in np.flatnonzero(doubtful).tolist() if self._alone else ():
            one = slice(at, at + 1)
            ids[one], _ = self._choice.draw(
                self._alone[at].logits(),
                noise[one],
                None if may is None else may[one],
                None if recent is None else recent[one],
                temperature,
            )
        return ids

    def where(self, at: int, id: int) -> Cursor:
        """Where the text of a row stands when ``id`` is its next character."""
        return Cursor(np.array([id]), row(self.state, at))

    def stood(self, at: int) -> Cursor:
        """Where the text of a row stood before the character that it has read last."""
        if self._read is None:
            return self._starts[at]
        ids, state = self._read
        return Cursor(ids[at : at + 1], row(state, at))

    def keep(self, which: Sequence[int]) -> None:
        """Go on with these rows alone."""
        if self._read is None:
            self._starts = [self._starts[at] for at in which]
        else:
            self._read = self._read[0][which], rows(self._read[1], which)
        self.logits, self.state = self.logits[which], rows(self.state, which)
        if self._alone:
            self._alone = [self._alone[at] for at in which]

    def read(self, ids: Ids) -> None:
        """(B,) the next character of each."""
        for alone, id in zip(self._alone, ids.tolist(), strict=False):  # there may be none
            alone.unread.append(id)
        self._read = ids, self.state
        found, self.state = self._predictor(ids[:, None], self.state)
        self.logits = found[:, 0]


class _Alone:
    """What the logits of one text of a batch would be, were it drawn alone."""

    def __init__(self, predictor: Predictor, start: Cursor, known: tuple[Logits, State] | None) -> None:
        self._predictor, self._start, self._known = predictor, start, known
        self.unread: list[int] = []

    def logits(self) -> Logits:
        """(1, V), after all that is unread."""
        logits, state = self._known or after(self._predictor, self._start)
        for id in self.unread:
            found, state = self._predictor(np.array([[id]]), state)
            logits = found[:, 0]
        self.unread.clear()
        self._known = logits, state
        return logits


class _Singly:
    """A Predictor that asks another for one row at a time, as it is asked for a text alone."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.start = predictor.start

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        return _side_by_side([self._predictor(ids[k : k + 1], row(state, k), trace) for k in range(len(ids))])


def _side_by_side(answers: Sequence[tuple[Logits, State]]) -> tuple[Logits, State]:
    return np.concatenate([logits for logits, _ in answers]), joined([state for _, state in answers])


NUDGE, LATER, GROWN = 1e-3, 128, 10


@lru_cache(maxsize=1)
def _forgets(predictor: Predictor, choice: Choice) -> bool:
    """Whether a nudge to the state has not grown tenfold ``LATER`` characters on.

    Then what rounding does to a state stays small too, as in networks that have learnt, where a nudge
    shrinks a thousandfold or is at most remembered. Many networks with random weights are chaotic:
    there it grows by hundreds, and two texts soon have nothing in common. Asked once for all batches.
    """
    generator = np.random.default_rng(0)
    logits, state = after(predictor, Cursor(np.zeros(LATER, int), predictor.start(1)))
    nudged = tuple(
        tuple(part + (NUDGE * generator.standard_normal(part.shape)).astype(part.dtype) for part in carry)
        for carry in state
    )
    both = joined([state, nudged])
    first = _apart(both)
    for _ in range(LATER):
        ids, _ = choice.draw(logits, gumbel([generator], logits.shape[-1]))
        found, both = predictor(ids[[0, 0], None], both)
        logits = found[:1, 0]
    return _apart(both) <= GROWN * first


def _apart(state: State) -> float:
    """The largest difference between two rows of a state."""
    return max((float(np.abs(part[0] - part[1]).max()) for carry in state for part in carry), default=0.0)
