"""The network's parameters by name and shape: what training, inference and checkpoints agree on.

V: vocabulary   E: embedding   D: inputs of a layer   H: hidden

    embedding.weight            (V, E), absent with one-hot input
    layers.0.weight_ih ...      the cell's own ``shapes``, D = E (V with one-hot input), then D = H
    readout.weight, .bias       (V, H), (V,)
"""

from __future__ import annotations

import math
from dataclasses import replace

from charrnn import cells
from charrnn.config import ModelConfig
from charrnn.errors import ConfigError

MOST = 10**11
"""The most parameters a network is sized to."""


def layer_inputs(config: ModelConfig, symbols: int) -> list[int]:
    """The number of inputs D of each layer, lowest first."""
    return [config.embedding or symbols] + [config.hidden] * (config.layers - 1)


def shapes(config: ModelConfig, symbols: int) -> dict[str, tuple[int, ...]]:
    """Every parameter's name and shape, for a vocabulary of ``symbols``."""
    cell = cells.get(config.cell)
    found: dict[str, tuple[int, ...]] = {}
    if config.embedding:
        found["embedding.weight"] = (symbols, config.embedding)
    for index, inputs in enumerate(layer_inputs(config, symbols)):
        for name, shape in cell.shapes(inputs, config.hidden).items():
            found[f"layers.{index}.{name}"] = shape
    found["readout.weight"] = (symbols, config.hidden)
    found["readout.bias"] = (symbols,)
    return found


def count(config: ModelConfig, symbols: int) -> int:
    """How many numbers are learnt."""
    return sum(math.prod(shape) for shape in shapes(config, symbols).values())


def sized(config: ModelConfig, symbols: int, budget: int) -> ModelConfig:
    """The same network, as wide as brings its parameters nearest to ``budget``.

    Raises ConfigError when even one unit is more than twice that.
    """
    low, high = 1, 1
    if budget > MOST:
        raise ConfigError(f"--params {budget}: it must be at most {MOST:,}")
    while count(replace(config, hidden=high), symbols) < budget:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if count(replace(config, hidden=middle), symbols) < budget:
            low = middle
        else:
            high = middle
    best = min((low, high), key=lambda hidden: abs(count(replace(config, hidden=hidden), symbols) - budget))
    found = replace(config, hidden=best)
    if count(found, symbols) > 2 * budget:
        raise ConfigError(
            f"--params {budget}: this text's {symbols} symbols alone take {count(found, symbols):,}"
        )
    return found
