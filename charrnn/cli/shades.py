"""Characters with values from -1 to 1: on a coloured background, or with a mark under each of them.

The colours are red for -1, white for 0, blue for 1.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

LEVELS = 12
"""Shades on each side of 0."""
MARKS = "▁▂▃▄ ▅▆▇█"
"""Marks of values from -1 to 1; those near 0 have none."""
NEWLINE = "\u23ce"
"""The sign of a newline."""
SPACE = "\u2423"
"""The sign of a space."""
FIRST_SHADE, FULL_SHADE = 3.0, 8.0
"""Bits of surprise up to which a character has no shade, and from which on it has the darkest."""
LIGHTEST = LEVELS // 3
"""The lightest shade of surprise: paler ones would be the brightest spots of a dark terminal."""


def shaded(character: str, value: float) -> str:
    """A character on the background colour of a value from -1 to 1.

    A newline is shown as a coloured sign; the line then ends outside the colour, because some
    terminals would colour the whole line.
    """
    before, after = _escape(max(-LEVELS, min(LEVELS, round(value * LEVELS))))
    if character == "\n":
        return f"{before}{NEWLINE}{after}\n"
    return f"{before}{visible(character)}{after}"


def level_of_surprise(bits: float) -> int:
    """The shade of a character: 0 up to FIRST_SHADE, then LIGHTEST to LEVELS."""
    if not bits > FIRST_SHADE:
        return 0
    share = min(1.0, (bits - FIRST_SHADE) / (FULL_SHADE - FIRST_SHADE))
    return round(LIGHTEST + share * (LEVELS - LIGHTEST))


def surprising(character: str, bits: float) -> str:
    """A character on a red background if its surprise is above FIRST_SHADE."""
    if level := level_of_surprise(bits):
        return shaded(character, -level / LEVELS)
    return character if character in "\n\t" else visible(character)


def surprise_legend() -> str:
    """The line that explains the shades of surprise."""
    shown = scale(-LIGHTEST, -LEVELS)
    return f"bits of surprise: {FIRST_SHADE:g} {shown} {FULL_SHADE:g}; no colour below {FIRST_SHADE:g}\n"


def scale(first: int = -LEVELS, last: int = LEVELS) -> str:
    """The shades from one level to another, for a legend; by default all, from -1 to 1."""
    step = 1 if first < last else -1
    return "".join(shaded(" ", level / LEVELS) for level in range(first, last + step, step))


def marked(values: Iterable[tuple[str, float]], width: int) -> Iterator[str]:
    """Yields characters in lines of at most ``width`` columns, each followed by a line of their marks.

    Columns are a terminal's: a Chinese character takes two, and an accent that is a character of its own
    takes none and has no mark.
    """
    from rich.cells import get_character_cell_size

    line, marks = "", ""
    for character, value in values:
        shown = NEWLINE if character == "\n" else visible(character)
        columns = get_character_cell_size(shown)
        if len(marks) + columns > width:
            yield f"{line}\n{marks.rstrip()}\n"
            line, marks = "", ""
        line += shown
        marks += mark(value) * columns
        if character == "\n":
            yield f"{line}\n{marks.rstrip()}\n"
            line, marks = "", ""
    if line:
        yield f"{line}\n{marks.rstrip()}\n"


def mark(value: float) -> str:
    """The mark of a value."""
    middle = len(MARKS) // 2
    return MARKS[max(0, min(2 * middle, round((value + 1) * middle)))]


def sign(character: str) -> str:
    """The character as a sign that can be seen: ␣ for a space, ⏎ for a newline."""
    return {" ": SPACE, "\n": NEWLINE}.get(character) or visible(character)


def visible(character: str) -> str:
    """The character; a control character as a picture, so that a text cannot send terminal commands."""
    code = ord(character)
    if code < 32:
        return chr(0x2400 + code)
    if code == 127:
        return "\u2421"
    if unicodedata.category(character) == "Zs":  # spaces such as those of French, which do not break lines
        return " "
    return character if character.isprintable() else "\ufffd"


@cache
def _escape(level: int) -> tuple[str, str]:
    """The escape sequences before and after a character of this level, -LEVELS (red) to LEVELS (blue).

    They have 256 colours, more where the terminal is known to have more. Names such as TERM=xterm promise
    only 8, in which no scale can be seen, but the terminals behind them have 256.
    """
    from rich.color import Color, ColorSystem
    from rich.console import Console
    from rich.style import Style

    share = abs(level) / LEVELS
    full_colour = (214, 39, 40) if level < 0 else (31, 119, 220)
    background = (round(255 + (part - 255) * share) for part in full_colour)
    ink = 255 if share > 0.6 else 0  # as RGB, because a theme's own black is often grey
    style = Style(color=Color.from_rgb(ink, ink, ink), bgcolor=Color.from_rgb(*background))
    many = Console(force_terminal=True).color_system == "truecolor"
    system = ColorSystem.TRUECOLOR if many else ColorSystem.EIGHT_BIT
    before, _, after = style.render("\0", color_system=system).partition("\0")
    return before, after
