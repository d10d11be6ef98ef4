"""The laws of drawing texts, on predictors of a few lines and on networks with random weights."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import ModelConfig
from charrnn.errors import CheckpointError, ConfigError
from charrnn.inference.choice import Choice, normalised
from charrnn.inference.constraints import Constraints
from charrnn.inference.network import CHUNK, Inference, Predictor
from charrnn.inference.pattern import Pattern
from charrnn.inference.sample import choose_seed, generator, opening_ids, sample, sample_ids
from charrnn.inference.states import Cursor
from charrnn.inference.streams import after, after_all
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import random_weights


class Bigram:
    """Draws by a table: row i holds the logits of what follows i. Its state counts what it has read."""

    def __init__(self, table: np.ndarray) -> None:
        self.table = table

    def start(self, batch: int):
        return ((np.zeros((batch, 1)),),)

    def __call__(self, ids, state, trace=None):
        return self.table[ids], ((state[0][0] + ids.shape[1],),)


V = 5
NEXT = Bigram(np.where(np.roll(np.eye(V), 1, axis=1) > 0, 0.0, -np.inf))  # always the next letter
UNIFORM = Bigram(np.zeros((V, V)))
LETTERS = Vocabulary("abcde")


@dataclass
class Told:
    """All that was told of one text."""

    ids: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    ended: str | None = None
    then: Cursor | None = None


def drawn(
    predictor: Predictor,
    starts: Sequence[Cursor],
    choice: Choice | None = None,
    rules: Constraints | None = None,
    which: Sequence[int] | None = None,
    seed: int = 0,
    scored: bool = False,
) -> dict[int, Told]:
    """The texts of these indices, drawn as one batch."""
    which = range(len(starts)) if which is None else which
    found = {k: Told() for k in which}
    generators = [generator(seed, k) for k in which]
    rules = rules or Constraints(V, 20)
    for piece in sample(predictor, [starts[k] for k in which], choice or Choice(), rules, generators, scored):
        told = found[which[piece.row]]
        assert told.ended is None
        told.ids += piece.ids
        told.scores += piece.scores
        told.ended, told.end = piece.ended, piece.end
    return found


def text_of(predictor: Predictor, prompt: list[int], *settings, **others) -> list[int]:
    return drawn(predictor, [Cursor(np.array(prompt), predictor.start(1))], *settings, **others)[0].ids


def network(cell: str, layers: int, hidden: int, symbols: int = V, seed: int = 0) -> Inference:
    config = ModelConfig(cell, layers, hidden, 4)
    return Inference(config, random_weights(config, symbols, seed))


def tied(symbols: int = V) -> Inference:
    """A network in which every symbol stands on a par with another, but for rounding."""
    config = ModelConfig("lstm", 1, 16, 4)
    weights = random_weights(config, symbols)
    half = symbols // 2
    for name in ("readout.weight", "readout.bias"):
        weights[name][half : 2 * half] = weights[name][:half] * np.float32(1 + 1e-7)
    return Inference(config, weights)


NETWORKS = {
    "small": network("lstm", 2, 6),
    "wide": network("gru", 1, 16),
    "parallel": network("mingru", 2, 32),
    "chaotic": network("lstm", 2, 64),
    "chaotic rnn": network("rnn", 1, 48),
    "tied": tied(),
}

CHOICES = [
    Choice(),
    Choice(0),
    Choice(0.5),
    Choice(1e-9),
    Choice(top_k=2),
    Choice(0.7, top_p=0.8),
    Choice(min_p=0.2),
    Choice(typical=0.6),
    Choice(repeat_penalty=1.5),
    Choice(0.3, final_temperature=1.2),
    Choice(0.9, 4, 0.9, 0.05, 0.9, 1.2),
]

RULES = [
    Constraints(V, 25),
    Constraints(V, 25, stops=((0, 1), (2,)), least=4),
    Constraints(V, 25, stops=((3, 3),), keep_stop=True, window=4),
    Constraints(V, 25, allowed=np.array([True, False, True, True, False]), window=2),
    Constraints(V, 8, no_repeat=2),
    Constraints(V, 12, pattern=Pattern("([ab]+c)+|[de]{0,3}", LETTERS, None, 0, 12)),
    Constraints(V, 12, pattern=Pattern(".{2,6}[abc]", LETTERS, None, 0, 12), stops=((1, 0),), window=3),
]


def starts_of(predictor: Predictor, count: int, unequal: bool = True) -> list[Cursor]:
    generator = np.random.default_rng(9)
    lengths = generator.integers(1, 12, count) if unequal else [3] * count
    return [Cursor(generator.integers(0, V, length), predictor.start(1)) for length in lengths]


def equal(one: Told, other: Told) -> None:
    assert (one.ids, one.ended) == (other.ids, other.ended)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)
    assert one.end is not None
    assert other.end is not None
    assert one.end.unread.tolist() == other.end.unread.tolist()
    for carry, its in zip(one.end.state, other.end.state, strict=True):
        np.testing.assert_allclose(carry, its, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("at", range(len(CHOICES)))
def test_each_text_of_a_batch_is_the_one_drawn_alone(name: str, at: int) -> None:
    predictor, choice = NETWORKS[name], CHOICES[at]
    starts = starts_of(predictor, 17)
    rules = RULES[0] if at % 2 else RULES[3]
    together = drawn(predictor, starts, choice, rules, scored=True)
    for k in range(0, 17, 4):
        equal(together[k], drawn(predictor, starts, choice, rules, [k], scored=True)[k])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rules", RULES)
def test_each_text_is_the_one_drawn_alone_under_every_rule(name: str, rules: Constraints) -> None:
    predictor, choice = NETWORKS[name], Choice(1.2, repeat_penalty=1.1)
    starts = starts_of(predictor, 17)
    together = drawn(predictor, starts, choice, rules, scored=True)
    for k in range(1, 17, 4):
        equal(together[k], drawn(predictor, starts, choice, rules, [k], scored=True)[k])


@given(st.data(), st.sampled_from(sorted(NETWORKS)), st.sampled_from(CHOICES), st.sampled_from(RULES))
def test_a_text_is_the_same_in_any_company(data, name: str, choice: Choice, rules: Constraints) -> None:
    predictor = NETWORKS[name]
    starts = starts_of(predictor, 12, data.draw(st.booleans()))
    some = data.draw(st.lists(st.integers(0, 11), min_size=1, max_size=12, unique=True))
    one = data.draw(st.sampled_from(some))
    equal(
        drawn(predictor, starts, choice, rules, some)[one],
        drawn(predictor, starts, choice, rules, [one])[one],
    )


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shared", [False, True])
def test_a_long_text_of_a_large_batch_is_the_one_drawn_alone(name: str, shared: bool) -> None:
    predictor, rules = NETWORKS[name], Constraints(V, 400)
    start = Cursor(np.array([1, 2]), predictor.start(1))
    starts = [start] * 20 if shared else starts_of(predictor, 20)
    together = drawn(predictor, starts, Choice(), rules)
    for k in (0, 7, 19):
        equal(together[k], drawn(predictor, starts, Choice(), rules, [k])[k])


def test_texts_that_no_rounding_could_tell_apart_are_drawn_alone() -> None:
    """A predictor whose answers in a batch differ from those alone, on logits that are all but equal."""

    class Rounding(Bigram):
        def __call__(self, ids, state, trace=None):
            logits, state = super().__call__(ids, state)
            if len(ids) > 1:
                logits = logits + 2e-5 * np.sin(np.arange(logits.size).reshape(logits.shape))
            return logits, state

    predictor = Rounding(np.zeros((V, V)))
    starts = [Cursor(np.array([k % V]), predictor.start(1)) for k in range(9)]
    for choice in (
        Choice(0),
        Choice(1e-9),
        Choice(1e-5),
        Choice(top_k=2),
        Choice(top_p=0.4),
        Choice(typical=0.4),
    ):
        together = drawn(predictor, starts, choice)
        for k in range(9):
            equal(together[k], drawn(predictor, starts, choice, which=[k])[k])


def test_texts_that_end_at_different_times_do_not_disturb_each_other() -> None:
    starts = [Cursor(np.array([k % V]), NEXT.start(1)) for k in range(4)]
    found = drawn(NEXT, starts, rules=Constraints(V, 6, stops=((4,),)))
    assert [found[k].ids for k in range(4)] == [[1, 2, 3], [2, 3], [3], []]
    assert {found[k].ended for k in range(4)} == {"stop"}
    found = drawn(
        NEXT, [*starts, Cursor(np.array([4]), NEXT.start(1))], rules=Constraints(V, 4, stops=((4,),))
    )
    assert (found[4].ids, found[4].ended) == ([0, 1, 2, 3], "length")


def test_what_is_certain_is_drawn() -> None:
    assert text_of(NEXT, [0], rules=Constraints(V, 7)) == [1, 2, 3, 4, 0, 1, 2]
    assert text_of(NEXT, [0, 1, 2], rules=Constraints(V, 2)) == [3, 4]


@pytest.mark.parametrize("length", [1, 2, 50])
def test_the_length_does_not_count_the_prompt(length: int) -> None:
    assert len(text_of(NEXT, [0] * 30, rules=Constraints(V, length))) == length


def test_the_same_seed_draws_the_same_and_another_seed_or_index_another() -> None:
    start = Cursor(np.array([0]), UNIFORM.start(1))
    found = drawn(UNIFORM, [start] * 3, seed=3)
    assert found == drawn(UNIFORM, [start] * 3, seed=3)
    assert found[0].ids != found[1].ids != found[2].ids
    assert found[0].ids != drawn(UNIFORM, [start], seed=4)[0].ids


@pytest.mark.parametrize("batch", [1, 3])
def test_length_0_is_endless_at_constant_memory(batch: int) -> None:
    starts = [Cursor(np.array([0]), UNIFORM.start(1))] * batch
    rules = Constraints(V, stops=((0, 1, 2, 3, 4, 0, 1, 2, 3, 4),), window=50)
    endless = sample(UNIFORM, starts, Choice(), rules, [generator(0, k) for k in range(batch)])
    next(islice(endless, 2000, 2001))
    tracemalloc.start()
    try:
        next(islice(endless, 6000, 6001))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 100_000


def test_the_temperature_rises_along_the_text() -> None:
    favours = Bigram(np.array([[5.0, 0, 0, 0, 0]]).repeat(V, 0))
    for batch in (1, 3):
        starts = [Cursor(np.array([0]), favours.start(1))] * batch
        for told in drawn(favours, starts, Choice(0, final_temperature=10), Constraints(V, 300)).values():
            assert not any(told.ids[:5])
            assert np.bincount(told.ids[-100:], minlength=V).max() < 60


def test_what_may_begin_a_stop_is_told_when_it_does_not_become_one() -> None:
    pieces = sample(
        NEXT,
        [Cursor(np.array([0]), NEXT.start(1))],
        Choice(),
        Constraints(V, 5, stops=((2, 3, 0),)),
        [generator(0)],
    )
    assert [piece.ids for piece in pieces] == [[1], [2, 3, 4], [0]]


def test_a_text_that_has_ended_before_it_begins_is_told_so() -> None:
    rules = Constraints(V, 5, pattern=Pattern("", LETTERS))
    start = Cursor(np.array([0]), UNIFORM.start(1))
    for told in drawn(UNIFORM, [start] * 3, rules=rules).values():
        assert (told.ids, told.ended, told.end) == ([], "match", start)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("length", [1, 4])
def test_to_go_on_from_where_a_text_stands_is_to_draw_on(name: str, length: int) -> None:
    predictor = NETWORKS[name]
    start = Cursor(np.array([1, 2, 3]), predictor.start(1))
    same = generator(5)
    whole = [
        id
        for piece in sample(predictor, [start], Choice(), Constraints(V, 3 * length), [generator(5)])
        for id in piece.ids
    ]
    found: list[int] = []
    for _ in range(3):
        *pieces, last = sample(predictor, [start], Choice(), Constraints(V, length), [same])
        found += [id for piece in (*pieces, last) for id in piece.ids]
        assert last.end is not None
        start = last.end
    assert found == whole


def test_after_a_stop_the_stop_has_been_read() -> None:
    told = drawn(NEXT, [Cursor(np.array([0]), NEXT.start(1))], rules=Constraints(V, 9, stops=((3, 4),)))[0]
    assert told.ids == [1, 2]
    assert told.end is not None
    logits, state = after(NEXT, told.end)
    assert logits.argmax() == 0  # what follows 4
    assert state[0][0] == 5  # the prompt and four characters


@pytest.mark.parametrize("batch", [1, 3])
def test_what_showed_a_match_to_be_over_is_left_over(batch: int) -> None:
    starts = [Cursor(np.array([k]), NEXT.start(1)) for k in (3, 4, 0)][:batch]
    rules = Constraints(V, 9, pattern=Pattern("[ab]*", LETTERS, None, 0, 9))
    found = drawn(NEXT, [Cursor(np.array([4]), NEXT.start(1)), *starts[1:]], rules=rules)
    told = found[0]
    assert (told.ids, told.ended) == ([0, 1], "match")
    assert told.end is not None
    logits, state = after(NEXT, told.end)
    assert logits.argmax() == 2  # drawn, but not read: the next text may begin with it
    assert state[0][0] == 3


def test_what_ends_a_match_at_once_leaves_the_start_as_it_was() -> None:
    start = Cursor(np.array([1, 1]), NEXT.start(1))
    told = drawn(NEXT, [start], rules=Constraints(V, 9, pattern=Pattern("a*", LETTERS)))[0]
    assert (told.ids, told.ended, told.end) == ([], "match", start)


@pytest.mark.parametrize("rules", RULES)
def test_scores_are_the_log_probabilities_that_the_model_itself_gives(rules: Constraints) -> None:
    predictor = NETWORKS["small"]
    starts = starts_of(predictor, 9)
    found = drawn(predictor, starts, Choice(0.7, top_k=4), rules, scored=True)
    for start, told in zip(starts, found.values(), strict=True):
        whole = np.concatenate([start.unread, np.array(told.ids, int)])
        logits, _ = (
            predictor(whole[None, :-1], start.state) if len(whole) > 1 else (np.zeros((1, 0, V)), None)
        )
        scores = normalised(logits[0].astype(np.float64))[np.arange(len(whole) - 1), whole[1:]]
        np.testing.assert_allclose(told.scores, scores[len(start.unread) - 1 :], atol=1e-4)
    assert not drawn(predictor, starts, rules=rules)[0].scores


@given(st.lists(st.integers(1, 2 * CHUNK + 3), min_size=1, max_size=4))
def test_prompts_read_as_a_batch_are_each_read_alone(lengths: list[int]) -> None:
    predictor = NETWORKS["small"]
    noise = np.random.default_rng(0)
    before = predictor(noise.integers(0, V, (1, 3)), predictor.start(1))[1]
    starts = [
        Cursor(noise.integers(0, V, length), before if k % 2 else predictor.start(1))
        for k, length in enumerate(lengths)
    ]
    logits, state = after_all(predictor, starts)
    for k, start in enumerate(starts):
        one, its = predictor(start.unread[None], start.state)
        np.testing.assert_allclose(logits[k], one[0, -1], atol=1e-5)
        for carry, expected in zip(state, its, strict=True):
            for part, of_one in zip(carry, expected, strict=True):
                np.testing.assert_allclose(part[k], of_one[0], atol=1e-5)


def test_a_sample_is_the_same_whether_the_prompt_is_read_or_was_drawn() -> None:
    for name in NETWORKS.keys() - {"tied"}:
        predictor = NETWORKS[name]
        whole = text_of(predictor, [1], Choice(0), Constraints(V, 30))
        assert text_of(predictor, [1, *whole[:12]], Choice(0), Constraints(V, 18)) == whole[12:]


def test_fresh_text_follows_the_opening() -> None:
    predictor = NETWORKS["small"]
    found = sample_ids(predictor, LETTERS, 30, generator(7), 0.8)
    expected = text_of(predictor, [0], Choice(0.8), Constraints(V, 30), seed=7)
    assert found.tolist() == expected


@pytest.mark.parametrize("rules", RULES)
def test_what_is_drawn_keeps_the_rules(rules: Constraints) -> None:
    predictor = NETWORKS["small"]
    for told in drawn(predictor, starts_of(predictor, 30), Choice(1.5), rules, scored=True).values():
        ids = tuple(told.ids)
        assert len(ids) == len(told.scores) <= rules.length
        assert len(ids) == rules.length or told.ended != "length"
        assert rules.allowed is None or rules.allowed[list(ids)].all()
        whole = ids if told.ended != "stop" or not rules.keep_stop else ids[:-1]
        assert not any(whole[k : k + len(s)] == s for s in rules.stops for k in range(len(whole)))
        if n := rules.no_repeat:
            grams = [ids[k : k + n] for k in range(len(ids) + 1 - n)]
            assert len(grams) == len(set(grams))
        if told.ended == "match" and rules.pattern:
            course = Constraints(V, pattern=rules.pattern).start()
            for id in ids:
                assert course.continuation_mask is not None
                assert course.continuation_mask[id]
                course.add(id)
            assert course.matches


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_a_text_to_which_nothing_is_left_ends_there_and_the_others_go_on(batch: int) -> None:
    rules = Constraints(V, 30, no_repeat=2, stops=((0, 0, 0),))
    pieces = list(
        sample(
            UNIFORM,
            [Cursor(np.array([0]), UNIFORM.start(1))] * batch,
            Choice(),
            rules,
            [generator(3, index) for index in range(batch)],
        )
    )
    texts = [[id for piece in pieces if piece.row == row for id in piece.ids] for row in range(batch)]
    ends = [next(piece for piece in pieces if piece.row == row and piece.ended) for row in range(batch)]
    assert {end.ended for end in ends} == {"stuck"}  # there are no more than V * V pairs
    for text, end in zip(texts, ends, strict=True):
        assert {(text[-1], id) for id in range(V)} <= set(pairwise(text))
        assert end.end is not None
        assert end.end.unread.tolist() == text[-1:]
    alone = sample(
        UNIFORM, [Cursor(np.array([0]), UNIFORM.start(1))], Choice(), rules, [generator(3, batch - 1)]
    )
    assert [id for piece in alone for id in piece.ids] == texts[-1]


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_damage_and_dead_ends_are_told(batch: int) -> None:
    damaged = Bigram(np.full((V, V), np.nan))
    with pytest.raises(CheckpointError, match="not finite"):
        drawn(damaged, [Cursor(np.array([0]), damaged.start(1))] * batch)
    with pytest.raises(ConfigError, match="no character is left"):
        drawn(
            NEXT,
            [Cursor(np.array([0]), NEXT.start(1))] * batch,
            rules=Constraints(V, allowed=np.eye(V, dtype=bool)[0]),
        )


@pytest.mark.parametrize(("symbols", "read"), [("\t\n ab", 1), ("\t ab", 1), ("!ab", 0)])
def test_without_a_prompt_a_newline_is_read_or_a_space_or_the_first_symbol(symbols: str, read: int) -> None:
    assert opening_ids(Vocabulary(symbols)).tolist() == [read]


def test_a_seed_that_is_drawn_draws_the_same_again() -> None:
    seed = choose_seed(None)
    assert choose_seed(seed) == seed
    assert generator(seed).random() == generator(seed).random() != generator(seed, 1).random()
    assert choose_seed(None) != choose_seed(None)
