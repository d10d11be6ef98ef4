"""A training's progress on the terminal, its run's folder, and the signals that stop it."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from charrnn.cli.options import CORPORA
from charrnn.cli.terminal import Stopped, Terminal
from charrnn.cli.text_source import resume_command
from charrnn.files import user_folder

if TYPE_CHECKING:
    from charrnn.runs.history import Report
    from charrnn.training.train import Training

BAR = "{desc} {percentage:3.0f}%|{bar}| {remaining} left, {rate_fmt}{postfix}"


def announce(out: Terminal, training: Training, device: str) -> None:
    """Print what is trained: text, model, device, folder."""
    from charrnn.runs import parameters

    learner, corpus, config = training.learner, training.corpus, training.config
    model, batches = learner.model.config, learner.batches
    size = len(corpus.vocabulary)
    out.note(
        f"text   {corpus.name}: {len(corpus.ids):,} characters, {size} symbols;"
        f" {len(learner.train_part):,} train, {len(learner.validation_part):,} validate"
    )
    out.note(
        f"model  {model.cell} {model.layers} x {model.hidden}, embedding {model.embedding or 'one-hot'}:"
        f" {parameters.count(model, size):,} parameters; {device}"
    )
    out.note(f"run    {training.folder}")
    if (batches.streams, batches.bptt) != (config.streams, config.bptt):
        out.note(
            f"short text: {batches.streams} streams and windows of {batches.bptt} characters,"
            f" instead of {config.streams} and {config.bptt}"
        )
    if not learner.validation_part:
        out.note("no validation part: the best checkpoint is the one with the lowest training loss")
    if training.done:
        out.note(f"this run ended at step {training.step}: nothing is left to train")


def follow(out: Terminal, training: Training, write_events: Callable[[Report], None] | None) -> None:
    """Run the training and show its progress, notices and reports; ``write_events`` gets each report."""
    from charrnn.training.train import Notice, Progress, bits

    bar = out.bar(unit="char", unit_scale=True, smoothing=0.05, bar_format=BAR)
    for event in training.run():
        if isinstance(event, Progress):
            bar.total = round(event.steps * training.characters_per_step)
            bar.set_description(f"epoch {event.epoch:.2f}", refresh=False)
            bar.set_postfix_str(f"loss {event.nats:.3f}, {bits(event.nats):.3f} bpc", refresh=False)
            bar.update(round(event.step * training.characters_per_step) - bar.n)
        elif isinstance(event, Notice):
            out.note(event.text)
        else:
            _print_report(out, event)
            if write_events is not None:
                write_events(event)
    out.end_bars()


def _print_report(out: Terminal, report: Report) -> None:
    """Print a report: one line of figures, then the sample."""
    validation = ""
    if report.validation_nats is not None:
        validation = f"  validation {report.validation_nats:.4f} ({report.validation_bpc:.3f} bpc)"
        validation += " best" if report.best else ""
    out.note(
        f"step {report.step}/{report.steps}  epoch {report.epoch:.2f}"
        f"  train {report.train_nats:.4f}{validation}"
        f"  {report.characters_per_second:,.0f} char/s  {report.seconds:,.0f} s"
    )
    for line in report.sample.strip().splitlines():
        out.note(f"    | {line}")


@contextmanager
def stop_on_signals(training: Training) -> Iterator[list[int]]:
    """Context manager: the signals received. The first ends the run after its step, a second the process."""
    received: list[int] = []
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, kill, a terminal that is closed (not on Windows)
    signals = [getattr(signal, name) for name in names if hasattr(signal, name)]

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        training.stop = True
        for other in signals:
            signal.signal(other, signal.default_int_handler if other == signal.SIGINT else signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped(training: Training, number: int, corpora: Path) -> Stopped:
    """The message and exit status of a run that a signal stopped; the message says how to continue."""
    texts = training.origin["texts"]
    command = resume_command(texts, training.folder)
    if corpora != user_folder(str(CORPORA)):
        command += f" --corpora {shlex.quote(str(corpora))}"
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    piped = ", pipe the text in again" if "-" in texts else ""
    return Stopped(
        f"{name}: saved at step {training.step} of {training.steps}; to continue{piped}: {command}",
        128 + number,
    )
