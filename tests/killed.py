"""A training that is killed at a chosen moment; run in processes of its own by test_killed.py."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from charrnn.config import ModelConfig, TrainConfig
from charrnn.runs import checkpoint
from charrnn.runs.checkpoint import LAST
from charrnn.text.corpus import open_corpus
from charrnn.text.sources import file_source
from charrnn.training.train import Training

CONFIG = TrainConfig(streams=3, bptt=8, steps=12, save_every=4)


def train(folder: Path, moment: int | None) -> None:
    """Train, or go on, in ``folder/run``; die at the ``moment``-th call or return of a Python function.

    With no moment the number of moments is written to ``folder/moments``, then those inside a save.
    """
    torch.set_num_threads(1)
    corpus = open_corpus([file_source(folder / "text.txt")], "text", cache=folder / "cache")
    last = folder / "run" / LAST
    resume = checkpoint.load(last, resume=True) if last.exists() else None
    training = Training(corpus, ModelConfig(hidden=6, embedding=3), CONFIG, folder / "run", resume=resume)
    moments, depth, saving = 0, 0, []

    def watch(frame, event, arg) -> None:
        nonlocal moments, depth
        moments += 1
        if moments == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        if moment is None and frame.f_code.co_name == "save_checkpoint":
            depth += {"call": 1, "return": -1}.get(event, 0)
        if depth:
            saving.append(moments)

    sys.setprofile(watch)
    for _ in training.run():
        pass
    sys.setprofile(None)
    if moment is None:
        (folder / "moments").write_text(" ".join(map(str, [moments, *saving])))
