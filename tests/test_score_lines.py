"""Scores of lines: inference, and the command with --lines, --compare and --candidates."""

from __future__ import annotations

import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.inference import ngram_counts, score_lines
from charrnn.inference.mixing import Mixing
from charrnn.inference.mixture import Mixture
from charrnn.inference.network import Predictor
from charrnn.inference.score_lines import Start, posterior, score_carried
from tests.generation_oracles import Table, network, softmax

V = 5
NETWORK = network(symbols=V)
NGRAM = ngram_counts.build(np.random.default_rng(0).integers(0, V, 300), V, 4)
PREDICTORS = {
    "network": NETWORK,
    "n-gram model": NGRAM,
    "mixture": Mixture([NETWORK, NGRAM], Mixing.constant([1, 2])),
}
texts = st.lists(st.lists(st.integers(0, V - 1), max_size=9), max_size=12)
predictors = pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)


def arrays(lines: list[list[int]]) -> list[np.ndarray]:
    return [np.array(line, np.uint8) for line in lines]


def begin(predictor: Predictor) -> Start:
    return Start(np.array([1]), predictor.start(1))


def alone(predictor: Predictor, line: list[int]) -> float:
    """The log-probability of a line, read at once."""
    logits, _ = predictor(np.array([[1, *line]]), predictor.start(1))
    return math.fsum(math.log(row[i]) for row, i in zip(softmax(logits[0]), line, strict=False))


@pytest.mark.slow
@settings(max_examples=25)
@predictors
@given(lines=texts, batch=st.sampled_from([1, 2, 64]), positions=st.sampled_from([1, 7, 2048]))
def test_a_line_in_a_batch_scores_as_it_does_alone_and_in_its_order(
    predictor: Predictor, lines: list[list[int]], batch: int, positions: int
) -> None:
    with patch.object(score_lines, "BATCH", batch), patch.object(score_lines, "POSITIONS", positions):
        scores = score_lines.score_lines(predictor, arrays(lines), begin(predictor))
    np.testing.assert_allclose(scores, [alone(predictor, line) for line in lines], atol=1e-5)


@pytest.mark.slow
@settings(max_examples=25)
@predictors
@given(lines=texts, cut=st.integers(0, 12), chunk=st.sampled_from([1, 4, 512]))
def test_carried_lines_score_as_one_text_however_they_are_grouped(
    predictor: Predictor, lines: list[list[int]], cut: int, chunk: int
) -> None:
    with patch.object(score_lines, "CHUNK", chunk):
        first, start = score_carried(predictor, arrays(lines[:cut]), begin(predictor))
        second, _ = score_carried(predictor, arrays(lines[cut:]), start)
    scores = np.concatenate([first, second])
    ends = np.cumsum([len(line) for line in lines])
    text = [symbol for line in lines for symbol in line]
    np.testing.assert_allclose(np.cumsum(scores), [alone(predictor, text[:end]) for end in ends], atol=1e-5)


def test_lines_that_share_a_start_score_the_difference_of_the_texts() -> None:
    prompt = [2, 0, 3]
    _, after = score_carried(NETWORK, arrays([prompt]), begin(NETWORK))
    scores = score_lines.score_lines(NETWORK, arrays([[4], [0, 1, 2], []]), after)
    whole = [alone(NETWORK, prompt + line) for line in ([4], [0, 1, 2], [])]
    np.testing.assert_allclose(scores, np.array(whole) - alone(NETWORK, prompt), atol=1e-5)


def test_a_start_is_not_changed_by_the_lines_after_it() -> None:
    start = begin(NETWORK)
    before = [array.copy() for layer in start.state for array in layer]
    first = score_lines.score_lines(NETWORK, arrays([[1, 2]] * 3), start)
    np.testing.assert_array_equal(first, score_lines.score_lines(NETWORK, arrays([[1, 2]] * 3), start))
    for array, copy in zip((array for layer in start.state for array in layer), before, strict=True):
        np.testing.assert_array_equal(array, copy)


class Counting(Table):
    """A uniform predictor that notes the largest call, in characters, and how many it reads in all."""

    def __init__(self) -> None:
        super().__init__(np.zeros((V, V)))
        self.largest = self.total = 0

    def __call__(self, ids, state, trace=None):
        self.largest, self.total = max(self.largest, ids.size), self.total + ids.size
        return super().__call__(ids, state, trace)


def test_no_call_is_large_and_no_character_is_read_twice() -> None:
    lines = [np.zeros(length, np.uint8) for length in [100_000, *range(200), 7]]
    counting = Counting()
    scores = score_lines.score_lines(counting, lines, begin(counting))
    np.testing.assert_allclose(scores, [-len(line) * math.log(V) for line in lines])
    assert counting.largest <= score_lines.POSITIONS
    assert counting.total == sum(map(len, lines))


def test_a_character_of_probability_0_makes_a_line_impossible_and_no_other() -> None:
    table = Table(np.where(np.eye(V) == 1, -np.inf, 0.0))  # no character follows itself
    scores = score_lines.score_lines(table, arrays([[2, 2], [2, 3]]), begin(table))
    np.testing.assert_allclose(scores, [-np.inf, -2 * math.log(V - 1)])


@given(st.lists(st.floats(-500, 0), min_size=1, max_size=5))
def test_the_posterior_is_that_of_bayes_and_sums_to_one(log_probabilities: list[float]) -> None:
    result = posterior(np.array(log_probabilities))
    assert result.sum() == pytest.approx(1)
    best = max(log_probabilities)
    likelihoods = [math.exp(value - best) for value in log_probabilities]
    np.testing.assert_allclose(result, [value / sum(likelihoods) for value in likelihoods], atol=1e-12)


def test_without_any_line_there_is_no_score() -> None:
    assert score_lines.score_lines(NETWORK, [], begin(NETWORK)).shape == (0,)
    assert score_carried(NETWORK, [], begin(NETWORK))[0].shape == (0,)
