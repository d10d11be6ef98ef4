"""Beam search: the most probable texts, or exact samples without replacement.

W: beams   V: vocabulary   N: characters

What is searched is the distribution that ``charrnn.inference.sample`` draws from, rules and choice
included; a text that ends early, by a stop string or a match, is a leaf of the same tree. A stop
string counts, kept or not. That a match ends is one choice, with the probability of all characters
that leave it.

- plain       the W best of all that the W best of the step before lead to; W = 1 is greedy
- diverse     groups of beams, each shying away from the characters that the groups before it take in
              the same step (Vijayakumar et al. 2018)
- stochastic  the W best by log-probability + Gumbel noise, drawn top-down: W texts without
              replacement (Kool, van Hoof & Welling 2019)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import State
from charrnn.errors import ConfigError
from charrnn.inference.choice import NOTHING_LEFT, Choice, Scores, gumbel, normalised, possible
from charrnn.inference.constraints import ConstrainedText, Constraints
from charrnn.inference.network import Ids, Logits, Predictor
from charrnn.inference.sample import Chunk
from charrnn.inference.states import Cursor, rows
from charrnn.inference.streams import after_all

WIDEST = 4096
STRONGEST = 10
"""The largest length penalty: far more than makes sense, and no text is too long for the power."""
LONGEST_PENDING = 1000
"""Characters on which an endless search may be unsettled before the best beam settles them."""


@dataclass(frozen=True)
class Search:
    """How to search.

    width           W
    groups          of W / groups beams each; 1 is plain
    diversity       nats that a character loses for each beam of an earlier group that takes it
    stochastic      whether to draw without replacement
    length_penalty  alpha: texts of different lengths are compared by log-probability /
                    ((5 + N) / 6) ** alpha (Wu et al. 2016); 0 compares the log-probabilities
    """

    width: int
    groups: int = 1
    diversity: float = 0.5
    stochastic: bool = False
    length_penalty: float = 0.6

    def __post_init__(self) -> None:
        if not 1 <= self.width <= WIDEST:
            raise ConfigError(f"--beam {self.width}: it must be from 1 to {WIDEST}")
        if self.groups < 1 or self.width % self.groups:
            raise ConfigError(
                f"--diverse {self.groups}: --beam {self.width} does not part into so many groups"
            )
        if not 0 <= self.diversity < math.inf:
            raise ConfigError(f"--diversity {self.diversity:g}: it must be 0 or more")
        if not 0 <= self.length_penalty <= STRONGEST:
            raise ConfigError(f"--length-penalty {self.length_penalty:g}: it must be from 0 to {STRONGEST}")
        if self.stochastic and self.groups > 1:
            raise ConfigError("--stochastic and --diverse: give one of the two")

    def score(self, log_probability: float, length: float) -> float:
        """What a text of ``length`` characters is ranked by."""
        return log_probability / math.pow((5 + length) / 6, self.length_penalty)


@dataclass
class _Beam:
    """A text on its way, or a leaf.

    unread           (N,) what is read next, after row ``place`` of ``state``
    drawn            its characters, from the first not yet settled on; of a leaf, those of the text
    scores           the log-probability of each under the model itself, in nats
    certain          how many of ``drawn`` belong to the text whatever comes
    log_probability  of all of them as they are drawn
    rank             what it is compared by: the same, with noise where the search is stochastic;
                     of a leaf, in a search that is not, ``Search.score``
    """

    course: ConstrainedText
    unread: Ids
    state: State
    place: int = 0
    drawn: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    certain: int = 0
    log_probability: float = 0.0
    rank: float = 0.0
    ended: str | None = None

    def child(self, id: int, score: float, state: State, place: int) -> _Beam:
        """This text and one character more, drawn after that row of that state."""
        course = self.course.fork()
        certain = self.certain + course.add(id)
        drawn, scores = [*self.drawn, id], [*self.scores, score]
        if course.ended:
            del drawn[certain:], scores[certain:]
        return _Beam(course, np.array([id]), state, place, drawn, scores, certain, ended=course.ended)

    def matched(self) -> _Beam:
        """This text as a leaf: it matches, and goes on no further."""
        return replace(self, certain=len(self.drawn), ended="match")

    def settle(self, count: int) -> None:
        """The first characters are no longer kept."""
        self.drawn, self.scores = self.drawn[count:], self.scores[count:]
        self.certain -= count


class _Group:
    """Beams that compete with each other, and the leaves they came to, best first."""

    def __init__(
        self, search: Search, first: _Beam, wanted: int, longest: float, generator: np.random.Generator
    ) -> None:
        """``wanted`` leaves will be asked for; no text is longer than ``longest``."""
        self.search, self.wanted, self.longest, self.generator = search, wanted, longest, generator
        self.size = search.width // search.groups
        self.live, self.leaves, self.found = [first], list[_Beam](), 0

    def advance(self, scores: Scores, raw: Scores, state: State, before: int, taken: Scores) -> None:
        """One character more.

        scores  (W, V + 1) log-probability of each as it is drawn, and of ending here
        raw     (W, V) the same under the model itself
        state   (all, H) of the batch, in which this group's rows come after ``before`` others
        taken   (V + 1,) how many beams of earlier groups took each; this one's are added
        """
        parents, self.live, columns = self.live, [], len(taken)
        totals = scores + np.array([[one.log_probability] for one in parents])
        ranks = totals
        if self.search.stochastic:
            ranks = _perturbed(totals, np.array([[one.rank] for one in parents]), self.generator)
        best = _largest(ranks - self.search.diversity * taken, self.size)
        for at, total, rank in zip(best.tolist(), totals.flat[best], ranks.flat[best], strict=True):
            if rank == -np.inf:
                break
            which, id = divmod(at, columns)
            taken[id] += 1
            if id == columns - 1:
                one = parents[which].matched()
            else:
                one = parents[which].child(id, float(raw[which, id]), state, before + which)
            one.log_probability, one.rank = float(total), float(rank)
            if one.ended is None:
                self.live.append(one)
                continue
            self.found += 1
            # A copy: a leaf is kept for long, and of its state only this row.
            one.state, one.place = rows(one.state, [one.place]), 0
            if not self.search.stochastic:
                one.rank = self.search.score(one.log_probability, one.course.count)
            self.leaves.append(one)
        self.leaves.sort(key=_by_rank)
        if not self.search.stochastic:  # two stops may leave the same text
            texts: dict[tuple[int, ...], _Beam] = {}
            for one in self.leaves:
                texts.setdefault(tuple(one.drawn), one)
            self.leaves = list(texts.values())
        del self.leaves[self.size :]

    def over(self) -> bool:
        """Whether no live beam can still come to one of the leaves that are wanted."""
        if not self.live or len(self.leaves) < self.wanted:
            return not self.live
        last = self.leaves[self.wanted - 1].rank
        if self.search.stochastic:
            return max(one.rank for one in self.live) <= last
        if self.longest == math.inf and self.search.length_penalty:
            return self.found >= self.size  # any text could win yet, were it long enough
        best = max(one.log_probability for one in self.live)
        return self.search.score(best, self.longest) <= last


def _largest(scores: Scores, size: int) -> NDArray[np.intp]:
    """Where the ``size`` largest are, in the flattened array, the largest first, of equals the first."""
    flat = scores.ravel()
    if size < len(flat):  # to sort them all would take longer than a small network
        at = np.flatnonzero(flat >= np.partition(flat, -size)[-size])
    else:
        at = np.arange(len(flat))
    return at[np.argsort(-flat[at], kind="stable")][:size]


def _by_rank(one: _Beam) -> float:
    return -one.rank


def beam(
    predictor: Predictor,
    start: Cursor,
    choice: Choice,
    rules: Constraints,
    search: Search,
    count: int = 1,
    generator: np.random.Generator | None = None,
) -> Iterator[Chunk]:
    """The ``count`` best texts that go on from ``start``, as pieces whose ``row`` is the rank, best first.

    One text is told as soon as all beams agree, several are told when all are found; fewer come
    where there are no more. Of groups, the best of each come first. ``generator`` is what a
    stochastic search draws with, and its texts come in the order of drawing.
    Raises ConfigError, CheckpointError.
    """
    if 0 in (choice.temperature, choice.final_temperature):
        raise ConfigError("--beam and --temperature 0: --beam 1 is greedy; leave out one of the two")
    if not 1 <= count <= search.width:
        raise ConfigError(f"--count {count}: --beam {search.width} finds from 1 to {search.width} texts")
    if not rules.ends and (count > 1 or search.stochastic):
        raise ConfigError("--length 0: nothing ends the texts that --beam compares; give a --stop or --match")
    if search.stochastic and generator is None:
        raise ValueError("a stochastic search needs a generator")
    return _beam(predictor, start, choice, rules, search, count, generator or np.random.default_rng())


def _beam(
    predictor: Predictor,
    start: Cursor,
    choice: Choice,
    rules: Constraints,
    search: Search,
    count: int,
    generator: np.random.Generator,
) -> Iterator[Chunk]:
    first = _Beam(rules.start(start.unread), start.unread, start.state)
    if first.course.ended:
        yield Chunk(0, [], [], first.course.ended, start, 0.0)
        return
    if search.stochastic:
        first.rank = float(gumbel([generator], 1)[0, 0])
    longest = rules.length or math.inf
    wanted = min(count, search.width // search.groups)
    groups = [_Group(search, first, wanted, longest, generator) for _ in range(search.groups)]
    logits, state = after_all(predictor, [start] * search.groups)
    position = 0
    while True:
        flat = [one for group in groups for one in group.live]
        scores = _scores(flat, logits, choice, choice.temperature_at(position, rules.length))
        raw = normalised(logits.astype(np.float64))
        before, taken = 0, np.zeros(scores.shape[1])
        for group in groups:
            here = slice(before, before + len(group.live))
            if group.live:
                group.advance(scores[here], raw[here], state, before, taken)
            before = here.stop
        if all(group.over() for group in groups):  # one that is over goes on to be shied away from
            break
        flat = [one for group in groups for one in group.live]
        if count == 1:
            if rules.length == 0 and len(flat[0].drawn) > LONGEST_PENDING:
                flat = _committed(groups)
            known = [*flat, *(one for group in groups for one in group.leaves[:1])]
            if agreed := _agreed(known):
                yield Chunk(0, known[0].drawn[:agreed], known[0].scores[:agreed])
                for one in known:  # the other leaves will not be told
                    one.settle(agreed)
        ids = np.concatenate([one.unread for one in flat])
        found, state = predictor(ids[:, None], rows(state, np.array([one.place for one in flat])))
        logits = found[:, 0]
        position += 1
    best = list(_in_order(groups, distinct=not search.stochastic))[:count]
    if not best and position:  # all have died, and none of them has come to a leaf
        for one in flat:
            one.certain, one.ended = len(one.drawn), "stuck"
        best = sorted(flat, key=_by_rank)[:count]
    if not best:
        raise ConfigError(NOTHING_LEFT)
    for rank, one in enumerate(best):
        yield Chunk(rank, one.drawn, one.scores, one.ended, Cursor(one.unread, one.state), one.rank)


def _scores(beams: Sequence[_Beam], logits: Logits, choice: Choice, temperature: float) -> Scores:
    """(W, V) logits -> (W, V + 1) log-probabilities of being drawn, and of a match that ends here.

    A beam that cannot go on has -inf alone.
    """
    may = None if beams[0].course.unconstrained else np.stack([one.course.allowed_mask() for one in beams])
    alive = possible(logits, may)
    recent = np.stack([one.course.recent_mask() for one in beams]) if choice.repeat_penalty != 1 else None
    scores = np.full((len(beams), logits.shape[1] + 1), -np.inf)
    if alive.any():
        scores[alive, :-1], _, _ = choice.scores(
            logits[alive],
            None if may is None else may[alive],
            None if recent is None else recent[alive],
            temperature,
        )
    for row_scores, one in zip(scores, beams, strict=True):
        goes_on = one.course.continuation_mask
        if goes_on is not None and one.course.matches:  # to draw what does not go on with it is to end
            ending = np.append(~goes_on, False)
            row_scores[-1] = np.logaddexp.reduce(row_scores[ending], initial=-np.inf)
            row_scores[ending] = -np.inf
    return scores


def _perturbed(totals: Scores, ranks: Scores, generator: np.random.Generator) -> Scores:
    """(W, V + 1) log-probabilities of children -> theirs with Gumbel noise, given that the largest of
    each row is the parent's (W, 1). Stable as in Kool et al. 2019, appendix B.3.
    """
    noisy = totals + gumbel([generator], totals.size).reshape(totals.shape)
    largest = noisy.max(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = ranks - noisy + np.log1p(-np.exp(noisy - largest))
        found = ranks - np.maximum(gap, 0) - np.log1p(np.exp(-np.abs(gap)))
    return np.where(totals == -np.inf, -np.inf, found)


def _agreed(beams: Sequence[_Beam]) -> int:
    """How many first characters are certain, and the same in all."""
    sure = min(one.certain for one in beams)
    first = beams[0].drawn
    return next((at for at in range(sure) if any(one.drawn[at] != first[at] for one in beams)), sure)


def _committed(groups: Sequence[_Group]) -> list[_Beam]:
    """Only the beams that begin as the best of all does."""
    best = min((one for group in groups for one in group.live), key=_by_rank)
    for group in groups:
        group.live = [one for one in group.live if one.drawn[:1] == best.drawn[:1]]
        group.leaves = [one for one in group.leaves[:1] if one.drawn[:1] == best.drawn[:1]]
    return [one for group in groups for one in group.live]


def _in_order(groups: Sequence[_Group], distinct: bool) -> Iterator[_Beam]:
    """The best leaf of each group, best first, then the second of each, ..."""
    told: set[tuple[int, ...]] = set()
    for place in range(max(len(group.leaves) for group in groups)):
        for one in sorted(
            (group.leaves[place] for group in groups if place < len(group.leaves)), key=_by_rank
        ):
            text = tuple(one.drawn)
            if not distinct or text not in told:
                told.add(text)
                yield one
