"""Time of `charrnn score --streams K` on a text, and how far its score is from that of the whole stream.

    python benchmarks/score.py TEXT [--characters N] [--exact]

The pretrained model reads the text, or its first N characters; a model of 1 x 512 with random weights shows
the time of that width. With --exact the text is also read as one stream, which takes minutes; the last column
is then the true shift.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import common
import numpy as np

from charrnn.cli.options import one_thread, threads

one_thread()

from charrnn.config import ModelConfig  # noqa: E402  # NumPy reads the number of threads when it is imported
from charrnn.inference.network import Inference  # noqa: E402
from charrnn.inference.sample import opening_ids  # noqa: E402
from charrnn.inference.score import log_probabilities  # noqa: E402
from charrnn.inference.score_streams import score_streams  # noqa: E402
from charrnn.runs import parameters  # noqa: E402
from charrnn.runs.checkpoint import load  # noqa: E402
from charrnn.runs.find import pretrained  # noqa: E402

COUNTS = (32, 128)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("text", type=Path)
    parser.add_argument("--characters", type=int, metavar="N")
    parser.add_argument("--exact", action="store_true")
    arguments = parser.parse_args()
    loaded = load(pretrained()["shakespeare"])
    vocabulary = loaded.header.vocabulary
    ids = vocabulary.encode(arguments.text.read_text(encoding="utf-8")[: arguments.characters])
    before = opening_ids(vocabulary)
    trained = Inference(loaded.header.network, loaded.weights)
    wide = ModelConfig(hidden=512)
    generator = np.random.default_rng(0)
    weights = {
        name: generator.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in parameters.shapes(wide, len(vocabulary)).items()
    }
    print(f"{common.machine()}; {len(ids):,} characters, {threads()} threads\n")
    exact = -log_probabilities(trained, vocabulary, ids).sum() if arguments.exact else None
    models = [(loaded.header.model.title, trained, exact), (wide.title, Inference(wide, weights), None)]
    rows = []
    for title, model, expected in models:
        for count in COUNTS:
            start, cpu_start = time.perf_counter(), time.process_time()
            result = score_streams(model, ids, before, count, threads())
            seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
            per_character = 1 / len(ids) / np.log(2)
            true = "-" if expected is None else f"{(result.nats - expected) * per_character:+.1e}"
            rows.append(
                (
                    title,
                    result.pieces,
                    f"{seconds:.1f}",
                    f"{cpu_seconds:.1f}",
                    f"{result.nats * per_character:.4f}",
                    f"{result.shift * per_character:+.1e}",
                    true,
                )
            )
    common.table(
        ("model", "pieces", "seconds", "CPU seconds", "bits per character", "shift it says", "true shift"),
        rows,
    )


if __name__ == "__main__":
    main()
