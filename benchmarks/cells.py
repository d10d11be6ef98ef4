"""Time of each cell's training step beside the shortest loop around nn.LSTM of the same size.

Both in float32: charrnn's step (cross-entropy, AdamW, clipping, truncated backpropagation) and nn.LSTM
with cross-entropy and Adam. The ratio 2 means twice the time. With ``--params`` nn.LSTM and all cells have
one layer and that many parameters; the cells train as ``charrnn train --dropout 0.1 --weight-drop 0`` does.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace

import common
import torch
from train import BPTT, PLAIN, STREAMS, V, bare, ours

from charrnn import cells
from charrnn.config import ModelConfig, TrainConfig
from charrnn.runs import parameters


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", default=",".join(cells.names()))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=3)
    parser.add_argument("--params", type=int)
    chosen = parser.parse_args()
    names = chosen.cells.split(",")
    print(f"{common.machine()}; torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    rows: list[list[object]] = [[name] for name in names]
    if chosen.params:
        recipe = replace(TrainConfig(), dropout=0.1, weight_drop=0, steps=1)
        models = [parameters.sized(ModelConfig(name), V, chosen.params) for name in ("lstm", *names)]
        contestants = [bare(models[0]), *(ours(model, recipe) for model in models[1:])]
        lstm, *seconds = common.turns(contestants, chosen.rounds, chosen.calls)
        for row, model, kind in zip(rows, models[1:], seconds, strict=True):
            characters = STREAMS * BPTT / statistics.median(kind)
            row += [model.hidden, f"{characters:,.0f}", f"{common.ratio(kind, lstm):.2f}"]
        common.table(("cell", "units", "characters/s", "time / nn.LSTM's"), rows)
        return
    sizes = ((2, 128), (1, 512), (2, 512))
    for layers, hidden in sizes:
        contestants = [bare(ModelConfig("lstm", layers, hidden))]
        contestants += [ours(ModelConfig(name, layers, hidden), PLAIN) for name in names]
        lstm, *seconds = common.turns(contestants, chosen.rounds, chosen.calls)
        for row, kind in zip(rows, seconds, strict=True):
            characters = STREAMS * BPTT / statistics.median(kind)
            row += [f"{characters:,.0f}", f"{common.ratio(kind, lstm):.2f}"]
    head = [part for size in sizes for part in (f"{size[0]} x {size[1]}, characters/s", "time / nn.LSTM's")]
    common.table(("cell", *head), rows)


if __name__ == "__main__":
    main()
