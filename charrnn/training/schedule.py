"""The learning rate over a run's steps, and what a new budget does to it.

A run has one stage for each budget that it was given. In every stage the learning rate warms up and
then falls along a cosine.
"""

from __future__ import annotations

import math
from dataclasses import replace

from charrnn.config import TrainConfig
from charrnn.training.run_state import RunState


def lr_factor(step: int, state: RunState, config: TrainConfig) -> float:
    """Learning-rate factor of a step of the stage: linear warm-up to 1, then cosine to ``final_lr``.

    The warm-up of the first stage rises from 0, that of a later one from the factor that was reached.
    """
    step, steps = step - state.stage_start, state.steps - state.stage_start
    warmup = max(1, round(config.warmup * steps))
    if step < warmup:
        return state.lr_start + (1 - state.lr_start) * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return config.final_lr + (1 - config.final_lr) * (1 + math.cos(math.pi * progress)) / 2


def begin_stage(state: RunState, config: TrainConfig, steps: int, report_every: int) -> RunState:
    """The state with a stage of ``steps`` steps ahead; they replace those that were left.

    The learning rate rises from where it was to its full height: lower peaks gave higher losses in every
    division of a run that was measured (docs/training.md).
    """
    current = lr_factor(state.step - 1, state, config) if state.step > state.stage_start else state.lr_start
    return replace(
        state,
        steps=state.step + steps,
        report_every=report_every,
        stale=0,
        stage_start=state.step,
        lr_start=current,
    )
