"""What one unit does at every character of a text.

N: characters   H: hidden units
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import Cell, LayerState
from charrnn.errors import ConfigError
from charrnn.inference.network import Ids, Inference, read


def default_signal(cell: Cell) -> str:
    """The memory where a cell has one, else its hidden state."""
    return "memory" if "memory" in cell.state_names else cell.state_names[0]


def watch(
    inference: Inference, pieces: Iterable[Ids], layer: int, unit: int, signal: str | None = None
) -> Iterator[tuple[Ids, NDArray[np.floating]]]:
    """A text in pieces (N,) -> each piece with the unit's value after each character, (N,).

    ``signal`` is one of the cell's carries or gates. A memory is shown as its tanh, which is
    how the cell itself reads it; so every value lies in [-1, 1], a sigmoid gate's in [0, 1], but
    for cells with a linear candidate, whose hidden state goes as far as that does.
    Raises ConfigError for a layer, unit or signal that is not there.
    """
    config, cell = inference.config, inference.cell
    signal = signal or default_signal(cell)
    if signal not in cell.signals:
        raise ConfigError(f"--of {signal}: cell {config.cell} has {', '.join(cell.signals)}")
    for option, value, count in (("layer", layer, config.layers), ("unit", unit, config.hidden)):
        if not 0 <= value < count:
            raise ConfigError(f"--{option} {value}: the model has {option}s 0 to {count - 1}")
    return _watch(inference, pieces, layer, unit, signal)


def _watch(
    inference: Inference, pieces: Iterable[Ids], layer: int, unit: int, signal: str
) -> Iterator[tuple[Ids, NDArray[np.floating]]]:
    which = inference.cell.signals.index(signal)
    values: list[float] = []

    def trace(at: int, carry: LayerState, gates: LayerState) -> None:
        if at == layer:
            values.append(float((*carry, *gates)[which][0, unit]))

    state = inference.start(1)
    for piece in pieces:
        for ids, _, after in read(inference, piece, state, trace):
            state, seen = after, np.array(values)
            values.clear()
            yield ids, np.tanh(seen) if signal == "memory" else seen
