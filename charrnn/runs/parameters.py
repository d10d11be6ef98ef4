"""The names and shapes of the network's parameters, for training, inference and checkpoints.

V: vocabulary   E: embedding   D: inputs of a layer   H: hidden   R: inputs of the readout
C: condition width   N: outputs that a step attends to

    embedding.weight            (V, E), absent with one-hot input
    conditions.0.weight ...     (inputs, C) for each label or vector (``charrnn.conditions``)
    layers.0.weight_ih ...      the ``shapes`` of the cell; D is E or, with one-hot input, V, and C more for
                                each condition
    layers.1.weight_ih ...      the ``shapes`` of the cell; D is H, here and in all higher layers
    attention.query             (H, H), only with attention (``charrnn.attention``)
    attention.distance          (N,), that of the oldest output first
    readout.weight, .bias       (V, R), (V,); R is H, H times the layers where the readout reads all layers,
                                and H more with attention
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import replace

from charrnn import cells
from charrnn.config import WIDEST, ModelConfig
from charrnn.errors import ConfigError


def layer_inputs(config: ModelConfig, symbols: int) -> list[int]:
    """The number of inputs D of each layer, lowest first."""
    first = (config.embedding or symbols) + config.condition_inputs
    return [first] + [config.hidden] * (config.layers - 1)


def readout_inputs(config: ModelConfig) -> int:
    """The number of inputs R of the readout."""
    return config.hidden * ((config.layers if config.readout == "all" else 1) + (config.attention > 0))


def shapes(config: ModelConfig, symbols: int) -> dict[str, tuple[int, ...]]:
    """Every parameter's name and shape, for a vocabulary of ``symbols``."""
    cell = cells.get(config.cell)
    result: dict[str, tuple[int, ...]] = {}
    if config.embedding:
        result["embedding.weight"] = (symbols, config.embedding)
    for index, condition in enumerate(config.conditions):
        result[f"conditions.{index}.weight"] = (condition.inputs, config.condition_width)
    for index, inputs in enumerate(layer_inputs(config, symbols)):
        for name, shape in cell.shapes(inputs, config.hidden).items():
            result[f"layers.{index}.{name}"] = shape
    if config.attention:
        result["attention.query"] = (config.hidden, config.hidden)
        result["attention.distance"] = (config.attention,)
    result["readout.weight"] = (symbols, readout_inputs(config))
    result["readout.bias"] = (symbols,)
    return result


def count(config: ModelConfig, symbols: int) -> int:
    """The number of parameters."""
    return sum(math.prod(shape) for shape in shapes(config, symbols).values())


def sized(config: ModelConfig, symbols: int, budget: int) -> ModelConfig:
    """The same network with the width whose number of parameters is nearest to ``budget``.

    Raises ConfigError when even the widest network has less, or a single unit over twice the budget.
    """

    def size(hidden: int) -> int:
        return count(replace(config, hidden=hidden), symbols)

    widths = range(1, WIDEST + 1)
    if budget > size(WIDEST):
        raise ConfigError(f"--params {budget}: must be at most {size(WIDEST):,}")
    index = bisect_left(widths, budget, key=size)  # of the smallest width with at least the budget
    best = min(widths[max(0, index - 1) : index + 1], key=lambda hidden: abs(size(hidden) - budget))
    if size(best) > 2 * budget:
        raise ConfigError(
            f"--params {budget}: too small; with {symbols} symbols the smallest network has {size(best):,}"
        )
    return replace(config, hidden=best)
