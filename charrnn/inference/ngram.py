"""The n-gram model in NumPy: interpolated modified Kneser-Ney (Chen & Goodman 1999).

    p(w | c_k) = max(n(c_k w) - D(n(c_k w)), 0) / n(c_k) + gamma(c_k) p(w | c_(k-1))

    c_k    the context: the last k characters
    n      the count of an n-gram of the highest order, or of one that begins a document; of another shorter
           one, the number of different characters before it
    D      the discount, which depends on the count
    gamma  the sum of the discounts over n(c_k), so that the probabilities sum to 1

After the empty context, the shorter prediction is the uniform distribution.

B: batch   T: characters   R = B * T   V: vocabulary   N: order, the length of the longest n-gram
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import State
from charrnn.inference.choice import Scores
from charrnn.inference.network import Ids, Logits, Trace

Array = NDArray[Any]

UNSEEN = -1
"""The node of a context that the text does not contain."""
FEW = 16
"""Up to so many lookups, Python's binary search takes less time than the calls of NumPy."""


class Level(NamedTuple):
    """The n-grams of one length that occur in a text, sorted; M of them. An n-gram's index is its node.

    keys    (M,) increasing: the node of the n-gram's first n - 1 characters, times V, plus its last character
    counts  (M,) how often it occurs, or how many different characters it follows
    """

    keys: NDArray[np.unsignedinteger]
    counts: NDArray[np.unsignedinteger]

    def find(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(R,) The node of each key; UNSEEN for a key of no n-gram, such as a negative one."""
        if len(keys) > FEW:
            nodes = self._position(keys)
            nodes[self.keys[nodes] != keys] = UNSEEN
            return nodes
        view, wanted = self.keys.data, keys.tolist()
        positions = [bisect_left(view, key, 0, len(view) - 1) for key in wanted]
        pairs = zip(positions, wanted, strict=True)
        return np.array([position if view[position] == key else UNSEEN for position, key in pairs])

    def children(self, nodes: NDArray[np.int64], symbols: int) -> tuple[NDArray[np.int64], Array, Array]:
        """(R,) nodes -> (R,) how many n-grams continue each, and the keys and counts (K,) of all of these."""
        if len(nodes) > FEW:
            keys = nodes * symbols
            starts, stops = self._position(keys), self._position(keys + (symbols - 1), "right")
            types = np.where((nodes < 0) | (keys > self.keys[-1]), 0, stops - starts)
            ends = np.cumsum(types)
            grams = np.arange(ends[-1]) + np.repeat(starts - ends + types, types)
            return types, self.keys[grams], self.counts[grams]
        view, ranges = self.keys.data, []
        for node in nodes.tolist():
            start = bisect_left(view, node * symbols) if node >= 0 else 0
            ranges.append((start, bisect_left(view, (node + 1) * symbols, start)))
        all_keys = np.concatenate([self.keys[start:stop] for start, stop in ranges])
        counts = np.concatenate([self.counts[start:stop] for start, stop in ranges])
        return np.array([stop - start for start, stop in ranges]), all_keys, counts

    def _position(
        self, keys: NDArray[np.int64], side: Literal["left", "right"] = "left"
    ) -> NDArray[np.int64]:
        """Where each key belongs, on the left at most at the last n-gram."""
        # a query of another type would make searchsorted convert all n-grams; the last key fits their type
        return self.keys.searchsorted(keys.clip(0, self.keys[-1]).astype(self.keys.dtype), side)


class Discounted(NamedTuple):
    """What the n-grams of all lengths give to a prediction: p(v) = probabilities + left * p_0(v).

    probabilities  (R, V)
    left           (R,) the share of p_0, the prediction without any n-gram
    types          (N, R) the number of different characters after each context
    totals         (N, R) the number of all characters after each context
    """

    probabilities: Array
    left: Array
    types: Array
    totals: Array


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
        """(logits, confidence, state): those of a call, and (B, T, 2 (N - 1)) how sure the model is.

        The confidence is log(1 + n) for each context of 1 to N - 1 characters; n is first the number of
        different characters after it, then of all characters after it. n is 0 after an UNSEEN context.
        """
        nodes = self._nodes(ids, state[0][0])
        discounted, left, types, totals = self.discounted(nodes.reshape(self.order, ids.size))
        logits = np.log(discounted + left[:, None] / self.symbols).reshape(*ids.shape, self.symbols)
        confidence = np.log1p(np.concatenate([types[1:], totals[1:]]).T).reshape(*ids.shape, -1)
        return logits, confidence, ((nodes[1:, :, -1].T,),)

    def _nodes(self, ids: Ids, before: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N, B, T) the node of the last 0 to N - 1 characters after each character."""
        # the node of the last 0 to N - 1 characters before each character; the empty context is node 0
        earlier = np.zeros((self.order, *ids.shape), np.int64)
        earlier[1:, :, 0] = before.T
        nodes = np.zeros_like(earlier)
        for length, level in enumerate(self.levels[:-1], 1):
            keys = earlier[length - 1] * self.symbols + ids  # negative where the shorter context is UNSEEN
            nodes[length] = level.find(keys.ravel()).reshape(ids.shape)
            earlier[length, :, 1:] = nodes[length, :, :-1]
        return nodes

    def discounted(self, nodes: NDArray[np.int64]) -> Discounted:
        """What the n-grams after these contexts give; ``nodes`` (N, R), the shortest contexts first."""
        size, rows = nodes.size, nodes.shape[1]
        children = [
            level.children(contexts, self.symbols) for level, contexts in zip(self.levels, nodes, strict=True)
        ]
        types, keys, counts = (np.concatenate(parts, dtype=np.int64) for parts in zip(*children, strict=True))
        context = np.repeat(np.arange(size), types)  # of each n-gram; contexts are counted through nodes
        taken = self.discounts.take(context // rows * 4 + np.minimum(counts, 3))
        totals = np.bincount(context, counts, size)
        left = np.ones(size)  # gamma; 1 where the text does not contain the context, or ends with it
        np.divide(np.bincount(context, taken, size), totals, out=left, where=totals > 0)
        # the share of each context's own prediction: what all longer contexts leave
        shares = np.ones((self.order + 1, rows))
        np.cumprod(left.reshape(nodes.shape)[::-1], 0, out=shares[-2::-1])
        weights = shares[1:].ravel() / np.maximum(totals, 1)
        cells = context % rows * self.symbols + keys % self.symbols
        parts = np.bincount(cells, (counts - taken) * weights[context], rows * self.symbols)
        return Discounted(
            parts.reshape(rows, self.symbols),
            shares[0],
            types.reshape(nodes.shape),
            totals.reshape(nodes.shape),
        )


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
