"""Mixtures of models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import ModelConfig
from charrnn.errors import CheckpointError, ConfigError
from charrnn.inference.choice import Choice
from charrnn.inference.constraints import Constraints
from charrnn.inference.mixing import Mixing
from charrnn.inference.mixture import Mixture, check_vocabularies, check_weights
from charrnn.inference.network import Inference, Predictor
from charrnn.inference.sample import sample, sample_generator
from charrnn.inference.states import Cursor
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import random_weights
from tests.generation_oracles import gathered, network, softmax

V = 6


PARTS = [
    network(cell, layers, hidden, V, seed)
    for seed, (cell, layers, hidden) in enumerate([("lstm", 2, 5), ("gru", 1, 7), ("mingru", 3, 4)])
]
TEXT = np.random.default_rng(0).integers(0, V, (3, 9))


def read(predictor: Predictor, text: np.ndarray = TEXT) -> np.ndarray:
    return predictor(text, predictor.start(len(text)))[0]


@given(st.lists(st.floats(0.01, 100), min_size=3, max_size=3))
def test_probabilities_are_the_weighted_mean(weights: list[float]) -> None:
    result = np.exp(read(Mixture(PARTS, Mixing.constant(weights))))
    expected = sum(w * softmax(read(part)) for w, part in zip(weights, PARTS, strict=True)) / sum(weights)
    np.testing.assert_allclose(result, expected, rtol=1e-9)
    np.testing.assert_allclose(result.sum(-1), 1)


def test_a_model_mixed_with_itself_is_itself() -> None:
    for mixture in (
        Mixture([PARTS[0]], Mixing.constant([7])),
        Mixture([PARTS[0]] * 2, Mixing.constant([0.7, 0.3])),
    ):
        np.testing.assert_allclose(np.exp(read(mixture)), softmax(read(PARTS[0])), rtol=1e-12)


def test_only_the_ratios_of_the_weights_matter() -> None:
    np.testing.assert_allclose(
        read(Mixture(PARTS, Mixing.constant([1, 2, 5]))),
        read(Mixture(PARTS, Mixing.constant([0.125, 0.25, 0.625]))),
        rtol=1e-12,
    )


def test_the_weight_0_drops_a_model() -> None:
    np.testing.assert_array_equal(
        read(Mixture(PARTS, Mixing.constant([1, 0, 3]))), read(Mixture(PARTS[::2], Mixing.constant([1, 3])))
    )
    np.testing.assert_array_equal(
        read(Mixture(PARTS, Mixing.constant([5e-324, 0, 0]))), read(Mixture(PARTS[:1], Mixing.constant([1])))
    )


def test_a_mixture_keeps_the_states_of_all_models() -> None:
    mixture = Mixture(PARTS, Mixing.constant([1, 2, 5]))
    state, result = mixture.start(3), []
    for at in range(TEXT.shape[1]):
        logits, state = mixture(TEXT[:, at : at + 1], state)
        result.append(logits)
    np.testing.assert_allclose(np.concatenate(result, 1), read(mixture), rtol=1e-4, atol=1e-5)
    after = [PARTS[k](TEXT, PARTS[k].start(3))[1] for k in range(3)]
    for layer, expected in zip(state, (layer for one in after for layer in one), strict=True):
        np.testing.assert_allclose(layer, expected, rtol=1e-4, atol=1e-5)


def test_a_character_that_no_model_allows_has_probability_zero() -> None:
    class Never:
        symbols = 3

        def start(self, batch: int):
            return ((np.zeros((batch, 1)),),)

        def __call__(self, ids, state, trace=None):
            return np.broadcast_to(np.array([0.0, -np.inf, -2000.0]), (*ids.shape, 3)), state

    result = read(Mixture([Never(), Never()], Mixing.constant([1, 1])), np.zeros((1, 1), int))
    np.testing.assert_array_equal(result, [[[0, -np.inf, -np.inf]]])


def test_a_damaged_model_in_a_mixture_is_an_error() -> None:
    config = ModelConfig(layers=1, hidden=2, embedding=2)
    damaged = Inference(config, {k: w * np.float32(np.nan) for k, w in random_weights(config, V).items()})
    mixture = Mixture([PARTS[0], damaged], Mixing.constant([1, 1]))
    with pytest.raises(CheckpointError, match="not finite"):
        list(
            sample(
                mixture,
                [Cursor(TEXT[0], mixture.start(1))],
                Choice(),
                Constraints(V, 3),
                [sample_generator(0)],
            )
        )


def test_a_mixture_scores_the_samples_of_a_batch_as_it_scores_each_text_read_alone() -> None:
    mixture = Mixture(PARTS, Mixing.constant([1, 2, 5]))
    cursors = [Cursor(TEXT[0, : 2 + k % 3], mixture.start(1)) for k in range(9)]
    generators = [sample_generator(1, k) for k in range(9)]
    texts = gathered(sample(mixture, cursors, Choice(), Constraints(V, 40), generators, scored=True))
    assert len({text.ids for text in texts}) == 9
    for cursor, text in zip(cursors, texts, strict=True):
        whole = np.array([*cursor.unread, *text.ids])
        expected = read(mixture, whole[None, :-1])[0, -40:][np.arange(40), whole[-40:]]
        np.testing.assert_allclose(text.scores, expected, atol=1e-3)


@pytest.mark.parametrize(
    "weights",
    [[1, 2], [1, 2, 3, 4], [0, 0, 0], [1, -1, 1], [1, np.nan, 1], [1, np.inf, 1], [1e308] * 3, []],
)
def test_an_error_in_the_weights_names_the_option(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"^--weights"):
        check_weights(weights, len(PARTS))


BYTES = Vocabulary("abc", byte_level=True)


def test_models_of_one_vocabulary_agree() -> None:
    check_vocabularies(["one", "two", "three"], [Vocabulary("abc")] * 3)
    check_vocabularies(["one"], [BYTES])


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (Vocabulary("abc"), BYTES, "one knows characters, the other bytes"),
        (Vocabulary("abc"), Vocabulary("ab"), r"two lacks 'c' \(U\+0063 LATIN SMALL LETTER C\); make"),
        (Vocabulary("ab"), Vocabulary("abc"), r"first lacks 'c' \(U\+0063 LATIN SMALL LETTER C\); make"),
        (Vocabulary("\nab"), Vocabulary("abc"), r"two lacks '\\n' \(U\+000A\); first lacks 'c' \(.*\); make"),
        (Vocabulary("abcdefgh"), Vocabulary("a"), r"two lacks 'b' .* and 2 more; make"),
    ],
)
def test_the_difference_between_vocabularies_is_reported_in_one_line(
    one: Vocabulary, other: Vocabulary, message: str
) -> None:
    with pytest.raises(ConfigError, match="^first and two do not mix.*" + message) as caught:
        check_vocabularies(["first", "same", "two"], [one, one, other])
    assert str(caught.value).isprintable()
