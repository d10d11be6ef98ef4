"""Training speed of documents, with and without labels, beside one long text of the same characters."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import common
import torch

from charrnn.config import ModelConfig, TrainConfig
from charrnn.text.corpus import Corpus, open_corpus
from charrnn.text.document_corpus import DocumentCorpus
from charrnn.text.document_files import open_documents
from charrnn.text.documents import Division
from charrnn.text.sources import file_source
from charrnn.training.devices import ProcessGroup, keep_freed_memory
from charrnn.training.document_batches import START, DocumentBatches, slices
from charrnn.training.learner import Learner

WARM_UP, ROUNDS, STEPS = 150, 11, 4


def contestant(corpus: Corpus, cell: str, hidden: int) -> tuple[common.Contestant, float]:
    """A training step, and the characters that it reads."""
    model = ModelConfig(cell=cell, hidden=hidden)
    if isinstance(corpus, DocumentCorpus):
        model = ModelConfig(cell=cell, hidden=hidden, documents=True, conditions=corpus.conditions)
    config = TrainConfig(steps=1, dropout=0.3, weight_drop=0.2)
    learner = Learner(corpus, model, config, ProcessGroup(torch.device("cpu")))
    step = [0]

    def train() -> None:
        learner.train_step(step[0], 1.0)
        step[0] += 1

    return train, learner.data.characters_per_step


def padding(corpus: DocumentCorpus) -> tuple[float, float]:
    """The characters that are computed after the ends of rows, as a share of all, and slices of a window."""
    batches = DocumentBatches(corpus.lengths, 32, 64, 1)
    place, outside, total, count = START, 0, 0, 0
    for _ in range(50):
        window, place = batches.window(place)
        cut = slices(window.rows.lengths)
        outside, total, count = (
            outside + int((~cut.inside).sum()),
            total + len(cut.inside),
            count + len(cut.bounds),
        )
    return outside / total, count / 50


def measure(path: Path, label: str, cell: str, hidden: int) -> list[object]:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
        stream = Path(folder, "stream.txt")
        stream.write_text("\n".join(lines) + "\n", encoding="utf-8")
        cache = Path(folder, "cache")
        texts = [file_source(path)]
        corpora = [
            open_corpus([file_source(stream)], path.stem, cache=cache),
            open_documents(texts, path.stem, Division("json")),
            open_documents(texts, path.stem, Division("json", labels=(label,))),
        ]
        pairs = [contestant(corpus, cell, hidden) for corpus in corpora]
        for train, _ in pairs:  # documents give oneDNN many shapes, for each of which it makes a program once
            for _ in range(WARM_UP):
                train()
        seconds = common.turns([train for train, _ in pairs], ROUNDS, STEPS)
        each = [[lap / size for lap in laps] for laps, (_, size) in zip(seconds, pairs, strict=True)]
        documents = corpora[1]
        assert isinstance(documents, DocumentCorpus)
        share, slice_count = padding(documents)
    length = sum(map(len, lines)) / len(lines)
    return [
        path.stem,
        f"{length:.0f}",
        f"{cell} 1 x {hidden}",
        f"{1 / common.ratio(each[1], each[0]):.3f}",
        f"{1 / common.ratio(each[2], each[1]):.3f}",
        f"{share:.1%}",
        f"{slice_count:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="+", type=Path, help="JSON lines, as document_texts.py writes them")
    parser.add_argument("--labels", default="language,key", help="the first of these fields is the label")
    parser.add_argument("--cells", default="lstm,gru")
    parser.add_argument("--hidden", type=int, default=512)
    chosen = parser.parse_args()
    keep_freed_memory()
    rows = []
    for path in chosen.texts:
        fields = json.loads(path.open(encoding="utf-8").readline())
        label = next(name for name in chosen.labels.split(",") if name in fields)
        rows += [measure(path, label, cell, chosen.hidden) for cell in chosen.cells.split(",")]
    print(common.machine())
    head = ("documents", "characters", "network", "documents / stream", "label / none", "padding", "slices")
    common.table(head, rows)


if __name__ == "__main__":
    main()
