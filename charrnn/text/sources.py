"""Text sources (files, folders, pipes), and the characters that are read from them."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

from charrnn.errors import ConfigError, CorpusError, wrong_value

CHUNK = 1 << 20
"""Bytes that are read at once."""
SNIFFED = 1 << 13
"""Bytes at the start of a file that decide whether it is binary."""
RUN_FILES = {"model.safetensors", "last.safetensors"}
"""A folder with one of these files is the folder of a run (BEST and LAST of ``runs.checkpoint``)."""

KINDS = ("run folder", "hidden folder", "hidden file", "outward link", "binary file")
Skipped = Counter[str]
"""How many of each of the KINDS were skipped in a folder. An outward link leads out of the folder."""

_OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a pair that stands for one character: two halves in a vocabulary would become one in a header."""


@dataclass(frozen=True)
class Reading:
    """How bytes become characters.

    newlines  "lf": CRLF and lone CR become LF; "keep": they stay
    invalid   for bytes that are not in the encoding: "strict": an error; "surrogateescape": a surrogate each
    advice    what a user can do about such bytes
    """

    encoding: str = "utf-8"
    byte_level: bool = False
    newlines: str = "lf"
    invalid: str = "strict"
    advice: str = (
        "name its encoding (--encoding latin-1), learn bytes (--bytes), or leave it out (--glob '*.txt')"
    )

    def __post_init__(self) -> None:
        try:
            with contextlib.suppress(UnicodeError):
                b"a".decode(self.encoding)  # fails for codecs such as hex, which give no text
            codecs.getincrementaldecoder(self.encoding)
        except (LookupError, ValueError) as error:
            rule = "a text encoding that Python knows, such as utf-8 or latin-1"
            raise ConfigError(wrong_value("--encoding", self.encoding, rule)) from error
        if self.newlines not in ("lf", "keep"):
            raise ConfigError(wrong_value("--newlines", self.newlines, "lf or keep"))

    @property
    def has_nul_in_text(self) -> bool:
        """Whether a zero byte can be part of a text, as in UTF-16."""
        return self.byte_level or b"\0".decode(self.encoding, "replace") != "\0"

    def to_bytes(self, characters: str) -> bytes:
        """The bytes by which a text is hashed: UTF-8, or at byte level the bytes themselves."""
        return characters.encode("latin-1" if self.byte_level else "utf-8", "surrogatepass")


@dataclass(frozen=True)
class Source:
    """One text: its name in messages, and a function that opens its bytes, unpacked, at the start."""

    name: str
    open: Callable[[], IO[bytes]]

    def blocks(self) -> Iterator[bytes]:
        """The bytes, CHUNK at a time. Raises CorpusError."""
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


def sources(
    paths: Sequence[str | Path],
    glob: str = "*",
    reading: Reading | None = None,
    skip: Callable[[Path, Skipped], None] = lambda folder, skipped: None,
) -> list[Source]:
    """Each file as it is given; for each folder its ``text_files``, of which ``skip`` hears what is left out.

    Raises CorpusError for a path that is empty or does not exist and for a folder without a text.
    """
    if "" in paths:  # Path("") is the current folder
        raise CorpusError("the path of a text is empty: name a file or a folder")
    result: list[Source] = []
    for path in map(Path, paths):
        if path.is_dir():
            files, skipped = text_files(path, glob, reading or Reading())
            if not files:
                left_out = f"; skipped: {skipped_text(skipped)}" if skipped else ""
                raise CorpusError(f"folder {path} holds no file that matches --glob {glob}{left_out}")
            if skipped:
                skip(path, skipped)
            result += map(file_source, files)
        elif path.exists():
            result.append(file_source(path))
        else:
            raise CorpusError(f"no file or folder {path}{typed_text(path)}")
    return result


def typed_text(path: Path) -> str:
    """The end of a message where a missing path looks like words; "" otherwise."""
    return "; to read these words themselves, pipe them in with echo" if " " in str(path) else ""


def skipped_text(skipped: Skipped) -> str:
    """What was skipped, as "1 run folder, 3 hidden files"."""
    counts = ((kind, skipped[kind]) for kind in KINDS if skipped[kind])
    return ", ".join(f"{count:,} {kind}{'' if count == 1 else 's'}" for kind, count in counts)


def text_files(folder: Path, glob: str, reading: Reading) -> tuple[list[Path], Skipped]:
    """The sorted files at any depth that match ``glob``, and how many others were skipped.

    Run folders are skipped; so are hidden files and folders, unless a part of ``glob`` begins with a dot,
    links that lead out of the folder, and binary files, unless ``glob`` chooses the files or a text may hold
    zero bytes. Links to folders are not followed.

    Raises CorpusError for an unreadable folder, ConfigError for a bad pattern.
    """

    def refuse(error: OSError) -> None:
        raise CorpusError(f"cannot read folder {error.filename}: {error.strerror}")

    def leads_out(path: Path) -> bool:
        return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(top)

    top = os.path.realpath(folder)  # resolve() raises RuntimeError for a link to itself
    with_hidden = any(part.startswith(".") for part in Path(glob).parts)
    with_binary = glob != "*" or reading.has_nul_in_text
    files: list[Path] = []
    skipped = Skipped()
    for root, folders, names in os.walk(folder, onerror=refuse):
        if RUN_FILES & set(names):
            skipped["run folder"] += 1
            folders.clear()
            continue
        if not with_hidden:
            shown = [name for name in folders if not name.startswith(".")]
            skipped["hidden folder"] += len(folders) - len(shown)
            folders[:] = shown
        skipped["outward link"] += sum(leads_out(Path(root, name)) for name in folders)
        for path in _matching(Path(root), names, glob):
            if path.name.startswith(".") and not with_hidden:
                skipped["hidden file"] += 1
            elif leads_out(path):
                skipped["outward link"] += 1
            elif not with_binary and _is_binary(path):
                skipped["binary file"] += 1
            else:
                files.append(path)
    return sorted(files), +skipped  # without the kinds that were met 0 times


def _matching(folder: Path, names: Sequence[str], glob: str) -> Iterator[Path]:
    """The files in a folder that match. Raises ConfigError for a bad pattern."""
    try:
        yield from (path for name in names if (path := folder / name).match(glob) and path.is_file())
    except ValueError as error:
        raise ConfigError(wrong_value("--glob", glob, "a pattern such as '*.txt'")) from error


def _is_binary(path: Path) -> bool:
    """Whether a file, unpacked, has a zero byte near its start, or is a PDF, which may lack one there."""
    try:
        with file_source(path).open() as file:
            start = file.read(SNIFFED)
    except (OSError, EOFError, lzma.LZMAError, zlib.error):
        return False  # reading the text will say why
    return b"\0" in start or start.startswith(b"%PDF-")


def characters(texts: Sequence[Source], reading: Reading) -> Iterator[str]:
    """All characters of all texts, one text after the other, in pieces that are not empty.

    At byte level the character with code point b stands for byte b. Raises CorpusError.
    """
    for source in texts:
        yield from filter(None, _decoded(source, reading))


def _decoded(source: Source, reading: Reading) -> Iterator[str]:
    """The characters of one text, without a byte order mark. Raises CorpusError with a bad byte's offset."""
    encoding = "latin-1" if reading.byte_level else reading.encoding
    decoder = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder(encoding)(reading.invalid), translate=reading.newlines == "lf"
    )
    size, at_start = 0, not reading.byte_level
    for block in chain(source.blocks(), [b""]):
        size += len(block)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            offset = size - len(error.object) + error.start  # the decoder may hold bytes of earlier blocks
            raise CorpusError(
                f"{source.name}: byte 0x{error.object[error.start]:02X} at offset {offset}"
                f" is not {encoding}; {reading.advice}"
            ) from error
        except UnicodeError as error:  # "UTF-16 stream does not start with BOM"
            raise CorpusError(f"{source.name}: not {encoding}: {error}") from error
        if reading.invalid == "strict" and (
            half := _SURROGATE.search(text)
        ):  # utf-7 and unicode_escape give it
            raise CorpusError(f"{source.name} holds U+{ord(half[0]):04X}, half of a character: remove it")
        if at_start and text:
            at_start, text = False, text.removeprefix("\ufeff")
        yield text
