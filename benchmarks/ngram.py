"""N-gram models: time and memory to build one, the size of its file, and the time of a character.

The text is the Python and C sources and the documentation that this machine has, each file once, ASCII only.
``python benchmarks/ngram.py MB ...`` builds from other sizes than 1, 10 and 100.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import common
import numpy as np

from charrnn.config import NgramConfig
from charrnn.inference.network import CHUNK, Ids, Predictor
from charrnn.inference.ngram import to_arrays
from charrnn.inference.ngram_counts import build
from charrnn.inference.predictor import predictor
from charrnn.runs.checkpoint import BEST, Header, load, save_checkpoint
from charrnn.text.vocabulary import Vocabulary

ORDER = 7
ROUNDS, CALLS = 15, 200
SYMBOLS = "\t\n" + "".join(map(chr, range(32, 127)))
KINDS = (".py", ".pyi", ".h", ".md", ".rst", ".txt")


def sources() -> Iterator[bytes]:
    """Yields the texts of this Python, of its packages and of the system's headers, each once."""
    seen = set()
    folders = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "/usr/include", "/usr/share/doc")
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            if path.suffix in KINDS and path.is_file():
                text = path.read_bytes()
                digest = hashlib.sha256(text).digest()
                if digest not in seen:
                    seen.add(digest)
                    yield text


def write_ids(path: Path, limit: int) -> int:
    """Write the ids of up to ``limit`` characters as bytes; how many there are."""
    lookup = np.full(256, 255, np.uint8)
    lookup[[ord(symbol) for symbol in SYMBOLS]] = np.arange(len(SYMBOLS))
    size = 0
    with path.open("wb") as file:
        for text in sources():
            ids = lookup[np.frombuffer(text, np.uint8)]
            ids = ids[ids < 255][: limit - size]
            file.write(ids.tobytes())
            size += len(ids)
            if size == limit:
                break
    return size


def memory(name: str) -> int:
    """A figure of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def build_and_save(ids_file: Path, size: int, checkpoint: Path) -> dict[str, float]:
    """Build a model from the first ``size`` characters of a file, and save it."""
    ids = np.memmap(ids_file, np.uint8, "r", shape=(size,))
    anonymous, done = [memory("RssAnon")], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            anonymous.append(memory("RssAnon"))

    thread = threading.Thread(target=watch)
    thread.start()
    started = time.perf_counter()
    model = build(ids, len(SYMBOLS), ORDER)
    built = time.perf_counter()
    save_checkpoint(checkpoint, Header(NgramConfig(ORDER), Vocabulary(SYMBOLS)), to_arrays(model))
    saved = time.perf_counter()
    done.set()
    thread.join()
    return {
        "ngrams": sum(len(level.keys) for level in model.levels),
        "build": built - started,
        "save": saved - built,
        "own": max(anonymous),
        "peak": memory("VmHWM"),
        "file": checkpoint.stat().st_size,
    }


def walk(model: Predictor, ids: Ids, characters: int) -> common.Contestant:
    """So many characters for each call, on and on through a text."""
    position, state = 0, model.start(1)

    def read() -> None:
        nonlocal position, state
        _, state = model(ids[:, position : position + characters], state)
        position = (position + characters) % (ids.shape[1] - characters)

    return read


def character_times(model: Predictor, network: Predictor, ids: Ids) -> list[str]:
    """Microseconds of one character, n-gram model and network: one at a time, and many; the two ratios."""
    from step import V

    result, ratios = [], []
    for characters, calls in ((1, CALLS), (CHUNK, 1)):
        contestants = [walk(model, ids, characters), walk(network, ids % V, characters)]
        turns = common.turns(contestants, ROUNDS, calls)
        result += [f"{statistics.median(seconds) / characters * 1e6:.0f}" for seconds in turns]
        ratios.append(f"{common.ratio(*turns):.1f}")
    return result + ratios


def main(sizes: list[int]) -> None:
    """Print the tables."""
    rows: list[tuple[object, ...]] = []
    steps: list[tuple[object, ...]] = []
    from step import drawn  # imports torch, which a process that measures memory must not

    network = drawn("lstm", 1, 512)
    with tempfile.TemporaryDirectory() as folder:
        text, checkpoint = Path(folder) / "text", Path(folder) / BEST
        total = write_ids(text, max(sizes) * 1_000_000 + 10_000)
        print(f"{common.machine()}; order {ORDER}, {len(SYMBOLS)} symbols, {total:,} characters in all\n")
        # the characters to read come after those of the model
        for size in [min(megabytes * 1_000_000, total - 10_000) for megabytes in sizes]:
            command = [sys.executable, __file__, "build", str(text), str(size), str(checkpoint)]
            result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            started = time.perf_counter()
            model = predictor(load(checkpoint))
            loaded = time.perf_counter() - started
            times = (f"{result['build']:.1f}", f"{result['save']:.1f}", f"{loaded:.2f}")
            bytes_used = [f"{result[name] / 1e6:.0f}" for name in ("own", "peak", "file")]
            rows.append((f"{size / 1e6:.0f}", f"{result['ngrams'] / 1e6:.2f} M", *times, *bytes_used))
            ids = np.fromfile(text, np.uint8, 10_000, offset=size).astype(np.int64)[None]
            steps.append((f"{size / 1e6:.0f}", *character_times(model, network, ids)))
    columns = ("n-grams", "build s", "save s", "load s", "own MB", "peak MB", "file MB")
    common.table(("MB of text", *columns), rows)
    print("\nown: the memory of the process alone; peak: with mapped pages, which the system may drop\n")
    step_columns = ("one by one, us", "LSTM 1 x 512", "in one call, us", "LSTM 1 x 512", "ratio", "ratio")
    common.table(("MB of text", *step_columns), steps)


if __name__ == "__main__":
    if sys.argv[1:2] == ["build"]:
        given = sys.argv[2:]
        print(json.dumps(build_and_save(Path(given[0]), int(given[1]), Path(given[2]))))
    else:
        main([int(size) for size in sys.argv[1:]] or [1, 10, 100])
