"""The laws of drawing characters, on predictors of a few lines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import ModelConfig
from charrnn.errors import CheckpointError, ConfigError
from charrnn.inference import Inference
from charrnn.sample import Choice, opening, sample, seeded
from charrnn.vocab import Vocabulary
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
logit_rows = st.lists(st.floats(-50, 50), min_size=1, max_size=12).map(np.array)


def drawn(predictor, prompt, choice=None, length=20, seed=0) -> list[int]:
    return list(sample(predictor, np.array(prompt), choice or Choice(), length, np.random.default_rng(seed)))


def test_what_is_certain_is_drawn() -> None:
    assert drawn(NEXT, [0], length=7) == [1, 2, 3, 4, 0, 1, 2]
    assert drawn(NEXT, [0, 1, 2], length=2) == [3, 4]


@pytest.mark.parametrize("length", [1, 2, 50])
def test_the_length_does_not_count_the_prompt(length: int) -> None:
    assert len(drawn(NEXT, [0] * 30, length=length)) == length


def test_length_0_is_endless() -> None:
    endless = sample(NEXT, np.array([0]), Choice(), 0, np.random.default_rng(0))
    assert sum(1 for _, _ in zip(range(5000), endless, strict=False)) == 5000


def test_the_same_seed_draws_the_same_and_another_seed_another() -> None:
    uniform = Bigram(np.zeros((V, V)))
    assert drawn(uniform, [0], seed=3) == drawn(uniform, [0], seed=3)
    assert drawn(uniform, [0], seed=3) != drawn(uniform, [0], seed=4)


def test_a_sample_is_the_same_whether_the_prompt_is_read_or_was_drawn() -> None:
    config = ModelConfig(layers=2, hidden=6, embedding=4)
    network = Inference(config, random_weights(config, V))
    whole = drawn(network, [1], Choice(0), 30)
    assert drawn(network, [1, *whole[:12]], Choice(0), 18) == whole[12:]


@given(logit_rows)
def test_probabilities_are_the_softmax_in_float64(logits: np.ndarray) -> None:
    expected = np.exp(logits - logits.max())
    np.testing.assert_allclose(Choice().probabilities(logits), expected / expected.sum(), rtol=1e-12)


@given(logit_rows, st.floats(0, 10), st.integers(0, 15), st.floats(0.01, 1))
def test_probabilities_sum_to_one_and_keep_the_best(logits, temperature, top_k, top_p) -> None:
    found = Choice(temperature, top_k, top_p).probabilities(logits)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    assert found[np.argmax(logits)] == found.max() > 0
    if top_k:
        assert (found > 0).sum() <= top_k


@given(logit_rows, st.integers(1, 12))
def test_top_k_keeps_exactly_k_ties_by_the_lower_id(logits: np.ndarray, top_k: int) -> None:
    kept = np.flatnonzero(Choice(top_k=top_k).probabilities(np.round(logits / 25)) > 0)
    order = sorted(range(len(logits)), key=lambda i: (-np.round(logits[i] / 25), i))
    assert sorted(kept) == sorted(order[:top_k])


@given(logit_rows, st.floats(0.01, 0.99))
def test_top_p_keeps_the_fewest_that_make_up_p(logits: np.ndarray, top_p: float) -> None:
    plain = Choice().probabilities(logits)
    kept = np.flatnonzero(Choice(top_p=top_p).probabilities(logits) > 0)
    total = plain[kept].sum()
    assert total >= top_p - 1e-12
    assert total - plain[kept].min() < top_p + 1e-12
    assert plain[kept].min() >= np.delete(plain, kept).max(initial=0)


@given(logit_rows)
def test_greedy_takes_the_first_of_the_best_and_a_tiny_temperature_one_of_them(logits) -> None:
    best = np.flatnonzero(logits == logits.max())
    generator = np.random.default_rng(0)
    assert Choice(0).draw(logits, generator) == best[0]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert Choice(1e-300).draw(logits * 1e3, generator) in best


def test_frequencies_are_the_probabilities() -> None:
    logits, generator = np.log([0.5, 0.3, 0.15, 0.05]), np.random.default_rng(0)
    draws = np.bincount([Choice().draw(logits, generator) for _ in range(20_000)], minlength=4) / 20_000
    np.testing.assert_allclose(draws, [0.5, 0.3, 0.15, 0.05], atol=0.015)  # 4 standard errors


def test_what_has_no_probability_is_never_drawn() -> None:
    class Edge:
        def random(self) -> float:
            return self.value

    generator = Edge()
    logits = np.array([-np.inf, 0.0, -np.inf, 0.0, -np.inf])
    for generator.value in (0.0, 0.5, np.nextafter(1, 0)):
        assert Choice().draw(logits, generator) in (1, 3)


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"temperature": -1.0}, "--temperature"),
        ({"temperature": float("nan")}, "--temperature"),
        ({"temperature": float("inf")}, "--temperature"),
        ({"top_k": -1}, "--top-k"),
        ({"top_p": 0.0}, "--top-p"),
        ({"top_p": 1.5}, "--top-p"),
    ],
)
def test_a_choice_that_makes_no_sense_names_its_option(settings: dict, option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        Choice(**settings)


@pytest.mark.parametrize(("symbols", "read"), [("\t\n ab", 1), ("\t ab", 1), ("!ab", 0)])
def test_without_a_prompt_a_newline_is_read_or_a_space_or_the_first_symbol(symbols: str, read: int) -> None:
    assert opening(Vocabulary(symbols)).tolist() == [read]


def test_a_seed_that_is_drawn_draws_the_same_again() -> None:
    generator, seed = seeded(None)
    assert generator.random() == seeded(seed)[0].random()


@pytest.mark.parametrize("logits", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_an_error_not_a_draw(logits: list[float], temperature: float) -> None:
    with pytest.raises(CheckpointError, match="not finite"):
        Choice(temperature).probabilities(np.array(logits))
