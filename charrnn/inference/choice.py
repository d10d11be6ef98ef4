"""The choice of the next character: from logits to an id.

B: rows   V: vocabulary

    1. allowed mask   forbidden characters get probability 0 (``charrnn.inference.constraints``)
    2. repetition     the probability of recent characters is divided by ``repeat_penalty``
    3. temperature    logits / temperature, in float64; 0 keeps only the most probable character
    4. top-k          keeps the k most probable; of equally probable ones the lower ids
    5. top-p          keeps the fewest most probable that sum to p or more (Holtzman et al. 2020)
    6. min-p          keeps those with at least p times the highest probability (Nguyen et al. 2024)
    7. typical        keeps the fewest that sum to p or more, nearest to the entropy first (Meister
                      et al. 2023)
    8. draw           the largest log-probability + Gumbel noise: a sample of the distribution

Each step reads the probabilities that the step before it leaves, normalised to sum to one.

Steps 4 to 7 are filters. To add a filter: a field of ``Choice`` whose default switches it off, a check of
the field's range, a function of the scores and the field's value, and its line in ``FILTERS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CheckpointError, ConfigError
from charrnn.inference.network import Logits, Mask

Scores = NDArray[np.float64]
"""(B, V) log-probabilities in nats; -inf for a character that is excluded."""

NOTHING_LEFT = "no character is left: --ban, --allow, --match or --no-repeat exclude every character"
DAMAGED = "the model's logits are not finite numbers: its weights are damaged"


@dataclass(frozen=True)
class Choice:
    """How the next character is chosen. The defaults sample from the model's own distribution."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical: float = 1.0
    repeat_penalty: float = 1.0
    final_temperature: float | None = None

    def __post_init__(self) -> None:
        for value in (self.temperature, self.final_temperature):
            if value is not None and not 0 <= value < math.inf:
                raise ConfigError(f"--temperature {value:g}: must be 0 (greedy) or more, and finite")
        if self.top_k < 0:
            raise ConfigError(f"--top-k {self.top_k}: must be 0 (off) or more")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"--top-p {self.top_p:g}: must be above 0 and at most 1 (off)")
        if not 0 <= self.min_p <= 1:
            raise ConfigError(f"--min-p {self.min_p:g}: must be from 0 (off) to 1")
        if not 0 < self.typical <= 1:
            raise ConfigError(f"--typical {self.typical:g}: must be above 0 and at most 1 (off)")
        if not 0 < self.repeat_penalty < math.inf:
            raise ConfigError(
                f"--repeat-penalty {self.repeat_penalty:g}: must be above 0 and finite; 1 is off"
            )

    @cached_property
    def _filters(self) -> list[tuple[Filter, float]]:
        """The filters that are on, in their order, with their values."""
        off = {field.name: field.default for field in fields(self)}
        values = [(name, getattr(self, name)) for name in FILTERS]
        return [(FILTERS[name], value) for name, value in values if value != off[name]]

    def temperature_at(self, position: int, length: int) -> float:
        """The temperature of character ``position`` of ``length``: constant, or linear in the position."""
        if self.final_temperature is None:
            return self.temperature
        share = min(1.0, position / max(1, length - 1))
        return self.temperature + (self.final_temperature - self.temperature) * share

    def scores(
        self,
        logits: Logits,
        allowed: Mask | None = None,
        recent: Mask | None = None,
        temperature: float | None = None,
    ) -> Scores:
        """(B, V) logits -> (B, V) log-probabilities of being drawn, in nats.

        allowed      (B, V) the characters that may be drawn; None is all
        recent       (B, V) the characters that ``repeat_penalty`` applies to; None: no character
        temperature  instead of ``self.temperature``

        Raises CheckpointError for logits that are not finite, ConfigError where nothing is allowed.
        """
        temperature = self.temperature if temperature is None else temperature
        scores = logits.astype(np.float64)
        if not np.isfinite(scores.max(-1)).all():
            raise CheckpointError(DAMAGED)
        if allowed is not None:
            scores = np.where(allowed, scores, -np.inf)
        if recent is not None:
            scores -= math.log(self.repeat_penalty) * recent
        best = scores.max(-1, keepdims=True)
        if not np.isfinite(best).all():
            raise ConfigError(NOTHING_LEFT)
        scores -= best
        if temperature == 0:
            return _only(scores, keep_top_k(scores, 1))
        with np.errstate(over="ignore"):  # a tiny temperature correctly turns all but the largest into -inf
            scores /= temperature
        scores = log_softmax(scores)
        for keep, value in self._filters:
            scores = _only(scores, keep(scores, value))
        return scores

    def draw(
        self,
        logits: Logits,
        noise: Scores,
        allowed: Mask | None = None,
        recent: Mask | None = None,
        temperature: float | None = None,
    ) -> NDArray[np.intp]:
        """(B, V) logits, (B, V) ``gumbel`` noise -> (B,) ids. The other arguments and errors: ``scores``."""
        temperature = self.temperature if temperature is None else temperature
        if allowed is None and recent is None and not self._filters and 1e-3 < temperature < 1e3:
            # The usual case, in few calls: these temperatures neither overflow nor underflow float32.
            noisy = (logits if temperature == 1 else logits / temperature) + noise
        else:
            noisy = self.scores(logits, allowed, recent, temperature) + noise
        ids: NDArray[np.intp] = noisy.argmax(-1)
        # A sum is finite only if all its terms are. One row needs no sum, which is faster.
        chosen = noisy[0, ids[0]] if len(ids) == 1 else noisy[np.arange(len(ids)), ids].sum()
        if not math.isfinite(chosen):
            raise CheckpointError(DAMAGED)
        return ids


def keep_top_k(scores: Scores, k: float) -> Mask:
    """(B, V) scores -> (B, V) the k most probable characters."""
    kept = np.zeros(scores.shape, bool)
    np.put_along_axis(kept, np.argsort(-scores, -1, kind="stable")[:, : int(k)], True, -1)
    return kept


def keep_top_p(scores: Scores, p: float) -> Mask:
    """(B, V) scores -> (B, V) the fewest most probable characters that sum to p or more."""
    return _fewest(scores, -scores, p)


def keep_min_p(scores: Scores, p: float) -> Mask:
    """(B, V) scores -> (B, V) the characters with at least p times the highest probability."""
    kept: Mask = scores - scores.max(-1, keepdims=True) - math.log(p) >= 0
    return kept


def keep_typical(scores: Scores, p: float) -> Mask:
    """(B, V) scores -> (B, V) the fewest that sum to p or more, those closest to the entropy first."""
    with np.errstate(invalid="ignore"):  # 0 * -inf, of excluded characters
        entropy = -np.nansum(np.exp(scores) * scores, -1, keepdims=True)
    return _fewest(scores, np.abs(-scores - entropy), p)


Filter = Callable[[Scores, float], Mask]
FILTERS: dict[str, Filter] = {
    "top_k": keep_top_k,
    "top_p": keep_top_p,
    "min_p": keep_min_p,
    "typical": keep_typical,
}
"""The filter of each field of ``Choice``, in the order in which they apply."""


def gumbel(generators: Sequence[np.random.Generator], size: int) -> Scores:
    """(B, size) standard Gumbel noise, one row from each generator (Gumbel 1954; Maddison et al. 2014)."""
    drawn = [generator.standard_exponential((1, size)) for generator in generators]
    noise = drawn[0] if len(drawn) == 1 else np.concatenate(drawn)
    np.log(noise, out=noise)
    return np.negative(noise, out=noise)


def gumbel_below(scores: Scores, maxima: Scores, generator: np.random.Generator) -> Scores:
    """(B, V) scores + Gumbel noise, under the condition that the largest of each row is ``maxima`` (B, 1).

    Numerically stable, as in Kool et al. 2019, appendix B.3.
    """
    noisy = scores + gumbel([generator], scores.size).reshape(scores.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = maxima - noisy + np.log1p(-np.exp(noisy - noisy.max(-1, keepdims=True)))
        result = maxima - np.maximum(gap, 0) - np.log1p(np.exp(-np.abs(gap)))
    return np.where(scores == -np.inf, -np.inf, result)


def largest(scores: Scores, size: int) -> NDArray[np.intp]:
    """The flat indices of the ``size`` largest, the largest first; of equal ones, the first."""
    flat = scores.ravel()
    if size < len(flat):  # to sort all of them would take longer than a step of a small network
        indices = np.flatnonzero(flat >= np.partition(flat, -size)[-size])
    else:
        indices = np.arange(len(flat))
    return indices[np.argsort(-flat[indices], kind="stable")][:size]


def can_continue(logits: Logits, allowed: Mask | None) -> Mask:
    """(B, V) logits -> (B,) whether any character can be drawn.

    True for logits that are not finite: ``Choice`` reports those.
    """
    possible = logits != -np.inf
    if allowed is not None:
        possible &= allowed
    continues: Mask = possible.any(-1) | ~np.isfinite(logits.max(-1))
    return continues


def log_softmax(logits: Logits) -> Scores:
    """(..., V) logits or scores -> log-probabilities in float64: their exponentials sum to one."""
    scores = logits.astype(np.float64)
    scores -= scores.max(-1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(-1, keepdims=True))
    return scores


def target_scores(logits: Logits, targets: NDArray[np.integer]) -> Scores:
    """(..., V) logits and (...) ids -> (...) the log-probability of each of these ids."""
    places = targets[..., None].astype(np.int64)
    result: Scores = np.take_along_axis(log_softmax(logits), places, -1)[..., 0]
    return result


def _only(scores: Scores, kept: Mask) -> Scores:
    """The log-probabilities when all other characters are excluded."""
    return log_softmax(np.where(kept, scores, -np.inf))


def _fewest(scores: Scores, key: Scores, share: float) -> Mask:
    """(B, V) the fewest characters, smallest key first, whose probabilities sum to ``share``."""
    order = np.argsort(key, -1, kind="stable")
    probabilities = np.exp(np.take_along_axis(scores, order, -1))
    sum_before = np.cumsum(probabilities, -1) - probabilities
    kept = np.empty(scores.shape, bool)
    np.put_along_axis(kept, order, sum_before < share, -1)
    return kept
