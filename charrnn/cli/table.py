"""Tables with aligned columns, and sizes and ages as a reader says them."""

from __future__ import annotations

from collections.abc import Sequence

from charrnn.cli.terminal import Terminal, printable

AGES = (("years", 365 * 86400), ("months", 30 * 86400), ("days", 86400), ("h", 3600), ("min", 60), ("s", 1))
"""Units of an age, in seconds; a unit is used from two of it on."""

_ESCAPES = {"\\": r"\\", "\0": r"\0"}


def write_table(out: Terminal, rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Write rows in aligned columns; the columns with the numbers ``right`` are aligned to the right."""
    from rich.cells import cell_len

    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - cell_len(cell))
            cells.append(space + cell if number in right else cell + space)
        line = "  ".join(cells).rstrip()
        out.write(f"{line}\n".encode("utf-8", "replace"))


def escaped(text: str) -> str:
    r"""A text as a cell of a TSV file: \\, \t, \n, \r, \0 and \xNN or \uNNNN stand for what is unseen."""
    return "".join(
        _ESCAPES.get(character) or (character if character.isprintable() else repr(character)[1:-1])
        for character in text
    )


def size_text(size: int) -> str:
    """A number of bytes, e.g. "14.2 MB"."""
    from rich.filesize import decimal

    return decimal(size)


def age_text(seconds: float) -> str:
    """A time span in one unit, e.g. "3 h"."""
    for unit, length in AGES:
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return "1 s"
