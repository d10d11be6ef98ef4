"""``charrnn info``: descriptions of checkpoints and their runs' loss curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn.cli import completion, curves
from charrnn.cli.options import (
    RUNS,
    CheckpointsOption,
    PngOption,
    QuietOption,
    SvgOption,
    find_checkpoint,
    option,
)
from charrnn.cli.table import write_table
from charrnn.cli.terminal import Terminal, printable
from charrnn.errors import CharrnnError
from charrnn.files import json_line, json_text

SHOWN_VALUES = 40
"""Values of a label that are shown; --json has all."""

Named = tuple[str, Path]
"""A checkpoint's name in the legend, and its file."""


def info(
    context: typer.Context,
    checkpoint: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Checkpoint files, or runs by folder or name.",
            show_default="the newest run",
            autocompletion=completion.checkpoints,
        ),
    ] = None,
    checkpoints: CheckpointsOption = RUNS,
    as_json: Annotated[bool, option("Print a JSON line for each checkpoint.", "--json")] = False,
    png: PngOption = None,
    svg: SvgOption = None,
    quiet: QuietOption = False,
) -> None:
    """Describe checkpoints; in a terminal, also draw their loss curves in one plot.

    Examples:
      charrnn info
      charrnn info notes notes-2 --svg curves.svg
      charrnn info shakespeare --json | jq .validation_bpc
    """
    from charrnn.runs.find import model_name
    from charrnn.runs.info import describe

    out: Terminal = context.obj
    given_or_newest: list[str | None] = [*checkpoint] if checkpoint else [None]
    paths = [find_checkpoint(out, given, checkpoints) for given in given_or_newest]
    all_facts = [describe(path) for path in paths]
    for given, facts in zip(given_or_newest, all_facts, strict=True):
        facts["path"] = given if given == "-" else facts["path"]
    named = [(model_name(path), path) for path in paths]
    if png or svg:
        drawn = curves_of(named)
        if not drawn:
            shown = ", ".join(str(path.parent) for path in paths)
            raise CharrnnError(f"no loss curve to draw: the log of {shown} has fewer than two reports")
        for name, path in named:
            if not curves_of([(name, path)]):
                out.note(f"{name} is not in the picture: its log has fewer than two reports")
        title = f"losses of {', '.join(name for name, _ in named)}"
        labels = "epochs", "nats per character"
        curves.save_pictures(out, png, svg, title, lambda figure: curves.plot_curves(figure, drawn, *labels))
    if as_json:
        for facts in all_facts:
            out.write(json_line(facts))
        return
    for number, facts in enumerate(all_facts):
        out.write(b"\n" if number else b"")
        _describe(out, facts)
    if out.stdout_tty:
        out.write(_plot(named, out.colours()).encode())


def _describe(out: Terminal, facts: dict[str, Any]) -> None:
    """Write a line for each fact."""
    facts = {**facts, "symbols": json_text(facts["symbols"])}
    split = ",".join(f"{share:g}" for share in facts["training"]["split"])
    facts["training"] = {**facts["training"], "split": split}
    if "documents" in facts:
        facts["documents"] = json_text(facts["documents"])
    rows: list[tuple[str, str]] = []
    for name, value in facts.items():
        if name == "labels":
            rows += [(f"label {label}", _values_text(counts)) for label, counts in value.items()]
        elif name == "vectors":
            rows += [(f"vector {vector}", f"{size:,} numbers") for vector, size in value.items()]
        else:
            rows.append((name.replace("_", " "), value_text(name, value)))
    write_table(out, rows)


def _values_text(counts: dict[str, int | None]) -> str:
    """The values of a label, and how many documents have each."""
    shown = [value if count is None else f"{value} {count:,}" for value, count in counts.items()]
    more = [f"and {len(shown) - SHOWN_VALUES} more (--json lists all)"] if len(shown) > SHOWN_VALUES else []
    return ", ".join(shown[:SHOWN_VALUES] + more)


def value_text(name: str, value: object) -> str:
    """A fact as a reader says it."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4f}" if name.endswith(("_nats", "_bpc")) else f"{value:g}"
        case {"name": parent, "weights_sha256": str(sha256)}:
            return f"{parent} ({sha256[:12]})"
        case dict():
            return ", ".join(f"{key} {setting}" for key, setting in value.items() if setting is not None)
        case list() if all(type(part) is int for part in value):
            return " ".join(f"{part:,}" for part in value)
        case list() | tuple():
            return ",".join(f"{part:g}" if isinstance(part, float) else str(part) for part in value)
    return str(value)


def curves_of(checkpoints: Sequence[Named], plain: bool = False) -> list[curves.Curve]:
    """The training and validation losses of runs over their epochs, where two or more are logged.

    ``plain``: only one curve for each run, the validation loss where there is one, so that
    curves drawn with characters can be told apart.
    """
    from charrnn.runs.info import reports

    result = []
    for name, path in checkpoints:
        drawn = []
        for kind, key in (("validation", "validation_nats"), ("training", "train_nats")):
            points = [
                (line["epoch"], line[key])
                for line in reports(path)
                if "epoch" in line and line.get(key) is not None
            ]
            if len(points) > 1:
                epochs, losses = zip(*points, strict=True)
                label = kind if len(checkpoints) == 1 else f"{name} {kind}"
                drawn.append(curves.Curve(label, epochs, losses, str(path), kind == "training"))
        result += drawn[:1] if plain else drawn
    return result


def draw_losses(checkpoints: Sequence[Named], colour: bool) -> str:
    """The loss curves of runs drawn with characters; "" where no run has logged two reports."""
    drawn = curves_of(checkpoints, plain=len(checkpoints) > 1)
    return curves.draw("nats per character, over epochs", drawn, 14, colour) if drawn else ""


def _plot(checkpoints: Sequence[Named], colour: bool) -> str:
    """The loss curves drawn with characters; for one run also the diagnosis and a command that helps."""
    from charrnn.cli.train_command import advise
    from charrnn.runs.info import reports

    drawn = draw_losses(checkpoints, colour)
    lines = [drawn] if drawn else []
    if len(checkpoints) == 1 and reports(checkpoints[0][1]):
        lines += map(printable, filter(None, advise(checkpoints[0][1].parent)))
    return "".join(f"\n{line}" for line in lines) + "\n" if lines else ""
