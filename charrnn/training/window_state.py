"""The recurrent state that a training hands from window to window.

B: rows   H: hidden
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.cells import State
from charrnn.runs.checkpoint import RESUME
from charrnn.training.network import CharRNN

Arrays = Mapping[str, NDArray[Any]]


class WindowState:
    """A state, as of ``CharRNN.start``, with the names under which a checkpoint stores its parts."""

    def __init__(self, model: CharRNN, rows: int) -> None:
        self.state: State = model.start(rows)
        self._names = [
            [f"carry.{index}.{name}" for name in layer.cell.state_names]
            for index, layer in enumerate(model.stack)
        ]
        if model.config.attention:
            self._names.append(["carry.attention"])

    def arrays(self, gather: Callable[[Tensor], Tensor] = lambda part: part) -> dict[str, Tensor]:
        """The parts by name, each passed to ``gather`` first."""
        named = zip(self._names, self.state, strict=True)
        return {name: gather(part) for names, layer in named for name, part in zip(names, layer, strict=True)}

    def restore(self, arrays: Arrays, rows: int, local: slice = slice(None)) -> None:
        """Set what a checkpoint stored for so many rows, of which ``local`` are this process's.

        Raises KeyError, ValueError for other arrays.
        """
        named = zip(self._names, self.state, strict=True)
        self.state = tuple(
            tuple(
                checked(arrays, RESUME + name, (rows, part.shape[1]))[local].to(part.device)
                for name, part in zip(names, layer, strict=True)
            )
            for names, layer in named
        )


def checked(arrays: Arrays, name: str, shape: tuple[int, ...]) -> Tensor:
    """A copy of the array, checked: torch's kernels trust their inputs, and a file may be damaged."""
    array = arrays[name]
    if array.shape != shape or array.dtype != np.float32:
        raise ValueError(f"{name} is {array.dtype} {array.shape}, not float32 {shape}")
    return torch.from_numpy(array.copy())
