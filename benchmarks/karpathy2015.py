"""Rerun the table of Karpathy, Johnson & Fei-Fei 2015 on a text: test loss by cell, layers, budget.

Rows are parameter budgets: those of a 1-layer LSTM of 64, 128, 256 and 512 units over one-hot
input. ``--recipe theirs``: 100 streams, windows of 100, AdamW at 2e-3 (the optimiser here that is
closest to their RMSprop), no dropout; ``--recipe ours``: charrnn's defaults. The test part is
read once, with the weights of the best validation loss.

    python benchmarks/karpathy2015.py warpeace.txt --cells lstm,gru,rnn --layers 1,2,3 --epochs 50
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import common
import numpy as np

from charrnn.config import ModelConfig, TrainConfig
from charrnn.inference.network import Inference, read
from charrnn.runs import parameters
from charrnn.runs.checkpoint import BEST, load
from charrnn.text.corpus import open_corpus
from charrnn.text.sources import sources
from charrnn.training import devices
from charrnn.training.train import Training

WIDTHS = (64, 128, 256, 512)
THEIRS = TrainConfig(
    streams=100,
    bptt=100,
    optimizer="adamw",
    lr=2e-3,
    dropout=0,
    weight_drop=0,
    reset=0,
    clip=5,
    split=(80, 10, 10),
)


def test_loss(path: Path, ids: np.ndarray, part: range) -> float:
    """Nats per character of the test part, read once as one stream from an empty state."""
    checkpoint = load(path)
    network = Inference(checkpoint.header.network, checkpoint.weights)
    total, position = 0.0, part.start
    for chunk, logits, _ in read(network, ids[part.start - 1 : part.stop - 1], network.start(1)):
        rows = logits.astype(np.float64)
        rows -= rows.max(-1, keepdims=True)
        targets = ids[position : position + len(chunk)]
        total -= float((rows[np.arange(len(chunk)), targets] - np.log(np.exp(rows).sum(-1))).sum())
        position += len(chunk)
    return total / len(part)


def main() -> None:
    """Print the table row by row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text")
    parser.add_argument("--cells", default="lstm,rnn,gru")
    parser.add_argument("--layers", default="1,2,3")
    parser.add_argument(
        "--widths",
        default=",".join(map(str, WIDTHS)),
        help="widths of the 1-layer LSTMs that set the budgets",
    )
    parser.add_argument("--epochs", type=float, default=50)
    parser.add_argument("--recipe", choices=("theirs", "ours"), default="theirs")
    chosen = parser.parse_args()
    corpus = open_corpus(sources([chosen.text]), Path(chosen.text).name)
    symbols = len(corpus.vocabulary)
    base = THEIRS if chosen.recipe == "theirs" else replace(TrainConfig(), split=THEIRS.split)
    config = replace(base, epochs=chosen.epochs)
    test = corpus.splits(config.split)[2]
    print(f"{common.machine()}; {corpus.name}, {len(corpus.ids):,} characters")
    print(f"{chosen.epochs:g} epochs, recipe: {chosen.recipe}\n")
    print(
        "| cell | layers | budget | hidden | parameters | validation | test |\n|---|---|---|---|---|---|---|"
    )
    for width in map(int, chosen.widths.split(",")):
        budget = parameters.count(ModelConfig("lstm", 1, width, 0), symbols)
        for cell in chosen.cells.split(","):
            for layers in map(int, chosen.layers.split(",")):
                model = parameters.sized(ModelConfig(cell, layers, 1, 0), symbols, budget)
                with tempfile.TemporaryDirectory() as folder:
                    training = Training(corpus, model, config, Path(folder) / "run", devices.join())
                    for _ in training.run():
                        pass
                    loss = test_loss(Path(folder) / "run" / BEST, corpus.ids, test)
                count = parameters.count(model, symbols)
                print(
                    f"| {cell} | {layers} | {budget:,} | {model.hidden} | {count:,}"
                    f" | {training.state.best:.3f} | {loss:.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
