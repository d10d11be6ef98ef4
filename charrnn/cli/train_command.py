"""Command lines of ``charrnn train`` that messages suggest: they work when they are pasted."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli.options import escape
from charrnn.config import BY_HEART, ModelConfig, TrainConfig
from charrnn.errors import CheckpointError
from charrnn.files import user_folder
from charrnn.origin import Origin

if TYPE_CHECKING:
    from charrnn.runs.checkpoint import Header
    from charrnn.training.train import Training

MODEL = ("cell", "layers", "embedding", "attention", "backward")
FIELDS = ("label", "vector")
TRAINING = (
    "epochs",
    "steps",
    "minutes",
    "patience",
    "streams",
    "bptt",
    "precision",
    "optimizer",
    "clip",
    "seed",
)


def train_command(
    model: ModelConfig,
    config: TrainConfig,
    origin: Origin,
    length: int,
    start: str | None = None,
    options: Sequence[str] = (),
) -> str:
    """The command of a new training with exactly these settings, on a text of ``length`` characters.

    ``start`` is the value of --from; ``options`` are appended.
    """
    words = ["charrnn", "train", *map(_short_path, origin.texts)]
    rates = {"lr": config.lr} | ({"muon": config.muon} if config.optimizer == "muon" else {})
    if start is None:
        defaults = TrainConfig(optimizer=config.optimizer)
        changed = {name: rate for name, rate in rates.items() if rate != getattr(defaults, name)}
        settings = _changed(model, MODEL) | _connections(model) | {"hidden": model.hidden} | changed
    else:
        settings = {"from": start} | rates
    settings |= {"dropout": config.dropout, "weight_drop": config.weight_drop}
    settings |= _changed(config, (*TRAINING, "save_every"))
    if config.split != TrainConfig.split or length < BY_HEART:
        settings["split"] = ",".join(map(_number, config.split))
    settings |= _changed(origin, ("glob", "encoding"))
    if origin.byte_level:
        words.append("--bytes")
    if origin.newlines != replace(origin, newlines="").newlines:
        settings["newlines"] = origin.newlines
    for name, value in settings.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", _number(value)]
    words += _document_options(model, config, origin)
    return shlex.join([*words, *options])


def _document_options(model: ModelConfig, config: TrainConfig, origin: Origin) -> list[str]:
    """The options of documents, labels and vectors."""
    settings = {"documents": escape(origin.documents)} if origin.documents else {}
    settings |= _changed(model, ("condition",)) if model.conditions else {}
    settings |= _changed(config, ("loss",)) | ({"label-by": origin.label_by} if origin.label_by else {})
    pairs = [*settings.items(), *(("label", name) for name in origin.labels)]
    pairs += [("vector", name) for name in origin.vectors]
    return [
        word for name, value in pairs for word in (f"--{name}", escape(value) if name in FIELDS else value)
    ]


def repeat_command(training: Training, origin: Origin, options: dict[str, Any]) -> str:
    """The command that repeats a new training exactly: the same steps, reports and weights.

    ``options`` are those of the command, by name.
    """
    from charrnn.training.budget import report_interval

    steps, interval = training.steps, training.state.report_every
    save_every = interval if interval != report_interval(steps) else None
    config = replace(training.config, epochs=None, minutes=None, steps=steps, save_every=save_every)
    more = [] if options["device"] == "auto" else ["--device", options["device"]]
    more += [*folder_option("checkpoints", options), *kept_options(options)]
    length = len(training.corpus.ids)
    model = training.learner.model.config
    return train_command(model, config, Origin(**origin.record()), length, options["start"], more)


def advise(run: Path, options: Sequence[str] = ()) -> tuple[str, str]:
    """The diagnosis of a run, and a line with the command that helps; "" if no command would help.

    ``options`` are appended to the command, as --corpora with its folder.
    """
    from charrnn.runs import history
    from charrnn.runs.checkpoint import LAST, read_header

    diagnosis = history.diagnosis(history.read(run))
    says = f"{diagnosis.says}{_beside(run)}"
    if diagnosis.remedy is None or not (run / LAST).exists():
        return says, ""
    header = read_header(run / LAST)
    record = header.origin
    if not record:  # a run that was not trained by the command line
        return says, ""
    origin = Origin.from_record(record)
    if diagnosis.remedy == "longer":
        command = longer_command(run, header, origin.texts, options)
        return says, f"to train longer{pipe_again(origin.texts)}: {command}"
    return says, _retrain(header, origin, options)


def _beside(run: Path) -> str:
    """The validation loss of the n-gram model of the run's text, as the end of a sentence; "" without one."""
    from charrnn.runs.checkpoint import BEST, read_header
    from charrnn.runs.find import ngram_beside

    if not (run / BEST).exists():
        return ""
    ngram = ngram_beside(run / BEST, read_header(run / BEST))
    if ngram is None:
        return ""
    if read_header(run / BEST).training.loss == "text":  # an n-gram model's loss is also that of the prompts
        return ""
    header = read_header(ngram)
    loss = header.results.get("validation_nats")
    return "" if loss is None else f"; {header.model.title} model: validation {loss:.3f}"


def longer_command(run: Path, header: Header, texts: Sequence[str], more: Sequence[str] = ()) -> str:
    """The command that trains a run on, for a budget of the same kind and size as its last one.

    ``more`` are further options.
    """
    config, state, results = header.training, header.resume or {}, header.results
    options = ["--minutes", _number(config.minutes)]
    if config.steps is not None:
        options = ["--steps", str(config.steps)]
    elif config.epochs is not None:
        steps = state.get("steps", 0) - state.get("stage_start", 0)
        epochs = steps * (results.get("epoch") or 0) / max(1, results.get("step", 0))
        if config.minutes is None or epochs > 0.99 * config.epochs:
            options = ["--epochs", _number(config.epochs)]
    return resume_command(texts, run, *options, *more)


def _retrain(header: Header, origin: Origin, options: Sequence[str]) -> str:
    """Advice to train a new run that overfits less; "" if its command is not known."""
    from charrnn.runs.find import find
    from charrnn.training.sizing import regularised

    start = header.parent["name"] if header.parent else None
    try:
        if start is not None:
            find(start, user_folder("checkpoints"))
    except CheckpointError:
        return ""
    model, config, change = regularised(header.network, header.training, fixed_width=start is not None)
    if not change:
        return ""
    length = (
        header.corpus.get("characters", 0) + header.corpus.get("documents", -1) + 1
    )  # ids, with boundaries
    command = train_command(model, config, origin, length, start, options)
    return f"to train again with {change}{pipe_again(origin.texts)}: {command}"


def resume_command(texts: Sequence[str], run: Path, *options: str) -> str:
    """The command that resumes a run; the texts are repeated only if stdin is among them."""
    repeated = texts if "-" in texts else ()
    return shlex.join(["charrnn", "train", *repeated, "--resume", run_reference(run), *options])


def sample_command(*runs: Path) -> str:
    """The command that samples from a run, or from a mixture of runs."""
    return shlex.join(["charrnn", "sample", *map(run_reference, runs)])


def run_reference(run: Path) -> str:
    """A run's name if it lies in the default folder, else its path: what --resume and sample take."""
    return run.name if run.parent.absolute() == user_folder("checkpoints").absolute() else str(run)


def folder_option(name: str, options: dict[str, Any]) -> list[str]:
    """--checkpoints or --corpora (``name``) as words of a command; [] where it is the default folder."""
    folder: Path = options[name]
    return [] if folder.absolute() == user_folder(name).absolute() else [f"--{name}", str(folder)]


def kept_options(options: dict[str, Any]) -> list[str]:
    """The options of a training that every later command for its run repeats, as words of a command."""
    with_ngram = ["--with-ngram"] if options.get("with_ngram") else []
    return [*with_ngram, *folder_option("corpora", options)]


def pipe_again(texts: Sequence[str]) -> str:
    """What precedes a command that reads stdin."""
    return ", pipe the text in again" if "-" in texts else ""


def _connections(model: ModelConfig) -> dict[str, Any]:
    """The connections of the layers, where they are not those that ``train`` chooses."""
    from charrnn.training.sizing import CONNECTIONS, connected

    usual = connected(model, CONNECTIONS)
    return {
        name: getattr(model, name) for name in CONNECTIONS if getattr(model, name) != getattr(usual, name)
    }


def _changed(config: Any, names: Sequence[str]) -> dict[str, Any]:
    """The settings with these names that differ from their defaults."""
    values = {name: getattr(config, name) for name in names}
    return {name: value for name, value in values.items() if value != getattr(type(config), name)}


def _number(value: object) -> str:
    """A value as an option takes it, without loss: 5.0 as 5."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _short_path(text: str) -> str:
    """A path below the current folder relative to it, and never like an option."""
    folder = os.getcwd() + os.sep
    short = text.removeprefix(folder) if os.path.exists(text) else text
    return f"./{short}" if short.startswith("-") and text != "-" else short
