"""The numbers of a page about a network: the values of its units along a text, and its predictions.

N: characters of a text   U: units   S: signals of the cell   K: predicted characters   G: sigmoid gates
V: vocabulary
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.choice import log_softmax
from charrnn.inference.network import Ids, Inference
from charrnn.inspection.activations import Signal, WatchedChunk, watch_text
from charrnn.inspection.gates import LEFT, RIGHT

LIKELIEST = 5
"""Predicted characters at each position."""
NATS_STEPS = 2048
"""Steps of a surprise in one nat; 16 bits then reach 32 nats."""
MIDDLE = 127
"""The byte of the value 0; the bytes 0 and 254 are the ends of the scale."""

Unit = tuple[int, int]
"""A layer, and the number of a unit in it."""


class Reading(NamedTuple):
    """What a network computed along a text.

    values     (U, S, N) float16, after each character
    likeliest  (N, K) the likeliest next characters, the likeliest first; K is LIKELIEST, or V where V is less
    surprise   (N, K + 1) NATS_STEPS-ths of a nat: those of the likeliest, then that of the character that
               follows in the text; 0 after the last one
    """

    values: NDArray[np.float16]
    likeliest: Ids
    surprise: NDArray[np.uint16]


def read_text(
    inference: Inference,
    ids: Ids,
    units: Sequence[Unit],
    threads: int,
    progress: Callable[[int], object] = lambda characters: None,
) -> Reading:
    """Read a text (N,) and keep the values of some units, which are grouped by layer."""
    names, symbols = inference.cell.signals, len(inference.readout)
    count = min(LIKELIEST, symbols)
    layers = [layer for layer, _ in units]
    rows = {layer: slice(layers.index(layer), layers.index(layer) + layers.count(layer)) for layer in layers}
    watched = {
        Signal(layer, name): np.array([unit for _, unit in units[part]])
        for layer, part in rows.items()
        for name in names
    }
    reading = Reading(
        np.empty((len(units), len(names), len(ids)), np.float16),
        np.empty((len(ids), count), ids.dtype),
        np.empty((len(ids), count + 1), np.uint16),
    )

    def visit(chunk: WatchedChunk) -> None:
        for signal, values in chunk.values.items():
            limited = values.T.clip(-60_000, 60_000)  # the largest float16 is 65,504
            reading.values[rows[signal.layer], names.index(signal.name), chunk.positions] = limited
        scores = log_softmax(chunk.logits)
        order = np.argsort(-scores, 1, kind="stable")[:, :count]
        reading.likeliest[chunk.positions] = order
        following = np.asarray(ids[np.minimum(chunk.positions + 1, len(ids) - 1)], np.int64)
        shown = np.take_along_axis(scores, np.column_stack([order, following]), 1)
        reading.surprise[chunk.positions] = np.rint(-shown * NATS_STEPS).clip(0, 65_535)

    for _ in watch_text(inference, ids, watched, visit, threads, progress):
        pass
    reading.surprise[-1:, -1] = 0
    return reading


def scales(values: NDArray[np.float16]) -> NDArray[np.float32]:
    """(S, N) values of a unit -> (S,) the value of each signal that the byte 254 stands for.

    It is 1, or the largest absolute value where the signal has no bounds.
    """
    largest: NDArray[np.float32] = np.abs(values).max(1, initial=1).astype(np.float32)
    return largest


def as_bytes(values: NDArray[np.float16]) -> NDArray[np.uint8]:
    """(S, N) values of a unit as bytes; ``scales`` says what they stand for."""
    scaled = values / scales(values)[:, None]
    encoded: NDArray[np.uint8] = np.rint((scaled + 1) * MIDDLE).astype(np.uint8)
    return encoded


def gate_saturation(gates: NDArray[np.float16]) -> list[tuple[float, float]]:
    """(G, N) values of a unit's gates -> how often each is left- and right-saturated, as shares of N."""
    return list(zip((gates < LEFT).mean(1).tolist(), (gates > RIGHT).mean(1).tolist(), strict=True))
