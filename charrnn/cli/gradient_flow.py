"""``charrnn gradient-flow``: gradient norms through time, as curves, a picture or JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli import completion, curves
from charrnn.cli.options import (
    RUNS,
    CheckpointArgument,
    CheckpointsOption,
    PngOption,
    QuietOption,
    SvgOption,
    TextArgument,
    find_checkpoint,
    given_options,
    option,
)
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import input_file, read_ids
from charrnn.config import ModelConfig
from charrnn.errors import ConfigError, wrong_value
from charrnn.files import json_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from charrnn.training.gradient_flow import Flow
    from charrnn.training.network import CharRNN

    NamedFlow = tuple[str, Flow]
    """A network's name, and one of its flows."""

SYMBOLS = 65
"""The vocabulary size of untrained networks, which read random characters."""


def gradient_flow(
    context: typer.Context,
    checkpoint: CheckpointArgument = None,
    text: TextArgument = None,
    cells: Annotated[
        str | None,
        option("Compare these cells, untrained.", metavar="A,B,...", complete=completion.cell_list),
    ] = None,
    beside: Annotated[
        str | None,
        option(
            "Checkpoints to compare with, on TEXT.", metavar="A,B,...", complete=completion.checkpoint_list
        ),
    ] = None,
    layers: Annotated[int, option("Number of layers, with --cells.")] = ModelConfig.layers,
    hidden: Annotated[int, option("Units per layer, with --cells.")] = 128,
    length: Annotated[int, option("Longest distance, in characters.")] = 100,
    clip: Annotated[
        float, option("Clip the global gradient norm to this value first.", default="0 (off)")
    ] = 0.0,
    seed: Annotated[
        int, option("Seed of untrained networks, random texts and samples.", "--seed", "-s", min=0)
    ] = 1,
    as_json: Annotated[bool, option("Print a JSON line for each norm.", "--json")] = False,
    png: PngOption = None,
    svg: SvgOption = None,
    quiet: QuietOption = False,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    """Show how far back the learning signal reaches: gradient norms through time.

    Prints the mean norm of d loss / d state (hidden state, cell state) at each distance before the
    predicted character: in a terminal as curves on a logarithmic scale, else as JSON lines.
    Checkpoints read TEXT or what is piped in; without both, a sample of their own. Untrained cells read
    random characters.

    Examples:
      charrnn gradient-flow --cells rnn,lstm,gru --length 200
      charrnn gradient-flow shakespeare notes.txt --png flow.png
      charrnn gradient-flow shakespeare notes.txt --beside python --svg trained.svg
      charrnn gradient-flow --cells rnn,lstm --json | jq 'select(.distance == 100)'
    """
    import numpy as np

    from charrnn.training import gradient_flow as gradients

    out: Terminal = context.obj
    _check_effect(context)
    out.stdin_advice = "give - as TEXT to read it"
    if not 1 <= length <= gradients.LONGEST:
        raise ConfigError(wrong_value("--length", length, f"a whole number from 1 to {gradients.LONGEST}"))
    if not clip >= 0:
        raise ConfigError(wrong_value("--clip", clip, "0 (off) or more"))
    if cells is not None:
        if checkpoint is not None or beside is not None:
            raise ConfigError("--cells compares untrained networks: leave out the checkpoints and the text")
        ids = np.random.default_rng(seed).integers(0, SYMBOLS, (gradients.TEXTS, length + 1))
        networks = [
            (cell, gradients.fresh(cell, layers, hidden, SYMBOLS, seed), ids) for cell in _names(cells)
        ]
    else:
        given = [checkpoint, *_names(beside)]
        text = _text_file(out, text, given)
        networks = [_trained(out, name, checkpoints, text, length, seed) for name in given]
    flows = [(name, flow) for name, model, ids in networks for flow in gradients.flow(model, ids, clip)]
    labels = "characters back", "mean norm of d loss / d state"
    curves.save_pictures(
        out,
        png,
        svg,
        "gradient norms through time",
        lambda figure: curves.plot_curves(figure, _curves(flows), *labels, log_y=True),
    )
    if out.stdout_tty and not as_json:
        out.write(f"{_plot(flows, out.colours())}\n".encode())
    else:
        _write_lines(out, flows, with_checkpoint=beside is not None)


def _check_effect(context: typer.Context) -> None:
    """Raises ConfigError for options that would have no effect."""
    if context.params["cells"] is not None:
        return
    if sizes := given_options(context, "layers", "hidden"):
        raise ConfigError(f"{sizes[0]} has no effect without --cells: a checkpoint keeps its size")
    if context.params["text"] is not None and given_options(context, "seed"):
        raise ConfigError("--seed has no effect with TEXT: nothing is random")


def _names(given: str | None) -> list[str]:
    """The names in a comma-separated option."""
    return [] if given is None else [name.strip() for name in given.split(",")]


def _text_file(out: Terminal, text: str | None, checkpoints: Sequence[str | None]) -> str | None:
    """The file that each checkpoint reads, a copy of what is piped in; None: samples of their own.

    Raises ConfigError where several checkpoints have no text to read.
    """
    if text is None and out.stdin_unread and "-" not in checkpoints:
        text = "-"
    if text is None and len(checkpoints) > 1:
        raise ConfigError(
            "--beside compares checkpoints on a text: charrnn gradient-flow CHECKPOINT TEXT --beside A,B"
        )
    return None if text is None else str(input_file(out, text, "TEXT"))


def _trained(
    out: Terminal, name: str | None, folder: Path, text: str | None, length: int, seed: int
) -> tuple[str, CharRNN, NDArray[np.int64]]:
    """A checkpoint's name, its network in float64, and the (B, T + 1) excerpts of a text that it reads.

    Without a text, they are of a sample of the network. Raises CharrnnError when a file cannot be read.
    """
    import numpy as np

    from charrnn.inference import sample
    from charrnn.inference.network import Inference
    from charrnn.runs.checkpoint import load
    from charrnn.training import gradient_flow as gradients
    from charrnn.training.network import CharRNN, load_weights

    loaded = load(find_checkpoint(out, name, folder))
    vocabulary = loaded.header.vocabulary
    if text is not None:
        ids = np.concatenate([np.empty(0, np.int64), *read_ids(out, vocabulary, text)])
    else:
        predictor = Inference(loaded.header.network, loaded.weights)
        count = gradients.TEXTS * (length + 1)
        ids = sample.sample_ids(predictor, vocabulary, count, sample.sample_generator(seed))
    model = CharRNN(loaded.header.network, len(vocabulary))
    load_weights(model, loaded.weights)
    return name or loaded.header.network.cell, model.double(), gradients.texts(ids, length)


def _write_lines(out: Terminal, flows: Sequence[NamedFlow], with_checkpoint: bool) -> None:
    """Write a JSON line for each norm."""
    for name, flow in flows:
        for distance, norm in enumerate(flow.norms, 1):
            line: dict[str, object] = {"checkpoint": name} if with_checkpoint else {}
            line |= {"cell": flow.cell, "layer": flow.layer, "state": flow.state, "distance": distance}
            line |= {"norm": float(norm), "singular_value": flow.largest_singular_value}
            out.write(json_line(line))


def _label(name: str, flow: Flow) -> str:
    value = flow.largest_singular_value
    matrix = "" if value is None else f", largest singular value {value:.2f}"
    return f"{name} layer {flow.layer} {flow.state}{matrix}"


def _curves(flows: Sequence[NamedFlow]) -> list[curves.Curve]:
    """A curve for each flow: a colour for each network, dashes for the cell state."""
    return [
        curves.Curve(
            _label(name, flow),
            range(1, len(flow.norms) + 1),
            flow.norms.tolist(),
            name,
            flow.state != "hidden",
        )
        for name, flow in flows
    ]


def _plot(flows: Sequence[NamedFlow], colour: bool) -> str:
    """The curves drawn with characters; 1e-300 stands for 0, which has no logarithm."""
    drawn = [
        curve._replace(y=flow.norms.clip(1e-300).tolist())
        for curve, (_, flow) in zip(_curves(flows), flows, strict=True)
    ]
    return curves.draw(
        "mean norm of d loss / d state, by characters back", drawn, height=18, colour=colour, log_y=True
    )
