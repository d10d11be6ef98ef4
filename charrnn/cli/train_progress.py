"""What a person sees of a training, and how they stop it."""

from __future__ import annotations

import shlex
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from charrnn.cli.options import checkpoints_folder
from charrnn.cli.terminal import Stopped, Terminal

if TYPE_CHECKING:
    from charrnn.runs.history import Report
    from charrnn.training.train import Progress, Training


BAR = "{desc} {percentage:3.0f}%|{bar}| {remaining} left, {rate_fmt}{postfix}"


def stopped(training: Training, number: int) -> Stopped:
    run = training.folder
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    where = "" if run.parent == checkpoints_folder(None) else f" --checkpoints {shlex.quote(str(run.parent))}"
    piped = "-" in training.origin.get("texts", [])
    text, again = ("- ", " with the text piped in again") if piped else ("", "")
    return Stopped(
        f"{name}: saved at step {training.step} of {training.steps};"
        f" charrnn train {text}--resume {shlex.quote(run.name)}{where} goes on{again}",
        128 + number,
    )


def announce(out: Terminal, training: Training, device: str) -> None:
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
            f"the text is short: {batches.streams} streams and windows of {batches.bptt},"
            f" not {config.streams} and {config.bptt}"
        )
    if not learner.validation_part:
        out.note("the text is too short for a validation part: the best model is the one that fits it best")


def advance(bar: Any, now: Progress, characters_per_step: float) -> None:
    """Move the bar to where training is."""
    from charrnn.training.train import bits

    bar.total = round(now.steps * characters_per_step)
    bar.set_description(f"epoch {now.epoch:.2f}", refresh=False)
    bar.set_postfix_str(f"loss {now.nats:.3f}, {bits(now.nats):.3f} bpc", refresh=False)
    bar.update(round(now.step * characters_per_step) - bar.n)


def tell(out: Terminal, report: Report) -> None:
    """A line for each report, and what the model writes by now."""
    validation = (
        ""
        if report.validation_nats is None
        else (
            f"  validation {report.validation_nats:.4f} ({report.validation_bpc:.3f} bpc)"
            f"{' best' if report.best else ''}"
        )
    )
    out.note(
        f"step {report.step}/{report.steps}  epoch {report.epoch:.2f}"
        f"  train {report.train_nats:.4f}{validation}"
        f"  {report.characters_per_second:,.0f} char/s  {report.seconds:,.0f} s"
    )
    for line in report.sample.strip().splitlines():
        printable = "".join(c if c.isprintable() else "\ufffd" for c in line)
        out.note(f"    | {printable}")


@contextmanager
def new_run_folder(out: Terminal, runs: Path, name: str | None, proposed: str) -> Iterator[Path]:
    """A new run's folder, made here and now, so that it is this run's alone; gone again if nothing is saved.

    A run is never written over: a ``name`` that is taken is refused, a ``proposed`` one is numbered.
    Raises ConfigError, CheckpointError.
    """
    from charrnn.errors import CheckpointError, ConfigError

    folder, number = runs / (name or proposed), 1
    while True:
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError as error:
            if name is not None:
                raise ConfigError(taken(runs, name)) from error
            number += 1
            folder = runs / f"{proposed}-{number}"
        except OSError as error:
            raise CheckpointError(f"cannot write {folder}: {error.strerror or error}") from error
    if number > 1:
        out.note(f"run {proposed} exists; this one is {folder.name}")
    try:
        yield folder
    finally:
        if folder.exists() and not any(path.suffix == ".safetensors" for path in folder.iterdir()):
            shutil.rmtree(folder)


def taken(runs: Path, name: str) -> str:
    """What is said of a name that a run has."""
    return (
        f"a run called {name} is in {runs}: go on with it by --resume {name},"
        " or start anew under another --name"
    )


def _stops() -> list[signal.Signals]:
    """What asks a process to end: Ctrl-C, kill, and a terminal that closes."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


@contextmanager
def stop_on_signals(training: Training) -> Iterator[list[int]]:
    """The first Ctrl-C, SIGTERM or SIGHUP ends the run after the step in hand; a second ends it at once."""
    caught: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        training.stop = True
        for each in before:
            signal.signal(each, signal.SIG_DFL if each != signal.SIGINT else signal.default_int_handler)

    before = {number: signal.getsignal(number) for number in _stops()}
    for number in before:
        signal.signal(number, stop)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
