"""Checkpoints: one safetensors file holds a model, its config, its vocabulary and its provenance.

The model is a network, whose tensors are its weights, or an n-gram model, whose tensors are its n-grams.

The file's metadata has one entry, ``charrnn``: a JSON object (docs/checkpoint-format.md). Only
resuming a training reads the tensors that are called ``resume.*``.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import ModelConfig, NgramConfig
from charrnn.errors import CheckpointError
from charrnn.runs import BEST as BEST
from charrnn.runs import LAST as LAST
from charrnn.runs import ngram_arrays, parameters
from charrnn.runs.header import Header as Header
from charrnn.runs.header import from_json
from charrnn.runs.tensor_file import TensorFormat
from charrnn.version import __version__

FORMAT = TensorFormat("checkpoint", "charrnn", version=3)
RESUME = "resume."
LARGEST = 1e9
"""The size at which a number of a network is refused: arithmetic may overflow, and no training reaches it."""
SQUARES, STEPS = ".exp_avg_sq", ".step"
"""The ends of the names of tensors that are means of squares, and numbers of steps: they are at least 0."""
MOST_HASHED = 1 << 28
"""The most bytes of an n-gram model whose SHA-256 is computed when it is loaded."""


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: its header, and the weights by the names of ``parameters.shapes``."""

    path: Path
    header: Header
    weights: dict[str, NDArray[Any]]

    def record(self) -> dict[str, str]:
        """What the header of a run that starts with these weights says of them."""
        sha256 = self.header.weights_sha256 or weights_sha256(self.weights)
        return {"name": self.header.name or self.path.stem, "weights_sha256": sha256}


def versions(**more: str) -> dict[str, str]:
    """The versions that a checkpoint records."""
    numpy = np.__version__
    return {"charrnn": __version__, "python": platform.python_version(), "numpy": numpy, **more}


def weights_sha256(tensors: Mapping[str, NDArray[Any]]) -> str:
    """The SHA-256 of a network's weights: of each weight's name and bytes, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if not name.startswith(RESUME):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def save_checkpoint(path: Path, header: Header, tensors: dict[str, NDArray[Any]]) -> None:
    """Write a checkpoint, whole or not at all. Raises CheckpointError where the disk refuses."""
    header = replace(header, weights_sha256=weights_sha256(tensors))
    FORMAT.write(path, header.to_json(), tensors)


def rename_checkpoint(path: Path, name: str) -> None:
    """Replace the run's name in a checkpoint's header; the tensors and the file's time stay.

    Raises CheckpointError.
    """
    with FORMAT.open(path) as (values, tensors):
        modified = path.stat().st_mtime_ns
    FORMAT.write(path, {**values, "name": name}, tensors)
    os.utime(path, ns=(modified, modified))  # the time says which run is the newest


def read_header(path: Path) -> Header:
    """A checkpoint's header; its tensors are not read. Raises CheckpointError."""
    with FORMAT.open(path) as (values, _):
        return from_json(path, values)


def load(path: Path, resume: bool = False) -> Checkpoint:
    """A checkpoint, its weights checked against the shapes that its config needs, as float32.

    The arrays of an n-gram model are mapped from the file. With ``resume`` the ``resume.*`` tensors are
    among the weights. Raises CheckpointError, also where the weights are not those that were saved.
    """
    with FORMAT.open(path) as (values, tensors):
        header = from_json(path, values)
        if isinstance(header.model, ModelConfig):
            names = [name for name in sorted(tensors) if resume or not name.startswith(RESUME)]
            tensors = {name: tensors[name].copy() for name in names}
    _check_weights(path, header, tensors)
    _check_sha256(path, header, tensors)
    for name, tensor in tensors.items():
        if tensor.dtype == np.float16:
            tensors[name] = tensor.astype(np.float32)
    return Checkpoint(path, header, tensors)


def _check_weights(path: Path, header: Header, tensors: dict[str, NDArray[Any]]) -> None:
    """Raise CheckpointError unless the weights among the tensors are those of the network, and all usable."""
    if isinstance(header.model, NgramConfig):
        ngram_arrays.check(path, header.model, len(header.vocabulary), tensors)
        return
    shapes = parameters.shapes(header.model, len(header.vocabulary))
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(RESUME)}
    for name in sorted(weights.keys() ^ shapes.keys()):
        problem = "is missing" if name in shapes else "does not belong to this network"
        raise CheckpointError(f"{path} is damaged: tensor {name!r} {problem}")
    for name, shape in shapes.items():
        weight = weights[name]
        if weight.shape != shape or weight.dtype not in (np.float32, np.float16):
            raise CheckpointError(
                f"{path}: tensor {name} is {weight.dtype} {list(weight.shape)},"
                f" the network needs float32 or float16 {list(shape)}"
            )
    if (unusable := unusable_tensor(tensors)) is not None:
        raise CheckpointError(f"{path}: tensor {unusable} holds values that are not finite or too large")


def unusable_tensor(tensors: Mapping[str, NDArray[Any]]) -> str | None:
    """The name of a tensor with a value that is not finite or too large; None where all are usable.

    Tensors for resuming count too. Training saves, and loading accepts, only files for which this is None.
    """
    for name, tensor in tensors.items():
        if tensor.dtype.kind != "f":
            continue
        low = 0 if name.endswith((SQUARES, STEPS)) else -LARGEST
        high = LARGEST**2 if name.endswith(SQUARES) else LARGEST
        if tensor.size and not low <= float(tensor.min()) <= float(tensor.max()) < high:  # False for NaN
            return name
    return None


def _check_sha256(path: Path, header: Header, tensors: dict[str, NDArray[Any]]) -> None:
    """Raise CheckpointError unless the weights have the SHA-256 that the header says, if it says one.

    A large n-gram model is not hashed, because it would take seconds: its arrays are mapped from the file,
    and ``ngram_arrays.check`` has found them in order.
    """
    size = sum(tensor.nbytes for tensor in tensors.values())
    if not header.weights_sha256 or (isinstance(header.model, NgramConfig) and size > MOST_HASHED):
        return
    if weights_sha256(tensors) != header.weights_sha256:
        raise CheckpointError(f"{path} is damaged: its weights do not have the SHA-256 that its header says")
