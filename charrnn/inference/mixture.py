"""A mixture of models as one Predictor.

B: batch   T: characters   V: vocabulary   K: models   F: features
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import State
from charrnn.errors import ConfigError
from charrnn.inference.choice import Scores, log_softmax
from charrnn.inference.mixing import Floats, Mixing, character_classes, features
from charrnn.inference.network import Ids, Logits, Predictor, Trace
from charrnn.inference.ngram import NGram
from charrnn.inference.predictor import predictor
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.find import model_name
from charrnn.text.vocabulary import Vocabulary, describe

WAY_OUT = "make the models from the same text, or train one with --from the other"


class DifferentSymbolsError(ConfigError):
    """Models whose vocabularies differ do not mix."""


class Components(NamedTuple):
    """What the models of a mixture predict, and their states.

    log_probabilities  (R, K, V)
    features           (R, F); F = 1 where only the constant feature is used
    state              after the last character
    """

    log_probabilities: NDArray[np.float64]
    features: NDArray[np.float64]
    state: State


class Mixture:
    """A Predictor that combines the probabilities of others. Its state joins their layers."""

    def __init__(
        self,
        predictors: Sequence[Predictor],
        mixing: Mixing,
        classes: NDArray[np.float64] | None = None,
    ) -> None:
        """``classes`` (V, C) are features of each character; a mixing needs those that it was fitted with."""
        self.predictors, self.mixing, self.classes = list(predictors), mixing, classes
        sizes = [len(predictor.start(1)) for predictor in predictors]
        self._layers = [slice(stop - size, stop) for size, stop in zip(sizes, accumulate(sizes), strict=True)]

    @property
    def symbols(self) -> int:
        """V."""
        return self.predictors[0].symbols

    def start(self, batch: int) -> State:
        """The states before any text, one model after the other."""
        return tuple(layer for predictor in self.predictors for layer in predictor.start(batch))

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        """(B, T) ids -> (B, T, V) log-probabilities of the mixture, and the state after the last."""
        log_probabilities, x, after = self.components(ids, state, trace)
        return self.mixing(log_probabilities, self.mixing_features(x, ids.ravel())).reshape(
            *ids.shape, -1
        ), after

    def mixing_features(self, x: Floats, ids: Ids) -> Floats:
        """(R, F) features, (R,) last characters -> the features for the mixing; here, the same."""
        return x

    def components(
        self, ids: Ids, state: State, trace: Trace | None = None, with_features: bool = False
    ) -> Components:
        """What the models predict after each of (B, T) ids, R = B * T, and the state after the last.

        The features are left out where constant weights do not need them, unless ``with_features``.
        """
        parts: list[Scores] = []
        confidences: list[Scores] = []
        after: State = ()
        for model, layers in zip(self.predictors, self._layers, strict=True):
            logits: Logits
            if isinstance(model, NGram):
                logits, confidence, model_state = model.predict(ids, state[layers])
                confidences.append(confidence.reshape(ids.size, -1))
            else:
                logits, model_state = model(ids, state[layers], trace)
            parts.append(log_softmax(logits.reshape(ids.size, -1)))
            after += model_state
        log_probabilities = np.stack(parts, 1)
        if self.mixing.is_constant and not with_features:
            return Components(log_probabilities, np.ones((ids.size, 1)), after)
        classes = [] if self.classes is None else [self.classes[ids.ravel()]]
        return Components(log_probabilities, features(log_probabilities, *confidences, *classes), after)


def mixture_of(checkpoints: Sequence[Checkpoint], weights: Sequence[float] = ()) -> Mixture:
    """The linear mixture of the models of these checkpoints; without weights, they are equal.

    Raises ConfigError for wrong weights, and where the vocabularies differ.
    """
    weights = weights or [1.0] * len(checkpoints)
    check_weights(weights, len(checkpoints))
    check_vocabularies(
        [model_name(checkpoint.path) for checkpoint in checkpoints],
        [checkpoint.header.vocabulary for checkpoint in checkpoints],
    )
    predictors = [predictor(checkpoint) for checkpoint in checkpoints]
    vocabulary = checkpoints[0].header.vocabulary
    classes = character_classes(vocabulary.symbols, vocabulary.documents)
    return Mixture(predictors, Mixing.constant(weights), classes)


def check_weights(weights: Sequence[float], count: int) -> None:
    """Raise ConfigError unless these are weights for ``count`` models."""
    shown = ",".join(f"{weight:g}" for weight in weights)
    if len(weights) != count:
        raise ConfigError(
            f"--weights {shown}: must be {count} number{'' if count == 1 else 's'}, one for each checkpoint"
        )
    if not all(0 <= weight < np.inf for weight in weights) or not 0 < sum(weights) < np.inf:
        raise ConfigError(f"--weights {shown}: must be 0 or more, and one of them above 0")


def check_vocabularies(names: Sequence[str], vocabularies: Sequence[Vocabulary]) -> None:
    """Raises DifferentSymbolsError, with the difference, unless all models have the symbols of the first."""
    first = vocabularies[0]
    for name, other in zip(names[1:], vocabularies[1:], strict=True):
        if first.byte_level != other.byte_level:
            raise DifferentSymbolsError(
                f"{names[0]} and {name} do not mix: one knows characters, the other bytes; {WAY_OUT}"
            )
        if first.backward != other.backward:
            raise DifferentSymbolsError(
                f"{names[0]} and {name} do not mix: one is a forward model, the other a backward"
                " model; train both networks with --backward, or neither"
            )
        if first.documents != other.documents:
            raise DifferentSymbolsError(
                f"{names[0]} and {name} do not mix: one knows documents, the other one long text;"
                " make both with the same --documents"
            )
        if set(first.symbols) != set(other.symbols):
            differences = "; ".join([*_lacks(name, other, first), *_lacks(names[0], first, other)])
            raise DifferentSymbolsError(
                f"{names[0]} and {name} do not mix, their symbols differ: {differences}; {WAY_OUT}"
            )


def _lacks(name: str, vocabulary: Vocabulary, other: Vocabulary) -> Iterator[str]:
    """What a model lacks, if anything."""
    missing = sorted(set(other.symbols) - set(vocabulary.symbols))
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        yield f"{name} lacks {', '.join(describe(symbol) for symbol in missing[:5])}{more}"
