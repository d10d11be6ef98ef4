"""Checkpoints: one safetensors file holds weights, config, vocabulary and provenance.

The file's header has one metadata entry, ``charrnn``: a JSON object (docs/checkpoint-format.md).
Tensors called ``resume.*`` are only for going on with training; everything else ignores them.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

import charrnn
from charrnn import cells
from charrnn.config import ModelConfig, TrainConfig
from charrnn.errors import CharrnnError, CheckpointError
from charrnn.files import atomic_write
from charrnn.runs import parameters
from charrnn.text.vocabulary import Vocabulary

FORMAT = 1
BEST, LAST = "model.safetensors", "last.safetensors"
RESUME = "resume."
LARGEST = 1e9
"""The size of a weight from which on arithmetic may overflow; training makes none near it."""


@dataclass(frozen=True)
class Header:
    """All that a checkpoint says of itself.

    corpus    {"name", "sha256", "characters"}
    results   {"steps", "epochs", "characters", "seconds", "train_nats", "validation_nats", ...}
    versions  {"charrnn", "python", "numpy", "torch"}
    resume    what training needs besides its tensors; only in ``last.safetensors``
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
    """The versions a checkpoint is stamped with."""
    return {
        "charrnn": charrnn.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        **more,
    }


def save_checkpoint(path: Path, header: Header, tensors: dict[str, NDArray[Any]]) -> None:
    """Write a checkpoint whole or not at all. Raises CheckpointError when the disk refuses."""
    text = {
        "format": FORMAT,
        "model": header.model.to_dict(),
        "vocabulary": {"symbols": header.vocabulary.symbols, "bytes": header.vocabulary.byte_level},
        "training": header.training.to_dict(),
        "corpus": header.corpus,
        "results": header.results,
        "versions": header.versions,
    }
    if header.resume is not None:
        text["resume"] = header.resume
    tensors = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    try:
        with atomic_write(path) as file:
            file.write(save(tensors, {"charrnn": json.dumps(text, allow_nan=False)}))
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error


def _parse(path: Path, metadata: dict[str, str] | None) -> Header:
    if not metadata or "charrnn" not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but not a charrnn checkpoint")
    try:
        text = json.loads(metadata["charrnn"])
        if type(text["format"]) is not int or text["format"] < 1:
            raise ValueError(f"format {text['format']!r}")
        if text["format"] > FORMAT:
            raise CheckpointError(
                f"{path} has checkpoint format {text['format']}, this charrnn reads up to {FORMAT}:"
                " upgrade charrnn"
            )
        model = ModelConfig.from_dict(text["model"])
        if model.cell not in cells.names():
            shown = model.cell if model.cell.isprintable() else repr(model.cell)
            raise CheckpointError(
                f"{path}: its cell, {shown}, is none this charrnn knows: upgrade charrnn"
                f" (there are: {', '.join(cells.names())})"
            )
        symbols, byte_level = text["vocabulary"]["symbols"], text["vocabulary"]["bytes"]
        if not symbols:
            raise ValueError("vocabulary: no symbols")
        if not isinstance(symbols, str) or not isinstance(byte_level, bool):
            raise TypeError("vocabulary: symbols must be a string, bytes true or false")
        if not isinstance(text.get("resume", {}), dict):
            raise TypeError("resume: it must be an object")
        return Header(
            model=model,
            vocabulary=Vocabulary(symbols, byte_level),
            training=TrainConfig.from_dict(text["training"]),
            corpus=dict(text["corpus"]),
            results=dict(text["results"]),
            versions=dict(text["versions"]),
            resume=text.get("resume"),
        )
    except CheckpointError:
        raise
    except (
        CharrnnError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        AttributeError,
        RecursionError,
    ) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{path}: the header is damaged or of another version: {what}") from error


def _open(path: Path) -> Any:
    try:
        path.open("rb").close()  # the reasons of the system, which safetensors does not pass on
        return safe_open(path, framework="numpy")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"no checkpoint at {path}") from error
    except (SafetensorError, OSError) as error:
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder without {BEST}") from error
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CheckpointError(f"{path} is not a checkpoint, or is damaged: {reason}") from error


def read_header(path: Path) -> Header:
    """What a checkpoint says of itself, without its tensors. Raises CheckpointError."""
    with _open(path) as file:
        return _parse(path, file.metadata())


def load(path: Path, resume: bool = False) -> Checkpoint:
    """A checkpoint's header and weights, checked against the shapes its config asks for.

    With ``resume`` the ``resume.*`` tensors come along. Raises CheckpointError.
    """
    with _open(path) as file:
        header = _parse(path, file.metadata())
        wanted = parameters.shapes(header.model, len(header.vocabulary))
        names = set(file.keys())
        if missing := sorted(set(wanted) - names):
            raise CheckpointError(f"{path}: tensor {missing[0]} is missing")
        own = {name for name in names if not name.startswith(RESUME)}
        if extra := sorted(own - set(wanted)):
            raise CheckpointError(f"{path}: tensor {extra[0]!r} is none of this network's")
        weights = {}
        for name in sorted(names if resume else own):
            part = file.get_slice(name)
            if name in own and (tuple(part.get_shape()) != wanted[name] or part.get_dtype() != "F32"):
                raise CheckpointError(
                    f"{path}: tensor {name} is {part.get_dtype()} {list(part.get_shape())},"
                    f" the config asks for F32 {list(wanted[name])}"
                )
            try:
                weights[name] = file.get_tensor(name)
            except (TypeError, AttributeError, SafetensorError) as error:
                raise CheckpointError(f"{path}: tensor {name!r} cannot be read: {error}") from error
            if name in own and not (np.abs(weights[name]) < LARGEST).all():
                raise CheckpointError(f"{path}: tensor {name} holds values that are not finite, or absurd")
    return Checkpoint(path, header, weights)


def find(given: str | None, folder: Path, kind: str = BEST) -> Path:
    """The checkpoint's file: ``given`` is a file, a run's folder, a run's name, or None for the newest run.

    ``kind`` is the file of a run that is meant, BEST or LAST.

    Raises CheckpointError saying where it looked.
    """
    if given is None:
        runs = [path for path in folder.glob(f"*/{kind}") if path.is_file()]
        if not runs:
            raise CheckpointError(
                f"no checkpoint in {folder}: train one with `charrnn train TEXT`,"
                " or name one (--checkpoints DIR, or $CHARRNN_CHECKPOINTS)"
            )
        return max(runs, key=lambda path: path.stat().st_mtime_ns)
    if not given:
        raise CheckpointError("the CHECKPOINT given is empty: leave it out for the newest run")
    path = Path(given)
    run, file, run_folder = folder / given / kind, path, path / kind
    # A bare word is a run's name first: a text called like the run may lie beside it.
    bare = path.name == given and path.suffix != Path(BEST).suffix
    for candidate in (run, file, run_folder) if bare else (file, run_folder, run):
        if candidate.is_file():
            return candidate
    runs_there = sorted(path.parent.name for path in folder.glob(f"*/{kind}"))
    if len(runs_there) > 10:
        runs_there = [*runs_there[:10], f"and {len(runs_there) - 10} more"]
    known = f"; runs in {folder}: {', '.join(runs_there)}" if runs_there else f"; {folder} holds no runs"
    raise CheckpointError(f"no checkpoint is called {given}{known}")
