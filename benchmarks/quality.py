"""A model's loss on a text's validation or test part: as one stream, and in windows from an empty state.

    charrnn train tinyshakespeare --split 90,10,0 --minutes 5 --name five
    python benchmarks/quality.py five tinyshakespeare

Streaming is what training reports: the part is read once as one stream. Windowed-256 is nanoGPT's
measure: windows of 256, each from an empty state. The two are not comparable. ``--window 64`` has the
windows of nanoGPT's recipe for a CPU.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import read_corpus
from charrnn.files import user_folder
from charrnn.origin import Origin
from charrnn.runs.checkpoint import load
from charrnn.runs.find import find
from charrnn.training.evaluate import evaluate
from charrnn.training.network import CharRNN, load_weights


@torch.no_grad()
def windowed(model: CharRNN, ids: np.ndarray, part: range, size: int = 256) -> float:
    """Nats per character of windows of ``size``, each from an empty state; an incomplete one is left out."""
    text = ids[part.start : part.stop].astype(np.int64)
    count = (len(text) - 1) // size
    inputs, targets = (torch.from_numpy(text[k : k + count * size].reshape(count, size)) for k in (0, 1))
    total = 0.0
    for rows in torch.split(torch.arange(count), 64):
        logits, _ = model(inputs[rows], model.start(len(rows)))
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, model.symbols), targets[rows].reshape(-1), reduction="sum"
        )
        total += float(loss)
    return total / (count * size)


def main() -> None:
    """Print both losses."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="the name of a run, its folder or a checkpoint file")
    parser.add_argument("text", help="a file, or a name from `charrnn corpus list`")
    parser.add_argument("--split", help="shares as in `charrnn train`; default: those of the run")
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--checkpoints", type=Path, default=user_folder("checkpoints"))
    chosen = parser.parse_args()
    checkpoint = load(find(chosen.checkpoint, chosen.checkpoints))
    vocabulary, shares = checkpoint.header.vocabulary, checkpoint.header.training.split
    origin = Origin([chosen.text], byte_level=vocabulary.byte_level)
    corpus = read_corpus(Terminal.of_process(), origin, user_folder("corpora"), vocabulary.symbols)
    if corpus.vocabulary != vocabulary:
        raise SystemExit("the text has characters that the model does not know")
    if chosen.split:
        first, second, third = (float(share) for share in chosen.split.split(","))
        shares = first, second, third
    part = corpus.splits(shares)[1 if chosen.part == "validation" else 2]
    model = CharRNN(checkpoint.header.network, len(vocabulary)).eval()
    load_weights(model, checkpoint.weights)
    print(f"{chosen.part} of {corpus.name}, {len(part):,} characters, nats per character:")
    print(f"streaming {evaluate(model, corpus.ids, part):.4f}")
    print(f"windowed-{chosen.window} {windowed(model, corpus.ids, part, chosen.window):.4f}")


if __name__ == "__main__":
    main()
