"""How often the gates of a network are nearly closed or open, as in Karpathy, Johnson & Fei-Fei 2015.

A gate is left-saturated below 0.1 and right-saturated above 0.9. Gates with other activations than the
sigmoid have no such limits and are left out.

N: characters of a text   H: hidden units
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import ConfigError
from charrnn.inference.network import Ids, Inference
from charrnn.inspection.activations import Signal, Watched, WatchedChunk, every_signal, watch_text

LEFT, RIGHT = 0.1, 0.9
"""A gate is left-saturated below the one value, and right-saturated above the other."""


class Saturation(NamedTuple):
    """The share of a text's characters after which each unit of a gate is saturated.

    left   (H,) below LEFT
    right  (H,) above RIGHT
    """

    left: NDArray[np.float64]
    right: NDArray[np.float64]


def sigmoid_gates(inference: Inference) -> Watched:
    """All units of the sigmoid gates of all layers. Raises ConfigError for a cell without such gates."""
    names = inference.cell.sigmoid_gates
    if not names:
        raise ConfigError(f"--gates: a network of the cell {inference.config.cell} has no gates")
    return {signal: units for signal, units in every_signal(inference).items() if signal.name in names}


def saturation(
    inference: Inference,
    ids: Ids,
    threads: int = 1,
    progress: Callable[[int], object] = lambda characters: None,
) -> dict[Signal, Saturation]:
    """How often each sigmoid gate is saturated in a text (N,), N >= 1.

    ``progress`` is called with the number of characters read since the last call.
    Raises ConfigError for a cell without sigmoid gates.
    """
    watched = sigmoid_gates(inference)
    counts = {signal: np.zeros((2, len(units)), np.int64) for signal, units in watched.items()}
    lock = Lock()

    def count(chunk: WatchedChunk) -> None:
        for signal, values in chunk.values.items():
            saturated = (values < LEFT).sum(0), (values > RIGHT).sum(0)
            with lock:
                counts[signal] += saturated

    for _ in watch_text(inference, ids, watched, count, threads, progress):
        pass
    return {signal: Saturation(*(saturated / len(ids))) for signal, saturated in counts.items()}
