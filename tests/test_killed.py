"""A run killed at any moment and resumed ends in the bytes of one that never was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from charrnn.files import temporary_of
from charrnn.runs import checkpoint
from charrnn.runs.checkpoint import BEST, LAST
from charrnn.runs.history import LOG
from tests import killed

ROOT = Path(__file__).parent.parent


def outcome(run: Path) -> tuple:
    """All that a run leaves, without its times and the temporary files of a killed save."""
    files = [checkpoint.load(run / name, resume=True) for name in (BEST, LAST)]
    log = [json.loads(line) for line in (run / LOG).read_text().splitlines()]
    for line in log:
        del line["seconds"], line["characters_per_second"]
    states = [{k: v for k, v in (f.header.resume or {}).items() if k != "seconds"} for f in files]
    return (
        [{name: array.tobytes() for name, array in file.weights.items()} for file in files],
        states,
        log,
        sorted(path.name for path in run.iterdir() if not temporary_of(path.name)),
    )


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.killed", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kills = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(kills) > 0.8 * sum(killed.KILLS)
    expected = outcome(tmp_path / "whole")
    for moment, killed_status, resumed_status in kills:
        assert killed_status == -signal.SIGKILL, f"at {moment}"
        assert resumed_status == 0, f"at {moment}: {done.stderr}"
        assert outcome(tmp_path / str(moment)) == expected, f"killed at {moment}"
