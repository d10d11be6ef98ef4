"""The predictor of a checkpoint: its network, or its n-gram model."""

from __future__ import annotations

from charrnn.config import NgramConfig
from charrnn.inference import ngram
from charrnn.inference.network import Inference, Predictor
from charrnn.runs.checkpoint import Checkpoint


def predictor(checkpoint: Checkpoint) -> Predictor:
    """The model of a loaded checkpoint."""
    model = checkpoint.header.model
    if isinstance(model, NgramConfig):
        return ngram.from_arrays(checkpoint.weights, len(checkpoint.header.vocabulary))
    return Inference(model, checkpoint.weights)
