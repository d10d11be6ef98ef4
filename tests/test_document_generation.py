"""Documents as they are generated: END ends a sample, has a probability, and begins the next document."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from charrnn.config import ModelConfig
from charrnn.errors import ConfigError
from charrnn.inference.beam import Search, beam
from charrnn.inference.choice import Choice
from charrnn.inference.constraints import Constraints
from charrnn.inference.network import Inference, Logits, Predictor
from charrnn.inference.sample import sample, sample_generator, sample_ids, sample_text
from charrnn.inference.score import log_probabilities
from charrnn.inference.states import Cursor
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import random_weights
from tests.generation_oracles import Generated, Table, gathered, softmax

LETTERS = Vocabulary("abc", documents=True)
V, END, LONG = 4, 3, 4
WIDE = 200
"""More than there are texts of at most LONG characters: a search of this width loses none."""


def net(seed: int = 0) -> Inference:
    """A network of documents with sharp predictions, in float64."""
    config = ModelConfig(layers=2, hidden=6, embedding=4, documents=True)
    weights = random_weights(config, V, seed)
    return Inference(config, {name: 2 * value.astype(np.float64) for name, value in weights.items()})


def opening(model: Predictor, *prompt: int) -> Cursor:
    return Cursor(np.array([END, *prompt]), model.start(1))


def logits_after(model: Predictor, cursor: Cursor) -> Logits:
    result: Logits = model(cursor.unread[None], cursor.state)[0][0, -1]
    return result


def logits_of(model: Predictor, *ids: int) -> Logits:
    """(V,) the logits of what follows these ids."""
    return logits_after(model, Cursor(np.array(ids), model.start(1)))


def words(ids: tuple[int, ...]) -> str:
    return "".join("abc"[symbol] for symbol in ids)


# --- all documents, by brute force ---


class Leaf(NamedTuple):
    text: tuple[int, ...]
    ended: str
    log_probability: float


@dataclass
class Case:
    """Constraints and filters, and what they allow."""

    constraints: dict[str, Any]
    expression: str | None = None
    top_k: int = 0

    def all(self) -> Constraints:
        strings: dict[str, Any] = {"allow": None, "ban": None, "stops": []} | self.constraints
        return Constraints.from_strings(
            LETTERS, match=self.expression, note=print, **{"length": LONG} | strings
        )

    def allows(self, text: str, symbol: int) -> bool:
        if self.expression is not None:
            matching = ("".join(t) for n in range(LONG + 1) for t in itertools.product("abc", repeat=n))
            matching = (whole for whole in matching if re.fullmatch(self.expression, whole))
            longer = text if symbol == END else text + "abc"[symbol]
            if not any(whole == text if symbol == END else whole.startswith(longer) for whole in matching):
                return False
        if symbol == END:
            return len(text) >= int(self.constraints.get("min_length", 0))
        letter = "abc"[symbol]
        size: int = self.constraints.get("no_repeat", 0)
        return (
            letter not in (self.constraints.get("ban") or "")
            and letter in (self.constraints.get("allow") or "abc")
            and not (size and (text + letter)[-size:] in text)
        )

    def leaves(self, model: Predictor, drawn: tuple[int, ...] = (), score: float = 0.0) -> Iterator[Leaf]:
        for stop in self.constraints.get("stops", []):
            if words(drawn).endswith(stop):
                yield Leaf(drawn[: len(drawn) - len(stop)], "stop", score)
                return
        if len(drawn) == LONG:
            yield Leaf(drawn, "match" if self.expression else "length", score)
            return
        weights = softmax(logits_of(model, END, *drawn))
        weights *= [self.allows(words(drawn), symbol) for symbol in range(V)]
        if self.top_k:
            weights[np.argsort(-weights, kind="stable")[self.top_k :]] = 0
        for symbol, share in enumerate(weights / weights.sum()):
            if share and symbol == END:
                yield Leaf(drawn, "end", score + math.log(share))
            elif share:
                yield from self.leaves(model, (*drawn, symbol), score + math.log(share))

    def best(self, model: Predictor) -> list[Leaf]:
        """Each text once, the most probable first."""
        first: dict[tuple[int, ...], Leaf] = {}
        for leaf in sorted(self.leaves(model), key=lambda leaf: -leaf.log_probability):
            first.setdefault(leaf.text, leaf)
        return list(first.values())


CASES = {
    "plain": Case({}),
    "min length": Case({"min_length": 2}),
    "stop": Case({"stops": ["ab", "cc"]}),
    "ban": Case({"ban": "b"}),
    "allow": Case({"allow": "ac"}),
    "no repeat": Case({"no_repeat": 1}),
    "top k": Case({}, top_k=2),
    "match": Case({}, expression="a*(b|cb)?"),
    "match of one length": Case({}, expression="[ab]c"),
    "match of nothing": Case({}, expression=""),
    "match and length": Case({"min_length": 1}, expression="(ab|ba)*"),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def as_leaves(texts: list[Generated]) -> list[tuple]:
    return [(text.ids, text.ended, text.score) for text in texts]


def test_the_probabilities_of_all_documents_sum_to_one_and_are_their_scores() -> None:
    model = net()
    leaves = list(CASES["plain"].leaves(model))
    assert len(leaves) == 1 + 3 + 9 + 27 + 81
    assert sum(math.exp(leaf.log_probability) for leaf in leaves) == pytest.approx(1)
    for leaf in leaves:
        ids = np.array([*leaf.text, *[END] * (leaf.ended == "end")])
        assert log_probabilities(model, LETTERS, ids).sum() == pytest.approx(leaf.log_probability)


@every_case
@pytest.mark.parametrize("count", [1, WIDE])
def test_beam_search_finds_the_most_probable_documents(case: Case, count: int) -> None:
    model = net(1)
    search = Search(WIDE, length_penalty=0)
    constraints, choice = case.all(), Choice(top_k=case.top_k)
    found = gathered(beam(model, opening(model), choice, constraints, search, count))
    expected = case.best(model)[:count]
    assert [(text.ids, text.ended) for text in found] == [(leaf.text, leaf.ended) for leaf in expected]
    scores = [text.score for text in found if text.score is not None]
    np.testing.assert_allclose(scores, [leaf.log_probability for leaf in expected], atol=1e-9)


@every_case
def test_samples_are_documents_that_the_constraints_allow(case: Case) -> None:
    model, count = net(2), 60
    generators = [sample_generator(1, index) for index in range(count)]
    choice = Choice(top_k=case.top_k)
    drawn = gathered(sample(model, [opening(model)] * count, choice, case.all(), generators, scored=True))
    possible = {(leaf.text, leaf.ended) for leaf in case.leaves(model)}
    assert {(text.ids, text.ended) for text in drawn} <= possible
    assert len({text.ids for text in drawn}) > 1 or len(possible) == 1
    for text in drawn:
        read = [*text.ids, *[END] * (text.ended == "end")]
        expected = log_probabilities(model, LETTERS, np.array(read, np.int64))
        np.testing.assert_allclose(text.scores, expected, atol=1e-9)


@every_case
def test_beam_search_tells_the_scores_of_the_model_that_of_end_last(case: Case) -> None:
    model = net(3)
    for text in gathered(beam(model, opening(model), Choice(), case.all(), Search(50), 20)):
        read = [*text.ids, *[END] * (text.ended == "end")]
        np.testing.assert_allclose(
            text.scores, log_probabilities(model, LETTERS, np.array(read, np.int64)), atol=1e-9
        )


def test_samples_are_as_frequent_as_their_documents_are_probable() -> None:
    model, count = Table(np.random.default_rng(0).normal(size=(V, V))), 2000
    generators = [sample_generator(1, index) for index in range(count)]
    constraints = Constraints(V, LONG, end=END)
    drawn = gathered(sample(model, [opening(model)] * count, Choice(), constraints, generators))
    frequencies = Counter((text.ids, text.ended) for text in drawn)
    for leaf in CASES["plain"].leaves(model):
        probability = math.exp(leaf.log_probability)
        deviation = math.sqrt(count * probability * (1 - probability))
        assert abs(frequencies[leaf.text, leaf.ended] - count * probability) < 4 * deviation + 1


def test_a_diverse_search_finds_the_most_probable_document_first_and_no_document_twice() -> None:
    for seed in range(4):
        model = net(seed)
        search = Search(2 * WIDE, groups=2, diversity=0.7, length_penalty=0)
        found = gathered(beam(model, opening(model), Choice(), CASES["plain"].all(), search, 100))
        best = CASES["plain"].best(model)[0]
        assert as_leaves(found)[0] == (best.text, best.ended, pytest.approx(best.log_probability))
        assert len({text.ids for text in found}) == len(found) == 100


def test_a_later_group_is_penalised_where_the_first_one_ends_its_document() -> None:
    table = np.full((V, V), -50.0)
    table[END] = np.log([0.3, 1e-9, 1e-9, 0.7])  # the empty document, or "a"
    table[0] = [-50, -50, -50, 0]
    search = Search(2, groups=2, diversity=2, length_penalty=0)
    found = gathered(beam(Table(table), opening(Table(table)), Choice(), Constraints(V, 3, end=END), search))
    assert [text.ids for text in found] == [()]
    both = gathered(
        beam(Table(table), opening(Table(table)), Choice(), Constraints(V, 3, end=END), search, 2)
    )
    assert [(text.ids, text.ended) for text in both] == [((), "end"), ((0,), "end")]


def test_a_wide_stochastic_search_draws_every_document_once() -> None:
    model = net(4)
    search = Search(WIDE, stochastic=True)
    orders = set()
    for seed in range(3):
        generator = np.random.default_rng(seed)
        texts = gathered(beam(model, opening(model), Choice(), CASES["plain"].all(), search, WIDE, generator))
        leaves = list(CASES["plain"].leaves(model))
        assert {(text.ids, text.ended) for text in texts} == {(leaf.text, leaf.ended) for leaf in leaves}
        assert len(texts) == len(leaves)
        orders.add(tuple(text.ids for text in texts))
    assert len(orders) == 3


def test_the_first_document_of_a_stochastic_search_is_a_sample() -> None:
    model, count = Table(np.random.default_rng(0).normal(size=(V, V))), 600
    first: Counter[tuple[int, ...]] = Counter()
    for seed in range(count):
        search, generator = Search(2, stochastic=True), np.random.default_rng(seed)
        constraints = CASES["plain"].all()
        first[gathered(beam(model, opening(model), Choice(), constraints, search, 1, generator))[0].ids] += 1
    for leaf in CASES["plain"].leaves(model):
        expected = count * math.exp(leaf.log_probability)
        assert abs(first[leaf.text] - expected) < 4 * math.sqrt(expected) + 1


# --- what END does ---


def test_a_text_that_may_be_the_beginning_of_a_stop_string_is_whole_once_it_ends() -> None:
    table = np.full((V, V), -50.0)
    for before, after in ((END, 0), (0, 1), (1, END)):
        table[before, after] = 0  # writes "ab" and ends
    model = Table(table)
    constraints = Constraints(V, stops=((0, 1, 2),), end=END)
    for chunks in (
        sample(model, [opening(model)], Choice(0), constraints, [sample_generator(1)], scored=True),
        beam(model, opening(model), Choice(), constraints, Search(1)),
    ):
        (text,) = gathered(chunks)
        assert (text.ids, text.ended, len(text.scores)) == ((0, 1), "end", 3)


def test_the_cursor_after_end_begins_a_new_document() -> None:
    model = net(6)
    constraints, generators = Constraints(V, 50, end=END), [sample_generator(1, k) for k in range(9)]
    drawn = gathered(sample(model, [opening(model, 0, 1)] * 9, Choice(), constraints, generators))
    ended = [text for text in drawn if text.ended == "end"]
    assert len(ended) > 4
    for text in ended:
        assert text.end.unread.tolist() == [END]
        np.testing.assert_allclose(logits_after(model, text.end), logits_of(model, END))
    best = gathered(beam(model, opening(model), Choice(), constraints, Search(8)))[0]
    assert best.ended == "end"
    np.testing.assert_allclose(logits_after(model, best.end), logits_of(model, END))


def test_start_is_no_character_that_repeats() -> None:
    text = Constraints(V, 9, window=5, end=END).start(np.array([END, 1]))
    assert text.recent_mask().tolist() == [False, True, False, False]


def test_banning_every_letter_leaves_nothing_to_write() -> None:
    for strings in ({"ban": "abc"}, {"allow": ""}):
        with pytest.raises(ConfigError, match="exclude every character"):
            Case(strings).all()


def test_a_sample_of_ids_does_not_end_before_its_length_and_one_of_text_has_several_documents() -> None:
    model = net(6)
    ids = sample_ids(model, LETTERS, 40, sample_generator(1))
    assert len(ids) == 40
    assert END not in ids
    text = sample_text(model, LETTERS, 40, sample_generator(1))
    assert len(text.replace("\n", "")) >= 40 or text.count("\n") == 19
    assert set(text) == set("abc\n")
