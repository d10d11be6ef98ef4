"""``inspect-cell --gates``: how often the gates are nearly closed or open."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli import curves
from charrnn.cli.inspect_input import Subject
from charrnn.cli.options import threads
from charrnn.cli.table import Row, rounded, write_figures
from charrnn.cli.terminal import Terminal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from charrnn.inspection.activations import Signal
    from charrnn.inspection.gates import Saturation

    Saturations = Mapping[Signal, Saturation]

MOSTLY = 0.9
"""The share of the characters from which on a unit counts as saturated nearly all the time."""
X_LABEL, Y_LABEL = "share of time right-saturated (> 0.9)", "share of time left-saturated (< 0.1)"
PLOT_WIDTH, PLOT_HEIGHT = 30, 12
"""Columns and lines of one plot in a terminal, without its axes."""
AXIS_WIDTH = 8


def write(out: Terminal, subject: Subject, options: dict[str, Any]) -> None:
    """Write the shares of all gates, and plot a point for each unit."""
    from charrnn.inspection.gates import saturation, sigmoid_gates

    sigmoid_gates(subject.inference)  # raises ConfigError
    ids = subject.ids(out)
    with out.bar(desc="reading", unit="char", unit_scale=True, total=len(ids), delay=1) as bar:
        saturations = saturation(subject.inference, ids, threads(), bar.update)
    rows = _unit_rows(saturations) if options["as_json"] else _gate_rows(saturations)
    write_figures(out, list(rows), options["as_json"])
    if out.stdout_tty and not options["as_json"]:
        out.write(f"\n{_plots(saturations, out.colours(options['colour']))}\n".encode())
    title = f"{subject.name}: gate saturation in {Path(subject.text.name).name}, {len(ids):,} characters"
    curves.save_pictures(
        out, options["png"], options["svg"], title, lambda figure: _plot(figure, saturations)
    )


def _gate_rows(saturations: Saturations) -> Iterator[Row]:
    """A row for each gate: the means of its units, and how many units are nearly always saturated."""
    for signal, (left, right) in saturations.items():
        yield {
            "layer": signal.layer,
            "gate": signal.name,
            "left": float(left.mean()),
            "right": float(right.mean()),
            "units": len(left),
            "mostly left": int((left > MOSTLY).sum()),
            "mostly right": int((right > MOSTLY).sum()),
        }


def _unit_rows(saturations: Saturations) -> Iterator[Row]:
    """A row for each unit of each gate."""
    for signal, (lefts, rights) in saturations.items():
        for unit, (left, right) in enumerate(zip(lefts.tolist(), rights.tolist(), strict=True)):
            row = {"layer": signal.layer, "gate": signal.name, "unit": unit}
            yield row | {"left": rounded(left), "right": rounded(right)}


def _panels(saturations: Saturations) -> dict[str, list[curves.Curve]]:
    """The points of the units of each layer, for each gate."""
    panels: dict[str, list[curves.Curve]] = {}
    for signal, (left, right) in saturations.items():
        points = curves.Curve(f"layer {signal.layer}", right.tolist(), left.tolist())
        panels.setdefault(signal.name, []).append(points)
    return panels


def _plot(figure: Figure, saturations: Saturations) -> None:
    """Draw a scatter plot for each gate side by side, a point for each unit, a colour for each layer."""
    panels = _panels(saturations)
    for axes, (gate, layers) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items(), strict=True
    ):
        for layer in layers:
            axes.scatter(layer.x, layer.y, s=12, alpha=0.5, linewidths=0, label=layer.label)
        axes.plot([0, 1], [1, 0], color="grey", linewidth=0.5)
        axes.set(title=f"{gate} gate", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    figure.supxlabel(X_LABEL)
    figure.axes[0].set_ylabel(Y_LABEL)
    if len(layers) > 1:
        curves.add_legend(figure)


def _plots(saturations: Saturations, colour: bool) -> str:
    """The same plots drawn with characters, as many side by side as the terminal is wide for."""
    from rich.text import Text

    width = PLOT_WIDTH + AXIS_WIDTH
    fitting = max(1, shutil.get_terminal_size().columns // width)
    lines = [f"x: {X_LABEL}, y: {Y_LABEL}; a point for each unit"]
    plots = [_draw(gate, layers, colour).splitlines() for gate, layers in _panels(saturations).items()]
    for first in range(0, len(plots), fitting):
        for parts in zip(*plots[first : first + fitting], strict=True):
            padded = [part + " " * (width - Text.from_ansi(part).cell_len) for part in parts]
            lines.append("".join(padded).rstrip())
    return "\n".join(lines)


def _draw(gate: str, layers: list[curves.Curve], colour: bool) -> str:
    """The scatter plot of one gate."""
    from uniplot import plot_to_string

    return plot_to_string(
        [layer.y for layer in layers],
        [layer.x for layer in layers],
        legend_labels=[layer.label for layer in layers] if len(layers) > 1 else None,
        title=f"{gate} gate",
        color=list(curves.COLOURS[: len(layers)]) if colour else False,
        character_set="block" if colour else "ascii",
        x_min=0,
        x_max=1,
        y_min=0,
        y_max=1,
        width=PLOT_WIDTH,
        height=PLOT_HEIGHT,
    )
