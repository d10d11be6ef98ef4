"""Several models as one: their probabilities, weighted and summed.

B: batch   T: characters   V: vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from charrnn.cells import State
from charrnn.errors import ConfigError
from charrnn.inference.network import Ids, Logits, Predictor, Trace
from charrnn.text.vocabulary import Vocabulary, describe


class Mixture:
    """A Predictor whose probabilities are the weighted mean of others'; its state is theirs in a row."""

    def __init__(self, predictors: Sequence[Predictor], weights: Sequence[float]) -> None:
        """``weights`` sum to something; only their ratios matter. Raises ConfigError."""
        if len(weights) != len(predictors):
            raise ConfigError(
                f"--weights: {len(weights)} for {len(predictors)} checkpoints; give one for each, 0.7,0.3"
            )
        if not all(0 <= weight < np.inf for weight in weights) or not 0 < sum(weights) < np.inf:
            raise ConfigError("--weights: each must be 0 or more, and one above 0")
        self.predictors = predictors
        self.weights = np.array(weights) / sum(weights)
        sizes = [len(predictor.start(1)) for predictor in predictors]
        self._parts = [slice(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]

    def start(self, batch: int) -> State:
        """The states before any text, one after the other."""
        return tuple(carry for predictor in self.predictors for carry in predictor.start(batch))

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        """(B, T) ids -> (B, T, V) logs of the mixed probabilities, and the state after the last."""
        total: Logits = np.zeros(1)
        after: State = ()
        for predictor, weight, part in zip(self.predictors, self.weights, self._parts, strict=True):
            logits, its = predictor(ids, state[part], trace)
            scores = logits.astype(np.float64)
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            total = total + weight / scores.sum(-1, keepdims=True) * scores
            after += its
        with np.errstate(divide="ignore"):
            return np.log(total), after


def check_vocabularies(names: Sequence[str], vocabularies: Sequence[Vocabulary]) -> None:
    """Raises ConfigError, saying what differs, when two models do not know the same symbols."""
    first = vocabularies[0]
    for name, other in zip(names[1:], vocabularies[1:], strict=True):
        if first.byte_level != other.byte_level:
            raise ConfigError(f"{names[0]} and {name} do not mix: one knows characters, the other bytes")
        lacks = [
            f"{who} lacks {', '.join(describe(c) for c in missing[:5])}"
            + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            for who, missing in (
                (name, sorted(set(first.symbols) - set(other.symbols))),
                (names[0], sorted(set(other.symbols) - set(first.symbols))),
            )
            if missing
        ]
        if lacks:
            raise ConfigError(f"{names[0]} and {name} do not mix, their symbols differ: {'; '.join(lacks)}")
