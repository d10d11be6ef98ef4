"""Documents as windows of truncated backpropagation through time, without padding.

A window has a row for each document that it reads from: the next T characters of it, or fewer where it ends.
A row whose document is not finished goes on in the next window; rows begin with the next documents until the
window has about as many characters as S streams would have. So a state is handed on only within a document.

The rows are read in slices: the longest rows come first, and a slice has those that have not ended.

R: rows   T: characters of a window   S: streams   D: documents   M: characters of all slices
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

SLICE = 200
"""The characters that take as long as the call of a layer: a slice has to save more padding than this."""
SAME = 4
"""The rows of a slice are a multiple of this: oneDNN makes a program for each shape, and keeps a thousand."""
FEW = 24
"""Rows below which a window keeps the number that is nearest to its budget."""
MOST_CUTS = 64
"""The most lengths at which slices can end."""
WHOLE = 1 << 14
"""Characters up to which a document is never read in parts."""
POOL = 64
"""Windows whose documents are sorted by length, so that the rows of a window are of similar lengths."""


class Rows(NamedTuple):
    """Parts of documents, the longest first: the document, the first character, and the number of each."""

    documents: Integers
    offsets: Integers
    lengths: Integers


def parts(documents: Integers, lengths: Integers, streams: int) -> Rows:
    """The documents as parts: whole, but a document that would keep one stream busy for long in several.

    A part has at most WHOLE characters, or the S-th part of all. Parts are as equal as possible; all but the
    first begin without the state of the part before.
    """
    longest = max(WHOLE, -(-int(lengths[documents].sum()) // streams))
    counts = -(-lengths[documents] // longest)
    numbers = np.repeat(documents, counts)
    index = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
    of, count = lengths[numbers], np.repeat(counts, counts)
    starts, stops = index * of // count, (index + 1) * of // count
    return Rows(numbers, starts, stops - starts)


class Slices(NamedTuple):
    """Rows cut into slices: the first ``rows`` rows, from position ``start`` to ``stop`` of each.

    bounds     (start, stop, rows) of each slice
    row        (M,) the row of each character, slice after slice, in each position after position
    position   (M,) its position in the row
    inside     (M,) whether it belongs to the row, or comes after its end
    """

    bounds: list[tuple[int, int, int]]
    row: Integers
    position: Integers
    inside: NDArray[np.bool_]


def slices(lengths: Integers) -> Slices:
    """The slices of rows with these lengths, the longest first, that take the least time.

    The time of a slice is that of its characters, those after the ends of rows included, and of SLICE more.
    """
    cuts = np.unique(lengths)
    if len(cuts) > MOST_CUTS:
        cuts = cuts[np.linspace(0, len(cuts) - 1, MOST_CUTS).round().astype(int)]
    cuts = np.concatenate([[0], cuts])
    alive = len(lengths) - np.searchsorted(lengths[::-1], cuts, "right")  # rows longer than each cut
    alive = np.minimum(-(-alive // SAME) * SAME, len(lengths))
    best = np.zeros(len(cuts))
    before = np.zeros(len(cuts), int)
    for index in range(1, len(cuts)):
        costs = best[:index] + (cuts[index] - cuts[:index]) * alive[:index] + SLICE
        before[index] = costs.argmin()
        best[index] = costs[before[index]]
    bounds: list[tuple[int, int, int]] = []
    index = len(cuts) - 1
    while index:
        first = before[index]
        bounds.append((int(cuts[first]), int(cuts[index]), int(alive[first])))
        index = int(first)
    bounds.reverse()
    row = np.concatenate([np.tile(np.arange(rows), stop - start) for start, stop, rows in bounds])
    position = np.concatenate([np.repeat(np.arange(start, stop), rows) for start, stop, rows in bounds])
    return Slices(bounds, row, position, position < lengths[row])


class Place(NamedTuple):
    """Where a training is in its documents.

    epoch, begun  the documents of an epoch that have begun
    open         (A, 3) the document, the next character and the epoch of each row that goes on
    """

    epoch: int
    begun: int
    open: Integers

    def to_array(self) -> Integers:
        """As one array (1 + A, 3)."""
        return np.concatenate([[[self.epoch, self.begun, 0]], self.open])


START = Place(0, 0, np.zeros((0, 3), np.int64))


class Window(NamedTuple):
    """What one step reads.

    rows    those that go on after it come first
    before  (R,) the row of the window before that each row goes on from; -1 for a document that begins
    epochs  (R,) the epoch in which each document was begun
    """

    rows: Rows
    before: Integers
    epochs: Integers


class DocumentBatches:
    """The windows of documents, or of parts of them; a window depends on the place before it alone.

    lengths  (D,) characters of each, START included
    """

    def __init__(self, lengths: Integers, streams: int, bptt: int, seed: int) -> None:
        self.lengths, self.streams, self.bptt, self.seed = lengths, streams, bptt, seed
        self._order: tuple[int, Integers] | None = None  # of the epoch that was asked for last

    @cached_property
    def budget(self) -> int:
        """The characters of a window: those of S streams, or the beginnings of all documents.

        A few long documents do not fill the streams: they would be read several times side by side.
        """
        return int(min(self.streams * self.bptt, np.minimum(self.lengths, self.bptt).sum()))

    @property
    def characters_per_step(self) -> float:
        """Characters that a step reads, on average."""
        return float(self.budget)

    @property
    def steps_per_epoch(self) -> float:
        """Windows in which all documents are read once, on average."""
        return float(self.lengths.sum()) / self.budget

    def order(self, epoch: int) -> Integers:
        """(D,) the documents in the order of an epoch: at random, those of similar lengths together."""
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self._shuffled(epoch)
        return self._order[1]

    def _shuffled(self, epoch: int) -> Integers:
        counts = np.minimum(self.lengths, self.bptt)
        generator = np.random.default_rng((self.seed, epoch))
        shuffled = generator.permutation(len(counts))
        pool = np.cumsum(counts[shuffled]) // (POOL * self.budget)
        shuffled = shuffled[np.lexsort((self.lengths[shuffled], pool))]
        window = np.cumsum(counts[shuffled]) // self.budget  # of similar lengths
        rank = generator.random(int(window[-1]) + 1)[window]
        return shuffled[np.lexsort((window, rank, pool))]

    def window(self, place: Place) -> tuple[Window, Place]:
        """The window after a place, and the place after it."""
        epoch, index, open_rows = place
        pieces = [np.column_stack([open_rows, np.arange(len(open_rows))])]
        total = int(np.minimum(self.lengths[open_rows[:, 0]] - open_rows[:, 1], self.bptt).sum())
        while True:
            order = self.order(epoch)
            new = order[index : index + self.budget]
            sums = total + np.cumsum(np.minimum(self.lengths[new], self.bptt))
            # as near to the budget as possible: a document is taken if at least half of it fits
            halves = (np.append(total, sums[:-1]) + sums) / 2
            count = int(np.count_nonzero(halves <= self.budget))
            if index + count < len(order):
                size = sum(map(len, pieces)) + count
                count = min(max(0, count + _rounded(size) - size), len(order) - index - 1)
                pieces.append(_begun(new[:count], epoch))
                index += count
                break
            pieces.append(_begun(new[:count], epoch))
            epoch, index, total = epoch + 1, 0, int(sums[-1])
        documents, offsets, epochs, before = np.concatenate(pieces).T
        lengths = np.minimum(self.lengths[documents] - offsets, self.bptt)
        goes_on = offsets + lengths < self.lengths[documents]
        chosen = np.lexsort((~goes_on, -lengths))
        rows = Rows(documents[chosen], offsets[chosen], lengths[chosen])
        going = int(np.count_nonzero(goes_on))
        after = np.column_stack(
            [rows.documents[:going], rows.offsets[:going] + rows.lengths[:going], epochs[chosen][:going]]
        )
        return Window(rows, before[chosen], epochs[chosen]), Place(epoch, index, after)

    def place(self, array: NDArray[Any]) -> Place:
        """The place of ``Place.to_array``. Raises ValueError for any other array."""
        valid = array.dtype == np.int64 and array.ndim == 2 and array.shape[1] == 3 and len(array) > 0
        if valid:
            (epoch, index, _), rows = array[0], array[1:]
            valid = 0 <= epoch < 1 << 53 and 0 <= index < len(self.lengths) and bool((rows >= 0).all())
            valid = valid and bool((rows[:, 0] < len(self.lengths)).all() and (rows[:, 2] <= epoch).all())
            valid = valid and bool((rows[:, 1] < self.lengths[rows[:, 0]]).all())
        if not valid:
            raise ValueError("documents: not a place in these documents")
        return Place(int(epoch), int(index), rows.copy())


def _rounded(rows: int) -> int:
    """The multiple of SAME that is nearest to a number of rows; a few rows stay as they are."""
    return SAME * round(rows / SAME) if rows >= FEW else rows


def _begun(documents: Integers, epoch: int) -> Integers:
    """(n, 4) rows for documents that begin: document, offset, epoch, no row before."""
    zeros = np.zeros_like(documents)
    return np.column_stack([documents, zeros, zeros + epoch, zeros - 1])


def rows_of(documents: Sequence[int] | Integers, lengths: Integers) -> Rows:
    """Whole documents as rows, the longest first."""
    numbers = np.asarray(documents, np.int64)
    order = np.argsort(-lengths[numbers], kind="stable")
    numbers = numbers[order]
    return Rows(numbers, np.zeros_like(numbers), lengths[numbers])
