"""Train the models that come with charrnn and store them in half precision: `make pretrained`.

    python benchmarks/pretrained.py                  # both, about half an hour on two cores
    python benchmarks/pretrained.py shakespeare
    python benchmarks/pretrained.py --runs DIR       # store runs of these names that are in DIR

A run that is not in the folder of the runs yet is trained there. Its best checkpoint is written to
charrnn/pretrained/NAME.safetensors, if half precision costs little on the validation part.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import machine, table

from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import read_corpus
from charrnn.origin import Origin
from charrnn.runs.checkpoint import BEST, LAST, Checkpoint, load, read_header, save_checkpoint
from charrnn.text.corpus import Corpus
from charrnn.training.evaluate import evaluate
from charrnn.training.network import CharRNN, load_weights

MODELS = {
    "shakespeare": (
        "tinyshakespeare --split 90,10,0 --hidden 448 --epochs 7.5 --dropout 0.2 --weight-drop 0.1"
    ),
    "python": "python-stdlib --hidden 432 --epochs 0.8 --dropout 0 --weight-drop 0",
}
"""Text and options of each run."""
LARGEST_FILE = 2_000_000
"""Bytes of a file in charrnn/pretrained, at most."""
LARGEST_COST = 0.002
"""Nats per character that half precision may cost on the validation part."""
REPOSITORY = Path(__file__).parents[1]
FIGURES = ["characters read", "minutes", "training", "validation, float32", "float16", "bytes"]
PRETRAINED = REPOSITORY / "charrnn" / "pretrained"


def train(name: str, runs: Path, corpora: Path) -> None:
    """Train the run, or continue it, until it has ended."""
    command = f"train {MODELS[name]} --seed 1 --name {name}"
    if (last := runs / name / LAST).exists():
        results = read_header(last).results
        if results["step"] == results["steps"]:
            return
        command = f"train --resume {name}"
    print(f"charrnn {command}", flush=True)
    folders = ["--checkpoints", str(runs), "--corpora", str(corpora)]
    subprocess.run([sys.executable, "-m", "charrnn", *shlex.split(command), *folders], check=True)


def loss(checkpoint: Checkpoint, corpus: Corpus, dtype: type[np.floating]) -> float:
    """Nats per character on the run's validation part, read as one stream, with weights of this type."""
    model = CharRNN(checkpoint.header.network, len(checkpoint.header.vocabulary)).eval()
    rounded = {name: weight.astype(dtype).astype(np.float32) for name, weight in checkpoint.weights.items()}
    load_weights(model, rounded)
    return evaluate(model, corpus.ids, corpus.splits(checkpoint.header.training.split)[1])


def store(name: str, runs: Path, corpora: Path) -> None:
    """Write a run's best checkpoint in half precision, and print its row of RESULTS.md.

    SystemExit if the text is another one, or if the file is too large or its loss too high.
    """
    checkpoint = load(runs / name / BEST)
    text = MODELS[name].split()[0]
    corpus = read_corpus(Terminal.muted(), Origin([text]), corpora, checkpoint.header.vocabulary.symbols)
    if corpus.sha256 != checkpoint.header.corpus["sha256"]:
        raise SystemExit(f"{name}: {text} is not the text that this run was trained on")
    single, half = loss(checkpoint, corpus, np.float32), loss(checkpoint, corpus, np.float16)
    print(f"{name}: validation {single:.5f} nats per character in float32, {half:.5f} in float16")
    if not half - single < LARGEST_COST:
        raise SystemExit(f"{name}: half precision costs {half - single:.5f} nats, {LARGEST_COST} are allowed")
    weights = {key: weight.astype(np.float16) for key, weight in checkpoint.weights.items()}
    stored = runs / name / "half.safetensors"
    save_checkpoint(stored, replace(checkpoint.header, name=name, resume=None), weights)
    size = stored.stat().st_size
    if size > LARGEST_FILE:
        raise SystemExit(f"{name}: {size:,} bytes, {LARGEST_FILE:,} are allowed: try a smaller --hidden")
    shutil.copyfile(stored, PRETRAINED / f"{name}.safetensors")
    header = checkpoint.header
    model, results = header.network, header.results
    row = [
        name,
        f"`{MODELS[name]}`",
        f"{model.cell} {model.layers} x {model.hidden}",
        f"{results['characters'] / 1e6:.2f}M",
        f"{results['seconds'] / 60:.1f}",
        f"{results['train_nats']:.4f}",
        f"{results['validation_nats']:.4f} ({results['validation_bpc']:.3f} bpc)",
        f"{half:.4f}",
        f"{size:,}",
    ]
    table(["name", "command", "model", *FIGURES], [row])


def main() -> None:
    """Train and store the models."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(MODELS)}")
    parser.add_argument("--runs", type=Path, default=REPOSITORY / "build" / "pretrained")
    parser.add_argument("--corpora", type=Path, default=REPOSITORY / "corpora")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(MODELS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(MODELS)}")
    print(machine())
    for name in chosen.names or MODELS:
        train(name, chosen.runs, chosen.corpora)
        store(name, chosen.runs, chosen.corpora)


if __name__ == "__main__":
    main()
