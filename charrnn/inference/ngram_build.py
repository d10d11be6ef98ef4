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
from charrnn.inference.network import Ids, Predictor, characters_at_once
from charrnn.inference.ngram import UNSEEN, Level, NGram, to_arrays
from charrnn.inference.ngram_counts import Progress, build, count, discounts
from charrnn.inference.score import score_stream
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

OF_CONDITIONS = ("table_sha256", "labels", "vectors", "label_by")
"""What a checkpoint records of the labels and vectors of documents."""


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
    boundary: int | None = None,
) -> Fitted:
    """The model of a text (N,), N >= 1, of a fixed order; by default of the longest one with a low loss.

    A loss is low if it is within TOLERANCE of the lowest on the validation part, the text that follows.
    ``tried`` is called with each model compared, ``progress`` and ``boundary`` are as of ``count``. Raises
    CorpusError where the disk refuses.
    """
    if order is not None or not len(validation):
        order = DEFAULT_ORDER if order is None else order
        model = build(ids, symbols, order, progress, boundary)
        return Fitted(model, loss(model, ids[-1:], validation) if len(validation) else None)
    chosen = None
    for trial in trials(ids, symbols, validation, progress, boundary):
        tried(trial)
        chosen = trial if trial.close else chosen
    assert chosen is not None
    whole = len(validation) <= COMPARED
    return Fitted(chosen.model, chosen.nats if whole else loss(chosen.model, ids[-1:], validation))


def save(
    run: Path, fitted: Fitted, corpus: Corpus, split: tuple[float, float, float], origin: dict[str, Any]
) -> Path:
    """Write the model into the folder of its run, and return the checkpoint. Raises CheckpointError.

    The model of documents is one of their texts: their labels and vectors are not recorded.
    """
    results: dict[str, Any] = {"ngrams": [len(level.keys) for level in fitted.model.levels]}
    if fitted.validation_nats is not None:
        results["validation_nats"] = fitted.validation_nats
        results["validation_bpc"] = fitted.validation_nats / math.log(2)
    header = Header(
        model=NgramConfig(fitted.model.order, documents=corpus.vocabulary.documents),
        vocabulary=corpus.vocabulary,
        training=TrainConfig(split=split),
        corpus=_of_texts(corpus.record()),
        results=results,
        versions=versions(),
        name=run.name,
        origin=_of_texts(origin),
    )
    save_checkpoint(run / BEST, header, to_arrays(fitted.model))
    return run / BEST


def _of_texts(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a corpus or of an origin without what it says of labels and vectors."""
    return {name: value for name, value in record.items() if name not in OF_CONDITIONS}


def trials(
    ids: Ids,
    symbols: int,
    held_out: Ids,
    progress: Progress = lambda characters: None,
    boundary: int | None = None,
) -> Iterator[Trial]:
    """Yields the models of a text of the orders 1, 2, 3 and so on, until higher ones do not lower the loss.

    The held-out text (n,), n >= 1, follows the text that is counted. The losses are those of its beginning.
    """
    text = held_out[:COMPARED].astype(np.int64)
    inputs = np.concatenate([ids[-1:], text[:-1]])
    contexts = np.zeros(len(text), np.int64)  # the node of the context of each character; the empty one is 0
    shorter = np.full(len(text), 1 / symbols)  # the probability of each character after a context one shorter
    levels: list[Level] = []
    values: list[NDArray[np.float64]] = []
    lowest, stale = np.inf, 0
    for level, continued in count(ids, symbols, MAX_ORDER, progress, boundary):
        if continued is not None:
            levels[-1], values[-1] = continued, discounts(continued.counts)
            shorter = _probabilities(NGram([continued], values[-1][None], symbols), contexts, text, shorter)
            first = UNSEEN if len(levels) > 1 else 0
            contexts = continued.find(np.append(first, contexts[:-1]) * symbols + inputs)
        levels.append(level)
        values.append(discounts(level.counts))
        own = _probabilities(NGram([level], values[-1][None], symbols), contexts, text, shorter)
        nats = -float(np.log(own).mean())
        stale = 0 if nats < lowest - LEAST_GAIN else stale + 1
        lowest = min(nats, lowest)
        yield Trial(NGram(list(levels), np.array(values), symbols), nats, lowest)
        if stale == PATIENCE:
            return


def _probabilities(
    model: NGram, contexts: NDArray[np.int64], text: NDArray[np.int64], shorter: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n,) the probability of each character of a text by the n-grams of one length, and by shorter ones.

    model     the n-grams of one length
    contexts  (n,) the node of the context before each character
    shorter   (n,) the probability of each character by shorter n-grams
    """
    result, size = np.empty(len(text)), characters_at_once(model)
    for start in range(0, len(text), size):
        part = slice(start, start + size)
        nodes, row = np.unique(contexts[part], return_inverse=True)  # few, where the contexts are short
        discounted = model.discounted(nodes[None])
        own = discounted.probabilities[row, text[part]]
        result[part] = own + discounted.left[row] * shorter[part]
    return result


def loss(predictor: Predictor, before: Ids, ids: Ids) -> float:
    """Mean nats per character of a text (n,), n >= 1, that follows the character ``before`` (1,)."""
    pieces = score_stream(predictor, [ids], before)
    return -sum(float(piece.log_probabilities.sum()) for piece in pieces) / len(ids)
