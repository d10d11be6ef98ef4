"""The steps that a budget allows."""

from __future__ import annotations

import math
import statistics
import time
from typing import cast

import torch

from charrnn.config import TrainConfig
from charrnn.training.devices import ProcessGroup, precision
from charrnn.training.learner import Learner

TIMING_SHARE = 0.02  # fraction of a budget in minutes that is spent on timing steps
MOST_REPORTS = 20
REPORTS_SHARE = 0.1  # largest fraction of a budget in minutes that reports take
MIN_STEPS_BETWEEN_REPORTS = 100


def characters(config: TrainConfig, length: int, group: ProcessGroup) -> float:
    """Estimate the characters that the budget allows to read, from a text of ``length`` characters."""
    limits = []
    if config.steps is not None:
        limits.append(float(config.steps * config.streams * config.bptt))
    if config.epochs is not None:
        limits.append(config.epochs * length)
    if config.minutes is not None:
        limits.append(config.minutes * 60 * group.broadcast(speed(group.device)))
    return min(limits)


def speed(device: torch.device) -> float:
    """Estimate characters per second in training, from an LSTM layer's forward and backward pass."""
    hidden, streams, bptt = 512, 32, 64
    dtype = precision(device) or torch.float32
    layer = torch.nn.LSTM(64, hidden).to(device, dtype)
    inputs = torch.zeros(bptt, streams, 64, device=device, dtype=dtype)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        torch.autograd.backward(layer(inputs)[0].sum())
        float(cast(torch.Tensor, layer.weight_hh_l0).detach()[0, 0])  # waits for the device
        times.append(time.perf_counter() - start)
    # Readout, dropout and the optimisers double the time.
    return streams * bptt / min(times) / 2


def plan_steps(learner: Learner) -> tuple[int, int]:
    """The steps that the budget allows, and the steps between reports. For minutes, steps are timed."""
    config, limits = learner.config, []
    if config.steps is not None:
        limits.append(config.steps)
    if config.epochs is not None:
        limits.append(math.ceil(config.epochs * learner.batches.steps_per_epoch))
    reports = MOST_REPORTS
    if config.minutes is not None:
        start, budget = time.perf_counter(), config.minutes * 60
        step_seconds, report_seconds = time_steps(learner, budget * TIMING_SHARE)
        reports = max(1, min(MOST_REPORTS, int(budget * REPORTS_SHARE / report_seconds)))
        remaining = budget - (time.perf_counter() - start) - reports * report_seconds
        limits.append(max(1, int(learner.group.broadcast(remaining / step_seconds))))
        reports = int(learner.group.broadcast(reports))
    if not limits:
        raise ValueError("config: no budget; give steps, epochs or minutes")
    steps = min(limits)
    return steps, config.save_every or max(MIN_STEPS_BETWEEN_REPORTS, math.ceil(steps / reports))


def time_steps(learner: Learner, seconds: float) -> tuple[float, float]:
    """Time steps and a report, and leave the learner as it was: (seconds per step, seconds per report)."""
    before = learner.state()

    def step_seconds(count: int) -> float:
        times = []
        for step in range(count):
            start = time.perf_counter()
            loss, _ = learner.train_step(step, 0.0)  # changes the moments, not the weights
            float(loss)  # waits for the device
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    first = learner.group.broadcast(step_seconds(3))
    typical = step_seconds(max(3, min(1000, int(seconds / first))))
    learner.restore(before)

    part = learner.validation_part[: max(20_000, len(learner.validation_part) // 10)]
    start = time.perf_counter()
    learner.validate(part)
    scale = len(learner.validation_part) / max(1, len(part))
    return typical, (time.perf_counter() - start) * scale + 0.1
