"""Curves drawn with characters, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

Curve = tuple[str, Sequence[float], Sequence[float]]
"""A label, and the x and y of each point."""


def draw(title: str, curves: Sequence[Curve], height: int, colour: bool, log_y: bool = False) -> str:
    """The curves in one plot of ``height`` lines, with a legend."""
    from uniplot import plot_to_string

    labels, xs, ys = map(list, zip(*curves, strict=True))
    return plot_to_string(
        ys, xs, legend_labels=labels, title=title, y_as_log=log_y, lines=True, color=colour, height=height
    )
