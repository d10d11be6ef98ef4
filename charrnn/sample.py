"""Drawing characters: ``for id in sample(predictor, prompt, choice, length, generator)``.

V: vocabulary   N: characters of the prompt

The next character is chosen from the logits in this order:

    1. temperature    logits / temperature, in float64; 0 takes the most probable character
    2. top-k          the k most probable stay; among equals the lower id
    3. top-p          the fewest most probable stay whose probabilities sum to p or more
    4. draw           one number of the generator, against the cumulative probabilities
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CheckpointError, ConfigError
from charrnn.inference import Ids, Logits, Predictor, State, read
from charrnn.vocab import Vocabulary


@dataclass(frozen=True)
class Choice:
    """How the next character is chosen. ``top_k`` 0 and ``top_p`` 1 leave all in."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ConfigError(f"--temperature {self.temperature:g}: it must be 0 (greedy) or more")
        if self.top_k < 0:
            raise ConfigError(f"--top-k {self.top_k}: it must be 0 (all) or more")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"--top-p {self.top_p:g}: it must be above 0 and at most 1")

    def probabilities(self, logits: Logits) -> NDArray[np.float64]:
        """(V,) logits -> (V,) probabilities of being drawn; those left out have 0.

        Raises CheckpointError when the best logit is no finite number.
        """
        scores = logits.astype(np.float64)
        if not np.isfinite(best := scores.max()):
            raise CheckpointError("the model's logits are not finite numbers: its weights are damaged")
        scores -= best
        if self.temperature == 0:
            kept = np.argsort(-scores, kind="stable")[:1]
        else:
            # A tiny temperature makes -inf of every score but the best, which is what it means.
            with np.errstate(over="ignore"):
                scores /= self.temperature
            kept = np.argsort(-scores, kind="stable")[: self.top_k or None]
        probabilities = np.zeros(len(scores))
        probabilities[kept] = np.exp(scores[kept])
        probabilities /= probabilities.sum()
        if self.top_p < 1 and len(kept) > 1:
            before = np.cumsum(probabilities[kept]) - probabilities[kept]  # of those more probable
            probabilities[kept[before >= self.top_p]] = 0
            probabilities /= probabilities.sum()
        return probabilities

    def draw(self, logits: Logits, generator: np.random.Generator) -> int:
        """(V,) logits -> an id. One number is taken from the generator, whatever the choice."""
        cumulative = np.cumsum(self.probabilities(logits))
        point = generator.random() * cumulative[-1]
        return int(np.searchsorted(cumulative, point, side="right"))


def seeded(seed: int | None) -> tuple[np.random.Generator, int]:
    """A generator and its seed: the given one, or one that is drawn."""
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    return np.random.default_rng(seed), seed


def opening(vocabulary: Vocabulary) -> Ids:
    """(1,) what is read where there is no prompt: a newline, else a space, else the first symbol."""
    known = [vocabulary.symbols.find(character) for character in "\n "]
    return np.array([next((id for id in known if id >= 0), 0)])


def after(predictor: Predictor, prompt: Ids, state: State) -> tuple[Logits, State]:
    """Read a prompt (N,), N >= 1 -> (V,) logits of the character after it, and the state."""
    logits = np.empty(0)
    for _, rows, now in read(predictor, prompt, state):
        logits, state = rows[-1], now
    return logits, state


def sample(
    predictor: Predictor,
    prompt: Ids,
    choice: Choice,
    length: int,
    generator: np.random.Generator,
) -> Iterator[int]:
    """Ids drawn one after the other, ``length`` of them; 0 is without end. The prompt is not among them."""
    logits, state = after(predictor, prompt, predictor.start(1))
    drawn = 0
    while True:
        id = choice.draw(logits, generator)
        yield id
        drawn += 1
        if drawn == length:
            return
        rows, state = predictor(np.array([[id]]), state)
        logits = rows[0, 0]
