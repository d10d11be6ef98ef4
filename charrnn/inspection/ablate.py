"""What a network loses when some units are held at a value: the change of its loss on parts of a text.

The parts are the whole text, and what is inside and outside each concept. A position belongs to a part by
its label there; its loss is that of the next character, which the network predicts from its state there.

N: characters of a text   H: hidden   M: clamps   R: random sets   P: parts, the whole text first
S: stretches of the text
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import combinations
from math import comb
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.choice import target_scores
from charrnn.inference.clamp import clamped
from charrnn.inference.network import Ids, Inference
from charrnn.inference.pieces import Pieces, Rows
from charrnn.inspection.activations import Signal, WatchedChunk, watch_text

STRETCH = 500
"""Characters of a stretch. The losses of neighbouring characters are not independent, so whole stretches are
drawn for an interval."""
FEWEST_STRETCHES = 8
"""Stretches in which a part of the text must occur to have an interval."""
DRAWS = 1000
PIECES = 8
"""Pieces in which a text is read at once, each with all M clamps."""

Floats = NDArray[np.float64]
Units = Collection[int]
Progress = Callable[[int], object]


def hidden_means(inference: Inference, ids: Ids, layer: int, threads: int, progress: Progress) -> Floats:
    """(H,) the means of a layer's hidden states over a text (N,), which is read in ``threads`` threads."""
    signal = Signal(layer, inference.cell.state_names[0])
    sums, lock = np.zeros(inference.config.hidden), Lock()

    def add(chunk: WatchedChunk) -> None:
        with lock:
            np.add(sums, chunk.values[signal].sum(0, dtype=np.float64), sums)

    for _ in watch_text(inference, ids, {signal: np.arange(len(sums))}, add, threads, progress):
        pass
    return sums / len(ids)


def random_sets(units: Units, hidden: int, count: int, generator: np.random.Generator) -> Sequence[Units]:
    """At most ``count`` different sets of other units of the layer, as large as ``units``.

    There are fewer where the layer has no more, and none where ``units`` are more than half of the layer.
    """
    others = [unit for unit in range(hidden) if unit not in units]
    if comb(len(others), len(units)) <= count:
        return list(combinations(others, len(units)))
    sets: dict[tuple[int, ...], None] = {}
    while len(sets) < count:
        sets[tuple(np.sort(generator.permutation(others)[: len(units)]).tolist())] = None
    return list(sets)


class Losses(NamedTuple):
    """Sums of losses in nats.

    totals  (M, P) over the text: first of the network as it is, then of the units, then of the random sets
    change  (S, P) by which holding the units raised the loss in each stretch
    counts  (S, P) the characters
    """

    totals: Floats
    change: Floats
    counts: Floats


def measure(
    inference: Inference,
    ids: Ids,
    layer: int,
    sets: Sequence[Units],
    held: Floats,
    inside: NDArray[np.bool_],
    threads: int = 1,
    progress: Progress = lambda characters: None,
) -> Losses:
    """Read a text (N,), N >= 2, once with each set of units held at ``held`` (H,), and once as it is.

    sets    the units, then the random sets
    inside  (N, P - 1) whether a position is inside each concept
    """
    clamps = np.full((1 + len(sets), len(held)), np.nan)
    for row, units in enumerate(sets, 1):
        clamps[row, list(units)] = held[list(units)]
    pieces = Pieces(clamped(inference, {layer: clamps}), ids[:-1], PIECES)
    shape = (-(-len(pieces.ids) // STRETCH), 1 + inside.shape[1])
    losses = Losses(np.zeros((len(clamps), shape[1])), np.zeros(shape), np.zeros(shape))
    lock = Lock()

    def read(rows: Rows) -> None:
        rows = np.repeat(rows, len(clamps))  # each piece with every clamp
        for chunk in pieces.read(rows, pieces.initial(rows), 0, pieces.length):
            positions = chunk.positions[:: len(clamps)]
            known = positions < len(pieces.ids)
            nats = -target_scores(chunk.logits, ids[np.minimum(chunk.positions + 1, len(pieces.ids))])
            nats = nats.reshape(len(positions), len(clamps), -1).swapaxes(0, 1)[:, known]
            parts = np.insert(inside[positions[known]].astype(np.float64), 0, 1, 1)
            stretches = positions[known] // STRETCH
            with lock:
                np.add(losses.totals, nats @ parts, losses.totals)
                np.add.at(losses.change, stretches, (nats[1] - nats[0])[:, None] * parts)
                np.add.at(losses.counts, stretches, parts)
                progress(int(known.sum()))

    pieces.in_threads([read] * threads)
    return losses


class Change(NamedTuple):
    """How much holding the units raised the loss on a part of the text, in nats per character.

    concept     the number of the concept; None for the whole text
    where       "everywhere", "inside", "outside", or "difference": inside minus outside
    characters  of the part; for a difference, of the text
    loss        of the network as it is
    interval    95 %, by a bootstrap over stretches; NaN where the part occurs in too few of them
    random      (R,) the changes for the random sets
    """

    concept: int | None
    where: str
    characters: int
    loss: float
    change: float
    interval: tuple[float, float]
    random: Floats

    @property
    def p(self) -> float:
        """Share of all sets, the units among them, that change the loss at least so much; NaN for R = 0."""
        size = len(self.random)
        return (1 + int((self.random >= self.change).sum())) / (1 + size) if size else np.nan


def changes(losses: Losses, generator: np.random.Generator) -> Iterator[Change]:
    """The changes everywhere, then for each concept that is on at some positions and off at others."""
    counts, before = losses.counts.sum(0), losses.totals[0]
    drawn = [_draw(losses, generator) for _ in range(DRAWS)]
    drawn_change, drawn_counts = (np.stack(sums) for sums in zip(*drawn, strict=True))
    for part, count in enumerate(counts):
        if part and count in (0, counts[0]):
            continue
        losses_before = _means(before, counts, part)
        changes = _means(losses.totals[1:] - before, counts, part)
        bootstrap = _means(drawn_change, drawn_counts, part)
        characters = {"inside": count, "outside": counts[0] - count}
        enough = _stretches(losses.counts, part) >= FEWEST_STRETCHES
        for where, (change, *random) in changes.items():
            low, high = np.nanquantile(bootstrap[where], [0.025, 0.975]) if enough else (np.nan, np.nan)
            yield Change(
                part - 1 if part else None,
                where,
                int(characters.get(where, counts[0])),
                float(losses_before[where]),
                float(change),
                (float(low), float(high)),
                np.array(random),
            )


def _draw(losses: Losses, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """(P,) changes and (P,) characters of as many stretches as the text has, drawn with replacement."""
    size = len(losses.counts)
    times = np.bincount(generator.integers(size, size=size), minlength=size)
    return times @ losses.change, times @ losses.counts


def _means(sums: Floats, counts: Floats, part: int) -> Mapping[str, Floats]:
    """(..., P) sums and characters -> the means (...) of a part; NaN without characters."""
    with np.errstate(invalid="ignore"):
        if not part:
            return {"everywhere": sums[..., 0] / counts[..., 0]}
        inside = sums[..., part] / counts[..., part]
        outside = (sums[..., 0] - sums[..., part]) / (counts[..., 0] - counts[..., part])
        return {"inside": inside, "outside": outside, "difference": inside - outside}


def _stretches(counts: Floats, part: int) -> int:
    """The number of stretches in which a part of the text occurs; with a concept, both of its sides."""
    inside = counts[:, part] > 0
    outside = counts[:, part] < counts[:, 0] if part else inside
    return int(min(inside.sum(), outside.sum()))
