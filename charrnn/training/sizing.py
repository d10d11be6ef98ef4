"""What to train, from how long the text is and how long there is to learn it.

The thresholds are measured (benchmarks/RESULTS.md, "Sizing"), on English plays: width wins over
depth at every budget tried, and what is dropped should grow with the times a text is read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from charrnn.config import ModelConfig, TrainConfig

WIDTHS = (
    # characters of text, characters learnt from: at least both of them, for this width
    (0, 0, 64),
    (2_000, 50_000, 128),
    (20_000, 300_000, 256),
    (150_000, 1_000_000, 512),
    (500_000, 30_000_000, 1024),
)
DROPPED = (
    # epochs: up to so many, dropout, weight_drop
    (2.5, 0.0, 0.0),
    (4.5, 0.1, 0.0),
    (7.5, 0.2, 0.1),
    (20.0, 0.3, 0.2),
    (float("inf"), 0.5, 0.2),
)
CHOSEN = ("hidden", "dropout", "weight_drop")


def choose(
    model: ModelConfig, config: TrainConfig, free: Collection[str], characters: int, learnt: float
) -> tuple[ModelConfig, TrainConfig, str]:
    """Settle the ``free`` ones of CHOSEN; the rest stay. Also says, in a line, what and why.

    characters: of the training part.  learnt: that the budget allows, again and again.
    """
    epochs = learnt / max(1, characters)
    hidden = max(width for text, seen, width in WIDTHS if characters >= text and learnt >= seen)
    dropout, weight_drop = next((d, w) for most, d, w in DROPPED if epochs <= most)
    found: dict[str, Any] = {"hidden": hidden, "dropout": dropout, "weight_drop": weight_drop}
    chosen = {name: found[name] for name in CHOSEN if name in free}
    model = replace(model, **{name: value for name, value in chosen.items() if name == "hidden"})
    config = replace(config, **{name: value for name, value in chosen.items() if name != "hidden"})
    told = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in chosen.items())
    why = f"{told}: about {learnt:,.0f} characters to learn, {epochs:.1f} times this text"
    return model, config, why
