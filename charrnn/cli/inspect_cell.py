"""``charrnn inspect-cell``: what the units of a network do, and what they are for."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from charrnn.cli import inspect_options as option
from charrnn.cli import shades
from charrnn.cli.inspect_input import Subject
from charrnn.cli.options import (
    CORPORA,
    RUNS,
    CheckpointArgument,
    CheckpointsOption,
    ColourOption,
    CorporaOption,
    PngOption,
    QuietOption,
    SvgOption,
    TextArgument,
    find_checkpoint,
    one_thread,
)
from charrnn.cli.reading_options import Unknown
from charrnn.cli.terminal import Colour, Terminal
from charrnn.cli.text_reader import Reader, Text
from charrnn.errors import ConfigError
from charrnn.files import json_line

if TYPE_CHECKING:
    from charrnn.inference.network import Ids, Inference
    from charrnn.text.vocabulary import Vocabulary

Options = dict[str, Any]
"""The command's parameters by name, with parsed values."""

PIPE_WIDTH = 80
"""Columns of a line of text where stdout is no terminal."""
SHORT_SAMPLE, LONG_SAMPLE = 500, 20_000
"""Characters of a sample to look at, and of one to measure on."""


def inspect_cell(
    context: typer.Context,
    checkpoint: CheckpointArgument = None,
    text: TextArgument = None,
    layer: option.Layer = 0,
    unit: option.Unit = None,
    of: option.Of = None,
    find: option.Find = False,
    find_regex: option.FindRegex = None,
    concept: option.Concept = None,
    top: option.Top = None,
    ablate: option.Ablate = False,
    clamp: option.Clamp = None,
    random_sets: option.RandomSets = 39,
    gates: option.Gates = False,
    errors: option.Errors = False,
    ngram: option.Ngram = None,
    training_text: option.TrainingText = None,
    html: option.Html = None,
    as_json: option.AsJson = False,
    colour: ColourOption = Colour.auto,
    png: PngOption = None,
    svg: SvgOption = None,
    sample: option.Sample = None,
    seed: option.Seed = None,
    unknown: option.UnknownCharacters = Unknown.error,
    quiet: QuietOption = False,
    corpora: CorporaOption = CORPORA,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    """Show the value of one unit after every character of a text.

    With colours, the background is red below 0 and blue above. Without colours, a line of marks
    follows each line of the text: ▁▂▃▄ from -1 up to 0, none near 0, ▅▆▇█ from 0 up to 1.

    Values lie between -1 and 1, those of sigmoid gates between 0 and 1; the cell state c is shown as
    tanh(c). The candidate and hidden state of mingru and minlstm are linear and have no bounds.

    Without TEXT and --sample, the text is what is piped in or, if nothing is, a sample.

    Examples:
      charrnn inspect-cell shakespeare --unit 117 < out.txt
      charrnn inspect-cell shakespeare out.txt --unit 117 --colour always | less -R
      charrnn inspect-cell --of forget --json < out.txt | jq 'select(.value > 0.9)'
    """
    mode = option.mode(context)
    out: Terminal = context.obj
    out.stdin_advice = "give - as TEXT to read it"
    if text is not None and sample is not None:
        raise ConfigError("TEXT and --sample: give one of the two")
    one_thread()
    subject = _subject(out, mode, context.params)
    match mode:
        case "find":
            from charrnn.cli.inspect_find import write
        case "ablate":
            from charrnn.cli.inspect_ablate import write
        case "gates":
            from charrnn.cli.inspect_gates import write
        case "errors":
            from charrnn.cli.inspect_errors import write
        case "html":
            from charrnn.cli.inspect_html import write
        case _:
            write = _write_values
    write(out, subject, context.params)


def _subject(out: Terminal, mode: str, options: Options) -> Subject:
    """The network, and the text that it is to read: a file, stdin, or a sample of its own."""
    from charrnn.inference.network import Inference
    from charrnn.inference.sample import opening_ids
    from charrnn.runs.checkpoint import load
    from charrnn.runs.find import model_name

    loaded = load(find_checkpoint(out, options["checkpoint"], options["checkpoints"]))
    inference, vocabulary = Inference(loaded.header.network, loaded.weights), loaded.header.vocabulary
    reader = Reader(out, vocabulary, options["unknown"])
    # Given "-" as CHECKPOINT, stdin was the model.
    if options["text"] is None and (options["sample"] is not None or not out.stdin_unread):
        length = options["sample"] or (SHORT_SAMPLE if mode in ("values", "html") else LONG_SAMPLE)
        pieces = _fresh_sample(out, inference, vocabulary, length, options["seed"])
        text = Text("a sample", pieces, opening_ids(vocabulary), length)
    else:
        (text,) = reader.texts([options["text"] or "-"])
    return Subject(model_name(loaded.path), loaded, inference, text, reader)


def _write_values(out: Terminal, subject: Subject, options: Options) -> None:
    """Write the text with the values of units."""
    from charrnn.inspection.activations import signal_name
    from charrnn.inspection.inspect_cell import unit_values

    inference, vocabulary = subject.inference, subject.vocabulary
    units = option.chosen_units(options["unit"], inference.config.hidden)
    signal = signal_name(inference.cell, options["of"])
    pieces = unit_values(inference, subject.pieces(), options["layer"], units, signal)
    values: Iterator[tuple[str, float]] = (
        (vocabulary.symbols[symbol_id], float(value))
        for ids, piece_values in pieces
        for symbol_id, value in zip(ids, piece_values[:, 0], strict=True)
    )
    if options["as_json"]:
        _write_json(out, values, vocabulary.byte_level)
    else:
        title = f"{subject.name} layer {options['layer']} unit {units[0]} {signal}"
        _write_text(out, title, values, out.colours(options["colour"]))
    subject.reader.report()


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
