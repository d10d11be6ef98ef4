"""Several processes train as one does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from charrnn.config import ModelConfig, TrainConfig
from charrnn.errors import CheckpointError, ConfigError
from charrnn.runs import checkpoint
from charrnn.runs.checkpoint import BEST, RESUME
from charrnn.runs.history import LOG
from charrnn.text.corpus import Corpus
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.devices import ProcessGroup
from charrnn.training.network import CharRNN
from charrnn.training.text_data import TextData
from tests.conftest import TEXT, charrnn

SETTINGS = ["--hidden", "8", "--bptt", "8", "--steps", "150", "--save-every", "50", "--precision", "float32"]


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def two_processes(name: str, streams: int, *options: str) -> subprocess.CompletedProcess[str]:
    """A training by two processes under torchrun."""
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    command = [sys.executable, *torchrun, "-m", "charrnn", "train", "text.txt", "--name", name]
    return subprocess.run(
        [*command, *SETTINGS, "--streams", str(streams), *options],
        capture_output=True,
        text=True,
        check=False,
    )


def host(rank: int, port: str, *options: str) -> subprocess.Popen[str]:
    """One of two hosts that train together: a torchrun with one process."""
    hosts = ["--nnodes", "2", "--node-rank", str(rank), "--master-addr", "127.0.0.1", "--master-port", port]
    command = [sys.executable, "-m", "torch.distributed.run", *hosts, "--nproc-per-node", "1"]
    return subprocess.Popen(
        [*command, "-m", "charrnn", "train", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
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


@pytest.mark.slow
def test_a_host_that_is_killed_ends_the_other_with_a_line_and_any_number_of_processes_goes_on() -> None:
    Path("text.txt").write_text(TEXT)
    settings = [*SETTINGS[:4], "--precision", "float32", "--streams", "4", "--steps", "800", "--save-every"]
    port = free_port()
    hosts = [host(rank, port, "text.txt", "--name", "two", *settings, "100") for rank in range(2)]
    try:
        log = Path("checkpoints", "two", LOG)
        deadline = time.monotonic() + 120
        while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        worker = subprocess.run(
            ["pgrep", "-P", str(hosts[1].pid)], capture_output=True, text=True, check=True
        )
        for pid in (hosts[1].pid, *map(int, worker.stdout.split())):
            os.kill(pid, signal.SIGKILL)
        _, errors = hosts[0].communicate(timeout=120)
    finally:
        for one in hosts:
            one.kill()
            one.communicate()
    assert hosts[0].returncode == 1
    assert errors.count("charrnn: the connection to another process of this training is lost: start all") == 1
    assert "[rank0]" not in errors  # what torchrun prints itself is a traceback too
    before = len(log_lines("two"))
    assert 0 < before < 8
    assert charrnn("train", "--resume", "two", "--quiet").status == 0
    assert charrnn("train", "text.txt", "--name", "one", *settings, "100", "--quiet").status == 0
    lines = list(zip(log_lines("one"), log_lines("two"), strict=True))
    for alone, shared in lines[: before + 1]:
        assert shared["train_nats"] == pytest.approx(alone["train_nats"], rel=1e-3)
    assert lines[-1][1]["step"] == 800


def test_another_number_of_processes_that_cuts_a_short_text_otherwise_is_refused_when_resumed() -> None:
    ids = np.arange(50, dtype=np.uint8) % 3
    corpus, config = Corpus(ids, Vocabulary("abc"), "", "text"), TrainConfig(bptt=8, split=(100, 0, 0))
    model = CharRNN(ModelConfig(hidden=2), 3)
    data = [TextData(corpus, config, ProcessGroup(torch.device("cpu"), 0, count)) for count in (1, 4)]
    for one in data:
        one.start(model)
    arrays = {RESUME + name: part.numpy() for name, part in data[0].arrays().items()}
    data[0].restore(arrays)
    with pytest.raises(CheckpointError, match="this run reads 6 streams, and 4 processes would read 4"):
        data[1].restore(arrays)


def test_each_process_gets_its_streams_in_order() -> None:
    groups = [ProcessGroup(torch.device("cpu"), rank, 3) for rank in range(3)]
    assert [list(range(12))[group.local_streams(12)] for group in groups] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]
    with pytest.raises(ConfigError, match="--streams 10"):
        groups[0].local_streams(10)
