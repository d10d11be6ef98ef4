"""Text sources -> memory-mapped ids; splits.

Reading is in two streaming passes at constant memory: the first finds the hash and the
symbols, the second writes ids. The ids are cached under the hash of the *text*, so a changed
file is never served stale, and the same text from another file, newline convention or
compression is found again.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import shutil
import tempfile
import tokenize
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from charrnn.errors import CorpusError
from charrnn.files import replacing
from charrnn.vocab import CODE_POINTS, UNKNOWN, Vocabulary, code_points

CHUNK = 1 << 20
CACHE_LIMIT = 8 << 30
"""Bytes of cached ids beyond which the least recently used go."""

_OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

STALE_SECONDS = 24 * 3600.0
"""The age from which on a half-written file is nobody's any more."""


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


@dataclass(frozen=True)
class Corpus:
    """A text as ids, and where its splits begin.

    ids     (characters,) memory-mapped, of the vocabulary's ``id_dtype``
    sha256  of the text as the model reads it (decoded, newlines settled), in UTF-8, or
            of the bytes
    """

    ids: NDArray[np.unsignedinteger]
    vocabulary: Vocabulary
    sha256: str
    name: str

    def splits(self, shares: tuple[float, float, float]) -> tuple[range, range, range]:
        """Contiguous training, validation and test parts, as ranges of positions.

        Raises CorpusError when the training part has no room for a target.
        """
        count, whole = len(self.ids), sum(shares)
        first = int(count * shares[0] / whole + 1e-9)
        second = int(count * (shares[0] + shares[1]) / whole + 1e-9)
        if first < 2 <= count:  # a handful of characters: all of them train
            first = second = count
        if first < 2:
            raise CorpusError(
                f"{self.name}: in {count} character{'s' if count != 1 else ''} there is nothing to predict:"
                " give it at least 2"
            )
        return range(first), range(first, second), range(second, count)


def open_corpus(
    texts: Sequence[Source],
    name: str,
    reading: Reading | None = None,
    cache: Path | None = None,
    known: str = "",
    progress: Callable[[str, int], None] = lambda what, characters: None,
) -> Corpus:
    """Read texts into a Corpus, from the cache where it has been read before.

    ``known`` are symbols that the vocabulary is to hold besides the text's. ``progress`` is told what is
    done, and how many characters further it is. Raises CorpusError.
    """
    reading, cache = reading or Reading(), cache or cache_folder()
    digest, count, plain = hashlib.sha256(), 0, reading.plain
    seen = np.zeros(CODE_POINTS, np.bool_)
    for piece in characters(texts, reading):
        digest.update(piece.encode(plain, "surrogatepass"))
        seen[code_points(piece)] = True
        count += len(piece)
        progress("reading", len(piece))
    if not count:
        raise CorpusError(f"{name}: the text is empty")
    seen[code_points(known)] = True
    vocabulary = Vocabulary("".join(map(chr, np.flatnonzero(seen))), reading.byte_level)
    key = hashlib.sha256(
        f"{digest.hexdigest()} {reading.byte_level} {vocabulary.symbols!r}".encode()
    ).hexdigest()
    path = cache / f"{key[:32]}.npy"
    ids = _cached(path, count, vocabulary)
    if ids is None:
        try:
            if _encode(texts, reading, path, count, vocabulary, progress) != digest.hexdigest():
                path.unlink(missing_ok=True)
                raise CorpusError(f"{name} changed while it was read: try again")
        except OSError as error:
            raise CorpusError(
                f"cannot write the encoded text to {cache}: {error.strerror or error};"
                " $CHARRNN_CACHE names another folder"
            ) from error
        ids = _cached(path, count, vocabulary)
        if ids is None:
            raise CorpusError(f"the encoded text has vanished from {cache}: try again")
    return Corpus(ids, vocabulary, digest.hexdigest(), name)


def cache_folder() -> Path:
    """Where encoded texts are kept: $CHARRNN_CACHE, or the user's cache folder."""
    given = os.environ.get("CHARRNN_CACHE")
    return Path(given) if given else user_cache_path("charrnn", appauthor=False)


def _cached(path: Path, count: int, vocabulary: Vocabulary) -> NDArray[np.unsignedinteger] | None:
    """The memory-mapped ids, or None where there are none, or not these."""
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError):
        return None
    with contextlib.suppress(OSError):  # a shared cache may be read-only
        os.utime(path)  # the least recently used go first
    ids = np.asarray(mapped)  # still mapped, without np.memmap's price at every slice
    return ids if ids.shape == (count,) and ids.dtype == vocabulary.id_dtype else None


def _encode(
    texts: Sequence[Source],
    reading: Reading,
    path: Path,
    count: int,
    vocabulary: Vocabulary,
    progress: Callable[[str, int], None],
) -> str:
    """Write the ids; the hash of the text they were made from, which may have changed meanwhile."""
    digest, plain = hashlib.sha256(), reading.plain
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {
        "descr": np.lib.format.dtype_to_descr(vocabulary.id_dtype),
        "fortran_order": False,
        "shape": (count,),
    }
    with replacing(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for piece in characters(texts, reading):
            digest.update(piece.encode(plain, "surrogatepass"))
            ids = vocabulary.lookup(code_points(piece))
            if ids.min() == UNKNOWN:
                break
            file.write(ids.astype(vocabulary.id_dtype).tobytes())
            progress("encoding", len(piece))
    _prune(path)
    return digest.hexdigest()


def _prune(keep: Path) -> None:
    """Delete the least recently used ids beyond CACHE_LIMIT, never ``keep``."""
    with contextlib.suppress(OSError):  # another process may be pruning too
        entries = [(entry.stat(), entry) for entry in keep.parent.glob("*.npy")]
        total = 0
        for left in keep.parent.glob(".*.npy.*"):  # a process that was killed while it wrote
            if left.stat().st_mtime < keep.stat().st_mtime - STALE_SECONDS:
                left.unlink(missing_ok=True)
        for stat, entry in sorted(entries, key=lambda pair: -pair[0].st_mtime):
            total += stat.st_size
            if total > CACHE_LIMIT and entry != keep:
                entry.unlink(missing_ok=True)
