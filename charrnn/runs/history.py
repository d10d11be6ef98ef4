"""A run's log, one JSON line for each report, and its diagnosis."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from charrnn.config import LARGEST_COUNT, LARGEST_FIGURE, is_between
from charrnn.files import atomic_write, json_line, write_all

LOG = "log.jsonl"
CLEARLY_WORSE = 0.01
"""Nats by which the last validation loss of an overfitted run is above the best one."""
BY_HEART_NATS = 0.1
"""Training loss below which a text is known by heart."""


@dataclass(frozen=True)
class Report:
    """Measurements at one step.

    train_nats     mean loss of the steps since the previous report
    gradient_norm  mean global gradient norm of these steps, before clipping
    clipped        share of these steps whose gradient was clipped
    """

    step: int
    steps: int
    epoch: float
    characters: int
    seconds: float
    lr: float
    gradient_norm: float
    clipped: float
    train_nats: float
    validation_nats: float | None
    validation_bpc: float | None
    characters_per_second: float
    best: bool
    sample: str


_TYPES = {field.name: field.type for field in fields(Report)}


def append(folder: Path, report: Report) -> None:
    """Write a report as the log's last line, whole or not at all. Raises OSError."""
    with (folder / LOG).open("ab", buffering=0) as file:  # a buffer would be written again by truncate
        end = file.tell()
        try:
            write_all(file, json_line(asdict(report)))
            os.fsync(file.fileno())
        except BaseException:
            os.ftruncate(file.fileno(), end)
            raise


def read(folder: Path) -> list[dict[str, Any]]:
    """The log's reports; [] without a log, or where something other than a file is in its place.

    Any other line is skipped: an incomplete one, as after a power failure, and what a user has written. A
    report has its step; its other figures may be missing, but those that it has are numbers.
    """
    log = folder / LOG
    lines = _lines(log) if log.is_file() else []  # reading a pipe would wait
    return [report for line in lines if (report := _report(line)) is not None]


def _lines(log: Path) -> list[bytes]:
    """The lines of a log, each with the newline that ends it; the last one may have none."""
    return io.BytesIO(log.read_bytes()).readlines()


def _report(line: bytes) -> dict[str, Any] | None:
    """The report in a line of a log; None for any other line."""
    try:
        report = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(report, dict) or "step" not in report:
        return None
    return report if all(fits(name, value) for name, value in report.items()) else None


def fits(name: str, value: Any) -> bool:
    """Whether a value has the type of the figure of this name in a report; True where it has none."""
    match _TYPES.get(name):
        case None:
            return True
        case "str":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return is_between(value, 0, LARGEST_COUNT, (int,))
        case kind:
            may_lack = kind == "float | None" and value is None
            return may_lack or is_between(value, -LARGEST_FIGURE, LARGEST_FIGURE)


def remove_after(folder: Path, step: int) -> None:
    """Remove the reports after ``step``, the step that training resumes from, and an incomplete report.

    All other lines stay, also those that are no reports; the last one gets a newline. Raises OSError, also
    where the log is not a file.
    """
    log = folder / LOG
    if not os.path.lexists(log):
        return
    if not log.is_file():  # a folder, or a link to no file
        raise OSError(errno.EINVAL, "it is not a file: remove it", str(log))
    lines = _lines(log)
    kept = [line for line in lines if _step(line) <= step]
    if kept and not kept[-1].endswith(b"\n"):
        last = kept.pop()
        kept += [] if _is_incomplete(last) else [last + b"\n"]
    if kept != lines:
        with atomic_write(log) as file:
            file.writelines(kept)


def _is_incomplete(line: bytes) -> bool:
    """Whether a line is the beginning of a report, as after a power failure, which may leave zeros too."""
    start, written = b'{"step": ', line.rstrip(b"\0")
    return _report(line) is None and (written.startswith(start) or start.startswith(written))


def _step(line: bytes) -> int:
    """The step of a report; 0 for any other line."""
    report = _report(line)
    return 0 if report is None else int(report["step"])


@dataclass(frozen=True)
class Diagnosis:
    """What a log says about its run, in words, and the remedy.

    remedy  "longer": train longer; "regularise": train again with settings that overfit less; None: nothing
    """

    says: str
    remedy: Literal["longer", "regularise"] | None = None


def diagnosis(reports: Sequence[dict[str, Any]]) -> Diagnosis:
    """Whether the run still improved at its end, overfitted, or no longer changed."""
    reports = [report for report in reports if report.keys() >= {"train_nats", "epoch"}]
    if not reports:
        return Diagnosis("no report in the log: nothing to diagnose")
    validated = [report for report in reports if report.get("validation_nats") is not None]
    if not validated:
        return _training_only([report["train_nats"] for report in reports])
    last, best = validated[-1], min(validated, key=lambda report: report["validation_nats"])
    losses = f"validation {best['validation_nats']:.3f}, training {last['train_nats']:.3f}"
    if last["validation_nats"] <= best["validation_nats"]:
        return Diagnosis(f"still improving: train longer ({losses})", "longer")
    kept = f"{losses}; the best checkpoint is from epoch {best['epoch']:.1f}"
    if last["train_nats"] >= best["train_nats"]:
        return Diagnosis(f"no longer improving ({kept})")
    if last["validation_nats"] > best["validation_nats"] + CLEARLY_WORSE:
        return Diagnosis(f"overfitted ({kept}): use a longer text", "regularise")
    return Diagnosis(f"starting to overfit ({kept}): use a longer text", "regularise")


def _training_only(losses: Sequence[float]) -> Diagnosis:
    """The diagnosis of a run without a validation part, from its training losses in nats."""
    if losses[-1] < BY_HEART_NATS:
        return Diagnosis(f"learnt by heart (training {losses[-1]:.3f})")
    without = "without a validation part, overfitting cannot be seen"
    if losses[-1] <= min(losses):
        return Diagnosis(f"still learning: train longer (training {losses[-1]:.3f}; {without})", "longer")
    return Diagnosis(f"no longer learning (training {losses[-1]:.3f}); {without}")
