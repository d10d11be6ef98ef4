"""Curves: drawn with characters for a terminal, or saved as a picture."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from charrnn.cli.terminal import Terminal, printable
from charrnn.errors import CharrnnError
from charrnn.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Curve(NamedTuple):
    """A label, and the x and y of each point; in a picture the curves of one group have one colour."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    group: str = ""
    dashed: bool = False


COLOURS = ("cyan", "magenta", "green", "red", "blue", "yellow")
"""Those that read on light and on dark; black and white are left out."""
WIDEST = 100
"""The most columns of a plot in a terminal."""
WIDTH, HEIGHT = 9.0, 5.0
"""The size of a picture, in inches."""
LEGEND_WIDTH = 120
"""Characters of a legend that fit beside each other in a picture."""


def draw(title: str, curves: Sequence[Curve], height: int, colour: bool, log_y: bool = False) -> str:
    """The curves in one plot of ``height`` lines, as wide as the terminal, with a legend.

    Without colours each curve has a character of its own.
    """
    from uniplot import plot_to_string

    return plot_to_string(
        [curve.y for curve in curves],
        [curve.x for curve in curves],
        legend_labels=[printable(curve.label) for curve in curves],
        title=printable(title),
        y_as_log=log_y,
        lines=True,
        color=list(islice(cycle(COLOURS), len(curves))) if colour else False,
        character_set="block" if colour else "ascii",
        height=height,
        width=WIDEST,
        line_length_hard_cap=shutil.get_terminal_size().columns,
    )


def save_pictures(
    out: Terminal, png: Path | None, svg: Path | None, title: str, plot: Callable[[Figure], object]
) -> None:
    """Save a picture in the files that --png and --svg name: ``plot`` draws on an empty figure.

    Raises CharrnnError without matplotlib.
    """
    for path, kind in ((png, "png"), (svg, "svg")):
        if path is not None:
            _save_picture(path, kind, title, plot)
            out.note(f"wrote {path}")


def _save_picture(path: Path, kind: str, title: str, plot: Callable[[Figure], object]) -> None:
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise CharrnnError(f"--{kind} needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    figure.suptitle(picture_text(title), wrap=True)
    plot(figure)
    # SVG: text stays text, small and searchable; without a date and with a fixed salt for the names inside,
    # equal figures give equal files.
    with (
        atomic_write(path) as file,
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "charrnn"}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for the character
        figure.savefig(file, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)


def picture_text(text: str) -> str:
    r"""A text as matplotlib draws it: unprintable characters escaped, and no $ begins a formula.

    A label that begins with "_" would be left out of the legend; a space stands before it.
    """
    shown = printable(text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def plot_curves(
    figure: Figure, curves: Sequence[Curve], x_label: str, y_label: str, log_y: bool = False
) -> None:
    """Draw curves on an empty figure, as wide as it is, above their legend."""
    from matplotlib import colormaps

    groups = list(dict.fromkeys(curve.group for curve in curves))
    colours = colormaps["tab10" if len(groups) <= 10 else "tab20"]
    axes = figure.subplots()
    for curve in curves:
        colour = colours(groups.index(curve.group) % colours.N)
        line, label = "--" if curve.dashed else "-", picture_text(curve.label)
        axes.plot(curve.x, curve.y, line, color=colour, label=label)
    if log_y:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        # A value so much smaller than the largest of its curve is lost when it is added to it.
        if highest := [largest for curve in curves if (largest := max(curve.y))]:
            axes.set_ylim(max(low, min(highest) * 1e-16), high)
    axes.margins(x=0.01)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    add_legend(figure)


def add_legend(figure: Figure) -> None:
    """Add a legend below the axes, in as many columns as fit; the figure grows by its rows."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = min(len(labels), max(1, LEGEND_WIDTH // (max(map(len, labels)) + 6)))
    rows = -(-len(labels) // columns)
    figure.set_figheight(HEIGHT + 0.2 * (rows - 1))
    figure.legend(handles, labels, fontsize="small", loc="outside lower center", ncols=columns, frameon=False)
