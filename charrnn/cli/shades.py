"""Characters shaded on a terminal: from red below 0 through white to blue above."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from charrnn.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich.color import ColorSystem

LEVELS = 12
"""Shades on each side of 0."""


def wanted(out: Terminal, forced: bool = False) -> bool:
    """Whether stdout is a person's terminal (or is taken for one), and colours are not refused."""
    return (out.stdout_tty or forced) and not os.environ.get("NO_COLOR")


def shaded(character: str, value: float) -> str:
    """One character with a background for a value from -1 (red) to 1 (blue).

    A newline is marked, then broken outside the colour, or the terminal paints the rest of the line.
    """
    before, after = _escape(max(-LEVELS, min(LEVELS, round(value * LEVELS))), _system())
    if character == "\n":
        return f"{before}\u23ce{after}\n"
    return f"{before}{_visible(character)}{after}"


def scale() -> str:
    """All shades in a row."""
    return "".join(shaded(" ", level / LEVELS) for level in range(-LEVELS, LEVELS + 1))


def _visible(character: str) -> str:
    """Control characters as pictures, so that a text cannot steer the terminal."""
    code = ord(character)
    if code < 32:
        return chr(0x2400 + code)
    return "\u2421" if code == 127 else character if character.isprintable() else "\ufffd"


@cache
def _system() -> ColorSystem:
    """The colours this terminal has."""
    from rich.color import ColorSystem
    from rich.console import Console

    named = {"standard": ColorSystem.STANDARD, "truecolor": ColorSystem.TRUECOLOR}
    return named.get(Console(force_terminal=True).color_system or "256", ColorSystem.EIGHT_BIT)


@cache
def _escape(level: int, system: ColorSystem) -> tuple[str, str]:
    """What to write before and after a character of this level, -LEVELS (red) to LEVELS (blue)."""
    from rich.color import Color
    from rich.style import Style

    share = abs(level) / LEVELS
    towards = (214, 39, 40) if level < 0 else (31, 119, 220)
    red, green, blue = (round(255 + (end - 255) * share) for end in towards)
    ink = 255 if share > 0.6 else 0  # as RGB: a theme's own black is often grey
    colours = (Color.from_rgb(ink, ink, ink), Color.from_rgb(red, green, blue))
    ink_colour, background = (colour.downgrade(system) for colour in colours)
    style = Style(color=ink_colour, bgcolor=background)
    before, _, after = style.render("\0", color_system=system).partition("\0")
    return before, after
