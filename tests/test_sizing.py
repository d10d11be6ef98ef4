"""Sizes chosen from text and budget, and those the user gave."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import BY_HEART, DEFAULT_EPOCHS, DEFAULT_MINUTES, DEFAULT_STEPS, ModelConfig, TrainConfig
from charrnn.runs import parameters
from charrnn.text.corpus import Corpus, open_corpus
from charrnn.text.sources import file_source
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import budget
from charrnn.training.devices import ProcessGroup
from charrnn.training.learner import Learner
from charrnn.training.sizing import (
    CHOSEN,
    CONNECTIONS,
    FEW_EPOCHS,
    MOST_LAYERS,
    choose,
    dropouts,
    learn_by_heart,
    of_parameters,
    regularised,
)
from tests.conftest import TEXT

lengths = st.integers(2, 10**9)
budgets = st.floats(1, 1e10)


@given(lengths, budgets, st.sets(st.sampled_from(CHOSEN)))
def test_only_what_the_user_left_open_is_chosen(length: int, read: float, left_open: set[str]) -> None:
    before = ModelConfig(hidden=77), TrainConfig(dropout=0.77, weight_drop=0.66, streams=5)
    model, config, why = choose(*before, left_open, length, lambda *settings: read)
    old, new = (vars(side[0]) | vars(side[1]) for side in (before, (model, config)))
    for name in CHOSEN:
        if name not in left_open:
            assert new[name] == old[name]
            assert name.replace("_", " ") not in why
        elif name not in CONNECTIONS:
            assert f"{name.replace('_', ' ')} {new[name]:g}" in why
    assert config.streams == 5


@given(lengths, budgets, st.integers(1, 5), st.sets(st.sampled_from(("hidden", *CONNECTIONS))))
def test_layers_are_connected_unless_the_user_says_otherwise(
    length: int, read: float, layers: int, left_open: set[str]
) -> None:
    model, _, why = choose(ModelConfig(layers=layers), TrainConfig(), left_open, length, lambda *_: read)
    assert model.layers == layers
    deep = layers > 1
    assert model.residual == (deep and "residual" in left_open) == ("residual" in why)
    assert (model.readout == "all") == (deep and "readout" in left_open) == ("readout all" in why)


@given(lengths, budgets, st.integers(1, 4))
def test_a_given_number_of_layers_gets_about_the_weights_that_the_chosen_one_would_get(
    length: int, read: float, layers: int
) -> None:
    free = choose(ModelConfig(), TrainConfig(), CHOSEN, length, lambda *_: read)[0]
    left_open = set(CHOSEN) - {"layers"}
    model = choose(ModelConfig(layers=layers), TrainConfig(), left_open, length, lambda *_: read)[0]
    units = [side.hidden * math.sqrt(2 * side.layers - 1) for side in (free, model)]
    assert units[1] == pytest.approx(units[0], abs=16 * math.sqrt(2 * max(layers, free.layers) - 1))
    assert model.layers == layers


@given(lengths, budgets)
def test_a_large_network_gets_more_layers_the_more_epochs_it_learns(length: int, read: float) -> None:
    model = choose(ModelConfig(), TrainConfig(), CHOSEN, length, lambda *_: read)[0]
    if length < 20_000 or read < 300_000:
        assert model.layers == 1
    else:
        assert model.layers == (2 if read / length <= FEW_EPOCHS else MOST_LAYERS)


@given(lengths, budgets, st.integers(1, 2000))
def test_a_given_width_gets_one_layer(length: int, read: float, hidden: int) -> None:
    left_open = set(CHOSEN) - {"hidden"}
    model = choose(ModelConfig(hidden=hidden), TrainConfig(), left_open, length, lambda *_: read)[0]
    assert (model.layers, model.hidden) == (1, hidden)


@given(
    st.sampled_from([20_000, 99_000, 375_000, 1_270_000]),
    st.sets(st.sampled_from(["layers"])),
    st.sampled_from([0.0, 3.0, 15.0]),
)
def test_a_number_of_parameters_decides_the_layers_where_they_are_left_open(
    count: int, left_open: set[str], epochs: float
) -> None:
    model = of_parameters(ModelConfig(layers=4), {*left_open, *CONNECTIONS}, 65, count, epochs)
    large = 1 if count < 100_000 else MOST_LAYERS if epochs > FEW_EPOCHS else 2
    assert model.layers == (large if left_open else 4)
    assert parameters.count(model, 65) == pytest.approx(count, rel=0.05)


@given(lengths, budgets, st.floats(1, 100))
def test_more_text_and_more_budget_never_choose_a_smaller_network(
    length: int, read: float, more: float
) -> None:
    def size(text: float, characters: float) -> float:
        model, _, _ = choose(ModelConfig(), TrainConfig(), CHOSEN, int(text), lambda *settings: characters)
        return model.hidden * math.sqrt(2 * model.layers - 1)

    rounding = 16 * math.sqrt(2 * MOST_LAYERS - 1)  # widths are multiples of 16
    assert size(length * more, read * more) >= size(length, read) - rounding


@given(st.integers(1, 5), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_closer_fit_never_gets_less_dropout(layers: int, fit: float, more: float) -> None:
    loose, close = dropouts(layers, fit), dropouts(layers, fit + more)
    assert close["dropout"] >= loose["dropout"]
    assert close["weight_drop"] >= loose["weight_drop"]


@given(lengths, st.floats(1e3, 1e9), st.floats(1, 3))
def test_the_choice_and_the_timing_of_what_is_chosen_agree(length: int, read: float, slowdown: float) -> None:
    timed: dict[tuple[ModelConfig, TrainConfig], float] = {}

    def characters(model: ModelConfig, config: TrainConfig) -> float:
        """A larger network is slower; so is one with weight drop."""
        speed = read / model.hidden / model.layers / (slowdown if config.weight_drop else 1)
        timed[model, config] = speed
        return speed

    model, config, why = choose(ModelConfig(), TrainConfig(), CHOSEN, length, characters)
    (shown,) = re.findall(r"about ([\d,]+) characters", why)
    assert float(shown.replace(",", "")) == pytest.approx(timed[model, config], rel=0.05, abs=0.5)


def test_a_size_is_timed_only_if_the_budget_suffices_for_it_at_the_speed_of_the_size_before() -> None:
    timed: list[int] = []

    def characters(model: ModelConfig, config: TrainConfig) -> float:
        timed.append(model.hidden)
        return {64: 2e6, 128: 1e6, 160: 400_000}[model.hidden]

    model, _, _ = choose(ModelConfig(), TrainConfig(), CHOSEN, 10**6, characters)
    assert (model.layers, model.hidden) == (2, 160)
    assert set(timed) == {64, 128, 160}
    assert timed.count(64) == timed.count(128) == 1


# --- timing ---


@pytest.fixture
def corpus() -> Corpus:
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    return open_corpus([file_source(Path("text.txt"))], "text")


def learner(corpus: Corpus) -> Learner:
    config = TrainConfig(streams=4, bptt=16, precision="float32")
    return Learner(corpus, ModelConfig(hidden=4, embedding=2), config, ProcessGroup(torch.device("cpu")))


def laps(*seconds: float) -> Iterator[float]:
    """Readings of a clock between which so many seconds pass, one pair for a lap."""
    for start, lap in zip(itertools.count(step=1000), seconds, strict=False):
        yield from (start, start + lap)


def test_the_speed_is_that_of_the_fastest_lap_after_the_first(corpus: Corpus) -> None:
    for seconds in (
        (0.1, 2.0, 2.0, 2.0, 2.0, 2.0),
        (9.0, 2.0, 50.0, 70.0, 3.0, 4.0),
        (9.0, 8.0, 7.0, 6.0, 5.0, 2.0),
    ):
        speed = budget.speed(learner(corpus), laps(*seconds).__next__)
        assert speed == pytest.approx(learner(corpus).data.characters_per_step / 2.0)


def test_the_speed_is_timed_with_the_very_model_that_is_asked_about(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[Learner] = []

    def speed(learner: Learner) -> float:
        timed.append(learner)
        return 1000.0

    monkeypatch.setattr(budget, "speed", speed)
    model, config = ModelConfig("gru", 2, 8, 3), TrainConfig(dropout=0.25, streams=3, bptt=9, minutes=2)
    read = budget.characters(corpus, model, config, ProcessGroup(torch.device("cpu")))
    assert read == pytest.approx(2 * 60 * 1000 * budget.TRAINING_SHARE)
    assert (timed[0].model.config, timed[0].config) == (model, config)


@pytest.mark.parametrize("limits", [{"steps": 10}, {"epochs": 1.5}, {"steps": 3, "epochs": 9.0}])
def test_the_characters_of_steps_and_epochs_are_those_that_training_reads(
    corpus: Corpus, limits: dict
) -> None:
    config = TrainConfig(streams=32, bptt=64, **limits)
    group = ProcessGroup(torch.device("cpu"))
    read = budget.characters(corpus, ModelConfig(hidden=4), config, group)
    trained = Learner(corpus, ModelConfig(hidden=4), config, group)
    steps, _ = budget.plan_steps(trained)
    assert read == pytest.approx(steps * trained.data.characters_per_step, rel=0.5 / steps + 0.01)


# --- learning by heart ---


def test_learning_by_heart_changes_only_what_the_user_left_open() -> None:
    given = ModelConfig(hidden=7), TrainConfig(dropout=0.3, weight_drop=0.2, minutes=3)
    assert learn_by_heart(*given, ()) == given
    model, config = learn_by_heart(*given, (*CHOSEN, "split", "steps"))
    assert (config.dropout, config.weight_drop, config.split) == (0, 0, (100, 0, 0))
    assert config.steps
    assert config.minutes is config.epochs is None
    assert model.hidden > 7


def test_a_text_that_is_not_learnt_by_heart_has_characters_to_validate() -> None:
    assert BY_HEART * TrainConfig.split[1] / sum(TrainConfig.split) >= 50


def test_the_step_against_overfitting_is_more_dropout_and_then_fewer_units() -> None:
    model, config, changes = ModelConfig(hidden=128), TrainConfig(dropout=0.0, weight_drop=0.0), []
    while True:
        model, config, change = regularised(model, config)
        if not change:
            break
        changes.append(change)
    assert changes == ["more dropout"] * 4 + ["fewer units"]
    assert (config.dropout, model.hidden) == (0.5, 64)
    assert regularised(ModelConfig(hidden=128), config, fixed_width=True)[2] == ""


@pytest.mark.parametrize("left_open", [{"steps"}, set()])
def test_a_short_text_gets_the_fewest_steps_unless_a_budget_is_given(
    left_open: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "short.txt"
    path.write_text(TEXT * 2)
    corpus, config = open_corpus([file_source(path)], "short"), TrainConfig(epochs=None if left_open else 3)
    group = ProcessGroup(torch.device("cpu"))
    model, config, _ = budget.choose_settings(corpus, ModelConfig(hidden=4), config, left_open, group)
    steps, _ = budget.plan_steps(Learner(corpus, model, config, group))
    assert (steps == DEFAULT_STEPS) == bool(left_open)
    assert config.minutes == (DEFAULT_MINUTES if left_open else None)


def test_a_text_of_usual_length_gets_the_default_epochs() -> None:
    ids = np.zeros(50_000, np.uint8)
    corpus, group = Corpus(ids, Vocabulary("ab"), "", "usual"), ProcessGroup(torch.device("cpu"))
    _, config, _ = budget.choose_settings(corpus, ModelConfig(), TrainConfig(), {"steps"}, group)
    assert (config.minutes, config.epochs, config.steps) == (DEFAULT_MINUTES, DEFAULT_EPOCHS, None)
