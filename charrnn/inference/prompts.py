"""Reading prompts: one, or several of unequal lengths as one batch.

B: prompts   V: vocabulary   N: characters of a prompt
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from charrnn.cells import State
from charrnn.inference.network import CHUNK, Logits, Predictor, read
from charrnn.inference.states import Cursor, joined, row, rows


def read_prompt(predictor: Predictor, cursor: Cursor) -> tuple[Logits, State]:
    """Read the unread characters (N,) -> (1, V) logits of the next character, and the state."""
    _, logits, state = deque(read(predictor, cursor.unread, cursor.state), maxlen=1).pop()
    return logits[-1:], state


def read_prompts(predictor: Predictor, cursors: Sequence[Cursor]) -> tuple[Logits, State]:
    """(B, V) logits of the next character of each, and the state. A shared cursor is read once.

    The batch is read up to the end of its shortest prompt, the others to the end of the next, and so on.
    """
    if all(cursor is cursors[0] for cursor in cursors):
        logits, state = read_prompt(predictor, cursors[0])
        return logits.repeat(len(cursors), 0), rows(state, np.zeros(len(cursors), int))
    lengths = np.array([len(cursor.unread) for cursor in cursors])
    results: dict[int, tuple[Logits, State]] = {}
    reading, state, start = np.arange(len(cursors)), joined([cursor.state for cursor in cursors]), 0
    for stop in np.unique(lengths).tolist():
        ids = np.stack([cursors[index].unread[start:stop] for index in reading.tolist()])
        for column in range(0, stop - start, CHUNK):
            logits, state = predictor(ids[:, column : column + CHUNK], state)
        for position in np.flatnonzero(lengths[reading] == stop).tolist():
            results[int(reading[position])] = logits[position, -1:], row(state, position)
        others = np.flatnonzero(lengths[reading] > stop)
        reading, state, start = reading[others], rows(state, others), stop
    ordered = [results[index] for index in range(len(cursors))]
    return np.concatenate([logits for logits, _ in ordered]), joined([state for _, state in ordered])
