"""``inspect-cell --errors``: the model's errors, and the oracles that remove them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli import curves
from charrnn.cli.inspect_input import Subject
from charrnn.cli.options import find_checkpoint, threads
from charrnn.cli.score_part import note_learned_texts, part_of_text
from charrnn.cli.table import Row, write_figures
from charrnn.cli.terminal import Terminal
from charrnn.errors import CharrnnError, ConfigError

if TYPE_CHECKING:
    from collections import Counter

    from matplotlib.figure import Figure

    from charrnn.inspection.oracles import Peeling
    from charrnn.runs.checkpoint import Checkpoint

BAR_WIDTH = 12
"""Columns of the longest bar in a terminal."""


def write(out: Terminal, subject: Subject, options: dict[str, Any]) -> None:
    """Write how many errors each oracle removes. Raises ConfigError without a text."""
    if subject.vocabulary.documents:
        raise ConfigError("--errors reads one long text, and this model reads documents: leave it out")
    from charrnn.inference.predictor import predictor
    from charrnn.inspection.oracles import peel

    if options["text"] is None and not out.stdin_unread:
        raise ConfigError("--errors needs a text that the model did not learn: give it as TEXT")
    ngram = _ngram(out, subject, options)
    models = [subject.checkpoint, *([ngram] if ngram else [])]
    note_learned_texts(out, models, [options["text"] or "-"], advice="")
    words = _training_words(out, subject, options)
    pieces = chain([subject.text.before], subject.pieces())
    ids = subject._replace(text=subject.text._replace(pieces=pieces)).ids(out)
    total = (len(ids) - 1) * len(models)
    with out.bar(desc="scoring", unit="char", unit_scale=True, total=total, delay=1) as bar:
        model = predictor(ngram) if ngram else None
        peeling = peel(subject.inference, model, subject.vocabulary, ids, words, threads(), bar.update)
    rows = _rows(peeling)
    if out.stdout_tty and not options["as_json"]:
        longest = max(row["share"] for row in rows) or 1
        write_figures(out, [{**row, "": _bar(row["share"] / longest)} for row in rows])
    else:
        write_figures(out, rows, options["as_json"])
    sentence = _sentence(peeling)
    out.note(sentence)
    title = f"{subject.name} on {Path(subject.text.name).name}: {sentence}"
    curves.save_pictures(out, options["png"], options["svg"], title, lambda figure: _plot(figure, rows))


def _bar(share: float) -> str:
    """A share of BAR_WIDTH columns."""
    whole, eighths = divmod(round(8 * BAR_WIDTH * share), 8)
    return "█" * whole + "▏▎▍▌▋▊▉"[eighths - 1 : eighths]


def _rows(peeling: Peeling) -> list[Row]:
    """A row for each oracle; the bits are shared by all characters of the text."""
    removed = peeling.removed
    total = sum(part.errors for part in removed)
    return [
        {
            "oracle": part.oracle,
            "removed": part.errors,
            "share": part.errors / total if total else 0.0,
            "remaining": total - before,
            "bpc": part.nats / math.log(2) / peeling.characters,
        }
        for part, before in zip(removed, accumulate(part.errors for part in removed), strict=True)
    ]


def _sentence(peeling: Peeling) -> str:
    """How many errors there are, and how much of the loss they are."""
    errors, nats = sum(part.errors for part in peeling.removed), sum(part.nats for part in peeling.removed)
    scale = math.log(2) * peeling.characters
    return (
        f"{errors:,} of {peeling.characters:,} characters are errors, with a probability below 0.5;"
        f" their loss is {nats / scale:.4f} of {peeling.nats / scale:.4f} bits per character"
    )


def _ngram(out: Terminal, subject: Subject, options: dict[str, Any]) -> Checkpoint | None:
    """The n-gram model that --ngram names, or the one beside the run.

    Without either, returns None and prints a note. Raises CharrnnError for a model that does not fit.
    """
    from charrnn.config import NgramConfig
    from charrnn.inference.mixture import check_vocabularies
    from charrnn.runs.checkpoint import load
    from charrnn.runs.find import model_name, ngram_beside

    if options["ngram"] is not None:
        path = find_checkpoint(out, options["ngram"], options["checkpoints"], "--ngram")
    else:
        beside = ngram_beside(subject.checkpoint.path, subject.checkpoint.header)
        if beside is None:
            out.note(f"without an n-gram model, its oracle is left out; add {_ngram_option(subject)}")
            return None
        path = beside
    checkpoint = load(path)
    name = model_name(path)
    if not isinstance(checkpoint.header.model, NgramConfig):
        raise ConfigError(f"--ngram {name}: this is a network; `charrnn ngram TEXT` makes an n-gram model")
    check_vocabularies([subject.name, name], [subject.vocabulary, checkpoint.header.vocabulary])
    return checkpoint


def _ngram_option(subject: Subject) -> str:
    """The option, with the command that makes the n-gram model of the network's training text."""
    header = subject.checkpoint.header
    texts: Sequence[str] = header.origin.get("texts") or [header.corpus.get("name", "TEXT")]
    split = ",".join(f"{share:g}" for share in header.training.split)
    as_bytes = ["--bytes"] if subject.vocabulary.byte_level else []
    return f'--ngram "$({shlex.join(["charrnn", "ngram", *texts, "--split", split, *as_bytes])})"'


def _training_words(out: Terminal, subject: Subject, options: dict[str, Any]) -> Counter[str] | None:
    """How often each word occurs in the training text; None with a note where that text is missing.

    Raises CharrnnError where --training-text names a wrong one.
    """
    from charrnn.inspection.oracles import count_words

    given = [options["training_text"]] if options["training_text"] else []
    try:
        text, *_ = part_of_text(
            out, [subject.checkpoint], "training", given, options["corpora"], "--training-text TEXT"
        )
    except CharrnnError as error:
        if given:
            raise
        out.note(f"the oracle of rare words is left out: {error}")
        return None
    (ids,) = text.pieces
    return count_words(subject.vocabulary, ids)


def _plot(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw a bar for each oracle, the first one at the top."""
    axes = figure.subplots()
    names = [row["oracle"] for row in rows]
    bars = axes.barh(names, [100 * row["share"] for row in rows])
    axes.bar_label(bars, [f"{row['share']:.1%}" for row in rows], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.01)
    axes.set_xlabel("share of the errors (%)")
    axes.grid(axis="x", alpha=0.3)
