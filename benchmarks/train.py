"""Training throughput beside a bare loop of torch's module, cross-entropy and Adam.

The peak is the speed of float32 matrix products (2048 x 2048 x 2048 in torch). The share of it counts 6
operations per weight and character; bfloat16 kernels can exceed 1.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace

import common
import numpy as np
import torch

from charrnn.config import ModelConfig, TrainConfig
from charrnn.runs import parameters
from charrnn.text.corpus import Corpus
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.devices import ProcessGroup
from charrnn.training.learner import Learner

V, STREAMS, BPTT = 65, 32, 64
BARE = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
PLAIN = TrainConfig(
    optimizer="adamw",
    streams=STREAMS,
    bptt=BPTT,
    dropout=0,
    weight_drop=0,
    precision="float32",
    steps=1,
    split=(100, 0, 0),
)


def ours(config: ModelConfig, settings: TrainConfig) -> common.Contestant:
    """A step of charrnn's training, on random characters."""
    ids = np.random.default_rng(0).integers(0, V, 2_000_000).astype(np.uint8)
    corpus = Corpus(ids, Vocabulary("".join(map(chr, range(V)))), "", "random")
    learner = Learner(corpus, config, settings, ProcessGroup(torch.device("cpu")))
    step = 0

    def one() -> None:
        nonlocal step
        loss, _ = learner.train_step(step, 0.1)
        float(loss)
        step += 1

    return one


def bare(config: ModelConfig) -> common.Contestant:
    """The shortest loop one would write: module, readout, cross-entropy, Adam. No clipping, zero states."""
    recurrent = BARE[config.cell](config.embedding, config.hidden, config.layers)
    embedding, readout = torch.nn.Embedding(V, config.embedding), torch.nn.Linear(config.hidden, V)
    parameters = [*recurrent.parameters(), *embedding.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    ids = torch.randint(V, (BPTT + 1, STREAMS))

    def one() -> None:
        outputs, _ = recurrent(embedding(ids[:-1]))
        loss = torch.nn.functional.cross_entropy(readout(outputs).reshape(-1, V), ids[1:].reshape(-1))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        float(loss.detach())

    return one


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", default="lstm,gru,rnn,gru-cho")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=4)
    chosen = parser.parse_args()
    square = torch.randn(2048, 2048)
    product = common.turns([lambda: square @ square], 5, 4)[0]
    peak = 2 * 2048**3 / statistics.median(product)
    print(f"{common.machine()}; torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"float32 matrix products: {peak / 1e9:.0f} GFLOP/s\n")
    rows = []
    for cell in chosen.cells.split(","):
        for layers, hidden in ((2, 128), (1, 512), (2, 512)):
            config = ModelConfig(cell, layers, hidden)
            contestants = [ours(config, PLAIN), ours(config, replace(TrainConfig(), steps=1))]
            if cell in BARE:
                contestants.append(bare(config))
            seconds = common.turns(contestants, chosen.rounds, chosen.calls)
            characters = [STREAMS * BPTT / statistics.median(kind) for kind in seconds]
            share = 6 * parameters.count(config, V) * characters[0] / peak
            beside = (
                (f"{characters[2]:,.0f}", *(f"{common.ratio(seconds[2], s):.2f}" for s in seconds[:2]))
                if cell in BARE
                else ("-", "-", "-")
            )
            rows.append(
                (
                    cell,
                    f"{layers} x {hidden}",
                    f"{characters[0]:,.0f}",
                    f"{share:.2f}",
                    f"{characters[1]:,.0f}",
                    *beside,
                )
            )
    head = ("cell", "size", "plain float32, characters/s", "share of peak", "default recipe, characters/s")
    common.table((*head, "bare loop, characters/s", "plain / bare", "default / bare"), rows)


if __name__ == "__main__":
    main()
