"""Models conditioned on values of labels and vectors; and guidance, which strengthens their effect.

B: batch   T: characters   V: vocabulary
"""

from __future__ import annotations

from copy import copy

import numpy as np

from charrnn.cells import State
from charrnn.conditions import Condition, Values, find
from charrnn.errors import ConfigError
from charrnn.inference.choice import log_softmax
from charrnn.inference.mixture import Mixture
from charrnn.inference.network import Ids, Inference, Logits, Predictor, Trace
from charrnn.inference.states import concatenate_states

MOST_GUIDANCE = 100.0


def conditions_of(predictor: Predictor) -> list[Condition]:
    """The conditions of a model; of a mixture, those of all its models."""
    if isinstance(predictor, Inference):
        return list(predictor.config.conditions)
    if isinstance(predictor, Guided):
        return conditions_of(predictor.given)
    models = predictor.predictors if isinstance(predictor, Mixture) else []
    return [condition for model in models for condition in conditions_of(model)]


def conditioned(predictor: Predictor, values: Values) -> Predictor:
    """The same model, conditioned on these values of labels and vectors, by their names.

    Each model of a mixture is given the conditions that it has. Raises ConfigError for a condition that no
    model has, and for a value that it cannot have.
    """
    conditions = conditions_of(predictor)
    for name in values:
        find(conditions, name)
    return _conditioned(predictor, values)


def _conditioned(predictor: Predictor, values: Values) -> Predictor:
    if isinstance(predictor, Inference):
        own = {condition.name for condition in predictor.config.conditions}
        return predictor.given({name: value for name, value in values.items() if name in own})
    if isinstance(predictor, Guided):
        return Guided(_conditioned(predictor.given, values), predictor.free, predictor.strength)
    if isinstance(predictor, Mixture):
        result = copy(predictor)
        result.predictors = [_conditioned(model, values) for model in predictor.predictors]
        return result
    return predictor


class Guided:
    """A Predictor with log p(x|c) + G (log p(x|c) - log p(x)), not normalised (Ho & Salimans 2022).

    given     predicts p(x|c)
    free      the same model with missing conditions; of it only ``start`` is used, as the state holds them
    strength  G: 0 is ``given`` alone
    """

    def __init__(self, given: Predictor, free: Predictor, strength: float) -> None:
        """Raises ConfigError for a wrong strength, and for a model without conditions."""
        if not 0 <= strength <= MOST_GUIDANCE:
            raise ConfigError(f"--guidance {strength:g}: must be from 0 (off) to {MOST_GUIDANCE:g}")
        if not conditions_of(given):
            raise ConfigError("--guidance needs a model with labels or vectors; this one has none")
        self.given, self.free, self.strength = given, free, strength

    @property
    def symbols(self) -> int:
        """V."""
        return self.given.symbols

    def start(self, batch: int) -> State:
        """The state of ``given``, then that of ``free``."""
        return (*self.given.start(batch), *self.free.start(batch))

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        """(B, T) ids -> (B, T, V) logits of the character after each, and the state after the last."""
        layers, batch = len(state) // 2, len(ids)
        # The condition is in the state, so one call reads both as a batch of 2 B.
        both = concatenate_states([state[:layers], state[layers:]])
        logits, after = self.given(np.concatenate([ids, ids]), both, trace)
        scores = log_softmax(logits)
        guided = scores[:batch] + self.strength * (scores[:batch] - scores[batch:])
        halves = (slice(batch), slice(batch, None))
        return guided, tuple(tuple(part[half] for part in layer) for half in halves for layer in after)
