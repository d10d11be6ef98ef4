"""Time and speed."""

from __future__ import annotations

import time


class Meter:
    """Measures time and speed since a step."""

    def __init__(self, step: int, seconds: float = 0.0) -> None:
        """``seconds`` is time that was spent before."""
        self.step, self.start = step, time.perf_counter() - seconds

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start

    def speed(self, step: int) -> float:
        """Steps per second from the start until now, when ``step`` steps are done."""
        return (step - self.step) / max(self.seconds, 1e-9)
