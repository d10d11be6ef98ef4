"""Recurrent states as values: the rows of a batch, and the file that keeps a state between calls.

B: batch   H: hidden   N: number of characters
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import State
from charrnn.errors import CheckpointError
from charrnn.inference.network import Ids, Predictor
from charrnn.runs.tensor_file import TensorFormat

FORMAT = TensorFormat("saved state", "charrnn-state", version=1)


@dataclass(frozen=True)
class Cursor:
    """A position in a text: a state, and the characters (N,), N >= 1, that are still to be read after it."""

    unread: Ids
    state: State


def rows(state: State, indices: Sequence[int] | NDArray[np.integer] | slice) -> State:
    """The rows of a state with these indices, in their order: (len(indices), H) each."""
    return tuple(tuple(array[indices] for array in layer) for layer in state)


def row(state: State, index: int) -> State:
    """One row of a state: (1, H) each."""
    return rows(state, slice(index, index + 1))


def joined(states: Sequence[State]) -> State:
    """States of some rows each -> one state of all their rows."""
    return tuple(
        tuple(np.concatenate(arrays) for arrays in zip(*layers, strict=True))
        for layers in zip(*states, strict=True)
    )


def may_save(path: Path) -> None:
    """Raise CheckpointError where ``save_state`` would fail, or write over a file that is not a state."""
    if not path.parent.is_dir():
        raise CheckpointError(f"--save-state {path}: there is no folder {path.parent}")
    if not path.exists() or (path.is_file() and not path.stat().st_size):  # mktemp makes an empty file
        return
    try:
        with FORMAT.open(path):
            pass
    except CheckpointError as error:
        raise CheckpointError(f"--save-state writes over saved states only: {error}") from error


def save_state(path: Path, cursor: Cursor, model: dict[str, str]) -> None:
    """Write a cursor, whole or not at all. ``model`` identifies the model. Raises CheckpointError."""
    tensors = _by_name(cursor.state) | {"unread": np.asarray(cursor.unread, np.int64)}
    FORMAT.write(path, {"model": model}, tensors)


def load_state(path: Path, model: dict[str, str], predictor: Predictor, symbols: int) -> Cursor:
    """The cursor in a file. Raises CheckpointError for a missing or damaged file and for another model's."""
    with FORMAT.open(path) as (header, file):
        for name, value in model.items():
            if (other := header["model"].get(name)) != value:
                raise CheckpointError(
                    f"--load-state {path}: the state is of another model: {name} {other!r}, not {value!r}"
                )
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        unread = tensors.pop("unread")
        empty = predictor.start(1)
        if not _fits(tensors, _by_name(empty)) or not _are_ids(unread, symbols):
            raise ValueError("its tensors do not fit the model")
    state = tuple(
        tuple(tensors[f"{index}.{part}"] for part in range(len(layer))) for index, layer in enumerate(empty)
    )
    return Cursor(unread, state)


def _by_name(state: State) -> dict[str, NDArray[np.generic]]:
    """A state's arrays by the names that they have in a file: "LAYER.PART"."""
    return {f"{index}.{part}": array for index, layer in enumerate(state) for part, array in enumerate(layer)}


def _fits(tensors: dict[str, NDArray[np.generic]], empty: dict[str, NDArray[np.generic]]) -> bool:
    """Whether tensors have the names, shapes and types of an empty state, and finite values."""
    shapes, expected = (
        {name: (t.shape, t.dtype) for name, t in arrays.items()} for arrays in (tensors, empty)
    )
    return shapes == expected and all(np.isfinite(tensor).all() for tensor in tensors.values())


def _are_ids(unread: Ids, symbols: int) -> bool:
    shaped = unread.dtype == np.int64 and unread.ndim == 1 and len(unread) > 0
    return shaped and unread.min() >= 0 and unread.max() < symbols
