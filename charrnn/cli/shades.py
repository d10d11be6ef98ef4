"""Characters with values from -1 to 1: on a coloured background, or with a mark under each of them.

The colours are red for -1, white for 0, blue for 1. U: values of a character
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import zip_longest
from typing import NamedTuple

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
TAB = 8
"""A tab ends at a multiple of so many columns."""

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""


def shaded(character: str, value: float) -> str:
    """A character on the background colour of a value from -1 to 1.

    A newline is shown as a coloured sign; the line then ends outside the colour, because some
    terminals would colour the whole line.
    """
    if character == "\n":
        return f"{_painted(NEWLINE, value)}\n"
    return _painted(visible(character), value)


def _painted(text: str, value: float) -> str:
    """A text on the background colour of a value from -1 to 1."""
    level = _level(value)
    ink = 255 if abs(level) / LEVELS > 0.6 else 0  # as RGB, because a theme's own black is often grey
    before, after = _escape((ink, ink, ink), _colour(level))
    return f"{before}{text}{after}"


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


class Cell(NamedTuple):
    """A character as a terminal shows it, its columns, and its values (U,)."""

    text: str
    columns: int
    values: Sequence[float]


Row = Sequence[Cell]
"""A line of a text, or the part of it that fits the terminal."""


def rows(characters: Iterable[tuple[str, Sequence[float]]], width: int) -> Iterator[Row]:
    """Yields characters and their values in rows of at most ``width`` columns.

    Columns are a terminal's: a Chinese character takes two, a tab ends at a multiple of TAB. An accent that
    is a character of its own joins the character before it, and the values are those of the accent.
    """
    row: list[Cell] = []
    column = 0
    for character, values in characters:
        text, columns = _shown(character, column, width)
        if not columns and row:
            before = row[-1]
            row[-1] = Cell(before.text + text, before.columns, values)
            continue
        if row and column + columns > width:
            yield row
            row, column = [], 0
            text, columns = _shown(character, column, width)
        row.append(Cell(text, columns, values))
        column += columns
        if character == "\n":
            yield row
            row, column = [], 0
    if row:
        yield row


def _shown(character: str, column: int, width: int) -> tuple[str, int]:
    """A character at this column of a row as a terminal shows it, and its columns; 0 for an accent."""
    from rich.cells import get_character_cell_size

    if character == "\t":
        columns = max(1, min(TAB - column % TAB, width - column))
        return visible(character).ljust(columns), columns
    if character == "\n":
        return NEWLINE, 1
    if joins(character):
        return "\ufffd", 1
    text = visible(character)
    columns = get_character_cell_size(text)
    return (text, columns) if columns or column else (f"\u25cc{text}", 1)


def joins(character: str) -> bool:
    """Whether it changes the picture of an emoji: a skin tone or a variation selector.

    Terminals do not agree on the columns that such pictures take.
    """
    return "\U0001f3fb" <= character <= "\U0001f3ff" or "\ufe00" <= character <= "\ufe0f"


def text_line(row: Row) -> str:
    """The characters of a row."""
    return "".join(cell.text for cell in row)


def marks_line(row: Row, index: int) -> str:
    """The marks of a row's values with this index."""
    return "".join(mark(cell.values[index]) * cell.columns for cell in row).rstrip()


def painted_line(row: Row, index: int) -> str:
    """The characters of a row on the colours of their values with this index."""
    return "".join(_painted(cell.text, cell.values[index]) for cell in row)


def heat_lines(row: Row) -> Iterator[str]:
    """Yields the colours of all values of a row, each line with those of two indices one above the other."""
    for upper, lower in zip_longest(*[iter(zip(*(cell.values for cell in row), strict=True))] * 2):
        pairs = zip_longest(row, upper, lower or ())
        yield "".join(_half_blocks(cell.columns, above, below) for cell, above, below in pairs)


def _half_blocks(columns: int, above: float, below: float | None) -> str:
    """The colours of two values, one above the other."""
    background = None if below is None else _colour(_level(below))
    before, after = _escape(_colour(_level(above)), background)
    return f"{before}{'▀' * columns}{after}"


def marks(lowest: int) -> str:
    """The marks of values from ``lowest``, -1 or 0, to 1, for a legend."""
    return MARKS[(lowest + 1) * (len(MARKS) // 2) :]


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


def pictures(text: str) -> str:
    """A text for a terminal: its newlines and tabs, and all other characters as ``visible``."""
    return "".join(c if c in "\n\t" else visible(c) for c in text)


def _level(value: float) -> int:
    """The shade of a value: -LEVELS (red) to LEVELS (blue)."""
    return max(-LEVELS, min(LEVELS, round(value * LEVELS)))


def _colour(level: int) -> Colour:
    """The colour of a shade."""
    share = abs(level) / LEVELS
    red, green, blue = (214, 39, 40) if level < 0 else (31, 119, 220)
    return _between(red, share), _between(green, share), _between(blue, share)


def _between(part: int, share: float) -> int:
    """A part of a colour, mixed with white."""
    return round(255 + (part - 255) * share)


@cache
def _escape(ink: Colour, background: Colour | None) -> tuple[str, str]:
    """The escape sequences before and after a text in a colour, on a background colour or the terminal's own.

    They have 256 colours, more where the terminal is known to have more. Names such as TERM=xterm promise
    only 8, in which no scale can be seen, but the terminals behind them have 256.
    """
    from rich.color import Color, ColorSystem
    from rich.console import Console
    from rich.style import Style

    behind = None if background is None else Color.from_rgb(*background)
    style = Style(color=Color.from_rgb(*ink), bgcolor=behind)
    many = Console(force_terminal=True).color_system == "truecolor"
    system = ColorSystem.TRUECOLOR if many else ColorSystem.EIGHT_BIT
    before, _, after = style.render("\0", color_system=system).partition("\0")
    return before, after
