"""How a mixture combines the predictions of its models.

    linear       p(v) = sum_k w_k p_k(v)              w = softmax(x A)
    log-linear   p(v) ~ prod_k p_k(v) ^ w_k           w = softplus(x A)

x are features of the predictions: how sure each model is. So the weights can change from character to
character; with the constant feature alone they do not.

R: predictions   K: models   V: vocabulary   F: features
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.choice import log_softmax

Floats = NDArray[np.float64]
LOWEST = -50.0
"""Log-probability in nats to which lower ones are raised, so that a log-linear mixture stays finite."""


@dataclass(frozen=True)
class Mixing:
    """The kind of a mixture, and its coefficients A (F, K); with F = 1, only the constant feature is used."""

    kind: Literal["linear", "log-linear"]
    coefficients: Floats

    @classmethod
    def constant(cls, weights: Sequence[float]) -> Mixing:
        """The linear mixture with these weights, 0 or more, which are normalised to sum to one."""
        with np.errstate(divide="ignore"):
            return cls("linear", np.log(np.array([weights]) / sum(weights)))

    @property
    def is_constant(self) -> bool:
        """Whether the weights are the same for every character."""
        return len(self.coefficients) == 1

    def weights(self, features: Floats) -> Floats:
        """(R, F) features -> (R, K) the weight of each model."""
        scores: Floats = features @ self.coefficients
        result: Floats = np.exp(log_softmax(scores)) if self.kind == "linear" else np.logaddexp(0, scores)
        return result

    def __call__(self, log_probabilities: Floats, features: Floats) -> Floats:
        """(R, K, V) log-probabilities of the models, (R, F) features -> (R, V) those of the mixture."""
        if self.kind == "linear":
            mixed = np.einsum("rk,rkv->rv", self.weights(features), np.exp(log_probabilities))
            with np.errstate(divide="ignore"):
                result: Floats = np.log(mixed)
            return result
        raised = np.maximum(log_probabilities, LOWEST)
        return log_softmax(np.einsum("rk,rkv->rv", self.weights(features), raised))

    def gradient(self, log_probabilities: Floats, features: Floats, targets: NDArray[np.integer]) -> Floats:
        """(F, K) the gradient of the mean loss, in nats, of the characters ``targets`` (R,)."""
        rows = np.arange(len(targets))
        own = log_probabilities[rows, :, targets]  # (R, K)
        scores = features @ self.coefficients
        if self.kind == "linear":
            log_weights = log_softmax(scores)
            slopes = np.exp(log_weights) - np.exp(log_softmax(log_weights + own))
        else:
            raised = np.maximum(log_probabilities, LOWEST)
            mixed = np.exp(self(raised, features))
            slopes = np.einsum("rkv,rv->rk", raised, mixed) - np.maximum(own, LOWEST)
            slopes *= 0.5 * (1 + np.tanh(scores / 2))  # the derivative of softplus
        result: Floats = features.T @ slopes / len(targets)
        return result


def features(log_probabilities: Floats, confidences: Sequence[Floats]) -> Floats:
    """(R, F): 1, the entropy of each model's prediction in nats, and what else tells how sure it is.

    log_probabilities  (R, K, V) of the models
    confidences        (R, ...) of the n-gram models among them
    """
    raised = np.maximum(log_probabilities, LOWEST)
    entropies = -np.einsum("rkv,rkv->rk", np.exp(log_probabilities), raised)
    return np.concatenate([np.ones((len(entropies), 1)), entropies, *confidences], 1)
