"""``charrnn inspect-cell``: a text with the value of one unit at each character."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli import completion, shades
from charrnn.cli.options import (
    RUNS,
    CheckpointArgument,
    CheckpointsOption,
    ColourOption,
    QuietOption,
    TextArgument,
    find_checkpoint,
    one_thread,
    option,
)
from charrnn.cli.terminal import Colour, Terminal
from charrnn.cli.text_source import read_ids
from charrnn.errors import ConfigError, CorpusError
from charrnn.files import json_line

if TYPE_CHECKING:
    from charrnn.inference.network import Ids, Inference
    from charrnn.text.vocabulary import Vocabulary

PIPE_WIDTH = 80
"""Columns of a line of text where stdout is no terminal."""


def inspect_cell(
    context: typer.Context,
    checkpoint: CheckpointArgument = None,
    text: TextArgument = None,
    layer: Annotated[int, option("The unit's layer; 0 is the lowest.", min=0)] = 0,
    unit: Annotated[int, option("The unit's number in its layer, from 0.", min=0)] = 0,
    of: Annotated[
        str | None,
        option(
            "Show the hidden state (hidden), the cell state (cell or memory) or a gate (input, forget, ...).",
            default="the cell state, or the hidden state where the cell has no cell state",
            metavar="SIGNAL",
            complete=completion.signals,
        ),
    ] = None,
    as_json: Annotated[bool, option('Print JSON lines: {"char": ..., "value": ...}.', "--json")] = False,
    colour: ColourOption = Colour.auto,
    sample: Annotated[int | None, option("Read a sample of N characters.", min=1, metavar="N")] = None,
    seed: Annotated[
        int | None,
        option("Seed of the sample.", "--seed", "-s", default="random; printed on stderr", min=0),
    ] = None,
    quiet: QuietOption = False,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    """Show the value of one unit after every character of a text.

    With colours, the background is red below 0 and blue above. Without colours, a line of marks
    follows each line of the text: ▁▂▃▄ from -1 up to 0, none near 0, ▅▆▇█ from 0 up to 1.

    Values lie between -1 and 1, those of sigmoid gates between 0 and 1; the cell state c is shown as
    tanh(c). The candidate and hidden state of mingru and minlstm are linear and have no bounds.

    Without TEXT and --sample, the text is what is piped in or, if nothing is, a sample of 500 characters.

    Examples:
      charrnn inspect-cell shakespeare --unit 117 < out.txt
      charrnn inspect-cell shakespeare out.txt --unit 117 --colour always | less -R
      charrnn inspect-cell --of forget --json < out.txt | jq 'select(.value > 0.9)'
    """
    one_thread()
    from charrnn.inference.inspect_cell import default_signal, unit_values
    from charrnn.inference.network import Inference
    from charrnn.runs.checkpoint import load
    from charrnn.runs.find import model_name

    out: Terminal = context.obj
    out.stdin_advice = "give - as TEXT to read it"
    if text is not None and sample is not None:
        raise ConfigError("TEXT and --sample: give one of the two")
    # Given "-" as CHECKPOINT, stdin is the model.
    piped = out.stdin_unread and checkpoint != "-"
    sampled = sample is not None or (text is None and not piped)
    if seed is not None and not sampled:
        raise ConfigError("--seed has no effect without --sample: only a sample is random")
    if as_json and colour is Colour.always:
        raise ConfigError("--json and --colour: JSON has no colours")
    loaded = load(find_checkpoint(out, checkpoint, checkpoints))
    inference, vocabulary = Inference(loaded.header.network, loaded.weights), loaded.header.vocabulary
    signal = of or default_signal(inference.cell)
    pieces: Iterable[Ids]
    if sampled:
        pieces = _fresh_sample(out, inference, vocabulary, sample or 500, seed)
    else:
        pieces = read_ids(out, vocabulary, text or "-")
    values: Iterator[tuple[str, float]] = (
        (vocabulary.symbols[symbol_id], float(value))
        for ids, piece_values in unit_values(inference, pieces, layer, unit, signal)
        for symbol_id, value in zip(ids, piece_values, strict=True)
    )
    first = next(values, None)  # computed before anything is written, so that an error comes alone
    if first is None:
        raise CorpusError("the text is empty: give another, or --sample 500")
    values = chain([first], values)
    if as_json:
        _write_json(out, values, vocabulary.byte_level)
        return
    title = f"{model_name(loaded.path)} layer {layer} unit {unit} {signal}"
    _write_text(out, title, values, out.colours(colour))


def _write_text(out: Terminal, title: str, values: Iterable[tuple[str, float]], coloured: bool) -> None:
    """Write a legend, and the text with the values as colours or as marks."""
    if coloured:
        legend = f"-1 {shades.scale()} 1"
        lines: Iterable[str] = (shades.shaded(character, value) for character, value in values)
    else:
        legend = f"-1 {shades.MARKS} 1, marks under each line"
        width = shutil.get_terminal_size().columns if out.stdout_tty else PIPE_WIDTH
        lines = shades.marked(values, width)
    out.write(f"{title}: {legend}\n".encode())
    for line in lines:
        out.write(line.encode("utf-8", "replace"))


def _write_json(out: Terminal, values: Iterable[tuple[str, float]], byte_level: bool) -> None:
    """Write a JSON line for each character; at byte level with the byte."""
    for character, value in values:
        line: dict[str, object] = {"char": character}
        if byte_level:
            byte = ord(character)
            line = {"char": character if byte < 128 else "\ufffd", "byte": byte}
        out.write(json_line(line | {"value": round(value, 6)}))


def _fresh_sample(
    out: Terminal, inference: Inference, vocabulary: Vocabulary, length: int, seed: int | None
) -> Iterator[Ids]:
    """Yields the ids of a sample of the model, (length,). The seed is printed only if the ids are needed."""
    from charrnn.inference import sample as sampling

    seed = sampling.choose_seed(seed)
    out.note(f"seed {seed}")
    yield sampling.sample_ids(inference, vocabulary, length, sampling.sample_generator(seed), 0.8)
