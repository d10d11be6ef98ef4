"""A mixture of models: the weighted mean of their probabilities.

B: batch   T: characters   V: vocabulary
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np

from charrnn.cells import State
from charrnn.errors import ConfigError
from charrnn.inference.network import Ids, Inference, Logits, Predictor, Trace
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.find import model_name
from charrnn.text.vocabulary import Vocabulary, describe


class Mixture:
    """A Predictor whose probabilities are the weighted mean of others'. Its state joins their layers."""

    def __init__(self, predictors: Sequence[Predictor], weights: Sequence[float]) -> None:
        """``weights`` are normalised to sum to one. Raises ConfigError."""
        if len(weights) != len(predictors):
            raise ConfigError(
                f"--weights {_shown(weights)}: must be {len(predictors)} numbers, one for each checkpoint"
            )
        if not all(0 <= weight < np.inf for weight in weights) or not 0 < sum(weights) < np.inf:
            raise ConfigError(f"--weights {_shown(weights)}: must be 0 or more, and one of them above 0")
        self.predictors = predictors
        self.weights = np.array(weights) / sum(weights)
        sizes = [len(predictor.start(1)) for predictor in predictors]
        self._layers = [slice(stop - size, stop) for size, stop in zip(sizes, accumulate(sizes), strict=True)]

    def start(self, batch: int) -> State:
        """The states before any text, one model after the other."""
        return tuple(layer for predictor in self.predictors for layer in predictor.start(batch))

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        """(B, T) ids -> (B, T, V) logs of the mixed probabilities, and the state after the last character."""
        total: Logits = np.zeros(1)
        after: State = ()
        for predictor, weight, layers in zip(self.predictors, self.weights, self._layers, strict=True):
            logits, model_state = predictor(ids, state[layers], trace)
            scores = logits.astype(np.float64)
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            total = total + weight / scores.sum(-1, keepdims=True) * scores
            after += model_state
        with np.errstate(divide="ignore"):
            return np.log(total), after


def combined(checkpoints: Sequence[Checkpoint], weights: Sequence[float] | None) -> Predictor:
    """The network of one checkpoint, or the mixture of several, with equal weights where none are given.

    Raises ConfigError.
    """
    predictors = [Inference(checkpoint.header.model, checkpoint.weights) for checkpoint in checkpoints]
    if len(checkpoints) == 1 and not weights:
        return predictors[0]
    check_vocabularies(
        [model_name(checkpoint.path) for checkpoint in checkpoints],
        [checkpoint.header.vocabulary for checkpoint in checkpoints],
    )
    return Mixture(predictors, weights or [1.0] * len(checkpoints))


def check_vocabularies(names: Sequence[str], vocabularies: Sequence[Vocabulary]) -> None:
    """Raises ConfigError, with the difference, unless all models have the symbols of the first."""
    first = vocabularies[0]
    for name, other in zip(names[1:], vocabularies[1:], strict=True):
        if first.byte_level != other.byte_level:
            raise ConfigError(f"{names[0]} and {name} do not mix: one knows characters, the other bytes")
        if set(first.symbols) != set(other.symbols):
            differences = "; ".join([*_lacks(name, other, first), *_lacks(names[0], first, other)])
            raise ConfigError(f"{names[0]} and {name} do not mix, their symbols differ: {differences}")


def _shown(weights: Sequence[float]) -> str:
    return ",".join(f"{weight:g}" for weight in weights)


def _lacks(name: str, vocabulary: Vocabulary, other: Vocabulary) -> Iterator[str]:
    """What a model lacks, if anything."""
    missing = sorted(set(other.symbols) - set(vocabulary.symbols))
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        yield f"{name} lacks {', '.join(describe(symbol) for symbol in missing[:5])}{more}"
