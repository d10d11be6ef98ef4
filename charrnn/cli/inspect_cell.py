"""``charrnn inspect-cell``: a text coloured by what one unit does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.common import (
    CheckpointArgument,
    CheckpointsOption,
    checkpoints_folder,
    read_ids,
    terminal,
)
from charrnn.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich.color import ColorSystem

    from charrnn.inference import Ids, Inference
    from charrnn.vocab import Vocabulary


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
    from charrnn.checkpoint import find, load
    from charrnn.errors import ConfigError
    from charrnn.files import json_line
    from charrnn.inference import Inference
    from charrnn.inspect_cell import default_signal, watch

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
    if not as_json and (colour is Colour.always or (colour is Colour.auto and _colours(out))):
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
    import numpy as np

    from charrnn import sample as sampling

    generator, seed = sampling.seeded(seed)
    out.note(f"seed {seed}")
    start = sampling.opening(vocabulary)
    yield np.fromiter(sampling.sample(inference, start, sampling.Choice(0.8), length, generator), np.int64)


def _characters(
    watched: Iterable[tuple[Ids, Iterable[float]]], vocabulary: Vocabulary
) -> Iterator[tuple[str, float]]:
    for ids, values in watched:
        yield from ((vocabulary.symbols[i], float(v)) for i, v in zip(ids, values, strict=True))


def _colours(out: Terminal) -> bool:
    return out.stdout_tty and not os.environ.get("NO_COLOR")


LEVELS = 12
"""Shades on each side of 0."""


@cache
def _escape(level: int, system: ColorSystem) -> tuple[str, str]:
    """What to write before and after a character of this level, -LEVELS (red) to LEVELS (blue)."""
    from rich.color import Color
    from rich.style import Style

    share = abs(level) / LEVELS
    towards = (214, 39, 40) if level < 0 else (31, 119, 220)
    red, green, blue = (round(255 + (end - 255) * share) for end in towards)
    ink = 255 if share > 0.6 else 0  # as RGB: a theme's own black is often grey
    colours = (Color.from_rgb(ink, ink, ink), Color.from_rgb(red, green, blue))
    ink_colour, background = (colour.downgrade(system) for colour in colours)
    style = Style(color=ink_colour, bgcolor=background)
    before, _, after = style.render("\0", color_system=system).partition("\0")
    return before, after


def _visible(character: str) -> str:
    """Control characters as pictures, so that a text cannot steer the terminal."""
    code = ord(character)
    if character == "\n":
        return "\n"
    if code < 32:
        return chr(0x2400 + code)
    return "\u2421" if code == 127 else character if character.isprintable() else "\ufffd"


def _paint(out: Terminal, values: Iterable[tuple[str, float]], title: str) -> None:
    from rich.color import ColorSystem
    from rich.console import Console

    named = {"standard": ColorSystem.STANDARD, "truecolor": ColorSystem.TRUECOLOR}
    detected = Console(force_terminal=True).color_system or "256"
    system = named.get(detected, ColorSystem.EIGHT_BIT)

    def painted(character: str, value: float) -> str:
        before, after = _escape(max(-LEVELS, min(LEVELS, round(value * LEVELS))), system)
        return f"{before}{character}{after}"

    values = iter(values)
    first = list(islice(values, 1))  # what goes wrong at once, or is told of a fresh sample, comes before
    scale = "".join(painted(" ", level / LEVELS) for level in range(-LEVELS, LEVELS + 1))
    out.write(f"{title}: -1 {scale} 1\n".encode())
    for character, value in chain(first, values):
        # A newline is marked, then broken outside the colour, or the terminal paints the rest of the line.
        shown = painted("\u23ce", value) + "\n" if character == "\n" else painted(_visible(character), value)
        out.write(shown.encode("utf-8", "replace"))
