"""The probabilities of many short texts under a model: the lines of a file, or continuations of a prompt.

R: lines   B: lines of a batch   N: characters of a line   V: vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import State
from charrnn.inference.choice import target_scores
from charrnn.inference.network import CHUNK, Ids, Predictor, characters_at_once
from charrnn.inference.states import Cursor, concatenate_states, select_rows

BATCH = 64
"""Lines that are read at once."""

POSITIONS = 4 * CHUNK
"""Characters per call in all lines of a batch: few enough for little memory, enough for large products."""

Nats = NDArray[np.float64]


def score_lines(
    predictor: Predictor,
    lines: Sequence[Ids],
    start: Cursor,
    states: Sequence[State] | None = None,
    skips: Sequence[int] | None = None,
) -> Nats:
    """(R,) log-probability in nats of each line, (N,) ids, after a cursor with one unread character.

    states  of batch size 1, from which the lines begin instead
    skips   how many characters of each line, its first ones, are read but do not count

    Lines of similar lengths are read as one batch. Batches of different sizes round the logits
    differently; otherwise the score of a line does not depend on the other lines.
    """
    result = np.zeros(len(lines))
    longest_first = sorted(range(len(lines)), key=lambda row: -len(lines[row]))
    for first in range(0, len(lines), BATCH):
        rows = longest_first[first : first + BATCH]
        if states is None:
            state = select_rows(start.state, [0] * len(rows))
        else:
            state = concatenate_states([states[row] for row in rows])
        skipped = np.array([0 if skips is None else skips[row] for row in rows])
        result[rows] = _score_batch(predictor, [lines[row] for row in rows], start.unread, state, skipped)
    return result


def _score_batch(
    predictor: Predictor, lines: Sequence[Ids], unread: Ids, state: State, skips: NDArray[np.integer]
) -> Nats:
    """(B,) log-probability of each line; the lines are sorted, the longest first."""
    lengths = np.array([len(line) for line in lines])
    result = np.zeros(len(lines))
    before = np.repeat(unread[None], len(lines), 0)
    column, most = 0, characters_at_once(predictor, POSITIONS)
    while count := int(np.count_nonzero(lengths > column)):  # the lines that have not ended are the first
        stop = min(int(lengths[count - 1]), column + max(1, most // count))
        ids = np.stack([line[column:stop] for line in lines[:count]])
        state = tuple(tuple(array[:count] for array in layer) for layer in state)
        logits, state = predictor(np.concatenate([before[:count], ids[:, :-1]], 1), state)
        counted = np.arange(column, stop) >= skips[:count, None]
        result[:count] += np.where(counted, target_scores(logits, ids), 0).sum(1)
        before, column = ids[:, -1:], stop
    return result


def score_carried(predictor: Predictor, lines: Sequence[Ids], start: Cursor) -> tuple[Nats, Cursor]:
    """(R,) log-probability in nats of each line after all lines before it; the cursor after the last.

    Both cursors have one unread character.
    """
    result = np.zeros(len(lines))
    if not lines:
        return result, start
    before, state = start.unread, start.state
    ids, ends = np.concatenate(lines), np.cumsum([len(line) for line in lines])
    size = characters_at_once(predictor, CHUNK)
    for first in range(0, len(ids), size):
        chunk = ids[first : first + size]
        logits, state = predictor(np.concatenate([before, chunk[:-1]])[None], state)
        scores = target_scores(logits[0], chunk)
        rows = np.searchsorted(ends, np.arange(first, first + len(chunk)), "right")
        np.add.at(result, rows, scores)
        before = chunk[-1:].copy()  # a view would keep the ids of all lines
    return result, Cursor(before, state)
