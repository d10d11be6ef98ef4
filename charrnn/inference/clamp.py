"""Clamped networks: some units' hidden states are held at fixed values.

A clamped unit gives the same value to the readout, to the layer above and to the next step, after every
character. The cell state of an LSTM's unit is left to itself: it changes, but nobody reads it.

M: clamps that are compared   B: batch   H: hidden
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import numpy as np

from charrnn.cells import LayerState
from charrnn.errors import ConfigError
from charrnn.inference.network import Inference, Predictor
from charrnn.inference.ops import Floats

LIMIT = 1000
"""Largest size of a clamped value: far larger ones overflow to infinity, and the logits to NaN."""

Step = Callable[..., tuple[LayerState, tuple[Floats, ...]]]


def clamped(inference: Inference, values: Mapping[int, Floats]) -> Inference:
    """The network with clamped units; it shares its weights with the network that is given.

    values  (M, H) for each clamped layer, NaN for the units that are left to themselves. Row b of a batch is
            clamped by row b % M, so the size of a batch is a multiple of M.
    """
    result = copy(inference)
    result.steps = [
        _clamped_step(step, values[layer].astype(inference.readout.dtype)) if layer in values else step
        for layer, step in enumerate(inference.steps)
    ]
    return result


def _clamped_step(step: Step, values: Floats) -> Step:
    free = np.isnan(values)

    def clamped_step(*arguments: Any) -> tuple[LayerState, tuple[Floats, ...]]:
        (hidden, *others), gates = step(*arguments)
        batches = hidden.reshape(-1, *values.shape)
        return (np.where(free, batches, values).reshape(hidden.shape), *others), gates

    return clamped_step


def with_clamps(predictor: Predictor, clamps: Mapping[tuple[int, int], float]) -> Inference:
    """The network with these (layer, unit) at these values.

    Raises ConfigError where the model is no network, or has no such layer or unit, and for a value beyond
    LIMIT.
    """
    if not isinstance(predictor, Inference):
        raise ConfigError(
            "--clamp needs one network: an n-gram model has no units, and a mixture is several models"
        )
    config = predictor.config
    values: dict[int, Floats] = {}
    for (layer, unit), value in clamps.items():
        for name, number, count in (("layer", layer, config.layers), ("unit", unit, config.hidden)):
            if not 0 <= number < count:
                raise ConfigError(f"--clamp {layer}:{unit}={value:g}: the model has {name}s 0 to {count - 1}")
        row = values.setdefault(layer, np.full((1, config.hidden), np.nan))
        row[0, unit] = checked_value(value)
    return clamped(predictor, values)


def checked_value(value: float) -> float:
    """The value, if a unit can be clamped at it. Raises ConfigError."""
    if not abs(value) <= LIMIT:
        raise ConfigError(f"--clamp {value:g}: the value must be from -{LIMIT} to {LIMIT}")
    return value
