"""Time per generated character of `charrnn sample`, of nn.LSTM with a draw, and of the matrix products alone.

One stream, 64 streams and a beam of 16 are measured: with OMP_NUM_THREADS threads if it is set, else with one
thread and then with all.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import warnings
from collections import deque

import common
import numpy as np
import torch
from step import V, bare, drawn

from charrnn.inference.beam import Search, beam
from charrnn.inference.choice import Choice
from charrnn.inference.constraints import Constraints
from charrnn.inference.network import Inference
from charrnn.inference.sample import sample, sample_generator
from charrnn.inference.states import Cursor

ROUNDS, CHARACTERS = 15, 200
STREAMS, WIDTH = 64, 16
CONSTRAINTS = Constraints(V, CHARACTERS)


def drawing(inference: Inference, streams: int) -> common.Contestant:
    """Draw CHARACTERS in each stream with charrnn, as one batch."""
    cursor = Cursor(np.array([3]), inference.start(1))
    generators = [sample_generator(0, index) for index in range(streams)]
    return lambda: deque(sample(inference, [cursor] * streams, Choice(), CONSTRAINTS, generators), maxlen=0)


def searching(inference: Inference) -> common.Contestant:
    """Search the best text of CHARACTERS."""
    cursor = Cursor(np.array([3]), inference.start(1))
    return lambda: deque(beam(inference, cursor, Choice(), CONSTRAINTS, Search(WIDTH)), maxlen=0)


def stepping(size: tuple[int, int], streams: int, onednn: bool) -> common.Contestant:
    """Draw CHARACTERS in each stream with nn.LSTM: a step, the readout, softmax and a draw."""
    layers, hidden = size
    lstm, readout, one_hot = torch.nn.LSTM(V, hidden, layers), torch.nn.Linear(hidden, V), torch.eye(V)
    last, state = torch.full((1, streams), 3), None

    def characters() -> None:
        nonlocal last, state
        with torch.inference_mode(), torch.backends.mkldnn.flags(enabled=onednn):
            for _ in range(CHARACTERS):
                outputs, state = lstm(one_hot[last], state)
                last = torch.multinomial(torch.softmax(readout(outputs[0]), -1), 1).T

    return characters


def products(inference: Inference) -> common.Contestant:
    """The matrix products of CHARACTERS of one stream, and nothing else."""
    once = bare(inference)

    def characters() -> None:
        for _ in range(CHARACTERS):
            once()

    return characters


def cost(seconds: list[float]) -> str:
    """Median microseconds per character."""
    return f"{statistics.median(seconds) / CHARACTERS * 1e6:.0f}"


def ratio(one: list[float], other: list[float], times: int = 1) -> str:
    """The ratio of ``times`` times one to the other."""
    return f"{times * common.ratio(one, other):.2f}"


def measure() -> None:
    """Print the tables."""
    warnings.simplefilter("ignore")  # torch's own, about TF32, at each switch of oneDNN
    print(f"{common.machine()}; OMP_NUM_THREADS={torch.get_num_threads()}")
    print(
        f"Microseconds per character of each stream, medians of {ROUNDS} turns of {CHARACTERS} characters\n"
    )
    one, many, beams = [], [], []
    for size in ((2, 128), (1, 512), (2, 512)):
        name, inference = f"{size[0]} x {size[1]}", drawn("lstm", *size)

        torches = [stepping(size, 1, True), stepping(size, 1, False)]
        taken = common.turns([drawing(inference, 1), *torches, products(inference)], ROUNDS, 1)
        ours, default, plain, least = taken
        one.append((name, *map(cost, taken), ratio(default, ours), ratio(plain, ours), ratio(ours, least)))

        torches = [stepping(size, STREAMS, True), stepping(size, STREAMS, False)]
        taken = common.turns([drawing(inference, STREAMS), *torches], ROUNDS, 1)
        ours, default, plain = taken
        many.append((name, *map(cost, taken), ratio(default, ours), ratio(plain, ours)))

        taken = common.turns(
            [drawing(inference, 1), drawing(inference, WIDTH), searching(inference)], ROUNDS, 1
        )
        alone, batch, best = taken
        beams.append((name, *map(cost, taken), ratio(alone, best, WIDTH), ratio(best, batch)))
    lstm, against = ("nn.LSTM", "oneDNN off"), ("nn.LSTM / sample", "oneDNN off / sample")
    common.table(("one stream", "sample", *lstm, "products", *against, "sample / products"), one)
    print()
    common.table((f"{STREAMS} streams", "sample", *lstm, *against), many)
    print()
    singles, batch_of = f"{WIDTH} x one stream / beam", f"{WIDTH} streams"
    common.table((f"beam {WIDTH}", "one stream", batch_of, "beam", singles, f"beam / {batch_of}"), beams)


def main() -> None:
    """Measure here, or in a process of one thread and in one of all."""
    if "OMP_NUM_THREADS" in os.environ:
        measure()
        return
    for threads in (1, os.cpu_count() or 1):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run([sys.executable, __file__], env=environment, check=True)
        print(flush=True)


if __name__ == "__main__":
    main()
