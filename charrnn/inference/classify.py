"""The label of a text, by Bayes' rule from the probability of the text under each value.

    p(value | text) = p(text | value) p(value) / sum over all values

R: texts   K: values
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.choice import Scores, log_softmax


class Verdict(NamedTuple):
    """The value of a text.

    best, runner_up  the indices of the two most probable values; of equal ones, the first
    log_posterior    (K,) log-probability of each value
    """

    best: int
    runner_up: int
    log_posterior: Scores


def classify(log_likelihoods: NDArray[np.float64], log_prior: NDArray[np.float64]) -> list[Verdict]:
    """(R, K) log-probability of each text under each value, K >= 2, (K,) that of each value -> verdicts."""
    result = []
    for posterior in log_softmax(log_likelihoods + log_prior):
        order = np.argsort(-posterior, kind="stable")
        result.append(Verdict(int(order[0]), int(order[1]), posterior))
    return result


def log_prior(counts: Sequence[int] | None, values: int) -> NDArray[np.float64]:
    """(K,) log-probability of each value before a text is read: from their counts, or all equal.

    One is added to each count, so that no value is impossible (Laplace).
    """
    frequencies = np.ones(values) if counts is None else np.array(counts, np.float64) + 1
    result: NDArray[np.float64] = np.log(frequencies / frequencies.sum())
    return result


class Confusion:
    """How often each value was taken for each other, over texts whose value is known."""

    def __init__(self) -> None:
        self.pairs: Counter[tuple[str, str]] = Counter()  # (truth, verdict)

    def add(self, truth: str, verdict: str) -> None:
        """Count a text."""
        self.pairs[truth, verdict] += 1

    @property
    def total(self) -> int:
        """Texts."""
        return self.pairs.total()

    @property
    def correct(self) -> int:
        """Texts whose verdict is the truth."""
        return sum(count for (truth, verdict), count in self.pairs.items() if truth == verdict)

    @property
    def errors(self) -> list[tuple[str, str, int]]:
        """(truth, verdict, count) of the wrong verdicts, the most frequent first."""
        wrong = [(*pair, count) for pair, count in self.pairs.items() if pair[0] != pair[1]]
        return sorted(wrong, key=lambda error: (-error[2], error[0], error[1]))

    def matrix(self, values: Sequence[str]) -> NDArray[np.int64]:
        """(K, K) the counts of these values: a row for each truth, a column for each verdict."""
        return np.array([[self.pairs[truth, verdict] for verdict in values] for truth in values])
