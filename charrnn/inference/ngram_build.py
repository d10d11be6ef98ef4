"""The n-gram model of a text, of an order that is chosen by the loss on text that is not counted.

n: characters of the held-out text   V: vocabulary
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.config import MAX_ORDER, NgramConfig, TrainConfig
from charrnn.inference.network import CHUNK, Ids, Predictor
from charrnn.inference.ngram import UNSEEN, Level, NGram, to_arrays
from charrnn.inference.ngram_counts import Progress, build, count, discounts
from charrnn.runs.checkpoint import BEST, Header, save_checkpoint, versions
from charrnn.text.corpus import Corpus

COMPARED = 1_000_000
"""Characters of the held-out text, at most, on which the orders are compared."""
TOLERANCE = 0.01
"""The nats by which the loss of the order that is chosen may be above the lowest one: a longer order that is
hardly worse alone is better in a mixture with a network (docs/ngrams.md)."""
LEAST_GAIN = 1e-3
PATIENCE = 3
"""Orders in a row that do not lower the loss by LEAST_GAIN nats, after which no higher order is tried."""
DEFAULT_ORDER = 6
"""The order without a validation part. On English texts of 300 to 1,000,000 characters, its loss was at most
0.02 nats above that of the best order (docs/ngrams.md)."""


class Trial(NamedTuple):
    """A model, its mean loss in nats on the held-out text, and the lowest loss so far."""

    model: NGram
    nats: float
    lowest: float

    @property
    def close(self) -> bool:
        """Whether the loss is within TOLERANCE of the lowest."""
        return self.nats <= self.lowest + TOLERANCE


class Fitted(NamedTuple):
    """The model of a text, and its mean loss in nats on the validation part; None without such a part."""

    model: NGram
    validation_nats: float | None


def fit(
    ids: Ids,
    validation: Ids,
    symbols: int,
    order: int | None = None,
    tried: Callable[[Trial], None] = lambda trial: None,
    progress: Progress = lambda characters: None,
) -> Fitted:
    """The model of a text (N,), N >= 1, of a fixed order; by default of the longest one with a low loss.

    Low is a loss on the validation part within TOLERANCE of the lowest. The validation part is the text
    that follows. ``tried`` is called with each model compared,
    ``progress`` as by ``count``. Raises CorpusError where the disk refuses.
    """
    if order is not None or not len(validation):
        model = build(ids, symbols, DEFAULT_ORDER if order is None else order, progress)
        return Fitted(model, loss(model, ids[-1:], validation) if len(validation) else None)
    chosen = None
    for trial in trials(ids, symbols, validation, progress=progress):
        tried(trial)
        chosen = trial if trial.close else chosen
    assert chosen is not None
    whole = len(validation) <= COMPARED
    return Fitted(chosen.model, chosen.nats if whole else loss(chosen.model, ids[-1:], validation))


def save(
    run: Path, fitted: Fitted, corpus: Corpus, split: tuple[float, float, float], origin: dict[str, Any]
) -> Path:
    """Write the model into the folder of its run, and return the checkpoint. Raises CheckpointError."""
    results: dict[str, Any] = {"ngrams": [len(level.keys) for level in fitted.model.levels]}
    if fitted.validation_nats is not None:
        results["validation_nats"] = fitted.validation_nats
        results["validation_bpc"] = fitted.validation_nats / math.log(2)
    header = Header(
        model=NgramConfig(fitted.model.order),
        vocabulary=corpus.vocabulary,
        training=TrainConfig(split=split),
        corpus={"name": corpus.name, "sha256": corpus.sha256, "characters": len(corpus.ids)},
        results=results,
        versions=versions(),
        name=run.name,
        origin=origin,
    )
    save_checkpoint(run / BEST, header, to_arrays(fitted.model))
    return run / BEST


def trials(
    ids: Ids,
    symbols: int,
    held_out: Ids,
    highest: int = MAX_ORDER,
    progress: Progress = lambda characters: None,
) -> Iterator[Trial]:
    """Yields the models of a text of the orders 1, 2, 3 and so on, until higher ones do not lower the loss.

    The held-out text (n,), n >= 1, follows the text that is counted. Its beginning is read as by ``loss``.
    """
    losses = _Losses(symbols, ids[-1:], held_out[:COMPARED])
    levels: list[Level] = []
    values: list[NDArray[np.float64]] = []
    lowest, stale = np.inf, 0
    for level, shorter in count(ids, symbols, highest, progress):
        if shorter is not None:
            levels[-1], values[-1] = shorter, discounts(shorter.counts)
            losses.lengthen(levels[-1], values[-1])
        levels.append(level)
        values.append(discounts(level.counts))
        nats = losses.loss(level, values[-1])
        stale = 0 if nats < lowest - LEAST_GAIN else stale + 1
        lowest = min(nats, lowest)
        yield Trial(NGram(list(levels), np.array(values), symbols), nats, lowest)
        if stale == PATIENCE:
            return


def loss(predictor: Predictor, before: Ids, ids: Ids) -> float:
    """Mean nats per character of a text (n,), n >= 1, as one stream that begins after ``before`` (1,)."""
    state, total = predictor.start(1), 0.0
    for start in range(0, len(ids), CHUNK):
        piece = ids[start : start + CHUNK]
        logits, state = predictor(np.concatenate([before, piece[:-1]])[None], state)
        total -= float(logits[0, np.arange(len(piece)), piece].sum())
        before = piece[-1:]
    return total / len(ids)


class _Losses:
    """The losses of models of increasing order on one text (n,), each from the predictions of the one before.

    length    characters of a context
    contexts  (n,) the node of the context before each character
    shorter   (n,) the probability of each character after a context one shorter
    """

    def __init__(self, symbols: int, before: Ids, ids: Ids) -> None:
        self.symbols, self.before, self.ids = symbols, before.astype(np.int64), ids.astype(np.int64)
        self.length = 0
        self.contexts = np.zeros(len(ids), np.int64)  # the empty context is node 0
        self.shorter = np.full(len(ids), 1 / symbols)

    def loss(self, level: Level, values: NDArray[np.float64]) -> float:
        """The mean nats of the model whose longest n-grams, and their discounts (3,), these are."""
        return -float(np.log(self._probabilities(level, values)).mean())

    def lengthen(self, level: Level, values: NDArray[np.float64]) -> None:
        """Take the n-grams of the last ``loss`` as shorter ones, with their continuation counts."""
        self.shorter = self._probabilities(level, values)
        nodes = level.find(self.contexts * self.symbols + self.ids)
        first = np.array([UNSEEN]) if self.length else level.find(self.before)
        self.contexts = np.concatenate([first, nodes[:-1]])
        self.length += 1

    def _probabilities(self, level: Level, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) the probability of each character of the text, interpolated with ``shorter``."""
        result, taken = self.shorter.copy(), np.pad(values, (1, 0))
        for start in range(0, len(self.ids), CHUNK):
            part = slice(start, start + CHUNK)
            contexts = self.contexts[part]
            types, _, counts = level.children(contexts, self.symbols)
            row = np.repeat(np.arange(len(types)), types)
            totals = np.bincount(row, counts, len(types))
            discounted = np.bincount(row, taken.take(np.minimum(counts, 3)), len(types))
            nodes = level.find(contexts * self.symbols + self.ids[part])
            found = np.where(nodes == UNSEEN, 0, level.counts[nodes].astype(np.int64))
            mixed = (found - taken.take(np.minimum(found, 3)) + discounted * result[part]) / np.maximum(
                totals, 1
            )
            result[part] = np.where(types, mixed, result[part])
        return result
