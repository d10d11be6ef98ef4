"""The values of chosen units of one layer, or the weights of attention, character by character.

N: characters of a piece   U: units   A: outputs that a character attends to
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import ConfigError
from charrnn.inference.network import Ids, Inference
from charrnn.inspection.activations import ATTENTION, Signal, signal_name, watch_stream


def unit_values(
    inference: Inference, pieces: Iterable[Ids], layer: int, units: Sequence[int], signal: str | None = None
) -> Iterator[tuple[Ids, NDArray[np.floating]]]:
    """Yields each piece (N,) of a text with the units' values after its characters, (N, U).

    ``signal`` is a state or a gate of the cell; None is the cell state, or the hidden state of a cell without
    one. ``activations.Values`` says what the values are.
    Raises ConfigError when the layer, a unit or the signal does not exist.
    """
    watched = Signal(layer, signal_name(inference.cell, signal))
    check_units(inference, layer, units)
    read = watch_stream(inference, pieces, {watched: np.array(units)})
    return ((piece.ids, piece.values[watched]) for piece in read)


def attention_weights(
    inference: Inference, pieces: Iterable[Ids]
) -> Iterator[tuple[Ids, NDArray[np.floating]]]:
    """Yields each piece (N,) of a text with the weights of its characters' attention, (N, A).

    Column k is the weight of the output k characters back. Raises ConfigError for a network that has none.
    """
    check_attention(inference)
    watched = Signal(inference.config.layers, ATTENTION)
    read = watch_stream(inference, pieces, {watched: np.arange(inference.config.attention)})
    return ((piece.ids, piece.values[watched][:, ::-1]) for piece in read)


def check_attention(inference: Inference) -> None:
    """Raise ConfigError for a network without attention."""
    if not inference.config.attention:
        raise ConfigError(
            f"--of {ATTENTION}: this model has no attention; charrnn train --attention 32 trains one with it"
        )


def check_units(inference: Inference, layer: int, units: Sequence[int]) -> None:
    """Raise ConfigError when the layer or one of its units does not exist."""
    config = inference.config
    for option, values, count in (("layer", [layer], config.layers), ("unit", units, config.hidden)):
        for value in values:
            if not 0 <= value < count:
                raise ConfigError(f"--{option} {value}: the model has {option}s 0 to {count - 1}")
