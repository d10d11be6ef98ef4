"""Time per character of NumPy's step, beside nn.LSTM and the matrix products alone, and of its batches."""

from __future__ import annotations

import statistics
import warnings

import common
import numpy as np
import torch

from charrnn.config import ModelConfig
from charrnn.inference.network import Inference
from charrnn.runs import parameters

V, ROUNDS, CALLS = 65, 15, 200
BATCHES = (1, 2, 4, 6, 8, 16)


def drawn(cell: str, layers: int, hidden: int, attention: int = 0) -> Inference:
    """A network of random weights."""
    config = ModelConfig(cell=cell, layers=layers, hidden=hidden, attention=attention)
    generator = np.random.default_rng(0)
    shapes = parameters.shapes(config, V)
    return Inference(
        config, {name: generator.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}
    )


def step(inference: Inference, batch: int) -> common.Contestant:
    """One character for each row of a batch."""
    ids, state = np.full((batch, 1), 3), inference.start(batch)
    return lambda: inference(ids, state)


def bare(inference: Inference) -> common.Contestant:
    """The matrix products of one character, with the network's own arrays, and nothing else."""
    matrices = [w.weight_hh.T.T for w in inference.layers] + [w.weight_ih for w in inference.layers[1:]]
    matrices.append(inference.readout)
    vector = np.zeros(inference.config.hidden, np.float32)

    def products() -> None:
        for matrix in matrices:
            matrix @ vector

    return products


def contestants(layers: int, hidden: int) -> list[common.Contestant]:
    """NumPy's step, nn.LSTM with and without oneDNN, the bare products; each with its readout."""
    inference = drawn("lstm", layers, hidden)

    lstm = torch.nn.LSTM(V, hidden, layers)
    readout = torch.nn.Linear(hidden, V)
    one_hot = torch.nn.functional.one_hot(torch.tensor([[3]]), V).float()
    _, start = lstm(one_hot)

    def stepped(onednn: bool) -> None:
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=onednn):
            readout(lstm(one_hot, start)[0])

    return [
        step(inference, 1),
        lambda: stepped(True),
        lambda: stepped(False),
        bare(inference),
    ]


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")  # torch warns about TF32 at each switch of oneDNN
    print(f"{common.machine()}; microseconds a character, medians of {ROUNDS} turns of {CALLS}\n")
    rows = []
    for layers, hidden in ((2, 128), (1, 512), (2, 512)):
        ours, default, plain, products = common.turns(contestants(layers, hidden), ROUNDS, CALLS)
        rows.append(
            (
                f"{layers} x {hidden}",
                *(f"{statistics.median(kind) * 1e6:.0f}" for kind in (ours, default, plain, products)),
                f"{common.ratio(default, ours):.1f}",
                f"{common.ratio(plain, ours):.1f}",
                f"{common.ratio(ours, products):.1f}",
            )
        )
    head = ("LSTM", "NumPy", "nn.LSTM", "oneDNN off", "products")
    common.table((*head, "nn.LSTM / NumPy", "oneDNN off / NumPy", "NumPy / products"), rows)

    print()
    rows = []
    for cell in ("lstm", "gru", "rnn"):
        inference = drawn(cell, 1, 512)
        steps = [step(inference, batch) for batch in BATCHES]
        *taken, products = common.turns([*steps, bare(inference)], ROUNDS, CALLS)
        cost = (f"{statistics.median(seconds) * 1e6:.0f}" for seconds in taken)
        rows.append((f"{cell} 1 x 512", *cost, f"{common.ratio(taken[0], products):.1f}"))
    common.table(("batch", *map(str, BATCHES), "1 / products"), rows)


if __name__ == "__main__":
    main()
