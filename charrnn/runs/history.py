"""A run's log: a line a report, and what it all amounts to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from charrnn.files import atomic_write, json_line

LOG = "log.jsonl"
GAP = 0.1
"""Nats by which validation lies above training in a model that begins to know its text by heart."""
FEW_EPOCHS = 8.0


@dataclass(frozen=True)
class Report:
    """What was reached when: losses in nats and bits per character, over all since the last report."""

    step: int
    steps: int
    epoch: float
    characters: int
    seconds: float
    lr: float
    gradient_norm: float
    train_nats: float
    validation_nats: float | None
    validation_bpc: float | None
    characters_per_second: float
    best: bool
    sample: str


def append(folder: Path, report: Report) -> None:
    """A report as the log's last line, whole or not at all. Raises OSError."""
    with (folder / LOG).open("ab") as file:
        end = file.tell()
        try:
            file.write(json_line(asdict(report)))
            file.flush()
        except OSError:
            file.truncate(end)
            raise


def read(folder: Path) -> list[dict[str, Any]]:
    """The log's lines; one that a power cut left half-written is left out."""
    path = folder / LOG
    lines = path.read_bytes().splitlines() if path.exists() else []
    found = []
    for line in lines:
        try:
            report = json.loads(line)
        except ValueError:
            continue
        if isinstance(report, dict) and "step" in report:
            found.append(report)
    return found


def cut(folder: Path, step: int) -> None:
    """Drop the lines of steps that were taken but not kept. Raises OSError."""
    if (folder / LOG).exists():
        kept = [report for report in read(folder) if report["step"] <= step]
        with atomic_write(folder / LOG) as file:
            file.writelines(map(json_line, kept))


def verdict(reports: Sequence[dict[str, Any]]) -> str:
    """In a line: did it overfit, underfit, or run out of budget, and which option to try next."""
    if not reports:
        return "no report: nothing to judge"
    last = reports[-1]
    if last["validation_nats"] is None:
        return "no validation part: only a longer text, or --split, can tell how well it writes"
    best = min(reports, key=lambda report: report["validation_nats"])
    gap = last["validation_nats"] - last["train_nats"]
    figures = f"validation {best['validation_nats']:.3f}, training {last['train_nats']:.3f}"
    if last["validation_nats"] > best["validation_nats"] + 0.01:
        return (
            f"overfitted after epoch {best['epoch']:.1f} ({figures}; the best is kept):"
            " try more --dropout, a smaller --hidden, or --patience 3"
        )
    if gap > GAP:
        return f"begins to know the text by heart ({figures}): more --dropout may help, a longer text will"
    if last["epoch"] < FEW_EPOCHS:
        return f"ran out of budget after {last['epoch']:.1f} epochs ({figures}): try more --minutes"
    return f"underfitted ({figures}): try a larger --hidden, less --dropout, or more --minutes"
