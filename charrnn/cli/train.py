"""``charrnn train``: learn from a text; prints the checkpoint's path."""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.common import (
    CheckpointsOption,
    CorporaOption,
    checkpoints_folder,
    corpora_folder,
    fetch_corpus,
    terminal,
)
from charrnn.cli.terminal import Stopped, Terminal
from charrnn.config import DEFAULT_EPOCHS, DEFAULT_MINUTES, ModelConfig, TrainConfig

if TYPE_CHECKING:
    from charrnn.checkpoint import Checkpoint
    from charrnn.corpus import Corpus, Reading, Source
    from charrnn.history import Report
    from charrnn.train import Progress, Training

MODEL, RECIPE, BUDGET, TEXTS = "Model", "Training", "Budget: the first to be spent ends the run", "Texts"
SPLIT = ",".join(f"{share:g}" for share in TrainConfig.split)


def train(
    context: typer.Context,
    text: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT...",
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
    cell: Annotated[str, typer.Option(help="gru, gru-cho, lstm, rnn.", rich_help_panel=MODEL)] = (
        ModelConfig.cell
    ),
    layers: Annotated[int, typer.Option(help="Layers of cells.", rich_help_panel=MODEL)] = ModelConfig.layers,
    hidden: Annotated[int, typer.Option(help="Units a layer.", rich_help_panel=MODEL)] = ModelConfig.hidden,
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
        float,
        typer.Option(help="Share of a layer's output dropped on its way up.", rich_help_panel=RECIPE),
    ] = TrainConfig.dropout,
    weight_drop: Annotated[
        float, typer.Option(help="Share of the recurrent weights dropped.", rich_help_panel=RECIPE)
    ] = TrainConfig.weight_drop,
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
    from charrnn import cells
    from charrnn.corpus import Reading

    out, runs = terminal(context), checkpoints_folder(checkpoints)
    last, begin = None, None
    if start is not None and resume is None:
        begin = _model_of(context, start, runs, as_bytes)
    if resume is not None:
        _refuse_settings(context, resume)
        last = _last_of(resume, runs)
        run, model_config, config = last.path.parent, last.header.model, last.header.training
        origin = Origin.from_dict((last.header.resume or {}).get("origin", {}), text)
    else:
        model_config = begin.header.model if begin else ModelConfig(cell, layers, hidden, embedding)
        cells.get(model_config.cell)
        config = TrainConfig(
            streams=streams,
            bptt=bptt,
            dropout=dropout,
            weight_drop=weight_drop,
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
            **_saving(save_every),
        )
        if begin is not None:
            config = _gentler(out, context, config)
        if epochs is steps is minutes is None:
            config = replace(config, minutes=DEFAULT_MINUTES, epochs=DEFAULT_EPOCHS)
        origin = Origin(text or [], glob, encoding, as_bytes, newlines or ("keep" if as_bytes else "lf"))
        run = _run_folder(out, runs, name, origin.run_name)
    reading = Reading(origin.encoding, origin.byte_level, origin.newlines)
    with ExitStack() as stack:
        corpus = _corpus(out, origin, reading, corpora_folder(corpora), stack, begin)
        _train(out, run, corpus, model_config, config, device, last, origin, begin)


@dataclass(frozen=True)
class Origin:
    """Where a run's text came from, so that ``--resume`` finds it again."""

    texts: list[str]
    glob: str = "*"
    encoding: str = "utf-8"
    byte_level: bool = False
    newlines: str = "lf"

    @classmethod
    def from_dict(cls, saved: dict[str, Any], given: list[str] | None) -> Origin:
        """What a run recorded; texts that are given now stand for those it names. Raises ConfigError."""
        from charrnn.errors import ConfigError

        try:
            origin = cls(**saved)
        except TypeError as error:
            raise ConfigError(f"--resume: the run does not say how its text was read: {error}") from error
        if given:
            return replace(origin, texts=given)
        if "-" in origin.texts:
            raise ConfigError("--resume: this run read its text from stdin: pipe it in again, with TEXT -")
        return origin

    @property
    def run_name(self) -> str:
        """A run's name, from the first text's."""
        first = self.texts[0] if self.texts else "python-stdlib"
        stem = "stdin" if first == "-" else Path(first).resolve().name
        stem = re.sub(r"\.(gz|bz2|xz)$", "", stem, flags=re.IGNORECASE)
        stem = Path(stem).stem if Path(stem).stem else stem
        return re.sub(r"[^\w.-]+", "-", stem).strip(".-") or "run"


# What --resume may be combined with; every other setting is the run's own.
_WITH_RESUME = {"text", "resume", "checkpoints", "corpora", "device"}


def _refuse_settings(context: typer.Context, resume: str) -> None:
    from charrnn.errors import ConfigError

    for parameter in context.command.params:
        if _given(context, str(parameter.name)) and parameter.name not in _WITH_RESUME:
            raise ConfigError(
                f"--resume {resume} keeps the run's own settings: leave out {parameter.opts[0]}"
            )


ARCHITECTURE = ("cell", "layers", "hidden", "embedding")


def _given(context: typer.Context, name: str) -> bool:
    """Whether the user wrote the option."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _model_of(context: typer.Context, start: str, runs: Path, as_bytes: bool) -> Checkpoint:
    """The model to begin from. Raises ConfigError where the command line contradicts it."""
    from charrnn.checkpoint import find, load
    from charrnn.errors import ConfigError

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


def _last_of(resume: str, runs: Path) -> Checkpoint:
    from charrnn.checkpoint import LAST, find, load

    return load(find(resume, runs, LAST), resume=True)


def _saving(given: str | None) -> dict[str, Any]:
    """--save-every as settings: a number is of steps, a time is of minutes. Raises ConfigError."""
    from charrnn.errors import ConfigError

    if given is None:
        return {}
    units = {"s": 1 / 60, "m": 1.0, "h": 60.0}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", given)
    if found is None or (not found[2] and "." in found[1]):
        raise ConfigError(f"--save-every {given}: it must be steps, as 500, or a time, as 90s, 5m or 1h")
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


def _run_folder(out: Terminal, runs: Path, name: str | None, proposed: str) -> Path:
    """Where a new run goes; no run is ever written over. Raises ConfigError."""
    from charrnn.errors import ConfigError

    if name is not None:
        if not name or name.startswith(".") or Path(name).name != name:
            raise ConfigError(f"--name {name}: it must be a plain folder name")
        if (runs / name).exists():
            raise ConfigError(
                f"a run called {name} is in {runs}: go on with it by --resume {name},"
                " or start anew under another --name"
            )
        return runs / name
    folder, number = runs / proposed, 1
    while folder.exists():
        number += 1
        folder = runs / f"{proposed}-{number}"
    if number > 1:
        out.note(f"run {proposed} exists; this one is {folder.name}")
    return folder


def _corpus(
    out: Terminal, origin: Origin, reading: Reading, folder: Path, stack: ExitStack, begin: Checkpoint | None
) -> Corpus:
    """The text as ids, from files, stdin or the catalogue; with the symbols of the model to begin from.

    Raises CharrnnError.
    """
    from charrnn import catalog
    from charrnn.corpus import open_corpus, sources, spooled
    from charrnn.errors import CorpusError

    given = origin.texts or [catalog.DEFAULT]
    if given.count("-") > 1:
        raise CorpusError("TEXT: - stands twice, but there is one standard input")
    texts: list[Source] = []
    for path in given:
        if path == "-":
            texts.append(stack.enter_context(spooled(out.stdin)))
        elif not Path(path).exists() and path in catalog.entries():
            entry = catalog.entry(path)
            found = catalog.local(entry, folder)
            texts += found if found is not None else sources([fetch_corpus(out, entry, folder)])
        else:
            texts += sources([path], origin.glob)
    title = "standard input" if given[0] == "-" else Path(given[0]).name
    if len(given) > 1:
        title += f" and {len(given) - 1} more"
    bars: dict[str, Any] = {}

    def progress(what: str, characters: int) -> None:
        if what not in bars:
            bars[what] = stack.enter_context(out.bar(desc=what, unit="char", unit_scale=True, delay=1))
        bars[what].update(characters)

    known = begin.header.vocabulary.symbols if begin else ""
    corpus = open_corpus(texts, title, reading, known=known, progress=progress)
    for bar in bars.values():
        bar.close()
    if begin is not None:
        new = sorted(set(corpus.vocabulary.symbols) - set(known))
        what = f"new rows for {' '.join(map(repr, new))}" if new else "no new characters"
        out.note(f"from   {begin.path}: its {len(known)} symbols stay, {what}")
    return corpus


def _train(
    out: Terminal,
    run: Path,
    corpus: Corpus,
    model_config: ModelConfig,
    config: TrainConfig,
    device: str,
    last: Checkpoint | None,
    origin: Origin,
    begin: Checkpoint | None,
) -> None:
    # OpenMP's threads spin while they wait for each other, and where another process holds one of
    # the cores that makes training many times slower; this is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The slow import, of torch, comes after everything that can be wrong without it.
    from charrnn import devices, history
    from charrnn.checkpoint import BEST
    from charrnn.train import Notice, Progress, Training

    corpus.splits(config.split)
    place = devices.join(device)
    try:
        training = Training(corpus, model_config, config, run, place, last, asdict(origin), begin)
        if not place.leads:
            out = out.muted()
        _announce(out, training, devices.describe(place))
        with _polite(training) as caught:
            bar = out.bar(unit="char", unit_scale=True, smoothing=0.05)
            for event in training.run():
                if isinstance(event, Progress):
                    _advance(bar, event, training.characters_per_step)
                elif isinstance(event, Notice):
                    out.note(event.text)
                else:
                    _tell(out, event)
            out.end_bars()
    finally:
        devices.leave()
    if not training.done:
        raise _stopped(training, caught[0] if caught else signal.SIGTERM)
    out.note(history.verdict(history.read(run)))
    out.write(f"{run / BEST}\n".encode())


def _stopped(training: Training, number: int) -> Stopped:
    run = training.folder
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    where = "" if run.parent == checkpoints_folder(None) else f" --checkpoints {shlex.quote(str(run.parent))}"
    return Stopped(
        f"{name}: saved at step {training.step} of {training.steps};"
        f" charrnn train --resume {shlex.quote(run.name)}{where} goes on",
        128 + number,
    )


def _announce(out: Terminal, training: Training, device: str) -> None:
    from charrnn.network import parameters

    learner, corpus, config = training.learner, training.corpus, training.config
    model, batches = learner.model.config, learner.batches
    size = len(corpus.vocabulary)
    out.note(
        f"text   {corpus.name}: {len(corpus.ids):,} characters, {size} symbols;"
        f" {len(learner.train_part):,} train, {len(learner.validation_part):,} validate"
    )
    out.note(
        f"model  {model.cell} {model.layers} x {model.hidden}, embedding {model.embedding or 'one-hot'}:"
        f" {parameters(model, size):,} parameters; {device}"
    )
    out.note(f"run    {training.folder}")
    if (batches.streams, batches.bptt) != (config.streams, config.bptt):
        out.note(
            f"the text is short: {batches.streams} streams and windows of {batches.bptt},"
            f" not {config.streams} and {config.bptt}"
        )
    if not learner.validation_part:
        out.note("the text is too short for a validation part: the best model is the one that fits it best")


def _advance(bar: Any, now: Progress, characters_per_step: float) -> None:
    """Move the bar to where training is."""
    from charrnn.train import bits

    bar.total = round(now.steps * characters_per_step)
    bar.set_description(f"epoch {now.epoch:.2f}", refresh=False)
    bar.set_postfix_str(f"loss {now.nats:.3f} ({bits(now.nats):.3f} bpc)", refresh=False)
    bar.update(round(now.step * characters_per_step) - bar.n)


def _tell(out: Terminal, report: Report) -> None:
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
def _polite(training: Training) -> Iterator[list[int]]:
    """The first Ctrl-C or SIGTERM ends the run after the step in hand; a second ends it at once."""
    caught: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        training.stop = True
        for each in before:
            signal.signal(each, signal.SIG_DFL if each != signal.SIGINT else signal.default_int_handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
