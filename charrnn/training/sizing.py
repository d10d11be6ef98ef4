"""The width and dropout that suit a text and a budget.

The thresholds were measured on English plays (benchmarks/RESULTS.md, "Sizing"): width was better
than depth at every budget, and dropout should grow with the number of epochs.
"""

from __future__ import annotations

from collections.abc import Collection
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


def choose(
    model: ModelConfig, config: TrainConfig, left_open: Collection[str], characters: int, budget: float
) -> tuple[ModelConfig, TrainConfig, str]:
    """Choose hidden, dropout and weight_drop where the user left them open, and say in a line which and why.

    ``characters`` are those of the training part, ``budget`` those read in all its epochs.
    """
    epochs = budget / max(1, characters)
    hidden = max(width for text, read, width in WIDTHS if characters >= text and budget >= read)
    dropout, weight_drop = next(row[1:] for row in DROPOUTS if epochs <= row[0])
    settings: dict[str, Any] = {"hidden": hidden, "dropout": dropout, "weight_drop": weight_drop}
    chosen = {name: value for name, value in settings.items() if name in left_open}
    shown = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in chosen.items())
    model = replace(model, hidden=chosen.pop("hidden", model.hidden))
    config = replace(config, **chosen)
    return model, config, f"{shown}: about {budget:,.0f} characters to train on, {epochs:.1f} epochs"
