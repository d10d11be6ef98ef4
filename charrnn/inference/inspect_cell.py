"""The values of one unit, character by character.

N: characters of a piece
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import Cell, LayerState
from charrnn.errors import ConfigError, did_you_mean
from charrnn.inference.network import Ids, Inference, read

SYNONYMS = {"cell": "memory"}
"""Other names of signals: the signal ``memory`` is the cell state."""


def default_signal(cell: Cell) -> str:
    """The cell state where the cell has one, else the hidden state."""
    return "memory" if "memory" in cell.state_names else cell.state_names[0]


def unit_values(
    inference: Inference, pieces: Iterable[Ids], layer: int, unit: int, signal: str | None = None
) -> Iterator[tuple[Ids, NDArray[np.floating]]]:
    """Yields each piece (N,) of a text with the unit's values after its characters, (N,).

    ``signal`` is a state or a gate of the cell. The cell state is given as its tanh, as the output
    gate receives it. A sigmoid gate lies in [0, 1], every other signal in [-1, 1]; only the
    hidden state and the candidate of a cell with a linear candidate are unbounded.
    Raises ConfigError when the layer, the unit or the signal does not exist.
    """
    config, cell = inference.config, inference.cell
    signal = signal or default_signal(cell)
    name = SYNONYMS.get(signal, signal)
    if name not in cell.signals:
        hint = did_you_mean(signal, cell.signals)
        raise ConfigError(f"--of {signal}: cell {config.cell} has {', '.join(cell.signals)}{hint}")
    for option, value, count in (("layer", layer, config.layers), ("unit", unit, config.hidden)):
        if not 0 <= value < count:
            raise ConfigError(f"--{option} {value}: the model has {option}s 0 to {count - 1}")
    return _read_values(inference, pieces, layer, unit, name)


def _read_values(
    inference: Inference, pieces: Iterable[Ids], layer: int, unit: int, signal: str
) -> Iterator[tuple[Ids, NDArray[np.floating]]]:
    position = inference.cell.signals.index(signal)
    values: list[float] = []

    def trace(index: int, layer_state: LayerState, gates: LayerState) -> None:
        if index == layer:
            values.append(float((*layer_state, *gates)[position][0, unit]))

    state = inference.start(1)
    for piece in pieces:
        for ids, _, state_after in read(inference, piece, state, trace):
            state, signals = state_after, np.array(values)
            values.clear()
            yield ids, np.tanh(signals) if signal == "memory" else signals
