"""``inspect-cell`` without another mode: the values of units after each character, as colours or marks.

U: values of a character
"""

from __future__ import annotations

import codecs
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from charrnn.cli import curves, shades
from charrnn.cli.inspect_input import Subject
from charrnn.cli.inspect_options import chosen_units
from charrnn.cli.terminal import Terminal, printable
from charrnn.files import json_line

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from charrnn.inference.network import Ids
    from charrnn.text.vocabulary import Vocabulary

Character = tuple[str, Sequence[float]]
"""A character, or a byte as a character, and the values (U,) after it."""

PIPE_WIDTH = 80
"""Columns of a line of text where stdout is no terminal."""
NARROWEST = 8
"""The fewest columns of a line of text."""
PAINTED = 12
"""The most values for each of which the text is coloured; more are shown as a heat map."""
NAMED = 10
"""The most units that a title names, and that a picture draws as curves."""
PICTURED = 150
"""The characters of a picture, from the beginning of the text."""


class Shown(NamedTuple):
    """What is shown of each character.

    title    names the values
    numbers  (U,) the number of each value: that of a unit, or the characters back
    noun     what has such a number, for the legend: "units"
    axis     the same for a picture: "unit"
    lowest   -1 or 0; the highest value is 1
    curves   whether a picture may draw curves: of few values
    """

    title: str
    numbers: Sequence[int]
    noun: str = "units"
    axis: str = "unit"
    lowest: int = -1
    curves: bool = True


def write(out: Terminal, subject: Subject, options: dict[str, Any]) -> None:
    """Write the text with the values of units."""
    from charrnn.inspection.activations import signal_name
    from charrnn.inspection.inspect_cell import check_units, unit_values

    inference = subject.inference
    units = chosen_units(options["unit"], inference.config.hidden)
    signal = signal_name(inference.cell, options["of"])
    check_units(inference, options["layer"], units)  # before a sample is generated
    title = f"{subject.name} layer {options['layer']} {_named(units)} {signal}"
    values = unit_values(inference, subject.pieces(), options["layer"], units, signal)
    write_shown(out, subject, options, Shown(title, units), values)


def write_shown(
    out: Terminal,
    subject: Subject,
    options: dict[str, Any],
    shown: Shown,
    values: Iterable[tuple[Ids, NDArray[np.floating]]],
) -> None:
    """Write the text, of which ``values`` has pieces (N,) with their values (N, U)."""
    symbols: Iterator[Character] = (
        (subject.vocabulary.symbols[symbol_id], row)
        for ids, rows in values
        for symbol_id, row in zip(ids, rows.tolist(), strict=True)
    )
    if subject.vocabulary.backward:
        symbols = reversed(list(symbols))
    beginning: list[Character] = []
    if options["png"] or options["svg"]:
        symbols = _keeping(symbols, beginning)
    if options["as_json"]:
        _write_json(out, symbols, shown.numbers, subject.vocabulary.byte_level)
    else:
        characters = _characters(subject.vocabulary, symbols)
        _write_text(out, shown, characters, out.colours(options["colour"]))
    pictured = list(_characters(subject.vocabulary, beginning))
    curves.save_pictures(
        out, options["png"], options["svg"], shown.title, lambda figure: _plot(figure, pictured, shown)
    )
    subject.reader.report()


def _named(units: Sequence[int]) -> str:
    """What a title calls the units."""
    if len(units) == 1:
        return f"unit {units[0]}"
    return f"units {','.join(map(str, units))}" if len(units) <= NAMED else f"{len(units)} units"


def _keeping(symbols: Iterable[Character], beginning: list[Character]) -> Iterator[Character]:
    """The symbols and their values; the first PICTURED are added to the list."""
    for symbol in symbols:
        if len(beginning) < PICTURED:
            beginning.append(symbol)
        yield symbol


def _characters(vocabulary: Vocabulary, symbols: Iterable[Character]) -> Iterator[Character]:
    """The characters of a text, with the values after each; at byte level, those after all of its bytes."""
    if not vocabulary.byte_level:
        yield from symbols
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    before: Any = None
    for byte, values in symbols:
        if vocabulary.backward and "\x80" <= byte < "\xc0":  # the first byte of a character is read last
            values = before
        text = decoder.decode(byte.encode("latin-1"))
        unfinished, _ = decoder.getstate()
        for number, character in enumerate(text, 1):
            # Only the byte after it shows that a character has too few bytes.
            yield character, before if unfinished or number < len(text) else values
        before = values
    if text := decoder.decode(b"", final=True):
        yield text, before


def _write_text(out: Terminal, shown: Shown, characters: Iterable[Character], coloured: bool) -> None:
    """Write a legend, and the text with the values as colours or as marks."""
    numbers, lowest = shown.numbers, shown.lowest
    scale = shades.scale(lowest * shades.LEVELS) if coloured else shades.marks(lowest)
    legend = "" if coloured else ", marks under each line"
    if coloured and len(numbers) > PAINTED:
        legend = f", two {shown.noun} on each line"
    out.write(f"{printable(shown.title)}: {lowest} {scale} 1{legend}\n".encode())
    margin = len(str(max(numbers))) + 1 if len(numbers) > 1 else 0
    width = shutil.get_terminal_size().columns if out.stdout_tty else PIPE_WIDTH
    for row in shades.rows(characters, max(NARROWEST, width - margin)):
        lines = _numbered(row, numbers, margin, coloured)
        out.write(("\n" * (margin > 0) + "".join(f"{line}\n" for line in lines)).encode("utf-8", "replace"))


def _numbered(row: shades.Row, numbers: Sequence[int], margin: int, coloured: bool) -> Iterator[str]:
    """The lines that show a row, each value's with its number in the margin; a single value has no margin."""
    heads = [f"{number:>{margin - 1}} " if margin else "" for number in numbers]
    if not coloured or len(numbers) > PAINTED:
        yield f"{'':{margin}}{shades.text_line(row)}"
    if not coloured:
        yield from (f"{head}{shades.marks_line(row, i)}".rstrip() for i, head in enumerate(heads))
    elif len(numbers) <= PAINTED:
        yield from (f"{head}{shades.painted_line(row, i)}" for i, head in enumerate(heads))
    else:
        yield from (f"{head}{line}" for head, line in zip(heads[::2], shades.heat_lines(row), strict=True))


def _write_json(
    out: Terminal, symbols: Iterable[Character], numbers: Sequence[int], byte_level: bool
) -> None:
    """Write a JSON line for each character; at byte level with the byte."""
    for symbol, values in symbols:
        line: dict[str, object] = {"char": symbol}
        if byte_level:
            byte = ord(symbol)
            line = {"char": symbol if byte < 128 else "\ufffd", "byte": byte}
        rounded = [round(value, 6) for value in values]
        if len(numbers) == 1:
            line["value"] = rounded[0]
        else:
            line["values"] = dict(zip(map(str, numbers), rounded, strict=True))
        out.write(json_line(line))


def _plot(figure: Figure, characters: Sequence[Character], shown: Shown) -> None:
    """Draw the values at the beginning of a text: as curves or, where there are many, as a heat map."""
    import numpy as np

    positions = range(len(characters))
    values, numbers = np.array([values for _, values in characters]).T, shown.numbers
    if len(numbers) <= NAMED and shown.curves:
        lines = [
            curves.Curve(f"{shown.axis} {number}", positions, row.tolist(), str(number))
            for number, row in zip(numbers, values, strict=True)
        ]
        curves.plot_curves(figure, lines, "", "value")
    else:
        axes = figure.subplots()
        palette = "RdBu" if shown.lowest else "Blues"
        image = axes.imshow(
            values, palette, vmin=shown.lowest, vmax=1, aspect="auto", interpolation="nearest"
        )
        ticks = np.unique(np.linspace(0, len(numbers) - 1, NAMED).astype(int))
        axes.set_yticks(ticks, [str(numbers[tick]) for tick in ticks])
        axes.set_ylabel(shown.axis)
        figure.colorbar(image, label="value")
    axes = figure.axes[0]
    signs = [shades.sign(character) for character, _ in characters]
    axes.set_xticks(positions, signs, fontsize=5, family="monospace")
    axes.tick_params(axis="x", length=0)
    axes.grid(False, axis="x")
    axes.set_xlabel(f"the first {PICTURED} characters" if len(signs) == PICTURED else "characters")
