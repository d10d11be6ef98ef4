"""The lines of texts and their scores, for --lines, --compare and --candidates of ``charrnn score``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple

from charrnn.cli.reading_options import KNOWN_ONLY, Unknown
from charrnn.cli.sample_prompts import LONGEST_LINE
from charrnn.cli.score_input import Model
from charrnn.cli.score_output import Score, sum_of
from charrnn.cli.table import Row
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_reader import SKIP_BYTES, Reader, title
from charrnn.errors import CheckpointError, CorpusError, UnknownCharacterError
from charrnn.files import is_pipe

if TYPE_CHECKING:
    from charrnn.inference.network import Ids

WINDOW = 4096
"""Lines that are scored at once, at most: enough to find some of similar lengths."""

BLOCK = 1 << 16
"""Characters that are encoded at once: a long line takes little more memory than its text."""

End = Literal["newline", "none", "as it is"]
"""What ends a line for the model: a newline if the model knows it, nothing, or what ends it in the text."""


class Line(NamedTuple):
    """A line of a text: the name of the text, the line's number from 1, and its bytes with its newline."""

    name: str
    number: int
    data: bytes

    @property
    def content(self) -> bytes:
        """The bytes without the newline."""
        return self.data.removesuffix(b"\n")

    def row(self, several: bool, figures: Row) -> dict[str, Any]:
        """The line and its figures as a row, which names the text where several are read.

        A surrogate stands for a byte that is not UTF-8.
        """
        name = {"file": self.name} if several else {}
        text = self.content.decode("utf-8", "surrogateescape")
        return {**name, "line": self.number, **figures, "text": text}


def windows(out: Terminal, path: str, option: str = "FILE", work: str = "scoring") -> Iterator[list[Line]]:
    """The lines of a file, or of stdin for "-", at most WINDOW at once.

    One window holds only lines of one block: no line waits for bytes that have not arrived. ``work`` is what
    the progress bar says.
    Raises CorpusError, ConfigError.
    """
    name, number = title(path), 0
    size = os.path.getsize(path) if os.path.isfile(path) else None
    # in a terminal, the rows themselves show the progress
    terminal = Terminal.muted() if out.stdout_tty else out
    with terminal.bar(desc=work, unit="B", unit_scale=True, total=size, delay=1) as bar:
        for lines in _lines(_blocks(out, path, option), name):
            for first in range(0, len(lines), WINDOW):
                part = lines[first : first + WINDOW]
                yield [Line(name, number + index, data) for index, data in enumerate(part, 1)]
                number += len(part)
                bar.update(sum(map(len, part)))


def _lines(blocks: Iterator[bytes], name: str) -> Iterator[list[bytes]]:
    """The lines that each block ends. Raises CorpusError for a line that would fill the memory."""
    parts: list[bytes] = []  # of the line that no block has ended
    size = 0
    for block in blocks:
        first, *others = block.split(b"\n")
        parts.append(first)
        size += len(first)
        if size > LONGEST_LINE:
            raise CorpusError(f"{name}: a line has more than {LONGEST_LINE:,} bytes: is it a text?")
        if others:
            *complete, rest = b"".join(parts), *others
            yield [line + b"\n" for line in complete]
            parts, size = [rest], len(rest)
    if size:
        yield [b"".join(parts)]


def _blocks(out: Terminal, path: str, option: str) -> Iterator[bytes]:
    """The bytes of a text; those of a pipe as they arrive. Raises CorpusError, ConfigError."""
    from charrnn.text.sources import sources

    if Path(path).is_dir():
        raise CorpusError(f"{path} is a folder: give one file, or -")
    if path != "-" and not is_pipe(path):
        yield from sources([path])[0].blocks()
        return
    try:
        with out.take_stdin(option) if path == "-" else open(path, "rb") as file:
            yield from _arriving(file)
    except OSError as error:
        raise CorpusError(f"cannot read {title(path)}: {error.strerror or error}") from error


def _arriving(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a pipe: all that have arrived, or the next ones."""
    from charrnn.text.sources import CHUNK

    return iter(lambda: file.read1(CHUNK), b"")  # type: ignore[attr-defined]


class LineReader(Reader):
    """Reads lines as the ids of a model's vocabulary."""

    def __init__(self, out: Terminal, model: Model, unknown: Unknown) -> None:
        super().__init__(out, model.vocabulary, unknown)
        symbols, self._byte_level = model.vocabulary.symbols, model.vocabulary.byte_level
        self._model = model
        self._newline = "\n" if "\n" in symbols else ""
        self._converts_returns = not self._byte_level and "\r" not in symbols

    def encode(self, line: Line, end: End) -> Ids:
        """The ids of a line in the model's order, with this end; none for a line without known characters.

        A newline ends what the model reads; for a backward model, it is the one before the line.
        Raises CorpusError, UnknownCharacterError; the message names line and column.
        """
        place = f"{line.name}, line {line.number}" if line.number else line.name
        text = self._decode(line.data, place)
        if line.number == 1 and not self._byte_level:
            text = text.removeprefix("\ufeff")
        text = self._without_newline(text, end)
        ids = self._lookup(text)
        if isinstance(ids, int):
            ids = self._replaced(text, ids, place)
        ids = self.vocabulary.reversed_if_backward(ids)
        if end == "newline" and self._newline and len(ids):  # an empty line has nothing to score
            return self._ended(ids)
        return ids

    def _ended(self, ids: Ids) -> Ids:
        """The ids of a line (N,), then that of a newline."""
        import numpy as np

        return np.append(ids, ids.dtype.type(self.vocabulary.symbols.index(self._newline)))

    def check(self, name: str, lines: int, characters: int) -> None:
        """Raise CorpusError for a text without lines, and for one of unknown characters only."""
        if not lines or self._replacement.counts:
            self.check_not_empty(name, characters)

    def _decode(self, data: bytes, place: str) -> str:
        """Bytes -> units; with --unknown skip a byte that is not UTF-8 is an unknown character."""
        if self._byte_level:
            return data.decode("latin-1")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            if self.unknown is Unknown.skip:
                return data.decode("utf-8", "surrogateescape")
            column = len(data[: error.start].decode()) + 1
            raise CorpusError(
                f"{place}, column {column}: byte 0x{data[error.start]:02X} is not valid UTF-8; {SKIP_BYTES}"
            ) from error

    def _without_newline(self, text: str, end: End) -> str:
        """The line without its newline, which "as it is" keeps, and with carriage returns as in training."""
        if end != "as it is":
            text = text.removesuffix("\n")
            if self._converts_returns:
                text = text.removesuffix("\r")
        if self._converts_returns and self._newline and "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text

    def _lookup(self, units: str) -> Ids | int:
        """The ids of units in their order, in a small type; the index of the first unknown unit."""
        import numpy as np

        from charrnn.text.vocabulary import UNKNOWN, code_points

        parts = []
        for first in range(0, len(units) or 1, BLOCK):
            ids = self.vocabulary.lookup(code_points(units[first : first + BLOCK]))
            if (unknown := np.flatnonzero(ids == UNKNOWN)).size:
                return first + int(unknown[0])
            parts.append(ids.astype(self.vocabulary.id_dtype))
        return np.concatenate(parts)

    def _replaced(self, units: str, index: int, place: str) -> Ids:
        """The ids of units without those that are unknown, the first of which has this index."""
        from charrnn.text.vocabulary import describe

        if self.unknown is Unknown.error:
            unit = f"byte 0x{ord(units[index]):02X}" if self._byte_level else describe(units[index])
            raise UnknownCharacterError(
                f"{place}, column {index + 1}: {unit} is not among the"
                f" {len(self.vocabulary.symbols)} symbols of {self._model.name}; {KNOWN_ONLY}"
            )
        if self._byte_level:
            units = units.encode("latin-1").decode("utf-8", "surrogateescape")
        try:
            ids = self._lookup(self.vocabulary.units(self._replacement(units)))
        except UnknownCharacterError as error:
            raise UnknownCharacterError(f"{place}: {error}") from error
        assert not isinstance(ids, int)
        return ids


class LineScorer:
    """Scores the lines of texts under one model.

    total  the score of all lines of the current text
    lines  how many they are
    """

    def __init__(self, out: Terminal, model: Model, unknown: Unknown, carry: bool, end: End) -> None:
        """``carry``: keep the state from line to line."""
        from charrnn.inference.sample import opening_ids
        from charrnn.inference.states import Cursor

        self.reader = LineReader(out, model, unknown)
        self.model, self._carry, self._end = model, carry, end
        self._opening = Cursor(opening_ids(model.vocabulary), model.predictor.start(1))
        self.begin()

    def begin(self, prompt: str = "") -> None:
        """Begin a text: the next line follows the prompt. Raises UnknownCharacterError."""
        from charrnn.inference.score_lines import score_carried

        self._start, self.total, self.lines = self._opening, Score(), 0
        if prompt:
            line = Line("--prompt", 0, prompt.encode("utf-8", "surrogateescape"))
            ids = self.reader.encode(line, "as it is")
            _, self._start = score_carried(self.model.predictor, [ids], self._start)

    def score(self, lines: Sequence[Line]) -> list[Score]:
        """The score of each line. Raises CharrnnError."""
        from charrnn.inference import score_lines
        from charrnn.inference.choice import DAMAGED

        ids = [self.reader.encode(line, self._end) for line in lines]
        if self._carry:
            scores, self._start = score_lines.score_carried(self.model.predictor, ids, self._start)
        else:
            scores = score_lines.score_lines(self.model.predictor, ids, self._start)
        result = [Score(len(i), 0.0 - nats) for i, nats in zip(ids, scores.tolist(), strict=True)]
        if any(math.isnan(score.nats) for score in result):
            raise CheckpointError(f"{self.model.name}: {DAMAGED}")
        self.total = sum_of([self.total, *result])
        self.lines += len(lines)
        return result

    def finish(self, name: str) -> None:
        """End a text. Raises CorpusError if there was nothing to score."""
        self.reader.check(name, self.lines, self.total.characters)
