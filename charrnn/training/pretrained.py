"""The weights of a trained model as those of a model that knows more: symbols, END, labels.

V: vocabulary   H: hidden   D: inputs of the first layer   C: condition width
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.conditions import Condition, Label
from charrnn.config import ModelConfig
from charrnn.runs.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary

Arrays = dict[str, NDArray[Any]]
Integers = NDArray[np.int64]


def extended(pretrained: Checkpoint, model: ModelConfig, vocabulary: Vocabulary, initial: Arrays) -> Arrays:
    """The weights of a checkpoint in the places that they have in a network of more symbols and conditions.

    model    the network, whose vocabulary holds the symbols of the checkpoint, and whose conditions hold
             those of the checkpoint
    initial  its initial weights, which the rows and columns keep that the checkpoint lacks; a new symbol gets
             the lowest bias of any symbol, and a new condition changes nothing before it is trained
    """
    header, weights = pretrained.header, pretrained.weights
    symbols = vocabulary.encode_units(header.vocabulary.symbols)
    if header.vocabulary.boundary is not None:
        symbols = np.append(symbols, len(vocabulary) - 1)
    conditions = _condition_places(header.network, model)
    columns = _input_columns(header.network, model, symbols, len(vocabulary), conditions)
    result = {name: value.copy() for name, value in initial.items()}
    result["readout.bias"][:] = weights["readout.bias"].min()
    for name in {"layers.0.weight_ih", "layers.0.projection"} & set(result):
        result[name][:, model.embedding or len(vocabulary) :] = 0  # of the conditions
    for name, value in weights.items():
        if name in ("embedding.weight", "readout.weight", "readout.bias"):
            result[name][symbols] = value
        elif name in ("layers.0.weight_ih", "layers.0.projection") and name in result:
            result[name][:, columns] = value
        elif name in result and not name.startswith("conditions."):
            result[name] = value
    if "layers.0.projection" in result and "layers.0.projection" not in weights:
        result["layers.0.projection"][:, columns] = np.eye(len(columns))  # the input was as wide as the cell
    for before, index in enumerate(conditions):
        rows = _condition_rows(header.network.conditions[before], model.conditions[index])
        result[f"conditions.{index}.weight"][rows] = weights[f"conditions.{before}.weight"]
    return result


def _condition_places(before: ModelConfig, model: ModelConfig) -> list[int]:
    """The places, among the conditions of a model, of those of the model that it was."""
    names = [condition.name for condition in model.conditions]
    return [names.index(condition.name) for condition in before.conditions]


def _input_columns(
    before: ModelConfig, model: ModelConfig, symbols: Integers, count: int, conditions: list[int]
) -> Integers:
    """(D,) the columns, in the first layer of a model of ``count`` ids, of the inputs that it had before."""
    characters = np.arange(before.embedding) if before.embedding else symbols
    first, width = model.embedding or count, model.condition_width
    blocks = [first + index * width + np.arange(width) for index in conditions]
    return np.concatenate([characters, *blocks])


def _condition_rows(before: Condition, condition: Condition) -> Integers:
    """The rows of a condition that has more values now."""
    if isinstance(before, Label) and isinstance(condition, Label):
        return np.array([0, *map(condition.row, before.values)])
    return np.arange(condition.inputs)
