"""The text of a run: from files, folders, stdin and the catalogue."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli.options import RUNS, is_pipe
from charrnn.cli.terminal import Terminal
from charrnn.errors import CheckpointError, ConfigError, CorpusError, did_you_mean
from charrnn.files import user_folder

if TYPE_CHECKING:
    from charrnn.text.catalog import Entry
    from charrnn.text.corpus import Corpus
    from charrnn.text.sources import Reading, Source


@dataclass(frozen=True)
class Origin:
    """Where the text of a run comes from; checkpoints record it, so that --resume finds the text again.

    texts   files, folders, catalogue names, or "-" for stdin; none: the catalogue's default
    """

    texts: list[str]
    glob: str = "*"
    encoding: str = "utf-8"
    byte_level: bool = False
    newlines: str = "lf"

    @classmethod
    def from_record(
        cls, record: dict[str, Any], texts: list[str] | None, run: Path, piped: bool = False
    ) -> Origin:
        """The origin that a run recorded; ``texts``, if any, replace its texts.

        Raises CheckpointError, and ConfigError when the run read stdin, and no text is ``piped`` in.
        """
        try:
            origin = cls(**record)
            if not isinstance(origin.texts, list) or not all(isinstance(text, str) for text in origin.texts):
                raise TypeError("texts")
        except TypeError as error:
            raise CheckpointError(f"--resume: the run does not say how its text was read: {error}") from error
        if texts:
            return replace(origin, texts=texts)
        if "-" in origin.texts and not piped:
            command = resume_command(origin.texts, run)
            raise ConfigError(f"--resume: this run read stdin; pipe the text in again: {command}")
        return origin

    def record(self) -> dict[str, Any]:
        """What a checkpoint records: absolute paths, so that a run can be resumed from any folder."""
        texts = ["-" if is_pipe(text) else text for text in self.texts]
        texts = [os.path.abspath(text) if os.path.exists(text) else text for text in texts]
        return asdict(replace(self, texts=texts))

    @property
    def run_name(self) -> str:
        """The default name of a run on this text: the name of its first file."""
        first = self.texts[0] if self.texts else "python-stdlib"
        stem = "stdin" if first == "-" or is_pipe(first) else os.path.basename(os.path.abspath(first))
        stem = re.sub(r"\.(gz|bz2|xz)$", "", stem, flags=re.IGNORECASE)
        return re.sub(r"[^\w.-]+", "-", Path(stem).stem).strip(".-") or "run"


def default_runs() -> Path:
    """The folder of the runs where --checkpoints is not given."""
    return Path(os.environ.get("CHARRNN_CHECKPOINTS") or user_folder(str(RUNS)))


def run_reference(run: Path) -> str:
    """A run's name if it lies in the default folder, else its path: what --resume and sample take."""
    return run.name if run.parent.absolute() == default_runs().absolute() else str(run)


def resume_command(texts: Sequence[str], run: Path, *options: str) -> str:
    """The command that resumes a run; the texts are repeated only if stdin is among them."""
    repeated = texts if "-" in texts else ()
    return shlex.join(["charrnn", "train", *repeated, "--resume", run_reference(run), *options])


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
