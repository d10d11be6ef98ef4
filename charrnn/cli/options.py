"""What several commands ask for in the same words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.terminal import Terminal

if TYPE_CHECKING:
    from charrnn.inference.network import Ids
    from charrnn.text.catalog import Entry
    from charrnn.text.vocabulary import Vocabulary


def terminal(context: typer.Context) -> Terminal:
    """The terminal a command talks to."""
    found = context.find_root().obj
    assert isinstance(found, Terminal)
    return found


def checkpoints_folder(given: Path | None) -> Path:
    """--checkpoints, else $CHARRNN_CHECKPOINTS, else ./checkpoints."""
    return given or Path(os.environ.get("CHARRNN_CHECKPOINTS") or "checkpoints")


def corpora_folder(given: Path | None) -> Path:
    """--corpora, else $CHARRNN_CORPORA, else ./corpora."""
    return given or Path(os.environ.get("CHARRNN_CORPORA") or "corpora")


def one_thread() -> None:
    """One stream needs no more threads of NumPy's: to be called before NumPy is imported.

    Idle cores would halve a step of 512 units; but where other processes keep them busy, the
    threads wait for each other, and a step takes some hundred times as long (benchmarks/RESULTS.md).
    $OMP_NUM_THREADS wins.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


CheckpointArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A checkpoint's file, a run's folder or its name; none: the newest run.",
        show_default=False,
    ),
]
CheckpointsOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints",
        metavar="DIR",
        help="Where runs are kept. Default: $CHARRNN_CHECKPOINTS, else ./checkpoints.",
        show_default=False,
    ),
]
CorporaOption = Annotated[
    Path | None,
    typer.Option(
        "--corpora",
        metavar="DIR",
        help="Where the catalogue's texts are kept. Default: $CHARRNN_CORPORA, else ./corpora.",
        show_default=False,
    ),
]


def lines(pairs: Iterable[tuple[str, object]]) -> bytes:
    """Names and values, aligned, a line each."""
    rows = list(pairs)
    width = max((len(name) for name, _ in rows), default=0)
    return "".join(f"{name:<{width}}  {value}\n" for name, value in rows).encode("utf-8", "replace")


def read_units(out: Terminal, vocabulary: Vocabulary, path: str) -> Iterator[str]:
    """A text for a model, in pieces: a file's, or stdin's for "-".

    It is read as training reads, but that carriage returns stay where the model knows them; at
    byte level a character stands for a byte. Raises CorpusError.
    """
    from charrnn.errors import CorpusError
    from charrnn.text.sources import Reading, Source, characters, sources

    keep = vocabulary.byte_level or "\r" in vocabulary.symbols
    reading = Reading(
        byte_level=vocabulary.byte_level, newlines="keep" if keep else "lf", advice="it must be UTF-8"
    )
    if Path(path).is_dir():
        raise CorpusError(f"{path} is a folder: give one file, or -")
    given = [Source("standard input", lambda: out.stdin)] if path == "-" else sources([path])
    return characters(given, reading)


def read_ids(out: Terminal, vocabulary: Vocabulary, path: str) -> Iterator[Ids]:
    """The same as ids, in pieces (N,). Raises CorpusError, UnknownCharacterError."""
    before = 0
    for piece in read_units(out, vocabulary, path):
        yield vocabulary.encode_units(piece, before)
        before += len(piece)


def fetch_corpus(out: Terminal, entry: Entry, folder: Path) -> Path:
    """A catalogue's text downloaded or built, with a bar. Raises DownloadError."""
    from charrnn.text import catalog

    with out.bar(desc=entry.name, unit="B", unit_scale=True, total=entry.size) as bar:

        def progress(further: int, total: int | None) -> None:
            if total is not None:
                bar.total = total
            bar.update(further)

        path = catalog.fetch(entry, folder, progress)
    if entry.url and entry.sha256 is None:
        out.note(
            f"{entry.name}: the catalogue knows no SHA-256 for it; this one is kept in {entry.name}.sha256"
        )
    return path
