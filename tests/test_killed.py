"""A run killed at any moment and resumed ends in the bytes of one that never was."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import signal
from pathlib import Path

import pytest

from charrnn.runs import checkpoint
from charrnn.runs.checkpoint import BEST, LAST
from charrnn.runs.history import LOG
from tests import killed
from tests.conftest import TEXT

KILLS = 50


@pytest.fixture(scope="module")
def processes():
    """Processes that have torch imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.killed"])
    return context


def train(processes, folder: Path, moment: int | None) -> int:
    """The exit code of a training in a process of its own."""
    process = processes.Process(target=killed.train, args=(folder, moment))
    process.start()
    process.join()
    return process.exitcode


def outcome(folder: Path) -> tuple:
    """All that a run leaves, without its times."""
    run = folder / "run"
    files = [checkpoint.load(run / name, resume=True) for name in (BEST, LAST)]
    log = [json.loads(line) for line in (run / LOG).read_text().splitlines()]
    for line in log:
        del line["seconds"], line["characters_per_second"]
    places = [{k: v for k, v in (f.header.resume or {}).items() if k != "seconds"} for f in files]
    return (
        [{name: value.tobytes() for name, value in file.weights.items()} for file in files],
        places,
        log,
        sorted(path.name for path in run.iterdir()),
    )


def test_killed_at_any_moment_and_resumed_it_ends_in_the_same_bytes(processes, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    assert train(processes, tmp_path, None) == 0
    expected = outcome(tmp_path)
    moments, *saving = map(int, (tmp_path / "moments").read_text().split())
    drawn = random.Random(0)
    chosen = [drawn.randrange(1, moments) for _ in range(KILLS - 15)] + drawn.choices(saving, k=15)
    for moment in chosen:
        shutil.rmtree(tmp_path / "run")
        assert train(processes, tmp_path, moment) == -signal.SIGKILL
        assert train(processes, tmp_path, 0) == 0
        leftovers = [
            path.name
            for path in (tmp_path / "run").iterdir()
            if path.suffix not in ("", ".jsonl", ".safetensors")
        ]
        for name in leftovers:
            assert name.startswith((f".{LAST}.", f".{BEST}.", f".{LOG}."))
            (tmp_path / "run" / name).unlink()
        assert outcome(tmp_path) == expected, f"killed at {moment} of {moments}"
