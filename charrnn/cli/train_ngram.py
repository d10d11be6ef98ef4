"""``charrnn train --with-ngram``: the n-gram model of the same text, and the mixture of both."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli import mixtures
from charrnn.cli.terminal import Stopped, Terminal
from charrnn.cli.train_command import kept_options, pipe_again, resume_command
from charrnn.cli.train_screen import screen
from charrnn.errors import CharrnnError

if TYPE_CHECKING:
    from charrnn.runs.checkpoint import Header
    from charrnn.text.corpus import Corpus


def add_ngram(out: Terminal, best: Path, corpus: Corpus, options: dict[str, Any]) -> Path:
    """Make the n-gram model beside a trained network, or find it, and print the losses of both and mixed.

    best     the network's best checkpoint; its text is ``corpus``
    options  those of the command, by name

    Returns the n-gram model's run folder. Raises CharrnnError, and Stopped at Ctrl-C.
    """
    from charrnn.runs.checkpoint import read_header
    from charrnn.runs.find import ngram_beside

    header = read_header(best)
    try:
        before = ngram_beside(best, header)
        path = before or _build(out, best, header, corpus)
        counted = "counted earlier" if before else "counted now"
        screen(out).facts({"n-gram": f"{path.parent.name}, {counted}"})
        _print_losses(out, [best, path], corpus, options["corpora"])
    except KeyboardInterrupt:
        texts = header.origin["texts"]
        command = resume_command(texts, best.parent, *kept_options(options))
        message = f"Ctrl-C: the network is saved; for the n-gram model{pipe_again(texts)}: {command}"
        raise Stopped(message, 130) from None
    except CharrnnError as error:
        raise type(error)(f"the network is saved, {shlex.quote(str(best))}; but {error}") from error
    return path.parent


def _build(out: Terminal, best: Path, header: Header, corpus: Corpus) -> Path:
    """Count the n-grams of the network's training part, and save them as a run. Raises CheckpointError."""
    from charrnn.inference import ngram_build
    from charrnn.runs.new_run import new_run_folder

    run, shares = best.parent, header.training.split
    train, validation, _ = corpus.splits(shares)
    bar = out.bar(desc="counting n-grams", unit=" orders", delay=0.5)
    fitted = ngram_build.fit(
        corpus.ids[train.start : train.stop],
        corpus.ids[validation.start : validation.stop],
        len(corpus.vocabulary),
        tried=lambda trial: bar.update(),
        boundary=corpus.vocabulary.boundary,
    )
    out.end_bars()
    with new_run_folder(run.parent, None, f"{run.name}-ngram") as lock:
        path = ngram_build.save(lock.folder, fitted, corpus, shares, header.origin)
        before = best.stat().st_mtime - 1
        os.utime(path, (before, before))  # the network is still the newest run
        return path


def _print_losses(out: Terminal, paths: list[Path], corpus: Corpus, corpora: Path) -> None:
    """Print the validation losses of the network, of the n-gram model and of their mixture."""
    from charrnn.inference.mixture import mixture_of
    from charrnn.runs.checkpoint import load

    loaded = [load(path) for path in paths]
    try:
        fitted = mixtures.found(out, loaded, mixture_of(loaded), corpora, corpus)
    except mixtures.NoWeights as error:
        fact = f"equal weights: {error}"
    else:
        network, ngram = fitted.losses
        title = loaded[1].header.model.title
        fact = f"validation {fitted.loss:.4f}; the network alone {network:.4f}, the {title} model {ngram:.4f}"
    screen(out).facts({"mixed": fact})
