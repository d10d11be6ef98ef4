"""Time of `charrnn inspect-cell --find` on a network of 2 x 512, beside a forward pass over the same text.

    python benchmarks/inspect_cell.py TEXT [--characters N]

The weights are random. Choosing units on the ranking part takes the same time for every longer text. The last
lines are the CPU time that 1,000,000 characters take, and the memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import common

from charrnn.cli.options import one_thread, threads

one_thread()

import numpy as np  # noqa: E402  # it reads the number of threads when it is imported

from charrnn.config import ModelConfig  # noqa: E402
from charrnn.inference.network import Inference  # noqa: E402
from charrnn.inspection.activations import watch_text  # noqa: E402
from charrnn.inspection.concepts import ConceptReader  # noqa: E402
from charrnn.inspection.find_units import find, ranking_size  # noqa: E402
from charrnn.runs import parameters  # noqa: E402
from charrnn.text.vocabulary import Vocabulary  # noqa: E402

MILLION = 1_000_000


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds and CPU seconds of the work."""
    start, cpu_start = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu_start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("text", type=Path)
    parser.add_argument("--characters", type=int, metavar="N", default=3 * 65_536)
    arguments = parser.parse_args()
    text = arguments.text.read_text(encoding="utf-8")[: arguments.characters]
    vocabulary = Vocabulary("".join(sorted(set(text))))
    ids = vocabulary.encode(text)
    config = ModelConfig(layers=2, hidden=512)
    generator = np.random.default_rng(0)
    weights = {
        name: generator.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in parameters.shapes(config, len(vocabulary)).items()
    }
    inference = Inference(config, weights)
    reader = ConceptReader(None, (), byte_level=False)

    def forward() -> None:
        for _ in watch_text(inference, ids, {}, lambda chunk: None, threads()):
            pass

    def search() -> None:
        find(inference, vocabulary, ids, reader, threads=threads())

    print(f"{common.machine()}; {len(ids):,} characters, {threads()} threads\n")
    forward_seconds, forward_cpu = measured(forward)
    search_seconds, search_cpu = measured(search)
    common.table(
        ("2 x 512", "seconds", "CPU seconds", "against the forward pass"),
        [
            ("forward pass", f"{forward_seconds:.1f}", f"{forward_cpu:.1f}", "1"),
            (
                "search",
                f"{search_seconds:.1f}",
                f"{search_cpu:.1f}",
                f"{search_cpu / forward_cpu:.2f} of CPU time",
            ),
        ],
    )
    ranking = ranking_size(len(ids))
    each = forward_cpu / len(ids)
    fixed = search_cpu - forward_cpu
    print(
        f"\nCPU time of the forward pass: {each * 1e6:.0f} us a character. Choosing units on {ranking:,}"
        f" characters: {fixed:.1f} s."
    )
    print(f"1,000,000 characters: {fixed + each * MILLION:.0f} s of CPU time.")
    print(f"Memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most.")


if __name__ == "__main__":
    main()
