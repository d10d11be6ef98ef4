"""How long does one character take: NumPy's step, nn.LSTM's, and the bare products of the same weights?"""

from __future__ import annotations

import statistics
import warnings

import common
import numpy as np
import torch

from charrnn import network
from charrnn.config import ModelConfig
from charrnn.inference import Inference

V, ROUNDS, CALLS = 65, 15, 200


def contestants(layers: int, hidden: int) -> list[common.Contestant]:
    """NumPy's step, nn.LSTM's with and without oneDNN, the bare products; each with its readout."""
    config = ModelConfig(layers=layers, hidden=hidden)
    drawn = np.random.default_rng(0)
    weights = {
        name: drawn.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in network.shapes(config, V).items()
    }
    inference = Inference(config, weights)
    ids, state = np.array([[3]]), inference.start(1)

    lstm = torch.nn.LSTM(V, hidden, layers)
    readout = torch.nn.Linear(hidden, V)
    row = torch.nn.functional.one_hot(torch.tensor([[3]]), V).float()
    _, start = lstm(row)

    def stepped(onednn: bool) -> None:
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=onednn):
            readout(lstm(row, start)[0])

    matrices = [weights[f"layers.{k}.weight_hh"] for k in range(layers)]
    matrices += [weights[f"layers.{k}.weight_ih"] for k in range(1, layers)]
    matrices.append(weights["readout.weight"])
    vector = np.zeros(hidden, np.float32)

    def products() -> None:
        for matrix in matrices:
            matrix @ vector

    return [
        lambda: inference(ids, state),
        lambda: stepped(True),
        lambda: stepped(False),
        products,
    ]


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")  # torch's own, about TF32, at each switch of oneDNN
    print(f"{common.machine()}; microseconds a character, medians of {ROUNDS} turns of {CALLS}\n")
    rows = []
    for layers, hidden in ((2, 128), (1, 512), (2, 512)):
        ours, default, plain, bare = common.turns(contestants(layers, hidden), ROUNDS, CALLS)
        rows.append(
            (
                f"{layers} x {hidden}",
                *(f"{statistics.median(kind) * 1e6:.0f}" for kind in (ours, default, plain, bare)),
                f"{common.ratio(default, ours):.1f}",
                f"{common.ratio(plain, ours):.1f}",
                f"{common.ratio(ours, bare):.1f}",
            )
        )
    head = ("LSTM", "NumPy", "nn.LSTM", "oneDNN off", "bare products")
    common.table((*head, "nn.LSTM / NumPy", "oneDNN off / NumPy", "NumPy / bare"), rows)


if __name__ == "__main__":
    main()
