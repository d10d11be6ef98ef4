"""A checkpoint's description as a flat dictionary, and its run's reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from charrnn.conditions import Label, Vector
from charrnn.config import ModelConfig, NgramConfig
from charrnn.runs import history, parameters
from charrnn.runs.checkpoint import BEST, LAST, Header, read_header
from charrnn.runs.find import model_name


def describe(path: Path) -> dict[str, Any]:
    """The facts of a checkpoint's header, its losses first; None where the header has no value.

    An n-gram model has no facts of a training but its split.

    resumable  whether the checkpoint, or the last checkpoint beside it, can be resumed

    Raises CheckpointError.
    """
    header = read_header(path)
    results, corpus = header.results, header.corpus
    trained = isinstance(header.model, ModelConfig)
    return {
        "name": header.name or model_name(path),
        "validation_bpc": results.get("validation_bpc"),
        "validation_nats": results.get("validation_nats"),
        **({"train_nats": results.get("train_nats")} if trained else {}),
        "path": str(path),
        **({"parent": header.parent} if trained else {}),
        "weights_sha256": header.weights_sha256 or None,
        **_architecture(header, path),
        **_documents(header),
        "vocabulary": len(header.vocabulary.symbols),
        "bytes": header.vocabulary.byte_level,
        "symbols": header.vocabulary.symbols,
        "corpus": corpus.get("name"),
        "corpus_sha256": corpus.get("sha256"),
        "corpus_characters": corpus.get("characters"),
        "texts": header.origin.get("texts"),
        **(_training(header, path) if trained else {"training": {"split": header.training.split}}),
        "versions": header.versions,
    }


def _architecture(header: Header, path: Path) -> dict[str, Any]:
    """The facts of a network, or of an n-gram model: how many n-grams of each length it has."""
    model = header.model
    if isinstance(model, NgramConfig):
        size = path.stat().st_size
        return {"order": model.order, "ngrams_by_length": header.results.get("ngrams"), "size_bytes": size}
    left_out = ("documents", "conditions")  # _documents describes them
    settings = {key: value for key, value in model.to_dict().items() if key not in left_out}
    return {**settings, "parameters": parameters.count(model, len(header.vocabulary))}


def _documents(header: Header) -> dict[str, Any]:
    """The documents of a model of documents, and its labels and vectors.

    labels   by label, how many documents of the text have each of its values
    vectors  by vector, how many numbers it has
    """
    if not header.model.documents:
        return {}
    facts = {"documents": header.origin.get("documents"), "documents_count": header.corpus.get("documents")}
    conditions = header.model.conditions if isinstance(header.model, ModelConfig) else ()
    counts = header.corpus.get("labels", {})
    labels = [condition for condition in conditions if isinstance(condition, Label)]
    vectors = [condition for condition in conditions if isinstance(condition, Vector)]
    if labels:
        facts["labels"] = {
            label.name: {value: counts.get(label.name, {}).get(value) for value in label.values}
            for label in labels
        }
    if vectors:
        facts["vectors"] = {vector.name: len(vector.mean) for vector in vectors}
    return facts


def _training(header: Header, path: Path) -> dict[str, Any]:
    """The facts of a network's training."""
    results = header.results
    return {
        "steps": results.get("step"),
        "steps_planned": results.get("steps"),
        "epochs": results.get("epoch"),
        "characters": results.get("characters"),
        "seconds": results.get("seconds"),
        "gradient_norm": results.get("gradient_norm"),
        "clipped": results.get("clipped"),
        "resumable": header.resume is not None or (path.name == BEST and path.with_name(LAST).is_file()),
        "training": header.training.to_dict(),
    }


def reports(path: Path) -> list[dict[str, Any]]:
    """The reports of the run that a checkpoint belongs to; [] for a file outside a run."""
    return history.read(path.parent) if path.name in (BEST, LAST) else []
