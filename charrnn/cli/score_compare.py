"""``charrnn score --compare`` and ``--candidates``: which model, or which continuation, is more probable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from charrnn.cli.score_input import Model
from charrnn.cli.terminal import Terminal
from charrnn.errors import ConfigError


def write(out: Terminal, models: Sequence[Model], texts: Sequence[str], options: dict[str, Any]) -> None:
    """Score the texts with each model and write which one gives more probability."""
    raise ConfigError("--compare is not there yet")


def rank(out: Terminal, model: Model, options: dict[str, Any]) -> None:
    """Write the candidates as continuations of the prompt, the most probable first."""
    raise ConfigError("--candidates is not there yet")
