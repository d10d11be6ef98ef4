"""Where a run's text comes from: files, folders, stdin, the catalogue."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli.options import fetch_corpus
from charrnn.cli.terminal import Terminal

if TYPE_CHECKING:
    from charrnn.runs.checkpoint import Checkpoint
    from charrnn.text.corpus import Corpus
    from charrnn.text.sources import Source


@dataclass(frozen=True)
class Origin:
    """Where a run's text came from, so that ``--resume`` finds it again."""

    texts: list[str]
    glob: str = "*"
    encoding: str = "utf-8"
    byte_level: bool = False
    newlines: str = "lf"

    @classmethod
    def from_dict(cls, saved: dict[str, Any], given: list[str] | None) -> Origin:
        """What a run recorded; texts that are given now stand for those it names. Raises ConfigError."""
        from charrnn.errors import ConfigError

        try:
            origin = cls(**saved)
            if not isinstance(origin.texts, list) or not all(isinstance(text, str) for text in origin.texts):
                raise TypeError("texts")
        except TypeError as error:
            raise ConfigError(f"--resume: the run does not say how its text was read: {error}") from error
        if given:
            return replace(origin, texts=given)
        if "-" in origin.texts:
            raise ConfigError("--resume: this run read its text from stdin: pipe it in again, with TEXT -")
        return origin

    def lasting(self) -> dict[str, Any]:
        """What a checkpoint records: files by their absolute paths, so that any folder will do to resume."""
        texts = ["-" if _is_pipe(text) else text for text in self.texts]
        texts = [os.path.abspath(text) if os.path.exists(text) else text for text in texts]
        return asdict(replace(self, texts=texts))

    @property
    def run_name(self) -> str:
        """A run's name, from the first text's."""
        first = self.texts[0] if self.texts else "python-stdlib"
        stem = "stdin" if first == "-" or _is_pipe(first) else os.path.basename(os.path.abspath(first))
        stem = re.sub(r"\.(gz|bz2|xz)$", "", stem, flags=re.IGNORECASE)
        stem = Path(stem).stem if Path(stem).stem else stem
        return re.sub(r"[^\w.-]+", "-", stem).strip(".-") or "run"


def read_corpus(
    out: Terminal,
    origin: Origin,
    folder: Path,
    stack: ExitStack,
    begin: Checkpoint | None = None,
    advice: str | None = None,
) -> Corpus:
    """The text as ids, from files, stdin or the catalogue; with the symbols of the model to begin from.

    ``advice`` is for whoever gives bytes that are not in the encoding. Raises CharrnnError.
    """
    from charrnn.errors import CorpusError
    from charrnn.text import catalog
    from charrnn.text.corpus import open_corpus
    from charrnn.text.sources import Reading, sources, spooled

    reading = Reading(origin.encoding, origin.byte_level, origin.newlines)
    if advice is not None:
        reading = replace(reading, advice=advice)
    given = origin.texts or [catalog.DEFAULT]
    if given.count("-") > 1:
        raise CorpusError("TEXT: - stands twice, but there is one standard input")
    texts: list[Source] = []
    for path in given:
        if path == "-":
            texts.append(stack.enter_context(spooled(out.stdin)))
        elif not Path(path).exists() and path in catalog.entries():
            entry = catalog.entry(path)
            found = catalog.local(entry, folder)
            texts += found if found is not None else sources([fetch_corpus(out, entry, folder)])
        elif _is_pipe(path):
            with Path(path).open("rb") as pipe:
                texts.append(stack.enter_context(spooled(pipe, path)))
        else:
            texts += sources([path], origin.glob)
    title = "standard input" if given[0] == "-" else Path(given[0]).name
    if len(given) > 1:
        title += f" and {len(given) - 1} more"
    bars: dict[str, Any] = {}

    def progress(what: str, characters: int) -> None:
        if what not in bars:
            bars[what] = stack.enter_context(out.bar(desc=what, unit="char", unit_scale=True, delay=1))
        bars[what].update(characters)

    known = begin.header.vocabulary.symbols if begin else ""
    corpus = open_corpus(texts, title, reading, known=known, progress=progress)
    for bar in bars.values():
        bar.close()
    if begin is not None:
        new = sorted(set(corpus.vocabulary.symbols) - set(known))
        what = f"new rows for {' '.join(map(repr, new))}" if new else "no new characters"
        out.note(f"from   {begin.path}: its {len(known)} symbols stay, {what}")
    return corpus


def _is_pipe(path: str) -> bool:
    """Whether this can be read only once, as a named pipe or a process substitution."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
