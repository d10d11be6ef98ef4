"""The plan of ``charrnn train``: what its options ask for."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from charrnn.cli.options import find_checkpoint, given_options
from charrnn.cli.terminal import Terminal
from charrnn.cli.train_command import resume_command
from charrnn.cli.train_screen import screen
from charrnn.config import BY_HEART, SHORT, ModelConfig, TrainConfig, check_together
from charrnn.errors import CheckpointError, ConfigError
from charrnn.origin import FILE_LABEL, Origin

if TYPE_CHECKING:
    from charrnn.runs.checkpoint import Checkpoint
    from charrnn.text.corpus import Corpus
    from charrnn.training.devices import ProcessGroup

Config = TypeVar("Config", ModelConfig, TrainConfig)
Options = dict[str, Any]
"""The command's parameters by name, with parsed values; None where not given."""

ARCHITECTURE = (
    "cell",
    "layers",
    "hidden",
    "params",
    "embedding",
    "residual",
    "readout",
    "attention",
    "backward",
)
BUDGET = ("epochs", "steps", "minutes")
_FREE = (
    "patience",
    "text",
    "resume",
    "checkpoints",
    "corpora",
    "device",
    "tensorboard",
    "with_ngram",
    "quiet",
)
WITH_RESUME = (*BUDGET, *_FREE)
"""What --resume may be combined with: the run keeps all its other settings."""


@dataclass(frozen=True)
class Plan:
    """One training.

    runs        the folder of the runs
    name        the run's name; None: named after the text
    start       the checkpoint whose weights the run starts with
    last        the last checkpoint of the run to resume
    new_budget  whether the run to resume gets the budget of ``config``, instead of what is left of its own
    left_open   the settings that are to be chosen for the text; "steps" stands for the whole budget
    """

    runs: Path
    name: str | None
    model: ModelConfig
    config: TrainConfig
    origin: Origin
    options: Options
    start: Checkpoint | None = None
    last: Checkpoint | None = None
    new_budget: bool = False
    left_open: frozenset[str] = frozenset()


def make_plan(out: Terminal, context: typer.Context) -> Plan:
    """The plan that the command line asks for. Raises ConfigError, CheckpointError."""
    from charrnn import cells

    options = context.params
    if options["layers"] is None and (options["residual"] or options["readout"] == "all"):
        options["layers"] = 2  # connections need layers
    check_combinations(context)
    check_effect(context)
    if options["resume"] is not None:
        return _resumed(out, options)
    runs, name = options["checkpoints"], options["name"]
    if name is not None:
        from charrnn.runs.new_run import is_free, run_exists

        if not is_free(runs / name):
            raise run_exists(runs / name)
    start = None if options["start"] is None else _start(out, options)
    model = start.header.network if start else _config(ModelConfig, {**options, "documents": None})
    cell = cells.get(model.cell)  # raises ConfigError if there is no such cell
    if options["weight_drop"] and "weight_hh" not in cell.shapes(1, 1):
        raise ConfigError(f"--weight-drop has no effect with {model.cell}: its states have no weights")
    config = _config(TrainConfig, {**options, "save_every": None, **(options["save_every"] or {})})
    origin = Origin(
        texts=options["text"] or (["-"] if out.stdin_unread else []),
        glob=options["glob"],
        encoding=options["encoding"],
        byte_level=options["as_bytes"],
        newlines=options["newlines"] or "",
        documents=options["documents"] or ("blank" if options["label_by"] else ""),
        labels=options["label"] or [],
        vectors=options["vector"] or [],
        label_by=options["label_by"] or "",
    )
    _check_documents(context, origin, start)
    check_together(model, config)
    _check_ngram(model, options)
    if start and not given_options(context, "lr", "muon"):
        config = replace(config, lr=config.lr / 4, muon=config.muon / 4)
        names = "--lr, --muon" if config.optimizer == "muon" else "--lr"
        rates = f"a quarter of the default learning rates, for trained weights ({names})"
        screen(out).facts({"rates": rates})
    return Plan(runs, name, model, config, origin, options, start, left_open=_left_open(context))


def _check_ngram(model: ModelConfig, options: Options) -> None:
    """Raises ConfigError for --with-ngram with a backward model."""
    if model.backward and options["with_ngram"]:
        raise ConfigError(
            "--with-ngram: an n-gram model reads forward, so it does not mix with a backward model:"
            " leave out --with-ngram"
        )


def _check_documents(context: typer.Context, origin: Origin, start: Checkpoint | None) -> None:
    """Raises ConfigError for options of documents that lack or contradict each other."""
    from charrnn.text.documents import Division

    division = Division.of_origin(origin)
    kind = division.kind if division else ""
    for option in given_options(context, "label", "vector", "loss") if kind != "json" else ():
        use = "leaves out the prompts" if option == "--loss" else "names a field"
        raise ConfigError(f"{option} {use} of JSON lines: add --documents json")
    conditions = division.all_labels + division.vectors if division else ()
    if given_options(context, "condition") and not conditions:
        raise ConfigError("--condition has no effect without --label, --vector or --label-by")
    if start is not None:
        _check_start(context, start.header.network, kind, conditions)


def _check_start(
    context: typer.Context, network: ModelConfig, kind: str, conditions: tuple[str, ...]
) -> None:
    """Raises ConfigError where the documents do not fit the network to start from."""
    name = f"--from {context.params['start']}"
    if network.documents and not kind:
        raise ConfigError(f"{name}: that model writes documents: add --documents")
    if lacking := [condition.name for condition in network.conditions if condition.name not in conditions]:
        option = "--label-by file" if lacking[0] == FILE_LABEL else f"--label or --vector {lacking[0]}"
        raise ConfigError(f"{name}: that model has {lacking[0]}: add {option}")
    given = context.params["condition"]
    if network.conditions and given_options(context, "condition") and given != network.condition:
        raise ConfigError(f"{name} keeps that model's --condition {network.condition}: leave it out")


def _left_open(context: typer.Context) -> frozenset[str]:
    """The settings to choose for the text; "steps" stands for the whole budget."""
    from charrnn.training.sizing import CHOSEN

    options = context.params
    left_open = {name for name in CHOSEN if options[name] is None}
    if options["start"] is not None:
        left_open -= set(ARCHITECTURE)
    if options["params"] is not None:
        left_open.discard("hidden")
    if not given_options(context, "split"):
        left_open.add("split")
    if all(options[name] is None for name in BUDGET):
        left_open.add("steps")
    return frozenset(left_open)


def check_combinations(context: typer.Context) -> None:
    """Raises ConfigError for options that exclude each other."""
    options = context.params
    if options["resume"] is not None:
        forbidden = [name for name in options if name not in WITH_RESUME]
        reason = f"--resume {options['resume']} keeps the run's own settings"
    elif options["start"] is not None:
        forbidden, reason = list(ARCHITECTURE), f"--from {options['start']} keeps that model's architecture"
    elif options["params"] is not None:
        forbidden, reason = ["hidden"], "--params chooses the width"
    else:
        return
    if given := given_options(context, *forbidden):
        raise ConfigError(f"{reason}: leave out {given[0]}")


def check_effect(context: typer.Context) -> None:
    """Raises ConfigError for options that would have no effect."""
    options = context.params
    texts = options["text"] or []
    command = context.command_path
    if given_options(context, "glob") and all(text == "-" or Path(text).is_file() for text in texts):
        raise ConfigError(f"--glob has no effect without a folder: {command} FOLDER --glob '*.txt'")
    if options["as_bytes"] and given_options(context, "encoding"):
        raise ConfigError("--encoding has no effect with --bytes: leave out one of the two")
    if options.get("optimizer", "muon") != "muon" and given_options(context, "muon"):
        raise ConfigError(f"--muon has no effect with --optimizer {options['optimizer']}: leave out --muon")
    if options.get("patience") is not None and not options["split"][1]:
        raise ConfigError("--patience needs a validation part: give --split a second share, e.g. 90,10,0")


def _config(kind: type[Config], options: Options) -> Config:
    """A config from the options with the names of its fields; defaults for those that are None."""
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in options.items() if name in names and value is not None})


def _start(out: Terminal, options: Options) -> Checkpoint:
    """The checkpoint of --from. Raises ConfigError, CheckpointError."""
    from charrnn.runs.checkpoint import load

    start = load(find_checkpoint(out, options["start"], options["checkpoints"], "--from"))
    if start.header.vocabulary.byte_level != options["as_bytes"]:
        unit, change = ("characters", "leave out") if options["as_bytes"] else ("bytes", "add")
        raise ConfigError(f"--from {options['start']}: that model reads {unit}: {change} --bytes")
    return start


def _resumed(out: Terminal, options: Options) -> Plan:
    """The plan of a run to resume: its own settings. Raises ConfigError, CheckpointError."""
    from charrnn.runs.checkpoint import LAST, load
    from charrnn.runs.find import find

    if options["resume"] == "-":
        raise ConfigError("--resume -: a run is resumed in its folder: give the name of the run")
    last = load(find(options["resume"], options["checkpoints"], LAST), resume=True)
    header, folder, config = last.header, last.path.parent, last.header.training
    if header.resume is None:
        raise CheckpointError(f"{last.path} cannot be resumed: give the run's {LAST}")
    origin = Origin.from_record(header.origin)
    if options["text"]:
        origin = replace(origin, texts=options["text"])
    elif "-" in origin.texts and not out.stdin_unread:
        command = resume_command(origin.texts, folder)
        raise ConfigError(f"--resume: this run read stdin; pipe the text in again: {command}")
    new_budget = any(options[name] is not None for name in BUDGET)
    if new_budget:
        config = replace(config, **{name: options[name] for name in BUDGET})
    if options["patience"] is not None:
        config = replace(config, patience=options["patience"])
        last = replace(last, header=replace(header, resume=header.resume | {"stale": 0}))
    _check_ngram(header.network, options)
    plan = Plan(folder.parent, folder.name, header.network, config, origin, options, last=last)
    return replace(plan, new_budget=new_budget)


def choose_settings(out: Terminal, plan: Plan, corpus: Corpus, group: ProcessGroup) -> Plan:
    """The plan with the settings that are left open chosen for the text; a note says which."""
    from charrnn.text.document_corpus import DocumentCorpus
    from charrnn.training import budget

    if plan.last:
        return plan
    model, length = plan.model, len(corpus.ids)
    if isinstance(corpus, DocumentCorpus):
        model = replace(model, documents=True, conditions=corpus.conditions)
        if not plan.model.conditions:  # a model of --from keeps its own
            model = replace(model, condition=plan.options["condition"])
    count = plan.options["params"]
    model, config, why = budget.choose_settings(corpus, model, plan.config, plan.left_open, group, count)
    if BY_HEART <= length < SHORT:
        fact = f"{length:,} characters teach spelling and phrases of this text, but no language"
        screen(out).facts({"short": f"{fact}: use {SHORT:,} or more, better 1,000,000"})
    if length < BY_HEART and plan.left_open & {"split", "steps"}:
        screen(out).facts({"short": _by_heart(config, length)})
    if why:
        screen(out).facts({"chosen": why})
    return replace(plan, model=model, config=config)


def warn_of_memory(out: Terminal, model: ModelConfig, symbols: int) -> None:
    """Print a note where the parameters and their copies need more memory than the machine has."""
    from charrnn.cli.table import size_text
    from charrnn.runs import parameters
    from charrnn.training import sizing

    count = parameters.count(model, symbols)
    needed, installed = sizing.COPIES * 4 * count, sizing.installed_memory()
    if needed > installed:
        out.note(
            f"{count:,} parameters need about {size_text(needed)} of memory in training, and this machine has"
            f" {size_text(round(installed))}: a smaller --hidden or --embedding needs less"
        )


def _by_heart(config: TrainConfig, length: int) -> str:
    """The note on a text that is learnt by heart."""
    steps = "" if config.steps is None else f", {config.steps} steps"
    part = "all of it is trained on" if config.split[0] == sum(config.split) else "with your --split"
    return (
        f"{length} characters are learnt by heart ({part}, dropout {config.dropout:g}{steps}):"
        f" {BY_HEART:,} or more are needed to validate, {SHORT:,} or more to write something new"
    )
