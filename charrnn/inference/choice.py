"""The next character: from logits to an id, in one order.

B: rows   V: vocabulary

    1. may            what a rule forbids is left out (``charrnn.inference.constraints``)
    2. repetition     the probability of what has just been written is divided by ``repeat_penalty``
    3. temperature    scores / temperature, in float64; 0 leaves the most probable character alone
    4. top-k          the k most probable stay; among equals the lower id
    5. top-p          the fewest most probable stay that sum to p or more (Holtzman et al. 2020)
    6. min-p          those stay that have at least p times the best one's (Nguyen et al. 2024)
    7. typical        the fewest stay that sum to p, the nearest to the entropy first (Meister et al. 2023)
    8. draw           the largest of score + Gumbel noise, which has the probabilities of the scores

Each step sees what the one before it has left, as probabilities that sum to one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CheckpointError, ConfigError
from charrnn.inference.network import Logits, Mask

Scores = NDArray[np.float64]

NOTHING_LEFT = (
    "no character is left that may come here: what --ban, --allow, --no-repeat and the like rule out is all"
)
DAMAGED = "the model's logits are not finite numbers: its weights are damaged"
ALONE = np.zeros(1, bool)
"""One row drawn alone: there is nothing its rounding could differ from."""
ROUNDING = 1e-4
"""Logits computed in a batch and those computed alone differ by less than this.

Over thousands of characters, 64 texts at a time, networks that have learnt differ by 1e-5 to 3e-5 at
most; an Elman network did once by more, 1.6e-4.
"""


@dataclass(frozen=True)
class Choice:
    """How the next character is chosen. The defaults draw from the model as it is."""

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
                raise ConfigError(f"--temperature {value:g}: it must be 0 (greedy) or more, and finite")
        if self.top_k < 0:
            raise ConfigError(f"--top-k {self.top_k}: it must be 0 (all) or more")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"--top-p {self.top_p:g}: it must be above 0 and at most 1")
        if not 0 <= self.min_p <= 1:
            raise ConfigError(f"--min-p {self.min_p:g}: it must be from 0 (all) to 1")
        if not 0 < self.typical <= 1:
            raise ConfigError(f"--typical {self.typical:g}: it must be above 0 and at most 1")
        if not 0 < self.repeat_penalty < math.inf:
            raise ConfigError(
                f"--repeat-penalty {self.repeat_penalty:g}: it must be above 0, and finite; 1 is off"
            )

    @cached_property
    def _plain(self) -> bool:
        """Whether logits and temperature alone decide."""
        return self == Choice(self.temperature, final_temperature=self.final_temperature)

    def temperature_at(self, position: int, length: int) -> float:
        """The temperature of character ``position`` of ``length``: constant, or on a straight ramp."""
        if self.final_temperature is None:
            return self.temperature
        share = min(1.0, position / max(1, length - 1))
        return self.temperature + (self.final_temperature - self.temperature) * share

    def scores(
        self,
        logits: Logits,
        may: Mask | None = None,
        recent: Mask | None = None,
        temperature: float | None = None,
    ) -> tuple[Scores, Scores, Mask]:
        """(B, V) logits -> (B, V) log-probabilities of being drawn, -inf where a character is left out.

        may     (B, V) what may come; None is all       recent  (B, V) what has just been written

        With them come the scores before steps 4 to 7 left any out, and where rounding may have decided
        whether a character stays, (B, V) each. Raises CheckpointError when the best logit is no finite
        number, ConfigError when nothing may come.
        """
        temperature = self.temperature if temperature is None else temperature
        scores = logits.astype(np.float64)
        if not np.isfinite(scores.max(-1)).all():
            raise CheckpointError(DAMAGED)
        if may is not None:
            scores = np.where(may, scores, -np.inf)
        if recent is not None:
            scores -= math.log(self.repeat_penalty) * recent
        best = scores.max(-1, keepdims=True)
        if not np.isfinite(best).all():
            raise ConfigError(NOTHING_LEFT)
        scores -= best
        top_k, rounding = self.top_k, ROUNDING
        if temperature == 0:
            top_k = 1
        else:
            # A tiny temperature makes -inf of every score but the best, which is what it means.
            with np.errstate(over="ignore"):
                scores /= temperature
            rounding /= min(temperature, 1.0)
        scores = normalised(scores)
        weighed, doubt = scores, np.zeros(scores.shape, bool)
        if top_k:
            scores = _first(scores, -scores, doubt, rounding, count=top_k)
        if self.top_p < 1:
            scores = _first(scores, -scores, doubt, rounding, share=self.top_p)
        if self.min_p > 0:
            apart = scores - scores.max(-1, keepdims=True) - math.log(self.min_p)
            doubt |= np.abs(apart) < rounding
            scores = normalised(np.where(apart >= 0, scores, -np.inf))
        if self.typical < 1:
            doubt |= doubt.any(-1, keepdims=True)  # one more or one less, and the entropy is another
            with np.errstate(invalid="ignore"):  # 0 * -inf, of those left out
                entropy = -np.nansum(np.exp(scores) * scores, -1, keepdims=True)
            scores = _first(scores, np.abs(-scores - entropy), doubt, rounding, share=self.typical)
        return scores, weighed, doubt

    def draw(
        self,
        logits: Logits,
        noise: Scores,
        may: Mask | None = None,
        recent: Mask | None = None,
        temperature: float | None = None,
    ) -> tuple[NDArray[np.intp], Mask]:
        """(B, V) logits, (B, V) ``gumbel`` noise -> (B,) ids, and (B,) where rounding may have decided.

        Raises as ``scores``.
        """
        temperature = self.temperature if temperature is None else temperature
        doubt = None
        if self._plain and may is None and 1e-3 < temperature < 1e3:
            # The common case, in as few calls as can be; a float32 holds what these temperatures make.
            kept = weighed = (logits if temperature == 1 else logits / temperature) + noise
        else:
            scores, weighed, doubt = self.scores(logits, may, recent, temperature)
            kept, weighed = scores + noise, weighed + noise
        ids = kept.argmax(-1)
        if len(ids) == 1:
            if not math.isfinite(kept[0, ids[0]]):
                raise CheckpointError(DAMAGED)
            return ids, ALONE
        if not np.isfinite(kept[np.arange(len(ids)), ids]).all():
            raise CheckpointError(DAMAGED)
        return ids, _doubtful(ids, kept, weighed, doubt, ROUNDING / min(temperature or 1.0, 1.0))


def gumbel(generators: Sequence[np.random.Generator], size: int) -> Scores:
    """(B, size) standard Gumbel noise, a row from each generator: score + noise is largest at id
    with the probability that the score gives it (Gumbel 1954; Maddison et al. 2014).
    """
    if len(generators) == 1:
        drawn = generators[0].standard_exponential((1, size))
    else:
        drawn = np.stack([generator.standard_exponential(size) for generator in generators])
    np.log(drawn, out=drawn)
    return np.negative(drawn, out=drawn)


def possible(logits: Logits, may: Mask | None) -> Mask:
    """(B, V) logits -> (B,) whether any may come; true of damaged logits, which ``Choice`` tells."""
    left = logits != -np.inf
    found: Mask = (left if may is None else left & may).any(-1) | ~np.isfinite(logits.max(-1))
    return found


def normalised(scores: Scores) -> Scores:
    """(..., V) scores -> log-probabilities: exp of them sums to one."""
    scores = scores - scores.max(-1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(-1, keepdims=True))
    return scores


def _first(
    scores: Scores, key: Scores, doubt: Mask, rounding: float, count: int | None = None, share: float = 2.0
) -> Scores:
    """Leave only the first ``count``, or the fewest first that make up ``share``, in the order of ``key``.

    ``doubt`` is marked where ``rounding`` in the key, or in the sum, may have decided.
    """
    key = np.minimum(key, 1e300)  # what is left out already comes last, and inf - inf is no number
    order = np.argsort(key, -1, kind="stable")
    key = np.take_along_axis(key, order, -1)
    mass = np.exp(np.take_along_axis(scores, order, -1))
    before = np.cumsum(mass, -1) - mass
    stays = before < share
    if count is not None:
        stays &= np.arange(key.shape[-1]) < count
    last = stays.sum(-1, keepdims=True) - 1
    edges = [np.take_along_axis(key, np.minimum(at, key.shape[-1] - 1), -1) for at in (last, last + 1)]
    tied = (edges[1] - edges[0] < rounding) & (last + 1 < key.shape[-1])
    unsure = np.abs(before - share) < rounding
    unsure |= tied & ((np.abs(key - edges[0]) < rounding) | (np.abs(key - edges[1]) < rounding))
    back = np.argsort(order, -1)
    doubt |= np.take_along_axis(unsure, back, -1)
    return normalised(np.where(np.take_along_axis(stays, back, -1), scores, -np.inf))


def _doubtful(
    ids: NDArray[np.intp], kept: Scores, weighed: Scores, doubt: Mask | None, rounding: float
) -> Mask:
    """(B,) where logits that differ by rounding alone might have drawn another character."""
    at = ids[:, None]
    near: Mask = (kept >= np.take_along_axis(kept, at, -1) - rounding).sum(-1) > 1
    if doubt is not None:
        near |= (doubt & (weighed >= np.take_along_axis(weighed, at, -1) - rounding)).any(-1)
    return near
