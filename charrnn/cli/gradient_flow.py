"""``charrnn gradient-flow``: how far back the loss of a character reaches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.options import (
    CheckpointArgument,
    CheckpointsOption,
    checkpoints_folder,
    read_ids,
    terminal,
)
from charrnn.config import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charrnn.cli.terminal import Terminal
    from charrnn.training.gradient_flow import Flow

SYMBOLS = 65
"""The vocabulary of fresh cells, which read characters drawn at random."""


def gradient_flow(
    context: typer.Context,
    checkpoint: CheckpointArgument = None,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT|-",
            help="What the checkpoint reads: a file, or - for stdin; none: a fresh sample.",
            show_default=False,
        ),
    ] = None,
    cells: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Instead of a checkpoint: fresh cells, side by side."),
    ] = None,
    beside: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="More checkpoints, on the same TEXT, side by side."),
    ] = None,
    layers: Annotated[int, typer.Option(help="Layers of the fresh cells.")] = ModelConfig.layers,
    hidden: Annotated[int, typer.Option(help="Units a layer of the fresh cells.")] = 128,
    length: Annotated[int, typer.Option(help="Characters back.")] = 100,
    clip: Annotated[
        float, typer.Option(help="The norms of an update clipped to this global norm; 0: not clipped.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of fresh weights and texts.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="A line for each cell, layer, carry and distance.")
    ] = False,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the curves (pip install matplotlib).")
    ] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="The same as SVG.")] = None,
    checkpoints: CheckpointsOption = None,
) -> None:
    """Show the mean norm of d loss / d carry at each distance before the character that is predicted.

    A terminal sees curves over a logarithmic scale, a pipe JSON lines.

    Examples:
      charrnn gradient-flow --cells rnn,lstm,gru --length 200

      charrnn gradient-flow shakespeare corpora/shakespeare.txt --png flow.png

      charrnn gradient-flow rnn notes.txt --beside lstm,gru --svg trained.svg

      charrnn gradient-flow --cells rnn,lstm --json | jq -r 'select(.distance == 100)'
    """
    from charrnn.errors import ConfigError
    from charrnn.files import json_line
    from charrnn.training import gradient_flow as flowing

    out = terminal(context)
    if not 1 <= length <= flowing.LONGEST:
        raise ConfigError(f"--length {length}: it must be from 1 to {flowing.LONGEST}")
    if clip < 0 or clip != clip:
        raise ConfigError(f"--clip {clip}: it must be 0 (off) or more")
    found: list[tuple[str, Flow]]
    if cells is not None:
        if checkpoint is not None or beside is not None:
            raise ConfigError("checkpoints and --cells: give one of the two")
        flows = _of_fresh([name.strip() for name in cells.split(",")], layers, hidden, length, clip, seed)
        found = [(flow.cell, flow) for flow in flows]
    else:
        more = [name.strip() for name in beside.split(",")] if beside is not None else []
        if more and text in (None, "-"):
            raise ConfigError("--beside: give CHECKPOINT and TEXT as well, TEXT as a file")
        found = [
            (each or flow.cell, flow)
            for each in (checkpoint, *more)
            for flow in _of_checkpoint(out, each, checkpoints, text, length, clip, seed)
        ]
    for path in filter(None, (png, svg)):
        _picture(path, "png" if path is png else "svg", found)
        out.note(f"wrote {path}")
    if out.stdout_tty and not as_json:
        _curves(out, found)
        return
    for name, flow in found:
        for distance, norm in enumerate(flow.norms, 1):
            line: dict[str, object] = {"checkpoint": name} if beside is not None else {}
            line |= {"cell": flow.cell, "layer": flow.layer, "carry": flow.carry, "distance": distance}
            out.write(json_line(line | {"norm": float(norm), "singular_value": flow.singular}))


def _of_fresh(
    names: Sequence[str], layers: int, hidden: int, length: int, clip: float, seed: int
) -> list[Flow]:
    import numpy as np

    from charrnn import cells
    from charrnn.training import gradient_flow as flowing

    for name in names:
        cells.get(name)
    drawn = np.random.default_rng(seed).integers(0, SYMBOLS, flowing.TEXTS * (length + 1))
    ids = drawn.reshape(flowing.TEXTS, length + 1)
    models = [flowing.fresh(name, layers, hidden, SYMBOLS, seed) for name in names]
    return [flow for model in models for flow in flowing.flow(model, ids, clip)]


def _of_checkpoint(
    out: Terminal,
    given: str | None,
    folder: Path | None,
    text: str | None,
    length: int,
    clip: float,
    seed: int,
) -> list[Flow]:
    import numpy as np

    from charrnn.inference import sample
    from charrnn.inference.network import Inference
    from charrnn.runs.checkpoint import find, load
    from charrnn.training import gradient_flow as flowing
    from charrnn.training.network import CharRNN, load_weights

    loaded = load(find(given, checkpoints_folder(folder)))
    vocabulary = loaded.header.vocabulary
    if text is not None:
        ids = np.concatenate([np.empty(0, np.int64), *read_ids(out, vocabulary, text)])
    else:
        predictor = Inference(loaded.header.model, loaded.weights)
        count = flowing.TEXTS * (length + 1)
        ids = sample.sample_ids(predictor, vocabulary, count, sample.generator(seed))
    model = CharRNN(loaded.header.model, len(vocabulary))
    load_weights(model, loaded.weights)
    return flowing.flow(model.double(), flowing.texts(ids, length), clip)


def _label(name: str, flow: Flow) -> str:
    matrix = "" if flow.singular is None else f", largest singular value {flow.singular:.2f}"
    return f"{name} layer {flow.layer} {flow.carry}{matrix}"


def _curves(out: Terminal, found: Sequence[tuple[str, Flow]]) -> None:
    import numpy as np
    from uniplot import plot_to_string

    smallest = 1e-300  # a logarithm has no place for 0
    picture = plot_to_string(
        xs=[np.arange(1, len(flow.norms) + 1) for _, flow in found],
        ys=[np.maximum(flow.norms, smallest) for _, flow in found],
        legend_labels=[_label(name, flow) for name, flow in found],
        title="mean norm of d loss / d carry, by characters back",
        y_as_log=True,
        lines=True,
        color=not os.environ.get("NO_COLOR"),
        height=18,
    )
    out.write(f"{picture}\n".encode())


def _picture(path: Path, kind: str, found: Sequence[tuple[str, Flow]]) -> None:
    """Curves by matplotlib: a colour for each network, dashes for carries but the first.

    Raises ConfigError where it is not installed.
    """
    from charrnn.errors import ConfigError
    from charrnn.files import atomic_write

    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            f"--{kind}: matplotlib draws it and is not installed; pip install matplotlib"
        ) from error
    names = list(dict.fromkeys(name for name, _ in found))
    colours = matplotlib.colormaps["tab10" if len(names) <= 10 else "tab20"]
    first: dict[tuple[str, int], str] = {}
    highest = max(float(flow.norms.max()) for _, flow in found)
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for name, flow in found:
        style = "-" if first.setdefault((name, flow.layer), flow.carry) == flow.carry else "--"
        colour = colours(names.index(name) % colours.N)
        distances = range(1, len(flow.norms) + 1)
        axes.semilogy(distances, flow.norms, style, color=colour, label=_label(name, flow))
    low, high = axes.get_ylim()
    if highest:  # a gradient that float64 could not even add to the largest is of no account
        axes.set_ylim(max(low, highest * 1e-16), high)
    axes.set_xlabel("characters back")
    axes.set_ylabel("mean norm of d loss / d carry")
    axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), fontsize="x-small", loc="outside right upper")
    # No date, and the same names inside each time: the same curves are the same file.
    with atomic_write(path) as file, matplotlib.rc_context({"svg.hashsalt": "charrnn"}):
        figure.savefig(file, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
