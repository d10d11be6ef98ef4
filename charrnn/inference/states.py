"""Cursors: positions in texts, the reading of their prompts, and the file that keeps one between calls.

B: batch   H: hidden   V: vocabulary   N: unread characters
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import State
from charrnn.config import NgramConfig
from charrnn.errors import CheckpointError
from charrnn.inference.network import CHUNK, Ids, Logits, Predictor, characters_at_once, read
from charrnn.runs.checkpoint import Checkpoint, weights_sha256
from charrnn.runs.tensor_file import TensorFormat

FORMAT = TensorFormat("saved state", "charrnn-state", version=1)


@dataclass(frozen=True)
class Cursor:
    """A position in a text: a state of batch size 1, and the characters (N,), N >= 1, to read after it."""

    unread: Ids
    state: State


def select_rows(state: State, indices: Sequence[int] | NDArray[np.integer]) -> State:
    """A copy of the rows with these indices, in their order: (len(indices), H) each."""
    return tuple(tuple(array[indices] for array in layer) for layer in state)


def concatenate_states(states: Sequence[State]) -> State:
    """One state with the rows of all states."""
    return tuple(
        tuple(np.concatenate(arrays) for arrays in zip(*layers, strict=True))
        for layers in zip(*states, strict=True)
    )


def read_prompt(predictor: Predictor, cursor: Cursor) -> tuple[Logits, State]:
    """Read the unread characters (N,) -> (1, V) logits of the next character, and the state."""
    _, logits, state = deque(read(predictor, cursor.unread, cursor.state), maxlen=1).pop()
    return logits[-1:], state


def read_prompts(predictor: Predictor, cursors: Sequence[Cursor]) -> tuple[Logits, State]:
    """(B, V) logits of the next character of each, and the state. A shared cursor is read once.

    The batch is read up to the end of its shortest prompt, the others to the end of the next, and so on.
    """
    if all(cursor is cursors[0] for cursor in cursors):
        logits, state = read_prompt(predictor, cursors[0])
        return logits.repeat(len(cursors), 0), select_rows(state, [0] * len(cursors))
    lengths = np.array([len(cursor.unread) for cursor in cursors])
    reading = np.arange(len(cursors))
    state = concatenate_states([cursor.state for cursor in cursors])
    results: dict[int, tuple[Logits, State]] = {}
    start = 0
    for stop in np.unique(lengths).tolist():
        ids = np.stack([cursors[index].unread[start:stop] for index in reading.tolist()])
        size = max(1, characters_at_once(predictor, CHUNK * len(ids)) // len(ids))
        for column in range(0, stop - start, size):
            logits, state = predictor(ids[:, column : column + size], state)
        ends = lengths[reading] == stop
        for row in np.flatnonzero(ends).tolist():
            results[int(reading[row])] = logits[row, -1:], select_rows(state, [row])
        reading, state, start = reading[~ends], select_rows(state, ~ends), stop
    all_logits, states = zip(*(results[index] for index in range(len(cursors))), strict=True)
    return np.concatenate(all_logits), concatenate_states(states)


def identity(checkpoints: Sequence[Checkpoint], guidance: float = 0.0) -> dict[str, str]:
    """What a file records of the models that made the state; the state fits no others.

    With ``guidance``, the state is also that of the model without its conditions.
    """
    symbols, weights = hashlib.sha256(), hashlib.sha256()
    for checkpoint in checkpoints:
        vocabulary = checkpoint.header.vocabulary
        symbols.update(repr((vocabulary.byte_level, vocabulary.symbols)).encode())
        if isinstance(checkpoint.header.model, NgramConfig):
            weights.update(checkpoint.record()["weights_sha256"].encode())
            continue
        for name in sorted(checkpoint.weights):
            weights.update(checkpoint.weights[name].tobytes())
    return {
        "cells": ", ".join(checkpoint.header.model.title for checkpoint in checkpoints),
        "symbols": symbols.hexdigest()[:16],
        "weights": weights.hexdigest()[:16],
        **({"guidance": f"{guidance:g}"} if guidance else {}),
    }


def check_save_path(path: Path) -> None:
    """Raise CheckpointError where ``save_state`` would fail, or write over a file that is not a state."""
    if not path.parent.is_dir():
        raise CheckpointError(f"--save-state {path}: there is no folder {path.parent}")
    if not path.exists() or (path.is_file() and not path.stat().st_size):  # mktemp makes an empty file
        return
    try:
        with FORMAT.open(path):
            pass
    except CheckpointError as error:
        raise CheckpointError(
            f"--save-state overwrites only saved states, give another name: {error}"
        ) from error


def save_state(path: Path, cursor: Cursor, model: dict[str, str]) -> None:
    """Write a cursor, whole or not at all. ``model`` is of ``identity``. Raises CheckpointError."""
    tensors = _named_arrays(cursor.state) | {"unread": np.asarray(cursor.unread, np.int64)}
    FORMAT.write(path, {"model": model, "sha256": weights_sha256(tensors)}, tensors)


def load_state(path: Path, model: dict[str, str], predictor: Predictor, symbols: int) -> Cursor:
    """The cursor in a file. Raises CheckpointError for a missing or damaged file and for another model's."""
    with FORMAT.open(path) as (header, mapped):
        if model.get("guidance") != (guided := header["model"].get("guidance")):
            advice = f"give --guidance {guided}" if guided else "leave out --guidance"
            raise CheckpointError(f"--load-state {path}: saved with another --guidance: {advice}")
        for name, value in model.items():
            if (other := header["model"].get(name)) != value:
                raise CheckpointError(
                    f"--load-state {path}: saved with another model:"
                    f" its {name} are {other!r}, this model's {value!r}"
                )
        tensors = {name: mapped[name].copy() for name in sorted(mapped)}
        if "sha256" in header and header["sha256"] != weights_sha256(tensors):
            raise ValueError("it does not have the SHA-256 that its header says")
        unread = tensors.pop("unread")
        initial = predictor.start(1)
        if not _fits(tensors, _named_arrays(initial)) or not _are_ids(unread, symbols):
            raise ValueError("its tensors do not fit the model")
    return Cursor(
        unread,
        tuple(
            tuple(tensors[f"{index}.{part}"] for part in range(len(layer)))
            for index, layer in enumerate(initial)
        ),
    )


def _named_arrays(state: State) -> dict[str, NDArray[np.generic]]:
    """A state's arrays by their names in a file, "LAYER.PART"."""
    return {f"{index}.{part}": array for index, layer in enumerate(state) for part, array in enumerate(layer)}


def _fits(tensors: dict[str, NDArray[np.generic]], expected: dict[str, NDArray[np.generic]]) -> bool:
    """Whether tensors are finite, and have the names, shapes and types that are expected."""
    return tensors.keys() == expected.keys() and all(
        (tensor.shape, tensor.dtype) == (expected[name].shape, expected[name].dtype)
        and np.isfinite(tensor).all()
        for name, tensor in tensors.items()
    )


def _are_ids(unread: Ids, symbols: int) -> bool:
    one_row = unread.dtype == np.int64 and unread.ndim == 1 and len(unread) > 0
    return one_row and unread.min() >= 0 and unread.max() < symbols
