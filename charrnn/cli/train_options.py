"""The options of ``charrnn train``, and the parsers of their values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn.config import DEFAULT_EPOCHS, DEFAULT_MINUTES, TrainConfig

_model = partial(typer.Option, rich_help_panel="Model")
_budget = partial(typer.Option, rich_help_panel="Budget (training ends at the first limit that is reached)")
_training = partial(typer.Option, rich_help_panel="Training")
_text = partial(typer.Option, rich_help_panel="Text")

CHOSEN = "Default: chosen from the text and the budget."
SPLIT: Any = ",".join(f"{share:g}" for share in TrainConfig.split)  # typer parses this default too


def parse_name(value: str) -> str:
    """--name: a folder's name."""
    if not value or value[0] in ".-" or Path(value).name != value:
        raise typer.BadParameter(f"{value!r} must be a plain folder name")
    return value


def parse_params(value: str) -> int:
    """--params: 1.27M, 375k or 45000 as a number."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)([kKmM]?)", value)
    if match is None:
        raise typer.BadParameter(f"{value!r} must be a number, e.g. 1.27M, 375k or 45000")
    return round(float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}[match[2].lower()])


def parse_save_every(value: str) -> dict[str, float]:
    """--save-every: a number of steps or a time, as the setting of TrainConfig that it gives."""
    minutes = {"s": 1 / 60, "m": 1.0, "h": 60.0}
    match = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)([smh])", value)
    if match is None or not float(match[1] or match[2]):
        raise typer.BadParameter(f"{value!r} must be steps, e.g. 500, or a time, e.g. 90s, 5m or 1h; above 0")
    if match[1]:
        return {"save_every": int(match[1])}
    return {"save_minutes": float(match[2]) * minutes[match[3]]}


def parse_split(value: str) -> Sequence[float]:
    """--split: the three shares."""
    try:
        first, second, third = map(float, value.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{value!r} must be three shares, e.g. 90,5,5") from error
    return first, second, third


Texts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEXT",
        help="Files, folders, - for stdin, or a name from `charrnn corpus list`; .gz, .bz2 and .xz are"
        " unpacked. Default: python-stdlib.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        parser=parse_name,
        help="Name of the run. Default: the text's name, with a number if that run exists.",
    ),
]
Resume = Annotated[
    str | None, typer.Option(metavar="RUN", help="Continue a stopped run exactly where it was saved.")
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="CHECKPOINT", help="Start with the weights of this checkpoint."),
]
# The cells by name; a test compares them with the files of charrnn/cells.
Cell = Annotated[
    str,
    _model(help="gru, gru-cho, lstm, lstm-coupled, lstm-peephole, mingru, minlstm, mut1, mut2, mut3, rnn."),
]
Layers = Annotated[int, _model(help="Number of layers.")]
Hidden = Annotated[int | None, _model(help=f"Units per layer. {CHOSEN}")]
Params = Annotated[
    int | None,
    _model(metavar="N", parser=parse_params, help="Choose the width to reach N parameters, e.g. 1.27M."),
]
Embedding = Annotated[int, _model(help="Width of the character embedding; 0: one-hot input.")]
Epochs = Annotated[float | None, _budget(help="Number of passes through the training part.")]
Steps = Annotated[int | None, _budget(help="Number of training steps.")]
Minutes = Annotated[
    float | None,
    _budget(
        help=f"Training time, converted to steps at the start. Default: {DEFAULT_MINUTES:g},"
        f" or {DEFAULT_EPOCHS:g} epochs if that is shorter."
    ),
]
Patience = Annotated[
    int | None,
    _budget(metavar="N", help="Stop after N reports without a lower validation loss. Default: never."),
]
Streams = Annotated[int, _training(help="Batch size: parallel streams that the text is cut into.")]
Bptt = Annotated[int, _training(help="Characters in a window, through which gradients flow back.")]
Dropout = Annotated[float | None, _training(help=f"Dropout on each layer's output (0 to 0.99). {CHOSEN}")]
WeightDrop = Annotated[
    float | None, _training(help=f"Dropout on the recurrent weights (0 to 0.99). {CHOSEN}")
]
Precision = Annotated[
    str, _training(help="float32, bfloat16, or auto: bfloat16 where the device computes faster in it.")
]
LearningRate = Annotated[float, _training(help="Highest learning rate of AdamW.")]
Muon = Annotated[
    float,
    _training(
        help="Highest learning rate of Muon, which trains the layers' weight matrices; 0: AdamW trains them."
    ),
]
Clip = Annotated[float, _training(help="Clip the gradient to this global norm; 0: no clipping.")]
Seed = Annotated[int, _training(help="Random seed; on one machine, the same seed gives the same model.")]
SaveEvery = Annotated[
    dict[str, float] | None,
    _training(
        metavar="N|TIME",
        parser=parse_save_every,
        help="A number, e.g. 500: steps between reports; each one validates, samples and saves."
        " A time, e.g. 90s, 5m, 1h: time between further saves. Default: about 20 reports per run, and 5m.",
    ),
]
TensorBoard = Annotated[
    bool, _training("--tensorboard", help="Also write TensorBoard events (pip install tensorboard).")
]
Device = Annotated[str, _training(help="cpu, cuda, mps, or auto: a GPU if there is one.")]
Split = Annotated[
    Sequence[float],
    _text(metavar="A,B,C", parser=parse_split, help="Training, validation and test shares of the text."),
]
Glob = Annotated[str, _text(help="Read the files of a folder that match, at any depth.")]
Encoding = Annotated[str, _text(help="Encoding of the text.")]
Bytes = Annotated[bool, _text("--bytes", help="Train on bytes instead of characters.")]
Newlines = Annotated[
    str | None, _text(help="lf: turn CRLF and CR into LF; keep: leave them. Default: lf; keep with --bytes.")
]
