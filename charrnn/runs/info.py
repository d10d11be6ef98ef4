"""A checkpoint's description as a flat dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from charrnn.runs import parameters
from charrnn.runs.checkpoint import read_header


def describe(path: Path) -> dict[str, Any]:
    """The facts of a checkpoint's header; None where the header has no value. Raises CheckpointError."""
    header = read_header(path)
    model, results, corpus = header.model, header.results, header.corpus
    return {
        "path": str(path),
        "name": header.name or None,
        "parent": header.parent,
        "weights_sha256": header.weights_sha256 or None,
        "cell": model.cell,
        "layers": model.layers,
        "hidden": model.hidden,
        "embedding": model.embedding,
        "parameters": parameters.count(model, len(header.vocabulary)),
        "vocabulary": len(header.vocabulary),
        "bytes": header.vocabulary.byte_level,
        "symbols": header.vocabulary.symbols,
        "corpus": corpus.get("name"),
        "corpus_sha256": corpus.get("sha256"),
        "corpus_characters": corpus.get("characters"),
        "steps": results.get("step"),
        "steps_planned": results.get("steps"),
        "epochs": results.get("epoch"),
        "characters": results.get("characters"),
        "seconds": results.get("seconds"),
        "train_nats": results.get("train_nats"),
        "validation_nats": results.get("validation_nats"),
        "validation_bpc": results.get("validation_bpc"),
        "resumable": header.resume is not None,
        "training": header.training.to_dict(),
        "versions": header.versions,
    }
