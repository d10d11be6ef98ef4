"""What a cell's training step costs beside the shortest loop of nn.LSTM of the same size.

Both in float32: charrnn's step (cross-entropy, AdamW, clipping, state carried) against nn.LSTM,
cross-entropy and Adam. A ratio of 2 is a step that takes twice as long. "autograd" is the same
step with each of its operations a node of torch's graph, for the cells that no kernel runs.
"""

from __future__ import annotations

import argparse
import statistics

import common
import torch
from train import BPTT, PLAIN, STREAMS, bare, ours

from charrnn import cells
from charrnn.config import ModelConfig


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", default=",".join(cells.names()))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=3)
    chosen = parser.parse_args()
    names = chosen.cells.split(",")
    print(f"{common.machine()}; torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    rows: list[list[object]] = [[name] for name in names]
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
