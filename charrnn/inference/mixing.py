"""How a mixture combines the predictions of its models.

    linear       p(v) = sum_k w_k p_k(v)              w = softmax(s)
    log-linear   p(v) ~ prod_k p_k(v) ^ w_k           w = softplus(s)

    s = x A, or s = [1, tanh(x B)] A with a hidden layer

x are features of the predictions: how sure each model is. So the weights can change from character to
character; with the constant feature alone they do not.

R: predictions   K: models   V: vocabulary   F: features   H: hidden units
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.choice import log_softmax

Floats = NDArray[np.float64]
LogProbabilities = NDArray[np.floating[Any]]
"""(R, K, V) log-probabilities of the models, float32 or float64."""
LOWEST = -50.0
"""Log-probability in nats to which lower ones are raised, so that a log-linear mixture stays finite."""


class Loss(NamedTuple):
    """The mean loss in nats of R predictions, and its derivative with respect to A (or s) and B."""

    nats: float
    coefficients: Floats
    hidden: Floats | None


@dataclass(frozen=True)
class Mixing:
    """The kind of a mixture, and its parameters.

    coefficients  A (F, K), or (1 + H, K) with a hidden layer; with F = 1, only the constant feature is used
    hidden        B (F, H); None: no hidden layer
    """

    kind: Literal["linear", "log-linear"]
    coefficients: Floats
    hidden: Floats | None = None

    @classmethod
    def constant(cls, weights: Sequence[float]) -> Mixing:
        """The linear mixture with these weights, 0 or more, which are normalised to sum to one."""
        with np.errstate(divide="ignore"):
            return cls("linear", np.log(np.array([weights]) / sum(weights)))

    @property
    def is_constant(self) -> bool:
        """Whether the weights are the same for every character."""
        return self.hidden is None and len(self.coefficients) == 1

    def inputs(self, features: Floats) -> Floats:
        """(R, F) features -> what A multiplies: the features, or (R, 1 + H) the hidden layer."""
        if self.hidden is None:
            return features
        return np.concatenate([np.ones((len(features), 1)), np.tanh(features @ self.hidden)], 1)

    def weights(self, features: Floats) -> Floats:
        """(R, F) features -> (R, K) the weight of each model."""
        return self._weights(self.inputs(features) @ self.coefficients)

    def _weights(self, scores: Floats) -> Floats:
        result: Floats = np.exp(log_softmax(scores)) if self.kind == "linear" else np.logaddexp(0, scores)
        return result

    def __call__(self, log_probabilities: LogProbabilities, features: Floats) -> Floats:
        """(R, K, V) log-probabilities of the models, (R, F) features -> (R, V) those of the mixture."""
        weights = self.weights(features)
        if self.kind == "linear":
            mixed = np.einsum("rk,rkv->rv", weights, np.exp(log_probabilities))
            with np.errstate(divide="ignore"):
                result: Floats = np.log(mixed)
            return result
        return log_softmax(_weighted_sum(weights, _raised(log_probabilities)))

    def loss(
        self, log_probabilities: LogProbabilities, features: Floats, targets: NDArray[np.integer]
    ) -> Loss:
        """The mean loss of the characters ``targets`` (R,), and its gradients."""
        inputs = self.inputs(features)
        nats, slopes = self._slopes(log_probabilities, inputs @ self.coefficients, targets)
        slopes /= len(targets)
        coefficients: Floats = inputs.T @ slopes
        if self.hidden is None:
            return Loss(nats, coefficients, None)
        units = inputs[:, 1:]
        return Loss(nats, coefficients, features.T @ (slopes @ self.coefficients[1:].T * (1 - units**2)))

    def _slopes(
        self, log_probabilities: LogProbabilities, scores: Floats, targets: NDArray[np.integer]
    ) -> tuple[float, Floats]:
        """The mean loss, and (R, K) the derivative of each prediction's loss with respect to its scores."""
        rows = np.arange(len(targets))
        own = np.maximum(log_probabilities[rows, :, targets], LOWEST).astype(np.float64)  # (R, K)
        if self.kind == "linear":
            log_weights = log_softmax(scores)
            joint = log_weights + own
            return float(-np.logaddexp.reduce(joint, 1).mean()), np.exp(log_weights) - np.exp(
                log_softmax(joint)
            )
        raised = _raised(log_probabilities)
        mixed = _weighted_sum(self._weights(scores), raised)
        mixed -= mixed.max(1, keepdims=True)
        chosen = mixed[rows, targets].astype(np.float64)
        np.exp(mixed, mixed)
        totals = mixed.sum(1)
        means = np.einsum("rkv,rv->rk", raised, mixed) / totals[:, None]
        # the derivative of softplus is the logistic function
        slopes = (means - own) * (0.5 + 0.5 * np.tanh(scores / 2))
        return float((np.log(totals) - chosen).mean()), slopes


def _raised(log_probabilities: LogProbabilities) -> LogProbabilities:
    """The log-probabilities, none below LOWEST; not a copy where none is."""
    return log_probabilities if log_probabilities.min() >= LOWEST else np.maximum(log_probabilities, LOWEST)


def _weighted_sum(weights: Floats, log_probabilities: LogProbabilities) -> Floats:
    """(R, V) the sum of the models' log-probabilities (R, K, V), each times its weight, in their type."""
    result: Floats = np.einsum("rk,rkv->rv", weights.astype(log_probabilities.dtype), log_probabilities)
    return result


def features(log_probabilities: LogProbabilities, *more: Floats) -> Floats:
    """(R, F): 1; the entropy in nats and the highest log-probability of each model's prediction; and more.

    log_probabilities  (R, K, V) of the models
    more               (R, ...) what else tells which model to trust
    """
    raised = np.maximum(log_probabilities, LOWEST)
    entropies = -np.einsum("rkv,rkv->rk", np.exp(log_probabilities), raised)
    return np.concatenate([np.ones((len(entropies), 1)), entropies, raised.max(2), *more], 1)


def character_classes(symbols: str, documents: bool = False) -> Floats:
    """(V, 5) ones and zeros: lower case, upper case, line end, other space, other character.

    Of ``documents`` (V, 6): the boundary, the last id, is the last class.
    """
    tests = (str.islower, str.isupper, "\n".__eq__, str.isspace)
    table = np.array([[test(symbol) for test in tests] for symbol in symbols], float)
    table[:, 3] -= table[:, 2]
    table = np.concatenate([table, 1 - table.sum(1, keepdims=True)], 1)
    if not documents:
        return table
    with_boundary = np.pad(table, ((0, 1), (0, 1)))
    with_boundary[-1, -1] = 1
    return with_boundary
