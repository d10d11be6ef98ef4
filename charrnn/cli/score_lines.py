"""``charrnn score --lines``: a row for each line of a text, or the lines that a filter passes."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from charrnn.cli import shades
from charrnn.cli.score_documents import line_scorer
from charrnn.cli.score_input import Model
from charrnn.cli.score_line_reader import Line, LineScorer, windows
from charrnn.cli.score_output import Score
from charrnn.cli.table import RowWriter, rounded
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_reader import title
from charrnn.errors import ConfigError, wrong_value

Options = dict[str, Any]


class Row(NamedTuple):
    """A line, its score, and its position among all lines of all texts."""

    line: Line
    score: Score
    position: int

    @property
    def bpc(self) -> float:
        """Bits per character, as they are printed; NaN for a line without a character that is scored."""
        return rounded(self.score.bpc)

    @property
    def surprise(self) -> float:
        """By which rows are ranked: bits per character; a line without a character comes last."""
        return -math.inf if math.isnan(self.bpc) else self.bpc


def write(out: Terminal, models: Sequence[Model], texts: Sequence[str], options: Options) -> None:
    """Score each line of the texts and write the rows, or the lines that pass. Raises CharrnnError."""
    check_bounds(options)
    (model,) = models
    carry = options["carry"]
    # carried lines are read as one text
    scorer = line_scorer(out, model, options["unknown"], carry, "as it is" if carry else "newline")
    rows: Iterable[Row] = (
        row for row in _scored(out, scorer, texts) if _passes(row.bpc, options["above"], options["below"])
    )
    if options["top"]:
        rows = heapq.nlargest(options["top"], rows, key=_surprise)
        if not options["sort"]:
            rows.sort(key=lambda row: row.position)
    elif options["sort"]:
        rows = sorted(rows, key=_surprise, reverse=True)
    filtered = any(options[name] is not None for name in ("above", "below", "top"))
    if filtered and not options["as_json"]:
        _write_lines(out, rows)
    else:
        writer = RowWriter(out, options["as_json"])
        for line, score, _ in rows:
            writer.write(line.row(len(texts) > 1, score.figures()))
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
    """Write the lines themselves; a line without a newline gets one where another line follows it.

    A terminal gets pictures of control characters: a line of a log cannot send it commands.
    """
    ended = True
    for row in rows:
        data = _visible(row.line) if out.stdout_tty else row.line.data
        out.write(data if ended else b"\n" + data)
        ended = data.endswith(b"\n")


def _visible(line: Line) -> bytes:
    """The line without characters that steer a terminal."""
    end = line.data[len(line.data.rstrip(b"\r\n")) :]
    text = line.data.removesuffix(end).decode("utf-8", "replace")
    return shades.pictures(text).encode() + end
