"""The weights of a trained model as those of a model that knows more: symbols, END, labels.

V: vocabulary   H: hidden   D: inputs of the first layer
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.conditions import Label
from charrnn.config import ModelConfig
from charrnn.runs.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary

Arrays = dict[str, NDArray[Any]]


def extended(pretrained: Checkpoint, model: ModelConfig, vocabulary: Vocabulary, initial: Arrays) -> Arrays:
    """The weights of a checkpoint in the places that they have in a network of more symbols and conditions.

    model       the network, whose vocabulary holds the symbols of the checkpoint
    initial     its initial weights, which the rows and columns keep that the checkpoint lacks; a new symbol
                gets the lowest bias of any symbol
    """
    header, weights = pretrained.header, pretrained.weights
    old = header.network
    symbols = vocabulary.encode_units(header.vocabulary.symbols)
    if old.documents:
        symbols = np.append(symbols, vocabulary.boundary)
    before = [condition.name for condition in old.conditions]
    result = {name: value.copy() for name, value in initial.items()}
    for name, value in weights.items():
        if name in ("embedding.weight", "readout.weight", "readout.bias"):
            if name == "readout.bias":
                result[name][:] = value.min()
            result[name][symbols] = value
        elif not name.startswith(("conditions.", "layers.0.weight_ih", "layers.0.projection")):
            result[name] = value
    width = model.condition_width
    columns = np.arange(old.embedding) if old.embedding else symbols
    first = model.embedding or len(vocabulary)
    for index, condition in enumerate(model.conditions):
        if condition.name not in before:
            continue
        number = before.index(condition.name)
        columns = np.concatenate([columns, first + index * width + np.arange(width)])
        rows = np.arange(condition.inputs)
        if isinstance(condition, Label):
            earlier = old.conditions[number]
            assert isinstance(earlier, Label)
            rows = np.array([0, *map(condition.row, earlier.values)])
        result[f"conditions.{index}.weight"][rows] = weights[f"conditions.{number}.weight"]
    kept = [old.conditions[before.index(c.name)].name for c in model.conditions if c.name in before]
    sources = np.arange(len(columns) - len(kept) * width)
    base = old.embedding or len(header.vocabulary)
    for name_kept in kept:
        sources = np.concatenate([sources, base + before.index(name_kept) * width + np.arange(width)])
    for name in ("layers.0.weight_ih", "layers.0.projection"):
        if name in weights and name in result:
            result[name][:, columns] = weights[name][:, sources]
    return result
