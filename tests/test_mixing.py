"""How a mixture weighs its models, and how the weights are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.config import ModelConfig, TrainConfig
from charrnn.inference import fit_mixing, mixing_file
from charrnn.inference.fit_mixing import CONSTANT, FEATURED, Fitted, Form, Predictions
from charrnn.inference.mixing import LOWEST, Mixing, character_classes, features
from charrnn.inference.mixture import Mixture
from charrnn.inference.network import Predictor
from charrnn.inference.ngram_counts import build
from charrnn.runs.checkpoint import Checkpoint, Header
from charrnn.text.cache import cache_folder
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import charrnn
from tests.generation_oracles import network

V = 5
FORMS = [*CONSTANT, *FEATURED, Form("linear", True, 3)]


def made_up(seed: int, count: int = 400, models: int = 2, noise: float = 2.0) -> Predictions:
    """Predictions of models that know the characters' distribution, each with its own errors."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (count, 1, V))
    truth = np.exp(logits[:, 0])
    targets = (truth.cumsum(1) / truth.sum(1, keepdims=True) < generator.random((count, 1))).sum(1)
    seen = logits + generator.normal(0, noise, (count, models, V))
    log_probabilities = seen - np.log(np.exp(seen).sum(2, keepdims=True))
    return Predictions(log_probabilities, features(log_probabilities), targets)


def mixing_of(form: Form, inputs: int, models: int, seed: int) -> Mixing:
    generator = np.random.default_rng(seed)
    rows = 1 + form.hidden if form.hidden else inputs if form.featured else 1
    hidden = generator.normal(0, 0.5, (inputs, form.hidden)) if form.hidden else None
    return Mixing(form.kind, generator.normal(0, 0.5, (rows, models)), hidden)


def x_of(form: Form, data: Predictions) -> np.ndarray:
    return data.features if form.featured else data.features[:, :1]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_finite_differences(form: Form, seed: int) -> None:
    data = made_up(seed, 20, 3)
    mixing = mixing_of(form, data.features.shape[1], 3, seed)
    x = x_of(form, data)
    loss = mixing.loss(data.log_probabilities, x, data.targets)
    for array, gradient in ((mixing.coefficients, loss.coefficients), (mixing.hidden, loss.hidden)):
        if array is None or gradient is None:
            continue
        for index in np.ndindex(*array.shape):
            before, values = array[index], []
            for step in (1e-5, -1e-5):
                array[index] = before + step
                values.append(mixing.loss(data.log_probabilities, x, data.targets).nats)
            array[index] = before
            assert gradient[index] == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_loss_is_that_of_the_mixtures_predictions(form: Form) -> None:
    data = made_up(4, 50)
    mixing, x = mixing_of(form, data.features.shape[1], 2, 1), x_of(form, data)
    mixed = mixing(data.log_probabilities, x)
    np.testing.assert_allclose(np.exp(mixed).sum(1), 1)
    expected = -mixed[np.arange(50), data.targets].mean()
    assert mixing.loss(data.log_probabilities, x, data.targets).nats == pytest.approx(expected)


def test_a_character_that_no_model_allows_has_a_finite_loss() -> None:
    data = made_up(0, 3)
    data.log_probabilities[0, :, data.targets[0]] = -np.inf
    for form in FORMS:
        loss = mixing_of(form, 5, 2, 0).loss(data.log_probabilities, x_of(form, data), data.targets)
        assert 0 < loss.nats < -LOWEST
        assert np.isfinite(loss.coefficients).all()


@pytest.mark.parametrize("form", CONSTANT + FEATURED[:2], ids=str)
@given(st.integers(0, 2**32), st.floats(0.5, 4))
@settings(max_examples=8)
def test_fitted_weights_are_as_good_as_the_best_model_and_as_equal_weights(
    form: Form, seed: int, noise: float
) -> None:
    data = made_up(seed, noise=noise)
    fitted = fit_mixing.fit_form(form, data)
    nats = fitted.loss(data.log_probabilities, x_of(form, data), data.targets).nats
    equal = Mixing.constant([1, 1]).loss(data.log_probabilities, data.features[:, :1], data.targets).nats
    assert nats <= min(*data.losses, equal) + 1e-3


@pytest.mark.parametrize("form", CONSTANT, ids=str)
def test_a_useless_model_gets_no_weight(form: Form) -> None:
    data = made_up(1, 3000, noise=0.1)
    data.log_probabilities[:, 1] = -np.log(V) + 0.5 * np.random.default_rng(0).normal(size=(3000, V))
    weights = fit_mixing.fit_form(form, data).weights(data.features[:, :1])[0]
    assert weights[1] < 0.05 < 0.9 < weights[0]


@pytest.mark.slow
def test_weights_follow_the_model_that_is_sure() -> None:
    data = made_up(2, 6000, noise=0.0)
    generator = np.random.default_rng(0)
    blind = generator.integers(0, 2, 6000)  # the model that knows nothing and is not sure, each time another
    guesses = generator.normal(0, 1, (6000, V))
    guesses -= np.log(np.exp(guesses).sum(1, keepdims=True))
    data.log_probabilities[np.arange(6000), blind] = guesses
    data = data._replace(features=features(data.log_probabilities))
    fitted = fit_mixing.fit(data)
    assert not fitted.mixing.is_constant
    assert fitted.loss < fit_mixing.fit(data._replace(features=data.features[:, :1])).loss - 0.02
    weights = fitted.mixing.weights(data.features)
    assert weights[np.arange(6000), 1 - blind].mean() > 2 * weights[np.arange(6000), blind].mean()


def test_a_short_part_gets_constant_weights() -> None:
    assert fit_mixing.fit(made_up(3, fit_mixing.MIN_FOR_FEATURES - 1)).mixing.is_constant


def test_fitting_twice_gives_the_same_weights() -> None:
    one, other = (fit_mixing.fit_form(FEATURED[-1], made_up(5)) for _ in range(2))
    np.testing.assert_array_equal(one.coefficients, other.coefficients)
    assert one.hidden is not None
    assert other.hidden is not None
    np.testing.assert_array_equal(one.hidden, other.hidden)


@given(st.integers(0, 2**32))
def test_minimise_finds_the_lowest_point_of_a_quadratic(seed: int) -> None:
    generator = np.random.default_rng(seed)
    root = generator.normal(size=(6, 6)) + 3 * np.eye(6)
    curvature, lowest = root.T @ root, generator.normal(size=6)

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        slope = curvature @ (x - lowest)
        return float((x - lowest) @ slope) / 2, slope

    assert function(fit_mixing.minimise(function, np.zeros(6)))[0] < 1e-3 * function(np.zeros(6))[0] + 1e-5


TEXT = np.random.default_rng(0).integers(0, V, 5000)
PARTS: list[Predictor] = [network("lstm", 1, 4, V, 0), build(TEXT[:3000], V, 3)]
CLASSES = character_classes("aB\n .")


def test_predictions_are_those_of_one_stream() -> None:
    mixture = Mixture(PARTS, Mixing.constant([1, 1]), CLASSES)
    data = fit_mixing.predictions(mixture, TEXT, range(3000, 4900), V)
    assert data.targets.tolist() == TEXT[3000:4900].tolist()
    whole = mixture.components(TEXT[None, 2999:4899], mixture.start(1), with_features=True)
    np.testing.assert_allclose(data.log_probabilities, whole.log_probabilities, atol=1e-4)
    np.testing.assert_allclose(data.features, whole.features, atol=1e-4)


def test_pieces_that_are_read_at_once_differ_little_from_one_stream() -> None:
    mixture = Mixture(PARTS, Mixing.constant([1, 1]))
    data = fit_mixing.predictions(mixture, TEXT, range(1, 5000), V)
    length = len(data.targets) // 4
    assert length == 4999 // 4
    whole = mixture.components(TEXT[None, :-1], mixture.start(1)).log_probabilities[: 4 * length]
    np.testing.assert_allclose(data.log_probabilities, whole, atol=1e-3)


def test_of_a_long_part_pieces_from_all_over_it_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_mixing, "MAX_CHARACTERS", 400)
    counts: list[int] = []
    mixture = Mixture(PARTS, Mixing.constant([1, 1]))
    data = fit_mixing.predictions(mixture, TEXT, range(1000, 5000), V, counts.append)
    expected = [TEXT[start : start + 100] for start in (1000, 2000, 3000, 4000)]
    assert data.targets.tolist() == np.concatenate(expected).tolist()
    assert sum(counts) == 400


def test_a_part_without_a_character_to_predict_is_an_error() -> None:
    with pytest.raises(ValueError, match="no character"):
        fit_mixing.predictions(Mixture(PARTS, Mixing.constant([1, 1])), TEXT, range(1), V)


def test_character_classes_are_a_partition() -> None:
    np.testing.assert_array_equal(CLASSES.argmax(1), [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(character_classes("".join(map(chr, range(0x300)))).sum(1), 1)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_file_gives_the_weights_again(form: Form, tmp_path: Path) -> None:
    fitted = Fitted(mixing_of(form, 7, 2, 3), [0.25, 0.7], [1.5, 1.75], 1.375, 1000)
    path = tmp_path / "new" / "file.json"
    mixing_file.save(path, fitted)
    loaded = mixing_file.load(path)
    assert loaded is not None
    assert (loaded.weights, loaded.losses, loaded.loss) == (fitted.weights, fitted.losses, fitted.loss)
    np.testing.assert_array_equal(loaded.mixing.coefficients, fitted.mixing.coefficients)
    assert (loaded.mixing.hidden is None) == (fitted.mixing.hidden is None)


def test_other_models_another_order_and_another_split_have_other_files() -> None:
    def checkpoint(sha256: str, split: tuple[float, float, float] = (90, 5, 5)) -> Checkpoint:
        header = Header(
            ModelConfig(), Vocabulary("ab"), TrainConfig(split=split), {"sha256": "t"}, weights_sha256=sha256
        )
        return Checkpoint(Path("x"), header, {})

    pairs = [("a", "b"), ("b", "a"), ("a", "c")]
    paths = [mixing_file.path_of([checkpoint(one), checkpoint(other)]) for one, other in pairs]
    paths.append(mixing_file.path_of([checkpoint("a", (80, 10, 10)), checkpoint("b", (80, 10, 10))]))
    assert len(set(paths)) == 4


def test_cache_lists_and_clears_the_weights() -> None:
    path = cache_folder() / f"{'0' * 32}.json"
    mixing_file.save(path, Fitted(Mixing.constant([1, 1]), [0.5, 0.5], [1.5, 1.75], 1.375, 1000))
    assert charrnn("cache").err.startswith("0 encoded texts and the weights of 1 mixture, ")
    assert charrnn("cache", "clear").err.startswith("deleted 0 encoded texts and the weights of 1 mixture")
    assert not path.exists()
