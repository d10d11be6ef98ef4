"""The choice of one character, compared with the same steps written in plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CheckpointError, ConfigError
from charrnn.inference.choice import FILTERS, Choice, can_continue, gumbel, log_softmax
from tests.generation_oracles import softmax

logit_rows = st.lists(st.floats(-50, 50), min_size=1, max_size=12).map(np.array)
few_levels = st.lists(st.integers(-3, 3), min_size=1, max_size=12).map(lambda row: np.array(row, float))
shares = st.floats(0.01, 0.99)


def probabilities(choice: Choice, logits: np.ndarray, **also) -> np.ndarray:
    result: np.ndarray = np.exp(choice.scores(logits[None], **also)[0])
    return result


def fewest(probability: np.ndarray, order: list[int], share: float) -> np.ndarray:
    """The first in this order that sum to ``share``, as probabilities."""
    result, total = np.zeros(len(probability)), 0.0
    for symbol in order:
        if total >= share:
            break
        result[symbol], total = probability[symbol], total + probability[symbol]
    result /= result.sum()
    return result


def slowly(choice: Choice, logits: np.ndarray, allowed: np.ndarray, recent: np.ndarray) -> np.ndarray:
    """Every step of the module's list, one after the other, on probabilities."""
    result: np.ndarray = np.where(allowed, softmax(logits), 0)
    result = np.where(recent, result / choice.repeat_penalty, result)
    ids = range(len(result))
    if choice.temperature == 0:
        result = np.arange(len(result)) == result.argmax()
    else:
        result = (result / result.max()) ** (1 / choice.temperature)
    result = result / result.sum()
    if choice.top_k:
        stay = sorted(ids, key=lambda symbol: (-result[symbol], symbol))[: choice.top_k]
        result = np.where(np.isin(ids, stay), result, 0)
        result = result / result.sum()
    if choice.top_p < 1:
        result = fewest(result, sorted(ids, key=lambda symbol: (-result[symbol], symbol)), choice.top_p)
    result = np.where(result >= choice.min_p * result.max(), result, 0)
    result = result / result.sum()
    if choice.typical < 1:
        with np.errstate(divide="ignore"):
            surprise = -np.log(result)
        entropy = sum(result[symbol] * surprise[symbol] for symbol in ids if result[symbol])
        result = fewest(
            result, sorted(ids, key=lambda symbol: abs(surprise[symbol] - entropy)), choice.typical
        )
    return result


settings = st.builds(
    Choice,
    temperature=st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.7]),
    top_k=st.integers(0, 9),
    top_p=st.floats(0.3, 1),
    min_p=st.sampled_from([0.0, 0.03, 0.2, 0.25, 0.5]),
    typical=st.floats(0.3, 1),
    repeat_penalty=st.sampled_from([0.7, 1.0, 1.3, 4.0]),
)


@pytest.mark.slow
@given(settings, st.integers(2, 12), st.integers(0, 10**6))
def test_the_steps_follow_each_other_in_the_order_that_is_written(choice, size: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits, recent = generator.normal(0, 2, size), generator.random(size) < 0.4
    allowed = generator.random(size) < 0.7
    allowed[generator.integers(size)] = True
    result = probabilities(choice, logits, allowed=allowed[None], recent=recent[None])
    np.testing.assert_allclose(result, slowly(choice, logits, allowed, recent), rtol=1e-9, atol=1e-12)


@given(logit_rows)
def test_probabilities_are_the_softmax_in_float64(logits: np.ndarray) -> None:
    np.testing.assert_allclose(probabilities(Choice(), logits), softmax(logits), rtol=1e-12)


@given(logit_rows, settings)
def test_probabilities_sum_to_one_and_the_logits_are_left_alone(logits, choice) -> None:
    before = logits.copy()
    assert probabilities(choice, logits, recent=np.ones((1, len(logits)), bool)).sum() == pytest.approx(1)
    np.testing.assert_array_equal(logits, before)


@given(logit_rows, st.floats(0, 10), st.integers(0, 15), shares, st.floats(0, 1))
def test_the_most_probable_is_kept_by_top_k_top_p_and_min_p(logits, temperature, top_k, top_p, min_p) -> None:
    result = probabilities(Choice(temperature, top_k, top_p, min_p), logits)
    assert result[np.argmax(logits)] == result.max() > 0


@given(few_levels, st.integers(1, 12))
def test_top_k_keeps_exactly_k_ties_by_the_lower_id(logits: np.ndarray, top_k: int) -> None:
    kept = np.flatnonzero(probabilities(Choice(top_k=top_k), logits))
    order = sorted(range(len(logits)), key=lambda symbol: (-logits[symbol], symbol))
    assert sorted(kept) == sorted(order[:top_k])


@given(logit_rows, shares)
def test_top_p_keeps_the_fewest_that_sum_to_p(logits: np.ndarray, top_p: float) -> None:
    plain = softmax(logits)
    kept = np.flatnonzero(probabilities(Choice(top_p=top_p), logits))
    total = plain[kept].sum()
    assert total >= top_p - 1e-12
    assert total - plain[kept].min() < top_p + 1e-12
    assert plain[kept].min() >= np.delete(plain, kept).max(initial=0)


def test_a_sum_of_exactly_p_is_enough_and_exactly_min_p_is_kept() -> None:
    assert (probabilities(Choice(top_p=0.5), np.zeros(2)) > 0).tolist() == [True, False]
    assert (probabilities(Choice(typical=0.5), np.zeros(2)) > 0).tolist() == [True, False]
    assert (probabilities(Choice(min_p=1), np.array([0.0, 1.0, 1.0])) > 0).tolist() == [False, True, True]


@given(logit_rows, shares)
def test_min_p_keeps_those_that_have_a_share_of_the_best(logits: np.ndarray, min_p: float) -> None:
    kept = probabilities(Choice(min_p=min_p), logits) > 0
    share = np.exp(logits - logits.max())
    assert kept[share > min_p * (1 + 1e-9)].all()
    assert not kept[share < min_p * (1 - 1e-9)].any()


def test_typical_can_exclude_the_most_probable() -> None:
    result = probabilities(Choice(typical=0.2), np.log([0.5, 0.25, 0.125, 0.0625, 0.0625]))
    np.testing.assert_allclose(result, [0, 1, 0, 0, 0])  # 1.386 nats; the entropy is 1.300


@given(logit_rows)
def test_typical_keeps_what_is_equally_far_from_the_entropy_by_the_lower_id(logits: np.ndarray) -> None:
    size = len(logits)
    for kept in range(1, size + 1):
        equal = probabilities(Choice(typical=(kept - 0.5) / size), np.zeros(size))
        assert np.flatnonzero(equal).tolist() == list(range(kept))


@given(logit_rows, st.floats(0.1, 10), st.integers(0, 10**6))
def test_the_penalty_divides_the_probability_of_recent_characters(logits, penalty, seed) -> None:
    recent = np.random.default_rng(seed).random(len(logits)) < 0.5
    expected = np.where(recent, softmax(logits) / penalty, softmax(logits))
    result = probabilities(Choice(repeat_penalty=penalty), logits, recent=recent[None])
    np.testing.assert_allclose(result, expected / expected.sum(), rtol=1e-9)


@given(logit_rows)
def test_greedy_takes_the_first_of_the_best_and_a_tiny_temperature_one_of_them(logits) -> None:
    logits = np.round(logits, 6)
    best = np.flatnonzero(logits == logits.max())
    noise = gumbel([np.random.default_rng(0)], len(logits))
    assert Choice(0).draw(logits[None], noise)[0] == best[0]
    for temperature in (1e-300, 5e-324):
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            ids = Choice(temperature).draw(logits[None] * 1e3, noise)
        assert ids[0] in best


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1e-300, 1e-9, 1e-3, 1e3, 1e30, 1e300])
def test_no_temperature_is_too_small_or_too_large(temperature: float, dtype: type) -> None:
    logits: np.ndarray = np.array([[0, 10, -20, -np.inf]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        draws = [
            int(Choice(temperature).draw(logits, gumbel([np.random.default_rng(seed)], 4))[0])
            for seed in range(200)
        ]
    assert set(draws) == ({1} if temperature < 1 else {0, 1, 2})


@given(st.floats(0, 5), st.floats(0, 5), st.integers(1, 50))
def test_a_ramp_goes_straight_from_the_first_to_the_last_character(first, last, length) -> None:
    result = [Choice(first, final_temperature=last).temperature_at(at, length) for at in range(length)]
    assert result[0] == first
    if length > 1:
        np.testing.assert_allclose(result, np.linspace(first, last, length), atol=1e-12)
    assert {Choice(first).temperature_at(at, length) for at in range(length)} == {first}


def test_frequencies_are_the_probabilities() -> None:
    wanted, count = np.array([0.5, 0.3, 0.15, 0.05]), 20_000
    noise = gumbel([np.random.default_rng(0)], 4 * count).reshape(count, 4)
    for choice, expected in (
        (Choice(), wanted),
        (Choice(0.5), wanted**2 / (wanted**2).sum()),
        (Choice(top_k=2), np.array([0.625, 0.375, 0, 0])),
        (Choice(typical=0.99), wanted),
    ):
        ids = choice.draw(np.log(wanted)[None].repeat(count, 0), noise)
        result = np.bincount(ids, minlength=4) / count
        np.testing.assert_allclose(result, expected, atol=0.015)  # 4 standard errors
        assert not result[expected == 0].any()


@given(st.integers(0, 10**6), settings)
def test_a_character_that_is_not_allowed_is_never_drawn(seed: int, choice: Choice) -> None:
    generator = np.random.default_rng(seed)
    logits = np.append(generator.normal(0, 3, 5), 50.0)[None].repeat(40, 0)  # the likeliest by far
    allowed = generator.random(logits.shape) < 0.5
    allowed[:, 5], allowed[:, 0] = False, True
    ids = choice.draw(logits, gumbel([generator], logits.size).reshape(logits.shape), allowed)
    assert allowed[np.arange(40), ids].all()


@given(st.integers(0, 10**6), st.sampled_from([0.5, 1.0, 2.0]))
def test_plain_sampling_draws_what_the_general_path_draws(seed: int, temperature: float) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, (50, 7))
    noise = gumbel([generator] * 50, 7)
    short = Choice(temperature).draw(logits, noise)
    long = Choice(temperature).draw(logits, noise, np.ones(logits.shape, bool))
    np.testing.assert_array_equal(short, long)


def test_each_generator_draws_its_own_row_of_noise_in_every_batch() -> None:
    several = [np.random.default_rng(seed) for seed in range(3)]
    together = np.concatenate([gumbel(several, 5), gumbel(several[1:2], 5), gumbel(several[::2], 5)])
    again = [np.random.default_rng(seed) for seed in range(3)]
    alone = np.concatenate([gumbel([again[index]], 5) for index in (0, 1, 2, 1, 0, 2)])
    np.testing.assert_array_equal(together, alone)


def test_filters_are_fields_of_a_choice_whose_defaults_are_off() -> None:
    logits = np.random.default_rng(0).normal(0, 2, (1, 9))
    values: dict[str, Any] = {"top_k": 2, "top_p": 0.5, "min_p": 0.5, "typical": 0.5}
    assert list(FILTERS) == list(values)
    for name, value in values.items():
        kept = FILTERS[name](log_softmax(logits), value)
        assert 0 < kept.sum() < 9
        np.testing.assert_array_equal(probabilities(Choice(**{name: value}), logits[0]) > 0, kept[0])
    assert (probabilities(Choice(), logits[0]) > 0).all()


def test_a_row_can_continue_where_a_possible_character_is_allowed_or_its_logits_are_damaged() -> None:
    logits = np.array([[0, -np.inf], [-np.inf, 0], [np.nan, 0], [-np.inf, -np.inf]])
    assert can_continue(logits, None).all()
    only_first = np.array([[True, False]] * 4)
    assert can_continue(logits, only_first).tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"temperature": -1.0}, "--temperature"),
        ({"temperature": math.nan}, "--temperature"),
        ({"temperature": math.inf}, "--temperature"),
        ({"final_temperature": -1.0}, "--temperature"),
        ({"final_temperature": math.nan}, "--temperature"),
        ({"top_k": -1}, "--top-k"),
        ({"top_p": 0.0}, "--top-p"),
        ({"top_p": 1.5}, "--top-p"),
        ({"top_p": math.nan}, "--top-p"),
        ({"min_p": -0.1}, "--min-p"),
        ({"min_p": 1.1}, "--min-p"),
        ({"min_p": math.nan}, "--min-p"),
        ({"typical": 0.0}, "--typical"),
        ({"typical": 1.1}, "--typical"),
        ({"repeat_penalty": 0.0}, "--repeat-penalty"),
        ({"repeat_penalty": math.inf}, "--repeat-penalty"),
        ({"repeat_penalty": math.nan}, "--repeat-penalty"),
    ],
)
def test_an_error_in_a_choice_names_the_option(settings: dict, option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        Choice(**settings)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("logits", [[np.nan, 0.0], [0.0, np.nan], [np.inf, 0.0], [-np.inf, -np.inf]])
@pytest.mark.parametrize("choice", [Choice(0), Choice(), Choice(1e-9), Choice(top_p=0.5), Choice(2.0)])
def test_logits_that_are_not_finite_are_an_error_not_a_draw(logits, choice: Choice, rows: int) -> None:
    some = np.array([[0.0, 1.0], logits])[-rows:]
    with pytest.raises(CheckpointError, match="not finite"):
        choice.draw(some, np.zeros(some.shape))


@pytest.mark.parametrize("choice", [Choice(0), Choice(), Choice(typical=0.5)])
def test_a_row_without_an_allowed_character_is_an_error(choice: Choice) -> None:
    allowed = np.array([[True, False], [False, False]])
    with pytest.raises(ConfigError, match="no character is left"):
        choice.draw(np.zeros((2, 2)), np.zeros((2, 2)), allowed)
    with pytest.raises(ConfigError, match="no character is left"):
        choice.draw(np.array([[0.0, -np.inf]]), np.zeros((1, 2)), np.array([[False, True]]))


def test_normalised_scores_are_log_probabilities_of_any_size() -> None:
    np.testing.assert_allclose(np.exp(log_softmax(np.array([[1e6, 1e6, -1e300]]))), [[0.5, 0.5, 0]])
