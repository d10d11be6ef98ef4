"""A split as streams and windows.

N: characters of a split   S: streams   L: characters of a stream   T: characters of a window
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batches:
    """One split cut into streams and windows; ``batch(step)`` is a pure function of the step.

    The N - 1 targets are cut into S streams of equal length L; where S does not divide N - 1,
    neighbours share a character, so that every target is learnt each epoch, none wraps around
    and no tail is dropped. The windows of an epoch differ in length by at most one, so that
    no step is a stub.
    """

    ids: NDArray[np.unsignedinteger]
    streams: int
    bptt: int

    @classmethod
    def fitted(cls, ids: NDArray[np.unsignedinteger], streams: int, bptt: int, share: int = 1) -> Batches:
        """Streams and windows as asked, or as many as the text has room for, a multiple of ``share``."""
        targets = len(ids) - 1
        if streams * bptt > targets:
            streams = min(streams, max(1, targets // bptt // share) * share)
        return cls(ids, streams, min(bptt, targets))

    @property
    def length(self) -> int:
        """L, the characters of a stream."""
        return -(-(len(self.ids) - 1) // self.streams)

    @property
    def steps_per_epoch(self) -> int:
        """Windows a stream is cut into."""
        return -(-self.length // self.bptt)

    def starts_epoch(self, step: int) -> bool:
        """Whether the step's window is the first of its stream."""
        return step % self.steps_per_epoch == 0

    def batch(self, step: int, part: slice = slice(None)) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The step's inputs and targets, (S, T) each; targets are the inputs' next characters.

        ``part`` takes some of the streams.
        """
        window = step % self.steps_per_epoch
        start, end = (k * self.length // self.steps_per_epoch for k in (window, window + 1))
        targets = len(self.ids) - 1
        rows = [s * targets // self.streams for s in range(self.streams)][part]
        pieces = np.stack([self.ids[row + start : row + end + 1] for row in rows]).astype(np.int64)
        return pieces[:, :-1], pieces[:, 1:]
