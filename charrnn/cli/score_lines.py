"""``charrnn score --lines``: a row for each line of a text, or the lines that a filter passes."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from charrnn.cli.score_input import Model, title
from charrnn.cli.score_line_reader import Line, LineScorer, Score, escaped, windows, write_cells
from charrnn.cli.terminal import Terminal
from charrnn.errors import ConfigError, wrong_value
from charrnn.files import json_line

Options = dict[str, Any]


class Row(NamedTuple):
    """A line, its score, and its position among all lines of all texts."""

    line: Line
    score: Score
    position: int

    @property
    def surprise(self) -> float:
        """By which rows are ranked: bits per character; a line without a character comes last."""
        return -math.inf if math.isnan(self.score.bpc) else self.score.bpc


def write(out: Terminal, models: Sequence[Model], texts: Sequence[str], options: Options) -> None:
    """Score each line of the texts and write the rows, or the lines that pass. Raises CharrnnError."""
    check_bounds(options)
    (model,) = models
    carry = options["carry"]
    # carried lines are read as one text
    scorer = LineScorer(out, model, options["unknown"], carry, "as it is" if carry else "newline")
    rows: Iterable[Row] = (
        row
        for row in _scored(out, scorer, texts)
        if _passes(row.score.bpc, options["above"], options["below"])
    )
    if options["top"]:
        rows = heapq.nlargest(options["top"], rows, key=_surprise)
        if not options["sort"]:
            rows.sort(key=lambda row: row.position)
    elif options["sort"]:
        rows = sorted(rows, key=_surprise, reverse=True)
    filtered = any(options[name] is not None for name in ("above", "below", "top"))
    if options["as_json"]:
        _write_json(out, rows, len(texts) > 1)
    elif filtered:
        _write_lines(out, rows)
    else:
        _write_table(out, rows, len(texts) > 1)
    scorer.reader.report()


def check_bounds(options: Options) -> None:
    """Raise ConfigError for bounds that are no numbers, or between which there is nothing."""
    above, below = options["above"], options["below"]
    for name, value in (("--above", above), ("--below", below)):
        if value is not None and not 0 <= value < math.inf:
            raise ConfigError(wrong_value(name, f"{value:g}", "a number from 0 up"))
    if above is not None and below is not None and below <= above:
        raise ConfigError(
            f"--above {above:g} --below {below:g}: no number is above {above:g} and below {below:g}"
        )


def _passes(bpc: float, above: float | None, below: float | None) -> bool:
    """Whether a line lies between the bounds. One without a character passes only where there are none."""
    return (above is None or bpc > above) and (below is None or bpc < below)


def _surprise(row: Row) -> float:
    return row.surprise


def _scored(out: Terminal, scorer: LineScorer, texts: Sequence[str]) -> Iterator[Row]:
    """The rows of all lines in order. What is written of a window is flushed before the next one is read."""
    position = 0
    for text in texts:
        scorer.begin()
        for window in windows(out, text):
            for line, score in zip(window, scorer.score(window), strict=True):
                yield Row(line, score, position)
                position += 1
            out.flush()
        scorer.finish(title(text))


def _write_lines(out: Terminal, rows: Iterable[Row]) -> None:
    """Write the lines themselves; a line without a newline gets one where another line follows it."""
    ended = True
    for row in rows:
        out.write(row.line.data if ended else b"\n" + row.line.data)
        ended = row.line.data.endswith(b"\n")


def _write_json(out: Terminal, rows: Iterable[Row], several: bool) -> None:
    for line, score, _ in rows:
        out.write(json_line(line_values(line, several) | score.values() | text_value(line)))


def _write_table(out: Terminal, rows: Iterable[Row], several: bool) -> None:
    """Write tab-separated values. The header comes with the first row: an error comes alone."""
    for index, (line, score, _) in enumerate(rows):
        if not index:
            write_cells(out, [*line_header(several), "characters", "nats", "bpc", "text"])
        write_cells(out, [*line_cells(line, several), *score.cells(), escaped(line.content)])


def line_header(several: bool) -> list[str]:
    """The columns that say which line a row is of; with several texts also of which."""
    return ["file", "line"] if several else ["line"]


def line_cells(line: Line, several: bool) -> list[str]:
    """The cells of these columns."""
    number = str(line.number)
    return [escaped(line.name.encode("utf-8", "surrogateescape")), number] if several else [number]


def line_values(line: Line, several: bool) -> dict[str, Any]:
    """The same, for JSON."""
    return ({"file": line.name} if several else {}) | {"line": line.number}


def text_value(line: Line) -> dict[str, Any]:
    """The text of a line, for JSON; a surrogate stands for a byte that is not UTF-8."""
    return {"text": line.content.decode("utf-8", "surrogateescape")}
