"""What the tests share: a small text, a small trained run, and a terminal of byte buffers."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from hypothesis import settings

from charrnn.cli import main
from charrnn.cli.terminal import Terminal
from charrnn.config import ModelConfig
from charrnn.runs import parameters
from charrnn.runs.checkpoint import BEST, Header, save_checkpoint
from charrnn.text.vocabulary import Vocabulary

# These sizes are so small that more threads only wait for each other.
torch.set_num_threads(1)

# typer builds its commands for every command line, which takes longer than most of them; they hold no state.
typer.main.get_command = cache(typer.main.get_command)

# No test depends on the clock, and every draw is the same each time.
settings.register_profile("charrnn", deadline=None, derandomize=True)
# `make fuzz` draws other examples each time, and 400 times as many in tests/fuzz (``laws.examples``).
settings.register_profile("fuzz", deadline=None, derandomize=False, max_examples=40_000, print_blob=True)
settings.load_profile("charrnn")

TEXT = 'the cat sat on the mat. she said "no" and left.\n' * 40


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test in a folder of its own: nothing of the machine's is read or written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path.with_name(f"{tmp_path.name}-data")))
    monkeypatch.setenv("CHARRNN_CHECKPOINTS", "checkpoints")
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("CHARRNN_CORPORA", "NO_COLOR", "FORCE_COLOR", "PYTHONUNBUFFERED"):
        monkeypatch.delenv(name, raising=False)


def random_weights(config: ModelConfig, symbols: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights large enough that every gate moves."""
    generator = np.random.default_rng(seed)
    return {
        name: generator.normal(0, 0.5, shape).astype(np.float32)
        for name, shape in parameters.shapes(config, symbols).items()
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run called ``tiny`` in ./checkpoints, its weights drawn at random."""
    config = ModelConfig(layers=2, hidden=6, embedding=4)
    vocabulary = Vocabulary("".join(sorted(set(TEXT) | {"é"})))
    folder = tmp_path / "checkpoints" / "tiny"
    folder.mkdir(parents=True)
    save_checkpoint(folder / BEST, Header(config, vocabulary), random_weights(config, len(vocabulary)))
    return folder


@dataclass
class Ran:
    """A finished command."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


def charrnn(*arguments: str, stdin: bytes | None = None, tty: bool = False) -> Ran:
    """Run one command in this process; ``stdin`` is piped in, also when it is empty."""
    out, err = io.BytesIO(), io.StringIO()
    terminal = Terminal(
        io.BytesIO(stdin or b""),
        out,
        err,
        stdin_tty=tty,
        stdout_tty=tty,
        stderr_tty=tty,
        stdin_piped=stdin is not None,
    )
    status = main(list(arguments), terminal)
    return Ran(status, out.getvalue(), err.getvalue())
