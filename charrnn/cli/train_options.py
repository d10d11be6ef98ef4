"""The options of ``charrnn train``, and the parsers of their values.

A parser raises ValueError, "must be ..."; the message then names the option and the value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from charrnn.cli import completion
from charrnn.cli.options import option, panel, parse_text
from charrnn.config import (
    CONDITION_STEPS,
    DEFAULT_EPOCHS,
    DEFAULT_MINUTES,
    DEFAULT_STEPS,
    DEVICE_SYNONYMS,
    DEVICES,
    LEARNING_RATES,
    LOSSES,
    OPTIMIZERS,
    PRECISIONS,
    READOUTS,
    TrainConfig,
)
from charrnn.errors import did_you_mean
from charrnn.files import is_run_name

_model, _training, _text = panel("Model"), panel("Training"), panel("Text")
_documents = panel("Documents")

CHOSEN = "chosen from the text and the budget"
SPLIT: Any = ",".join(f"{share:g}" for share in TrainConfig.split)  # typer parses this default too


def parse_name(value: str) -> str:
    """--name: a folder's name."""
    if not is_run_name(value):
        raise ValueError("must be a plain folder name of at most 255 bytes")
    return value


def parse_device(value: str) -> str:
    """--device: auto, cpu, cuda, cuda:1 or mps; whether this machine has it is found out later."""
    if value.partition(":")[0] not in DEVICES:
        hint = did_you_mean(value, DEVICES, DEVICE_SYNONYMS)
        raise ValueError(f"must be auto, cpu, cuda (or cuda:1, ...) or mps{hint}")
    return value


def parse_params(value: str) -> int:
    """--params: 1.27M, 375k or 45000 as a number."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)([kKmM]?)", value)
    if match is None:
        raise ValueError("must be a number, e.g. 1.27M, 375k or 45000")
    return round(float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}[match[2].lower()])


def parse_attention(value: str) -> int:
    """--attention: the number of outputs."""
    if not re.fullmatch(r"\d{1,15}", value) or not int(value):
        raise ValueError("must be a whole number of at least 1; leave it out for none")
    return int(value)


def parse_save_every(value: str) -> dict[str, float]:
    """--save-every: a number of steps or a time, as the setting of TrainConfig that it gives."""
    minutes = {"s": 1 / 60, "m": 1.0, "h": 60.0}
    match = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)([smh])", value)
    if match is None or not float(match[1] or match[2]):
        raise ValueError("must be steps, e.g. 500, or a time, e.g. 90s, 5m or 1h; above 0")
    if match[1]:
        return {"save_every": int(match[1])}
    return {"save_minutes": float(match[2]) * minutes[match[3]]}


def parse_split(value: str) -> Sequence[float]:
    """--split: the three shares."""
    try:
        first, second, third = map(float, value.split(","))
    except ValueError as error:
        raise ValueError("must be three shares, e.g. 90,5,5") from error
    return first, second, third


def parse_label_by(value: str) -> str:
    """--label-by: file."""
    if value != "file":
        raise ValueError("must be file")
    return value


def parse_documents(value: str) -> str:
    """--documents: a kind of document, or a separator, unescaped."""
    from charrnn.text.documents import kind_problem

    kind = parse_text(value)
    if problem := kind_problem(kind):
        raise ValueError(f"must be {problem}")
    return kind


Texts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEXT",
        help="Files, folders, - for stdin, or a name from `charrnn corpus list`. Files that end in .gz, .bz2"
        " and .xz are unpacked.",
        show_default="python-stdlib, Python's standard library",
        autocompletion=completion.texts,
    ),
]
Name = Annotated[
    str | None,
    option(
        "Name of the run.",
        default="the text's name, with a number if that run exists",
        metavar="NAME",
        parser=parse_name,
    ),
]
Resume = Annotated[
    str | None,
    option(
        "Continue a stopped run exactly where it was saved; with --minutes, --epochs or --steps,"
        " train that much more.",
        metavar="RUN",
        complete=completion.resumable_runs,
    ),
]
From = Annotated[
    str | None,
    option(
        "Start with the weights of a checkpoint.",
        "--from",
        metavar="CHECKPOINT",
        complete=completion.checkpoints,
    ),
]

# The cells by name; a test compares them with the files of charrnn/cells.
CELLS = (
    "gru, gru-cho, lstm, lstm-coupled, lstm-cs230, lstm-peephole, lstm-peephole-full, mingru, minlstm, mut1,"
    " mut2, mut3, rnn"
)
Cell = Annotated[
    str, option(f"The recurrent cell. One of: {CELLS}.", metavar="CELL", complete=completion.cell_names)
]
Layers = Annotated[
    int | None, option("Number of layers.", default=f"{CHOSEN}; with --hidden: 1; with --params: from N")
]
Hidden = Annotated[int | None, option("Units per layer.", default=CHOSEN)]
Params = Annotated[
    int | None,
    _model(
        "Choose the width, and --layers if not given, to reach N parameters, e.g. 1.27M.",
        metavar="N",
        parser=parse_params,
    ),
]
Embedding = Annotated[int, _model("Width of the character embedding; 0: one-hot input.")]
Residual = Annotated[
    bool | None,
    _model(
        "Add the input of each layer to its output, from the second layer on; --no-residual: do not.",
        "--residual/--no-residual",
        default="--residual with two layers or more",
    ),
]
Readout = Annotated[
    str | None,
    _model(
        "Layers whose outputs predict the next character. top: the highest layer; all: all layers.",
        default="all with two layers or more",
        values=READOUTS,
    ),
]
Attention = Annotated[
    int | None,
    _model(
        "Also predict from the last N outputs of the highest layer, weighted by attention. At most --bptt.",
        default="none",
        metavar="N",
        parser=parse_attention,
    ),
]

Backward = Annotated[
    bool,
    _model(
        "Read the text from its end to its beginning: the model then writes what comes before a prompt.",
        "--backward",
    ),
]

Epochs = Annotated[float | None, option("Stop after N passes through the training part.")]
Steps = Annotated[int | None, option("Stop after N training steps.")]
Minutes = Annotated[
    float | None,
    option(
        "Train for N minutes. They are converted to steps at the start. The first limit that is reached ends"
        " the training: --epochs, --steps or --minutes.",
        default=f"{DEFAULT_MINUTES:g}, or {DEFAULT_EPOCHS:g} epochs (at least {DEFAULT_STEPS} steps) if that"
        " is shorter",
    ),
]
Patience = Annotated[
    int | None, _training("Stop after N reports without a lower validation loss.", default="never")
]

Streams = Annotated[int, _training("Batch size: parallel streams that the text is cut into.")]
Bptt = Annotated[int, _training("Characters in a window; gradients flow back through one window.")]
Dropout = Annotated[float | None, _training("Dropout on each layer's output, 0 to 0.99.", default=CHOSEN)]
WeightDrop = Annotated[
    float | None, _training("Dropout on the recurrent weights, 0 to 0.99.", default=CHOSEN)
]
Precision = Annotated[
    str,
    _training(
        "Numbers of the recurrent products; auto: bfloat16 on devices that compute in it.",
        values=PRECISIONS,
    ),
]
Optimizer = Annotated[
    str,
    _training(
        "The optimiser. muon: Muon for the layers' weight matrices, AdamW for all other parameters;"
        " adamw: AdamW for all; sgd: gradient descent without momentum.",
        values=OPTIMIZERS,
    ),
]
LearningRate = Annotated[
    float | None,
    _training(
        "Highest learning rate of AdamW or SGD.",
        default=f"{LEARNING_RATES['adamw']:g}; with --optimizer sgd: {LEARNING_RATES['sgd']:g}",
    ),
]
Muon = Annotated[float, _training("Highest learning rate of Muon.")]
Clip = Annotated[float, _training("Clip the gradient to this global norm; 0: no clipping.")]
Seed = Annotated[
    int, option("Random seed; on one machine, the same seed gives the same model.", "--seed", "-s")
]
SaveEvery = Annotated[
    dict[str, float] | None,
    _training(
        "Steps between reports, e.g. 500; each report gives the validation loss and a sample, and saves."
        " Or the time between further saves, e.g. 90s, 5m, 1h.",
        default="about 20 reports per run, and 5m",
        metavar="N|TIME",
        parser=parse_save_every,
    ),
]
WithNgram = Annotated[
    bool,
    option(
        "Also make an n-gram model of the text, the run NAME-ngram, and print the loss of the mixture of"
        " both.",
        "--with-ngram",
    ),
]
TensorBoard = Annotated[
    bool, _training("Also write TensorBoard events (needs tensorboard).", "--tensorboard")
]
Device = Annotated[
    str,
    _training("Device that trains; auto: a GPU if there is one.", values=DEVICES, parser=parse_device),
]

Split = Annotated[
    Sequence[float],
    _text("Training, validation and test shares of the text.", metavar="A,B,C", parser=parse_split),
]
Glob = Annotated[str, _text("In folders, read only the files that match, at any depth.", metavar="PATTERN")]
Encoding = Annotated[str, _text("Encoding of the text.", metavar="NAME")]
Bytes = Annotated[bool, _text("Read the text as bytes instead of characters.", "--bytes")]
Newlines = Annotated[
    str | None,
    _text(
        "Line ends: lf turns CRLF and CR into LF, keep leaves them.",
        default="lf; with --bytes: keep",
        values=("lf", "keep"),
    ),
]

Documents = Annotated[
    str | None,
    _documents(
        "Read the text as documents that begin and end: line: each line; blank: each paragraph between blank"
        ' lines; file: each file; json: the "text" of each JSON line; any other text: what stands between'
        r" two documents, e.g. '\n---\n'.",
        default="one long text",
        metavar="line|blank|file|json|SEPARATOR",
        parser=parse_documents,
        complete=lambda: ["line", "blank", "file", "json"],
    ),
]
Labels = Annotated[
    list[str] | None,
    _documents(
        "Train with this field of the JSON lines as a label: a category, e.g. a language. Can be repeated.",
        "--label",
        metavar="FIELD",
        parser=parse_text,
    ),
]
Vectors = Annotated[
    list[str] | None,
    _documents(
        "Train with this field of the JSON lines as a vector: numbers, e.g. an image's features. Can be"
        " repeated.",
        "--vector",
        metavar="FIELD",
        parser=parse_text,
    ),
]
LabelBy = Annotated[
    str | None,
    _documents(
        "Label each document with the name of its file; without --documents, paragraphs are the documents.",
        values=("file",),
        parser=parse_label_by,
    ),
]
ConditionSteps = Annotated[
    str,
    _documents(
        "Where labels and vectors are read. every: with every character; first: with START alone.",
        "--condition",
        values=CONDITION_STEPS,
    ),
]
Loss = Annotated[
    str,
    _documents(
        'What the loss counts. all: every character; text: those of "text", not those of "prompt".',
        values=LOSSES,
    ),
]
