"""The values of units, character by character.

N: characters of a text   n: characters of a piece   U: watched units of a signal   H: hidden units
B: pieces that one thread reads   T: characters read at once   V: vocabulary
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import Cell, LayerState, State
from charrnn.errors import ConfigError, did_you_mean
from charrnn.inference.network import Ids, Inference, Logits, read
from charrnn.inference.ops import Floats
from charrnn.inference.pieces import WARM_UP, Pieces, Rows

SYNONYMS = {"cell": "memory"}
"""Other names of signals: the signal ``memory`` is the cell state."""
BLOCK = 1_048_576
"""Characters of a long text that are read in pieces at once; the next block begins where they end."""
ATTENTION = "attention"
"""The signal of attention, whose "units" are the outputs that a character attends to, the oldest first. Its
layer is the number of layers."""
PIECES = 256
"""The most pieces of a block. A thread that reads 64 pieces at once is twice as fast as one that reads 8."""
SHORTEST_PIECE = 4 * WARM_UP
"""Characters of a piece: the warm-up of shorter ones would take too large a part of the time."""


class Signal(NamedTuple):
    """A state or a gate of a layer: ``name`` is one of ``Cell.signals``; or ``ATTENTION``."""

    layer: int
    name: str


Watched = Mapping[Signal, NDArray[np.intp]]
"""The numbers (U,) of the watched units of each signal."""

Values = Mapping[Signal, Floats]
"""The values (..., U) of the watched units of each signal.

The cell state is given as its tanh, as the output gate receives it. A sigmoid gate lies in [0, 1], every
other signal in [-1, 1]. The hidden state and the candidate of a cell with a linear candidate have no bounds.
"""


def signal_name(cell: Cell, name: str | None) -> str:
    """The name of a signal of the cell; of None, that of the cell state, or of the hidden state without one.

    Raises ConfigError for a signal that the cell does not have.
    """
    if name is None:
        return "memory" if "memory" in cell.state_names else cell.state_names[0]
    known = SYNONYMS.get(name, name)
    if known not in cell.signals:
        names = [*cell.signals, *(other for other, known in SYNONYMS.items() if known in cell.signals)]
        raise ConfigError(f"--of {name}: the model's cell has {', '.join(names)}{did_you_mean(name, names)}")
    return known


def as_value(name: str, array: Floats) -> Floats:
    """The values of a signal as ``Values`` gives them: of the cell state, its tanh."""
    return np.tanh(array) if name == "memory" else array


def every_signal(inference: Inference) -> Watched:
    """All units of all signals of all layers."""
    units = np.arange(inference.config.hidden)
    return {
        Signal(layer, name): units
        for layer in range(inference.config.layers)
        for name in inference.cell.signals
    }


class _Recorder:
    """A ``Trace`` that keeps the values of the watched units."""

    def __init__(self, inference: Inference, watched: Watched) -> None:
        everything, layers = inference.config.hidden, inference.config.layers
        signals = [inference.cell.signals] * layers + [(ATTENTION,)]
        self._values: dict[Signal, list[Floats]] = {signal: [] for signal in watched}
        self._columns = [
            [
                (names.index(signal.name), None if len(units) == everything else units, self._values[signal])
                for signal, units in watched.items()
                if signal.layer == layer
            ]
            for layer, names in enumerate(signals)
        ]

    def __call__(self, layer: int, layer_state: LayerState, gates: tuple[Floats, ...]) -> None:
        for index, units, values in self._columns[layer]:
            array = (*layer_state, *gates)[index]
            values.append(array if units is None else array[:, units])

    def take(self) -> Values:
        """(B, T, U) values since the last call."""
        result = {}
        for signal, values in self._values.items():
            result[signal] = as_value(signal.name, np.stack(values, 1))
            values.clear()
        return result


class WatchedPiece(NamedTuple):
    """A piece of a text that was read as one stream.

    ids     (n,) its characters
    logits  (n, V) of the character after each
    values  (n, U) of the watched units after each
    """

    ids: Ids
    logits: Logits
    values: Values


def watch_stream(inference: Inference, pieces: Iterable[Ids], watched: Watched) -> Iterator[WatchedPiece]:
    """Read a text that comes in pieces (N,), from its beginning to its end."""
    recorder = _Recorder(inference, watched)
    state = inference.start(1)
    for piece in pieces:
        for ids, logits, state_after in read(inference, piece, state, recorder):
            state = state_after
            yield WatchedPiece(ids, logits, {signal: values[0] for signal, values in recorder.take().items()})


class WatchedChunk(NamedTuple):
    """What was computed at n positions of a text, in any order.

    positions  (n,) in the text
    logits     (n, V) of the character after each
    values     (n, U) of the watched units after each
    """

    positions: NDArray[np.intp]
    logits: Logits
    values: Values


def watch_text(
    inference: Inference,
    ids: Ids,
    watched: Watched,
    visit: Callable[[WatchedChunk], object],
    threads: int = 1,
    progress: Callable[[int], object] = lambda characters: None,
) -> Iterator[range]:
    """Read a text (N,) of any length block by block; yields the positions of each block after it is read.

    A block is read as several pieces at once. Values differ from those of one stream as little as the
    warm-up leaves (``charrnn.inference.pieces``).

    visit     called with each chunk, by several threads at once
    progress  called with the number of characters read since the last call, by one thread at a time
    """
    state: State | None = None
    lock = Lock()

    def read_pieces(rows: Rows) -> State:
        """Read these pieces of the block; returns the states after them."""
        state, recorder = pieces.initial(rows), _Recorder(inference, watched)
        for chunk in pieces.read(rows, state, 0, pieces.length, recorder):
            state, inside = chunk.state, chunk.positions < len(pieces.ids)
            values = {signal: value[inside] for signal, value in recorder.take().items()}
            visit(WatchedChunk(start + chunk.positions[inside], chunk.logits[inside], values))
            with lock:
                progress(int(inside.sum()))
        return state

    for start in range(0, len(ids), BLOCK):
        block = ids[start : start + BLOCK]
        pieces = Pieces(inference, block, min(PIECES, -(-len(block) // SHORTEST_PIECE)), state)
        # A last piece that is shorter reads on behind the text, but then no block follows.
        last = pieces.in_threads([read_pieces] * threads)[-1]
        state = tuple(tuple(part[-1:] for part in layer) for layer in last)
        yield range(start, start + len(block))
