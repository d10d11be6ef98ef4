"""``charrnn train``: learn from a text; prints the checkpoint's path."""

from __future__ import annotations

import os
import re
import signal
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.options import (
    CheckpointsOption,
    CorporaOption,
    checkpoints_folder,
    corpora_folder,
    terminal,
)
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import Origin, read_corpus
from charrnn.cli.train_progress import (
    BAR,
    advance,
    announce,
    new_run_folder,
    stop_on_signals,
    stopped,
    taken,
    tell,
)
from charrnn.config import DEFAULT_EPOCHS, DEFAULT_MINUTES, ModelConfig, TrainConfig

if TYPE_CHECKING:
    from charrnn.runs.checkpoint import Checkpoint
    from charrnn.text.corpus import Corpus
    from charrnn.training.devices import ProcessGroup

MODEL, RECIPE, BUDGET, TEXTS = "Model", "Training", "Budget: the first to be spent ends the run", "Texts"
CHOSEN_BY_DEFAULT = "Default: chosen from text and budget."
SPLIT = ",".join(f"{share:g}" for share in TrainConfig.split)


def train(
    context: typer.Context,
    text: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Files, folders, - for stdin, or a catalogue name; .gz .bz2 .xz are read as they are."
            " Default: python-stdlib.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The run's name. Default: the text's, numbered if taken.")
    ] = None,
    checkpoints: CheckpointsOption = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a stopped run, exactly where it was.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="CHECKPOINT", help="Begin with the weights of this model."),
    ] = None,
    cell: Annotated[
        str,
        typer.Option(
            help="gru, gru-cho, lstm, lstm-coupled, lstm-peephole, mingru, minlstm, mut1, mut2, mut3, rnn.",
            rich_help_panel=MODEL,
        ),
    ] = (ModelConfig.cell),
    layers: Annotated[int, typer.Option(help="Layers of cells.", rich_help_panel=MODEL)] = ModelConfig.layers,
    hidden: Annotated[
        int | None, typer.Option(help=f"Units a layer. {CHOSEN_BY_DEFAULT}", rich_help_panel=MODEL)
    ] = None,
    params: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Instead: as wide as takes so many parameters, as 1.27M.", rich_help_panel=MODEL
        ),
    ] = None,
    embedding: Annotated[
        int, typer.Option(help="Width of the characters' embedding; 0 is one-hot.", rich_help_panel=MODEL)
    ] = ModelConfig.embedding,
    epochs: Annotated[
        float | None, typer.Option(help="Times through the training part.", rich_help_panel=BUDGET)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Windows learnt from.", rich_help_panel=BUDGET)] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help=f"Time, turned into steps at the start. Default: {DEFAULT_MINUTES:g},"
            f" or {DEFAULT_EPOCHS:g} epochs if sooner.",
            rich_help_panel=BUDGET,
        ),
    ] = None,
    streams: Annotated[
        int, typer.Option(help="Parallel streams the text is cut into.", rich_help_panel=RECIPE)
    ] = TrainConfig.streams,
    bptt: Annotated[
        int, typer.Option(help="Characters gradients flow back through.", rich_help_panel=RECIPE)
    ] = TrainConfig.bptt,
    dropout: Annotated[
        float | None,
        typer.Option(
            help=f"Share of a layer's output dropped on its way up. {CHOSEN_BY_DEFAULT}",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    weight_drop: Annotated[
        float | None,
        typer.Option(
            help=f"Share of the recurrent weights dropped. {CHOSEN_BY_DEFAULT}", rich_help_panel=RECIPE
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="float32, bfloat16; auto takes bfloat16 where the device is built for it.",
            rich_help_panel=RECIPE,
        ),
    ] = TrainConfig.precision,
    lr: Annotated[
        float, typer.Option(help="AdamW's highest learning rate.", rich_help_panel=RECIPE)
    ] = TrainConfig.lr,
    muon: Annotated[
        float,
        typer.Option(
            help="Muon's, for the layers' weights; 0 gives them to AdamW too.", rich_help_panel=RECIPE
        ),
    ] = TrainConfig.muon,
    clip: Annotated[
        float, typer.Option(help="Largest gradient norm; 0 is no clipping.", rich_help_panel=RECIPE)
    ] = TrainConfig.clip,
    seed: Annotated[
        int, typer.Option(help="Same seed, same machine: same model.", rich_help_panel=RECIPE)
    ] = TrainConfig.seed,
    patience: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="End after N reports without a better validation.", rich_help_panel=BUDGET
        ),
    ] = None,
    save_every: Annotated[
        str | None,
        typer.Option(
            metavar="N|TIME",
            help="500: steps between reports (validate, sample, save). 90s, 5m, 1h: time between saves"
            " besides. Default: about 20 reports a run, and 5m.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    tensorboard_events: Annotated[
        bool,
        typer.Option(
            "--tensorboard", help="Write events too (pip install tensorboard).", rich_help_panel=RECIPE
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, mps; auto takes a GPU if there is one.", rich_help_panel=RECIPE)
    ] = "auto",
    split: Annotated[
        str, typer.Option(metavar="A,B,C", help="Training, validation, test shares.", rich_help_panel=TEXTS)
    ] = SPLIT,
    glob: Annotated[
        str, typer.Option(help="Which files of a folder, at any depth.", rich_help_panel=TEXTS)
    ] = "*",
    encoding: Annotated[str, typer.Option(help="How the text is encoded.", rich_help_panel=TEXTS)] = "utf-8",
    as_bytes: Annotated[
        bool, typer.Option("--bytes", help="Learn bytes, not characters.", rich_help_panel=TEXTS)
    ] = False,
    newlines: Annotated[
        str | None,
        typer.Option(
            help="lf makes CRLF and CR line feeds, keep leaves them. Default: lf; keep with --bytes.",
            rich_help_panel=TEXTS,
        ),
    ] = None,
    corpora: CorporaOption = None,
) -> None:
    """Learn from a text. Prints the path of the checkpoint, and nothing else, on stdout.

    Examples:
      charrnn train corpora/shakespeare.txt

      charrnn sample "$(charrnn train notes.txt --minutes 1)" | head -c 300

      zcat logs/*.gz | charrnn train - --name logs --cell gru --hidden 512
    """
    out, runs = terminal(context), checkpoints_folder(checkpoints)
    if resume is not None:
        _refuse_settings(context, resume)
        plan = _resumed(resume, runs, text)
    else:
        _check_name(runs, name)
        begin = _model_of(context, start, runs, as_bytes) if start is not None else None
        chosen = {"hidden": hidden, "dropout": dropout, "weight_drop": weight_drop}
        given: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
        width = {"hidden": given.pop("hidden")} if "hidden" in given else {}
        model = begin.header.model if begin else ModelConfig(cell, layers, embedding=embedding, **width)
        config = TrainConfig(
            streams=streams,
            bptt=bptt,
            precision=precision,
            lr=lr,
            muon=muon,
            clip=clip,
            epochs=epochs,
            steps=steps,
            minutes=minutes,
            split=_shares(split),
            seed=seed,
            patience=patience,
            **given,
            **_saving(save_every),
        )
        if begin is not None:
            config = _gentler(out, context, config)
        if epochs is steps is minutes is None:
            config = replace(config, minutes=DEFAULT_MINUTES, epochs=DEFAULT_EPOCHS)
        parameters = _parameters(params, hidden)
        plan = Plan(
            runs=runs,
            name=name,
            model=model,
            config=config,
            origin=Origin(text or [], glob, encoding, as_bytes, newlines or ("keep" if as_bytes else "lf")),
            free={name for name, value in chosen.items() if value is None}
            - ({"hidden"} if begin or parameters else set()),
            parameters=parameters,
            begin=begin,
        )
    _train(out, plan, device, corpora_folder(corpora), tensorboard_events)


@dataclass(frozen=True)
class Plan:
    """A training as the command line asks for it. ``free`` settings are chosen when the text is known."""

    runs: Path
    name: str | None
    model: ModelConfig
    config: TrainConfig
    origin: Origin
    free: set[str] = field(default_factory=set)
    parameters: int | None = None
    begin: Checkpoint | None = None
    last: Checkpoint | None = None


# What --resume may be combined with; every other setting is the run's own.
_WITH_RESUME = {"text", "resume", "checkpoints", "corpora", "device", "tensorboard_events"}


def _refuse_settings(context: typer.Context, resume: str) -> None:
    from charrnn.errors import ConfigError

    for parameter in context.command.params:
        if _given(context, str(parameter.name)) and parameter.name not in _WITH_RESUME:
            raise ConfigError(
                f"--resume {resume} keeps the run's own settings: leave out {parameter.opts[0]}"
            )


ARCHITECTURE = ("cell", "layers", "hidden", "params", "embedding")


def _given(context: typer.Context, name: str) -> bool:
    """Whether the user wrote the option."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _model_of(context: typer.Context, start: str, runs: Path, as_bytes: bool) -> Checkpoint:
    """The model to begin from. Raises ConfigError where the command line contradicts it."""
    from charrnn.errors import ConfigError
    from charrnn.runs.checkpoint import find, load

    for name in ARCHITECTURE:
        if _given(context, name):
            raise ConfigError(f"--from {start} keeps that model's architecture: leave out --{name}")
    found = load(find(start, runs))
    if found.header.vocabulary.byte_level != as_bytes:
        change = "leave out" if as_bytes else "add"
        kind = "characters" if as_bytes else "bytes"
        raise ConfigError(f"--from {start}: that model learnt {kind}: {change} --bytes")
    return found


def _gentler(out: Terminal, context: typer.Context, config: TrainConfig) -> TrainConfig:
    """A quarter of the learning rates, where they are not given: the model is not to forget all at once."""
    if _given(context, "lr") or _given(context, "muon"):
        return config
    out.note("rates  a quarter of the usual ones, since the model has learnt before (--lr, --muon)")
    return replace(config, lr=config.lr / 4, muon=config.muon / 4)


def _resumed(resume: str, runs: Path, text: list[str] | None) -> Plan:
    from charrnn.errors import CheckpointError
    from charrnn.runs.checkpoint import LAST, find, load

    last = load(find(resume, runs, LAST), resume=True)
    if last.header.resume is None:
        raise CheckpointError(f"{last.path} holds no state to resume from: give the run's {LAST}")
    origin = Origin.from_dict(last.header.resume.get("origin", {}), text)
    run = last.path.parent
    return Plan(run.parent, run.name, last.header.model, last.header.training, origin, last=last)


def _parameters(given: str | None, hidden: int | None) -> int | None:
    """--params as a number: 1.27M, 375k, 45000. Raises ConfigError."""
    from charrnn.errors import ConfigError

    if given is None:
        return None
    if hidden is not None:
        raise ConfigError("--params and --hidden: give one of the two")
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", given)
    if found is None:
        raise ConfigError(f"--params {given}: it must be a number, as 1.27M, 375k or 45000")
    return round(float(found[1]) * {"": 1, "k": 1e3, "m": 1e6}[found[2].lower()])


def _saving(given: str | None) -> dict[str, Any]:
    """--save-every as settings: a number is of steps, a time is of minutes. Raises ConfigError."""
    from charrnn.errors import ConfigError

    if given is None:
        return {}
    units = {"s": 1 / 60, "m": 1.0, "h": 60.0}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", given)
    if found is None or (not found[2] and "." in found[1]):
        raise ConfigError(f"--save-every {given}: it must be steps, as 500, or a time, as 90s, 5m or 1h")
    if float(found[1]) == 0:
        raise ConfigError(f"--save-every {given}: it must be above 0")
    if found[2]:
        return {"save_minutes": float(found[1]) * units[found[2]]}
    return {"save_every": int(found[1])}


def _shares(split: str) -> tuple[float, float, float]:
    from charrnn.errors import ConfigError

    try:
        first, second, third = (float(part) for part in split.split(","))
    except ValueError as error:
        raise ConfigError(f"--split {split}: it must be three shares like 90,5,5") from error
    return first, second, third


def _check_name(runs: Path, name: str | None) -> None:
    """Raises ConfigError for a name that is none, or is taken."""
    from charrnn.errors import ConfigError

    if name is None:
        return
    if not name or name[0] in ".-" or Path(name).name != name:
        raise ConfigError(f"--name {name}: it must be a plain folder name")
    if (runs / name).exists():
        raise ConfigError(taken(runs, name))


def _sized(out: Terminal, plan: Plan, corpus: Corpus, group: ProcessGroup) -> Plan:
    """The plan with what it leaves open settled, and said."""
    from charrnn.runs import parameters
    from charrnn.training import sizing
    from charrnn.training.budget import characters

    model, config = plan.model, plan.config
    if plan.parameters is not None:
        model = parameters.sized(model, len(corpus.vocabulary), plan.parameters)
    if plan.free:
        part = corpus.splits(config.split)[0]
        learnt = characters(config, len(part), group)
        model, config, why = sizing.choose(model, config, plan.free, len(part), learnt)
        out.note(f"chosen {why}")
    return replace(plan, model=model, config=config)


def _train(out: Terminal, plan: Plan, device: str, corpora: Path, events: bool) -> None:
    from charrnn import cells
    from charrnn.errors import CharrnnError, CorpusError

    cells.get(plan.model.cell)
    try:
        with ExitStack() as stack:
            corpus = read_corpus(out, plan.origin, corpora, stack, plan.begin)
    except CorpusError as error:
        if plan.last is None:
            raise
        raise CorpusError(f"{error}; where the text has moved, give TEXT beside --resume") from error
    corpus.splits(plan.config.split)
    # OpenMP's threads spin while they wait for each other, and where another process holds one of
    # the cores that makes training many times slower; this is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The slow import, of torch, comes after everything that can be wrong without it.
    from charrnn.runs import history
    from charrnn.runs.checkpoint import BEST
    from charrnn.training import devices
    from charrnn.training.tensorboard import event_writer
    from charrnn.training.train import Notice, Progress, Training

    group = devices.join(device)
    if not group.is_main:
        out = out.muted()
    try:
        plan = _sized(out, plan, corpus, group)
        with ExitStack() as stack:
            run = plan.runs / (plan.name or "")
            if plan.last is None and group.is_main:
                run = stack.enter_context(new_run_folder(out, plan.runs, plan.name, plan.origin.run_name))
            training = Training(
                corpus, plan.model, plan.config, run, group, plan.last, plan.origin.lasting(), plan.begin
            )
            announce(out, training, devices.describe(group))
            if training.done:
                out.note(f"the run had come to its end at step {training.step}")
            record = stack.enter_context(event_writer(run)) if events and group.is_main else None
            caught = stack.enter_context(stop_on_signals(training))
            bar = out.bar(unit="char", unit_scale=True, smoothing=0.05, bar_format=BAR)
            for event in training.run():
                if isinstance(event, Progress):
                    advance(bar, event, training.characters_per_step)
                elif isinstance(event, Notice):
                    out.note(event.text)
                else:
                    tell(out, event)
                    if record is not None:
                        record(event)
            out.end_bars()
            devices.barrier()
    except RuntimeError as error:  # torch says so of memory in words alone
        if "allocat" not in str(error) and "out of memory" not in str(error):
            raise
        raise CharrnnError("not enough memory: try a smaller --hidden, --streams or --bptt") from error
    finally:
        devices.shutdown()
    if not training.done:
        raise stopped(training, caught[0] if caught else signal.SIGTERM)
    if group.is_main and not (run / BEST).exists():
        raise CharrnnError(f"{run / BEST} is not there: the run was over, but its best model has gone")
    out.note(history.verdict(history.read(run)))
    out.write(os.fsencode(run / BEST) + b"\n")
