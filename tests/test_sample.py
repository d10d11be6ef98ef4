"""Sampling, on predictors of a few lines and on networks with random weights."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.errors import CheckpointError, ConfigError
from charrnn.inference.choice import Choice, gumbel, log_softmax
from charrnn.inference.constraints import Constraints
from charrnn.inference.network import CHUNK, Predictor
from charrnn.inference.pattern import Pattern
from charrnn.inference.sample import choose_seed, opening_ids, sample, sample_generator, sample_ids
from charrnn.inference.states import Cursor, read_prompt, read_prompts
from charrnn.text.vocabulary import Vocabulary
from tests.generation_oracles import Generated, Table, gathered, network

V = 5
NEXT = Table(np.where(np.roll(np.eye(V), 1, axis=1) > 0, 0.0, -np.inf))  # always the next letter
UNIFORM = Table(np.zeros((V, V)))
LETTERS = Vocabulary("abcde")


class Integers:
    """A predictor whose state is a hash of all characters read, and whose logits are integers made from it.

    Nothing is rounded: a row's logits are exactly equal in every batch.
    """

    symbols = V

    def start(self, batch: int):
        return ((np.zeros((batch, 1)),),)

    def __call__(self, ids, state, trace=None):
        read, logits = state[0][0], []
        for column in ids.T:
            read = np.mod(read * 5 + column[:, None] + 1, 999_983)
            logits.append(np.mod(read * np.array([3, 7, 11, 13, 17]), 5.0))
        return np.stack(logits, 1), ((read,),)


def drawn(
    predictor: Predictor,
    cursors: Sequence[Cursor],
    choice: Choice | None = None,
    constraints: Constraints | None = None,
    indices: Sequence[int] | None = None,
    seed: int = 0,
    scored: bool = False,
) -> dict[int, Generated]:
    """The samples of these indices, drawn as one batch."""
    indices = range(len(cursors)) if indices is None else indices
    chunks = sample(
        predictor,
        [cursors[index] for index in indices],
        choice or Choice(),
        constraints or Constraints(V, 20),
        [sample_generator(seed, index) for index in indices],
        scored,
    )
    return dict(zip(indices, gathered(chunks), strict=True))


def text_of(predictor: Predictor, prompt: list[int], *arguments, **others) -> list[int]:
    cursor = Cursor(np.array(prompt), predictor.start(1))
    return list(drawn(predictor, [cursor], *arguments, **others)[0].ids)


NETWORKS = {
    "small": network("lstm", 2, 6),
    "wide": network("gru", 1, 16),
    "parallel": network("mingru", 2, 32),
    "chaotic": network("lstm", 2, 64),
    "chaotic rnn": network("rnn", 1, 48),
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

CONSTRAINTS = [
    Constraints(V, 25),
    Constraints(V, 25, stops=((0, 1), (2,)), min_length=4),
    Constraints(V, 25, stops=((3, 3),), keep_stop=True, window=4),
    Constraints(V, 25, allowed=np.array([True, False, True, True, False]), window=2),
    Constraints(V, 8, no_repeat=2),
    Constraints(V, 12, pattern=Pattern("([ab]+c)+|[de]{0,3}", LETTERS, None, 0, 12)),
    Constraints(V, 12, pattern=Pattern(".{2,6}[abc]", LETTERS, None, 0, 12), stops=((1, 0),), window=3),
]


every_choice = pytest.mark.parametrize("choice", CHOICES)
every_constraint = pytest.mark.parametrize("constraints", CONSTRAINTS)


def cursors_of(predictor: Predictor, count: int, unequal: bool = True) -> list[Cursor]:
    generator = np.random.default_rng(9)
    lengths = generator.integers(1, 12, count) if unequal else [3] * count
    return [Cursor(generator.integers(0, V, length), predictor.start(1)) for length in lengths]


def assert_equal(one: Generated, other: Generated) -> None:
    assert (one.ids, one.scores, one.ended) == (other.ids, other.scores, other.ended)
    np.testing.assert_equal(one.end, other.end)


@pytest.mark.slow
@given(st.data(), st.sampled_from(CHOICES), st.sampled_from(CONSTRAINTS))
def test_a_sample_depends_on_its_cursor_and_generator_and_not_on_the_batch(
    data, choice: Choice, constraints: Constraints
) -> None:
    predictor = Integers()
    cursors = cursors_of(predictor, 12, data.draw(st.booleans()))
    some = data.draw(st.lists(st.integers(0, 11), min_size=1, max_size=12, unique=True))
    one = data.draw(st.sampled_from(some))
    together = drawn(predictor, cursors, choice, constraints, some, scored=True)
    alone = drawn(predictor, cursors, choice, constraints, [one], scored=True)
    assert_equal(together[one], alone[one])


@pytest.mark.parametrize("name", NETWORKS)
@every_choice
def test_a_sample_drawn_alone_is_exactly_the_plain_loop(name: str, choice: Choice) -> None:
    predictor, length = NETWORKS[name], 25
    cursor = cursors_of(predictor, 1)[0]
    window = list(cursor.unread)
    logits, state = predictor(cursor.unread[None], cursor.state)
    noise, ids = sample_generator(0), list[int]()
    for position in range(length):
        recent = np.isin(np.arange(V), window[-3:])[None] if choice.repeat_penalty != 1 else None
        temperature = choice.temperature_at(position, length)
        row = logits[:, -1]
        ids += choice.draw(row, gumbel([noise], V), None, recent, temperature).tolist()
        window.append(ids[-1])
        logits, state = predictor(np.array([ids[-1:]]), state)
    constraints = Constraints(V, length, window=3 if choice.repeat_penalty != 1 else 0)
    assert drawn(predictor, [cursor], choice, constraints)[0].ids == tuple(ids)


@pytest.mark.parametrize("name", NETWORKS)
def test_in_a_batch_the_network_gives_each_sample_its_own_scores_but_for_rounding(name: str) -> None:
    predictor = NETWORKS[name]
    cursors = cursors_of(predictor, 17)
    texts = drawn(predictor, cursors, constraints=Constraints(V, 8), scored=True).values()
    for cursor, text in zip(cursors, texts, strict=True):
        read = np.array([*cursor.unread, *text.ids])
        logits = predictor(read[None, :-1], cursor.state)[0][0]
        expected = log_softmax(logits.astype(np.float64))[np.arange(len(read) - 1), read[1:]]
        np.testing.assert_allclose(text.scores, expected[len(cursor.unread) - 1 :], atol=1e-3)


def test_texts_that_end_at_different_times_do_not_disturb_each_other() -> None:
    cursors = [Cursor(np.array([k % V]), NEXT.start(1)) for k in range(4)]
    result = drawn(NEXT, cursors, constraints=Constraints(V, 6, stops=((4,),)))
    assert [result[k].ids for k in range(4)] == [(1, 2, 3), (2, 3), (3,), ()]
    assert {result[k].ended for k in range(4)} == {"stop"}
    result = drawn(
        NEXT, [*cursors, Cursor(np.array([4]), NEXT.start(1))], constraints=Constraints(V, 4, stops=((4,),))
    )
    assert (result[4].ids, result[4].ended) == ((0, 1, 2, 3), "length")


def test_a_character_of_probability_one_is_drawn() -> None:
    assert text_of(NEXT, [0], constraints=Constraints(V, 7)) == [1, 2, 3, 4, 0, 1, 2]
    assert text_of(NEXT, [0, 1, 2], constraints=Constraints(V, 2)) == [3, 4]


@pytest.mark.parametrize("length", [1, 2, 50])
def test_the_length_does_not_count_the_prompt(length: int) -> None:
    assert len(text_of(NEXT, [0] * 30, constraints=Constraints(V, length))) == length


def test_the_same_seed_draws_the_same_and_another_seed_or_index_another() -> None:
    cursor = Cursor(np.array([0]), UNIFORM.start(1))
    result = drawn(UNIFORM, [cursor] * 3, seed=3)
    assert result == drawn(UNIFORM, [cursor] * 3, seed=3)
    assert result[0].ids != result[1].ids != result[2].ids
    assert result[0].ids != drawn(UNIFORM, [cursor], seed=4)[0].ids


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3])
def test_length_0_is_endless_at_constant_memory(batch: int) -> None:
    cursors = [Cursor(np.array([0]), UNIFORM.start(1))] * batch
    constraints = Constraints(V, stops=((0, 1, 2, 3, 4, 0, 1, 2, 3, 4),), window=50)
    endless = sample(UNIFORM, cursors, Choice(), constraints, [sample_generator(0, k) for k in range(batch)])
    next(islice(endless, 2000, 2001))
    tracemalloc.start()
    try:
        next(islice(endless, 6000, 6001))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 100_000


def test_the_temperature_rises_along_the_text() -> None:
    favours = Table(np.array([[5.0, 0, 0, 0, 0]]).repeat(V, 0))
    for batch in (1, 3):
        cursors = [Cursor(np.array([0]), favours.start(1))] * batch
        for text in drawn(favours, cursors, Choice(0, final_temperature=10), Constraints(V, 300)).values():
            assert not any(text.ids[:5])
            assert np.bincount(text.ids[-100:], minlength=V).max() < 60


def test_the_beginning_of_a_stop_is_withheld_until_it_does_not_become_one() -> None:
    chunks = sample(
        NEXT,
        [Cursor(np.array([0]), NEXT.start(1))],
        Choice(),
        Constraints(V, 5, stops=((2, 3, 0),)),
        [sample_generator(0)],
    )
    assert [chunk.ids for chunk in chunks] == [[1], [2, 3, 4], [0]]


def test_an_empty_match_ends_every_sample_before_it_begins() -> None:
    constraints = Constraints(V, 5, pattern=Pattern("", LETTERS))
    cursor = Cursor(np.array([0]), UNIFORM.start(1))
    for text in drawn(UNIFORM, [cursor] * 3, constraints=constraints).values():
        assert (text.ids, text.ended, text.end) == ((), "match", cursor)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("length", [1, 4])
def test_a_sample_continued_from_its_end_is_the_longer_sample(name: str, length: int) -> None:
    predictor = NETWORKS[name]
    cursor = Cursor(np.array([1, 2, 3]), predictor.start(1))
    same = sample_generator(5)
    whole = [
        symbol
        for chunk in sample(predictor, [cursor], Choice(), Constraints(V, 3 * length), [sample_generator(5)])
        for symbol in chunk.ids
    ]
    result: list[int] = []
    for _ in range(3):
        *chunks, last = sample(predictor, [cursor], Choice(), Constraints(V, length), [same])
        result += [symbol for chunk in (*chunks, last) for symbol in chunk.ids]
        assert last.end is not None
        cursor = last.end
    assert result == whole


def test_after_a_stop_the_stop_has_been_read() -> None:
    text = drawn(
        NEXT, [Cursor(np.array([0]), NEXT.start(1))], constraints=Constraints(V, 9, stops=((3, 4),))
    )[0]
    assert text.ids == (1, 2)
    logits, state = read_prompt(NEXT, text.end)
    assert logits.argmax() == 0  # what follows 4
    assert state[0][0] == 5  # the prompt and four characters


@pytest.mark.parametrize("batch", [1, 3])
def test_the_character_that_ends_a_match_is_left_for_the_next_text(batch: int) -> None:
    cursors = [Cursor(np.array([k]), NEXT.start(1)) for k in (3, 4, 0)][:batch]
    constraints = Constraints(V, 9, pattern=Pattern("[ab]*", LETTERS, None, 0, 9))
    result = drawn(NEXT, [Cursor(np.array([4]), NEXT.start(1)), *cursors[1:]], constraints=constraints)
    text = result[0]
    assert (text.ids, text.ended) == ((0, 1), "match")
    logits, state = read_prompt(NEXT, text.end)
    assert logits.argmax() == 2  # drawn, but not read: the next text may begin with it
    assert state[0][0] == 3


def test_a_match_that_ends_at_once_ends_at_its_own_cursor() -> None:
    cursor = Cursor(np.array([1, 1]), NEXT.start(1))
    text = drawn(NEXT, [cursor], constraints=Constraints(V, 9, pattern=Pattern("a*", LETTERS)))[0]
    assert (text.ids, text.ended, text.end) == ((), "match", cursor)


@every_constraint
def test_scores_are_the_log_probabilities_that_the_model_itself_gives(constraints: Constraints) -> None:
    predictor = NETWORKS["small"]
    cursors = cursors_of(predictor, 9)
    result = drawn(predictor, cursors, Choice(0.7, top_k=4), constraints, scored=True)
    for cursor, text in zip(cursors, result.values(), strict=True):
        whole = np.concatenate([cursor.unread, np.array(text.ids, int)])
        logits, _ = (
            predictor(whole[None, :-1], cursor.state) if len(whole) > 1 else (np.zeros((1, 0, V)), None)
        )
        scores = log_softmax(logits[0].astype(np.float64))[np.arange(len(whole) - 1), whole[1:]]
        np.testing.assert_allclose(text.scores, scores[len(cursor.unread) - 1 :], atol=1e-4)
    assert not drawn(predictor, cursors, constraints=constraints)[0].scores


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(st.integers(1, 2 * CHUNK + 3), min_size=1, max_size=4))
def test_prompts_read_as_a_batch_are_each_read_alone(lengths: list[int]) -> None:
    predictor = NETWORKS["small"]
    noise = np.random.default_rng(0)
    before = predictor(noise.integers(0, V, (1, 3)), predictor.start(1))[1]
    cursors = [
        Cursor(noise.integers(0, V, length), before if k % 2 else predictor.start(1))
        for k, length in enumerate(lengths)
    ]
    logits, state = read_prompts(predictor, cursors)
    for k, cursor in enumerate(cursors):
        one, expected_state = predictor(cursor.unread[None], cursor.state)
        np.testing.assert_allclose(logits[k], one[0, -1], atol=1e-5)
        for layer, expected in zip(state, expected_state, strict=True):
            for part, expected_part in zip(layer, expected, strict=True):
                np.testing.assert_allclose(part[k], expected_part[0], atol=1e-5)


def test_a_sample_is_the_same_whether_the_prompt_is_read_or_was_drawn() -> None:
    for predictor in NETWORKS.values():
        whole = text_of(predictor, [1], Choice(0), Constraints(V, 30))
        assert text_of(predictor, [1, *whole[:12]], Choice(0), Constraints(V, 18)) == whole[12:]


def test_fresh_text_follows_the_opening() -> None:
    predictor = NETWORKS["small"]
    result = sample_ids(predictor, LETTERS, 30, sample_generator(7), 0.8)
    expected = text_of(predictor, [0], Choice(0.8), Constraints(V, 30), seed=7)
    assert result.tolist() == expected


@every_constraint
def test_every_sample_satisfies_its_constraints(constraints: Constraints) -> None:
    predictor = NETWORKS["small"]
    for text in drawn(predictor, cursors_of(predictor, 30), Choice(1.5), constraints, scored=True).values():
        ids = text.ids
        assert len(ids) == len(text.scores) <= constraints.length
        assert len(ids) == constraints.length or text.ended != "length"
        assert constraints.allowed is None or constraints.allowed[list(ids)].all()
        whole = ids if text.ended != "stop" or not constraints.keep_stop else ids[:-1]
        assert not any(whole[k : k + len(s)] == s for s in constraints.stops for k in range(len(whole)))
        if n := constraints.no_repeat:
            grams = [ids[k : k + n] for k in range(len(ids) + 1 - n)]
            assert len(grams) == len(set(grams))
        if text.ended == "match" and constraints.pattern:
            constrained = Constraints(V, pattern=constraints.pattern).start()
            for symbol in ids:
                constrained.add(symbol)
            assert constrained.count == len(ids)  # each continues the match
            assert constrained.ending_mask is not None  # and the text matches


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_a_sample_without_an_allowed_character_ends_there_and_the_others_continue(batch: int) -> None:
    constraints = Constraints(V, 30, no_repeat=2, stops=((0, 0, 0),))
    cursors = [Cursor(np.array([0]), UNIFORM.start(1))] * batch
    texts = drawn(UNIFORM, cursors, constraints=constraints, seed=3)
    assert {text.ended for text in texts.values()} == {"stuck"}  # there are no more than V * V pairs
    assert batch == 1 or len({len(text.ids) for text in texts.values()}) > 1
    for text in texts.values():
        assert {(text.ids[-1], symbol) for symbol in range(V)} <= set(pairwise(text.ids))
        assert tuple(text.end.unread) == text.ids[-1:]
    alone = drawn(UNIFORM, cursors, constraints=constraints, indices=[batch - 1], seed=3)
    assert_equal(alone[batch - 1], texts[batch - 1])


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_damage_and_dead_ends_are_errors(batch: int) -> None:
    damaged = Table(np.full((V, V), np.nan))
    with pytest.raises(CheckpointError, match="not finite"):
        drawn(damaged, [Cursor(np.array([0]), damaged.start(1))] * batch)
    with pytest.raises(ConfigError, match="no character is left"):
        drawn(
            NEXT,
            [Cursor(np.array([0]), NEXT.start(1))] * batch,
            constraints=Constraints(V, allowed=np.eye(V, dtype=bool)[0]),
        )


@pytest.mark.parametrize(("symbols", "read"), [("\t\n ab", 1), ("\t ab", 1), ("!ab", 0)])
def test_without_a_prompt_a_newline_is_read_or_a_space_or_the_first_symbol(symbols: str, read: int) -> None:
    assert opening_ids(Vocabulary(symbols)).tolist() == [read]


def test_a_seed_that_is_drawn_draws_the_same_again() -> None:
    seed = choose_seed(None)
    assert choose_seed(seed) == seed
    assert (
        sample_generator(seed).random()
        == sample_generator(seed).random()
        != sample_generator(seed, 1).random()
    )
    assert choose_seed(None) != choose_seed(None)
