"""The prompts of ``charrnn sample``: from an argument, a file, or the lines of a file or of stdin."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from charrnn.cli.options import read_units
from charrnn.cli.sample_options import Unknown
from charrnn.cli.terminal import Terminal
from charrnn.errors import CharrnnError, CorpusError, UnknownCharacterError

if TYPE_CHECKING:
    from charrnn.inference.network import Ids
    from charrnn.text.vocabulary import Vocabulary

LONGEST_LINE = 1 << 26
"""A line of more bytes is refused: the file has probably no lines, and would fill the memory."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt: the text as given, its ids (N,), and the other fields of its JSON line."""

    text: str
    ids: Ids
    fields: dict[str, Any] = field(default_factory=dict)


class PromptReader:
    """Reads prompts, and reports each replaced or skipped character once."""

    def __init__(self, out: Terminal, vocabulary: Vocabulary, unknown: Unknown) -> None:
        from charrnn.text.unknown import Replacement

        self.out, self.vocabulary, self.unknown = out, vocabulary, unknown
        self._replacement = Replacement(vocabulary, skip=unknown is Unknown.skip)
        self._reported = set[str]()

    def read(self, text: str | None, file: str | None, lines: str | None) -> Iterable[Prompt]:
        """The prompts of --prompt, --prompt-file or --prompts; one empty prompt without any of them."""
        if lines is not None:
            return self.read_lines(lines)
        return [self.read_text(text or "") if file is None else self.read_file(file)]

    def read_text(self, text: str, fields: dict[str, Any] | None = None) -> Prompt:
        """A text as a prompt. Raises UnknownCharacterError."""
        if self.unknown is not Unknown.error:
            return Prompt(text, self.vocabulary.encode(self._replacement(text)), fields or {})
        try:
            return Prompt(text, self.vocabulary.encode(text), fields or {})
        except UnknownCharacterError as error:
            raise UnknownCharacterError(
                f"{error}; --unknown nearest replaces and --unknown skip omits such characters"
            ) from error

    def read_file(self, path: str) -> Prompt:
        """All of a file, or of stdin for "-", as one prompt. Raises CorpusError, UnknownCharacterError."""
        text = "".join(read_units(self.out, self.vocabulary, path))
        if self.vocabulary.byte_level:
            text = text.encode("latin-1").decode("utf-8", "surrogateescape")
        return self.read_text(text)

    def read_lines(self, path: str) -> Iterator[Prompt]:
        """One prompt for each line, as the lines arrive: the line itself, or the "prompt" of its JSON object.

        The first line decides for all. Raises CorpusError, UnknownCharacterError, with the line's number.
        """
        try:
            with nullcontext(self.out.stdin) if path == "-" else open(path, "rb") as file:
                yield from self._read_lines(file)
        except OSError as error:
            raise CorpusError(f"--prompts {path}: {error.strerror or error}") from error

    def _read_lines(self, file: BinaryIO) -> Iterator[Prompt]:
        as_json = True
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
            try:
                text = self._decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
                row = _json_row(text) if as_json else None
                if number == 1:
                    as_json = row is not None
                if not as_json:
                    yield self.read_text(text)
                elif row is not None:
                    yield self.read_text(row["prompt"], row)
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

    def report_replacements(self) -> None:
        """Write to stderr how characters outside the vocabulary were read, each once."""
        for character, replacement in self._replacement.replaced.items():
            if character not in self._reported:
                self._reported.add(character)
                action = f"read as {replacement!r}" if replacement else "skipped"
                self.out.note(f"{character!r} is not in the vocabulary: {action}")


def _json_row(line: str) -> dict[str, Any] | None:
    """A line's JSON object with a text as its "prompt"; None for any other line."""
    try:
        row = json.loads(line)
        json.dumps(row, allow_nan=False)  # Python reads NaN and 1e999, which cannot be written as JSON
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("prompt"), str) else None
