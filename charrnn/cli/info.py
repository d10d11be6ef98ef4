"""``charrnn info``: what a checkpoint holds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.options import CheckpointArgument, CheckpointsOption, checkpoints_folder, lines, terminal
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
    from charrnn.files import json_line
    from charrnn.runs.checkpoint import find
    from charrnn.runs.info import describe

    path = find(checkpoint, checkpoints_folder(checkpoints))
    facts = describe(path)
    out = terminal(context)
    if as_json:
        out.write(json_line(facts))
        return
    facts["symbols"] = json.dumps(facts["symbols"], ensure_ascii=False)
    training = facts["training"]
    training |= {"split": ",".join(f"{share:g}" for share in training["split"])}
    facts["training"] = ", ".join(f"{k} {v}" for k, v in training.items() if v is not None)
    facts["versions"] = ", ".join(f"{k} {v}" for k, v in facts["versions"].items())
    out.write(lines((name.replace("_", " "), _shown(value)) for name, value in facts.items()))
    if out.stdout_tty:
        out.write(_curve(path.parent))


def _curve(run: Path) -> bytes:
    """The losses of a run's log over its epochs, drawn in characters; nothing where there is no curve."""
    from charrnn.runs import history

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
