"""A checkpoint's header: all of a checkpoint but its tensors, to and from a JSON object.

docs/checkpoint-format.md describes the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charrnn import cells
from charrnn.config import (
    LARGEST_COUNT,
    PART_VERSIONS,
    ModelConfig,
    NgramConfig,
    TrainConfig,
    is_between,
)
from charrnn.errors import CheckpointError
from charrnn.origin import Origin
from charrnn.runs import history
from charrnn.text.vocabulary import Vocabulary

FIRST_VERSION = 1
DEFAULT_LENGTH = 1000
"""The most characters of a sample of one long text where no length is given."""


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

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the header."""
        model = self.model.to_dict()
        values = {
            "format": max(PART_VERSIONS.get(name, FIRST_VERSION) for name in model),
            "name": self.name,
            "parent": self.parent,
            "weights_sha256": self.weights_sha256,
            "model": model,
            "vocabulary": {"symbols": self.vocabulary.symbols, "bytes": self.vocabulary.byte_level},
            "training": self.training.to_dict(),
            "corpus": self.corpus,
            "origin": self.origin,
            "results": self.results,
            "versions": self.versions,
        }
        return values if self.resume is None else {**values, "resume": self.resume}


def from_json(path: Path, values: dict[str, Any]) -> Header:
    """The header in the JSON object of a file.

    Raises CheckpointError for an unknown cell; KeyError, TypeError, ValueError and others for
    values that are missing or unfit, which ``TensorFormat.open`` turns into CheckpointError.
    """
    model = _model(path, values["model"])
    own = _object("header", values, texts=("name", "weights_sha256"))
    resume = values.get("resume")
    if resume is not None:
        resume = _object("resume", resume, counts=("step", "steps", "stage_start"))
    parent = values.get("parent")
    if parent is not None:
        parent = {"name": "", **_texts("parent", parent)}
    vocabulary = _vocabulary(model, values["vocabulary"])
    # earlier versions kept the origin beside the position to resume from
    origin = _origin(values.get("origin") or (resume or {}).get("origin", {}))
    if origin.get("byte_level", vocabulary.byte_level) != vocabulary.byte_level:
        raise ValueError("origin: byte_level is not that of the vocabulary")
    return Header(
        model=model,
        vocabulary=vocabulary,
        training=TrainConfig.from_dict(values["training"]),
        corpus=_corpus(values["corpus"]),
        results=_results(values["results"]),
        versions=_texts("versions", values["versions"]),
        resume=resume,
        name=own.get("name", ""),
        parent=parent,
        weights_sha256=own.get("weights_sha256", ""),
        origin=origin,
    )


def _model(path: Path, values: Any) -> ModelConfig | NgramConfig:
    """The settings of a network or of an n-gram model."""
    kind = NgramConfig if "order" in values else ModelConfig
    model: ModelConfig | NgramConfig = kind.from_dict(values)
    if isinstance(model, ModelConfig) and model.cell not in cells.names():
        cell = model.cell if model.cell.isprintable() else repr(model.cell)
        raise CheckpointError(
            f"{path}: this charrnn does not know its cell, {cell}: upgrade charrnn"
            f" (known cells: {', '.join(cells.names())})"
        )
    return model


def _vocabulary(model: ModelConfig | NgramConfig, values: Any) -> Vocabulary:
    """The vocabulary of a model."""
    symbols, byte_level = values["symbols"], values["bytes"]
    if not isinstance(symbols, str) or not symbols or not isinstance(byte_level, bool):
        raise ValueError("vocabulary: symbols must be characters, and bytes true or false")
    backward = isinstance(model, ModelConfig) and model.backward
    return Vocabulary(symbols, byte_level, model.documents, backward=backward)


def _corpus(values: Any) -> dict[str, Any]:
    """What a header says of the text."""
    corpus = _object(
        "corpus",
        values,
        counts=("characters", "documents", "longest"),
        texts=("name", "sha256", "table_sha256"),
    )
    labels = corpus.get("labels", {})
    if not isinstance(labels, dict) or not all(_are_counts(counts) for counts in labels.values()):
        raise ValueError("corpus: labels must have a number of documents for each value")
    return corpus


def _are_counts(counts: Any) -> bool:
    """Whether a value is an object of whole numbers."""
    return isinstance(counts, dict) and all(_is_count(count) for count in counts.values())


def _is_count(value: Any) -> bool:
    return is_between(value, 0, LARGEST_COUNT, (int,))


def _results(values: Any) -> dict[str, Any]:
    """The figures of a report; right after a report, there is no training loss."""
    results = _object("results", values)
    for key, value in results.items():
        if not history.fits(key, value) and not (key == "train_nats" and value is None):
            raise ValueError(f"results: {key} must be a number")
    return results


def _origin(values: Any) -> dict[str, Any]:
    """The record of an ``Origin``; {} where there is none."""
    origin = dict(values)
    if origin:
        try:
            Origin.from_record(origin)
        except CheckpointError as error:
            raise ValueError(f"origin: {error}") from error
    return origin


def _texts(name: str, part: Any) -> dict[str, str]:
    """A part of a header: an object whose values are texts. Raises ValueError."""
    if not isinstance(part, dict) or not all(isinstance(value, str) for value in part.values()):
        raise ValueError(f"{name} must be an object of texts")
    return dict(part)


def _object(name: str, part: Any, counts: Sequence[str] = (), texts: Sequence[str] = ()) -> dict[str, Any]:
    """A part of a header: an object.

    Raises ValueError unless those of its values that are called ``counts`` and ``texts`` are such.
    """
    if not isinstance(part, dict):
        raise ValueError(f"{name} must be an object")
    for key in counts:
        if key in part and not _is_count(part[key]):
            raise ValueError(f"{name}: {key} must be a whole number")
    for key in texts:
        if key in part and not isinstance(part[key], str):
            raise ValueError(f"{name}: {key} must be a text")
    return dict(part)
