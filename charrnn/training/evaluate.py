"""The loss over a whole split read as one stream, every character once.

N: targets   K: chunks   L: characters of a chunk   V: vocabulary
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from charrnn.cells import State
from charrnn.training.network import CharRNN

CHUNKS = 256
SHORTEST = 1024
BURN_IN = 512
TOLERANCE = 1e-3
LOGITS = 1 << 23
"""The most logits held at once."""


@torch.no_grad()
def evaluate(model: CharRNN, ids: NDArray[np.unsignedinteger], part: range, chunks: int = CHUNKS) -> float:
    """Mean nats per character of ``ids[part]`` as one stream from an empty state.

    The first character's input is the one before the part, so every one is a target once (at
    the very start of a text there is none before, and the first character is not a target).

    One stream one character at a time would leave the machine idle, so the stream is read as
    K chunks side by side, each from the state in which the chunk before it ended. That is
    found by sweeps: start from a burn-in over the end of the chunk before, read all chunks,
    compare the states where they ended with those the next ones started from, and read again
    from the corrected ones while they differ by more than TOLERANCE. Sweep n is exact for the
    first n chunks whatever the cell remembers, so this ends; with what a cell forgets in
    BURN_IN characters it ends after one.

    The model's mode and randomness are left as they are.
    """
    device = model.readout.weight.device
    first = max(part.start, 1)
    targets = part.stop - first
    if targets < 1:
        raise ValueError("part: no character to predict")
    count = max(1, min(chunks, targets // SHORTEST))
    stream = _Stream(ids[first - 1 : part.stop], count, device)

    was_training = model.training
    model.eval()
    try:
        starts = model.start(count)
        if count > 1:
            burn_in = max(0, stream.length - BURN_IN)
            _, ends = _read(model, stream, starts, burn_in)
            starts = _passed_on(ends)
        while True:
            total, ends = _read(model, stream, starts)
            corrected = _passed_on(ends)
            if _apart(corrected, starts) <= TOLERANCE:
                return total / targets
            starts = corrected
    finally:
        model.train(was_training)


class _Stream:
    """N + 1 characters as K chunks of L targets side by side; beyond the end a target is -1."""

    def __init__(self, ids: NDArray[np.unsignedinteger], count: int, device: torch.device) -> None:
        self.ids, self.count, self.device = ids, count, device
        self.length = -(-(len(ids) - 1) // count)

    def window(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of the characters ``start`` to ``stop`` of every chunk, (K, stop - start) each.

        Only the window is copied, so a long text stays where it is mapped.
        """
        text = np.full((self.count, stop - start + 1), -1, np.int64)
        for row, chunk in enumerate(text):
            piece = self.ids[row * self.length + start : row * self.length + stop + 1]
            chunk[: len(piece)] = piece
        both = torch.from_numpy(text).to(self.device)
        return both[:, :-1].clamp(min=0), both[:, 1:]


def _read(model: CharRNN, stream: _Stream, state: State, start: int = 0) -> tuple[float, State]:
    """Read every chunk from ``start`` to its end: total nats of its targets, and the states after it."""
    step = max(16, LOGITS // (stream.count * model.symbols))
    total = 0.0
    for begin in range(start, stream.length, step):
        inputs, expected = stream.window(begin, min(begin + step, stream.length))
        logits, state = model(inputs, state)
        loss = functional.cross_entropy(
            logits.reshape(-1, model.symbols), expected.reshape(-1), ignore_index=-1, reduction="sum"
        )
        total += float(loss)
    return total, state


def _passed_on(ends: State) -> State:
    """Each chunk starts where the one before it ended, the first from zeros."""
    rolled = tuple(tuple(part.roll(1, 0) for part in carry) for carry in ends)
    for carry in rolled:
        for part in carry:
            part[0] = 0
    return rolled


def _apart(one: State, other: State) -> float:
    """The largest difference between two states, relative to 1 + the value's size; NaN counts as equal."""
    largest = 0.0
    for left, right in zip(one, other, strict=True):
        for a, b in zip(left, right, strict=True):
            largest = max(largest, float(((a - b).abs() / (1 + b.abs())).nan_to_num(0.0).max()))
    return largest
