"""Time of NumPy's step and of a window of training, with attention and without."""

from __future__ import annotations

import statistics

import common
import torch
from step import V, drawn, step

from charrnn.config import ModelConfig
from charrnn.training.network import CharRNN

HIDDEN, REACHES = 512, (0, 16, 64)
ROWS, WINDOW = 32, 64


def window(attention: int) -> common.Contestant:
    """The gradient of a window of training."""
    model = CharRNN(ModelConfig(hidden=HIDDEN, attention=attention), V, torch.Generator().manual_seed(0))
    ids, state = torch.randint(V, (ROWS, WINDOW)), model.start(ROWS)

    def gradient() -> None:
        model.zero_grad()
        model(ids, state)[0].square().mean().backward()

    return gradient


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"{common.machine()}; lstm 1 x {HIDDEN}, one thread, medians\n")
    rows = []
    networks = [drawn("lstm", 1, HIDDEN, reach) for reach in REACHES]
    for name, unit, contestants, rounds, calls in (
        ("a character, 1 row, us", 1e6, [step(network, 1) for network in networks], 15, 200),
        ("a character, 4 rows, us", 1e6, [step(network, 4) for network in networks], 15, 100),
        (f"a window of {ROWS} x {WINDOW}, ms", 1e3, [window(reach) for reach in REACHES], 9, 1),
    ):
        without, *others = common.turns(contestants, rounds, calls)
        costs = [f"{statistics.median(seconds) * unit:.0f}" for seconds in (without, *others)]
        rows.append((name, *costs, *(f"{common.ratio(seconds, without):.2f}" for seconds in others)))
    reaches = [str(reach) for reach in REACHES[1:]]
    common.table(("", "without", *reaches, *(f"{reach} / without" for reach in reaches)), rows)


if __name__ == "__main__":
    main()
