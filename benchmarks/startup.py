"""Time and memory of a whole `charrnn sample` process, compared with `import torch`."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import common
import numpy as np

from charrnn.config import ModelConfig
from charrnn.runs import parameters
from charrnn.runs.checkpoint import BEST, Header, save_checkpoint
from charrnn.text.vocabulary import Vocabulary

ROUNDS = 15


def once(command: list[str]) -> tuple[float, float]:
    """Run a command to its end: (wall seconds, peak MB)."""
    start = time.perf_counter()
    child = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)],
    )
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    config, vocabulary = (
        ModelConfig(layers=2, hidden=128),
        Vocabulary("\n" + "".join(map(chr, range(32, 96)))),
    )
    generator = np.random.default_rng(0)
    weights = {
        name: generator.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in parameters.shapes(config, len(vocabulary)).items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / BEST
        save_checkpoint(path, Header(config, vocabulary), weights)
        script = str(Path(sys.executable).with_name("charrnn"))
        commands = {
            "charrnn sample, one character, 2 x 128": [script, "sample", str(path), "--length", "1"],
            "charrnn --help": [script, "--help"],
            'python -c "import numpy"': [sys.executable, "-c", "import numpy"],
            'python -c "import torch"': [sys.executable, "-c", "import torch"],
        }
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for turn in range(ROUNDS + 1):
            for name, command in commands.items():
                result = once(command)
                if turn:  # the first turn fills the disk's cache
                    runs[name].append(result)
    base = list(runs.values())[-1]
    print(f"{common.machine()}; medians of {ROUNDS} turns\n")
    rows = []
    for name, results in runs.items():
        seconds, memory = zip(*results, strict=True)
        base_seconds, base_memory = zip(*base, strict=True)
        rows.append(
            (
                name,
                f"{statistics.median(seconds):.3f}",
                f"{common.ratio(seconds, base_seconds):.2f}",
                f"{statistics.median(memory):.0f}",
                f"{common.ratio(memory, base_memory):.2f}",
            )
        )
    common.table(("whole process", "seconds", "of import torch's", "peak MB", "of import torch's"), rows)


if __name__ == "__main__":
    main()
