"""The texts that commands read: files, folders, stdin, and texts of the catalogue."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from charrnn.cli.terminal import Terminal
from charrnn.errors import CharrnnError, ConfigError, CorpusError, did_you_mean
from charrnn.files import is_pipe, write_errors
from charrnn.origin import Origin

if TYPE_CHECKING:
    from charrnn.conditions import Condition
    from charrnn.inference.network import Ids
    from charrnn.runs.checkpoint import Header
    from charrnn.text.catalog import Entry
    from charrnn.text.corpus import Corpus
    from charrnn.text.documents import Division
    from charrnn.text.sources import Reading, Source
    from charrnn.text.vocabulary import Vocabulary


def input_file(
    out: Terminal, given: str, option: str, copies: ExitStack | None = None, tensors: bool = False
) -> Path:
    """The path that ``option`` gives, or a temporary copy of stdin ("-") or of a pipe.

    The copy is deleted with ``copies``, or when the command ends. With ``tensors``, for checkpoints and
    states, no more is copied than a safetensors file says that it holds.
    Raises ConfigError, and CharrnnError when stdin or the pipe is empty or the copy cannot be written.
    """
    if given != "-" and not is_pipe(given):
        return Path(given)
    import shutil
    from tempfile import TemporaryDirectory

    from charrnn.runs.piped import copy_tensors

    copy_all = copy_tensors if tensors else shutil.copyfileobj
    name = "standard input" if given == "-" else given
    copy = Path((copies or out.cleanup).enter_context(TemporaryDirectory(prefix="charrnn-")), Path(name).name)
    with out.take_stdin(option) if given == "-" else open(given, "rb") as pipe:
        advice = "; set $TMPDIR to another folder"
        with write_errors(copy.parent.parent, CharrnnError, advice), copy.open("wb") as file:
            copy_all(pipe, file)
    if not copy.stat().st_size:
        raise CharrnnError(f"{option}: {name} is empty: pipe something in, or name a file")
    return copy


def read_corpus(
    out: Terminal,
    origin: Origin,
    folder: Path,
    known: str = "",
    advice: str | None = None,
    option: str = "TEXT",
    known_values: Sequence[Condition] = (),
) -> Corpus:
    """The text as ids, over a vocabulary that holds the ``known`` symbols too, and labels ``known_values``.

    folder  where the catalogue's texts are
    option  what gives the texts
    advice  what to do about bytes that are not in the encoding; None: the usual advice

    Raises CharrnnError.
    """
    from charrnn.text import catalog
    from charrnn.text.corpus import open_corpus
    from charrnn.text.document_files import open_documents
    from charrnn.text.documents import Division
    from charrnn.text.sources import Reading

    reading = Reading(origin.encoding, origin.byte_level, origin.newlines)
    if advice is not None:
        reading = replace(reading, advice=advice)
    texts = origin.texts or [catalog.DEFAULT]
    if texts.count("-") > 1:
        raise ConfigError(f"{option}: give - only once, there is one standard input")
    title = "standard input" if texts[0] == "-" else Path(texts[0]).name
    if len(texts) > 1:
        title += f" and {len(texts) - 1} more"
    bar = cache(lambda task: out.bar(desc=task, unit="char", unit_scale=True, delay=1))
    with ExitStack() as copies:  # the temporary copies of piped texts
        opened = [
            source
            for text in texts
            for source in _open(out, text, origin.glob, reading, folder, option, copies)
        ]
        division = Division.of_origin(origin)

        def progress(task: str, count: int) -> None:
            bar(task).update(count)

        if division is None:
            corpus: Corpus = open_corpus(opened, title, reading, known=known, progress=progress)
        else:
            corpus = open_documents(
                opened, title, division, reading, known, known_values=known_values, progress=progress
            )
    out.end_bars()
    return corpus


def recorded_division(header: Header) -> Division | None:
    """How the text of a model was divided into documents; None for a model of one long text."""
    from charrnn.text.documents import Division

    if not header.vocabulary.documents:
        return None
    return (Division.of_origin(Origin.from_record(header.origin)) if header.origin else None) or Division(
        "line"
    )


def _open(
    out: Terminal, text: str, glob: str, reading: Reading, folder: Path, option: str, copies: ExitStack
) -> list[Source]:
    """The sources of one text. Raises CorpusError, ConfigError, DownloadError."""
    from charrnn.text import catalog
    from charrnn.text.sources import Source, skipped_text, sources, typed_text

    if text == "-" or is_pipe(text):
        copy = input_file(out, text, option, copies)
        return [Source("standard input" if text == "-" else text, lambda: copy.open("rb"))]
    if not Path(text).exists():
        if entry := catalog.entries().get(text):
            return catalog.local_sources(entry, folder) or sources([fetch_corpus(out, entry, folder)])
        hint = did_you_mean(text, catalog.entries()) or typed_text(Path(text))
        raise CorpusError(f"no file or folder {text}{hint}")
    return sources(
        [text], glob, reading, lambda path, skipped: out.note(f"skipped in {path}: {skipped_text(skipped)}")
    )


def fetch_corpus(out: Terminal, entry: Entry, folder: Path) -> Path:
    """Download or build a text of the catalogue, with a progress bar; its path. Raises DownloadError."""
    from charrnn.text import catalog

    with out.bar(desc=entry.name, unit="B", unit_scale=True, total=entry.size) as bar:

        def progress(size: int, total: int | None) -> None:
            bar.total = total or bar.total
            bar.update(size)

        path = catalog.download(entry, folder, progress)
    if entry.url and entry.sha256 is None:
        out.note(
            f"{entry.name}: the catalogue has no SHA-256 for it;"
            f" the download's is kept in {entry.name}.sha256 and checked from now on"
        )
    return path


def read_units(
    out: Terminal,
    vocabulary: Vocabulary,
    path: str,
    option: str = "TEXT",
    advice: str = "the text must be UTF-8",
    keep_invalid: bool = False,
) -> Iterator[str]:
    """The characters of a file, or of stdin for "-", in chunks; at byte level one character is one byte.

    The arguments and errors are those of ``open_text``.
    """
    from charrnn.text.sources import characters

    source, reading = open_text(out, vocabulary, path, option, advice, keep_invalid)
    return characters([source], reading)


def open_text(
    out: Terminal,
    vocabulary: Vocabulary,
    path: str,
    option: str = "TEXT",
    advice: str = "the text must be UTF-8",
    keep_invalid: bool = False,
) -> tuple[Source, Reading]:
    """A file, or stdin for "-", and how it is read for a vocabulary.

    The text is read as for training, but carriage returns stay if the vocabulary holds them.

    option        what gives the path
    advice        what to do about bytes that are not UTF-8
    keep_invalid  such bytes become surrogates instead of an error

    Raises CorpusError, ConfigError.
    """
    from charrnn.text.sources import Reading, Source, sources

    newlines = "keep" if vocabulary.byte_level or "\r" in vocabulary.symbols else "lf"
    reading = Reading(
        byte_level=vocabulary.byte_level,
        newlines=newlines,
        invalid="surrogateescape" if keep_invalid else "strict",
        advice=advice,
    )
    if Path(path).is_dir():
        raise CorpusError(f"{path} is a folder: give one file, or -")
    stdin = Source("standard input", lambda: cast(BinaryIO, _AsItArrives(out.take_stdin(option))))
    return stdin if path == "-" else sources([path])[0], reading


class _AsItArrives(io.RawIOBase):
    """A stream whose ``read`` returns what has arrived, instead of waiting for the number of bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        read = getattr(self._stream, "read1", self._stream.read)  # a raw stream has no read1 and needs none
        return bytes(read(size))


def read_ids(out: Terminal, vocabulary: Vocabulary, path: str) -> Iterator[Ids]:
    """The ids of a file, or of stdin for "-", in chunks (N,), in the order in which the model reads them.

    Raises CorpusError, UnknownCharacterError.
    """

    def chunks() -> Iterator[Ids]:
        position = 0
        for chunk in read_units(out, vocabulary, path):
            yield vocabulary.encode_units(chunk, position)
            position += len(chunk)

    return vocabulary.pieces_reversed_if_backward(chunks())
