"""Models whose texts are written for labels and vectors, guidance, and the label of a text."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from charrnn import cells
from charrnn.conditions import Label, Values, Vector
from charrnn.config import ModelConfig
from charrnn.errors import ConfigError
from charrnn.inference import score_lines as lines_module
from charrnn.inference.choice import Choice, log_softmax
from charrnn.inference.clamp import with_clamps
from charrnn.inference.classify import Confusion, classify, log_prior
from charrnn.inference.conditioned import Guided, conditioned, conditions_of
from charrnn.inference.constraints import Constraints
from charrnn.inference.mixing import Mixing
from charrnn.inference.mixture import Mixture
from charrnn.inference.network import Inference, Logits, Predictor
from charrnn.inference.ngram_counts import build
from charrnn.inference.ops import NumpyOps
from charrnn.inference.sample import sample, sample_generator
from charrnn.inference.score import log_probabilities
from charrnn.inference.score_lines import BATCH, score_lines
from charrnn.inference.states import Cursor, select_rows
from charrnn.runs import parameters
from charrnn.text.vocabulary import Vocabulary
from tests.generation_oracles import Generated, gathered, softmax

V, END = 5, 4
LETTERS = Vocabulary("abcd", documents=True)
LANG = Label("lang", ("de", "en", "fr"))
PICTURE = Vector("picture", (0.5, 0.0), (2.0, 1.0))
TEXT = np.array([END, 0, 1, 1, 3, END, 2, 0])
"""Two documents."""
VALUES: list[dict[str, Any]] = [
    {},
    {"lang": "de"},
    {"lang": "fr", "picture": [1.5, -1]},
    {"lang": {"en": 3, "fr": 1}},
    {"picture": [0, 0.25]},
    {"lang": None, "picture": None},
]


def weights_of(config: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(0, 0.8, shape) for name, shape in parameters.shapes(config, V).items()}


def settings(cell: str = "lstm", condition: str = "every", embedding: int = 3) -> ModelConfig:
    conditions = LANG, PICTURE
    return ModelConfig(
        cell, 2, 5, embedding, documents=True, conditions=conditions, condition=condition, condition_width=2
    )


def net(seed: int = 0, config: ModelConfig | None = None) -> Inference:
    config = config or settings()
    return Inference(config, weights_of(config, seed))


def read(model: Predictor, ids: np.ndarray = TEXT) -> Logits:
    """(T, V) logits after each character."""
    result: Logits = model(ids[None], model.start(1))[0][0]
    return result


# --- a network and its conditions ---


def inputs_of(values: Values) -> list[np.ndarray]:
    """What the values are as numbers: a one-hot row, shares, or a scaled vector behind its "missing"."""
    lang, picture = values.get("lang"), values.get("picture")
    shares = lang if isinstance(lang, Mapping) else {lang: 1}
    row = np.array([shares.get(value, 0) for value in (None, *LANG.values)], float)
    scaled = [1, 0, 0] if picture is None else [0, (picture[0] - 0.5) / 2, picture[1]]
    return [row / row.sum(), np.array(scaled, float)]


def read_with(config: ModelConfig, weights: dict[str, np.ndarray], values: Values) -> np.ndarray:
    """(T, V) logits of TEXT by the equations: each character, then what it is written for, as one input."""
    cell, all_logits = cells.get(config.cell), []
    layers = [
        SimpleNamespace(**{n: np.atleast_2d(weights[f"layers.{k}.{n}"]) for n in cell.shapes(size, 5)})
        for k, size in enumerate(parameters.layer_inputs(config, V))
    ]
    embedded = [row @ weights[f"conditions.{k}.weight"] for k, row in enumerate(inputs_of(values))]
    states: list[Any] = []
    for symbol in TEXT:
        character = weights["embedding.weight"][symbol] if config.embedding else np.eye(V)[symbol]
        if symbol == END:
            states = [tuple(np.zeros((1, config.hidden)) for _ in cell.state_names)] * config.layers
        given = np.concatenate(embedded) * (config.condition == "every" or symbol == END)
        x = np.concatenate([character, given])[None]
        for k, layer in enumerate(layers):
            states[k], _ = cell.step(layer, cell.inputs(layer, x, NumpyOps), states[k], NumpyOps)
            x = states[k][0]
        all_logits.append(x[0] @ weights["readout.weight"].T + weights["readout.bias"])
    return np.array(all_logits)


@pytest.mark.parametrize("cell", cells.names())
@pytest.mark.parametrize(("condition", "embedding"), [("every", 3), ("first", 3), ("every", 0), ("first", 0)])
def test_a_condition_is_read_beside_each_character_or_beside_start_alone(
    cell: str, condition: str, embedding: int
) -> None:
    config = settings(cell, condition, embedding)
    weights = weights_of(config)
    model = Inference(config, weights)
    for values in VALUES:
        expected = read_with(config, weights, values)
        np.testing.assert_allclose(read(conditioned(model, values)), expected, atol=1e-9)


def test_values_change_what_is_written_and_not_the_model() -> None:
    model = net()
    free = read(model)
    rows = [read(conditioned(model, values)) for values in VALUES[:5]]
    for one, other in itertools.combinations(rows, 2):
        assert np.abs(one - other).max() > 0.1
    assert (read(model) == free).all()
    np.testing.assert_array_equal(read(conditioned(model, VALUES[5])), free)


def test_a_label_that_is_not_named_is_missing_again() -> None:
    model = net()
    np.testing.assert_array_equal(read(conditioned(conditioned(model, {"lang": "de"}), {})), read(model))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lan": "de"}, "no label or vector called 'lan'; did you mean lang"),
        ({"age": "de"}, "called 'age'; it has: lang, picture"),
        ({"lang": "fre"}, "label lang has no value 'fre'; did you mean fr"),
        ({"lang": "xx"}, "no value 'xx'; its values: de, en, fr"),
        ({"lang": {"de": 0, "en": 0}}, "shares must be 0 or more, and one of them above 0"),
        ({"lang": {"de": 2, "en": -1}}, "shares must be 0 or more"),
        ({"lang": {"de": float("nan")}}, "shares must be 0 or more"),
        ({"picture": [1]}, "vector picture: must have 2 numbers, not 1"),
        ({"picture": [1, float("nan")]}, "number 2 is NaN, not a finite number"),
        ({"picture": "12"}, "must be a list of numbers"),
    ],
)
def test_a_value_that_the_model_cannot_have_is_refused(values: Values, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        conditioned(net(), values)


def test_a_model_without_conditions_says_so() -> None:
    config = ModelConfig(hidden=4, embedding=2, documents=True)
    with pytest.raises(ConfigError, match="lang: this model has no labels and no vectors"):
        conditioned(Inference(config, weights_of(config)), {"lang": "de"})


# --- guidance ---


def guided(strength: float, seed: int = 0) -> Guided:
    return Guided(conditioned(net(seed), VALUES[2]), net(seed), strength)


def test_guidance_is_its_formula_whatever_pieces_a_text_comes_in() -> None:
    conditional, free = log_softmax(read(conditioned(net(), VALUES[2]))), log_softmax(read(net()))
    for strength in (0.0, 0.5, 3.0):
        model = guided(strength)
        expected = conditional + strength * (conditional - free)
        np.testing.assert_allclose(read(model), expected, atol=1e-12)
        state, parts = model.start(1), []
        for piece in (TEXT[:1], TEXT[1:6], TEXT[6:]):
            logits, state = model(piece[None], state)
            parts.append(logits[0])
        np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-12)


def test_guidance_favours_the_character_that_the_condition_makes_more_probable_than_any_other() -> None:
    conditional, free = softmax(read(conditioned(net(), VALUES[2]))), softmax(read(net()))
    gains_most = (conditional / free).argmax(-1)[:, None]
    before = np.take_along_axis(conditional, gains_most, -1)
    for strength in (0.5, 2.0, 8.0):
        after = np.take_along_axis(softmax(read(guided(strength))), gains_most, -1)
        assert (after > before).all()
        before = after


def test_the_rows_of_a_guided_state_are_texts_of_their_own() -> None:
    model = guided(2.0)
    rows = np.array([[END, 0, 1], [END, 2, 2], [END, 3, 0]])
    _, state = model(rows, model.start(3))
    chosen = [2, 0, 2]
    logits, _ = model(np.array([[1], [1], [3]]), select_rows(state, chosen))
    for row, (index, symbol) in enumerate(zip(chosen, (1, 1, 3), strict=True)):
        alone = read(model, np.array([*rows[index], symbol]))[-1]
        np.testing.assert_allclose(logits[row, 0], alone, atol=1e-12)


def test_a_guided_model_can_be_written_for_other_values() -> None:
    other = conditioned(guided(1.5), {"lang": "en"})
    expected = Guided(conditioned(net(), {"lang": "en"}), net(), 1.5)
    np.testing.assert_array_equal(read(other), read(expected))
    assert conditions_of(other) == [LANG, PICTURE]


def test_guidance_of_a_clamped_network_holds_the_unit_in_both_halves() -> None:
    held = with_clamps(net(), {(1, 0): 0.5})
    conditional, free = log_softmax(read(conditioned(held, {"lang": "de"}))), log_softmax(read(held))
    model = Guided(conditioned(held, {"lang": "de"}), held, 2.0)
    np.testing.assert_allclose(read(model), 3 * conditional - 2 * free, atol=1e-12)
    assert np.abs(free - log_softmax(read(net()))).max() > 0.01


@pytest.mark.parametrize("strength", [-0.1, 100.5, float("nan"), float("inf")])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(ConfigError, match=r"must be from 0 \(off\) to 100"):
        guided(strength)


# --- mixtures ---


def mixture() -> Mixture:
    ngram = build(np.array([*TEXT, END]), V, 3, boundary=END)
    return Mixture([net(), ngram, net(1)], Mixing.constant([1, 2, 1]))


def test_each_network_of_a_mixture_is_given_the_condition() -> None:
    models = mixture()
    free = read(models)
    shares = [
        share * softmax(read(model))
        for share, model in zip(
            (0.25, 0.5, 0.25),
            (conditioned(net(), VALUES[2]), models.predictors[1], conditioned(net(1), VALUES[2])),
            strict=True,
        )
    ]
    np.testing.assert_allclose(softmax(read(conditioned(models, VALUES[2]))), sum(shares), atol=1e-12)
    np.testing.assert_array_equal(read(models), free)
    assert conditions_of(models) == [LANG, PICTURE] * 2


def test_a_mixture_is_guided_as_a_whole() -> None:
    given, free = conditioned(mixture(), {"lang": "de"}), mixture()
    expected = 3 * log_softmax(read(given)) - 2 * log_softmax(read(free))
    np.testing.assert_allclose(read(Guided(given, free, 2.0)), expected, atol=1e-9)
    with pytest.raises(ConfigError, match="this one has none"):
        Guided(mixture().predictors[1], mixture().predictors[1], 1.0)


# --- sampling and scoring ---


def assert_equal(one: Generated, other: Generated) -> None:
    assert (one.ids, one.ended) == (other.ids, other.ended)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-9)


@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_samples_of_different_labels_in_one_batch_are_those_of_each_label_alone(strength: float) -> None:
    model: Predictor = Guided(net(), net(), strength) if strength else net()
    models = [conditioned(model, values) for values in VALUES] * 2
    cursors = [Cursor(np.array([END, 1, 0][: 1 + k % 3]), m.start(1)) for k, m in enumerate(models)]
    constraints = Constraints(V, 30, end=END)
    generators = [sample_generator(1, index) for index in range(len(models))]
    together = gathered(sample(model, cursors, Choice(), constraints, generators, scored=True))
    for index, (cursor, own) in enumerate(zip(cursors, models, strict=True)):
        generator = sample_generator(1, index)
        (alone,) = gathered(sample(own, [cursor], Choice(), constraints, [generator], scored=True))
        assert_equal(together[index], alone)
    assert len({text.ids for text in together}) > 4


@pytest.mark.parametrize("positions", [7, 10_000])
def test_documents_are_scored_under_their_own_labels_without_their_prompts(
    positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "POSITIONS", positions)
    generator, model = np.random.default_rng(0), net()
    count = BATCH + 10
    texts = [generator.integers(0, END, generator.integers(0, 12)) for _ in range(count)]
    documents = [np.array([*text, END]) for text in texts]
    skips = [int(generator.integers(0, len(text) + 1)) for text in texts]
    models = [conditioned(model, VALUES[k % len(VALUES)]) for k in range(count)]
    states = [own.start(1) for own in models]
    start = Cursor(np.array([END]), model.start(1))
    nats = score_lines(model, documents, start, states, skips)
    expected = [
        log_probabilities(own, LETTERS, ids)[skip:].sum()
        for own, ids, skip in zip(models, documents, skips, strict=True)
    ]
    np.testing.assert_allclose(nats, expected, atol=1e-9)
    plain = [log_probabilities(model, LETTERS, ids).sum() for ids in documents]
    np.testing.assert_allclose(score_lines(model, documents, start), plain, atol=1e-9)


# --- classification ---


def test_the_verdict_is_that_of_bayes_rule() -> None:
    model, prior = net(), np.array([0.5, 0.2, 0.3])
    texts = [np.array(ids) for ids in ([0, 1, END], [2, END], [3, 3, 1, 0, END])]
    by_value = [conditioned(model, {"lang": value}) for value in LANG.values]
    likelihoods = np.array([[log_probabilities(m, LETTERS, ids).sum() for m in by_value] for ids in texts])
    joint = np.exp(likelihoods) * prior
    posterior = joint / joint.sum(1, keepdims=True)
    for row, verdict in zip(posterior, classify(likelihoods, np.log(prior)), strict=True):
        np.testing.assert_allclose(np.exp(verdict.log_posterior), row)
        assert [verdict.best, verdict.runner_up] == np.argsort(-row)[:2].tolist()


def test_texts_too_improbable_for_float64_still_have_a_posterior() -> None:
    (verdict,) = classify(np.array([[-1e5, -1e5 - 1, -2e5]]), log_prior(None, 3))
    np.testing.assert_allclose(np.exp(verdict.log_posterior), [1 / (1 + np.exp(-1)), 1 / (1 + np.e), 0])
    (tie,) = classify(np.array([[-1.0, -3.0, -1.0]]), log_prior(None, 3))
    assert (tie.best, tie.runner_up) == (0, 2)


@pytest.mark.parametrize(("counts", "expected"), [(None, [1, 1, 1]), ([0, 8, 2], [1, 9, 3])])
def test_the_prior_is_uniform_or_the_counts_and_one(counts: Sequence[int] | None, expected: list) -> None:
    np.testing.assert_allclose(np.exp(log_prior(counts, 3)), np.array(expected) / sum(expected))


def test_a_confusion_counts_each_truth_and_verdict() -> None:
    confusion = Confusion()
    for truth, verdict in map(tuple, ["aa", "ab", "ba", "ba", "bb", "ca", "aa", "xb"]):
        confusion.add(truth, verdict)
    assert (confusion.total, confusion.correct) == (8, 3)
    assert confusion.matrix("abc").tolist() == [[2, 1, 0], [2, 1, 0], [1, 0, 0]]
    assert confusion.errors == [("b", "a", 2), ("a", "b", 1), ("c", "a", 1), ("x", "b", 1)]
    assert (Confusion().total, Confusion().errors) == (0, [])
