"""``charrnn inspect-cell``: a text coloured by what one unit does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli import shades
from charrnn.cli.options import (
    CheckpointArgument,
    CheckpointsOption,
    checkpoints_folder,
    one_thread,
    read_ids,
    terminal,
)
from charrnn.cli.terminal import Terminal

if TYPE_CHECKING:
    from charrnn.inference.network import Ids, Inference
    from charrnn.text.vocabulary import Vocabulary


class Colour(StrEnum):
    """When to colour."""

    auto = "auto"
    always = "always"
    never = "never"


def inspect_cell(
    context: typer.Context,
    checkpoint: CheckpointArgument = None,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT|-",
            help="A file to read, - for stdin; none: stdin if something is piped in, else a fresh sample.",
            show_default=False,
        ),
    ] = None,
    layer: Annotated[int, typer.Option(min=0, help="Which layer, the lowest is 0.")] = 0,
    unit: Annotated[int, typer.Option(min=0, help="Which unit of the layer, from 0.")] = 0,
    of: Annotated[
        str | None,
        typer.Option(
            metavar="SIGNAL",
            help="What of the unit: hidden, memory, or a gate of the cell (input, forget, ...)."
            " Default: memory, or hidden where the cell has none.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help='One line a character: {"char": ..., "value": ...}.')
    ] = False,
    colour: Annotated[
        Colour, typer.Option(help="auto colours on a terminal and writes JSON lines into a pipe.")
    ] = Colour.auto,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Inspect a fresh sample of N characters.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The fresh sample's seed. Default: drawn, and told.")
    ] = None,
    checkpoints: CheckpointsOption = None,
) -> None:
    """Show the value of one unit after every character of a text: red below 0, blue above.

    A memory is shown as its tanh, so every value lies between -1 and 1 (a gate's between 0 and 1).

    Examples:
      charrnn inspect-cell shakespeare --layer 0 --unit 17 < out.txt

      charrnn inspect-cell shakespeare out.txt --unit 17 --colour always | less -R

      charrnn inspect-cell --of forget --json < out.txt | jq -r 'select(.value > 0.9).char'
    """
    one_thread()
    from charrnn.errors import ConfigError
    from charrnn.files import json_line
    from charrnn.inference.inspect_cell import default_signal, watch
    from charrnn.inference.network import Inference
    from charrnn.runs.checkpoint import find, load

    out = terminal(context)
    if text is not None and sample is not None:
        raise ConfigError("TEXT and --sample: give one of the two")
    loaded = load(find(checkpoint, checkpoints_folder(checkpoints)))
    inference, vocabulary = Inference(loaded.header.model, loaded.weights), loaded.header.vocabulary
    signal = of or default_signal(inference.cell)
    pieces: Iterable[Ids]
    if sample is not None or (text is None and out.stdin_tty):
        pieces = _fresh(out, inference, vocabulary, sample or 500, seed)
    else:
        pieces = _some(read_ids(out, vocabulary, text or "-"))
    values = _characters(watch(inference, pieces, layer, unit, signal), vocabulary)
    if not as_json and (colour is Colour.always or (colour is Colour.auto and shades.wanted(out))):
        _paint(out, values, f"{loaded.path.parent.name} layer {layer} unit {unit} {signal}")
    else:
        for unit_text, value in values:
            line: dict[str, object] = {"char": unit_text, "value": round(value, 6)}
            if vocabulary.byte_level:
                byte = ord(unit_text)
                line = {"char": unit_text if byte < 128 else "\ufffd", "byte": byte, "value": round(value, 6)}
            out.write(json_line(line))


def _some(pieces: Iterator[Ids]) -> Iterator[Ids]:
    """The same pieces. Raises CorpusError when there are none."""
    from charrnn.errors import CorpusError

    first = next(pieces, None)
    if first is None:
        raise CorpusError("the text is empty: give one, or --sample 500")
    yield from chain([first], pieces)


def _fresh(
    out: Terminal, inference: Inference, vocabulary: Vocabulary, length: int, seed: int | None
) -> Iterator[Ids]:
    """(length,) ids of a fresh sample, drawn when they are asked for."""
    from charrnn.inference import sample as sampling

    seed = sampling.choose_seed(seed)
    out.note(f"seed {seed}")
    yield sampling.sample_ids(inference, vocabulary, length, sampling.generator(seed), 0.8)


def _characters(
    watched: Iterable[tuple[Ids, Iterable[float]]], vocabulary: Vocabulary
) -> Iterator[tuple[str, float]]:
    for ids, values in watched:
        yield from ((vocabulary.symbols[i], float(v)) for i, v in zip(ids, values, strict=True))


def _paint(out: Terminal, values: Iterable[tuple[str, float]], title: str) -> None:
    values = iter(values)
    first = list(islice(values, 1))  # what goes wrong at once, or is told of a fresh sample, comes before
    out.write(f"{title}: -1 {shades.scale()} 1\n".encode())
    for character, value in chain(first, values):
        out.write(shades.shaded(character, value).encode("utf-8", "replace"))
