"""The prompts of ``charrnn sample``: from an argument, a file, or the lines of a file or of stdin."""

from __future__ import annotations

import codecs
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from charrnn.cli.condition_options import row_values
from charrnn.cli.reading_options import KNOWN_ONLY, Unknown
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import read_units
from charrnn.errors import CharrnnError, CorpusError, UnknownCharacterError

if TYPE_CHECKING:
    from charrnn.cells import State
    from charrnn.conditions import Values
    from charrnn.inference.network import Ids, Predictor
    from charrnn.inference.states import Cursor
    from charrnn.text.vocabulary import Vocabulary

LONGEST_LINE = 1 << 26
"""Bytes from which on a line is refused: the file has probably no lines, and would fill the memory."""

LONGEST_PROMPT = 1 << 26
"""Characters of the longest prompt: longer ones take hours, and a pipe without an end fills the memory."""

LONG_PROMPT = 100_000
"""Characters from which on reading a prompt is reported, with a progress bar."""


@dataclass(frozen=True)
class Prompt:
    """A prompt: its text as given, its ids (N,), the cursor after it, and what its JSON line says besides.

    ``fields`` are those of its JSON line, with the values of labels and vectors that it has.
    """

    text: str
    ids: Ids
    cursor: Cursor
    fields: dict[str, Any] = field(default_factory=dict)


class PromptReader:
    """Reads prompts, which continue the ``saved`` cursor if there is one.

    ``values`` are those of the model's conditions, for prompts that have no values of their own.
    """

    def __init__(
        self,
        out: Terminal,
        vocabulary: Vocabulary,
        unknown: Unknown,
        predictor: Predictor,
        saved: Cursor | None,
        values: Values | None = None,
    ) -> None:
        from charrnn.inference.conditioned import conditions_of
        from charrnn.text.unknown import Replacement

        self.out, self.vocabulary, self.unknown = out, vocabulary, unknown
        self.predictor, self.saved, self.values = predictor, saved, values or {}
        self._conditions = conditions_of(predictor)
        self._replacement = Replacement(vocabulary, skip=unknown is Unknown.skip)

    def read(self, text: str | None, file: str | None, lines: str | None) -> Iterable[Prompt]:
        """The prompts of --prompt, --prompt-file or --prompts; without any, what is piped in, or "".

        Raises CorpusError, UnknownCharacterError.
        """
        if lines is not None:
            _check_readable(lines)
            return self._read_lines(lines)
        if text is None and file is None and self.out.stdin_unread:
            file = "-"
        if file is not None:
            text = self._whole(file)
            if self.vocabulary.byte_level:
                text = text.encode("latin-1").decode("utf-8", "surrogateescape")
        return [self._prompt(text or "")]

    def _whole(self, path: str) -> str:
        """The characters of a file. Raises CorpusError, also for a pipe without an end."""
        text = io.StringIO()
        for piece in read_units(self.out, self.vocabulary, path, "--prompt-file"):
            if text.tell() + len(piece) > LONGEST_PROMPT:
                raise CorpusError(
                    f"--prompt-file {path}: more than {LONGEST_PROMPT:,} characters: give its end"
                )
            text.write(piece)
        return text.getvalue()

    def _read_lines(self, path: str) -> Iterator[Prompt]:
        """One prompt for each line, as the lines arrive. Errors name the line."""
        try:
            with self.out.take_stdin("--prompts") if path == "-" else open(path, "rb") as file:
                yield from self._line_prompts(file)
        except OSError as error:
            raise CorpusError(f"--prompts {path}: {error.strerror or error}") from error

    def _line_prompts(self, file: BinaryIO) -> Iterator[Prompt]:
        """The lines, or the "prompt" of each line's JSON object; the first line decides which of them."""
        as_json, needed = True, not self._conditions  # a line may have labels alone
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
            try:
                text = self._decode(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)
                row = _json_row(text, needed) if as_json else None
                if number == 1:
                    as_json = row is not None
                if not as_json:
                    yield self._prompt(text)
                elif row is not None:
                    values = self._values(row)
                    yield self._prompt(row["prompt"], row, values)
                elif text.strip():
                    raise CorpusError('not a JSON object with a "prompt", as the first line is')
            except CharrnnError as error:
                raise type(error)(f"--prompts, line {number}: {error}") from error

    def _decode(self, line: bytes) -> str:
        if len(line) == LONGEST_LINE:
            raise CorpusError(f"the line has more than {LONGEST_LINE:,} bytes")
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            return line.decode("utf-8", "surrogateescape" if self.vocabulary.byte_level else "strict")
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"byte 0x{line[error.start]:02X} at offset {error.start} is not valid UTF-8"
            ) from error

    def encode(self, text: str, before: int = 0) -> Ids:
        """Text -> (N,) ids; what is done with unknown characters is as --unknown says.

        ``before`` is the number of characters of the same text before these. Raises UnknownCharacterError.
        """
        if self.unknown is Unknown.error:
            try:
                return self.vocabulary.encode(text, before)
            except UnknownCharacterError as error:
                raise UnknownCharacterError(f"{error}; {KNOWN_ONLY}") from error
        return self.vocabulary.encode(self._replace(text))

    def _values(self, row: dict[str, Any]) -> Values:
        """The values of labels and vectors for a prompt: those of the options, else those of its JSON line.

        Raises CharrnnError.
        """
        own = row_values(self._conditions, row, strict=True)
        own = {name: value for name, value in own.items() if value is not None}
        if own and self.saved is not None:
            raise CorpusError(f"{next(iter(own))}: --load-state keeps the labels of the saved state")
        return {**own, **self.values}

    def _prompt(
        self, text: str, fields: dict[str, Any] | None = None, values: Values | None = None
    ) -> Prompt:
        from charrnn.inference.conditioned import conditioned

        ids, values = self.encode(text), self.values if values is None else values
        start = None if values == self.values else conditioned(self.predictor, values).start(1)
        return Prompt(text, ids, self._cursor(ids, start), {**(fields or {}), **values})

    def _replace(self, text: str) -> str:
        """The text without unknown characters. Each of them is reported once."""
        reported = len(self._replacement.replaced)
        text = self._replacement(text)
        for character, replacement in islice(self._replacement.replaced.items(), reported, None):
            action = f"read as {replacement!r}" if replacement else "skipped"
            self.out.note(f"{character!r} is not in the vocabulary: {action}")
        return text

    def _cursor(self, ids: Ids, start: State | None = None) -> Cursor:
        """The saved cursor or the ``start``, then these ids. A long prompt is read here, once for all."""
        import numpy as np

        from charrnn.inference.network import read
        from charrnn.inference.sample import beginning
        from charrnn.inference.states import Cursor

        if self.saved is not None:
            cursor = Cursor(np.concatenate([self.saved.unread, ids]), self.saved.state)
        else:
            cursor = Cursor(beginning(self.vocabulary, ids), start or self.predictor.start(1))
        size = len(cursor.unread)
        if size < LONG_PROMPT:
            return cursor
        self.out.note(
            f"reading a prompt of {size:,} characters; --save-state and --load-state avoid reading it again"
        )
        with self.out.bar(desc="reading the prompt", unit="char", unit_scale=True, total=size) as bar:
            for chunk, _, state in read(self.predictor, cursor.unread[:-1], cursor.state):
                bar.update(len(chunk))
                cursor = Cursor(cursor.unread[-1:], state)
        return cursor


def _check_readable(path: str) -> None:
    """Raise CorpusError for a file that cannot be opened; a pipe, which opens only once, is not opened."""
    if path != "-" and (os.path.isdir(path) or not os.access(path, os.R_OK)):
        try:
            open(path, "rb").close()
        except OSError as error:
            raise CorpusError(f"--prompts {path}: {error.strerror or error}") from error


def _json_row(line: str, needed: bool) -> dict[str, Any] | None:
    """A line's JSON object with a text as its "prompt", which may lack if it is not ``needed``.

    None for any other line.
    """
    try:
        row = json.loads(line)
        json.dumps(row, allow_nan=False)  # Python reads NaN and 1e999, which cannot be written as JSON
    except (ValueError, RecursionError):
        return None
    if isinstance(row, dict) and not needed:
        row = {"prompt": ""} | row
    return row if isinstance(row, dict) and isinstance(row.get("prompt"), str) else None
