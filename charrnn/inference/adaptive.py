"""Dynamic evaluation: a mixture that predicts some characters, then learns them (Krause et al. 2018).

Three parts learn:

    networks      change their weights (``charrnn.training.adapt``)
    recent model  an n-gram model of the last ``WINDOW`` characters, built again every ``REBUILD`` characters
    mixing        log-linear, p(v) ~ prod_k p_k(v) ^ w_k with w = softplus(x A_s); A changes by its gradient
                  over the root of the gradient's mean square (RMSprop, Tieleman & Hinton 2012)

x are the features of ``charrnn.inference.mixing``, minus their mean and over their standard deviation in the
text read so far. s is the class of the last character: each class has coefficients of its own, as contexts
select weights in PAQ (Mahoney 2005).

R: predictions   K: models, the recent one last   V: vocabulary   F: features   C: classes
n: characters of a piece
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from charrnn.inference import ngram_counts
from charrnn.inference.choice import Scores
from charrnn.inference.mixing import Floats, Mixing, character_classes
from charrnn.inference.mixture import Mixture
from charrnn.inference.network import Ids, Predictor
from charrnn.inference.ngram import Level, NGram
from charrnn.inference.score import ScoredPiece
from charrnn.text.vocabulary import Vocabulary

LEARN = 32
"""Characters that are predicted before they are learned."""
REBUILD = 128
WINDOW = 50_000
ORDER = 6
"""Length of the longest n-grams of the recent model."""
MIXING_RATE = 0.004
MEMORY = 0.99
"""How much of the mean square of a gradient remains after an update."""
RECENT_WEIGHT, OTHER_WEIGHTS = 0.2, 0.9
"""The weight of the recent model, and the sum of all other weights, at the beginning."""

NO_NGRAM = Level(np.array([2**63 - 1], np.uint64), np.array([1], np.uint8))
"""A level whose only n-gram occurs in no text."""


@runtime_checkable
class LearningPredictor(Predictor, Protocol):
    """A model that learns the characters it has predicted."""

    def learn(self, targets: Ids) -> None:
        """Learn the characters (n,) whose prediction the last call, of batch size 1, returned."""

    def frozen(self) -> Predictor:
        """The model as it is now; its state is that of this one."""


class AdaptedMixture(Mixture):
    """A mixture whose coefficients depend on the class of the last character."""

    def __init__(
        self, predictors: Sequence[Predictor], mixing: Mixing, table: NDArray[np.float64], scale: Scale
    ) -> None:
        """``mixing`` has coefficients (C * F, K); ``table`` (V, C) has a 1 for the class of each symbol."""
        super().__init__(predictors, mixing)
        self.table, self.scale = table, scale

    def mixing_features(self, x: Floats, ids: Ids) -> Floats:
        """(R, F) features, (R,) last characters -> (R, C * F): the scaled features in the class's columns."""
        result: Floats = (self.table[ids][:, :, None] * self.scale(x)[:, None]).reshape(len(x), -1)
        return result


@dataclasses.dataclass(frozen=True)
class Scale:
    """The sums (F,) and sums of squares of the features of ``count`` predictions."""

    count: int = 0
    sums: Floats | float = 0.0
    squares: Floats | float = 0.0

    def __call__(self, x: Floats) -> Floats:
        """(R, F) features minus their mean, over their standard deviation; the first, 1, stays."""
        scaled = np.zeros_like(x)
        if self.count:
            mean = self.sums / self.count
            deviation = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0))
            scaled = (x - mean) / (deviation + 0.1)
        scaled[:, 0] = 1
        return scaled

    def after(self, x: Floats) -> Scale:
        """The sums with (R, F) more features."""
        return Scale(self.count + len(x), self.sums + x.sum(0), self.squares + (x**2).sum(0))


class AdaptiveReader:
    """Reads one text, and learns it.

    mixture  what it has learned so far, a Predictor
    state    of the mixture, after all characters but the last one that was read
    """

    def __init__(
        self,
        predictors: Sequence[Predictor],
        vocabulary: Vocabulary,
        weights: Sequence[float] | None = None,
        mixing_rate: float = MIXING_RATE,
        order: int = ORDER,
    ) -> None:
        """The reader of a text.

        weights      of the models, which are normalised; by default, they are equal
        mixing_rate  of the steps of the coefficients
        order        of the recent model; 0: no recent model
        """
        shares = np.array(weights or [1.0] * len(predictors))
        shares = np.maximum(shares / shares.sum(), 1e-3)  # softplus is never 0
        self._rate, self._order, self._symbols = mixing_rate, order, len(vocabulary)
        predictors = list(predictors)
        if order:
            shares = np.append(OTHER_WEIGHTS * shares, RECENT_WEIGHT)
            predictors.append(recent_model(np.zeros(0, np.int64), self._symbols, order))
        table = character_classes(vocabulary.symbols, vocabulary.documents)
        self.mixture = AdaptedMixture(predictors, Mixing.constant(shares.tolist()), table, Scale())
        self.state = self.mixture.start(1)
        x = self.mixture.components(np.zeros((1, 1), np.int64), self.state, with_features=True).features
        coefficients = np.zeros((table.shape[1], x.shape[1], len(shares)))
        coefficients[:, 0] = np.log(np.expm1(shares))  # the inverse of softplus
        self.mixture.mixing = Mixing("log-linear", coefficients.reshape(-1, len(shares)))
        self._updates, self._squares = 0, np.zeros_like(self.mixture.mixing.coefficients)
        self._history = np.zeros(0, np.int64)
        self._read, self._rebuild_at = 0, LEARN

    def read(self, inputs: Ids, targets: Ids) -> Scores:
        """Predict at most LEARN ``targets`` (n,) after ``inputs`` (n,), then learn them.

        The inputs are the character before the targets, and the targets but the last. Returns (n, V)
        log-probabilities.
        """
        log_probabilities, x, self.state = self.mixture.components(inputs[None], self.state)
        z = self.mixture.mixing_features(x, inputs)
        scores = self.mixture.mixing(log_probabilities, z)
        self._update_mixing(self.mixture.mixing.loss(log_probabilities, z, targets).coefficients, x)
        for model in self.mixture.predictors:
            if isinstance(model, LearningPredictor):
                model.learn(targets)
        self._remember(inputs, targets)
        return scores

    def frozen(self) -> Predictor:
        """What the reader has learned, as a Predictor that learns nothing more; ``state`` is its state."""
        if self._order and len(self._history):
            self._rebuild()
        models = [
            model.frozen() if isinstance(model, LearningPredictor) else model
            for model in self.mixture.predictors
        ]
        return AdaptedMixture(models, self.mixture.mixing, self.mixture.table, self.mixture.scale)

    def _update_mixing(self, gradient: Floats, x: Floats) -> None:
        """Change the coefficients by one step of RMSprop, and count the features (R, F)."""
        self._updates += 1
        self._squares = MEMORY * self._squares + (1 - MEMORY) * gradient**2
        mean = self._squares / (1 - MEMORY**self._updates)
        coefficients = self.mixture.mixing.coefficients - self._rate * gradient / np.sqrt(mean + 1e-8)
        self.mixture.mixing = Mixing("log-linear", coefficients)
        self.mixture.scale = self.mixture.scale.after(x)

    def _remember(self, inputs: Ids, targets: Ids) -> None:
        """Count the characters; build the recent model again where that is due."""
        if not self._order:
            return
        new = targets if len(self._history) else np.concatenate([inputs[:1], targets])
        self._history = np.concatenate([self._history, new])[-WINDOW:]
        self._read += len(targets)
        if self._read >= self._rebuild_at:
            self._rebuild_at = self._read + min(self._read, REBUILD)  # more often at the beginning of a text
            self._rebuild()

    def _rebuild(self) -> None:
        """Build the recent model again, and find its state."""
        model = recent_model(self._history, self._symbols, self._order)
        _, recent_state = model(self._history[-self._order : -1][None], model.start(1))
        self.mixture.predictors[-1] = model
        self.state = (*self.state[:-1], *recent_state)


def adaptive_stream(reader: AdaptiveReader, pieces: Iterable[Ids], before: Ids) -> Iterator[ScoredPiece]:
    """Read a text that comes in pieces (N,), and learn it; yields it in pieces of LEARN characters.

    ``before`` is as in ``score_stream``. A character's scores depend only on the characters before it.
    """
    for ids in equal_pieces(pieces, LEARN):
        yield ScoredPiece(ids, reader.read(np.concatenate([before, ids[:-1]]), ids))
        before = ids[-1:]


def equal_pieces(pieces: Iterable[Ids], size: int) -> Iterator[Ids]:
    """The same ids in pieces of ``size``; the last one can be shorter."""
    rest: Ids = np.zeros(0, np.int64)
    for piece in pieces:
        rest = np.concatenate([rest, piece])
        for start in range(0, len(rest) - size + 1, size):
            yield rest[start : start + size]
        rest = rest[len(rest) // size * size :]
    if len(rest):
        yield rest


def recent_model(ids: Ids, symbols: int, order: int) -> NGram:
    """The n-gram model of a text (N,), which can be shorter than the order; uniform for an empty one."""
    levels: list[Level] = []
    discounts = np.zeros((order, 3))
    if len(ids):
        model = ngram_counts.build(ids, symbols, order)
        levels = list(model.levels)
        discounts[: len(levels)] = model.discounts[:, 1:]
    return NGram([*levels, *[NO_NGRAM] * (order - len(levels))], discounts, symbols)
