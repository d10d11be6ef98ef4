"""``charrnn train``: train a model on a text, and print the path of its best checkpoint."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import typer

from charrnn.cli import train_options as option
from charrnn.cli.options import CORPORA, RUNS, CheckpointsOption, CorporaOption, QuietOption
from charrnn.cli.terminal import Terminal, is_main_process
from charrnn.cli.text_source import read_corpus
from charrnn.cli.train_command import (
    advise,
    kept_options,
    longer_command,
    pipe_again,
    repeat_command,
    run_reference,
    sample_command,
)
from charrnn.cli.train_ngram import add_ngram
from charrnn.cli.train_plan import Plan, choose_settings, make_plan, warn_of_memory
from charrnn.cli.train_progress import (
    announce,
    follow,
    stop_on_signals,
    stopped,
    unsaved,
)
from charrnn.cli.train_screen import screen
from charrnn.config import ModelConfig, TrainConfig
from charrnn.errors import CharrnnError, CorpusError, is_out_of_memory

if TYPE_CHECKING:
    from pathlib import Path

    from charrnn.runs.lock import RunLock
    from charrnn.text.corpus import Corpus
    from charrnn.training.devices import ProcessGroup


def train(
    context: typer.Context,
    text: option.Texts = None,
    name: option.Name = None,
    checkpoints: CheckpointsOption = RUNS,
    resume: option.Resume = None,
    start: option.From = None,
    cell: option.Cell = ModelConfig.cell,
    layers: option.Layers = None,
    hidden: option.Hidden = None,
    params: option.Params = None,
    embedding: option.Embedding = ModelConfig.embedding,
    residual: option.Residual = None,
    readout: option.Readout = None,
    attention: option.Attention = None,
    backward: option.Backward = ModelConfig.backward,
    epochs: option.Epochs = None,
    steps: option.Steps = None,
    minutes: option.Minutes = None,
    patience: option.Patience = None,
    streams: option.Streams = TrainConfig.streams,
    bptt: option.Bptt = TrainConfig.bptt,
    dropout: option.Dropout = None,
    weight_drop: option.WeightDrop = None,
    precision: option.Precision = TrainConfig.precision,
    optimizer: option.Optimizer = TrainConfig.optimizer,
    lr: option.LearningRate = None,
    muon: option.Muon = TrainConfig.muon,
    clip: option.Clip = TrainConfig.clip,
    seed: option.Seed = TrainConfig.seed,
    save_every: option.SaveEvery = None,
    with_ngram: option.WithNgram = False,
    tensorboard: option.TensorBoard = False,
    quiet: QuietOption = False,
    device: option.Device = "auto",
    split: option.Split = option.SPLIT,
    glob: option.Glob = "*",
    encoding: option.Encoding = "utf-8",
    as_bytes: option.Bytes = False,
    newlines: option.Newlines = None,
    documents: option.Documents = None,
    label: option.Labels = None,
    vector: option.Vectors = None,
    label_by: option.LabelBy = None,
    condition: option.ConditionSteps = ModelConfig.condition,
    loss: option.Loss = TrainConfig.loss,
    corpora: CorporaOption = CORPORA,
) -> None:
    """Train a model on a text. On stdout, print only the path of its best checkpoint.

    Examples:
      charrnn train notes.txt --minutes 5
      charrnn sample "$(charrnn train tinyshakespeare --minutes 1)" | head -c 300
      zcat logs/*.gz | charrnn train --name logs --cell gru --hidden 512
      charrnn train names.txt --documents line
      charrnn train tunes.jsonl --documents json --label key --label meter
    """
    out: Terminal = context.obj if is_main_process() else Terminal.muted()
    out.stdin_advice = "give - as TEXT to learn it"
    plan = make_plan(out, context)
    try:
        corpus = _read(out, plan)
        out.note_unread_stdin()
        best = _run(out, plan, corpus)
    except KeyboardInterrupt:  # before the run handles signals itself
        raise unsaved(signal.SIGINT) from None
    out.write_path(best)


def _read(out: Terminal, plan: Plan) -> Corpus:
    """The plan's text as ids. Raises CorpusError, DownloadError."""
    model = plan.last or plan.start
    known = model.header.vocabulary.symbols if model else ""
    try:
        values = plan.model.conditions
        corpus = read_corpus(out, plan.origin, plan.options["corpora"], known, known_values=values)
    except CorpusError as error:
        if plan.last is None:
            raise
        command = f"charrnn train TEXT --resume {shlex.quote(run_reference(plan.last.path.parent))}"
        raise CorpusError(f"{error}; if the text has moved, give its new path: {command}") from error
    corpus.splits(plan.config.split)  # raises CorpusError if the training part is too short
    if plan.start:
        new = " ".join(map(repr, sorted(set(corpus.vocabulary.symbols) - set(known))))
        fact = f"{plan.options['start']}: knows {len(known)} symbols; new in this text: {new or 'none'}"
        screen(out).facts({"from": fact})
    return corpus


def _run(out: Terminal, plan: Plan, corpus: Corpus) -> Path:
    """Train, and return the path of the best checkpoint. Raises Stopped, CharrnnError."""
    # torch is imported here, after everything that can fail without it: the import is slow.
    # OpenMP reads this variable then. Its threads would spin while they wait for each other, which
    # makes training many times slower where another process holds a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from charrnn.runs.checkpoint import BEST
    from charrnn.runs.new_run import new_run_folder
    from charrnn.training import devices
    from charrnn.training.tensorboard import event_writer
    from charrnn.training.train import Training

    with _guarded_group(plan.options["device"]) as group:
        plan = choose_settings(out, plan, corpus, group)
        if group.device.type == "cpu":
            warn_of_memory(out, plan.model, len(corpus.vocabulary))
        with ExitStack() as stack:
            # Other processes than the main one write nothing to the folder.
            folder: Path | RunLock = plan.runs / (plan.name or "")
            if plan.last is None and group.is_main:
                default = plan.origin.run_name
                folder = stack.enter_context(new_run_folder(plan.runs, plan.name, default))
                if (name := folder.folder.name) != (plan.name or default):
                    out.note(f"run {default} exists: this run is called {name}")
            training = Training(
                corpus,
                plan.model,
                plan.config,
                folder,
                group,
                resume=plan.last,
                origin=plan.origin.record(),
                pretrained=plan.start,
                new_budget=plan.new_budget,
            )
            announce(out, training, devices.describe(group))
            ended = training.done
            if plan.last and ended:
                texts = training.origin["texts"]
                more = kept_options(plan.options)
                command = longer_command(training.folder, plan.last.header, texts, more)
                out.note(f"to train on{pipe_again(texts)}: {command}")
            write_events = None
            if plan.options["tensorboard"] and group.is_main:
                write_events = stack.enter_context(event_writer(training.folder))
            signals = stack.enter_context(stop_on_signals(training, plan.options))
            follow(out, training, write_events)
            devices.barrier()
    run = training.folder
    if not training.done:  # without signals, another process of the group received one
        raise stopped(training, signals[0] if signals else signal.SIGTERM, plan.options)
    best = run / BEST
    if group.is_main and not best.exists():
        raise CharrnnError(f"{best} is missing: this run had ended, and its best checkpoint was removed")
    models = [run]
    if plan.options["with_ngram"] and group.is_main:
        models.append(add_ngram(out, best, corpus, plan.options))
    advice, command = advise(run, kept_options(plan.options))
    commands = [command] if command and not ended else []
    if plan.last is None:
        repeat = repeat_command(training, plan.origin, plan.options)
        commands.append(f"to repeat exactly{pipe_again(training.origin['texts'])}: {repeat}")
    screen(out).end(advice, [*commands, f"to sample: {sample_command(*models)}"])
    return best


@contextmanager
def _guarded_group(device: str) -> Iterator[ProcessGroup]:
    """The process group, left at the end.

    Raises CharrnnError when memory runs out inside, or another process of the group is gone.
    """
    from charrnn.training import devices

    group = devices.join(device)
    try:
        yield group
    except Exception as error:
        if is_out_of_memory(error):
            raise CharrnnError("not enough memory: try a smaller --hidden, --streams or --bptt") from error
        if group.world_size > 1 and devices.connection_lost(error):
            raise CharrnnError(
                "the connection to another process of this training is lost: start all processes again, to"
                " continue from the last save, with charrnn train --resume RUN"
            ) from error
        raise
    finally:
        devices.shutdown()
