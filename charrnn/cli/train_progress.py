"""A training's progress on the terminal, its run's folder, and the signals that stop it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from charrnn.cli.terminal import Stopped, Terminal
from charrnn.cli.train_command import kept_options, pipe_again, resume_command
from charrnn.cli.train_screen import screen

if TYPE_CHECKING:
    from charrnn.conditions import Condition
    from charrnn.config import ModelConfig, TrainConfig
    from charrnn.runs.history import Report
    from charrnn.training.train import Training

BAR = "{percentage:3.0f}% {bar} {remaining} left, {rate_fmt}{postfix}"
TIMING = "timing a few steps ..."


def _architecture(model: ModelConfig) -> str:
    """The network in words, without the number of its parameters."""
    parts = [model.title, f"embedding {model.embedding or 'one-hot'}"]
    parts += ["residual"] if model.residual else []
    parts += ["readout of all layers"] if model.readout == "all" else []
    parts += [f"attention over {model.attention} characters"] if model.attention else []
    return ", ".join(parts)


def announce(out: Terminal, training: Training, device: str) -> None:
    """Print what is trained: text, model, budget, device, run."""
    from charrnn.runs import parameters

    learner, corpus, config = training.learner, training.corpus, training.config
    model = learner.model.config
    size = len(corpus.vocabulary)
    facts = {
        "text": f"{corpus.name}: {corpus.description(config.split)}",
        "model": f"{_architecture(model)}: {parameters.count(model, size):,} parameters",
        "budget": budget(config) + (f"; it continues after step {training.step:,}" if training.step else ""),
        "device": device,
        "run": str(training.folder),
    }
    if model.documents:
        counted = "characters of the texts, without prompts," if config.loss == "text" else "characters"
        facts["loss"] = f"nats per character: {counted} and the END of each document"
    if model.conditions:
        steps = "every character" if model.condition == "every" else "START alone"
        facts["labels"] = f"{', '.join(map(_condition_text, model.conditions))}; read with {steps}"
    screen(out).facts(facts)
    if learner.data.shortened:
        out.note(learner.data.shortened)
    whole, read = len(learner.validation_part), len(learner.validated)
    if read < whole:
        out.note(
            f"each report validates on the first {read:,} of the {whole:,} characters of the validation part;"
            " charrnn score --part validation reads all of them"
        )
    if not whole:
        out.note("no validation part: the best checkpoint is the one with the lowest training loss")
    if training.done:
        out.note(f"this run ended at step {training.step}: nothing is left to train")


def _condition_text(condition: Condition) -> str:
    """A label or a vector, and how many values or numbers it has."""
    from charrnn.conditions import Label

    kind = "values" if isinstance(condition, Label) else "numbers"
    return f"{condition.name} ({condition.inputs - 1:,} {kind})"  # one input is for missing ones


def budget(config: TrainConfig) -> str:
    """The limits of a training, in words."""
    limits = {"minute": config.minutes, "epoch": config.epochs, "step": config.steps}
    words = [f"{count:,g} {unit}{'' if count == 1 else 's'}" for unit, count in limits.items() if count]
    if config.patience is not None:
        words.append(f"{config.patience} reports without progress")
    return " or ".join(words) + (", whichever comes first" if len(words) > 1 else "")


def follow(out: Terminal, training: Training, write_events: Callable[[Report], None] | None) -> None:
    """Run the training and show its progress, notices and reports; ``write_events`` gets each report."""
    from charrnn.training.train import Notice, Progress

    shown = screen(out)
    bar = out.bar(unit="char", unit_scale=True, smoothing=0.05, bar_format=TIMING)
    for event in training.run():
        if isinstance(event, Progress):
            bar.bar_format = BAR
            bar.total = round(event.steps * training.characters_per_step)
            bar.set_postfix_str(f"epoch {event.epoch:.2f}, loss {event.nats:.3f}", refresh=False)
            bar.update(round(event.step * training.characters_per_step) - bar.n)
        elif isinstance(event, Notice):
            out.note(event.text)
        else:
            shown.report(event)
            if write_events is not None:
                write_events(event)
    out.end_bars()


@contextmanager
def stop_on_signals(training: Training, options: dict[str, Any]) -> Iterator[list[int]]:
    """Context manager: the signals received. The first ends the run after its step, a second the process.

    Before the first step there is nothing to save, and the first signal ends the run at once. ``options``
    are those of the command, by name.
    """
    received: list[int] = []
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, kill, a terminal that is closed (not on Windows)
    signals = [getattr(signal, name) for name in names if hasattr(signal, name)]

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if not training.planned:
            raise unsaved(number, training, options)
        training.stop = True
        for other in signals:
            signal.signal(other, signal.default_int_handler if other == signal.SIGINT else signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield received
    except KeyboardInterrupt:  # the second
        raise unsaved(signal.SIGINT, training, options) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped(training: Training, number: int, options: dict[str, Any]) -> Stopped:
    """The message and exit status of a run that a signal stopped; the message says how to continue.

    ``options`` are those of the command, by name.
    """
    texts = training.origin["texts"]
    command = resume_command(texts, training.folder, *kept_options(options))
    return Stopped(
        f"{_signal_name(number)}: saved at step {training.step} of {training.steps};"
        f" to continue{pipe_again(texts)}: {command}",
        128 + number,
    )


def unsaved(number: int, training: Training | None = None, options: dict[str, Any] | None = None) -> Stopped:
    """The message and exit status of a run that a signal stopped before it could save."""
    from charrnn.runs.checkpoint import LAST

    message = f"{_signal_name(number)}: stopped before the first save, nothing is kept"
    if training and (training.folder / LAST).exists():
        more = kept_options(options) if options else []
        command = resume_command(training.origin["texts"], training.folder, *more)
        message = f"{_signal_name(number)}: stopped without saving; to continue from the last save: {command}"
    return Stopped(message, 128 + number)


def _signal_name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
