"""Impossible settings are refused by name."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from charrnn.config import LEARNING_RATES, OPTIMIZERS, ModelConfig, TrainConfig
from charrnn.errors import ConfigError

Config = ModelConfig | TrainConfig
BAD: list[tuple[type[Config], str, list[object]]] = [
    (ModelConfig, "cell", [None, 3]),
    (ModelConfig, "layers", [0, -1, 1.0, True, "2", None]),
    (ModelConfig, "hidden", [0, -1, 2.5, True, "2", None]),
    (ModelConfig, "embedding", [-1, 0.0, False, "2", None]),
    (TrainConfig, "streams", [0, -1, 1.5, math.inf, True]),
    (TrainConfig, "bptt", [0, -1, 1.5, math.inf, True]),
    (TrainConfig, "dropout", [-0.1, 1, 1.5, math.nan, math.inf]),
    (TrainConfig, "weight_drop", [-0.1, 1, 1.5, math.nan, math.inf]),
    (TrainConfig, "precision", ["", "float16", None]),
    (TrainConfig, "optimizer", ["", "adam", None, 3]),
    (TrainConfig, "muon", [-1, math.nan, math.inf]),
    (TrainConfig, "lr", [0, -1, math.nan, math.inf, 10**400]),
    (TrainConfig, "reset", [-0.1, 1.1, math.nan]),
    (TrainConfig, "clip", [-1, math.nan, math.inf]),
    (TrainConfig, "final_lr", [-1, 1.5, math.nan, math.inf]),
    (TrainConfig, "warmup", [-1, 1.5, math.nan, math.inf]),
    (TrainConfig, "beta1", [-0.1, 1, math.nan, "x"]),
    (TrainConfig, "beta2", [-0.1, 1, math.nan]),
    (TrainConfig, "weight_decay", [-1, math.nan, math.inf]),
    (TrainConfig, "epochs", [0, -1, math.nan, math.inf]),
    (TrainConfig, "steps", [0, -1, 1.5, True]),
    (TrainConfig, "minutes", [0, -1, math.nan, math.inf]),
    (TrainConfig, "save_every", [0, -1, 1.5]),
    (TrainConfig, "seed", [-1, 1.5, math.inf]),
    (
        TrainConfig,
        "split",
        [(90, 10), (0, 50, 50), (-1, 1, 1), (90, -5, 5), (math.nan, 1, 1), (math.inf, 1, 1), ()],
    ),
]
CONFIGS: list[Config] = [
    ModelConfig(),
    ModelConfig("gru", layers=3, hidden=1, embedding=0),
    TrainConfig(),
    TrainConfig(
        streams=1,
        dropout=0,
        optimizer="sgd",
        clip=0,
        reset=1,
        epochs=0.5,
        steps=7,
        minutes=0.1,
        split=(1, 0, 0),
        seed=0,
        save_every=3,
    ),
]


@pytest.mark.parametrize(
    ("kind", "option", "value"), [(kind, option, value) for kind, option, values in BAD for value in values]
)
def test_a_bad_value_names_its_option(kind: type[Config], option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^--{option.replace('_', '-')} .*: must be .+$"):
        kind.from_dict({option: value})


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_comes_back_from_its_dictionary_and_from_json(config: Config) -> None:
    assert type(config).from_dict(config.to_dict()) == config
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("kind", [ModelConfig, TrainConfig])
def test_no_settings_are_the_defaults(kind: type[Config]) -> None:
    assert kind.from_dict({}) == kind()


@pytest.mark.parametrize("kind", [ModelConfig, TrainConfig])
def test_an_unknown_setting_is_refused_with_those_that_are_known(kind: type[Config]) -> None:
    with pytest.raises(ConfigError, match="unknown setting depth, width; known: ") as caught:
        kind.from_dict({"width": 1, "depth": 2})
    assert all(field.name in str(caught.value) for field in dataclasses.fields(kind))


def test_a_whole_number_of_any_size_becomes_a_float_where_one_is_expected() -> None:
    clip = TrainConfig.from_dict({"clip": 10**30}).clip
    assert type(clip) is float
    assert clip == 1e30


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TrainConfig, {"dropout": "0.1"}),
        (TrainConfig, {"dropout": None}),
        (TrainConfig, {"streams": "32"}),
        (TrainConfig, {"muon": None}),
        (TrainConfig, {"split": 90}),
        (TrainConfig, {"split": None}),
        (TrainConfig, {"split": ["a", "b", "c"]}),
        (TrainConfig, {"steps": [1]}),
    ],
)
def test_a_value_of_the_wrong_type_is_a_config_error(kind: type[Config], values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        kind.from_dict(values)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_optimizer_has_a_learning_rate_of_its_own_that_can_be_given(optimizer: str) -> None:
    assert TrainConfig(optimizer=optimizer).lr == LEARNING_RATES[optimizer]
    assert TrainConfig(optimizer=optimizer, lr=0.125).lr == 0.125


def test_settings_of_an_older_build_have_the_optimizer_that_they_were_trained_with() -> None:
    old = {name: value for name, value in TrainConfig().to_dict().items() if name != "optimizer"}
    assert TrainConfig.from_dict(old) == TrainConfig(optimizer="muon")
    assert TrainConfig.from_dict(old | {"muon": 0}) == TrainConfig(optimizer="adamw")


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_is_frozen(config: Config) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 2  # type: ignore[misc, union-attr]


def test_an_unknown_setting_of_two_lines_is_refused_in_one() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.from_dict({"two\nlines": 1})
    assert "\n" not in str(caught.value)
