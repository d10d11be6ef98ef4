"""``charrnn ngram``: count the n-grams of a text, and print the path of the model's checkpoint."""

from __future__ import annotations

import math
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli import train_options as option
from charrnn.cli.options import CORPORA, RUNS, CheckpointsOption, CorporaOption, QuietOption
from charrnn.cli.options import option as common_option
from charrnn.cli.table import size_text
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import read_corpus
from charrnn.cli.train_command import sample_command
from charrnn.cli.train_plan import check_effect
from charrnn.cli.train_progress import unsaved
from charrnn.cli.train_screen import screen
from charrnn.config import BY_HEART, NgramConfig
from charrnn.origin import Origin

if TYPE_CHECKING:
    from charrnn.inference.ngram_build import Fitted, Trial
    from charrnn.text.corpus import Corpus

Order = Annotated[
    int | None,
    common_option(
        "Length of the longest n-grams.",
        default="chosen on the validation part",
        metavar="N",
    ),
]


def ngram(
    context: typer.Context,
    text: option.Texts = None,
    name: Annotated[
        str | None,
        common_option(
            "Name of the run.",
            default="the text's name and -ngram, with a number if that run exists",
            metavar="NAME",
            parser=option.parse_name,
        ),
    ] = None,
    checkpoints: CheckpointsOption = RUNS,
    order: Order = None,
    quiet: QuietOption = False,
    split: option.Split = option.SPLIT,
    glob: option.Glob = "*",
    encoding: option.Encoding = "utf-8",
    as_bytes: option.Bytes = False,
    newlines: option.Newlines = None,
    documents: option.Documents = None,
    corpora: CorporaOption = CORPORA,
) -> None:
    """Make an n-gram model of a text, without training. On stdout, print only its checkpoint's path.

    An n-gram model predicts each character from the few before it (interpolated modified Kneser-Ney). It is
    ready in seconds. `charrnn sample NETWORK NGRAM` mixes it with a network: a better model than either.

    Examples:
      charrnn ngram notes.txt
      charrnn sample "$(charrnn ngram tinyshakespeare)" | head -c 300
      zcat logs/*.gz | charrnn ngram --name logs-ngram --order 8
      charrnn ngram tunes.jsonl --documents json
    """
    from charrnn.inference import ngram_build
    from charrnn.runs.new_run import is_free, new_run_folder, run_exists

    out: Terminal = context.obj
    out.stdin_advice = "give - as TEXT to learn it"
    if order is not None:
        NgramConfig(order)  # raises ConfigError
    check_effect(context)
    if name is not None and not is_free(checkpoints / name):
        raise run_exists(checkpoints / name)
    texts = text or (["-"] if out.stdin_unread else [])
    origin = Origin(texts, glob, encoding, as_bytes, newlines or "", documents or "")
    try:
        corpus = read_corpus(out, origin, corpora)
        out.note_unread_stdin()
        shares = _shares(context, corpus)
        fitted = _fit(out, corpus, shares, order)
        default = f"{origin.run_name}-ngram"
        with new_run_folder(checkpoints, name, default) as lock:
            run = lock.folder
            path = ngram_build.save(run, fitted, corpus, shares, origin.record())
    except KeyboardInterrupt:
        raise unsaved(signal.SIGINT) from None
    if run.name != (name or default):
        out.note(f"run {default} exists: this run is called {run.name}")
    count = sum(len(level.keys) for level in fitted.model.levels)
    title = NgramConfig(fitted.model.order).title
    facts = {"model": f"{title}: {count:,} n-grams, {size_text(path.stat().st_size)}", "run": str(run)}
    screen(out).facts(facts)
    out.note(f"to sample: {sample_command(run)}")
    out.write_path(path)


def _shares(context: typer.Context, corpus: Corpus) -> tuple[float, float, float]:
    """The shares of the split: those given; by default no validation part where the text is too short."""
    from charrnn.config import TrainConfig

    given = context.get_parameter_source("split")
    if len(corpus.ids) < BY_HEART and given and given.name == "DEFAULT":
        return 100.0, 0.0, 0.0
    return TrainConfig(split=context.params["split"]).split


def _fit(out: Terminal, corpus: Corpus, shares: tuple[float, float, float], order: int | None) -> Fitted:
    """The model of the training part, with facts on stderr. Raises CorpusError."""
    from charrnn.inference import ngram_build
    from charrnn.inference.ngram_counts import longest_ngram

    shown, boundary = screen(out), corpus.vocabulary.boundary
    shown.facts({"text": f"{corpus.name}: {corpus.description(shares)}"})
    train, validation = (corpus.ids[part.start : part.stop] for part in corpus.splits(shares)[:2])
    if order is None and not len(validation):
        order = ngram_build.DEFAULT_ORDER
        out.note(f"no validation part to choose the order on: order {order} (--order gives another)")
    if order is not None and order > (longest := longest_ngram(train, boundary)):
        text, characters = "the training part", longest
        if boundary is not None:
            text = "the longest document of the training part, with START and END,"
        unit = "character" if characters == 1 else "characters"
        out.note(f"{text} has {characters} {unit}: order {longest} instead of {order}")
        order = longest
    total = None if order is None else order * len(train)
    bar = out.bar(desc="counting", unit="char", unit_scale=True, total=total, delay=1)

    def tried(trial: Trial) -> None:
        shown.facts({"order": f"{trial.model.order:<2} {_loss(trial.nats)}"})

    fitted = ngram_build.fit(
        train,
        validation,
        len(corpus.vocabulary),
        order,
        tried,
        progress=lambda characters: bar.update(characters),
        boundary=boundary,
    )
    out.end_bars()
    if order is not None and fitted.validation_nats is not None:
        shown.facts({"order": f"{order:<2} {_loss(fitted.validation_nats)}"})
    return fitted


def _loss(nats: float) -> str:
    return f"validation {nats:.4f} ({nats / math.log(2):.3f} bpc)"
