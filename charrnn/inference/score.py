"""The probability of a text under a model.

N: characters of a text   n: characters of a piece   V: vocabulary
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import State
from charrnn.inference.choice import Scores, log_softmax
from charrnn.inference.network import Ids, Predictor, characters_at_once
from charrnn.inference.sample import opening_ids
from charrnn.text.vocabulary import Vocabulary


class ScoredPiece(NamedTuple):
    """A piece of a text that a model has read.

    ids     (n,) its characters
    scores  (n, V) log-probability in nats of every character at each position, given the text before it
    """

    ids: Ids
    scores: Scores

    @property
    def log_probabilities(self) -> NDArray[np.float64]:
        """(n,) log-probability in nats of each character."""
        return self.scores[np.arange(len(self.ids)), self.ids]

    @property
    def ranks(self) -> NDArray[np.int64]:
        """(n,) rank of each character among all V: 1 for the most probable one."""
        more_probable: NDArray[np.int64] = (self.scores > self.log_probabilities[:, None]).sum(1)
        return 1 + more_probable

    def others(self, count: int) -> Ids:
        """(n, count) the most probable characters besides the text's own, the most probable first.

        ``count`` is at most V - 1.
        """
        scores = self.scores.copy()
        rows = np.arange(len(scores))
        scores[rows, self.ids] = np.inf  # sorted first, then left out
        top = np.argpartition(-scores, count, 1)[:, : count + 1]
        order = np.argsort(-np.take_along_axis(scores, top, 1), 1, kind="stable")
        return np.take_along_axis(top, order, 1)[:, 1:]


def pieces_in_text_order(pieces: Iterable[ScoredPiece], boundary: int | None = None) -> Iterator[ScoredPiece]:
    """The pieces of one text that a backward model has read, in text order; keeps all in memory.

    A ``boundary`` that ends the text, as the END of a document does, stays the last.
    """
    whole = list(pieces)
    last: list[ScoredPiece] = []
    if whole and len(whole[-1].ids) and whole[-1].ids[-1] == boundary:
        ids, scores = whole.pop()
        whole.append(ScoredPiece(ids[:-1], scores[:-1]))
        last.append(ScoredPiece(ids[-1:], scores[-1:]))
    for ids, scores in whole[::-1]:
        yield ScoredPiece(ids[::-1], scores[::-1])
    yield from last


def score_stream(
    predictor: Predictor, pieces: Iterable[Ids], before: Ids, state: State | None = None
) -> Iterator[ScoredPiece]:
    """Read a text that comes in pieces (N,), as one stream; yields it in pieces of at most CHUNK characters.

    ``before`` (1,) is the character before the text; before the beginning of a text stand ``opening_ids``.
    It is read after ``state``, by default that of no text.
    """
    state = state or predictor.start(1)
    size = characters_at_once(predictor)
    for piece in pieces:
        for start in range(0, len(piece), size):
            ids = piece[start : start + size]
            logits, state = predictor(np.concatenate([before, ids[:-1]])[None], state)
            yield ScoredPiece(ids, log_softmax(logits[0]))
            before = ids[-1:]


def log_probabilities(predictor: Predictor, vocabulary: Vocabulary, ids: Ids) -> NDArray[np.float64]:
    """(N,) ids of a text -> (N,) log-probability in nats of each character after those before it.

    The first one is that of a sample's first character when no prompt is given.
    """
    pieces = score_stream(predictor, [ids], opening_ids(vocabulary))
    return np.concatenate([np.zeros(0), *(piece.log_probabilities for piece in pieces)])
