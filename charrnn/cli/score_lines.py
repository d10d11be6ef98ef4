"""``charrnn score --lines``: a row for each line of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from charrnn.cli.score_input import Model
from charrnn.cli.terminal import Terminal
from charrnn.errors import ConfigError


def write(out: Terminal, models: Sequence[Model], texts: Sequence[str], options: dict[str, Any]) -> None:
    """Score each line of the texts and write the rows."""
    raise ConfigError("--lines is not there yet")
