"""Losses by depth, connections and dropout, with equal parameters and equal characters read.

Each network has the width that comes nearest to ``--params``. It is trained on the first 90 % of the text,
and validated on the rest once, at the end. charrnn/training/sizing.py follows from these tables (RESULTS.md,
"Sizing"). Run with OMP_NUM_THREADS=1 where several runs share a machine.

    python benchmarks/sizing.py war.txt --params 375k --epochs 15 --layers 1,2,3 --connections none,both
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import common
import numpy as np

from charrnn.cli.train_options import parse_params
from charrnn.config import ModelConfig, TrainConfig
from charrnn.runs import parameters
from charrnn.text.corpus import Corpus, open_corpus
from charrnn.text.sources import sources
from charrnn.training import devices
from charrnn.training.learner import Learner
from charrnn.training.run_state import RunState
from charrnn.training.schedule import begin_stage, lr_factor

CONNECTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "residual": {"residual": True},
    "all": {"readout": "all"},
    "both": {"residual": True, "readout": "all"},
}
LAST_STEPS = 0.05  # share of the steps whose mean loss is the training loss


def trained(corpus: Corpus, model: ModelConfig, config: TrainConfig) -> tuple[float, float]:
    """The training loss of the last steps and the validation loss of a network, in nats per character."""
    learner = Learner(corpus, model, config, devices.join("cpu"))
    steps = config.steps or round((config.epochs or 0) * learner.data.steps_per_epoch)
    state = begin_stage(RunState(), config, steps, steps)
    losses = [float(learner.train_step(step, lr_factor(step, state, config))[0]) for step in range(steps)]
    loss = learner.validate()
    assert loss is not None
    return float(np.mean(losses[-max(1, round(LAST_STEPS * steps)) :])), loss


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path)
    parser.add_argument("--length", type=int, help="characters of the text that are used; default: all")
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--params", type=parse_params, default=375_000)
    parser.add_argument("--layers", default="1,2,3")
    parser.add_argument("--connections", default="none", help=f"some of {','.join(CONNECTIONS)}")
    parser.add_argument("--drop", default="0/0", help="dropout/weight drop, such as 0/0,0.15/0.05")
    parser.add_argument("--streams", type=int, default=TrainConfig.streams)
    parser.add_argument("--bptt", type=int, default=TrainConfig.bptt)
    parser.add_argument("--seed", type=int, default=TrainConfig.seed)
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--epochs", type=float)
    budget.add_argument("--steps", type=int)
    chosen = parser.parse_args()
    corpus = open_corpus(sources([str(chosen.text)]), chosen.text.name)
    if chosen.length:
        corpus = replace(corpus, ids=corpus.ids[: chosen.length])
    print(f"{common.machine()}; {corpus.name}, {len(corpus.ids):,} characters, {chosen.cell}\n")
    head = "layers", "connections", "hidden", "dropout/weight drop", "training", "validation"
    common.table(head, [])
    choices = (chosen.layers.split(","), chosen.connections.split(","), chosen.drop.split(","))
    for layers, connections, drop in itertools.product(*choices):
        model = ModelConfig(chosen.cell, int(layers), 1, **CONNECTIONS[connections])
        model = parameters.sized(model, len(corpus.vocabulary), chosen.params)
        dropout, weight_drop = map(float, drop.split("/"))
        config = TrainConfig(
            chosen.streams,
            chosen.bptt,
            dropout,
            weight_drop,
            epochs=chosen.epochs,
            steps=chosen.steps,
            split=(90, 10, 0),
            seed=chosen.seed,
        )
        training, validation = trained(corpus, model, config)
        row = layers, connections, model.hidden, drop, f"{training:.4f}", f"{validation:.4f}"
        print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
