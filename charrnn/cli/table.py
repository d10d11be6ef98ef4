"""Rows as aligned tables, tab-separated values or JSON lines; sizes and ages as a reader says them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from charrnn.cli.terminal import Terminal, printable
from charrnn.files import json_line

AGES = (("years", 365 * 86400), ("months", 30 * 86400), ("days", 86400), ("h", 3600), ("min", 60), ("s", 1))
"""Units of an age, in seconds; a unit is used from two of it on."""

_SHORT = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": r"\0"}

Row = Mapping[str, Any]
"""A value for each column; a number is an int or a float, a missing one None."""


def write_table(out: Terminal, rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Write rows in aligned columns; the columns with the numbers ``right`` are aligned to the right."""
    for line in aligned(rows, right):
        out.write(f"{line}\n".encode("utf-8", "replace"))


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    """The lines of rows in aligned columns, as ``write_table`` writes them."""
    from rich.cells import cell_len

    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - cell_len(cell))
            cells.append(space + cell if number in right else cell + space)
        yield "  ".join(cells).rstrip()


def write_figures(out: Terminal, rows: Sequence[Row], as_json: bool = False) -> None:
    """Write rows in aligned columns below their names, the numbers to the right; or as JSON lines."""
    if as_json:
        for row in rows:
            out.write(json_line(row))
        return
    names = list(rows[0])
    right = [index for index, name in enumerate(names) if isinstance(rows[0][name], int | float)]
    cells = [[_aligned_cell(row[name]) for name in names] for row in rows]
    write_table(out, [[name.upper() for name in names], *cells], right)


class RowWriter:
    """Writes rows as tab-separated values with a header, or as JSON lines.

    The header comes with the first row: an error comes alone. The n-th entry of a list has the columns
    NAME + n; an entry of a dictionary has the column "NAME KEY". JSON has null for infinity and NaN.
    """

    def __init__(self, out: Terminal, as_json: bool) -> None:
        self._out, self._as_json, self._begun = out, as_json, False

    def write(self, row: Row) -> None:
        """Write a row; all rows have the same columns."""
        if self._as_json:
            self._out.write(json_line(row))
            return
        columns = list(_columns(row))
        if not self._begun:
            self._write_cells(name for name, _ in columns)
            self._begun = True
        self._write_cells(_cell(value) for _, value in columns)

    def _write_cells(self, cells: Iterator[str]) -> None:
        self._out.write(("\t".join(map(escaped, cells)) + "\n").encode("utf-8", "replace"))


def _columns(row: Row) -> Iterator[tuple[str, Any]]:
    """The names and values of the columns of a row."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from ((f"{name} {key}", entry) for key, entry in value.items())
        elif isinstance(value, list):
            for number, entry in enumerate(value, 1):
                yield from ((f"{key}{number}", part) for key, part in entry.items())
        else:
            yield name, value


def _cell(value: str | float | None) -> str:
    """A value as a cell of TSV: four digits after the point, more only where JSON has more."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}" if value == round(value, 4) else f"{value:g}"
    return "" if value is None else str(value)


def _aligned_cell(value: str | float | None) -> str:
    """A value as a cell of an aligned table: four digits after the point."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:,.4f}"
    return f"{value:,}" if isinstance(value, int) else value or ""


def rounded(value: float) -> float:
    """A figure as it is printed, which is never -0."""
    return round(value, 4) + 0.0


def probability(logarithm: float) -> float:
    """The probability of a log-probability in nats, with six digits, however small it is."""
    return float(f"{math.exp(logarithm):.6g}")


def escaped(text: str) -> str:
    r"""A text as a cell of tab-separated values, from which the text can be read back.

    A backslash becomes \\; a tab \t; a newline \n; a carriage return \r; NUL \0; another unprintable
    character \uXXXX or \UXXXXXXXX; a surrogate that stands for a byte \xXX.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return rf"\x{code - 0xDC00:02x}"
    return rf"\u{code:04x}" if code < 0x10000 else rf"\U{code:08x}"


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
