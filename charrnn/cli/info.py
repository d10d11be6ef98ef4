"""``charrnn info``: what a checkpoint holds."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from charrnn.cli.common import CheckpointArgument, CheckpointsOption, checkpoints_folder, lines, terminal


def info(
    context: typer.Context,
    checkpoint: CheckpointArgument = None,
    checkpoints: CheckpointsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print what a checkpoint holds: the model, its losses, its text, its symbols.

    Examples:

      charrnn info

      charrnn info shakespeare --json | jq .validation_bpc
    """
    from charrnn.checkpoint import find, read_header
    from charrnn.network import parameters

    path = find(checkpoint, checkpoints_folder(checkpoints))
    header = read_header(path)
    model, results, corpus = header.model, header.results, header.corpus
    facts: dict[str, Any] = {
        "path": str(path),
        "cell": model.cell,
        "layers": model.layers,
        "hidden": model.hidden,
        "embedding": model.embedding,
        "parameters": parameters(model, len(header.vocabulary)),
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
    out = terminal(context)
    if as_json:
        out.write(json.dumps(facts, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        return
    facts["symbols"] = json.dumps(facts["symbols"], ensure_ascii=False)
    facts["training"] = ", ".join(f"{k} {v}" for k, v in facts["training"].items() if v is not None)
    facts["versions"] = ", ".join(f"{k} {v}" for k, v in facts["versions"].items())
    out.write(lines((name.replace("_", " "), _shown(value)) for name, value in facts.items()))


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
