"""``inspect-cell --find``: units that follow concepts."""

from __future__ import annotations

from typing import Any

from charrnn.cli.inspect_input import Subject
from charrnn.cli.terminal import Terminal


def write(out: Terminal, subject: Subject, options: dict[str, Any]) -> None:
    """Write the results."""
    raise NotImplementedError
