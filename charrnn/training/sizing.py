"""The width, the dropout and, for a very short text, the steps that suit a text and a budget.

The thresholds were measured on English plays (benchmarks/RESULTS.md, "Sizing"): width was better
than depth at every budget, and dropout should grow with the number of epochs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from charrnn.config import ModelConfig, TrainConfig

WIDTHS = (
    # characters in the text, characters read in training: both at least this, width
    (0, 0, 64),
    (2_000, 50_000, 128),
    (20_000, 300_000, 256),
    (150_000, 1_000_000, 512),
    (500_000, 30_000_000, 1024),
)
DROPOUTS = (
    # epochs: at most this, dropout, weight_drop
    (2.5, 0.0, 0.0),
    (4.5, 0.1, 0.0),
    (7.5, 0.2, 0.1),
    (20.0, 0.3, 0.2),
    (float("inf"), 0.5, 0.2),
)
CHOSEN = ("hidden", "dropout", "weight_drop")
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
    return replace(model, hidden=BY_HEART_HIDDEN if "hidden" in left_open else model.hidden), config


def choose(
    model: ModelConfig,
    config: TrainConfig,
    left_open: Collection[str],
    length: int,
    characters: Characters,
) -> tuple[ModelConfig, TrainConfig, str]:
    """Choose hidden, dropout and weight_drop where the user left them open, and say in a line which and why.

    The widths are tried from the narrowest up: a width is chosen if the budget suffices for it at its own
    speed. ``length`` is that of the training part in characters.
    """
    rows = [row for row in WIDTHS if length >= row[0]] if "hidden" in left_open else [(0, 0, model.hidden)]
    budget = math.inf
    for _, enough, width in rows:
        if budget < enough:
            break  # a wider network is slower still
        candidate = replace(model, hidden=width), replace(config, **dropouts(budget / length, left_open))
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
    values = {"hidden": model.hidden, "dropout": config.dropout, "weight_drop": config.weight_drop}
    shown = ", ".join(
        f"{name.replace('_', ' ')} {value:g}" for name, value in values.items() if name in left_open
    )
    enough_for = f"about {float(f'{budget:.2g}'):,.0f} characters, {budget / length:.1f} epochs"
    return model, config, f"{shown}; the budget suffices for {enough_for}"


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
    if fixed_width or model.hidden < 2 * WIDTHS[0][-1]:
        return model, config, ""
    return replace(model, hidden=model.hidden // 2), config, "fewer units"
