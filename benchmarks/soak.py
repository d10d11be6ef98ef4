"""Peak memory of whole commands: of long inputs beside ten times shorter ones, and of texts of many kinds.

Everything is made in a temporary folder, from a seed. ``--only NAME`` takes the parts with this name: long,
texts, symbols, limit, disk. A peak is the resident memory of the process at its largest, as the system
reports it. The part limit, and the memory after a tenth of the output, need Linux. The part disk needs a
small disk:

    mount -t tmpfs -o size=8m tmpfs small
    python benchmarks/soak.py --only disk --folder small
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import common
import numpy as np

from charrnn.runs import checkpoint, history
from charrnn.runs.checkpoint import LAST

REPOSITORY = Path(__file__).resolve().parent.parent
MB = 1_000_000
LABELS = ("one", "two")


class Result(NamedTuple):
    """What a command took: its peak, its memory after a tenth of its output, its exit status and stderr.

    Memory is in MiB.
    """

    peak: float
    at_a_tenth: float
    seconds: float
    status: int
    notes: str

    @property
    def error(self) -> str:
        """The last line of stderr."""
        return (self.notes.splitlines() or [""])[-1]


def run(*arguments: str | Path, address_space: int | None = None, expected: int = 0) -> Result:
    """Run a command of charrnn; ``address_space`` in bytes, its limit, ``expected`` bytes of output."""

    def set_limit() -> None:
        if address_space:
            resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))

    start, at_a_tenth, count = time.perf_counter(), 0.0, 0
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "charrnn", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            preexec_fn=set_limit,
        )
        assert child.stdout
        while piece := child.stdout.read(1 << 16):
            count += len(piece)
            if not at_a_tenth and expected and count >= expected / 10:
                at_a_tenth = resident(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        notes = errors.read().decode(errors="replace").strip()
    seconds = time.perf_counter() - start
    return Result(usage.ru_maxrss / 1024, at_a_tenth, seconds, child.returncode, notes)


def resident(process: int) -> float:
    """The resident memory of a process in MiB; 0 once it has ended."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def prose(size: int, seed: int = 0) -> str:
    """Lines of random words with letters in unequal shares; the size is in characters."""
    generator = np.random.default_rng(seed)
    letters = np.frombuffer(b"etaoinshrdlucmfwypvbgk     ", np.uint8)
    ids = letters[np.minimum(generator.geometric(0.12, size) - 1, len(letters) - 1)]
    ids[generator.random(size) < 0.15] = ord(" ")
    ids[::70] = ord("\n")
    return ids.tobytes().decode()


def many_symbols(symbols: int, size: int) -> str:
    """A text with so many symbols: CJK, Hangul, private use and other planes; frequencies as of Zipf."""
    bounds = [(0x20, 0x7F), (0x4E00, 0xA000), (0xAC00, 0xD7A4), (0x3400, 0x4DC0), (0xE000, 0xF900)]
    bounds += [(0x20000, 0x323B0), (0xF0000, 0xFFFFE), (0x100000, 0x10FFFE)]
    codes = np.concatenate([np.arange(*pair) for pair in bounds])[:symbols]
    generator = np.random.default_rng(0)
    ranks = (symbols ** generator.random(size - symbols)).astype(int) - 1
    ids = np.concatenate([np.arange(symbols), ranks.clip(0, symbols - 1)])
    shuffled: bytes = codes[generator.permutation(ids)].astype("<u4").tobytes()
    return shuffled.decode("utf-32-le")


def kinds(size: int) -> Iterator[tuple[str, bytes, Sequence[str]]]:
    """The name, the bytes and the options of texts of one length."""
    generator = np.random.default_rng(0)
    yield "prose", prose(size).encode(), ()
    yield "ACGT", np.frombuffer(b"ACGT", np.uint8)[generator.integers(0, 4, size)].tobytes(), ()
    yield "zero bytes, gzip", gzip.compress(bytes(size)), ("--bytes",)
    yield "random bytes", generator.bytes(size), ("--bytes",)
    lowest, highest = (0, 0x90, 40, 0), (96, 0x91, 80, 127)  # delta time, note on, pitch, velocity
    notes = generator.integers(lowest, highest, (size // 4, 4)).astype(np.uint8)
    yield "MIDI", notes.tobytes(), ("--bytes",)


def texts(size: int) -> None:
    """Train on texts of many kinds."""
    rows = []
    for kind, data, options in kinds(size):
        name = "text.gz" if "gzip" in kind else "text"
        Path(name).write_bytes(data)
        for hidden in (256, 512):
            budget = ("--steps", "2", "--hidden", hidden, "--quiet")
            result = run("train", name, "--name", f"{kind[:4]}-{hidden}", *map(str, budget), *options)
            figures = (f"{result.peak:.0f}", f"{result.seconds:.0f}", result.status, result.error[:80])
            rows.append((kind, hidden, *figures))
            print("|", *rows[-1], file=sys.stderr)
    common.table(("text", "units", "peak, MiB", "s", "exit", "error"), rows)


def symbols(size: int) -> None:
    """Train on and read texts with many symbols."""
    rows = []
    for count in (50_000, 200_000):
        Path("text").write_text(many_symbols(count, max(size, 2 * count)), encoding="utf-8")
        Path("short").write_text(Path("text").read_text(encoding="utf-8")[:10_000], encoding="utf-8")
        steps = ("--steps", "20", "--quiet")
        commands: list[tuple[str, ...]] = [
            ("train", "text", "--name", f"default-{count}", *steps),
            ("train", "text", "--name", f"attention-{count}", "--attention", "32", *steps),
            ("train", "text", "--name", f"one-hot-{count}", "--embedding", "0", *steps),
            ("sample", f"default-{count}", "--length", "100"),
            ("sample", f"one-hot-{count}", "--length", "100"),
            ("score", f"default-{count}", "short"),
            ("inspect-cell", f"default-{count}", "short"),
            ("inspect-cell", f"default-{count}", "short", "--find"),
        ]
        for command in commands:
            result = run(*command)
            rows.append(
                (count, " ".join(command), f"{result.peak:.0f}", f"{result.seconds:.0f}", result.status)
            )
            print("|", *rows[-1], file=sys.stderr)
    common.table(("symbols", "command", "peak, MiB", "s", "exit"), rows)


def long(size: int) -> None:
    """Read and write long texts with a small network: ten times the input, the same peak."""
    Path("train.txt").write_text(prose(200_000))
    with Path("train.jsonl").open("w") as file:
        for number in range(400):
            file.write(json.dumps({"text": prose(200, number), "kind": LABELS[number % 2]}) + "\n")
    small = ("--hidden", "16", "--layers", "1", "--steps", "20", "--quiet")
    run("train", "train.txt", "--name", "net", *small)
    run("train", "train.jsonl", "--name", "labels", "--documents", "json", "--label", "kind", *small)
    commands: list[tuple[str, ...]] = [
        ("sample", "net", "--seed", "1", "--length", "SIZE"),
        ("score", "net", "TEXT"),
        ("score", "net", "TEXT", "--lines"),
        ("score", "net", "TEXT", "--streams", "64"),
        ("inspect-cell", "net", "TEXT"),
        ("inspect-cell", "net", "TEXT", "--find"),
        ("inspect-cell", "net", "TEXT", "--gates"),
        ("inspect-cell", "net", "TEXT", "--errors"),
        ("inspect-cell", "net", "TEXT", "--ablate", "--unit", "0", "--random-sets", "3"),
        ("classify", "labels", "TEXT"),
        ("classify", "labels", "TEXT", "--files"),
        ("encode", "net", "TEXT"),
        ("encode", "net", "TEXT", "--lines"),
    ]
    rows = []
    for command in commands:
        results = []
        for count in (size // 10, size):
            Path("TEXT").write_text(prose(count, 1))
            arguments = [part.replace("SIZE", str(count // 2)) for part in command]
            results.append(run(*arguments, expected=count // 2 if "SIZE" in command else 0))
        tenth, whole = results
        at_a_tenth = f"{whole.at_a_tenth:.0f}" if whole.at_a_tenth else "-"
        peaks = (f"{tenth.peak:.0f}", at_a_tenth, f"{whole.peak:.0f}", f"{whole.peak / tenth.peak:.2f}")
        shown = " ".join(command).replace("TEXT", "").replace("SIZE", "N")
        rows.append((shown, *peaks, f"{whole.seconds:.0f}", whole.status, whole.error[:80]))
        print("|", *rows[-1], file=sys.stderr)
    head = ("command", "peak of a tenth, MiB", "after a tenth", "peak", "peak / tenth", "s", "exit", "stderr")
    common.table(head, rows)


def limit(size: int) -> None:
    """Train with less and less memory: a line, the last save intact, no temporary file."""
    Path("text").write_text(prose(size))
    rows = []
    for megabytes in (4000, 2000, 1500, 1200, 1000, 900, 800, 700, 600, 500, 400, 300, 200):
        name = f"net-{megabytes}"
        result = run(
            "train", "text", "--name", name, "--hidden", "512", "--steps", "20", address_space=megabytes * MB
        )
        folder = Path("checkpoints", name)
        files = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        resumable = "-"
        if "last.safetensors" in files and result.status:
            resumable = str(run("train", "--resume", name, "--quiet").status)
        rows.append((megabytes, result.status, result.error[:110], " ".join(files), resumable))
        print("|", *rows[-1], file=sys.stderr)
    common.table(("limit, MB", "exit", "last line", "files", "exit of --resume"), rows)


def disk(size: int) -> None:
    """Train while the disk is filled and emptied: the run ends, or is resumed, as one with space enough."""
    if shutil.disk_usage(".").free > 64 * MB:
        print("left out: --folder must be on a disk with less than 64 MB")
        return
    Path("text").write_text(prose(size))
    sizes = ("--hidden", "48", "--layers", "1", "--streams", "8", "--bptt", "32")
    settings = (*sizes, "--steps", "1500", "--save-every", "10", "--seed", "1")
    run("train", "text", "--name", "alone", *settings, "--quiet")
    ended = threading.Event()

    def fill_and_empty() -> None:
        while not Path("checkpoints/disturbed/last.safetensors").exists():
            ended.wait(0.1)
        while not ended.is_set():
            with contextlib.suppress(OSError), open("filling", "wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))
            ended.wait(0.7)
            Path("filling").unlink()
            ended.wait(0.5)

    filler = threading.Thread(target=fill_and_empty)
    filler.start()
    done = run("train", "text", "--name", "disturbed", *settings)
    ended.set()
    filler.join()
    full = done.notes.count("No space left on device")
    resumed = run("train", "--resume", "disturbed", "--quiet").status if done.status else "-"
    alone, disturbed = (checkpoint.load(Path("checkpoints", name, LAST)) for name in ("alone", "disturbed"))
    equal = all(np.array_equal(array, disturbed.weights[name]) for name, array in alone.weights.items())
    lines = [len(history.read(Path("checkpoints", name))) for name in ("alone", "disturbed")]
    head = ("exit", "last line", "saves without space", "exit of --resume", "same weights", "reports")
    common.table(head, [(done.status, done.error[:110], full, resumed, equal, lines)])


PARTS: dict[str, tuple[Callable[[int], None], int]] = {
    "long": (long, 20 * MB),
    "texts": (texts, 8 * MB),
    "symbols": (symbols, 2 * MB),
    "limit": (limit, 3 * MB),
    "disk": (disk, MB // 4),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual length of the texts")
    parser.add_argument("--folder", help="where everything is made; by default that of temporary files")
    chosen = parser.parse_args()
    print(common.machine())
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        os.chdir(folder)
        Path("checkpoints").mkdir()
        os.environ.pop("CHARRNN_CHECKPOINTS", None)
        os.environ["CHARRNN_CACHE"] = str(Path(folder, "cache"))
        for name in chosen.only or PARTS:
            part, size = PARTS[name]
            print(f"\n{name}\n", flush=True)
            part(int(size * chosen.share))


if __name__ == "__main__":
    main()
