"""How many steps a budget is, and the share of the learning rate at each."""

from __future__ import annotations

import math
import statistics
import time
from typing import cast

import torch

from charrnn.config import TrainConfig
from charrnn.training.devices import ProcessGroup, precision
from charrnn.training.learner import Learner

REHEARSAL = 0.02
"""Share of a budget in minutes that is spent on timing steps before the first counts."""
REPORTS = 20
"""Reports in a run, unless they would take more than ..."""
REPORTS_SHARE = 0.1
"""... this share of a budget in minutes, or follow each other within ..."""
REPORTS_APART = 100
"""... so many steps."""


def rate(step: int, steps: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to ``final_lr``: step ``step``'s (from 0) share of the highest rate."""
    warmup = max(1, round(config.warmup * steps))
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return config.final_lr + (1 - config.final_lr) * (1 + math.cos(math.pi * done)) / 2


def characters(config: TrainConfig, text: int, group: ProcessGroup) -> float:
    """About how many characters the budget lets a text of ``text`` be learnt from, for choosing sizes by."""
    limits = []
    if config.steps is not None:
        limits.append(float(config.steps * config.streams * config.bptt))
    if config.epochs is not None:
        limits.append(config.epochs * text)
    if config.minutes is not None:
        limits.append(config.minutes * 60 * group.broadcast(speed(group.device)))
    return min(limits)


def speed(device: torch.device, hidden: int = 512, streams: int = 32, bptt: int = 64) -> float:
    """Characters a second that one layer of an LSTM takes there and back."""
    kind = precision(device) or torch.float32
    layer = torch.nn.LSTM(64, hidden).to(device, kind)
    text = torch.zeros(bptt, streams, 64, device=device, dtype=kind)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        torch.autograd.backward(layer(text)[0].sum())
        float(cast(torch.Tensor, layer.weight_hh_l0).detach()[0, 0])  # waits for the device
        times.append(time.perf_counter() - start)
    # Readout, dropping and the optimisers take about as long again.
    return streams * bptt / min(times) / 2


def fit(learner: Learner) -> tuple[int, int]:
    """The budget as (steps, steps between reports), settled once; the schedule then keeps to it."""
    config, limits = learner.config, []
    if config.steps is not None:
        limits.append(config.steps)
    if config.epochs is not None:
        limits.append(math.ceil(config.epochs * learner.batches.steps_per_epoch))
    reports = REPORTS
    if config.minutes is not None:
        began, budget = time.perf_counter(), config.minutes * 60
        step_seconds, report_seconds = rehearse(learner, budget * REHEARSAL)
        reports = max(1, min(REPORTS, int(budget * REPORTS_SHARE / report_seconds)))
        left = budget - (time.perf_counter() - began) - reports * report_seconds
        limits.append(max(1, int(learner.group.broadcast(left / step_seconds))))
        reports = int(learner.group.broadcast(reports))
    if not limits:
        raise ValueError("config: no budget; give steps, epochs or minutes")
    steps = min(limits)
    return steps, config.save_every or max(REPORTS_APART, math.ceil(steps / reports))


def rehearse(learner: Learner, seconds: float) -> tuple[float, float]:
    """Time steps and a report so that no trace is left: (seconds a step, seconds a report)."""
    generator, carry = learner.generator.get_state(), learner.carry

    def timed(count: int) -> list[float]:
        times = []
        for step in range(count):
            start = time.perf_counter()
            loss, _ = learner.train_step(step, 0.0)  # moments move, weights do not
            float(loss)
            times.append(time.perf_counter() - start)
        return times

    first = learner.group.broadcast(statistics.median(timed(3)))
    step_seconds = statistics.median(timed(max(3, min(1000, int(seconds / first)))))
    learner.reset_optimizers()
    learner.carry = carry
    learner.generator.set_state(generator)

    part = learner.validation_part[: max(20_000, len(learner.validation_part) // 10)]
    start = time.perf_counter()
    learner.validate(part)
    share = len(learner.validation_part) / max(1, len(part))
    return step_seconds, (time.perf_counter() - start) * share + 0.1
