"""Options and helpers that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.terminal import Terminal
from charrnn.errors import CorpusError

if TYPE_CHECKING:
    from charrnn.inference.network import Ids
    from charrnn.text.vocabulary import Vocabulary


def panel(title: str = "Options") -> Callable[..., Any]:
    """A function that makes options; the help lists them under ``title``."""

    def option(description: str, *names: str, **settings: Any) -> Any:
        return typer.Option(*names, help=description, rich_help_panel=title, **settings)

    return option


option = panel()


def _folder(description: str, variable: str) -> Any:
    """An option for a folder that an environment variable can set too."""
    return option(
        f"{description}; ${variable} sets it too.", metavar="DIR", envvar=variable, show_envvar=False
    )


CheckpointArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="CHECKPOINT", help="A checkpoint file, a run's folder or its name. Default: the newest run."
    ),
]
TextArgument = Annotated[
    str | None, typer.Argument(metavar="TEXT|-", help="The text to read: a file, or - for stdin.")
]
CheckpointsOption = Annotated[Path, _folder("Folder of the runs", "CHARRNN_CHECKPOINTS")]
CorporaOption = Annotated[Path, _folder("Folder of the catalogue's texts", "CHARRNN_CORPORA")]
RUNS, CORPORA = Path("checkpoints"), Path("corpora")
"""The defaults of --checkpoints and --corpora."""


def one_thread() -> None:
    """Let NumPy use one thread; call it before NumPy is imported.

    With idle cores more threads would halve a step of 512 units. Where other processes keep the
    cores busy, the threads wait for each other, and a step takes about a hundred times as long
    (benchmarks/RESULTS.md). $OMP_NUM_THREADS overrides this.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def read_units(out: Terminal, vocabulary: Vocabulary, path: str) -> Iterator[str]:
    """The characters of a file, or of stdin for "-", in chunks; at byte level one character is one byte.

    The text is read as for training, but carriage returns stay if the vocabulary holds them.
    Raises CorpusError.
    """
    from charrnn.text.sources import Reading, Source, characters, sources

    newlines = "keep" if vocabulary.byte_level or "\r" in vocabulary.symbols else "lf"
    reading = Reading(byte_level=vocabulary.byte_level, newlines=newlines, advice="the text must be UTF-8")
    if Path(path).is_dir():
        raise CorpusError(f"{path} is a folder: give one file, or -")
    texts = [Source("standard input", lambda: out.stdin)] if path == "-" else sources([path])
    return characters(texts, reading)


def read_ids(out: Terminal, vocabulary: Vocabulary, path: str) -> Iterator[Ids]:
    """The ids of a file, or of stdin for "-", in chunks (N,). Raises CorpusError, UnknownCharacterError."""
    position = 0
    for chunk in read_units(out, vocabulary, path):
        yield vocabulary.encode_units(chunk, position)
        position += len(chunk)
