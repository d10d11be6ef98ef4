"""Recurrent states as values: rows of a batch, and a file that carries one from call to call.

B: batch   H: hidden
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from charrnn.cells import State
from charrnn.errors import CheckpointError
from charrnn.files import atomic_write
from charrnn.inference.network import Ids, Predictor

FORMAT = 1


@dataclass(frozen=True)
class Cursor:
    """Where a text goes on: a state, and the characters (N,), N >= 1, that have still to be read after it."""

    unread: Ids
    state: State


def rows(state: State, which: Sequence[int] | NDArray[np.integer]) -> State:
    """These rows of a state, in this order, (len(which), H) each."""
    return tuple(tuple(part[which] for part in carry) for carry in state)


def row(state: State, which: int) -> State:
    """One row of a state, (1, H) each."""
    return tuple(tuple(part[which : which + 1] for part in carry) for carry in state)


def joined(states: Sequence[State]) -> State:
    """States of some rows each -> one of all their rows."""
    return tuple(
        tuple(np.concatenate(parts) for parts in zip(*carries, strict=True))
        for carries in zip(*states, strict=True)
    )


def may_save(path: Path) -> None:
    """Raises CheckpointError where ``save_state`` would harm what is there: only a state is written over."""
    try:
        if not path.parent.is_dir():
            raise CheckpointError(f"--save-state {path}: there is no folder {path.parent}")
        if not path.exists():
            return
        ours = path.is_file() and not path.stat().st_size  # as mktemp makes one
        if path.is_file() and not ours:
            with safe_open(path, framework="numpy") as file:
                ours = "charrnn-state" in (file.metadata() or {})
    except OSError as error:
        raise CheckpointError(f"--save-state {path}: {error.strerror or error}") from error
    except SafetensorError:
        ours = False
    if not ours:
        raise CheckpointError(f"--save-state {path}: what is there is no state, and is not written over")


def save_state(path: Path, start: Cursor, model: dict[str, str]) -> None:
    """Write where a text stands, whole or not at all. ``model``: what the state is of, by name.

    Raises OSError.
    """
    tensors = {
        f"{index}.{at}": np.ascontiguousarray(part)
        for index, carry in enumerate(start.state)
        for at, part in enumerate(carry)
    }
    header = {"format": FORMAT, "model": model, "carries": [len(carry) for carry in start.state]}
    tensors["unread"] = np.asarray(start.unread, np.int64)
    with atomic_write(path) as file:
        file.write(save(tensors, {"charrnn-state": json.dumps(header)}))


def load_state(path: Path, model: dict[str, str], predictor: Predictor, symbols: int) -> Cursor:
    """Where a text stood. Raises CheckpointError for no such file, another model, or damage."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise CheckpointError(f"--load-state {path}: it is not a file")
        path.open("rb").close()  # the reasons of the system, which safetensors does not pass on
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("charrnn-state")
            if text is None:
                raise CheckpointError(f"--load-state {path}: it is not a state that --save-state wrote")
            header = json.loads(text)
            if header["format"] != FORMAT:
                raise CheckpointError(
                    f"--load-state {path}: its format is {header['format']!r}, not {FORMAT}"
                )
            for name, value in model.items():
                if header["model"].get(name) != value:
                    raise CheckpointError(
                        f"--load-state {path}: it is of another model: {name} {header['model'].get(name)!r},"
                        f" not {value!r}"
                    )
            unread = file.get_tensor("unread")
            state = tuple(
                tuple(file.get_tensor(f"{index}.{at}") for at in range(count))
                for index, count in enumerate(header["carries"])
            )
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise CheckpointError(f"--load-state {path}: there is no such file") from error
        raise CheckpointError(f"--load-state {path}: {error.strerror or error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"--load-state {path}: not a state, or damaged: {error}") from error
    _check(path, unread, state, predictor.start(1), symbols)
    return Cursor(unread, state)


def _check(path: Path, unread: Ids, state: State, empty: State, symbols: int) -> None:
    shapes = [[(part.shape, part.dtype) for part in carry] for carry in state]
    fits = shapes == [[(part.shape, part.dtype) for part in carry] for carry in empty]
    numbers = fits and all(np.isfinite(part).all() for carry in state for part in carry)
    known = unread.dtype == np.int64 and unread.ndim == 1 and len(unread)
    if not numbers or not known or unread.min() < 0 or unread.max() >= symbols:
        raise CheckpointError(f"--load-state {path}: it is damaged")
