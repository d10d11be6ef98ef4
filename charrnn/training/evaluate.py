"""The loss of a whole split, read as one stream with every character once.

N: targets   K: chunks   L: characters of a chunk   V: vocabulary
"""

from __future__ import annotations

import math
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from charrnn.cells import State
from charrnn.training.network import CharRNN

CHUNKS = 256
"""The most chunks a split is cut into."""
SHORTEST = 1024
"""The fewest characters of a chunk."""
BURN_IN = 512
"""Characters read before a chunk for a first estimate of its initial state."""
TOLERANCE = 1e-3
"""The relative difference at which two states count as equal."""
LOSS_TOLERANCE = 1e-6
"""The change of the loss, in nats per character, after which no further sweep is made."""
NUMBERS = 1 << 24
"""The most inputs of gates and logits in memory at once."""


def characters_at_once(model: CharRNN) -> int:
    """How many characters are read at once, so that a wide network takes no more memory than a narrow one."""
    return max(1, NUMBERS // (len(model.stack[0].cell.gates) * model.config.hidden + model.symbols))


@torch.no_grad()
def evaluate(
    model: CharRNN,
    ids: NDArray[np.unsignedinteger],
    part: range,
    skip: int = 0,
    conditions: Tensor | None = None,
) -> float:
    """Mean nats per character of ``ids[part]``, read as one stream that starts from a zero state.

    skip        the first targets, which are read but do not count
    conditions  (1, C) of the whole part

    Every character of the part is a target once. The input for its first character is the character before
    the part; the first character of a whole text has none and is no target.

    For speed, the stream is cut into K chunks, which are read as one batch. Each chunk must start from the
    state in which the chunk before it ended. These states are found by repeated sweeps:

    1. Read the end of each chunk (burn-in). The states after it are the estimates for the next chunks.
    2. Sweep: read all chunks from the estimates.
    3. Compare the state at the end of each chunk with the estimate that the next chunk started from. If they
       differ by more than TOLERANCE, and the loss by more than LOSS_TOLERANCE from that of the sweep before,
       take the states at the ends as the new estimates and repeat the sweep.

    After sweep n the first n chunks are exact, so K sweeps are always enough. One is enough for a cell that
    forgets within BURN_IN characters. The loss decides for a network of which a few units never forget, and
    hardly matter.

    Changes neither the model's mode nor its random generator. Raises ValueError for a part without a target.
    """
    device = model.readout.weight.device
    first = max(part.start, 1)
    targets = part.stop - first
    if targets <= skip:
        raise ValueError("part: no character to predict")
    count = max(1, min(CHUNKS, targets // SHORTEST))
    stream = _Chunks(ids[first - 1 : part.stop], count, device, skip, conditions)

    was_training = model.training
    model.eval()
    try:
        starts = model.start(count)
        if count > 1:
            _, ends = _read(model, stream, starts, max(0, stream.length - BURN_IN))
            starts = _starts_after(ends)
        before = math.inf
        while True:
            total, ends = _read(model, stream, starts)
            loss, corrected = total / (targets - skip), _starts_after(ends)
            forgotten = _largest_relative_difference(corrected, starts) <= TOLERANCE
            if forgotten or abs(loss - before) <= LOSS_TOLERANCE:
                return loss
            starts, before = corrected, loss
    finally:
        model.train(was_training)


class _Chunks:
    """N + 1 characters as K chunks of L targets. Targets beyond the end are -1."""

    def __init__(
        self,
        ids: NDArray[np.unsignedinteger],
        count: int,
        device: torch.device,
        skip: int = 0,
        conditions: Tensor | None = None,
    ) -> None:
        self.ids, self.count, self.device, self.skip = ids, count, device, skip
        self.conditions = None if conditions is None else conditions.expand(count, -1)
        self.length = -(-(len(ids) - 1) // count)

    def window(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of positions ``start`` to ``stop`` of every chunk, (K, stop - start) each.

        Copies this window only, because a long text stays on the disk.
        """
        window = np.full((self.count, stop - start + 1), -1, np.int64)
        for chunk, row in enumerate(window):
            piece = self.ids[chunk * self.length + start : chunk * self.length + stop + 1]
            row[: len(piece)] = piece
        ids = torch.from_numpy(window).to(self.device)
        inputs, targets = ids[:, :-1].clamp(min=0), ids[:, 1:]
        skipped = self.skip - start - self.length * np.arange(self.count)
        for chunk in np.flatnonzero(skipped > 0).tolist():
            targets[chunk, : skipped[chunk]] = -1
        return inputs, targets


def _read(model: CharRNN, chunks: _Chunks, state: State, start: int = 0) -> tuple[float, State]:
    """Read every chunk from position ``start``: the total nats of the targets, and the state at the end."""
    step = max(1, characters_at_once(model) // chunks.count)
    total = 0.0
    for position in range(start, chunks.length, step):
        inputs, targets = chunks.window(position, min(position + step, chunks.length))
        nats, state = model(inputs, state, chunks.conditions, targets)
        total += float(nats)
    return total, state


def _starts_after(ends: State) -> State:
    """The state before each chunk: zeros for the first, the end of the chunk before for each other."""
    return tuple(
        tuple(functional.pad(part[:-1], (0, 0, 1, 0)) for part in layer_state) for layer_state in ends
    )


def _largest_relative_difference(state: State, reference: State) -> float:
    """The largest |s - r| / (1 + |r|) of two states. NaN, as in a diverged model, counts as 0."""
    parts = zip(chain(*state), chain(*reference), strict=True)
    differences = [(part - other).abs() / (1 + other.abs()) for part, other in parts]
    return max(float(difference.nan_to_num(0.0).max()) for difference in differences)
