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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import cells
from charrnn.config import PART_VERSIONS, ModelConfig, NgramConfig, TrainConfig
from charrnn.errors import CheckpointError
from charrnn.origin import Origin
from charrnn.runs import BEST as BEST
from charrnn.runs import LAST as LAST
from charrnn.runs import ngram_arrays, parameters
from charrnn.runs.tensor_file import TensorFormat
from charrnn.text.vocabulary import Vocabulary
from charrnn.version import __version__

FORMAT = TensorFormat("checkpoint", "charrnn", version=3)
FIRST_VERSION = 1
RESUME = "resume."
DEFAULT_LENGTH = 1000
"""The most characters of a sample of one long text where no length is given."""
LARGEST = 1e9
"""The size at which a number of a network is refused: arithmetic may overflow, and no training reaches it."""
SQUARES, STEPS = ".exp_avg_sq", ".step"
"""The ends of the names of tensors that are means of squares, and numbers of steps: they are at least 0."""
HASHED = 1 << 28
"""The most bytes of an n-gram model whose SHA-256 is computed when it is loaded."""
WHOLE = {
    "corpus": ("characters", "documents", "longest"),
    "results": ("step", "steps", "characters"),
    "resume": ("step", "steps", "stage_start"),
}
"""The values of each part of a header that are whole numbers."""
NUMBERS = {
    "results": (
        "epoch",
        "seconds",
        "lr",
        "gradient_norm",
        "clipped",
        "train_nats",
        "validation_nats",
        "validation_bpc",
    )
}
"""Those that are finite numbers, or None."""
TEXTS = {"corpus": ("name", "sha256", "table_sha256"), "parent": ("name", "weights_sha256")}
"""Those that are texts, or None."""


@dataclass(frozen=True)
class Header:
    """All of a checkpoint but its tensors.

    name            the run's
    parent          the model whose weights the run started with: {"name", "weights_sha256"}
    weights_sha256  of the weights in the file; ``save_checkpoint`` computes it
    origin          where the text comes from: the record of an ``Origin``
    corpus          {"name", "sha256", "characters"}
    results         the figures of a report: {"step", "epoch", "train_nats", "validation_nats", ...}
    versions        {"charrnn", "python", "numpy", "torch"}
    resume          what resuming needs besides tensors; only in ``last.safetensors``
    """

    model: ModelConfig | NgramConfig
    vocabulary: Vocabulary
    training: TrainConfig = field(default_factory=TrainConfig)
    corpus: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    resume: dict[str, Any] | None = None
    name: str = ""
    parent: dict[str, str] | None = None
    weights_sha256: str = ""
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def network(self) -> ModelConfig:
        """The architecture. Raises CheckpointError for an n-gram model."""
        if isinstance(self.model, NgramConfig):
            raise CheckpointError(
                f"{self.name or 'this checkpoint'} is an n-gram model: this command needs a network"
            )
        return self.model

    @property
    def sample_length(self) -> int:
        """The most characters of a sample where no length is given: of documents, twice the longest one."""
        longest = self.corpus.get("longest")
        return 2 * longest if isinstance(longest, int) and longest > 0 else DEFAULT_LENGTH


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
    model = header.model.to_dict()
    values = {
        "format": max(PART_VERSIONS.get(name, FIRST_VERSION) for name in model),
        "name": header.name,
        "parent": header.parent,
        "weights_sha256": weights_sha256(tensors),
        "model": model,
        "vocabulary": {"symbols": header.vocabulary.symbols, "bytes": header.vocabulary.byte_level},
        "training": header.training.to_dict(),
        "corpus": header.corpus,
        "origin": header.origin,
        "results": header.results,
        "versions": header.versions,
    }
    if header.resume is not None:
        values["resume"] = header.resume
    FORMAT.write(path, values, tensors)


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
        return _header(path, values)


def load(path: Path, resume: bool = False) -> Checkpoint:
    """A checkpoint, its weights checked against the shapes that its config needs, as float32.

    The arrays of an n-gram model are mapped from the file. With ``resume`` the ``resume.*`` tensors are
    among the weights. Raises CheckpointError, also where the weights are not those that were saved.
    """
    with FORMAT.open(path) as (values, tensors):
        header = _header(path, values)
        if isinstance(header.model, ModelConfig):
            names = [name for name in sorted(tensors) if resume or not name.startswith(RESUME)]
            tensors = {name: tensors[name].copy() for name in names}
    _check_weights(path, header, tensors)
    _check_sha256(path, header, tensors)
    for name, tensor in tensors.items():
        if tensor.dtype == np.float16:
            tensors[name] = tensor.astype(np.float32)
    return Checkpoint(path, header, tensors)


def _header(path: Path, values: dict[str, Any]) -> Header:
    """The header from its JSON object.

    Raises CheckpointError for an unknown cell; KeyError, TypeError, ValueError and others for
    values that are missing or unfit, which ``TensorFormat.open`` turns into CheckpointError.
    """
    kind = NgramConfig if "order" in values["model"] else ModelConfig
    model: ModelConfig | NgramConfig = kind.from_dict(values["model"])
    if isinstance(model, ModelConfig) and model.cell not in cells.names():
        cell = model.cell if model.cell.isprintable() else repr(model.cell)
        raise CheckpointError(
            f"{path}: this charrnn does not know its cell, {cell}: upgrade charrnn"
            f" (known cells: {', '.join(cells.names())})"
        )
    symbols, byte_level = values["vocabulary"]["symbols"], values["vocabulary"]["bytes"]
    if not isinstance(symbols, str) or not symbols or not isinstance(byte_level, bool):
        raise ValueError("vocabulary: symbols must be characters, and bytes true or false")
    parent = values.get("parent")
    for part in ("corpus", "results", "resume"):
        _check_part(part, values.get(part, {}))
    if parent is not None:
        _check_part("parent", parent)
        parent = {"name": "", **{key: str(value) for key, value in parent.items()}}
    sha256 = values.get("weights_sha256", "")
    if not isinstance(sha256, str):
        raise ValueError("weights_sha256 must be a text")
    # earlier versions kept the origin beside the position to resume from
    origin = dict(values.get("origin") or values.get("resume", {}).get("origin", {}))
    if origin:
        try:
            Origin.from_record(origin)
        except CheckpointError as error:
            raise ValueError(f"origin: {error}") from error
    corpus = dict(values["corpus"])
    labels = corpus.get("labels", {})
    if not isinstance(labels, dict) or not all(_are_counts(counts) for counts in labels.values()):
        raise ValueError("corpus: labels must have a number of documents for each value")
    return Header(
        model=model,
        vocabulary=Vocabulary(
            symbols, byte_level, model.documents, backward=isinstance(model, ModelConfig) and model.backward
        ),
        training=TrainConfig.from_dict(values["training"]),
        corpus=corpus,
        results=dict(values["results"]),
        versions=dict(values["versions"]),
        resume=values.get("resume"),
        name=str(values.get("name", "")),
        parent=parent,
        weights_sha256=sha256,
        origin=origin,
    )


def _check_part(name: str, part: Any) -> None:
    """Raise ValueError unless a part of a header is an object whose known values have their types."""
    if not isinstance(part, dict):
        raise ValueError(f"{name} must be an object")
    for key in WHOLE.get(name, ()):
        if type(part.get(key, 0)) is not int or not 0 <= part.get(key, 0) < 2**63:
            raise ValueError(f"{name}: {key} must be a whole number")
    for key in NUMBERS.get(name, ()):
        value = part.get(key)
        if value is not None and not (type(value) in (int, float) and abs(value) < 1e300):
            raise ValueError(f"{name}: {key} must be a number")
    for key in TEXTS.get(name, ()):
        if not isinstance(part.get(key, ""), str):
            raise ValueError(f"{name}: {key} must be a text")


def _are_counts(counts: Any) -> bool:
    """Whether a value is an object of whole numbers."""
    return isinstance(counts, dict) and all(type(count) is int and count >= 0 for count in counts.values())


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

    It says for all tensors of a network, those for resuming too, what can be saved and what can be loaded.
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
    if not header.weights_sha256 or (isinstance(header.model, NgramConfig) and size > HASHED):
        return
    if weights_sha256(tensors) != header.weights_sha256:
        raise CheckpointError(f"{path} is damaged: its weights do not have the SHA-256 that its header says")
