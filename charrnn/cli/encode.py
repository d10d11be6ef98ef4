"""``charrnn encode``: the state after each text or line, as JSON lines or as an array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from charrnn.cli import completion
from charrnn.cli.options import (
    RUNS,
    CheckpointsOption,
    QuietOption,
    check_new_file,
    find_checkpoint,
    one_thread,
    option,
    refuse_stdout,
)
from charrnn.cli.reading_options import Unknown, unknown_option
from charrnn.cli.score_input import Model, split_arguments, texts_or_stdin
from charrnn.cli.score_line_reader import LineReader, windows
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_reader import Reader, title
from charrnn.errors import ConfigError
from charrnn.files import atomic_write, json_line

if TYPE_CHECKING:
    from charrnn.inference.network import Inference
    from charrnn.inference.ops import Floats
    from charrnn.inspection.activations import Signal


def _parse_layer(value: str) -> int | Literal["all"]:
    """Parse "all" or a number. Raises ValueError, "must be ..."."""
    if value == "all":
        return "all"
    if not value.isdecimal():
        raise ValueError("must be all, or the number of a layer; 0 is the lowest")
    return int(value)


class Encoded(NamedTuple):
    """Some texts: what JSON says about each, and the features (R, F) of the states after them."""

    rows: Sequence[dict[str, Any]]
    states: Floats


def encode(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CHECKPOINT TEXT|-",
            help="A checkpoint, then texts. A checkpoint is a file, a run's folder or its name. A text is a"
            " file, or - for stdin.",
            show_default="the newest run, and the text that is piped in",
            autocompletion=completion.checkpoints,
        ),
    ] = None,
    lines: Annotated[bool, option("Encode each line by itself.", "--lines")] = False,
    layer: Annotated[
        Any,
        option(
            "The layer of the state; 0 is the lowest.",
            default="the highest",
            metavar="N|all",
            parser=_parse_layer,
        ),
    ] = None,
    of: Annotated[
        str,
        option(
            "Write the hidden state (hidden), the cell state (cell or memory) or both (all).",
            metavar="hidden|cell|all",
        ),
    ] = "hidden",
    output: Annotated[
        Path | None,
        option(
            "Save an array of NumPy, a row for each text or line, instead of JSON lines.",
            "--output",
            "-o",
            metavar="FILE.npy",
            callback=refuse_stdout,
        ),
    ] = None,
    unknown: Annotated[Unknown, unknown_option(option, "Characters of the texts")] = Unknown.error,
    quiet: QuietOption = False,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    """Turn each text or line into a vector: the state of the network after it.

    Search, clustering and classifiers can compare such vectors. Each text or line is read from a state of
    zeros, a line without its newline; the vector of an empty line is 0. The cell state c is written as
    tanh(c). With --layer all, the lowest layer comes first; with --of all, the hidden state of a layer comes
    before its cell state.

    Examples:
      charrnn encode shakespeare notes.txt --lines
      charrnn encode shakespeare notes.txt --lines --output lines.npy
      charrnn encode python a.py b.py --layer all --of all | jq .state
    """
    from charrnn.inference.network import Inference
    from charrnn.inspection.encode import state_parts
    from charrnn.runs.checkpoint import load
    from charrnn.runs.find import model_name

    out: Terminal = context.obj
    out.stdin_advice = "give - as the text to read it"
    _check_output(output)
    names, texts = split_arguments(arguments or [], checkpoints)
    if len(names) > 1:
        raise ConfigError(f"{names[1]}: give one checkpoint; the states of two networks cannot be compared")
    texts = list(texts_or_stdin(out, texts, names, "encode"))
    one_thread()
    loaded = load(find_checkpoint(out, names[0] if names else None, checkpoints))
    inference = Inference(loaded.header.network, loaded.weights)
    parts = state_parts(inference, layer, of)
    model = Model(model_name(loaded.path), inference, loaded.header.vocabulary)
    reader = LineReader(out, model, unknown)
    encoded = (_lines if lines else _texts)(out, reader, inference, texts, parts)
    if output is not None:
        with atomic_write(output) as file:
            _write_array(file, encoded, inference.config.hidden * len(parts))
        out.note(f"wrote {output}")
    else:
        _write_json(out, encoded)
    reader.report()


def _check_output(path: Path | None) -> None:
    """Raise CharrnnError where --output names no new file, ConfigError where it names no array."""
    if path is None:
        return
    if path.suffix != ".npy":
        raise ConfigError(f"--output {path}: the name must end with .npy; JSON lines: > {path}")
    check_new_file("--output", path)


def _texts(
    out: Terminal, reader: Reader, inference: Inference, paths: Sequence[str], parts: Sequence[Signal]
) -> Iterator[Encoded]:
    """Encode whole texts. Raises CorpusError for an empty one."""
    from charrnn.inspection.encode import encode_stream

    for text in reader.texts(paths):
        with out.bar(desc="encoding", unit="char", unit_scale=True, total=text.size, delay=1) as bar:
            state, characters = encode_stream(inference, text.pieces, parts, bar.update)
        reader.check_not_empty(text.name, characters)
        yield Encoded([{"file": text.name, "characters": characters}], state[None])


def _lines(
    out: Terminal, reader: LineReader, inference: Inference, paths: Sequence[str], parts: Sequence[Signal]
) -> Iterator[Encoded]:
    """Encode each line of texts. Raises CorpusError for a text without characters."""
    from charrnn.inspection.encode import encode as encode_lines

    for path in paths:
        lines = characters = 0
        for window in windows(out, path, "TEXT", "encoding"):
            ids = [reader.encode(line, "none") for line in window]
            rows = [line.row(len(paths) > 1, {}) for line in window]
            yield Encoded(rows, encode_lines(inference, ids, parts))
            lines, characters = lines + len(window), characters + sum(map(len, ids))
            out.flush()
        reader.check(title(path), lines, characters)


def _write_json(out: Terminal, encoded: Iterator[Encoded]) -> None:
    """Write a JSON line for each text or line."""
    for rows, states in encoded:
        for row, state in zip(rows, states.tolist(), strict=True):
            out.write(json_line(row | {"state": [round(value, 6) for value in state]}))


def _write_array(file: IO[bytes], encoded: Iterator[Encoded], features: int) -> None:
    """Write the states as one array (R, F); its header has room for any number of rows."""
    import numpy as np

    def write_header(rows: int) -> None:
        description = {"descr": "<f4", "fortran_order": False, "shape": (rows, features)}
        np.lib.format.write_array_header_1_0(file, description)

    write_header(0)
    count = 0
    for _, states in encoded:
        file.write(np.ascontiguousarray(states, "<f4").tobytes())
        count += len(states)
    file.seek(0)
    write_header(count)
