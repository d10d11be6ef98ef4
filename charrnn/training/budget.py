"""The steps that a budget allows."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Set
from dataclasses import replace
from functools import partial

from charrnn import cells
from charrnn.config import BY_HEART, DEFAULT_EPOCHS, DEFAULT_MINUTES, DEFAULT_STEPS, ModelConfig, TrainConfig
from charrnn.text.corpus import Corpus
from charrnn.training import sizing
from charrnn.training.data import training_data
from charrnn.training.devices import ProcessGroup
from charrnn.training.learner import Learner

LAPS = 5  # timed steps; the fastest counts
TRAINING_SHARE = 0.85  # typical fraction of a budget in minutes that steps take at the fastest speed
TIMING_SHARE = 0.03  # fraction of a budget in minutes that is spent on timing steps
MOST_REPORTS = 20
REPORTS_SHARE = 0.1  # largest fraction of a budget in minutes that reports take
MIN_STEPS_BETWEEN_REPORTS = 100


def choose_settings(
    corpus: Corpus,
    model: ModelConfig,
    config: TrainConfig,
    left_open: Set[str],
    group: ProcessGroup,
    count: int | None = None,
) -> tuple[ModelConfig, TrainConfig, str]:
    """The settings, those that are left open chosen for the text and the budget, and a line that says why.

    ``left_open`` is from sizing.CHOSEN, "split" and "steps"; "steps" stands for the whole budget. ``count``
    is the number of parameters, where the user gave it. The line is empty for a text that is learnt by heart,
    and where nothing is chosen. Raises ConfigError for an unknown cell.
    """
    if "weight_drop" in left_open and "weight_hh" not in cells.get(model.cell).shapes(1, 1):
        left_open, config = left_open - {"weight_drop"}, replace(config, weight_drop=0.0)
    length = len(corpus.splits(config.split)[0])
    if count is not None:
        known = config.minutes is None and not (config.steps is config.epochs is None)
        epochs = characters(corpus, model, config, group) / length if known else 0.0
        model = sizing.of_parameters(model, left_open, len(corpus.vocabulary), count, epochs)
        left_open = left_open - {"layers"}
    if len(corpus.ids) < BY_HEART:
        return (*sizing.learn_by_heart(model, config, left_open), "")
    if "steps" in left_open:
        fewest = DEFAULT_STEPS / training_data(corpus, config, group).steps_per_epoch
        config = replace(config, minutes=DEFAULT_MINUTES, epochs=max(DEFAULT_EPOCHS, fewest))
    choices = left_open & set(sizing.CHOSEN)
    if not choices:
        return model, config, ""
    return sizing.choose(model, config, choices, length, partial(characters, corpus, group=group))


def characters(corpus: Corpus, model: ModelConfig, config: TrainConfig, group: ProcessGroup) -> float:
    """Estimate the characters that the budget allows to read. For minutes, steps of this model are timed."""
    limits = []
    if config.steps is not None:
        limits.append(config.steps * training_data(corpus, config, group).characters_per_step)
    if config.epochs is not None:
        limits.append(config.epochs * len(corpus.splits(config.split)[0]))
    if config.minutes is not None:
        learner = Learner(corpus, model, config, group)
        limits.append(config.minutes * 60 * TRAINING_SHARE * speed(learner))
    return min(limits)


def speed(learner: Learner, clock: Callable[[], float] = time.perf_counter) -> float:
    """Characters per second in training; ``clock`` returns seconds.

    The fastest of LAPS steps counts: other processes on the machine can only make a step slower.
    """
    fastest = min(_step_times(learner, LAPS + 1, clock)[1:])  # the first step also allocates memory
    return learner.group.broadcast(learner.data.characters_per_step / max(fastest, 1e-9))


def _step_times(learner: Learner, count: int, clock: Callable[[], float]) -> list[float]:
    """The seconds of each of ``count`` steps, which change the optimisers' moments but not the weights."""
    times = []
    for step in range(count):
        start = clock()
        loss, _ = learner.train_step(step, 0.0)
        float(loss)  # waits for the device
        times.append(clock() - start)
    return times


def plan_steps(learner: Learner) -> tuple[int, int]:
    """The steps that the budget allows, and the steps between reports. For minutes, steps are timed."""
    config, limits = learner.config, []
    if config.steps is not None:
        limits.append(config.steps)
    if config.epochs is not None:
        limits.append(math.ceil(config.epochs * learner.data.steps_per_epoch))
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
    return steps, config.save_every or report_interval(steps, reports)


def report_interval(steps: int, reports: int = MOST_REPORTS) -> int:
    """The steps between reports of a run that is to have at most so many reports."""
    return max(MIN_STEPS_BETWEEN_REPORTS, math.ceil(steps / reports))


def time_steps(learner: Learner, seconds: float) -> tuple[float, float]:
    """Time steps and a report, and leave the learner as it was: (seconds per step, seconds per report)."""
    before = learner.state()
    first = learner.group.broadcast(statistics.median(_step_times(learner, 3, time.perf_counter)))
    count = max(3, min(1000, int(seconds / first)))
    typical = statistics.median(_step_times(learner, count, time.perf_counter))
    learner.restore(before)

    part = learner.validated[: max(50_000, len(learner.validated) // 10)]
    start = time.perf_counter()
    learner.validate(part)
    scale = len(learner.validated) / max(1, len(part))
    return typical, (time.perf_counter() - start) * scale + 0.1
