"""``charrnn info``: a checkpoint's description and its run's loss curve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli import curves
from charrnn.cli.options import (
    RUNS,
    CheckpointArgument,
    CheckpointsOption,
    QuietOption,
    find_checkpoint,
    option,
)
from charrnn.cli.terminal import Terminal, printable


def info(
    context: typer.Context,
    checkpoint: CheckpointArgument = None,
    checkpoints: CheckpointsOption = RUNS,
    as_json: Annotated[bool, option("Print one JSON object.", "--json")] = False,
    quiet: QuietOption = False,
) -> None:
    """Describe a checkpoint; in a terminal, also draw its loss curve.

    Examples:
      charrnn info
      charrnn info shakespeare --json | jq .validation_bpc
    """
    from charrnn.files import json_line
    from charrnn.runs.info import describe

    out: Terminal = context.obj
    path = find_checkpoint(out, checkpoint, checkpoints)
    facts = describe(path)
    if as_json:
        out.write(json_line(facts))
        return
    facts["symbols"] = json.dumps(facts["symbols"], ensure_ascii=False)
    facts["training"]["split"] = ",".join(f"{share:g}" for share in facts["training"]["split"])
    width = max(map(len, facts))
    for name, value in facts.items():
        line = f"{name.replace('_', ' '):<{width}}  {printable(_value_text(value))}\n"
        out.write(line.encode("utf-8", "replace"))
    if out.stdout_tty:
        out.write(_loss_curve(path.parent, out.colours()).encode())


def _value_text(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4f}"
        case dict():
            return ", ".join(f"{name} {setting}" for name, setting in value.items() if setting is not None)
    return str(value)


def _loss_curve(run: Path, colour: bool) -> str:
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
    plot = curves.draw("nats per character, over epochs", drawn, height=14, colour=colour)
    return f"\n{plot}\n{history.diagnosis(reports)}\n"
