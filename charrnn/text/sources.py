"""Files, folders and pipes, decoded: what a corpus is read from."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from charrnn.errors import CorpusError

CHUNK = 1 << 20

_OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@dataclass(frozen=True)
class Reading:
    """How bytes become characters. ``newlines``: "lf" (CRLF and lone CR become LF) or "keep"."""

    encoding: str = "utf-8"
    byte_level: bool = False
    newlines: str = "lf"
    advice: str = (
        "say what it is (--encoding latin-1), learn bytes (--bytes), or leave it out (--glob '*.txt')"
    )

    def __post_init__(self) -> None:
        try:
            with contextlib.suppress(UnicodeError):
                b"a".decode(self.encoding)  # refuses what is known but makes no text, as hex
            codecs.getincrementaldecoder(self.encoding)
        except (LookupError, ValueError) as error:
            raise CorpusError(f"--encoding {self.encoding}: Python knows no such text encoding") from error
        if self.newlines not in ("lf", "keep"):
            raise CorpusError(f"--newlines {self.newlines}: it must be lf or keep")

    @property
    def plain(self) -> str:
        """The encoding in which the characters read are hashed."""
        return "latin-1" if self.byte_level else "utf-8"


@dataclass(frozen=True)
class Source:
    """A text to read, and what a message calls it. ``open`` gives its bytes, unpacked, from the start."""

    name: str
    open: Callable[[], IO[bytes]]

    def blocks(self) -> Iterator[bytes]:
        """The bytes, in pieces. Raises CorpusError."""
        try:
            with self.open() as file:
                while block := file.read(CHUNK):
                    yield block
        except FileNotFoundError as error:
            raise CorpusError(f"no file {self.name}") from error
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CorpusError(f"cannot read {self.name}: {reason}") from error


def file_source(path: Path) -> Source:
    """A file, unpacked by its suffix: .gz, .bz2, .xz."""
    opener = _OPENERS.get(path.suffix.lower(), partial(open, mode="rb"))
    return Source(str(path), partial(opener, path))


def sources(paths: Sequence[str | Path], glob: str = "*") -> list[Source]:
    """Files as they are, folders as the sorted files below them that match ``glob``.

    Raises CorpusError for a path that is not there, or a folder without a match.
    """
    found: list[Source] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(_below(path, glob))
            if not inside:
                raise CorpusError(f"folder {path} holds no file that matches {glob} (--glob)")
            found += map(file_source, inside)
        elif path.exists():
            found.append(file_source(path))
        else:
            raise CorpusError(f"no file or folder {path}")
    return found


def _below(folder: Path, glob: str) -> Iterator[Path]:
    """The files below a folder whose names match. Raises CorpusError for a folder that cannot be read."""

    def refuse(error: OSError) -> None:
        raise CorpusError(f"cannot read folder {error.filename}: {error.strerror}")

    for root, _, files in os.walk(folder, onerror=refuse):
        for path in (Path(root) / file for file in files):
            try:
                if path.match(glob) and path.is_file():
                    yield path
            except ValueError as error:
                raise CorpusError(f"--glob {glob!r}: it must be a pattern like *.txt") from error


@contextlib.contextmanager
def spooled(stream: IO[bytes], name: str = "standard input") -> Iterator[Source]:
    """A pipe kept in a file without a name while the block lasts, for it is read more than once."""
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(stream, file, CHUNK)
        file.flush()

        def again() -> IO[bytes]:
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            return os.fdopen(os.dup(file.fileno()), "rb")

        yield Source(name, again)


def _decoded(source: Source, reading: Reading) -> Iterator[str]:
    """One file's characters, in pieces. Raises CorpusError naming file and offset of a bad byte."""
    encoding = "latin-1" if reading.byte_level else reading.encoding  # byte b is code point b
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    newlines = io.IncrementalNewlineDecoder(None, translate=True) if reading.newlines == "lf" else None
    read, first = 0, True

    def text(block: bytes, final: bool) -> str:
        waiting = len(decoder.getstate()[0])
        try:
            decoded = decoder.decode(block, final)
        except UnicodeDecodeError as error:
            offset = read - waiting + error.start
            bad = error.object[error.start]
            raise CorpusError(
                f"{source.name}: byte 0x{bad:02X} at offset {offset} is not {encoding}; {reading.advice}"
            ) from error
        except UnicodeError as error:  # "UTF-16 stream does not start with BOM"
            raise CorpusError(f"{source.name}: not {encoding}: {error}") from error
        return newlines.decode(decoded, final) if newlines else decoded

    for block in source.blocks():
        piece = text(block, False)
        read += len(block)
        if first and piece:
            first = False
            if not reading.byte_level:
                piece = piece.removeprefix("\ufeff")
        yield piece
    yield text(b"", True)


def characters(texts: Sequence[Source], reading: Reading) -> Iterator[str]:
    """All characters of all files, one file after the other, in pieces."""
    for source in texts:
        yield from (piece for piece in _decoded(source, reading) if piece)
