"""A part of the text as parallel streams, and each stream as windows.

N: characters of the part   S: streams   L: characters of a stream   T: characters of a window
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batches:
    """The windows of a text; ``batch(step)`` depends on the step alone.

    The N - 1 targets are cut into S streams of equal length L. Where S does not divide N - 1,
    neighbouring streams share a target: so every target is used in each epoch, and none is dropped.
    The windows of an epoch differ in length by at most one.
    """

    ids: NDArray[np.unsignedinteger]
    streams: int
    bptt: int

    @classmethod
    def fitted(cls, ids: NDArray[np.unsignedinteger], streams: int, bptt: int, processes: int = 1) -> Self:
        """Streams and windows as given, or fewer for a short text: S is then a multiple of ``processes``."""
        targets = len(ids) - 1
        if streams * bptt > targets:
            streams = min(streams, max(1, targets // bptt // processes) * processes)
        return cls(ids, streams, min(bptt, targets))

    @property
    def length(self) -> int:
        """L, the characters of a stream."""
        return -(-(len(self.ids) - 1) // self.streams)

    @property
    def steps_per_epoch(self) -> int:
        """Windows in a stream."""
        return -(-self.length // self.bptt)

    @property
    def characters_per_step(self) -> float:
        """Characters that a step reads from all streams together, averaged over an epoch."""
        return self.streams * self.length / self.steps_per_epoch

    def starts_epoch(self, step: int) -> bool:
        """Whether the step reads the first window of each stream."""
        return step % self.steps_per_epoch == 0

    def batch(self, step: int, part: slice = slice(None)) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The step's inputs and targets, (S, T) each: a target is the character after its input.

        ``part`` selects some of the streams.
        """
        window = step % self.steps_per_epoch
        start, stop = (index * self.length // self.steps_per_epoch for index in (window, window + 1))
        targets = len(self.ids) - 1
        offsets = [stream * targets // self.streams for stream in range(self.streams)][part]
        windows = np.stack(
            [self.ids[offset + start : offset + stop + 1] for offset in offsets], dtype=np.int64
        )
        return windows[:, :-1], windows[:, 1:]
