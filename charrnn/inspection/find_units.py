"""Units that follow concepts: a search on one part of a text, scored on another.

N: characters   C: concepts   H: hidden units   R: rows of the result
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from charrnn.inference.network import Ids, Inference
from charrnn.inspection.concepts import ConceptReader
from charrnn.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Found:
    """A unit, and how well one of its signals follows a concept; a score that is not defined is None.

    r            correlation of the signal with the concept
    given_character  the same, after the mean for the current character is taken from both
    character    correlation of the concept with its mean for the current character: without the network
    auc          probability that the signal is further in the unit's direction where the concept is on
    f1           of "on" where the signal is beyond the threshold
    threshold    chosen on the ranking part; the unit is on above it, or below where r_ranking is negative
    bits         mutual information
    share_on     of the characters
    longest_run  characters in a row for which the unit was on
    r_ranking    the correlation on the ranking part, which chose the unit
    p            share of shifted labels that some unit follows as well on the ranking part
    """

    concept: str
    layer: int
    unit: int
    signal: str
    r: float | None
    given_character: float | None
    character: float | None
    auc: float | None
    f1: float | None
    threshold: float
    bits: float | None
    share_on: float
    longest_run: int
    r_ranking: float
    p: float


@dataclass(frozen=True)
class Findings:
    """What a search found.

    rows       of each concept the best units first
    characters of the ranking part and of the reporting part
    tried      the number of pairs of unit and signal
    chance     of each concept, the median and the 95 % quantile of the largest |r| of shifted labels
    left_out   the concepts that were not searched for, and why
    """

    rows: tuple[Found, ...]
    characters: tuple[int, int]
    tried: int
    chance: dict[str, tuple[float, float]]
    left_out: dict[str, str]


def find(
    inference: Inference,
    vocabulary: Vocabulary,
    ids: Ids,
    reader: ConceptReader,
    top: int | None = None,
    threads: int = 1,
    progress: Callable[[int], object] = lambda characters: None,
) -> Findings:
    """Rank the units of all layers for each concept. Raises CorpusError for a text that is too short.

    top  units of each concept; by default so many that there are about 20 rows
    """
    raise NotImplementedError
