"""Golden losses: training losses and logits stay as they are stored, except by intended changes.

After an intended change of the numbers, ``python -m tests.test_golden`` stores the new ones.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from charrnn.config import ModelConfig, TrainConfig
from charrnn.inference.network import Inference
from charrnn.runs import checkpoint
from charrnn.runs.checkpoint import BEST
from charrnn.runs.history import Report
from charrnn.text.corpus import open_corpus
from charrnn.text.sources import file_source
from charrnn.training.network import CharRNN, load_weights
from charrnn.training.train import Training
from tests.conftest import TEXT

FOLDER = Path(__file__).parent / "golden"
CELLS = ("lstm", "gru", "rnn")
CONFIG = TrainConfig(
    streams=4,
    bptt=16,
    steps=20,
    save_every=1,
    dropout=0.2,
    weight_drop=0.1,
    lr=0.02,
    muon=0.1,
    precision="float32",
)
LOSS_TOLERANCE = 1e-4
"""Relative, in nats: twenty steps multiply the rounding differences between processors and libraries."""
LOGIT_TOLERANCE = 1e-5
"""Absolute: one pass over the text in float32."""


def train(cell: str, folder: Path) -> list[float]:
    """(20,) training losses in nats per character, one a step; the checkpoint is written into ``folder``."""
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    corpus = open_corpus([file_source(folder / "text.txt")], "text.txt", cache=folder / "cache")
    model = ModelConfig(cell=cell, layers=2, hidden=8, embedding=5)
    training = Training(corpus, model, CONFIG, folder / cell)
    return [event.train_nats for event in training.run() if isinstance(event, Report)]


def golden() -> dict[str, dict[str, list[float]]]:
    """The losses and logits of each cell, as they were written."""
    written: dict[str, dict[str, list[float]]] = json.loads(
        (FOLDER / "golden.json").read_text(encoding="utf-8")
    )
    return written


def logits(cell: str, backend: str) -> np.ndarray:
    """(32, V) logits of the stored checkpoint of a cell, after each of the text's first characters."""
    loaded = checkpoint.load(FOLDER / f"{cell}.safetensors")
    ids = loaded.header.vocabulary.encode(TEXT[:32])[None]
    if backend == "numpy":
        inference = Inference(loaded.header.network, loaded.weights)
        result, _ = inference(ids, inference.start(1))
    else:
        model = CharRNN(loaded.header.network, len(loaded.header.vocabulary)).eval()
        load_weights(model, loaded.weights)
        with torch.no_grad():
            result = model(torch.from_numpy(ids), model.start(1))[0].numpy()
    return np.asarray(result[0])


@pytest.mark.parametrize("cell", CELLS)
def test_twenty_steps_of_training_have_the_losses_they_had(tmp_path: Path, cell: str) -> None:
    np.testing.assert_allclose(train(cell, tmp_path), golden()[cell]["losses"], rtol=LOSS_TOLERANCE)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_stored_checkpoint_has_the_logits_it_had(cell: str, backend: str) -> None:
    np.testing.assert_allclose(logits(cell, backend), golden()[cell]["logits"], rtol=0, atol=LOGIT_TOLERANCE)


def write() -> None:
    """Train each cell and store its checkpoint, its losses and its logits."""
    torch.set_num_threads(1)
    written = {}
    for cell in CELLS:
        with tempfile.TemporaryDirectory() as folder:
            losses = train(cell, Path(folder))
            (FOLDER / f"{cell}.safetensors").write_bytes((Path(folder) / cell / BEST).read_bytes())
        written[cell] = {
            "losses": np.round(losses, 6).tolist(),
            "logits": np.round(logits(cell, "numpy").astype(float), 6).tolist(),
        }
    (FOLDER / "golden.json").write_text(json.dumps(written) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
