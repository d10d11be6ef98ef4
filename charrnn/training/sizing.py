"""The layers, their width, connections and dropout that suit a text and a budget.

The thresholds were measured on texts of several kinds (benchmarks/RESULTS.md, "Sizing"); docs/training.md has
the rules and what each choice is worth. A text that is learnt by heart has its own settings.

A network is as large as one with a single layer of U units: L layers of H units have about the same number of
weights between hidden units, (2 L - 1) H^2 for each gate, where H = U / sqrt(2 L - 1).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from charrnn.config import ModelConfig, TrainConfig
from charrnn.runs import parameters

SIZES = (
    # characters in the text, characters read in training: both at least this, units of a single layer
    (0, 0, 64),
    (2_000, 50_000, 128),
    (20_000, 300_000, 256),
    (150_000, 1_000_000, 512),
    (500_000, 30_000_000, 1024),
)
SHALLOW = 128
"""The most units of a network that gets one layer."""
FEW_EPOCHS = 14.0
"""The epochs up to which a larger network gets two layers; with more epochs it gets MOST_LAYERS."""
MOST_LAYERS = 3
DROPOUTS = (
    # weights times epochs for each character of the text: at most this, then dropout and weight_drop of one
    # layer, of two, and of three or more
    (3.0, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
    (5.5, (0.1, 0.0), (0.1, 0.0), (0.05, 0.1)),
    (10.0, (0.2, 0.1), (0.1, 0.1), (0.05, 0.1)),
    (60.0, (0.3, 0.2), (0.2, 0.2), (0.2, 0.2)),
    (math.inf, (0.5, 0.2), (0.3, 0.2), (0.3, 0.2)),
)
CONNECTIONS = ("residual", "readout")
CHOSEN = ("layers", "hidden", *CONNECTIONS, "dropout", "weight_drop")
"""The settings that ``choose`` can choose."""
ROUNDS = 3
"""Most times that the settings are chosen again because they changed the speed."""

BY_HEART_HIDDEN, BY_HEART_STEPS = 128, 300
"""They bring the loss of 999 characters of English to 0.02 nats (docs/training.md)."""

COPIES = 10
"""How many times the parameters are in memory at once, at most.

They, their gradients and two moments are; so are the parameters and moments to which a run goes back, and
those that are being saved.
"""

Characters = Callable[[ModelConfig, TrainConfig], float]
"""The characters that the budget allows to read with such a model."""


def installed_memory() -> float:
    """The machine's memory in bytes; infinity where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return math.inf


def learn_by_heart(
    model: ModelConfig, config: TrainConfig, left_open: Collection[str]
) -> tuple[ModelConfig, TrainConfig]:
    """The settings that learn a text by heart, where the user left them open.

    ``left_open`` is from CHOSEN, "split" and "steps"; "steps" stands for the whole budget.
    """
    settings: dict[str, Any] = {"dropout": 0.0, "weight_drop": 0.0, "split": (100.0, 0.0, 0.0)}
    config = replace(config, **_open(settings, left_open))
    if "steps" in left_open:
        config = replace(config, steps=BY_HEART_STEPS, epochs=None, minutes=None)
    hidden = BY_HEART_HIDDEN if "hidden" in left_open else model.hidden
    return connected(replace(model, hidden=hidden), left_open), config


def connected(model: ModelConfig, left_open: Collection[str]) -> ModelConfig:
    """The network with the connections that suit its number of layers, where they are left open."""
    several = model.layers > 1
    settings: dict[str, Any] = {"residual": several, "readout": "all" if several else "top"}
    return replace(model, **_open(settings, left_open))


def choose(
    model: ModelConfig,
    config: TrainConfig,
    left_open: Collection[str],
    length: int,
    characters: Characters,
) -> tuple[ModelConfig, TrainConfig, str]:
    """Choose the settings of CHOSEN where the user left them open, and say in a line which and why.

    The sizes are tried from the smallest up: one is chosen if the budget suffices for it at its own speed.
    ``length`` is that of the training part in characters.
    """
    given = model, config
    budget = math.inf
    for text, enough, units in SIZES if "hidden" in left_open else ((0, 0, _units(model)),):
        if length < text or budget < enough:
            break  # a larger network is slower still
        candidate = _suited(*given, left_open, units, length, budget)
        allowed = characters(*candidate)
        if allowed < enough:
            break
        (model, config), budget, size = candidate, allowed, units
    for _ in range(ROUNDS):
        suited = _suited(*given, left_open, size, length, budget)
        if suited == (model, config):
            break
        model, config = suited
        budget = characters(model, config)
    values = vars(model) | vars(config)
    shown = ", ".join(filter(None, (_shown(name, values[name]) for name in CHOSEN if name in left_open)))
    enough_for = f"about {float(f'{budget:.2g}'):,.0f} characters, {budget / length:.1f} epochs"
    return model, config, f"{shown}; the budget suffices for {enough_for}"


def _suited(
    model: ModelConfig,
    config: TrainConfig,
    left_open: Collection[str],
    units: float,
    length: int,
    budget: float,
) -> tuple[ModelConfig, TrainConfig]:
    """The settings for a network as large as one with a layer of so many units, and characters to read."""
    epochs = budget / length
    layers = model.layers
    if {"layers", "hidden"} <= set(left_open) and units > SHALLOW:
        layers = _layers(epochs)
    hidden = 16 * math.ceil(units / math.sqrt(2 * layers - 1) / 16)  # kernels prefer multiples of 16
    model = replace(model, layers=layers, **_open({"hidden": hidden}, left_open))
    drops = dropouts(layers, 4 * units**2 * epochs / length)
    return connected(model, left_open), replace(config, **_open(drops, left_open))


def _units(model: ModelConfig) -> float:
    """The units of a single layer that is as large as these layers."""
    return model.hidden * math.sqrt(2 * model.layers - 1)


def of_parameters(
    model: ModelConfig, left_open: Collection[str], symbols: int, count: int, epochs: float
) -> ModelConfig:
    """The network with about ``count`` parameters, for a vocabulary of ``symbols``. Raises ConfigError.

    epochs  those of the budget; 0 where they are not known
    """
    if "layers" in left_open:
        shallow = parameters.count(replace(model, layers=1, hidden=SHALLOW), symbols)
        model = replace(model, layers=_layers(epochs) if count > shallow else 1)
    return parameters.sized(connected(model, left_open), symbols, count)


def _layers(epochs: float) -> int:
    """The layers of a network with more than SHALLOW units."""
    return 2 if epochs <= FEW_EPOCHS else MOST_LAYERS


def dropouts(layers: int, fit: float) -> dict[str, float]:
    """The dropout and weight_drop of a network.

    fit  its weights times the epochs for each character of the text: how closely training can fit it
    """
    row = next(row[1:] for row in DROPOUTS if fit <= row[0])
    dropout, weight_drop = row[min(layers, len(row)) - 1]
    return {"dropout": dropout, "weight_drop": weight_drop}


def _open(settings: dict[str, Any], left_open: Collection[str]) -> dict[str, Any]:
    """The settings that are left open."""
    return {name: value for name, value in settings.items() if name in left_open}


def _shown(name: str, value: Any) -> str:
    """A setting in words; "" for a connection that the network does not have."""
    if name == "residual":
        return name if value else ""
    if name == "readout":
        return "readout all" if value == "all" else ""
    return f"{name.replace('_', ' ')} {value:g}"


def regularised(
    model: ModelConfig, config: TrainConfig, fixed_width: bool = False
) -> tuple[ModelConfig, TrainConfig, str]:
    """The settings changed by one step against overfitting, and the change in words; "" if none is left."""
    for fit, *_ in DROPOUTS:
        dropout, weight_drop = dropouts(model.layers, fit).values()
        if dropout > config.dropout:
            weight_drop = max(weight_drop, config.weight_drop)
            return model, replace(config, dropout=dropout, weight_drop=weight_drop), "more dropout"
    if fixed_width or model.hidden < 2 * SIZES[0][-1]:
        return model, config, ""
    return replace(model, hidden=model.hidden // 2), config, "fewer units"
