"""The loss over a whole split read as one stream, every character once.

N: targets   K: chunks   L: characters of a chunk   V: vocabulary
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from charrnn.model import CharRNN, State

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
    length = -(-targets // count)
    text = np.full(count * length + 1, -1, np.int64)
    text[: targets + 1] = ids[first - 1 : part.stop]
    inputs = torch.from_numpy(text[:-1]).clamp(min=0).reshape(count, length).to(device)
    expected = torch.from_numpy(text[1:]).reshape(count, length).to(device)  # -1 beyond the end

    was_training = model.training
    model.eval()
    try:
        starts = model.start(count)
        if count > 1:
            _, ends = _read(model, inputs[:, -min(BURN_IN, length) :], None, starts)
            starts = _passed_on(ends)
        while True:
            total, ends = _read(model, inputs, expected, starts)
            corrected = _passed_on(ends)
            if _apart(corrected, starts) <= TOLERANCE:
                return total / targets
            starts = corrected
    finally:
        model.train(was_training)


def _read(
    model: CharRNN, inputs: torch.Tensor, expected: torch.Tensor | None, state: State
) -> tuple[float, State]:
    """(K, L) inputs -> total nats of the expected characters, and the states after the last."""
    window = max(16, LOGITS // (len(inputs) * model.symbols))
    total = 0.0
    for start in range(0, inputs.shape[1], window):
        logits, state = model(inputs[:, start : start + window], state)
        if expected is not None:
            piece = expected[:, start : start + window]
            loss = functional.cross_entropy(
                logits.reshape(-1, model.symbols), piece.reshape(-1), ignore_index=-1, reduction="sum"
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
