"""The layers, their width, connections and dropout that suit a text and a budget.

The thresholds were measured on texts of four kinds (benchmarks/RESULTS.md, "Sizing"; docs/training.md says
what each choice is worth). A text that is learnt by heart has its own settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from charrnn.config import ModelConfig, TrainConfig
from charrnn.runs import parameters

SIZES = (
    # characters in the text, characters read in training: both at least this, layers, hidden
    (0, 0, 1, 64),
    (2_000, 50_000, 1, 128),
    (20_000, 300_000, 2, 160),
    (150_000, 1_000_000, 2, 320),
    (500_000, 30_000_000, 2, 640),
)
DEEP = 100_000
"""Parameters from which two layers are chosen for a network of a given number of parameters."""
DROPOUTS = (
    # epochs: at most this, dropout, weight_drop
    (2.5, 0.0, 0.0),
    (4.5, 0.1, 0.0),
    (7.5, 0.2, 0.1),
    (20.0, 0.3, 0.2),
    (float("inf"), 0.5, 0.2),
)
CONNECTIONS = ("residual", "readout")
CHOSEN = ("layers", "hidden", *CONNECTIONS, "dropout", "weight_drop")
"""The settings that ``choose`` can choose."""
ROUNDS = 3
"""Most times that the dropout is chosen again because it changed the speed."""

BY_HEART_HIDDEN, BY_HEART_STEPS = 128, 300
"""They bring the loss of 999 characters of English to 0.02 nats (docs/training.md)."""

Characters = Callable[[ModelConfig, TrainConfig], float]
"""The characters that the budget allows to read with such a model."""


def learn_by_heart(
    model: ModelConfig, config: TrainConfig, left_open: Collection[str]
) -> tuple[ModelConfig, TrainConfig]:
    """The settings that learn a text by heart, where the user left them open.

    ``left_open`` is from CHOSEN, "split" and "steps"; "steps" stands for the whole budget.
    """
    settings: dict[str, Any] = {"dropout": 0.0, "weight_drop": 0.0, "split": (100.0, 0.0, 0.0)}
    config = replace(config, **{name: value for name, value in settings.items() if name in left_open})
    if "steps" in left_open:
        config = replace(config, steps=BY_HEART_STEPS, epochs=None, minutes=None)
    hidden = BY_HEART_HIDDEN if "hidden" in left_open else model.hidden
    return connected(replace(model, hidden=hidden), left_open), config


def connected(model: ModelConfig, left_open: Collection[str]) -> ModelConfig:
    """The network with the connections that suit its number of layers, where they are left open."""
    deep = model.layers > 1
    settings: dict[str, Any] = {"residual": deep, "readout": "all" if deep else "top"}
    return replace(model, **{name: value for name, value in settings.items() if name in left_open})


def networks(model: ModelConfig, left_open: Collection[str]) -> list[tuple[int, int, ModelConfig]]:
    """The networks to choose from, the smallest first: characters of the text and in training, network.

    With a given number of layers, the width is that with about as many recurrent weights as the row of SIZES.
    With a given width, there is one layer.
    """
    if "hidden" not in left_open:
        return [(0, 0, connected(model, left_open))]
    result = []
    for text, enough, layers, hidden in SIZES:
        if "layers" not in left_open:
            hidden = 16 * round(hidden * math.sqrt((2 * layers - 1) / (2 * model.layers - 1)) / 16)
            layers = model.layers
        result.append((text, enough, connected(replace(model, layers=layers, hidden=hidden), left_open)))
    return result


def choose(
    model: ModelConfig,
    config: TrainConfig,
    left_open: Collection[str],
    length: int,
    characters: Characters,
) -> tuple[ModelConfig, TrainConfig, str]:
    """Choose the settings of CHOSEN where the user left them open, and say in a line which and why.

    The networks are tried from the smallest up: one is chosen if the budget suffices for it at its own speed.
    ``length`` is that of the training part in characters.
    """
    budget = math.inf
    for text, enough, network in networks(model, left_open):
        if length < text or budget < enough:
            break  # a larger network is slower still
        candidate = network, replace(config, **dropouts(budget / length, left_open))
        allowed = characters(*candidate)
        if allowed < enough:
            break
        (model, config), budget = candidate, allowed
    for _ in range(ROUNDS):
        settings = dropouts(budget / length, left_open)
        if replace(config, **settings) == config:
            break
        config = replace(config, **settings)
        budget = characters(model, config)
    values = vars(model) | vars(config)
    shown = ", ".join(filter(None, (_shown(name, values[name]) for name in CHOSEN if name in left_open)))
    enough_for = f"about {float(f'{budget:.2g}'):,.0f} characters, {budget / length:.1f} epochs"
    return model, config, f"{shown}; the budget suffices for {enough_for}"


def of_parameters(model: ModelConfig, left_open: Collection[str], symbols: int, count: int) -> ModelConfig:
    """The network with about ``count`` parameters, for a vocabulary of ``symbols``. Raises ConfigError."""
    if "layers" in left_open:
        model = replace(model, layers=2 if count >= DEEP else 1)
    return parameters.sized(connected(model, left_open), symbols, count)


def _shown(name: str, value: Any) -> str:
    """A setting in words; "" for a connection that the network does not have."""
    if name == "residual":
        return name if value else ""
    if name == "readout":
        return "readout all" if value == "all" else ""
    return f"{name.replace('_', ' ')} {value:g}"


def dropouts(epochs: float, left_open: Collection[str]) -> dict[str, Any]:
    """The dropout and weight_drop for a number of epochs, without those that are not left open."""
    dropout, weight_drop = next(row[1:] for row in DROPOUTS if epochs <= row[0])
    settings = {"dropout": dropout, "weight_drop": weight_drop}
    return {name: value for name, value in settings.items() if name in left_open}


def regularised(
    model: ModelConfig, config: TrainConfig, fixed_width: bool = False
) -> tuple[ModelConfig, TrainConfig, str]:
    """The settings changed by one step against overfitting, and the change in words; "" if none is left."""
    for _, dropout, weight_drop in DROPOUTS:
        if dropout > config.dropout:
            weight_drop = max(weight_drop, config.weight_drop)
            return model, replace(config, dropout=dropout, weight_drop=weight_drop), "more dropout"
    if fixed_width or model.hidden < 2 * SIZES[0][-1]:
        return model, config, ""
    return replace(model, hidden=model.hidden // 2), config, "fewer units"
