"""Characters on a coloured background: red for -1, white for 0, blue for 1."""

from __future__ import annotations

from functools import cache

LEVELS = 12
"""Shades on each side of 0."""


def shaded(character: str, value: float) -> str:
    """A character on the background colour of a value from -1 to 1.

    A newline is shown as a coloured sign; the line then ends outside the colour, because some
    terminals would colour the whole line.
    """
    before, after = _escape(max(-LEVELS, min(LEVELS, round(value * LEVELS))))
    if character == "\n":
        return f"{before}\u23ce{after}\n"
    return f"{before}{_visible(character)}{after}"


def scale() -> str:
    """All shades from -1 to 1, as a legend."""
    return "".join(shaded(" ", level / LEVELS) for level in range(-LEVELS, LEVELS + 1))


def _visible(character: str) -> str:
    """The character; a control character as a picture, so that a text cannot send terminal commands."""
    code = ord(character)
    if code < 32:
        return chr(0x2400 + code)
    return "\u2421" if code == 127 else character if character.isprintable() else "\ufffd"


@cache
def _escape(level: int) -> tuple[str, str]:
    """The escape sequences before and after a character of this level, -LEVELS (red) to LEVELS (blue).

    They have 256 colours where rich cannot detect how many the terminal has.
    """
    from rich.color import Color
    from rich.console import COLOR_SYSTEMS, Console
    from rich.style import Style

    share = abs(level) / LEVELS
    full_colour = (214, 39, 40) if level < 0 else (31, 119, 220)
    background = (round(255 + (part - 255) * share) for part in full_colour)
    ink = 255 if share > 0.6 else 0  # as RGB, because a theme's own black is often grey
    style = Style(color=Color.from_rgb(ink, ink, ink), bgcolor=Color.from_rgb(*background))
    system = COLOR_SYSTEMS[Console(force_terminal=True).color_system or "256"]
    before, _, after = style.render("\0", color_system=system).partition("\0")
    return before, after
