"""``charrnn info``: what a checkpoint holds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn.cli.common import CheckpointArgument, CheckpointsOption, checkpoints_folder, lines, terminal
from charrnn.cli.terminal import printable


def info(
    context: typer.Context,
    checkpoint: CheckpointArgument = None,
    checkpoints: CheckpointsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print what a checkpoint holds: the model, its losses, its text, its symbols; a terminal sees the curve.

    Examples:

      charrnn info

      charrnn info shakespeare --json | jq .validation_bpc
    """
    from charrnn.checkpoint import find, read_header
    from charrnn.files import json_line
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
        out.write(json_line(facts))
        return
    facts["symbols"] = json.dumps(facts["symbols"], ensure_ascii=False)
    training = facts["training"] | {"split": ",".join(f"{share:g}" for share in header.training.split)}
    facts["training"] = ", ".join(f"{k} {v}" for k, v in training.items() if v is not None)
    facts["versions"] = ", ".join(f"{k} {v}" for k, v in facts["versions"].items())
    out.write(lines((name.replace("_", " "), _shown(value)) for name, value in facts.items()))
    if out.stdout_tty:
        out.write(_curve(path.parent))


def _curve(run: Path) -> bytes:
    """The losses of a run's log over its epochs, drawn in characters; nothing where there is no curve."""
    from charrnn import history

    reports = history.read(run)
    kinds = {"training": "train_nats", "validation": "validation_nats"}
    drawn = {name: [r for r in reports if r.get(key) is not None] for name, key in kinds.items()}
    drawn = {name: kept for name, kept in drawn.items() if len(kept) > 1}
    if not drawn:
        return b""
    from uniplot import plot_to_string

    picture = plot_to_string(
        xs=[[r["epoch"] for r in kept] for kept in drawn.values()],
        ys=[[r[kinds[name]] for r in kept] for name, kept in drawn.items()],
        legend_labels=list(drawn),
        title="nats per character, over epochs",
        lines=True,
        color=not os.environ.get("NO_COLOR"),
        height=14,
    )
    return f"\n{picture}\n{history.verdict(reports)}\n".encode()


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))
