"""Options and helpers that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.terminal import Terminal
from charrnn.errors import CorpusError

if TYPE_CHECKING:
    from charrnn.inference.network import Ids
    from charrnn.text.vocabulary import Vocabulary

CheckpointArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A checkpoint file, a run's folder or its name. Default: the newest run.",
        show_default=False,
    ),
]
CheckpointsOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints",
        metavar="DIR",
        help="Folder of the runs. Default: $CHARRNN_CHECKPOINTS, else ./checkpoints.",
        show_default=False,
    ),
]
CorporaOption = Annotated[
    Path | None,
    typer.Option(
        "--corpora",
        metavar="DIR",
        help="Folder of the catalogue's texts. Default: $CHARRNN_CORPORA, else ./corpora.",
        show_default=False,
    ),
]


def panel(title: str) -> Callable[..., Any]:
    """A function that makes options; the help lists them under ``title``."""

    def option(description: str, *names: str, **settings: Any) -> Any:
        return typer.Option(*names, help=description, rich_help_panel=title, **settings)

    return option


def terminal(context: typer.Context) -> Terminal:
    """The terminal that ``main`` handed to the command."""
    result = context.find_root().obj
    assert isinstance(result, Terminal)
    return result


def checkpoints_folder(given: Path | None) -> Path:
    """--checkpoints, else $CHARRNN_CHECKPOINTS, else ./checkpoints."""
    return given or Path(os.environ.get("CHARRNN_CHECKPOINTS") or "checkpoints")


def corpora_folder(given: Path | None) -> Path:
    """--corpora, else $CHARRNN_CORPORA, else ./corpora."""
    return given or Path(os.environ.get("CHARRNN_CORPORA") or "corpora")


def one_thread() -> None:
    """Let NumPy use one thread; call it before NumPy is imported.

    With idle cores more threads would halve a step of 512 units. Where other processes keep the
    cores busy, the threads wait for each other, and a step takes about a hundred times as long
    (benchmarks/RESULTS.md). $OMP_NUM_THREADS overrides this.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def lines(pairs: Iterable[tuple[str, object]]) -> bytes:
    """One line per name and value, with the values aligned."""
    rows = list(pairs)
    width = max((len(name) for name, _ in rows), default=0)
    return "".join(f"{name:<{width}}  {value}\n" for name, value in rows).encode("utf-8", "replace")


def read_units(out: Terminal, vocabulary: Vocabulary, path: str) -> Iterator[str]:
    """The characters of a file, or of stdin for "-", in chunks; at byte level one character is one byte.

    The text is read as for training, but carriage returns stay if the vocabulary holds them.
    Raises CorpusError.
    """
    from charrnn.text.sources import Reading, Source, characters, sources

    keep = vocabulary.byte_level or "\r" in vocabulary.symbols
    reading = Reading(
        byte_level=vocabulary.byte_level, newlines="keep" if keep else "lf", advice="it must be UTF-8"
    )
    if Path(path).is_dir():
        raise CorpusError(f"{path} is a folder: give one file, or -")
    texts = [Source("standard input", lambda: out.stdin)] if path == "-" else sources([path])
    return characters(texts, reading)


def read_ids(out: Terminal, vocabulary: Vocabulary, path: str) -> Iterator[Ids]:
    """What ``read_units`` reads, as ids in chunks (N,). Raises CorpusError, UnknownCharacterError."""
    position = 0
    for chunk in read_units(out, vocabulary, path):
        yield vocabulary.encode_units(chunk, position)
        position += len(chunk)
