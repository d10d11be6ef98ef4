"""Units that follow concepts: a search on the first part of a text, with scores of the part after it.

The ranking part chooses the units, their signals, their directions and their thresholds, and gives p. All
other scores are of the reporting part, from which nothing is chosen.

R: characters of the ranking part   n: characters of a chunk   C: concepts   K: candidates
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CorpusError
from charrnn.inference.network import Ids, Inference
from charrnn.inference.ops import Floats
from charrnn.inspection import find_scores as scores
from charrnn.inspection.activations import BLOCK, Signal, Values, WatchedChunk, watch_text
from charrnn.inspection.concepts import Concept, ConceptReader, LabelStream, limits
from charrnn.inspection.find_rank import Ranking
from charrnn.text.vocabulary import Vocabulary

RANKING = 65_536
"""The most characters of the ranking part."""
SHORTEST = 1_000
"""The fewest characters of a text that can be searched."""
FEWEST = 20
"""The fewest characters of each part where a concept is on, and where it is off."""
LARGEST_P = 0.05
"""The largest p of a unit that counts as found."""
ROWS = 20
"""About so many rows, where the user does not say how many."""

Progress = Callable[[int], object]
NextLabels = Callable[[], Floats]


@dataclass(frozen=True)
class Found:
    """A unit, and how well one of its signals follows a concept. A score that is not defined is None.

    A number, such as a depth, counts as on above its mean of the ranking part.

    r                correlation of the signal with the concept
    given_character  the same, after the means for the current character are taken from both
    character        correlation of the concept with its mean for the current character: no unit is needed
    auc              the probability that the signal, in the unit's direction, is larger where the concept is
                     on than where it is off
    f1               of the unit, which is on beyond the threshold, as a sign of the concept
    threshold        the unit is on from it upwards, or downwards where r_ranking is negative
    bits             mutual information of the signal and the concept
    share_on         share of the characters for which the unit is on
    longest_run      characters in a row for which the unit is on
    r_ranking        the correlation on the ranking part, by which the unit was chosen
    p                the probability of such an r_ranking for some unit and some concept by chance
    chance           |r_ranking| of the best unit by chance: 95 % quantile
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
    bits: float
    share_on: float
    longest_run: int
    r_ranking: float
    p: float
    chance: float

    @property
    def beyond_chance(self) -> bool:
        """Whether the unit follows the concept in both parts better than the best unit does by chance."""
        r = (self.r or 0.0) * math.copysign(1, self.r_ranking)
        return self.p <= LARGEST_P and r > self.chance


@dataclass(frozen=True)
class Findings:
    """What a search found.

    rows       for each concept, the units from the best to the worst by r_ranking
    ranking    characters of the ranking part
    reporting  characters of the reporting part
    tried      the number of signals of units that were compared with each concept
    left_out   the concepts that are on, or off, for too few characters of a part
    """

    rows: tuple[Found, ...]
    ranking: int
    reporting: int
    tried: int
    left_out: tuple[str, ...]


def ranking_size(characters: int) -> int:
    """Characters of the ranking part. Raises CorpusError for a text that is too short."""
    if characters < SHORTEST:
        raise CorpusError(
            f"the text has {characters:,} character{'' if characters == 1 else 's'}:"
            f" to find units, give one of {SHORTEST:,} or more"
        )
    return min(characters // 2, RANKING)


def find(
    inference: Inference,
    vocabulary: Vocabulary,
    ids: Ids,
    reader: ConceptReader,
    top: int | None = None,
    threads: int = 1,
    progress: Progress = lambda characters: None,
) -> Findings:
    """Rank the units of all layers for each concept. Raises CorpusError for a text that is too short.

    top       units of each concept; by default so many that there are about ROWS rows
    progress  called as by ``watch_text``; the ranking part is read twice
    """
    size, concepts = ranking_size(len(ids)), reader.concepts
    stream = LabelStream(vocabulary, ids, reader)
    labels = stream.take(size)
    cuts = limits(labels, concepts)
    kept = [index for index, count in enumerate((labels > cuts).sum(0)) if _is_enough(count, size)]
    ranking = Ranking(labels[:, kept])
    if kept:
        ranking.read(inference, ids[:size], threads, progress)
    candidates = _candidates(ranking, kept, top or max(1, ROWS // max(1, len(kept))))

    rows: list[Found] = []
    if candidates:

        def measure(part: Ids, next_labels: NextLabels, thresholds: NDArray[np.intp]) -> _Measured:
            measured = _Measured(candidates, cuts, thresholds, len(vocabulary))
            measured.read(inference, part, next_labels, threads, progress)
            return measured

        seen = measure(ids[:size], lambda: labels, np.zeros(len(candidates), np.intp))
        measured = measure(ids[size:], lambda: stream.take(BLOCK), scores.best_thresholds(seen.counts))
        counts = measured.counts[:, 1].sum(1)
        every = zip(measured.rows(concepts), counts, strict=True)
        rows = [row for row, count in every if _is_enough(count, len(ids) - size)]
    found = {row.concept for row in rows}
    left_out = tuple(concept.name for concept in concepts if concept.name not in found)
    tried = inference.config.hidden * len(ranking.correlations)
    return Findings(tuple(rows), size, len(ids) - size, tried, left_out)


def _is_enough(count: int, size: int) -> bool:
    """Whether a concept that is on for so many of ``size`` characters can be measured."""
    return FEWEST <= count <= size - FEWEST


class _Candidate(NamedTuple):
    """A unit to be scored.

    concept    its number among the concepts of the labels
    r          its correlation on the ranking part
    low, high  the range of its values there
    p, chance  as of ``Found``
    """

    concept: int
    signal: Signal
    unit: int
    r: float
    low: float
    high: float
    p: float
    chance: float


def _candidates(ranking: Ranking, concepts: Sequence[int], top: int) -> list[_Candidate]:
    """The best units of each concept, each with its best signal; units that are constant are left out."""
    result = []
    for column, concept in enumerate(concepts):
        best: dict[tuple[int, int], tuple[float, Signal]] = {}
        for signal, correlations in ranking.correlations.items():
            for unit, r in enumerate(correlations[:, column].tolist()):
                key = signal.layer, unit
                if abs(r) > abs(best.get(key, (0.0, signal))[0]):
                    best[key] = r, signal
        order = sorted(best.items(), key=lambda item: -abs(item[1][0]))
        for (_, unit), (r, signal) in order[:top]:
            low, high = ranking.low[signal][unit], ranking.high[signal][unit]
            p, chance = ranking.p_value(r, column), ranking.best_by_chance(column)
            result.append(_Candidate(concept, signal, unit, r, float(low), float(high), p, chance))
    return result


class _Measured:
    """The candidates' scores on a part of a text.

    counts  (K, 2, BINS) as of ``scores.histogram``, of values in the direction of each candidate
    """

    def __init__(
        self, candidates: Sequence[_Candidate], cuts: Floats, thresholds: NDArray[np.intp], symbols: int
    ) -> None:
        """``cuts`` (C,): labels above are on. ``thresholds`` (K,): from these bins upwards a unit is on."""
        self._candidates, self._thresholds = candidates, thresholds
        self._concepts = np.array([candidate.concept for candidate in candidates])
        self._cuts = cuts[self._concepts]
        self._signs = np.array([math.copysign(1, candidate.r) for candidate in candidates])
        ends = np.array([(candidate.low, candidate.high) for candidate in candidates]) * self._signs[:, None]
        self._bins = scores.Binning(ends.min(1), ends.max(1))
        self._watched: dict[Signal, NDArray[np.intp]] = {
            signal: np.unique([c.unit for c in candidates if c.signal == signal])
            for signal in dict.fromkeys(candidate.signal for candidate in candidates)
        }
        self.counts = np.zeros((len(candidates), 2, scores.BINS), np.int64)
        self._moments = scores.Moments(len(candidates), symbols)
        self._runs = scores.Runs(len(candidates))
        self._is_on = np.zeros((BLOCK, len(candidates)), bool)  # each unit at each character of the block
        self._lock = Lock()

    def read(
        self,
        inference: Inference,
        ids: Ids,
        next_labels: NextLabels,
        threads: int,
        progress: Progress,
    ) -> None:
        """Read the part of the text; ``next_labels`` returns those of the next block, (BLOCK, C)."""
        self._ids, self._labels = ids, next_labels()
        for block in watch_text(inference, ids, self._watched, self._visit, threads, progress):
            self._runs.add(self._is_on[: len(block)])
            self._labels = next_labels()

    def _visit(self, chunk: WatchedChunk) -> None:
        values = self._columns(chunk.values) * self._signs
        places = chunk.positions % BLOCK
        labels = self._labels[places][:, self._concepts].astype(np.float64)
        bins = self._bins(values)
        counts = scores.histogram(bins, labels > self._cuts)
        self._is_on[places] = bins >= self._thresholds
        with self._lock:
            self.counts += counts
            self._moments.add(self._ids[chunk.positions], values, labels)

    def _columns(self, values: Values) -> Floats:
        """(n, K) the values of each candidate."""
        return np.stack(
            [
                values[candidate.signal][:, np.searchsorted(self._watched[candidate.signal], candidate.unit)]
                for candidate in self._candidates
            ],
            1,
        ).astype(np.float64)

    def rows(self, concepts: Sequence[Concept]) -> list[Found]:
        """A row for each candidate; ``concepts`` (C,)."""
        columns = {
            "r": self._moments.correlations() * self._signs,
            "given_character": self._moments.given_character() * self._signs,
            "character": self._moments.character(),
            "auc": scores.auc(self.counts),
            "f1": scores.f1(self.counts, self._thresholds),
        }
        defined = [
            {
                name: None if math.isnan(column[row]) else float(column[row])
                for name, column in columns.items()
            }
            for row in range(len(self._candidates))
        ]
        thresholds = self._bins.edges(self._thresholds) * self._signs
        bits = scores.information(self.counts)
        share_on = scores.at_least(self.counts.sum(1), self._thresholds) / len(self._ids)
        return [
            Found(
                concept=concepts[candidate.concept].name,
                layer=candidate.signal.layer,
                unit=candidate.unit,
                signal=candidate.signal.name,
                **defined[row],
                threshold=float(thresholds[row]),
                bits=float(bits[row]),
                share_on=float(share_on[row]),
                longest_run=int(self._runs.longest[row]),
                r_ranking=candidate.r,
                p=candidate.p,
                chance=candidate.chance,
            )
            for row, candidate in enumerate(self._candidates)
        ]
