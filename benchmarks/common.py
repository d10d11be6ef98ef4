"""Shared by the benchmarks: a line about the machine, a table, and ratios measured side by side.

The machines are shared and noisy, so the contestants take turns. The figures are the median of each
contestant, and the median of the ratios turn by turn.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

Contestant = Callable[[], object]


def machine() -> str:
    """One line: processor, cores, date and commit."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.open() if line.startswith("model name")]
        model = names[0] if names else model
    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return f"{model}, {os.cpu_count()} cores, {date.today()}, commit {commit.stdout.strip() or 'unknown'}"


def turns(contestants: Sequence[Contestant], rounds: int, calls: int) -> list[list[float]]:
    """The seconds per call of each contestant, one list each; in every round each takes its turn."""
    seconds: list[list[float]] = [[] for _ in contestants]
    for _ in range(rounds):
        for contestant, laps in zip(contestants, seconds, strict=True):
            contestant()
            start = time.perf_counter()
            for _ in range(calls):
                contestant()
            laps.append((time.perf_counter() - start) / calls)
    return seconds


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """The median of one / other, turn by turn."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print(f"| {' | '.join(head)} |")
    print(f"|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")
