"""The part of a run's own text that ``charrnn score --part`` scores."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.cli.terminal import Terminal
from charrnn.cli.text_reader import Text
from charrnn.cli.text_source import read_corpus
from charrnn.config import ModelConfig
from charrnn.errors import CheckpointError, ConfigError, CorpusError, DownloadError
from charrnn.files import is_pipe
from charrnn.origin import Origin

if TYPE_CHECKING:
    from charrnn.inference.network import Ids
    from charrnn.runs.checkpoint import Checkpoint
    from charrnn.text.document_corpus import DocumentCorpus

PARTS = ("training", "validation", "test")


def part_of_text(
    out: Terminal,
    loaded: Sequence[Checkpoint],
    part: str,
    texts: Sequence[str],
    corpora: Path,
    command: str | None = None,
) -> tuple[Text, DocumentCorpus | None, range]:
    """A part of the text of the run, which must be the text of all checkpoints.

    Of documents, also their corpus, and the positions of the part.

    ``texts`` has at most one text, which stands for the run's; without it the run's own is found where the
    checkpoint says. Error messages say how to give it: ``command``, by default that of ``score``.
    Raises ConfigError, CorpusError.
    """
    from charrnn.inference.sample import opening_ids
    from charrnn.runs.find import model_name
    from charrnn.text.document_corpus import DocumentCorpus

    header, name = loaded[0].header, model_name(loaded[0].path)
    known = (header.corpus.get("sha256"), header.training.split)
    for other in loaded[1:]:
        if (other.header.corpus.get("sha256"), other.header.training.split) != known:
            raise ConfigError(
                f"--part: {model_name(other.path)} learned another text, or another part of it, than {name}"
            )
    command = command or f"charrnn score {shlex.quote(name)} --part {part} TEXT"
    origin = _origin(loaded[0], name, texts, command)
    values = header.model.conditions if isinstance(header.model, ModelConfig) else ()
    try:
        corpus = read_corpus(out, origin, corpora, header.vocabulary.symbols, known_values=values)
    except (CorpusError, DownloadError) as error:
        raise error if texts else CorpusError(f"the text of {name}: {error}; give it: {command}") from error
    corpus = corpus.in_direction(header.vocabulary.backward)
    if corpus.sha256 != header.corpus.get("sha256"):
        raise CorpusError(
            f"{corpus.name} is not the text that {name} learned (SHA-256 {corpus.sha256[:12]}, the run's"
            f" {str(header.corpus.get('sha256'))[:12]}); give it: {command}"
        )
    positions = corpus.splits(header.training.split)[PARTS.index(part)]
    if not positions:
        split = ",".join(f"{share:g}" for share in header.training.split)
        raise CorpusError(f"{name} has no {part} part: it was trained with --split {split}")
    ids = corpus.ids[positions.start : positions.stop]
    before: Ids = corpus.ids[positions.start - 1 : positions.start]
    if not positions.start:  # the model begins to read the text with this part
        before = opening_ids(corpus.vocabulary)
    documents = corpus if isinstance(corpus, DocumentCorpus) else None
    return Text(f"{corpus.name}, {part} part", [ids], before, len(ids)), documents, positions


def note_learned_texts(
    out: Terminal,
    loaded: Sequence[Checkpoint],
    texts: Sequence[str],
    advice: str = "; --part test scores a part that it did not learn",
) -> None:
    """Say which texts a model has learned: their scores are not those of new texts.

    The ``advice`` is given where the model has a test part.
    """
    from charrnn.runs.find import model_name

    for checkpoint in loaded:
        record, name = checkpoint.header.origin, model_name(checkpoint.path)
        with suppress(CheckpointError):  # only a part of the text needs the origin
            learned = Origin.from_record(record).texts if record else []
            for text in texts:
                if any(_same_file(text, other) for other in learned):
                    has_test = checkpoint.header.training.split[2] > 0
                    out.note(
                        f"{name} learned {text}, so a new text would have a higher loss"
                        f"{advice if has_test else ''}"
                    )


def _same_file(one: str, other: str) -> bool:
    """Whether two names are those of one file or folder."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def _origin(checkpoint: Checkpoint, name: str, texts: Sequence[str], command: str) -> Origin:
    """Where the text is: what the checkpoint says, or a text of the catalogue. Raises ConfigError."""
    from charrnn.text import catalog

    record, byte_level = checkpoint.header.origin, checkpoint.header.vocabulary.byte_level
    if texts:
        origin = Origin.from_record(record) if record else Origin([])
        newlines = origin.newlines if record else ""
        return replace(origin, texts=list(texts), byte_level=byte_level, newlines=newlines)
    if not record and checkpoint.header.corpus.get("name") in catalog.entries():
        return Origin([checkpoint.header.corpus["name"]], byte_level=byte_level)
    if not record:
        raise ConfigError(f"{name} does not say where its text is; give it: {command}")
    origin = Origin.from_record(record)
    for text in origin.texts:
        if text == "-" or is_pipe(text):  # a pipe of the same name may wait for ever
            source = "standard input" if text == "-" else "a pipe"
            raise ConfigError(f"{name} learned a text from {source}; give it: {command}")
    return origin
