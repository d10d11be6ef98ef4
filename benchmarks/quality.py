"""A checkpoint's loss on a text's validation or test part: as one stream, and in windows from an empty state.

    python benchmarks/quality.py checkpoints/NAME/model.safetensors TEXT --split 90,10,0

Streaming is what training reports: the part is read once as one stream. Windowed-256 is nanoGPT's
measure: windows of 256, each from an empty state. The two are not comparable.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from charrnn.runs.checkpoint import load
from charrnn.text.corpus import open_corpus
from charrnn.text.sources import sources
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
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("text")
    parser.add_argument("--split", default="90,10,0")
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    chosen = parser.parse_args()
    checkpoint = load(chosen.checkpoint)
    vocabulary = checkpoint.header.vocabulary
    corpus = open_corpus(sources([chosen.text]), Path(chosen.text).name, known=vocabulary.symbols)
    if corpus.vocabulary != vocabulary:
        raise SystemExit("the text has characters that the model does not know")
    first, second, third = (float(share) for share in chosen.split.split(","))
    part = corpus.splits((first, second, third))[1 if chosen.part == "validation" else 2]
    model = CharRNN(checkpoint.header.model, len(vocabulary)).eval()
    load_weights(model, checkpoint.weights)
    print(f"{chosen.part} of {corpus.name}, {len(part):,} characters, nats per character:")
    print(f"streaming {evaluate(model, corpus.ids, part):.4f}")
    print(f"windowed-256 {windowed(model, corpus.ids, part):.4f}")


if __name__ == "__main__":
    main()
