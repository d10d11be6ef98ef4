"""Counting keys that do not fit in memory: sorted runs in a file, merged range by range (external sorting).

C: keys of a chunk   M: distinct keys
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.growing_array import GrowingArray

Keys = NDArray[np.uint64]
Counts = NDArray[np.integer]


class KeyCounts(NamedTuple):
    """Distinct keys (M,), increasing, and how often each occurs (M,)."""

    keys: Keys
    counts: Counts

    def part(self, start: int, stop: int) -> KeyCounts:
        """The keys with these indices."""
        return KeyCounts(self.keys[start:stop], self.counts[start:stop])


def count_keys(chunks: Iterable[Keys], limit: int) -> KeyCounts:
    """The distinct keys of all chunks. A chunk has at most ``limit`` keys, and is sorted in place.

    Memory holds a few chunks, whatever their number. Raises CorpusError where the disk refuses.
    """
    run_ends, runs = [0], (GrowingArray(np.uint64, limit), GrowingArray(np.uint32, limit))
    for chunk in chunks:
        chunk.sort()
        starts = starts_of_groups(chunk)
        runs[0].append(chunk[starts])
        runs[1].append(np.diff(starts, append=len(chunk)))
        run_ends.append(runs[0].size)
    all_runs = KeyCounts(runs[0].array(), runs[1].array())
    if len(run_ends) == 2:
        return all_runs
    keys, counts = GrowingArray(np.uint64, limit), GrowingArray(np.int64, limit)
    for merged in _merge([all_runs.part(start, stop) for start, stop in pairwise(run_ends)], limit):
        keys.append(merged.keys)
        counts.append(merged.counts)
    return KeyCounts(keys.array(), counts.array())


def starts_of_groups(numbers: NDArray[np.integer]) -> NDArray[np.int64]:
    """The first index of each group of equal neighbours."""
    first = np.ones(len(numbers), np.bool_)
    np.not_equal(numbers[1:], numbers[:-1], out=first[1:])
    return np.flatnonzero(first)


def _merge(runs: Sequence[KeyCounts], limit: int) -> Iterator[KeyCounts]:
    """The distinct keys of sorted runs, in increasing pieces of at most about 1.5 ``limit`` keys."""
    # Between two bounds lie about as many samples as there are runs; each stands for ``step`` keys of a run.
    step = max(1, limit // (2 * len(runs)))
    samples = np.sort(np.concatenate([run.keys[::step] for run in runs]))
    starts = [0] * len(runs)
    for bound in [*samples[len(runs) :: len(runs)], None]:
        stops = [len(run.keys) if bound is None else int(np.searchsorted(run.keys, bound)) for run in runs]
        parts = [
            run.part(start, stop)
            for run, start, stop in zip(runs, starts, stops, strict=True)
            if stop > start
        ]
        if parts:
            yield _merge_in_memory(parts)
        starts = stops


def _merge_in_memory(runs: Sequence[KeyCounts]) -> KeyCounts:
    keys = np.sort(np.concatenate([run.keys for run in runs]))
    keys = keys[starts_of_groups(keys)]
    counts = np.zeros(len(keys), np.int64)
    for run in runs:
        counts[np.searchsorted(keys, run.keys)] += run.counts
    return KeyCounts(keys, counts)
