"""The n-gram model in NumPy: interpolated modified Kneser-Ney (Chen & Goodman 1999).

    p(w | c_k) = max(n(c_k w) - D(n(c_k w)), 0) / n(c_k) + gamma(c_k) p(w | c_(k-1))

c_k is the context, the last k characters; n the count of an n-gram at the highest order, and the number of
different characters that it follows below it; D the discount, which depends on the count; gamma what the
discounts leave over. The lowest order mixes with the uniform distribution.

B: batch   T: characters   R = B * T   V: vocabulary   N: order, the length of the longest n-gram
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import State
from charrnn.inference.choice import Scores
from charrnn.inference.network import Ids, Logits, Trace

Array = NDArray[Any]

UNSEEN = -1
"""The node of a context that the text does not contain."""


class Level(NamedTuple):
    """The n-grams of one length that occur in a text, sorted; M of them. An n-gram's index is its node.

    keys    (M,) increasing: the node of the n-gram's first n - 1 characters, times V, plus its last character
    counts  (M,) how often it occurs, or how many different characters it follows
    """

    keys: NDArray[np.unsignedinteger]
    counts: NDArray[np.unsignedinteger]

    def find(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """The node of each key, UNSEEN where there is none."""
        # a query of another type would make searchsorted convert all keys
        wanted = keys.astype(self.keys.dtype)
        nodes = np.searchsorted(self.keys, wanted)
        nodes[nodes == len(self.keys)] = 0
        nodes[(self.keys[nodes] != wanted) | (keys < 0)] = UNSEEN
        return nodes

    def ranges(self, nodes: NDArray[np.int64], symbols: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first n-gram that continues each node, and the one after the last."""
        starts = np.searchsorted(self.keys, (nodes * symbols).astype(self.keys.dtype))
        stops = np.searchsorted(self.keys, (nodes * symbols + (symbols - 1)).astype(self.keys.dtype), "right")
        return starts, stops


class NGram:
    """An n-gram model, a ``Predictor``. Its state holds the nodes of the last 1 to N - 1 characters.

    The state is one array (B, N - 1); UNSEEN stands for a context that the text does not contain.
    """

    def __init__(self, levels: Sequence[Level], discounts: NDArray[np.float64], symbols: int) -> None:
        """``levels`` from length 1 to N; ``discounts`` (N, 3) of counts 1, 2, and 3 or more."""
        self.levels, self.symbols = levels, symbols
        self.discounts = np.pad(discounts, ((0, 0), (1, 0)))

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return len(self.levels)

    def start(self, batch: int) -> State:
        """The state without any context."""
        return ((np.full((batch, self.order - 1), UNSEEN),),)

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        """(B, T) ids -> (B, T, V) log-probabilities of the next character, and the state after the last."""
        logits, _, state = self.predict(ids, state)
        return logits, state

    def predict(self, ids: Ids, state: State) -> tuple[Scores, Scores, State]:
        """As a call, and (B, T, N - 1) log(1 + number of different characters after each context).

        The number tells how sure the model is: 0 stands for a context that the text does not contain.
        """
        nodes = self._nodes(ids, state[0][0])
        batch, times = ids.shape
        probabilities, types = self._probabilities(nodes.reshape(self.order, batch * times))
        logits = np.log(probabilities).reshape(batch, times, self.symbols)
        confidence = np.log1p(types.T).reshape(batch, times, self.order - 1)
        return logits, confidence, ((nodes[1:, :, -1].T,),)

    def _nodes(self, ids: Ids, before: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N, B, T) the node of the last 0 to N - 1 characters after each character."""
        nodes = np.zeros((self.order, *ids.shape), np.int64)  # the empty context is node 0
        for length in range(1, self.order):
            shorter = nodes[length - 1]
            if length > 1:
                shorter = np.concatenate([before[:, length - 2 : length - 1], shorter[:, :-1]], 1)
            keys = np.where(shorter == UNSEEN, UNSEEN, shorter * self.symbols + ids)
            nodes[length] = self.levels[length - 1].find(keys)
        return nodes

    def _probabilities(self, nodes: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(N, R) nodes -> (R, V) probabilities, and (N - 1, R) different characters after each context."""
        rows = nodes.shape[1]
        result = np.full((rows, self.symbols), 1 / self.symbols)
        all_types = np.zeros((self.order, rows), np.int64)
        for length, (level, discounts) in enumerate(zip(self.levels, self.discounts, strict=True)):
            known = np.flatnonzero(nodes[length] != UNSEEN)
            contexts = nodes[length, known]
            starts, stops = level.ranges(contexts, self.symbols)
            types = stops - starts
            continued = types > 0  # a context at the end of the text is not
            known, contexts, starts, types = (part[continued] for part in (known, contexts, starts, types))
            if not len(known):
                break  # nor do longer contexts occur
            # the n-grams that continue the contexts, and the row of each
            ends = np.cumsum(types)
            grams = np.arange(ends[-1]) + np.repeat(starts - ends + types, types)
            row = np.repeat(np.arange(len(known)), types)
            counts = level.counts[grams].astype(np.int64)
            taken = discounts[np.minimum(counts, 3)]
            totals = np.bincount(row, counts)
            left = np.bincount(row, taken) / totals
            result[known] *= left[:, None]
            last = level.keys[grams].astype(np.int64) - np.repeat(contexts * self.symbols, types)
            result[known[row], last] += (counts - taken) / totals[row]
            all_types[length, known] = types
        return result, all_types[1:]


def from_arrays(arrays: Mapping[str, Array], symbols: int) -> NGram:
    """The model whose arrays a checkpoint holds (``runs.ngram_arrays``)."""
    order = len(arrays["discounts"])
    levels = [Level(arrays[f"ngrams.{n}.keys"], arrays[f"ngrams.{n}.counts"]) for n in range(1, order + 1)]
    return NGram(levels, arrays["discounts"], symbols)


def to_arrays(model: NGram) -> dict[str, Array]:
    """The arrays of a model by their names in a checkpoint."""
    arrays: dict[str, Array] = {"discounts": model.discounts[:, 1:]}
    for n, level in enumerate(model.levels, 1):
        arrays |= {f"ngrams.{n}.keys": level.keys, f"ngrams.{n}.counts": level.counts}
    return arrays
