"""Several processes train as one does."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from charrnn.errors import ConfigError
from charrnn.runs import checkpoint
from charrnn.runs.checkpoint import BEST
from charrnn.runs.history import LOG
from charrnn.training.devices import ProcessGroup
from tests.conftest import TEXT, charrnn

SETTINGS = ["--hidden", "8", "--bptt", "8", "--steps", "150", "--save-every", "50", "--precision", "float32"]


def two_processes(name: str, streams: int, *options: str) -> subprocess.CompletedProcess[str]:
    """A training by two processes under torchrun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    command = [sys.executable, *torchrun, "-m", "charrnn", "train", "text.txt", "--name", name]
    return subprocess.run(
        [*command, *SETTINGS, "--streams", str(streams), *options],
        capture_output=True,
        text=True,
        check=False,
    )


def log_lines(name: str) -> list[dict]:
    return [json.loads(line) for line in Path("checkpoints", name, LOG).read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--attention", "6"]])
def test_two_processes_give_the_losses_of_one_and_only_the_main_process_prints(options: list[str]) -> None:
    Path("text.txt").write_text(TEXT)
    one = charrnn("train", "text.txt", "--name", "one", *SETTINGS, "--streams", "4", *options)
    two = two_processes("two", 4, *options)
    assert one.status == 0, one.err
    assert two.returncode == 0, two.stderr
    assert two.stdout == "checkpoints/two/model.safetensors\n"
    assert two.stderr.count("step 150/150") == 1
    assert "2 processes" in two.stderr
    for alone, shared in zip(log_lines("one"), log_lines("two"), strict=True):
        for key in ("step", "epoch", "characters", "lr", "best", "clipped"):
            assert alone[key] == shared[key]
        for key in ("train_nats", "validation_nats", "gradient_norm"):
            assert shared[key] == pytest.approx(alone[key], rel=1e-4)
    weights = [checkpoint.load(Path("checkpoints", name, BEST)).weights for name in ("one", "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(
            torch.from_numpy(weights[1][name]), torch.from_numpy(value), rtol=1e-3, atol=1e-4
        )


@pytest.mark.slow
def test_an_error_in_several_processes_ends_all_and_is_printed_once() -> None:
    Path("text.txt").write_text(TEXT)
    done = two_processes("odd", streams=5)
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.count("--streams 5: must be a multiple of the 2 processes") == 1


def test_each_process_gets_its_streams_in_order() -> None:
    groups = [ProcessGroup(torch.device("cpu"), rank, 3) for rank in range(3)]
    assert [list(range(12))[group.local_streams(12)] for group in groups] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]
    with pytest.raises(ConfigError, match="--streams 10"):
        groups[0].local_streams(10)
