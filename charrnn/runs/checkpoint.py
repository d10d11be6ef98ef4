"""Checkpoints: one safetensors file holds weights, config, vocabulary and provenance.

The file's metadata has one entry, ``charrnn``: a JSON object (docs/checkpoint-format.md). Only
resuming a training reads the tensors that are called ``resume.*``.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import charrnn
from charrnn import cells
from charrnn.config import ModelConfig, TrainConfig
from charrnn.errors import CheckpointError
from charrnn.runs import parameters
from charrnn.runs.tensor_file import TensorFormat
from charrnn.text.vocabulary import Vocabulary

FORMAT = TensorFormat("checkpoint", "charrnn", version=1)
BEST, LAST = "model.safetensors", "last.safetensors"
RESUME = "resume."
LARGEST = 1e9
"""The size at which a weight is refused: arithmetic may overflow, and no training reaches it."""


@dataclass(frozen=True)
class Header:
    """All of a checkpoint but its tensors.

    corpus    {"name", "sha256", "characters"}
    results   the figures of a report: {"step", "epoch", "train_nats", "validation_nats", ...}
    versions  {"charrnn", "python", "numpy", "torch"}
    resume    what resuming needs besides tensors; only in ``last.safetensors``
    """

    model: ModelConfig
    vocabulary: Vocabulary
    training: TrainConfig = field(default_factory=TrainConfig)
    corpus: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    resume: dict[str, Any] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: its header, and the weights by the names of ``parameters.shapes``."""

    path: Path
    header: Header
    weights: dict[str, NDArray[Any]]


def versions(**more: str) -> dict[str, str]:
    """The versions that a checkpoint records."""
    numpy = np.__version__
    return {"charrnn": charrnn.__version__, "python": platform.python_version(), "numpy": numpy, **more}


def save_checkpoint(path: Path, header: Header, tensors: dict[str, NDArray[Any]]) -> None:
    """Write a checkpoint, whole or not at all. Raises CheckpointError where the disk refuses."""
    values = {
        "model": header.model.to_dict(),
        "vocabulary": {"symbols": header.vocabulary.symbols, "bytes": header.vocabulary.byte_level},
        "training": header.training.to_dict(),
        "corpus": header.corpus,
        "results": header.results,
        "versions": header.versions,
    }
    if header.resume is not None:
        values["resume"] = header.resume
    FORMAT.write(path, values, tensors)


def read_header(path: Path) -> Header:
    """A checkpoint's header; its tensors are not read. Raises CheckpointError."""
    with FORMAT.open(path) as (values, _):
        return _header(path, values)


def load(path: Path, resume: bool = False) -> Checkpoint:
    """A checkpoint, its weights checked against the shapes that its config needs.

    With ``resume`` the ``resume.*`` tensors are among the weights. Raises CheckpointError.
    """
    with FORMAT.open(path) as (values, file):
        header = _header(path, values)
        names = [name for name in sorted(file.keys()) if resume or not name.startswith(RESUME)]
        tensors = {name: file.get_tensor(name) for name in names}
    _check_weights(path, header, tensors)
    return Checkpoint(path, header, tensors)


def _header(path: Path, values: dict[str, Any]) -> Header:
    """The header from its JSON object.

    Raises CheckpointError for an unknown cell; KeyError, TypeError, ValueError and others for
    values that are missing or unfit, which ``TensorFormat.open`` turns into CheckpointError.
    """
    model = ModelConfig.from_dict(values["model"])
    if model.cell not in cells.names():
        cell = model.cell if model.cell.isprintable() else repr(model.cell)
        raise CheckpointError(
            f"{path}: this charrnn does not know its cell, {cell}: upgrade charrnn"
            f" (known cells: {', '.join(cells.names())})"
        )
    symbols, byte_level = values["vocabulary"]["symbols"], values["vocabulary"]["bytes"]
    if not isinstance(symbols, str) or not symbols or not isinstance(byte_level, bool):
        raise ValueError("vocabulary: symbols must be characters, and bytes true or false")
    if not isinstance(values.get("resume", {}), dict):
        raise ValueError("resume must be an object")
    return Header(
        model=model,
        vocabulary=Vocabulary(symbols, byte_level),
        training=TrainConfig.from_dict(values["training"]),
        corpus=dict(values["corpus"]),
        results=dict(values["results"]),
        versions=dict(values["versions"]),
        resume=values.get("resume"),
    )


def _check_weights(path: Path, header: Header, tensors: dict[str, NDArray[Any]]) -> None:
    """Raise CheckpointError unless the weights among the tensors are those of the network, and finite."""
    shapes = parameters.shapes(header.model, len(header.vocabulary))
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(RESUME)}
    for name in sorted(weights.keys() ^ shapes.keys()):
        problem = "is missing" if name in shapes else "does not belong to this network"
        raise CheckpointError(f"{path} is damaged: tensor {name!r} {problem}")
    for name, shape in shapes.items():
        weight = weights[name]
        if weight.shape != shape or weight.dtype != np.float32:
            raise CheckpointError(
                f"{path}: tensor {name} is {weight.dtype} {list(weight.shape)},"
                f" the network needs float32 {list(shape)}"
            )
        if not (np.abs(weight) < LARGEST).all():
            raise CheckpointError(f"{path}: tensor {name} holds values that are not finite or too large")


def find(given: str | None, folder: Path, kind: str = BEST) -> Path:
    """The file of a checkpoint: BEST or LAST (``kind``) of a run in ``folder``, or any file.

    ``given`` is a file, the folder of a run, the name of a run, or None for the newest run.
    Raises CheckpointError, which lists the runs.
    """
    if given is None:
        return _newest(folder, kind)
    if not given:
        raise CheckpointError("the CHECKPOINT given is empty: leave it out for the newest run")
    path = Path(given)
    candidates = [path, path / kind, folder / given / kind]
    if path.name == given and path.suffix != Path(BEST).suffix:
        candidates.reverse()  # a word is the name of a run first: its text may have the same name
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    runs = sorted(path.parent.name for path in folder.glob(f"*/{kind}"))
    if len(runs) > 10:
        runs[10:] = [f"and {len(runs) - 10} more"]
    raise CheckpointError(
        f"no checkpoint is called {given}; "
        + (f"runs in {folder}: {', '.join(runs)}" if runs else f"{folder} holds no runs")
    )


def _newest(folder: Path, kind: str) -> Path:
    """The file of the run that was saved last. Raises CheckpointError where there is no run."""
    paths = [path for path in folder.glob(f"*/{kind}") if path.is_file()]
    if not paths:
        raise CheckpointError(
            f"no checkpoint in {folder}: train one with `charrnn train TEXT`,"
            " or name another folder (--checkpoints DIR, or $CHARRNN_CHECKPOINTS)"
        )
    return max(paths, key=lambda path: path.stat().st_mtime_ns)
