"""Memory that runs out: one line, and all files as they were."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from charrnn.errors import CheckpointError, is_out_of_memory
from tests.conftest import TEXT, charrnn

LIMITED = """
import resource, sys
from pathlib import Path
import torch
from charrnn.cli import main

torch.set_num_threads(1)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]), ) * 2)
sys.exit(main(sys.argv[2:]))
"""
"""Runs a command that finds only so many bytes of memory more than the libraries take."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("could not create a primitive"), True),
        (ImportError("libtorch.so: failed to map segment from shared object"), True),
        (SystemError("error return without exception set"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
        (ImportError("No module named 'torch'"), False),
        (CheckpointError("run.safetensors is damaged: out of memory"), False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_errors_that_mean_that_memory_ran_out(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory that a process has is read from /proc")
@pytest.mark.parametrize("more", [2_000_000, 20_000_000])
@pytest.mark.parametrize(
    "command",
    [
        "train --resume large --steps 9 -q",
        "sample large --seed 1 --length 5 --save-state state",
        "score large notes.txt",
    ],
)
def test_without_memory_a_command_ends_in_one_line_and_loses_nothing(command: str, more: int) -> None:
    Path("notes.txt").write_text(TEXT)
    network = "--hidden 1200 --layers 1 --embedding 8 --streams 2 --bptt 8"
    charrnn(*f"train notes.txt --name large --steps 2 {network}".split())
    charrnn(*["sample", "large", "--seed", "2", "--length", "3", "--save-state", "state"])
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    arguments = [sys.executable, "-c", LIMITED, str(more), *command.split()]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("charrnn: not enough memory"), done.stderr
    assert "Traceback" not in done.stderr
    after = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert after == before
    assert charrnn(*command.split()).status == 0
