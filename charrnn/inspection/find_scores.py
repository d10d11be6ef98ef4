"""How well values follow a concept, from sums that are added up block by block.

n: characters of a chunk   K: pairs of a unit's values and a concept   V: vocabulary   BINS: bins of values
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.network import Ids
from charrnn.inference.ops import Floats

BINS = 256
"""Bins of a unit's values, between the smallest and the largest on the ranking part."""
INFORMATION_BINS = 32
"""Bins for the mutual information: more of them would find information in a short text by chance."""
TINY = 1e-10
"""A variance below this is that of a constant."""

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]


class Binning:
    """Bins of K ranges of values."""

    def __init__(self, low: Floats, high: Floats) -> None:
        """``low`` and ``high`` (K,)."""
        self.low = low
        self._width = np.maximum(high - low, np.finfo(np.float32).tiny) / BINS

    def __call__(self, values: Floats) -> NDArray[np.intp]:
        """(n, K) values -> (n, K) numbers of bins; values outside the range are in the first or last bin."""
        scaled = (values - self.low) / self._width
        result: NDArray[np.intp] = np.clip(scaled, 0, BINS - 1).astype(np.intp)
        return result

    def edges(self, bins: NDArray[np.intp]) -> Numbers:
        """(K,) the smallest value of a bin in each range."""
        result: Numbers = self.low + bins * self._width
        return result


def histogram(bins: NDArray[np.intp], on: NDArray[np.bool_]) -> Counts:
    """(n, K) bins and labels -> (K, 2, BINS) numbers of characters, first those where the concept is off."""
    count = bins.shape[1]
    flat = (np.arange(count) * 2 + on) * BINS + bins
    return np.bincount(flat.ravel(), minlength=count * 2 * BINS).reshape(count, 2, BINS)


class Moments:
    """Sums of products of values x and labels y (n, K), in all and for each current character."""

    def __init__(self, count: int, symbols: int) -> None:
        self.count = np.zeros(symbols)
        self._sums = np.zeros((symbols, 2, count))  # of x and y
        self._products = np.zeros((3, count))  # of xx, yy and xy

    def add(self, ids: Ids, x: Numbers, y: Numbers) -> None:
        """Add characters ids (n,)."""
        order = np.argsort(ids, kind="stable")
        symbols, starts, counts = np.unique(ids[order], return_index=True, return_counts=True)
        self.count[symbols] += counts
        self._sums[symbols, 0] += np.add.reduceat(x[order], starts)
        self._sums[symbols, 1] += np.add.reduceat(y[order], starts)
        self._products += [np.einsum("nk,nk->k", *pair) for pair in ((x, x), (y, y), (x, y))]

    def correlations(self) -> Numbers:
        """(K,) correlations of x and y; NaN where one of them is constant."""
        return self._correlations(self._sums.sum(0, keepdims=True), self.count.sum(keepdims=True))

    def given_character(self) -> Numbers:
        """(K,) correlations of x and y, each less its mean for the current character; NaN as above."""
        seen = self.count > 0
        return self._correlations(self._sums[seen], self.count[seen])

    def character(self) -> Numbers:
        """(K,) correlations of y and its mean for the current character; NaN where y is constant."""
        total = self._products[1] - self._sums[:, 1].sum(0) ** 2 / self.count.sum()
        within = self._products[1] - (self._sums[:, 1] ** 2 / np.maximum(self.count, 1)[:, None]).sum(0)
        share = np.where(total > TINY * self.count.sum(), 1 - within / np.maximum(total, TINY), np.nan)
        result: Numbers = np.sqrt(np.clip(share, 0, 1))
        return result

    def _correlations(self, sums: Numbers, counts: Numbers) -> Numbers:
        """Of sums (groups, 2, K), within groups of so many characters (groups,)."""
        means = sums / counts[:, None, None]
        xx, yy, xy = self._products - [(sums[:, i] * means[:, j]).sum(0) for i, j in ((0, 0), (1, 1), (0, 1))]
        return correlation(xx, yy, xy, counts.sum())


def correlation(xx: Numbers, yy: Numbers, xy: Numbers, count: float) -> Numbers:
    """Correlations from sums of products of deviations; NaN where one of the two is constant."""
    varies = (xx > TINY * count) & (yy > TINY * count)
    return np.where(varies, xy / np.sqrt(np.where(varies, xx * yy, 1)), np.nan)


def best_thresholds(counts: Counts) -> NDArray[np.intp]:
    """(K,) the bin from which on a unit counts as on, for the largest F1. ``counts`` as of ``histogram``.

    Where bins are empty, several thresholds are equal: the middle of the first ones.
    """
    bins = np.arange(BINS)[:, None]
    every = np.nan_to_num([f1(counts, np.full(len(counts), threshold)) for threshold in range(BINS)])
    first = every.argmax(0)
    end = np.where((bins > first) & (every < every.max(0)), bins, BINS).min(0)
    result: NDArray[np.intp] = (first + end - 1) // 2
    return result


def f1(counts: Counts, thresholds: NDArray[np.intp]) -> Numbers:
    """(K,) F1 of the units that are on from these bins; NaN where neither unit nor concept is ever on."""
    both = at_least(counts[:, 1], thresholds)
    return _ratio(2 * both, at_least(counts.sum(1), thresholds) + counts[:, 1].sum(1))


def at_least(counts: Counts, thresholds: NDArray[np.intp]) -> Counts:
    """(K,) the sums of counts (K, BINS) from these bins on."""
    result: Counts = np.where(np.arange(BINS) >= thresholds[:, None], counts, 0).sum(1)
    return result


def auc(counts: Counts) -> Numbers:
    """(K,) the probability of a larger value where the concept is on than where it is off.

    Equal bins count half. NaN for a concept that is never or always on.
    """
    off, on = counts[:, 0].astype(float), counts[:, 1].astype(float)
    below = off.cumsum(1) - off / 2
    return _ratio((on * below).sum(1), on.sum(1) * off.sum(1))


def information(counts: Counts) -> Numbers:
    """(K,) mutual information of concept and binned value, in bits."""
    merged = counts.reshape(len(counts), 2, INFORMATION_BINS, -1).sum(3)
    joint = merged / merged.sum((1, 2), keepdims=True)
    independent = joint.sum(1, keepdims=True) * joint.sum(2, keepdims=True)
    ratios = np.where(joint > 0, joint, 1) / np.where(joint > 0, independent, 1)
    result: Numbers = (joint * np.log2(ratios)).sum((1, 2))
    return result


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Numbers:
    """NaN where the whole is 0."""
    result: Numbers = np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
    return result


class Runs:
    """The longest run of True in each of K columns that come in blocks."""

    def __init__(self, count: int) -> None:
        self.longest = np.zeros(count, np.int64)
        self._current = np.zeros(count, np.int64)

    def add(self, on: NDArray[np.bool_]) -> None:
        """Add the next rows (n, K)."""
        for column in range(on.shape[1]):
            ends = np.flatnonzero(~on[:, column])
            if not len(ends):
                self._current[column] += len(on)
                self.longest[column] = max(self.longest[column], self._current[column])
                continue
            lengths = np.diff(ends, prepend=-1 - self._current[column], append=len(on)) - 1
            self.longest[column] = max(self.longest[column], lengths.max())
            self._current[column] = lengths[-1]
