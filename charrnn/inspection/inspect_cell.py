"""The values of chosen units of one layer, character by character.

N: characters of a piece   U: units
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import ConfigError
from charrnn.inference.network import Ids, Inference
from charrnn.inspection.activations import Signal, signal_name, watch_stream


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


def check_units(inference: Inference, layer: int, units: Sequence[int]) -> None:
    """Raise ConfigError when the layer or one of its units does not exist."""
    config = inference.config
    for option, values, count in (("layer", [layer], config.layers), ("unit", units, config.hidden)):
        for value in values:
            if not 0 <= value < count:
                raise ConfigError(f"--{option} {value}: the model has {option}s 0 to {count - 1}")
