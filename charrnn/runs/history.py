"""A run's log, one JSON line for each report, and its diagnosis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from charrnn.files import atomic_write, json_line

LOG = "log.jsonl"
GAP = 0.1
"""Nats: a validation loss that much above the training loss is a sign of overfitting."""
FEW_EPOCHS = 8.0
"""Epochs below which a run without overfitting needs more time rather than a larger model."""


@dataclass(frozen=True)
class Report:
    """Measurements at one step; ``train_nats`` is the mean loss since the previous report."""

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
    """Write a report as the log's last line, whole or not at all. Raises OSError."""
    with (folder / LOG).open("ab") as file:
        end = file.tell()
        try:
            file.write(json_line(asdict(report)))
            file.flush()
        except OSError:
            file.truncate(end)
            raise


def read(folder: Path) -> list[dict[str, Any]]:
    """The log's reports; [] without a log. An incomplete line, as after a power failure, is skipped."""
    if not (folder / LOG).exists():
        return []
    reports = []
    for line in (folder / LOG).read_bytes().splitlines():
        try:
            report = json.loads(line)
        except ValueError:
            continue
        if isinstance(report, dict) and "step" in report:
            reports.append(report)
    return reports


def remove_after(folder: Path, step: int) -> None:
    """Remove the reports after ``step``, the step that training resumes from. Raises OSError."""
    if (folder / LOG).exists():
        kept = [report for report in read(folder) if report["step"] <= step]
        with atomic_write(folder / LOG) as file:
            file.writelines(map(json_line, kept))


def diagnosis(reports: Sequence[dict[str, Any]]) -> str:
    """One line: whether the run overfitted, underfitted or ran out of budget, and what to try next."""
    if not reports:
        return "no report in the log: nothing to diagnose"
    validated = [report for report in reports if report.get("validation_nats") is not None]
    if not validated:
        return (
            "no validation loss, so overfitting cannot be detected:"
            " train on a longer text, or give --split a share for validation"
        )
    last, best = validated[-1], min(validated, key=lambda report: report["validation_nats"])
    losses = f"validation {best['validation_nats']:.3f}, training {last['train_nats']:.3f}"
    if last["validation_nats"] > best["validation_nats"] + 0.01:
        return (
            f"overfitted after epoch {best['epoch']:.1f} ({losses}; the best checkpoint is from that epoch):"
            " try more --dropout, a smaller --hidden, or --patience 3"
        )
    if last["validation_nats"] - last["train_nats"] > GAP:
        return f"starting to overfit ({losses}): try more --dropout; a longer text helps more"
    if last["epoch"] < FEW_EPOCHS:
        return f"ran out of budget after {last['epoch']:.1f} epochs ({losses}): try more --minutes"
    return f"underfitted ({losses}): try a larger --hidden, less --dropout, or more --minutes"
