"""Runs that are killed at chosen moments and then resumed: ``python -m tests.killed FOLDER``.

One process trains once, so that torch is loaded and warm, and from then on forks a child for each
training. The folder then holds a run called ``whole``, which was not killed, and one for each moment,
called by its number. A moment is the call or the return of a Python function or a C function.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import torch

from charrnn.config import ModelConfig, TrainConfig
from charrnn.runs import checkpoint
from charrnn.runs.checkpoint import LAST
from charrnn.text.corpus import Corpus, open_corpus
from charrnn.text.sources import file_source
from charrnn.training import train as loop
from charrnn.training.run_folder import RunFolder
from charrnn.training.train import Training
from tests.conftest import TEXT

CONFIG = TrainConfig(streams=3, bptt=8, steps=12, save_every=4)
KILLS = (20, 30, 30)
"""Most kills at moments of each kind, evenly spread: outside writing, between files, in a save."""


Watch = Callable[[FrameType, str, object], None]


def train(corpus: Corpus, folder: Path, watch: Watch | None = None) -> None:
    """Train or resume the run in ``folder``; call ``watch`` at each moment."""
    last = folder / LAST
    resume = checkpoint.load(last, resume=True) if last.exists() else None
    training = Training(corpus, ModelConfig(hidden=6, embedding=3), CONFIG, folder, resume=resume)
    sys.setprofile(watch)
    for _ in training.run():
        pass
    sys.setprofile(None)


def train_watched(corpus: Corpus, folder: Path, kill_at: int = 0) -> None:
    """Train in ``folder``; die at the moment ``kill_at``, if it is not 0.

    Writes the moments by kind to ``folder.json``: outside ``RunFolder.write``, inside it but in no
    checkpoint's save, and in a checkpoint's save.
    """
    kinds: list[list[int]] = [[], [], []]
    code = (RunFolder.write.__code__, checkpoint.save_checkpoint.__code__)
    moment, depth = 0, 0

    def watch(frame: FrameType, event: str, argument: object) -> None:
        nonlocal moment, depth
        moment += 1
        if moment == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if frame.f_code in code:
            depth += {"call": 1, "return": -1}.get(event, 0)
        kinds[depth].append(moment)

    train(corpus, folder, watch)
    folder.with_suffix(".json").write_text(json.dumps(kinds))


def forked(function: Callable[..., None], *arguments: Corpus | Path | int) -> int:
    """The exit status of a child process that calls the function: negative where a signal ended it."""
    child = os.fork()
    if not child:
        try:
            function(*arguments)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(folder: Path) -> None:
    """Make the runs; write each moment and its two exit statuses, killed and resumed, to stdout."""
    torch.set_num_threads(1)  # a process with other threads cannot be forked
    loop.PROGRESS_SECONDS = math.inf  # the number of moments must not depend on the clock
    (folder / "text.txt").write_text(TEXT)
    corpus = open_corpus([file_source(folder / "text.txt")], "text", cache=folder / "cache")
    train(corpus, folder / "whole")
    forked(train_watched, corpus, folder / "counted")  # in a child, whose moments differ from the parent's
    kinds = json.loads((folder / "counted.json").read_text())
    for moments, kills in zip(kinds, KILLS, strict=True):
        for moment in moments[:: -(-len(moments) // kills)]:
            run = folder / str(moment)
            killed, resumed = forked(train_watched, corpus, run, moment), forked(train, corpus, run)
            sys.stdout.write(f"{moment} {killed} {resumed}\n")
            sys.stdout.flush()  # else every child would write the buffer too


if __name__ == "__main__":
    main(Path(sys.argv[1]))
