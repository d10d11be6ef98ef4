"""Beam search: the most probable texts, or exact samples without replacement.

W: beams   V: vocabulary   N: characters

The search uses the distribution that ``charrnn.inference.sample`` draws from, with its constraints and
filters. A text that ends early, by a stop string or a match, is a leaf of the same tree. The length of a
text includes its stop string, kept or not. All the characters that end a match are one choice.

- plain       the W best continuations of the W best texts of the step before; W = 1 is greedy
- diverse     groups of beams; each group penalises the characters that earlier groups choose in the same
              step (Vijayakumar et al. 2018)
- stochastic  the W best by log-probability + Gumbel noise, drawn from the root to the leaves: W samples
              without replacement (Kool, van Hoof & Welling 2019)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter

import numpy as np

from charrnn.cells import State
from charrnn.errors import ConfigError
from charrnn.inference.choice import (
    NOTHING_LEFT,
    Choice,
    Scores,
    can_continue,
    gumbel,
    gumbel_below,
    largest,
    normalised,
)
from charrnn.inference.constraints import ConstrainedText, Constraints, allowed_masks, recent_masks
from charrnn.inference.network import Ids, Logits, Predictor
from charrnn.inference.prompts import read_prompts
from charrnn.inference.sample import Chunk
from charrnn.inference.states import Cursor, rows

MAX_WIDTH = 4096
MAX_PENALTY = 10  # far more than is useful, and small enough that no text is too long for the power
MAX_PENDING = 1000
"""Characters that an endless search keeps while its beams differ, before the best beam decides."""


@dataclass(frozen=True)
class Search:
    """The kind of search.

    width           W
    groups          number of groups, of W / groups beams each; 1 is a plain search
    diversity       penalty in nats for each beam of an earlier group that chooses the same character
    stochastic      whether to draw without replacement
    length_penalty  alpha: texts are compared by log-probability / ((5 + N) / 6) ** alpha
                    (Wu et al. 2016); 0 compares the log-probabilities
    """

    width: int
    groups: int = 1
    diversity: float = 0.5
    stochastic: bool = False
    length_penalty: float = 0.6

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_WIDTH:
            raise ConfigError(f"--beam {self.width}: it must be from 1 to {MAX_WIDTH}")
        if self.groups < 1 or self.width % self.groups:
            raise ConfigError(f"--diverse {self.groups}: --beam {self.width} cannot be divided by it")
        if not 0 <= self.diversity < math.inf:
            raise ConfigError(f"--diversity {self.diversity:g}: it must be 0 or more, and finite")
        if not 0 <= self.length_penalty <= MAX_PENALTY:
            raise ConfigError(f"--length-penalty {self.length_penalty:g}: it must be from 0 to {MAX_PENALTY}")
        if self.stochastic and self.groups > 1:
            raise ConfigError("--stochastic and --diverse: give one of the two")

    def score(self, log_probability: float, length: float) -> float:
        """The score by which texts of different lengths are compared."""
        return log_probability / math.pow((5 + length) / 6, self.length_penalty)


@dataclass
class _Hypothesis:
    """A text that can still grow.

    unread           (N,) the characters to read next, after row ``row`` of ``state``
    ids, scores      characters that no chunk has contained yet, and their log-probabilities under the model
    settled          how many of them belong to the text whatever follows
    log_probability  of the text under the distribution that is searched
    score            hypotheses are compared by it: the log-probability, with noise if stochastic
    """

    text: ConstrainedText
    unread: Ids
    state: State
    row: int = 0
    ids: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    settled: int = 0
    log_probability: float = 0.0
    score: float = 0.0

    def extended(self, symbol: int, model_score: float, state: State, row: int) -> _Hypothesis:
        """The text and one more character, which follows row ``row`` of ``state``."""
        text = self.text.copy()
        settled = self.settled + text.add(symbol)
        ids, scores = [*self.ids, symbol], [*self.scores, model_score]
        return _Hypothesis(text, np.array([symbol]), state, row, ids, scores, settled)

    def finished(self, size: int, ended: str, score: float) -> _Finished:
        """The first ``size`` characters as a finished text, which does not keep the batch alive."""
        end = Cursor(self.unread, rows(self.state, [self.row]))
        return _Finished(self.ids[:size], self.scores[:size], ended, end, score)


@dataclass
class _Finished:
    """A text that has ended. Its score is ``Search.score``, or the hypothesis's if stochastic."""

    ids: list[int]
    scores: list[float]
    ended: str
    end: Cursor
    score: float


_score: Callable[[_Hypothesis | _Finished], float] = attrgetter("score")


class _Group:
    """Hypotheses that compete with each other, and the best finished texts among them, best first."""

    def __init__(
        self, search: Search, first: _Hypothesis, wanted: int, longest: float, generator: np.random.Generator
    ) -> None:
        """``wanted``: how many texts are asked for; ``longest``: maximum number of characters."""
        self.search, self.wanted, self.longest, self.generator = search, wanted, longest, generator
        self.width = search.width // search.groups
        self.live, self.finished = [first], list[_Finished]()
        self.finished_count = 0

    def advance(self, scores: Scores, model_scores: Scores, state: State, start: int, chosen: Scores) -> None:
        """Extend the hypotheses by one character, and keep the best.

        scores        (W, V + 1) log-probability of each next character, and of ending here
        model_scores  (W, V) log-probability of each next character under the model itself
        state         (all, H) of the batch; row ``start`` belongs to the first hypothesis
        chosen        (V + 1,) how many beams chose each character in this step; this group's are added
        """
        parents, self.live = self.live, []
        totals = scores + np.array([[parent.log_probability] for parent in parents])
        noisy = totals
        if self.search.stochastic:
            noisy = gumbel_below(totals, np.array([[parent.score] for parent in parents]), self.generator)
        finished_before = self.finished_count
        for index in largest(noisy - self.search.diversity * chosen, self.width).tolist():
            row, symbol = divmod(index, len(chosen))
            total, score = float(totals[row, symbol]), float(noisy[row, symbol])
            if score == -math.inf:
                break
            chosen[symbol] += 1
            parent = parents[row]
            if symbol == len(chosen) - 1:
                self._finish(parent, len(parent.ids), "match", total, score)
                continue
            child = parent.extended(symbol, float(model_scores[row, symbol]), state, start + row)
            if child.text.ended:
                self._finish(child, child.settled, child.text.ended, total, score)
            else:
                child.log_probability, child.score = total, score
                self.live.append(child)
        if self.finished_count > finished_before:
            self.finished.sort(key=_score, reverse=True)
            if not self.search.stochastic:  # texts that differ in their stop strings alone are equal
                self.finished = _distinct(self.finished)
            del self.finished[self.width :]

    def _finish(self, text: _Hypothesis, size: int, ended: str, log_probability: float, score: float) -> None:
        if not self.search.stochastic:
            score = self.search.score(log_probability, text.text.count)
        self.finished.append(text.finished(size, ended, score))
        self.finished_count += 1

    def is_over(self) -> bool:
        """Whether no hypothesis can still become one of the wanted texts."""
        if not self.live or len(self.finished) < self.wanted:
            return not self.live
        last = self.finished[self.wanted - 1].score
        if self.search.stochastic:
            return max(map(_score, self.live)) <= last
        if self.longest == math.inf and self.search.length_penalty:
            # A text that is long enough can always win: the search ends with its first W finished texts.
            return self.finished_count >= self.width
        best = max(hypothesis.log_probability for hypothesis in self.live)
        return self.search.score(best, self.longest) <= last


def beam(
    predictor: Predictor,
    cursor: Cursor,
    choice: Choice,
    constraints: Constraints,
    search: Search,
    count: int = 1,
    generator: np.random.Generator | None = None,
) -> Iterator[Chunk]:
    """The ``count`` best texts that follow ``cursor``, best first; fewer if there are no more.

    A single text comes in chunks, as soon as all beams agree on its beginning. Several texts come when all
    are found. The best texts of all groups come first, then the second best, and so on. A stochastic search
    needs a ``generator``, and returns its texts in the order of drawing.

    Raises ConfigError, CheckpointError.
    """
    if 0 in (choice.temperature, choice.final_temperature):
        raise ConfigError("--beam and --temperature 0: --beam 1 is greedy; leave out one of the two")
    if not 1 <= count <= search.width:
        raise ConfigError(f"--count {count}: --beam {search.width} finds from 1 to {search.width} texts")
    if not constraints.ends and (count > 1 or search.stochastic):
        raise ConfigError("--length 0: nothing ends the texts that --beam compares; give a --stop or --match")
    if search.stochastic and generator is None:
        raise ValueError("a stochastic search needs a generator")
    return _beam(predictor, cursor, choice, constraints, search, count, generator or np.random.default_rng())


def _beam(
    predictor: Predictor,
    cursor: Cursor,
    choice: Choice,
    constraints: Constraints,
    search: Search,
    count: int,
    generator: np.random.Generator,
) -> Iterator[Chunk]:
    first = _Hypothesis(constraints.start(cursor.unread), cursor.unread, cursor.state)
    if first.text.ended:
        yield Chunk(0, [], [], first.text.ended, cursor, 0.0)
        return
    if search.stochastic:
        first.score = float(gumbel([generator], 1)[0, 0])
    longest, of_group = constraints.length or math.inf, min(count, search.width // search.groups)
    groups = [_Group(search, first, of_group, longest, generator) for _ in range(search.groups)]
    logits, state = read_prompts(predictor, [cursor] * search.groups)
    for position in itertools.count():
        hypotheses = _live(groups)
        temperature = choice.temperature_at(position, constraints.length)
        scores = _scores([hypothesis.text for hypothesis in hypotheses], logits, choice, temperature)
        _advance(groups, scores, normalised(logits.astype(np.float64)), state)
        if all(group.is_over() for group in groups):
            break
        if count == 1:
            _limit_pending(groups, MAX_PENDING if constraints.length == 0 else math.inf)
            yield from _agreed(groups)
        hypotheses = _live(groups)
        ids = np.concatenate([hypothesis.unread for hypothesis in hypotheses])
        indices = np.array([hypothesis.row for hypothesis in hypotheses])
        all_logits, state = predictor(ids[:, None], rows(state, indices))
        logits = all_logits[:, 0]
    results = _results(groups, distinct=not search.stochastic)
    if not results and position:  # no hypothesis can continue, and none has finished
        ranked = sorted(hypotheses, key=_score, reverse=True)
        results = [text.finished(len(text.ids), "stuck", text.score) for text in ranked]
    if not results:
        raise ConfigError(NOTHING_LEFT)
    for row, text in enumerate(results[:count]):
        yield Chunk(row, text.ids, text.scores, text.ended, text.end, text.score)


def _live(groups: Sequence[_Group]) -> list[_Hypothesis]:
    """The hypotheses of all groups, in the order of the batch's rows."""
    return [hypothesis for group in groups for hypothesis in group.live]


def _advance(groups: Sequence[_Group], scores: Scores, model_scores: Scores, state: State) -> None:
    """Advance the groups one after the other: each penalises what the earlier ones chose."""
    chosen = np.zeros(scores.shape[1])
    start = 0
    for group in groups:
        stop = start + len(group.live)
        if group.live:
            group.advance(scores[start:stop], model_scores[start:stop], state, start, chosen)
        start = stop


def _scores(texts: Sequence[ConstrainedText], logits: Logits, choice: Choice, temperature: float) -> Scores:
    """(W, V) logits -> (W, V + 1) log-probabilities of the next characters, and of ending a match here.

    A row of -inf alone belongs to a text that cannot continue.
    """
    allowed = allowed_masks(texts)
    recent = recent_masks(texts) if choice.repeat_penalty != 1 else None
    continues = can_continue(logits, allowed)
    scores = np.full((len(texts), logits.shape[1] + 1), -np.inf)
    if continues.any():
        allowed, recent = (None if mask is None else mask[continues] for mask in (allowed, recent))
        scores[continues, :-1] = choice.scores(logits[continues], allowed, recent, temperature)
    for text_scores, text in zip(scores, texts, strict=True):
        mask = text.continuation_mask
        if mask is not None and text.matches:  # every other character ends the match
            ending = np.append(~mask, False)
            text_scores[-1] = np.logaddexp.reduce(text_scores[ending], initial=-np.inf)
            text_scores[ending] = -np.inf
    return scores


def _agreed(groups: Sequence[_Group]) -> Iterator[Chunk]:
    """The characters with which every possible result begins; they are then dropped from the groups."""
    hypotheses, finished = _live(groups), [group.finished[0] for group in groups if group.finished]
    beginnings = [*(text.ids[: text.settled] for text in hypotheses), *(text.ids for text in finished)]
    first, last = min(beginnings), max(beginnings)  # in alphabetical order, the others lie between them
    size = next((index for index in range(len(first)) if first[index] != last[index]), len(first))
    if not size:
        return
    yield Chunk(0, first[:size], hypotheses[0].scores[:size])
    for hypothesis in hypotheses:
        del hypothesis.ids[:size], hypothesis.scores[:size]
        hypothesis.settled -= size
    for text in finished:
        del text.ids[:size], text.scores[:size]


def _limit_pending(groups: Sequence[_Group], limit: float) -> None:
    """If more characters are pending, keep only the texts that begin as the best hypothesis does."""
    hypotheses = _live(groups)
    if len(hypotheses[0].ids) <= limit:
        return
    begin = max(hypotheses, key=_score).ids[:1]
    for group in groups:
        group.live = [hypothesis for hypothesis in group.live if hypothesis.ids[:1] == begin]
        group.finished = [text for text in group.finished[:1] if text.ids[:1] == begin]


def _results(groups: Sequence[_Group], distinct: bool) -> list[_Finished]:
    """The best finished text of each group, best first, then the second of each, and so on."""
    ranked = [(rank, -text.score, text) for group in groups for rank, text in enumerate(group.finished)]
    results = [text for *_, text in sorted(ranked, key=itemgetter(0, 1))]
    return _distinct(results) if distinct else results


def _distinct(texts: Sequence[_Finished]) -> list[_Finished]:
    """The texts without repetitions; of equal ones, the first."""
    first: dict[tuple[int, ...], _Finished] = {}
    for text in texts:
        first.setdefault(tuple(text.ids), text)
    return list(first.values())
