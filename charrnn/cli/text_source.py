"""The text of a run: from files, folders, stdin and the catalogue."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.cli.terminal import Terminal
from charrnn.errors import ConfigError, CorpusError, did_you_mean
from charrnn.files import is_pipe
from charrnn.origin import Origin

if TYPE_CHECKING:
    from charrnn.text.catalog import Entry
    from charrnn.text.corpus import Corpus
    from charrnn.text.sources import Reading, Source


def read_corpus(
    out: Terminal,
    origin: Origin,
    folder: Path,
    known: str = "",
    advice: str | None = None,
    option: str = "TEXT",
) -> Corpus:
    """The text as ids, over a vocabulary that holds the ``known`` symbols too.

    folder  where the catalogue's texts are
    option  what gives the texts
    advice  what to do about bytes that are not in the encoding; None: the usual advice

    Raises CharrnnError.
    """
    from charrnn.text import catalog
    from charrnn.text.corpus import open_corpus
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
        corpus = open_corpus(
            opened, title, reading, known=known, progress=lambda task, count: bar(task).update(count)
        )
    out.end_bars()
    return corpus


def _open(
    out: Terminal, text: str, glob: str, reading: Reading, folder: Path, option: str, copies: ExitStack
) -> list[Source]:
    """The sources of one text. Raises CorpusError, ConfigError, DownloadError."""
    from charrnn.text import catalog
    from charrnn.text.sources import skipped_text, sources, spooled

    if text == "-":
        source = copies.enter_context(spooled(out.take_stdin(option)))
        if not next(source.blocks(), b""):
            raise CorpusError(
                "standard input is empty: pipe a text in, or name one: charrnn train python-stdlib"
            )
        return [source]
    if is_pipe(text):
        with open(text, "rb") as pipe:
            return [copies.enter_context(spooled(pipe, text))]
    if not Path(text).exists():
        if entry := catalog.entries().get(text):
            return catalog.local_sources(entry, folder) or sources([fetch_corpus(out, entry, folder)])
        raise CorpusError(f"no file or folder {text}{did_you_mean(text, catalog.entries())}")
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
