"""The learning rate over a run's steps, and what a new budget does to it.

A run has one stage for each budget that it was given. In every stage the learning rate warms up and
then falls along a cosine.
"""

from __future__ import annotations

import math
from dataclasses import replace

from charrnn.config import TrainConfig
from charrnn.training.run_state import RunState

REHEAT = 0.5
"""Learning-rate factor to which a stage after the first warms up (measured: docs/training.md)."""


def lr_factor(step: int, state: RunState, config: TrainConfig) -> float:
    """Learning-rate factor of a step of the present stage: linear warm-up, then a cosine to ``final_lr``."""
    step, steps, warmup = step - state.stage_start, state.steps - state.stage_start, _warmup(state, config)
    if step < warmup:
        return state.lr_start + (state.lr_peak - state.lr_start) * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return config.final_lr + (state.lr_peak - config.final_lr) * (1 + math.cos(math.pi * progress)) / 2


def begin_stage(state: RunState, config: TrainConfig, steps: int, report_every: int) -> RunState:
    """The state with a stage of ``steps`` steps ahead; they replace those that were left.

    The learning rate starts where it was and rises to the REHEAT factor. It never falls in the warm-up:
    a run that was stopped above that factor continues there, and one stopped in its warm-up ends it.
    """
    warming_up = state.step - state.stage_start < _warmup(state, config)
    current = lr_factor(state.step - 1, state, config) if state.step > state.stage_start else state.lr_start
    return replace(
        state,
        steps=state.step + steps,
        report_every=report_every,
        stale=0,
        stage_start=state.step,
        lr_start=current,
        lr_peak=state.lr_peak if warming_up else max(REHEAT, current),
    )


def _warmup(state: RunState, config: TrainConfig) -> int:
    """The steps of the stage's warm-up, at least 1."""
    return max(1, round(config.warmup * (state.steps - state.stage_start)))
