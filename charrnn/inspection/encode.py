"""The states of a network after texts, a vector for each text: for search, clustering and classifiers.

R: texts   N: characters of a text   H: hidden   F: features, H for each chosen part of the state
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np

from charrnn.cells import State
from charrnn.errors import ConfigError, did_you_mean
from charrnn.inference.network import Ids, Inference, read
from charrnn.inference.ops import Floats
from charrnn.inference.states import Cursor, read_prompts
from charrnn.inspection.activations import SYNONYMS, Signal, as_value
from charrnn.inspection.inspect_cell import check_units

BATCH = 64
"""Texts that are read at once."""


def state_parts(inference: Inference, layer: int | Literal["all"] | None, name: str) -> Sequence[Signal]:
    """The parts of the state with this name, or all parts, of one layer, of all, or of the highest (None).

    Raises ConfigError for a layer or a part that the network does not have.
    """
    if isinstance(layer, int):
        check_units(inference, layer, [])
    last = inference.config.layers - 1
    layers = range(last + 1) if layer == "all" else [last if layer is None else layer]
    known = inference.cell.state_names
    names = known if name == "all" else [SYNONYMS.get(name, name)]
    if names[0] not in known:
        hint = did_you_mean(name, known)
        raise ConfigError(f"--of {name}: the state of the model's cell has {', '.join(known)}{hint}")
    return [Signal(number, part) for number in layers for part in names]


def encode(inference: Inference, texts: Sequence[Ids], parts: Sequence[Signal]) -> Floats:
    """(R, F) the parts of the state after each text (N,), each text read by itself; zeros where N = 0.

    The cell state is given as its tanh. Texts of similar lengths are read as one batch, whose size changes
    only the rounding.
    """
    start = inference.start(1)
    result = np.repeat(_features(inference, start, parts), len(texts), 0)
    rows = sorted((row for row, ids in enumerate(texts) if len(ids)), key=lambda row: -len(texts[row]))
    for first in range(0, len(rows), BATCH):
        batch = rows[first : first + BATCH]
        _, state = read_prompts(inference, [Cursor(texts[row], start) for row in batch])
        result[batch] = _features(inference, state, parts)
    return result


def encode_stream(
    inference: Inference,
    pieces: Iterable[Ids],
    parts: Sequence[Signal],
    progress: Callable[[int], object] = lambda characters: None,
) -> tuple[Floats, int]:
    """(F,) the parts of the state after a text of any length, which comes in pieces (N,), and its length.

    progress  called with the number of characters read since the last call
    """
    state, length = inference.start(1), 0
    for piece in pieces:
        for ids, _, state_after in read(inference, piece, state):
            state = state_after
            length += len(ids)
            progress(len(ids))
    return _features(inference, state, parts)[0], length


def _features(inference: Inference, state: State, parts: Sequence[Signal]) -> Floats:
    """(B, F) the parts of a state of batch size B side by side."""
    names = inference.cell.state_names
    arrays = [as_value(name, state[layer][names.index(name)]) for layer, name in parts]
    return np.concatenate(arrays, 1)
