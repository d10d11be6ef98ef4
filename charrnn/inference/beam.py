"""Beam search: the most probable texts, or exact samples without replacement.

W: hypotheses of a batch or a group   V: vocabulary   N: characters

The search uses the distribution of ``charrnn.inference.sample``, with its constraints and filters. All the
characters that end a match are one choice. The length of a text includes its stop string, kept or not.

- plain       the W best continuations of the W best texts of the step before; W = 1 is greedy
- diverse     groups of beams; each group penalises the characters that earlier groups choose in the same
              step (Vijayakumar et al. 2018)
- stochastic  the W best by log-probability + Gumbel noise, drawn from the root to the leaves: W samples
              without replacement (Kool, van Hoof & Welling 2019)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np

from charrnn.cells import State
from charrnn.errors import ConfigError
from charrnn.inference import choice as choices
from charrnn.inference.choice import Choice, Scores
from charrnn.inference.constraints import ConstrainedText, Constraints, allowed_masks, recent_masks
from charrnn.inference.network import Ids, Logits, Predictor
from charrnn.inference.sample import Chunk
from charrnn.inference.states import Cursor, read_prompts, select_rows

MAX_WIDTH = 4096
MAX_PENALTY = 10  # far more than is useful, and small enough that no text is too long for the power
MAX_PENDING = 1000
"""Characters that an endless search keeps while its beams differ, before the best beam decides."""

_score = attrgetter("score")


@dataclass(frozen=True)
class Search:
    """The kind of search.

    width           number of beams
    groups          number of groups, of width / groups beams each; 1 is a plain search
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
            raise ConfigError(f"--beam {self.width}: must be a whole number from 1 to {MAX_WIDTH}")
        if self.groups < 1 or self.width % self.groups:
            raise ConfigError(f"--diverse {self.groups}: must divide --beam {self.width}")
        if not 0 <= self.diversity < math.inf:
            raise ConfigError(f"--diversity {self.diversity:g}: must be 0 or more, and finite")
        if not 0 <= self.length_penalty <= MAX_PENALTY:
            raise ConfigError(f"--length-penalty {self.length_penalty:g}: must be from 0 to {MAX_PENALTY}")
        if self.stochastic and self.groups > 1:
            raise ConfigError("--stochastic and --diverse: give one of the two")

    def final_score(self, score: float, length: float) -> float:
        """The score of a finished text, from its score as a hypothesis."""
        return score if self.stochastic else score / math.pow((5 + length) / 6, self.length_penalty)


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

    def finished(self, size: int, ended: str, score: float) -> Chunk:
        """The last chunk of the text: the first ``size`` of ``ids``."""
        end = Cursor(self.unread, select_rows(self.state, [self.row]))
        return Chunk(0, self.ids[:size], self.scores[: size + (ended == "end")], ended, end, score)


@dataclass
class _Group:
    """Hypotheses that compete with each other, and the best finished texts among them.

    width           maximum number of hypotheses, and of finished texts
    finished        the last chunk of each text, best first
    finished_count  how many texts have finished, also those that are no longer among the best
    """

    search: Search
    width: int
    generator: np.random.Generator
    live: list[_Hypothesis]
    finished: list[Chunk] = field(default_factory=list)
    finished_count: int = 0

    def advance(self, scores: Scores, model_scores: Scores, state: State, start: int, chosen: Scores) -> None:
        """Extend the hypotheses by one character, and keep the best.

        scores        (W, V + 1) log-probability of each next character, and of ending here
        model_scores  (W, V) log-probability of each next character under the model itself
        state         of the batch; row ``start`` belongs to the first hypothesis of this group
        chosen        (V + 1,) how many beams chose each character in this step; this group's are added
        """
        parents, self.live, finished = self.live, [], list[Chunk]()
        totals = scores + np.array([parent.log_probability for parent in parents])[:, None]
        noisy = totals
        if self.search.stochastic:
            maxima = np.array([parent.score for parent in parents])[:, None]
            noisy = choices.gumbel_below(totals, maxima, self.generator)
        for index in choices.largest(noisy - self.search.diversity * chosen, self.width).tolist():
            row, symbol = divmod(index, len(chosen))
            score = float(noisy[row, symbol])
            if score == -math.inf:
                break
            chosen[symbol] += 1
            hypothesis, size, ended = parents[row], len(parents[row].ids), "match"
            if symbol < len(chosen) - 1:  # otherwise the text ends before any other character
                hypothesis = hypothesis.extended(symbol, float(model_scores[row, symbol]), state, start + row)
                size, ended = hypothesis.settled, hypothesis.text.ended
            if ended:
                final_score = self.search.final_score(score, hypothesis.text.count)
                finished.append(hypothesis.finished(size, ended, final_score))
            else:
                hypothesis.log_probability, hypothesis.score = float(totals[row, symbol]), score
                self.live.append(hypothesis)
        if finished:
            self.finished_count += len(finished)
            finished = sorted([*self.finished, *finished], key=_score, reverse=True)
            # Texts that differ in their stop strings alone are equal, but are different draws.
            self.finished = (finished if self.search.stochastic else _distinct(finished))[: self.width]

    def is_over(self, wanted: int, longest: float) -> bool:
        """Whether no hypothesis can still be one of the ``wanted`` best texts; none exceeds ``longest``."""
        if not self.live or len(self.finished) < wanted:
            return not self.live
        if longest == math.inf and self.search.length_penalty and not self.search.stochastic:
            # A text that is long enough can always win: the search ends with its first W finished texts.
            return self.finished_count >= self.width
        best, worst = max(map(_score, self.live)), _score(self.finished[wanted - 1])
        return self.search.final_score(best, longest) <= float(worst)


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
    returns its texts in the order of drawing. Raises ConfigError, CheckpointError.
    """
    if 0 in (choice.temperature, choice.final_temperature):
        raise ConfigError("--beam and --temperature 0: --beam 1 is greedy; leave out one of the two")
    if not 1 <= count <= search.width:
        raise ConfigError(f"--count {count}: must be at most --beam {search.width}")
    if not constraints.ends and (count > 1 or search.stochastic):
        raise ConfigError("--length 0: nothing ends the texts that --beam compares; give a --stop or --match")
    first = _Hypothesis(constraints.start(cursor.unread), cursor.unread, cursor.state)
    if first.text.ended:
        return iter([first.finished(0, first.text.ended, 0.0)])
    generator = np.random.default_rng(generator)
    if search.stochastic:
        first.score = float(choices.gumbel([generator], 1)[0, 0])
    groups = [_Group(search, search.width // search.groups, generator, [first]) for _ in range(search.groups)]
    return _search(predictor, cursor, choice, constraints, groups, count)


def _search(
    predictor: Predictor,
    cursor: Cursor,
    choice: Choice,
    constraints: Constraints,
    groups: Sequence[_Group],
    count: int,
) -> Iterator[Chunk]:
    """Advance the groups until all are over. The batch holds the hypotheses of all groups."""
    wanted, longest = min(count, groups[0].width), constraints.length or math.inf
    logits, state = read_prompts(predictor, [cursor] * len(groups))
    hypotheses = _live(groups)
    for position in itertools.count():
        temperature = choice.temperature_at(position, constraints.length)
        scores = _scores([hypothesis.text for hypothesis in hypotheses], logits, choice, temperature)
        model_scores = choices.log_softmax(logits)
        chosen, start = np.zeros(scores.shape[1]), 0
        for group in groups:  # each penalises what the groups before it chose
            stop = start + len(group.live)
            group.advance(scores[start:stop], model_scores[start:stop], state, start, chosen)
            start = stop
        if all(group.is_over(wanted, longest) for group in groups):
            break
        if count == 1:
            yield from _agreed(groups, math.inf if constraints.length else MAX_PENDING)
        hypotheses = _live(groups)
        state = select_rows(state, [hypothesis.row for hypothesis in hypotheses])
        all_logits, state = predictor(np.array([hypothesis.unread for hypothesis in hypotheses]), state)
        logits = all_logits[:, 0]
    results = _results(groups)
    if not results and not position:
        raise ConfigError(choices.NOTHING_LEFT)
    if not results:  # no hypothesis can continue
        best_first = sorted(hypotheses, key=_score, reverse=True)
        results = [text.finished(len(text.ids), "stuck", text.score) for text in best_first]
    yield from (chunk._replace(row=row) for row, chunk in enumerate(results[:count]))


def _live(groups: Sequence[_Group]) -> list[_Hypothesis]:
    """The hypotheses of all groups, in the order of the batch's rows."""
    return [hypothesis for group in groups for hypothesis in group.live]


def _scores(texts: Sequence[ConstrainedText], logits: Logits, choice: Choice, temperature: float) -> Scores:
    """(W, V) logits -> (W, V + 1) log-probabilities of the next characters, and of ending a match here.

    A row of -inf alone belongs to a text that cannot continue.
    """
    allowed, recent = allowed_masks(texts), recent_masks(texts)
    continues = choices.can_continue(logits, allowed)
    scores = np.full((len(texts), logits.shape[1] + 1), -np.inf)
    if continues.any():
        allowed, recent = (None if mask is None else mask[continues] for mask in (allowed, recent))
        scores[continues, :-1] = choice.scores(logits[continues], allowed, recent, temperature)
    for text_scores, text in zip(scores, texts, strict=True):
        if (ending := text.ending_mask) is not None:
            text_scores[-1] = np.logaddexp.reduce(text_scores[:-1][ending], initial=-np.inf)
            text_scores[:-1][ending] = -np.inf
    return scores


def _agreed(groups: Sequence[_Group], max_pending: float) -> Iterator[Chunk]:
    """The characters with which every possible result begins; they are then dropped from the groups.

    If more than ``max_pending`` characters differ, texts that do not begin as the best one are dropped first.
    """
    best = max(_live(groups), key=_score)
    if len(best.ids) > max_pending:
        for group in groups:
            group.live = [text for text in group.live if text.ids[0] == best.ids[0]]
            group.finished = [text for text in group.finished[:1] if text.ids[:1] == best.ids[:1]]
    hypotheses, finished = _live(groups), [group.finished[0] for group in groups if group.finished]
    beginnings = [*(text.ids[: text.settled] for text in hypotheses), *(text.ids for text in finished)]
    columns = zip(*beginnings, strict=False)
    size = len(list(itertools.takewhile(lambda column: len(set(column)) == 1, columns)))
    if size:
        yield Chunk(0, beginnings[0][:size], hypotheses[0].scores[:size])
    for hypothesis in hypotheses:
        del hypothesis.ids[:size], hypothesis.scores[:size]
        hypothesis.settled -= size
    for text in finished:
        del text.ids[:size], text.scores[:size]


def _results(groups: Sequence[_Group]) -> list[Chunk]:
    """The best finished text of each group, best first, then the second of each, and so on."""
    results = list[Chunk]()
    for texts in itertools.zip_longest(*(group.finished for group in groups)):
        results += sorted(filter(None, texts), key=_score, reverse=True)
    return results if len(groups) == 1 else _distinct(results)


def _distinct(texts: Sequence[Chunk]) -> list[Chunk]:
    """The texts without repetitions; of equal ones, the first."""
    first = {tuple(text.ids): text for text in reversed(texts)}
    return [text for text in texts if first[tuple(text.ids)] is text]
