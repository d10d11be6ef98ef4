"""Texts as the ids of a vocabulary, with --unknown for the characters that it does not have."""

from __future__ import annotations

import codecs
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from charrnn.cli.reading_options import KNOWN_ONLY, Unknown
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import read_units
from charrnn.errors import CorpusError, UnknownCharacterError

if TYPE_CHECKING:
    from charrnn.inference.network import Ids
    from charrnn.text.vocabulary import Vocabulary

SHOWN = 10
"""The most unknown characters that a note names."""

COMPRESSED = (".gz", ".bz2", ".xz")


SKIP_BYTES = "--unknown skip leaves out such bytes"
"""What a user can do about bytes that are not UTF-8."""


def title(path: str) -> str:
    """What messages and rows call a text."""
    return "standard input" if path == "-" else path


def shown(character: str) -> str:
    """A character as a note shows it; a surrogate stands for a byte that is not UTF-8."""
    is_byte = 0xDC80 <= ord(character) <= 0xDCFF
    return f"byte 0x{ord(character) - 0xDC00:02X}" if is_byte else repr(character)


class Text(NamedTuple):
    """A text to read.

    name    in messages and rows
    pieces  its ids, in pieces (N,), in the order in which the model reads them
    before  (1,) the character that the model reads before it
    size    about how many characters it has, where that is known
    """

    name: str
    pieces: Iterable[Ids]
    before: Ids
    size: int | None


def counted(counts: Counter[str], done: str, what: str, replaced: Mapping[str, str] | None = None) -> str:
    """A sentence that says how many characters were skipped or replaced, and which."""
    total, names = counts.total(), replaced or {}
    listed = [
        f"{shown(character)} {f'by {names[character]!r} ' if names else ''}({count:,})"
        for character, count in counts.most_common(SHOWN)
    ]
    more = [f"and {len(counts) - SHOWN} others"] if len(counts) > SHOWN else []
    return f"{done} {total:,} {what.format('' if total == 1 else 's')}: {', '.join(listed + more)}"


class Reader:
    """Reads texts as the ids of a vocabulary; what is done with unknown characters is as --unknown says."""

    def __init__(self, out: Terminal, vocabulary: Vocabulary, unknown: Unknown) -> None:
        from charrnn.text.unknown import Replacement

        self.out, self.vocabulary, self.unknown = out, vocabulary, unknown
        self._replacement = Replacement(vocabulary, skip=unknown is Unknown.skip)

    def texts(self, paths: Sequence[str]) -> Iterator[Text]:
        """The texts of files, or of stdin for "-"; each is read after the one before it."""
        from charrnn.inference.sample import opening_ids

        for path in paths:
            yield Text(title(path), self.read(path), opening_ids(self.vocabulary), _size(path))

    def read(self, path: str) -> Iterator[Ids]:
        """The ids of a file, or of stdin for "-", in pieces (N,), in the order in which the model reads them.

        Raises CorpusError, UnknownCharacterError; the message names the text.
        """
        skip = self.unknown is Unknown.skip
        units = read_units(self.out, self.vocabulary, path, advice=SKIP_BYTES, keep_invalid=skip)
        try:
            yield from self.vocabulary.pieces_reversed_if_backward(self._encode(units))
        except UnknownCharacterError as error:
            raise UnknownCharacterError(f"{title(path)}: {error}") from error

    def _encode(self, units: Iterator[str]) -> Iterator[Ids]:
        """The ids of units in pieces, in the order of the text. Raises CorpusError, UnknownCharacterError."""
        if self.unknown is Unknown.error:
            line, column = 1, 1
            for piece in units:
                yield self._known(piece, line, column)
                line, column = place_after(piece, line, column)
            return
        for text in _whole_characters(units, self.vocabulary.byte_level):
            yield self.vocabulary.encode_units(self.vocabulary.units(self._replacement(text)))

    def _known(self, units: str, line: int, column: int) -> Ids:
        """The ids of units that begin at this line and column. Raises UnknownCharacterError."""
        from charrnn.text.vocabulary import UNKNOWN, code_points, describe

        ids = self.vocabulary.lookup(code_points(units))
        if (unknown := (ids == UNKNOWN).nonzero()[0]).size:
            index = int(unknown[0])
            line, column = place_after(units[:index], line, column)
            unit = f"byte 0x{ord(units[index]):02X}" if self.vocabulary.byte_level else describe(units[index])
            raise UnknownCharacterError(
                f"line {line}, column {column}: {unit} is not among the model's"
                f" {len(self.vocabulary.symbols)} symbols (charrnn info lists them); {KNOWN_ONLY}"
            )
        return ids

    def report(self, prefix: str = "") -> None:
        """Print how many characters were unknown, and which, to stderr, after the prefix."""
        counts = self._replacement.counts
        if not counts:
            return
        if self.unknown is Unknown.skip:
            self.out.note(prefix + counted(counts, "skipped", "unknown character{}"))
        else:
            replaced = self._replacement.replaced
            self.out.note(prefix + counted(counts, "replaced", "unknown character{}", replaced))

    def check_not_empty(self, name: str, characters: int) -> None:
        """Raise CorpusError where a text had no character that the model knows."""
        if characters:
            return
        if self._replacement.counts:
            raise CorpusError(f"{name}: the model knows none of its characters")
        raise CorpusError(f"{name}: the text is empty")


def place_after(text: str, line: int, column: int) -> tuple[int, int]:
    """The line and column after a text that begins at these; both count from 1."""
    if newlines := text.count("\n"):
        return line + newlines, len(text) - text.rindex("\n")
    return line, column + len(text)


def _size(path: str) -> int | None:
    """The bytes of a file that is not compressed, about as many as its characters."""
    file = Path(path)
    plain = path != "-" and file.is_file() and file.suffix.lower() not in COMPRESSED
    return file.stat().st_size if plain else None


def _whole_characters(pieces: Iterator[str], byte_level: bool) -> Iterator[str]:
    """Units in pieces -> text in pieces, which end neither inside a character nor before its accents."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    held_back = ""
    for piece in pieces:
        text = held_back + (decoder.decode(piece.encode("latin-1")) if byte_level else piece)
        end = len(text) - 1
        while end > 0 and unicodedata.combining(text[end]):
            end -= 1
        end = max(end, 0)
        held_back = text[end:]
        yield text[:end]
    yield held_back + decoder.decode(b"", final=True)
