"""``charrnn gradient-flow``: gradient norms through time, as curves, a picture or JSON lines."""

from __future__ import annotations

import math
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

    Network = tuple[str, CharRNN, NDArray[np.int64]]
    """A name, its network, and the (B, T + 1) texts that it reads."""
    NamedFlow = tuple[str, Flow]
    """A network's name, and one of its flows."""

SYMBOLS = 65
"""The vocabulary size of untrained networks, which read random characters."""
BAR = "{percentage:3.0f}% {bar} {remaining} left"
MOST_SINGULAR = 1000
"""The largest value of --singular."""


def parse_singular(value: str) -> Sequence[float]:
    """--singular: the singular values. Raises ValueError, "must be ..."."""
    try:
        values = [float(part) for part in value.split(",")]
    except ValueError:
        values = []
    if not values or not all(0 < number <= MOST_SINGULAR for number in values):
        raise ValueError(f"must be numbers above 0 and at most {MOST_SINGULAR}, e.g. 0.9,1,1.5,2")
    return values


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
    singular: Annotated[
        Sequence[float] | None,
        option(
            "With --cells, scale the recurrent matrix of each gate to each of these largest singular values,"
            " and compare.",
            default="1: orthogonal matrices",
            metavar="A,B,...",
            parser=parse_singular,
        ),
    ] = None,
    layers: Annotated[int, option("Number of layers, with --cells.")] = ModelConfig.layers,
    hidden: Annotated[int, option("Units per layer, with --cells.")] = 128,
    length: Annotated[int, option("Longest distance, in characters.")] = 100,
    clip: Annotated[
        float,
        option(
            "Also show the norms after clipping the gradient of all parameters to this norm.",
            default="0 (off)",
        ),
    ] = 0.0,
    seed: Annotated[
        int,
        option("Seed of untrained networks, random texts and samples.", "--seed", "-s", min=0, max=2**63 - 1),
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
      charrnn gradient-flow --cells rnn --singular 0.9,1,1.5,2
      charrnn gradient-flow shakespeare notes.txt --png flow.png
      charrnn gradient-flow shakespeare notes.txt --beside python --svg trained.svg
      charrnn gradient-flow --cells rnn,lstm --json | jq 'select(.distance == 100)'
    """
    from charrnn.training import gradient_flow as gradients

    out: Terminal = context.obj
    _check_effect(context)
    out.stdin_advice = "give - as TEXT to read it"
    if not 1 <= length <= gradients.LONGEST:
        raise ConfigError(wrong_value("--length", length, f"a whole number from 1 to {gradients.LONGEST}"))
    if not 0 <= clip < math.inf:
        raise ConfigError(wrong_value("--clip", clip, "0 (off) or more"))
    if cells is not None:
        networks = _untrained(_names(cells), singular or [None], layers, hidden, length, seed)
    else:
        given = [checkpoint, *_names(beside)]
        text = _text_file(out, text, given)
        networks = [_trained(out, name, checkpoints, text, length, seed) for name in given]
    bar = out.bar(total=2 * length * len(networks), unit="char", bar_format=BAR)
    flows = [
        (name, flow) for name, model, ids in networks for flow in gradients.flow(model, ids, clip, bar.update)
    ]
    out.end_bars()
    if clip:
        for name, flow in dict(flows).items():
            out.note(f"{name}: {_clipping(flow, clip)}")
    plotted = _curves(flows, with_values=singular is None)
    labels = "characters back", "mean norm of d loss / d state"
    curves.save_pictures(
        out,
        png,
        svg,
        "gradient norms through time",
        lambda figure: curves.plot_curves(figure, plotted, *labels, log_y=True),
    )
    if out.stdout_tty and not as_json:
        out.write(f"{_plot(plotted, out.colours())}\n".encode())
    else:
        _write_lines(out, flows, with_checkpoint=beside is not None)


def _check_effect(context: typer.Context) -> None:
    """Raise ConfigError for options that would have no effect."""
    if context.params["cells"] is not None:
        if context.params["checkpoint"] is not None or context.params["beside"] is not None:
            raise ConfigError("--cells compares untrained networks: leave out the checkpoints and the text")
        return
    if given := given_options(context, "layers", "hidden", "singular"):
        kept = "weights" if given[0] == "--singular" else "size"
        raise ConfigError(f"{given[0]} has no effect without --cells: a checkpoint keeps its {kept}")
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


def _untrained(
    cells: Sequence[str],
    singular: Sequence[float | None],
    layers: int,
    hidden: int,
    length: int,
    seed: int,
) -> list[Network]:
    """A network for each cell and singular value, and the random characters that all of them read."""
    import numpy as np

    from charrnn.training import gradient_flow as gradients

    ids = np.random.default_rng(seed).integers(0, SYMBOLS, (gradients.TEXTS, length + 1))
    return [
        (
            cell if value is None else f"{cell} (singular value {value:g})",
            gradients.fresh(cell, layers, hidden, SYMBOLS, seed, value),
            ids,
        )
        for cell in cells
        for value in singular
    ]


def _trained(
    out: Terminal, name: str | None, folder: Path, text: str | None, length: int, seed: int
) -> Network:
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
    """Write a JSON line for each norm; where the gradient was to be clipped, with the norm after it."""
    for name, flow in flows:
        for index, norm in enumerate(flow.norms.tolist()):
            line: dict[str, object] = {"checkpoint": name} if with_checkpoint else {}
            line |= {"cell": flow.cell, "layer": flow.layer, "state": flow.state, "distance": index + 1}
            line |= {"norm": norm, "singular_value": flow.largest_singular_value}
            line |= {"gate_singular_value": flow.gate_singular_value}
            if flow.global_norm is not None:
                line |= {"clipped_norm": float(flow.clipped_norms[index])}
                line |= {"global_norm": flow.global_norm, "clip_factor": flow.clip_factor}
            out.write(json_line(line))


def _clipping(flow: Flow, clip: float) -> str:
    """The norm of the gradient of a network's parameters, and what clipping does to it."""
    if flow.clip_factor == 1:
        return f"global gradient norm {flow.global_norm:.3g}: not clipped to {clip:g}"
    return f"global gradient norm {flow.global_norm:.3g}: clipped to {clip:g}, times {flow.clip_factor:.2g}"


def _curves(flows: Sequence[NamedFlow], with_values: bool) -> list[curves.Curve]:
    """A curve for each flow, and one for its norms after clipping if they differ.

    Each network has a colour, and another one after clipping; the cell state is dashed. ``with_values``:
    the labels say the largest singular values.
    """
    result = []
    for name, flow in flows:
        label = f"{name} layer {flow.layer} {flow.state}"
        if with_values and flow.largest_singular_value is not None:
            label += f", largest singular value {flow.largest_singular_value:.2f}"
        drawn = [(flow.norms, label, name)]
        if flow.clip_factor < 1:
            clipped = f"clipped: global norm {flow.global_norm:.3g}, times {flow.clip_factor:.2g}"
            drawn.append((flow.clipped_norms, f"{label}, {clipped}", f"{name} {clipped}"))
        distances = range(1, len(flow.norms) + 1)
        result += [
            curves.Curve(label, distances, norms.tolist(), group, flow.state != "hidden")
            for norms, label, group in drawn
        ]
    return result


def _plot(plotted: Sequence[curves.Curve], colour: bool) -> str:
    """The curves drawn with characters; 1e-300 stands for 0, which has no logarithm."""
    drawn = [curve._replace(y=[max(norm, 1e-300) for norm in curve.y]) for curve in plotted]
    return curves.draw(
        "mean norm of d loss / d state, by characters back", drawn, height=18, colour=colour, log_y=True
    )
