"""``charrnn info``: a checkpoint's description and its run's loss curve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli import curves
from charrnn.cli.options import CheckpointArgument, CheckpointsOption, checkpoints_folder, lines, terminal
from charrnn.cli.terminal import printable


def info(
    context: typer.Context,
    checkpoint: CheckpointArgument = None,
    checkpoints: CheckpointsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Describe a checkpoint; in a terminal, also draw its loss curve.

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
    out.write(lines((name.replace("_", " "), _value_text(value)) for name, value in facts.items()))
    if out.stdout_tty:
        out.write(_loss_curve(path.parent).encode())


def _loss_curve(run: Path) -> str:
    """A run's losses over its epochs and the diagnosis; "" when fewer than two losses are logged."""
    from charrnn.runs import history

    reports = history.read(run)
    drawn: list[curves.Curve] = []
    for label, key in (("training", "train_nats"), ("validation", "validation_nats")):
        points = [(report["epoch"], report[key]) for report in reports if report.get(key) is not None]
        if len(points) > 1:
            epochs, losses = zip(*points, strict=True)
            drawn.append((label, epochs, losses))
    if not drawn:
        return ""
    plot = curves.draw("nats per character, over epochs", drawn, height=14)
    return f"\n{plot}\n{history.verdict(reports)}\n"


def _value_text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))
