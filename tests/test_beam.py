"""Beam search equals brute force on small trees, and stochastic search draws without replacement."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.config import ModelConfig
from charrnn.errors import CheckpointError, ConfigError
from charrnn.inference import beam as beams
from charrnn.inference.beam import Search, beam
from charrnn.inference.choice import NOTHING_LEFT, Choice, can_continue
from charrnn.inference.constraints import Constraints
from charrnn.inference.network import Inference, Predictor
from charrnn.inference.pattern import Pattern
from charrnn.inference.sample import Chunk, sample
from charrnn.inference.states import Cursor, read_prompt
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import random_weights
from tests.generation_oracles import Generated, Table, gathered

V, LONG = 3, 6
WIDE = V**LONG
ABC = Vocabulary("abc")
PLAIN = Choice()


class Remembers:
    """A predictor whose state is a hash of all characters read, and whose logits are sines of it."""

    def __init__(self, seed: int = 0, sharpness: float = 1.5, symbols: int = V) -> None:
        generator = np.random.default_rng(seed)
        self.waves, self.sharpness = generator.uniform(10, 100, symbols), sharpness
        self.symbols = symbols
        self.calls = 0

    def start(self, batch: int):
        return ((np.zeros((batch, 1)),),)

    def __call__(self, ids, state, trace=None):
        self.calls += 1
        read, logits = state[0][0], []
        for column in ids.T:
            read = np.mod(read * 5 + column[:, None] + 1, 999_983)
            logits.append(self.sharpness * np.sin(read * self.waves))
        return np.stack(logits, 1), ((read,),)


def net(seed: int = 0) -> Inference:
    """A network with sharp predictions, in float64."""
    config = ModelConfig(layers=2, hidden=6, embedding=4)
    weights = random_weights(config, V, seed)
    return Inference(config, {name: 2 * value.astype(np.float64) for name, value in weights.items()})


def at(predictor, *unread: int) -> Cursor:
    return Cursor(np.array(unread or (0,)), predictor.start(1))


def in_order(chunks: Iterable[Chunk]) -> list[Generated]:
    """The texts, which come one after the other, best first."""
    chunks = list(chunks)
    assert [chunk.row for chunk in chunks] == sorted(chunk.row for chunk in chunks)
    return gathered(chunks)


def search_scores(texts: Iterable[Generated]) -> list[float]:
    """The scores by which the search compared the texts."""
    assert all(text.score is not None for text in texts)
    return [text.score for text in texts if text.score is not None]


# --- all texts, by brute force


@dataclass
class Leaf:
    """A text with (``drawn``) and without its stop string."""

    drawn: tuple[int, ...]
    text: tuple[int, ...]
    log_probability: float
    ended: str
    order: int = 0

    def score(self, alpha: float) -> float:
        return self.log_probability / math.pow((5 + len(self.drawn)) / 6, alpha)


def in_words(text) -> str:
    return "".join("abc"[symbol] for symbol in text)


@dataclass
class Brute:
    """The distribution of texts, each computed from its whole string."""

    predictor: Predictor
    cursor: Cursor
    constraints: Constraints
    choice: Choice = PLAIN
    expression: str | None = None

    def __post_init__(self) -> None:
        self.texts: set[str] = set()
        if self.expression is not None:
            allowed = [True] * V if self.constraints.allowed is None else self.constraints.allowed
            letters = [letter for letter, may in zip("abc", allowed, strict=True) if may]
            for length in range(self.constraints.min_length, self.constraints.length + 1):
                for text in map("".join, itertools.product(letters, repeat=length)):
                    if re.fullmatch(self.expression, text):
                        self.texts.add(text)
        self.beginnings = {text[:size] for text in self.texts for size in range(len(text) + 1)}

    def continuation_mask(self, drawn: tuple[int, ...], symbol: int) -> bool:
        return self.expression is None or in_words((*drawn, symbol)) in self.beginnings

    def allows(self, drawn: tuple[int, ...], symbol: int) -> bool:
        constraints, longer = self.constraints, (*drawn, symbol)
        if constraints.allowed is not None and not constraints.allowed[symbol]:
            return False
        if in_words(drawn) not in self.texts and not self.continuation_mask(drawn, symbol):
            return False
        if n := constraints.no_repeat:
            grams = [longer[k : k + n] for k in range(len(longer) - n + 1)]
            if grams and grams[-1] in grams[:-1]:
                return False
        return not any(
            longer[-len(s) :] == s and len(longer) - len(s) < constraints.min_length
            for s in constraints.stops
        )

    def probabilities(self, drawn: tuple[int, ...]) -> list[float]:
        read = np.array([*self.cursor.unread, *drawn])
        logits = self.predictor(read[None], self.cursor.state)[0][0, -1]
        window = [*self.cursor.unread, *drawn][-self.constraints.window :] if self.constraints.window else []
        choice = self.choice
        weights = []
        for symbol in range(V):
            logit = float(logits[symbol]) - math.log(choice.repeat_penalty) * (symbol in window)
            temperature = choice.temperature_at(len(drawn), self.constraints.length)
            weights.append(math.exp(logit / temperature) if self.allows(drawn, symbol) else 0.0)
        if choice.top_k:
            best = sorted(range(V), key=lambda symbol: (-weights[symbol], symbol))[: choice.top_k]
            weights = [weight if symbol in best else 0.0 for symbol, weight in enumerate(weights)]
        total = sum(weights)
        return [weight / total for weight in weights] if total else weights

    def leaves(self, drawn: tuple[int, ...] = (), log_probability: float = 0.0) -> Iterator[Leaf]:
        constraints, whole = self.constraints, in_words(drawn) in self.texts
        stop = max((len(s) for s in constraints.stops if s == drawn[-len(s) :]), default=0)
        if stop:
            yield Leaf(drawn, drawn if constraints.keep_stop else drawn[:-stop], log_probability, "stop")
            return
        if whole and not any(
            self.continuation_mask(drawn, symbol) and self.allows(drawn, symbol) for symbol in range(V)
        ):
            yield Leaf(drawn, drawn, log_probability, "match")
            return
        if len(drawn) == constraints.length:
            yield Leaf(drawn, drawn, log_probability, "length")
            return
        leaves = 0.0
        for symbol, probability in enumerate(self.probabilities(drawn)):
            if probability and not self.continuation_mask(drawn, symbol):
                leaves += probability
            elif probability:
                yield from self.leaves((*drawn, symbol), log_probability + math.log(probability))
        if leaves:
            yield Leaf(drawn, drawn, log_probability + math.log(leaves), "match")

    def best(self, alpha: float = 0.0) -> list[Leaf]:
        """Each text once, best first."""
        ranked = sorted(self.leaves(), key=lambda leaf: -leaf.score(alpha))
        seen: dict[tuple[int, ...], Leaf] = {}
        for leaf in ranked:
            seen.setdefault(leaf.text, leaf)
        return list(seen.values())


def same(result: list[Generated], expected: list[Leaf], alpha: float) -> None:
    assert [one.ids for one in result] == [leaf.text for leaf in expected]
    assert [one.ended for one in result] == [leaf.ended for leaf in expected]
    np.testing.assert_allclose(search_scores(result), [leaf.score(alpha) for leaf in expected], rtol=1e-9)


def exact(
    predictor, constraints: Constraints, choice: Choice = PLAIN, expression=None, alpha=0.6, count=20
) -> None:
    """A wide beam finds what brute force finds, in the same order."""
    cursor = at(predictor)
    expected = Brute(predictor, cursor, constraints, choice, expression).best(alpha)
    if not expected:
        search = beam(predictor, cursor, choice, constraints, Search(WIDE, length_penalty=alpha), count)
        if can_continue(
            read_prompt(predictor, cursor)[0], constraints.start(cursor.unread).allowed_mask()
        ).any():
            assert {one.ended for one in in_order(search)} == {"stuck"}
        else:
            with pytest.raises(ConfigError, match="no character is left"):
                in_order(search)
        return
    result = in_order(beam(predictor, cursor, choice, constraints, Search(WIDE, length_penalty=alpha), count))
    same(result, expected[:count], alpha)


predictors = pytest.mark.parametrize("predictor", [Remembers(1), net(1)], ids=["remembers", "network"])
NONE_B = np.array([True, False, True])
STOPS = {
    "one": ((2,),),
    "two letters": ((0, 1),),
    "overlapping": ((0, 0, 1), (0, 1), (1, 1, 1)),
    "the same text by two stops": ((1,), (2,)),
    "one ends in the other": ((2,), (1, 2)),
}
EXPRESSIONS = ["a(b|c)*a", "(ab|b)*c?", "[abc]*", "a?", "(a|bb)+", "abcabc", ".*aa.*"]


@predictors
@pytest.mark.parametrize("length", range(1, LONG + 1))
def test_of_one_length_it_is_brute_force(predictor, length: int) -> None:
    exact(predictor, Constraints(V, length), count=V**length)


@pytest.mark.slow
@predictors
@pytest.mark.parametrize("alpha", [0, 0.3, 0.6, 1, 2])
@pytest.mark.parametrize("stops", STOPS.values(), ids=STOPS)
def test_with_stop_strings_it_is_brute_force(predictor, stops, alpha: float) -> None:
    for keep in (False, True):
        exact(predictor, Constraints(V, LONG, stops=stops, keep_stop=keep), alpha=alpha)
        exact(predictor, Constraints(V, LONG, 3, stops=stops, keep_stop=keep), alpha=alpha, count=1)


@pytest.mark.slow
@predictors
@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("alpha", [0, 0.6])
def test_with_a_match_it_is_brute_force(predictor, expression: str, alpha: float) -> None:
    for min_length, allowed in ((0, None), (0, NONE_B), (2, None)):
        if (expression, min_length) == ("a?", 2) or (expression == "abcabc" and allowed is not None):
            continue  # no text matches
        pattern = Pattern(expression, ABC, allowed, min_length, LONG)
        constraints = Constraints(V, LONG, min_length, allowed, pattern=pattern)
        exact(predictor, constraints, expression=expression, alpha=alpha)


@predictors
def test_with_constraints_and_choice_together_it_is_brute_force(predictor) -> None:
    choice = Choice(0.7, top_k=2, repeat_penalty=1.5, final_temperature=1.4)
    pattern = Pattern("[ab]*c?[ab]*", ABC, None, 2, LONG)
    constraints = Constraints(V, LONG, 2, stops=((0, 0),), no_repeat=3, window=2, pattern=pattern)
    exact(predictor, constraints, choice, "[ab]*c?[ab]*")


@pytest.mark.slow
@settings(max_examples=300)
@given(
    seed=st.integers(0, 10**6),
    length=st.integers(1, LONG),
    min_length=st.integers(0, 3),
    allowed=st.sampled_from([None, NONE_B, np.array([True, True, False])]),
    stops=st.sampled_from([(), *STOPS.values()]),
    keep_stop=st.booleans(),
    no_repeat=st.integers(0, 3),
    window=st.integers(0, 3),
    expression=st.sampled_from([None, None, "[ac]*", "a(b|c)*", ".*c"]),
    alpha=st.sampled_from([0, 0.6, 1.5]),
    choice=st.builds(
        Choice,
        temperature=st.floats(0.3, 3),
        top_k=st.integers(0, 3),
        repeat_penalty=st.sampled_from([1.0, 0.5, 3.0]),
        final_temperature=st.none() | st.floats(0.3, 3),
    ),
    count=st.integers(1, 30),
)
def test_with_any_constraints_and_choice_it_is_brute_force(
    seed, length, min_length, allowed, stops, keep_stop, no_repeat, window, expression, alpha, choice, count
) -> None:
    min_length = min(min_length, length)
    try:
        pattern = expression and Pattern(expression, ABC, allowed, min_length, length)
    except ConfigError:
        return  # no text matches
    constraints = Constraints(
        V, length, min_length, allowed, stops, keep_stop, no_repeat, window, pattern or None
    )
    exact(Remembers(seed), constraints, choice, expression, alpha, count)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("width", [4, 100])
def test_among_equals_the_lower_row_comes_first_and_then_the_lower_id(width: int, groups: int) -> None:
    uniform = Table(np.zeros((V, V)))
    search = Search(width * groups, groups, diversity=0)
    result = in_order(beam(uniform, at(uniform), PLAIN, Constraints(V, 5), search, width))
    assert [one.ids for one in result] == list(itertools.product(range(V), repeat=5))[:width]


# --- greedy

GREEDY = {
    "plain": {},
    "stops": {"stops": ((1, 2), (0, 0))},
    "stops kept": {"stops": ((1, 2), (0, 0)), "keep_stop": True},
    "no repeat": {"no_repeat": 3},
    "bans": {"allowed": NONE_B},
    "window": {"window": 3},
}


@predictors
@pytest.mark.parametrize("constraints", GREEDY.values(), ids=GREEDY)
def test_a_greedy_run_is_a_beam_of_width_1(predictor, constraints: dict) -> None:
    for seed in range(5):
        cursor, rule = at(predictor, seed % V, seed // V), Constraints(V, 12, **constraints)
        choices = [Choice(temperature, repeat_penalty=2.0 if rule.window else 1.0) for temperature in (0, 1)]
        drawn = outcome(
            sample(predictor, [cursor], choices[0], rule, [np.random.default_rng(0)], scored=True)
        )
        assert outcome(beam(predictor, cursor, choices[1], rule, Search(1))) == drawn


def outcome(chunks):
    """The one text, or the message that no character is left."""
    try:
        (one,) = in_order(chunks)
    except ConfigError as error:
        return str(error)
    return one.ids, [round(score, 9) for score in one.scores], one.ended


@predictors
@pytest.mark.parametrize("expression", ["(a|b)*c", "(ab|c)+bb", "[ac]{3,5}b"])
def test_a_greedy_match_is_a_beam_of_width_1(predictor, expression: str) -> None:
    for seed in range(5):
        constraints = Constraints(V, 9, pattern=Pattern(expression, ABC, None, 0, 9))
        cursor = at(predictor, seed % V, seed // V)
        drawn = outcome(
            sample(predictor, [cursor], Choice(0), constraints, [np.random.default_rng(0)], scored=True)
        )
        assert outcome(beam(predictor, cursor, PLAIN, constraints, Search(1))) == drawn


def test_ending_a_match_is_one_choice_however_many_characters_end_it() -> None:
    likely = Table(np.log([[0.4, 0.3, 0.3]] * V))
    constraints = Constraints(V, 5, pattern=Pattern("a+", ABC, None, 0, 5))
    (drawn,) = in_order(sample(likely, [at(likely)], Choice(0), constraints, [np.random.default_rng(0)]))
    (result,) = in_order(beam(likely, at(likely), PLAIN, constraints, Search(1, length_penalty=0)))
    assert (in_words(drawn.ids), in_words(result.ids)) == ("aaaaa", "a")
    assert result.score == pytest.approx(math.log(0.6))


# --- groups


def diverse(
    predictor, cursor: Cursor, length: int, stops, search: Search, count: int
) -> list[tuple[tuple[int, ...], float]]:
    """Vijayakumar et al. 2018, algorithm 1, on strings: each group penalises what the groups before it took.

    The best of each group come first.
    """
    size = search.width // search.groups
    live: list[dict[tuple[int, ...], float]] = [{(): 0.0} for _ in range(search.groups)]
    leaves: list[dict[tuple[int, ...], tuple[float, float]]] = [{} for _ in range(search.groups)]
    for step in range(length):
        taken: Counter[int] = Counter()
        for group in range(search.groups):
            candidates: list[tuple[tuple[int, ...], float]] = []
            for text, total in live[group].items():
                read = np.array([[*cursor.unread, *text]])
                logits = predictor(read, cursor.state)[0][0, -1]
                logs = logits - math.log(sum(math.exp(value) for value in logits))
                candidates += [((*text, symbol), total + logs[symbol]) for symbol in range(V)]
            candidates.sort(key=lambda one: -(one[1] - search.diversity * taken[one[0][-1]]))
            live[group] = {}
            for text, total in candidates[:size]:
                taken[text[-1]] += 1
                stop = max((len(s) for s in stops if s == text[-len(s) :]), default=0)
                if stop or step == length - 1:
                    kept = text[: len(text) - stop]
                    score = total / ((5 + len(text)) / 6) ** search.length_penalty
                    leaves[group][kept] = max(leaves[group].get(kept, (-math.inf, 0)), (score, -step))
                else:
                    live[group][text] = total
    ranked = [sorted(result.items(), key=lambda one: (-one[1][0], -one[1][1]))[:size] for result in leaves]
    result: dict[tuple[int, ...], float] = {}
    for place in range(max(map(len, ranked))):
        for text, (score, _) in sorted(
            (r[place] for r in ranked if place < len(r)), key=lambda one: -one[1][0]
        ):
            result.setdefault(text, score)
    return list(result.items())[:count]


@pytest.mark.slow
@predictors
@pytest.mark.parametrize("stops", [(), ((2,),), ((1,), (2,)), ((0, 1), (2, 2))])
@pytest.mark.parametrize("diversity", [0, 0.5, 3])
@pytest.mark.parametrize(("width", "groups"), [(2, 2), (6, 2), (6, 3), (6, 6), (8, 4)])
def test_groups_are_those_of_vijayakumar_et_al(predictor, stops, diversity, width, groups) -> None:
    cursor, search = at(predictor), Search(width, groups, diversity)
    for length, count in ((4, 1), (5, search.width), (6, search.groups)):
        result = in_order(beam(predictor, cursor, PLAIN, Constraints(V, length, stops=stops), search, count))
        expected = diverse(predictor, cursor, length, stops, search, count)
        assert [one.ids for one in result] == [text for text, _ in expected]
        np.testing.assert_allclose(search_scores(result), [score for _, score in expected])
        assert len({one.ids for one in result}) == len(result)


@predictors
def test_one_group_is_a_plain_beam(predictor) -> None:
    constraints = Constraints(V, 8, stops=((2, 2),))
    one = in_order(beam(predictor, at(predictor), PLAIN, constraints, Search(5, 1, diversity=7), 5))
    plain = in_order(beam(predictor, at(predictor), PLAIN, constraints, Search(5, 1, diversity=0), 5))
    assert [(a.ids, a.score) for a in one] == [(b.ids, b.score) for b in plain]


@predictors
def test_groups_of_a_large_diversity_differ_from_the_first_character_on(predictor) -> None:
    result = in_order(
        beam(predictor, at(predictor), PLAIN, Constraints(V, 5), Search(3, 3, diversity=100), 3)
    )
    assert {one.ids[0] for one in result} == {0, 1, 2}


# --- without replacement


def ordered(probabilities: list[float], size: int) -> dict[tuple[int, ...], float]:
    """The probability of each ordered draw of ``size``, one after the other, nothing put back."""
    result = {}
    for order in itertools.permutations(range(len(probabilities)), min(size, len(probabilities))):
        probability, rest = 1.0, 1.0
        for k in order:
            probability *= probabilities[k] / rest
            rest -= probabilities[k]
        result[order] = probability
    return result


def far(observed: Counter, expected: dict, total: int) -> float:
    """By how many standard deviations chi-square is above its mean; cells of few are taken together."""
    assert set(observed) <= set(expected)
    few = {cell for cell, probability in expected.items() if probability * total < 5}
    cells = [(observed[cell], expected[cell] * total) for cell in expected if cell not in few]
    if few:
        cells.append((sum(observed[cell] for cell in few), sum(expected[cell] for cell in few) * total))
    square = sum((o - e) ** 2 / e for o, e in cells)
    return float(square - (len(cells) - 1)) / math.sqrt(2 * (len(cells) - 1))


def matched(length: int) -> Constraints:
    return Constraints(V, length, pattern=Pattern("a*(b|cc)?a*", ABC, None, 0, length))


WITHOUT_REPLACEMENT = {
    "2 of 9": (2, Constraints(V, 2), None),
    "3 of 9": (3, Constraints(V, 2), None),
    "2 of 27": (2, Constraints(V, 3), None),
    "5 of 3": (5, Constraints(V, 1), None),
    "stops": (3, Constraints(V, 3, stops=((2,), (0, 1))), None),
    "stops of one text": (2, Constraints(V, 3, stops=((1,), (2,))), None),
    "match": (2, matched(3), "a*(b|cc)?a*"),
    "no repeat": (2, Constraints(V, 3, no_repeat=1), None),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "constraints", "expression"), WITHOUT_REPLACEMENT.values(), ids=WITHOUT_REPLACEMENT
)
def test_a_stochastic_beam_samples_without_replacement(width, constraints, expression) -> None:
    predictor, choice, total = Remembers(3, 0.8), Choice(1.3), 2500
    cursor, generator = at(predictor), np.random.default_rng(0)
    leaves = list(Brute(predictor, cursor, constraints, choice, expression).leaves())
    number = {leaf.drawn: k for k, leaf in enumerate(leaves)}
    draws = Counter[tuple[int, ...]]()
    search = Search(width, stochastic=True)
    for _ in range(total):
        result = in_order(beam(predictor, cursor, choice, constraints, search, width, generator))
        assert search_scores(result) == sorted(search_scores(result), reverse=True)
        # The draw includes a stop string that the text does not keep.
        draws[tuple(number[drawn(one, constraints)] for one in result)] += 1
    theory = ordered([math.exp(leaf.log_probability) for leaf in leaves], width)
    assert sum(theory.values()) == pytest.approx(1)
    assert far(draws, theory, total) < 4
    kept: dict[frozenset[int], float] = defaultdict(float)
    first: dict[int, float] = defaultdict(float)
    inclusion: dict[int, float] = defaultdict(float)
    for order, probability in theory.items():
        kept[frozenset(order)] += probability
        first[order[0]] += probability
        for k in order:
            inclusion[k] += probability
    sets, firsts, seen = Counter[frozenset[int]](), Counter[int](), Counter[int]()
    for order, times in draws.items():
        sets[frozenset(order)] += times
        firsts[order[0]] += times
        for k in order:
            seen[k] += times
    assert far(firsts, first, total) < 4
    assert len(kept) == 1 or far(sets, kept, total) < 4
    for k, probability in inclusion.items():
        deviation = math.sqrt(total * probability * max(0, 1 - probability))
        assert abs(seen[k] - total * probability) <= 4.5 * deviation + 1e-6


def drawn(one: Generated, constraints: Constraints) -> tuple[int, ...]:
    """The characters of a text and those of its stop, as its end shows them."""
    if one.ended != "stop":
        return one.ids
    last = int(one.end.unread[-1])
    return next((*one.ids, *stop) for stop in constraints.stops if stop[-1] == last)


@predictors
def test_wide_enough_a_stochastic_beam_finds_every_text_once(predictor) -> None:
    constraints = Constraints(V, 4, stops=((2, 2),), keep_stop=True)
    search = Search(100, stochastic=True)
    result = in_order(
        beam(predictor, at(predictor), PLAIN, constraints, search, 100, np.random.default_rng(0))
    )
    expected = {leaf.text for leaf in Brute(predictor, at(predictor), constraints).leaves()}
    assert {one.ids for one in result} == expected
    assert len(result) == len(expected)


@predictors
def test_a_stochastic_beam_depends_on_its_generator_only(predictor) -> None:
    def drawn(seed: int, count: int = 4) -> list[tuple[int, ...]]:
        generator, search = np.random.default_rng(seed), Search(4, stochastic=True)
        constraints = Constraints(V, 9, stops=((1, 1),))
        return [
            one.ids
            for one in in_order(beam(predictor, at(predictor), PLAIN, constraints, search, count, generator))
        ]

    assert drawn(1) == drawn(1) != drawn(2)
    assert all(drawn(seed, count) == drawn(seed)[:count] for seed in range(10) for count in (1, 2, 3))


# --- streaming

SEARCHES = {
    "plain": Search(6),
    "wide": Search(50),
    "groups": Search(6, 3),
    "diverse groups": Search(6, 3, 3.0),
    "stochastic": Search(6, stochastic=True),
    "alpha 0": Search(6, length_penalty=0),
}
CONSTRAINTS = {
    "length": Constraints(V, 14),
    "stops": Constraints(V, 14, stops=((1, 2), (0, 0, 1))),
    "stops of one letter": Constraints(V, 14, stops=((1,), (2,))),
    "no repeat": Constraints(V, 14, no_repeat=3),
    "match": Constraints(V, 14, pattern=Pattern("(a|bc?)*(cc)?", ABC, None, 0, 14)),
}
searches = pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
rulings = pytest.mark.parametrize("constraints", CONSTRAINTS.values(), ids=CONSTRAINTS)


def searched(
    predictor, constraints: Constraints, search: Search, count: int, seed: int = 0
) -> list[Generated]:
    cursor, generator = at(predictor), np.random.default_rng(seed)
    return in_order(beam(predictor, cursor, PLAIN, constraints, search, count, generator))


@pytest.mark.slow
@searches
@rulings
def test_one_text_streamed_is_the_best_of_several(constraints: Constraints, search: Search) -> None:
    for seed in range(12):
        predictor = Remembers(seed)
        (one,) = searched(predictor, constraints, search, 1, seed)
        best = searched(predictor, constraints, search, 2, seed)[0]
        assert (one.ids, one.ended) == (best.ids, best.ended)
        assert search_scores([one]) == pytest.approx(search_scores([best]))
        assert one.scores == pytest.approx(best.scores)
        np.testing.assert_equal(one.end, best.end)


@pytest.mark.slow
@searches
@rulings
def test_to_stop_early_changes_nothing(constraints: Constraints, search: Search, monkeypatch) -> None:
    for seed in range(12):
        predictor = Remembers(seed)
        for count in (1, 2, 6):
            early, calls = searched(predictor, constraints, search, count, seed), predictor.calls
            with monkeypatch.context() as patch:
                patch.setattr(beams._Group, "is_over", lambda group, wanted, longest: not group.live)
                late = searched(predictor, constraints, search, count, seed)
            assert predictor.calls - calls >= calls
            predictor.calls = 0
            assert [text.ids for text in early] == [text.ids for text in late]
            assert search_scores(early) == pytest.approx(search_scores(late))


def test_a_search_with_stops_stops_early() -> None:
    certain = Table(np.log([[0.01, 0.98, 0.01], [0.01, 0.01, 0.98], [0.98, 0.01, 0.01]]))
    calls = Counting(certain)
    (result,) = searched(calls, Constraints(V, 1000, stops=((1, 2),)), Search(4, length_penalty=0), 1)
    assert (in_words(result.ids), calls.calls) == ("", 2)


class Counting:
    """A predictor that counts its calls, and records the largest batch."""

    def __init__(self, predictor) -> None:
        self.predictor, self.calls, self.widest = predictor, 0, 0
        self.start, self.symbols = predictor.start, predictor.symbols

    def __call__(self, ids, state, trace=None):
        self.calls, self.widest = self.calls + 1, max(self.widest, len(ids))
        return self.predictor(ids, state)


class Path:
    """A predictor of abcabc...; after any other character its predictions are uniform."""

    symbols = V

    def start(self, batch: int):
        return ((np.zeros((batch, 1)), np.zeros((batch, 1))),)

    def __call__(self, ids, state, trace=None):
        ((last, lost),) = state
        lost = np.maximum(lost, ids != (last + 1) % V)
        on = np.log(np.where(np.arange(V) == (ids + 1) % V, 0.8, 0.1))
        return np.where(lost, 0.0, on)[:, None], ((ids, lost),)


@pytest.mark.parametrize("search", [Search(8), Search(8, 2, 0.1)])
def test_the_characters_that_all_beams_agree_on_come_at_once(search: Search) -> None:
    predictor, text = Counting(Path()), ""
    for chunk in beam(predictor, at(predictor, 1), PLAIN, Constraints(V, 200), search):
        text += in_words(chunk.ids)
        assert predictor.calls - len(text) <= 8
    assert text == ("cab" * 67)[:200]


@pytest.mark.slow
@pytest.mark.parametrize("search", [Search(1), Search(8), Search(6, 3)])
def test_an_endless_search_keeps_a_bounded_number_of_characters(search: Search, monkeypatch) -> None:
    monkeypatch.setattr(beams, "MAX_PENDING", 10)
    predictor, count = Remembers(5), 0
    for chunk in beam(predictor, at(predictor), PLAIN, Constraints(V), search):
        count += len(chunk.ids)
        assert predictor.calls - count <= 10 + 2
        if count > 2000:
            break


def test_between_beams_that_never_agree_the_best_decides(monkeypatch) -> None:
    monkeypatch.setattr(beams, "MAX_PENDING", 10)
    lasting = Table(np.log([[0.5, 0.2, 0.3], [1e-9, 1, 1e-9], [1e-9, 1e-9, 1]]))
    lasting.table[0, 0] = -np.inf  # from a to b or to c, and there it stays
    calls, text = Counting(lasting), []
    for chunk in beam(calls, at(calls), PLAIN, Constraints(V), Search(2)):
        text += chunk.ids
        if len(text) > 50:
            break
    assert set(text) == {2}
    assert calls.calls - len(text) <= 12


def test_the_beginning_of_a_stop_is_withheld_until_it_does_not_become_one() -> None:
    always = Table(np.where(np.roll(np.eye(V), 1, 1) > 0, 0.0, -np.inf))  # bcabca...
    chunks = beam(always, at(always), PLAIN, Constraints(V, 8, stops=((1, 2, 1),)), Search(2))
    assert [chunk.ids for chunk in chunks] == [[1, 2, 0], [1, 2, 0], [1, 2]]


def test_length_0_with_a_stop_and_alpha_0_is_brute_force() -> None:
    predictor = Remembers(2)
    cursor, stops = at(predictor), ((0,), (1, 1))
    expected = Brute(predictor, cursor, Constraints(V, 9, stops=stops)).best()
    short = [leaf for leaf in expected if leaf.ended == "stop"]
    longest = max(leaf.log_probability for leaf in expected if leaf.ended == "length")
    count = sum(leaf.log_probability > longest for leaf in short)
    assert count > 3
    search = Search(WIDE, length_penalty=0)
    same(
        in_order(beam(predictor, cursor, PLAIN, Constraints(V, stops=stops), search, count)), short[:count], 0
    )


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize(
    "search", [Search(4), Search(4, 2), Search(4, stochastic=True), Search(4, length_penalty=0)]
)
def test_length_0_ends_with_its_stops(search: Search, count: int) -> None:
    predictor = Remembers(2)
    result = searched(predictor, Constraints(V, stops=((0, 1), (2, 2))), search, count)
    assert len({one.ids for one in result}) == len(result)
    assert 1 <= len(result) <= count  # groups may find the same
    assert search.groups > 1 or len(result) == count
    assert {one.ended for one in result} == {"stop"}


# --- scores and ends


def is_the_models(result: list[Generated], predictor, cursor: Cursor, constraints: Constraints) -> None:
    """The scores are those of the text read at once, and its end continues it."""
    read = cursor.unread.tolist()
    for one in result:
        logits = predictor(np.array([[*read, *one.ids]]), cursor.state)[0][0, len(read) - 1 :]
        logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        assert one.scores == pytest.approx([logs[k, symbol] for k, symbol in enumerate(one.ids)], abs=1e-9)
        assert len(one.end.unread) == 1
        assert all(part.shape[0] == 1 for carry in one.end.state for part in carry)
        expected: np.ndarray = predictor(np.array([[*read, *drawn(one, constraints)]]), cursor.state)[0][
            :, -1
        ]
        np.testing.assert_allclose(read_prompt(predictor, one.end)[0], expected, atol=1e-9)


@pytest.mark.slow
@predictors
@searches
@rulings
@pytest.mark.parametrize("count", [1, 3])
def test_scores_are_the_models_own_and_the_end_continues_the_text(
    predictor, search, constraints, count
) -> None:
    cursor, choice = at(predictor, 1, 0, 2), Choice(0.7, top_k=2)
    result = in_order(beam(predictor, cursor, choice, constraints, search, count, np.random.default_rng(0)))
    is_the_models(result, predictor, cursor, constraints)


@pytest.mark.slow
@pytest.mark.parametrize("search", [*SEARCHES.values(), Search(20)], ids=[*SEARCHES, "20"])
def test_a_search_limited_in_pending_characters_returns_one_consistent_text(
    search: Search, monkeypatch
) -> None:
    monkeypatch.setattr(beams, "MAX_PENDING", 3)
    constraints = Constraints(V, stops=((0, 0), (1, 2)))
    for seed in range(60):
        predictor = Remembers(seed, sharpness=0.7)
        result = searched(predictor, constraints, search, 1, seed)
        is_the_models(result, predictor, at(predictor), constraints)
        assert result[0].ended == "stop"


@predictors
def test_an_unread_prompt_is_read_and_is_no_part_of_the_text(predictor) -> None:
    constraints, prompt = Constraints(V, 5), (1, 2, 0, 1)
    _, state = read_prompt(predictor, at(predictor, *prompt[:-1]))
    whole = in_order(beam(predictor, at(predictor, *prompt), PLAIN, constraints, Search(4), 4))
    later = in_order(beam(predictor, Cursor(np.array(prompt[-1:]), state), PLAIN, constraints, Search(4), 4))
    assert [one.ids for one in whole] == [one.ids for one in later]
    assert search_scores(whole) == pytest.approx(search_scores(later))


def test_the_empty_text_is_the_only_match_of_an_empty_expression() -> None:
    predictor = Remembers()
    constraints = Constraints(V, 5, pattern=Pattern("", ABC, None, 0, 5))
    (result,) = searched(predictor, constraints, Search(3), 3)
    assert (result.ids, result.ended, result.score, predictor.calls) == ((), "match", 0.0, 0)


# --- few texts, and none


def test_fewer_texts_come_where_there_are_no_more() -> None:
    predictor = Remembers()
    for search in (Search(50), Search(50, 2), Search(50, stochastic=True)):
        assert len(searched(predictor, Constraints(V, 2), search, 50)) == 9


def test_texts_that_differ_by_their_stop_alone_are_one() -> None:
    uniform = Table(np.zeros((V, V)))
    result = searched(uniform, Constraints(V, 2, stops=((1,), (2,))), Search(9, length_penalty=0), 3)
    assert [in_words(one.ids) for one in result] == ["", "aa", "a"]


def test_beams_without_an_allowed_character_end_and_the_others_continue() -> None:
    """Of three letters and no pair twice, some texts of 9 are stuck before their end."""
    constraints, predictor = Constraints(V, 9, no_repeat=2), Remembers(1)
    expected = Brute(predictor, at(predictor), constraints).best()
    assert 0 < len(expected) < V**9
    for search in (Search(3**7), Search(40), Search(20, 4), Search(20, stochastic=True)):
        result = searched(predictor, constraints, search, min(5, search.width))
        assert {one.ids for one in result} <= {leaf.text for leaf in expected}
    same(searched(predictor, constraints, Search(4096, length_penalty=0), 20), expected[:20], 0)


@searches
def test_if_no_beam_can_continue_the_best_are_returned_as_stuck(search: Search) -> None:
    for count in (1, 2):
        for one in searched(Remembers(), Constraints(V, 6, no_repeat=1), search, count):
            assert (sorted(one.ids), one.ended) == ([0, 1, 2], "stuck")
            assert all(len(part) == 1 for layer in one.end.state for part in layer)


@searches
def test_a_first_character_that_cannot_be_chosen_is_an_error(search: Search) -> None:
    nothing = Table([[-np.inf, 0, 0]] * V)
    with pytest.raises(ConfigError, match=re.escape(NOTHING_LEFT)):
        searched(nothing, Constraints(V, 6, allowed=np.array([True, False, False])), search, 1)


def test_a_beam_wider_than_all_texts_asks_for_no_more_than_there_are() -> None:
    calls = Counting(Remembers())
    searched(calls, Constraints(V, 3), Search(4096), 4096)
    assert (calls.calls, calls.widest) == (3, 9)


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"width": 0}, "--beam 0"),
        ({"width": -3}, "--beam -3"),
        ({"width": 5000}, "--beam 5000"),
        ({"width": 6, "groups": 4}, "--diverse 4"),
        ({"width": 6, "groups": 0}, "--diverse 0"),
        ({"width": 6, "groups": 12}, "--diverse 12"),
        ({"width": 6, "groups": 3, "diversity": -1.0}, "--diversity -1"),
        ({"width": 6, "groups": 3, "diversity": math.nan}, "--diversity nan"),
        ({"width": 6, "length_penalty": -1.0}, "--length-penalty -1"),
        ({"width": 6, "length_penalty": math.inf}, "--length-penalty inf"),
        ({"width": 6, "groups": 3, "stochastic": True}, "--stochastic and --diverse"),
    ],
)
def test_an_error_in_a_search_names_the_option(settings: dict, option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        Search(**settings)


@pytest.mark.parametrize(
    ("choice", "constraints", "count", "option"),
    [
        (Choice(0), Constraints(V, 5), 1, "--temperature 0"),
        (Choice(0.5, final_temperature=0), Constraints(V, 5), 1, "--temperature 0"),
        (PLAIN, Constraints(V, 5), 0, "--count 0"),
        (PLAIN, Constraints(V, 5), 7, "--count 7"),
        (PLAIN, Constraints(V), 2, "--length 0"),
    ],
)
def test_a_wrong_option_is_an_error_before_anything_is_read(choice, constraints, count, option) -> None:
    predictor = Remembers()
    with pytest.raises(ConfigError, match=option):
        beam(predictor, at(predictor), choice, constraints, Search(6), count)
    assert predictor.calls == 0


def test_an_endless_stochastic_search_is_refused() -> None:
    predictor = Remembers()
    with pytest.raises(ConfigError, match="--length 0"):
        beam(
            predictor,
            at(predictor),
            PLAIN,
            Constraints(V),
            Search(2, stochastic=True),
            1,
            np.random.default_rng(),
        )


@pytest.mark.parametrize("damage", [np.nan, np.inf, -np.inf])
def test_damaged_weights_are_an_error(damage: float) -> None:
    table = np.zeros((V, V))
    table[1] = damage
    predictor = Table(table)
    with pytest.raises(CheckpointError, match="damaged"):
        searched(predictor, Constraints(V, 6), Search(2), 1)
