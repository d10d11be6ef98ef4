"""What ``charrnn train`` is to do: the plan that its options make."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from charrnn.cli.options import checkpoints_folder, corpora_folder
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import Origin
from charrnn.cli.train_progress import run_exists
from charrnn.config import DEFAULT_EPOCHS, DEFAULT_MINUTES, ModelConfig, TrainConfig
from charrnn.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from charrnn.runs.checkpoint import Checkpoint
    from charrnn.text.corpus import Corpus
    from charrnn.training.devices import ProcessGroup

Config = TypeVar("Config", ModelConfig, TrainConfig)
Options = Mapping[str, Any]
"""The command's parameters by name, parsed; None: not given."""

CHOSEN = ("hidden", "dropout", "weight_drop")
"""The settings that, when not given, are chosen as soon as the text is known."""
ARCHITECTURE = ("cell", "layers", "hidden", "params", "embedding")
WITH_RESUME = ("text", "resume", "checkpoints", "corpora", "device", "tensorboard")
"""What --resume may be combined with: the run keeps all its other settings."""


@dataclass(frozen=True)
class Plan:
    """One training.

    runs        the folder of the runs
    name        the run's name; None: named after the text
    left_open   the settings of CHOSEN that are not given
    parameters  the number of parameters that sets the width; None: ``model`` has the width
    corpora     the folder of the catalogue's texts
    start       the checkpoint whose weights the run starts with
    last        the last checkpoint of the run to resume
    """

    runs: Path
    name: str | None
    model: ModelConfig
    config: TrainConfig
    origin: Origin
    corpora: Path
    left_open: Collection[str] = ()
    parameters: int | None = None
    start: Checkpoint | None = None
    last: Checkpoint | None = None


def make_plan(out: Terminal, context: typer.Context) -> Plan:
    """The plan that the command line asks for. Raises ConfigError, CheckpointError."""
    from charrnn import cells

    options = context.params
    check_combinations(context)
    if options["resume"] is not None:
        return _resumed(options)
    runs, name = checkpoints_folder(options["checkpoints"]), options["name"]
    if name is not None and (runs / name).exists():
        raise run_exists(runs / name)
    start = None if options["start"] is None else _start(options, runs)
    model = start.header.model if start else _config(ModelConfig, options)
    cells.get(model.cell)  # raises ConfigError if there is no such cell
    config = _config(TrainConfig, {**options, "save_every": None, **(options["save_every"] or {})})
    if config.epochs is config.steps is config.minutes is None:
        config = replace(config, minutes=DEFAULT_MINUTES, epochs=DEFAULT_EPOCHS)
    if start and not _given(context, "lr", "muon"):
        config = replace(config, lr=config.lr / 4, muon=config.muon / 4)
        out.note("rates  a quarter of the default learning rates, for trained weights (--lr, --muon)")
    left_open = {setting for setting in CHOSEN if options[setting] is None}
    if start or options["params"] is not None:
        left_open.discard("hidden")
    as_bytes = options["as_bytes"]
    newlines = options["newlines"] or ("keep" if as_bytes else "lf")
    origin = Origin(options["text"] or [], options["glob"], options["encoding"], as_bytes, newlines)
    corpora = corpora_folder(options["corpora"])
    return Plan(runs, name, model, config, origin, corpora, left_open, options["params"], start)


def check_combinations(context: typer.Context) -> None:
    """Raises ConfigError for options that exclude each other."""
    options, names = context.params, [str(parameter.name) for parameter in context.command.params]
    if options["resume"] is not None:
        forbidden = [name for name in names if name not in WITH_RESUME]
        reason = f"--resume {options['resume']} keeps the run's own settings"
    elif options["start"] is not None:
        forbidden, reason = list(ARCHITECTURE), f"--from {options['start']} keeps that model's architecture"
    elif options["params"] is not None:
        forbidden, reason = ["hidden"], "--params chooses the width"
    else:
        return
    if given := _given(context, *forbidden):
        raise ConfigError(f"{reason}: leave out {given[0]}")


def _given(context: typer.Context, *names: str) -> list[str]:
    """Those of the options that the user wrote, as they are written: "--save-every"."""
    sources = {name: context.get_parameter_source(name) for name in names}
    given = {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}
    return [parameter.opts[0] for parameter in context.command.params if parameter.name in given]


def _config(kind: type[Config], options: Options) -> Config:
    """A config from the options that are called like its fields; those not given keep its defaults."""
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in options.items() if name in names and value is not None})


def _start(options: Options, runs: Path) -> Checkpoint:
    """The checkpoint of --from. Raises ConfigError, CheckpointError."""
    from charrnn.runs.checkpoint import find, load

    start = load(find(options["start"], runs))
    if start.header.vocabulary.byte_level != options["as_bytes"]:
        unit, change = ("characters", "leave out") if options["as_bytes"] else ("bytes", "add")
        raise ConfigError(f"--from {options['start']}: that model reads {unit}: {change} --bytes")
    return start


def _resumed(options: Options) -> Plan:
    """The plan of a run to resume: its own settings. Raises ConfigError, CheckpointError."""
    from charrnn.runs.checkpoint import LAST, find, load

    runs, corpora = checkpoints_folder(options["checkpoints"]), corpora_folder(options["corpora"])
    last = load(find(options["resume"], runs, LAST), resume=True)
    header, folder = last.header, last.path.parent
    if header.resume is None:
        raise CheckpointError(f"{last.path} cannot be resumed: give the run's {LAST}")
    origin = Origin.from_record(header.resume.get("origin", {}), options["text"])
    return Plan(folder.parent, folder.name, header.model, header.training, origin, corpora, last=last)


def settle(out: Terminal, plan: Plan, corpus: Corpus, group: ProcessGroup) -> Plan:
    """The plan with its open settings chosen for the text, and a note of them."""
    from charrnn.runs import parameters
    from charrnn.training import sizing
    from charrnn.training.budget import characters

    model, config = plan.model, plan.config
    if plan.parameters is not None:
        model = parameters.sized(model, len(corpus.vocabulary), plan.parameters)
    if plan.left_open:
        length = len(corpus.splits(config.split)[0])
        model, config, why = sizing.choose(
            model, config, plan.left_open, length, characters(config, length, group)
        )
        out.note(f"chosen {why}")
    return replace(plan, model=model, config=config)
