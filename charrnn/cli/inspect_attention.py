"""``inspect-cell --of attention``: how much each of the last outputs counts, as colours or marks."""

from __future__ import annotations

from typing import Any

from charrnn.cli.inspect_input import Subject
from charrnn.cli.inspect_values import Shown, write_shown
from charrnn.cli.terminal import Terminal


def write(out: Terminal, subject: Subject, options: dict[str, Any]) -> None:
    """Write the text with the weights of each character's attention."""
    from charrnn.inspection.inspect_cell import attention_weights, check_attention

    check_attention(subject.inference)  # before a sample is generated
    title = f"{subject.name} attention, by characters back"
    numbers = range(subject.inference.config.attention)
    shown = Shown(title, numbers, "distances", "characters back", lowest=0, curves=False)
    write_shown(out, subject, options, shown, attention_weights(subject.inference, subject.pieces()))
