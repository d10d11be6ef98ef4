"""The position and the figures of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from torch import Tensor

from charrnn.config import LARGEST_COUNT, is_between

LATER = ("stage_start", "lr_start", "norm_sum", "clipped_steps")
"""The fields that older checkpoints lack: their runs had one budget, and no sum of gradient norms."""

LARGEST_NUMBER = 1e200
"""Larger numbers are refused: what is computed from them would exceed LARGEST_FIGURE, which no file may."""
LIMITS = {"best": math.inf, "lr_scale": 1.0, "lr_start": 1.0}
"""The largest values of single fields; those of the others are LARGEST_COUNT and LARGEST_NUMBER."""


@dataclass
class RunState:
    """What resuming needs besides tensors. Raises ValueError for values that no run can have."""

    step: int = 0  # steps done
    steps: int = 0  # steps in the whole run; 0 until the budget is known
    report_every: int = 0  # steps between reports
    best: float = math.inf  # lowest validation loss (training loss without a validation part), in nats
    stale: int = 0  # reports since the best one
    lr_scale: float = 1.0  # factor of all learning rates
    rollbacks: int = 0  # rollbacks so far
    loss_sum: float = 0.0  # training losses since the last report, in nats
    loss_steps: int = 0  # steps since the last report
    norm_sum: float = 0.0  # gradient norms of these steps, before clipping
    clipped_steps: int = 0  # those of these steps whose gradient was clipped
    seconds: float = 0.0  # time spent on the run, by all processes that resumed it
    stage_start: int = 0  # the step at which the present budget began
    lr_start: float = 0.0  # learning-rate factor from which that budget's warm-up rises

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            types = (int,) if field.type == "int" else (int, float)
            limit = LIMITS.get(field.name, LARGEST_COUNT if field.type == "int" else LARGEST_NUMBER)
            if not is_between(value, 0, limit, types):
                raise ValueError(f"{field.name} is {value!r}")
        if self.clipped_steps > self.loss_steps:
            raise ValueError(f"clipped_steps is {self.clipped_steps}, of {self.loss_steps} steps")
        if not self.stage_start <= self.step <= self.steps or (self.steps > 0) != (self.report_every > 0):
            raise ValueError(
                f"step {self.step} of {self.steps}, the budget began at {self.stage_start},"
                f" a report every {self.report_every} steps"
            )

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON values; ``best`` is None before the first report."""
        return asdict(self) | {"best": self.best if self.best < math.inf else None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The state of a run with a known budget; other keys are ignored. Raises KeyError, ValueError."""
        names = [field.name for field in fields(cls) if field.name in values or field.name not in LATER]
        state = {name: values[name] for name in names}
        if not state["steps"]:
            raise ValueError(f"steps is {state['steps']!r}")
        return cls(**state | {"best": math.inf if state["best"] is None else state["best"]})

    @property
    def train_nats(self) -> float | None:
        """Mean training loss since the last report, None directly after it."""
        return self.loss_sum / self.loss_steps if self.loss_steps else None

    def add_steps(self, losses: Tensor, norms: Tensor, clip: float) -> None:
        """Count steps with these losses, and gradient norms before clipping at ``clip``; 0: no clipping."""
        self.loss_sum += float(losses.sum())
        self.loss_steps += len(losses)
        self.norm_sum += float(norms.sum())
        self.clipped_steps += int((norms > clip).sum()) if clip else 0

    def add_report(self, nats: float) -> bool:
        """Count a report with this loss, and begin new means: whether the report is the best."""
        best = nats < self.best
        self.best, self.stale = min(self.best, nats), 0 if best else self.stale + 1
        self.loss_sum, self.loss_steps, self.norm_sum, self.clipped_steps = 0.0, 0, 0.0, 0
        return best
