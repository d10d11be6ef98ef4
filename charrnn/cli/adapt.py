"""What ``--adapt`` of ``charrnn score`` and ``charrnn sample`` share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from charrnn.cli.terminal import Terminal
from charrnn.config import NgramConfig
from charrnn.errors import CharrnnError, ConfigError

if TYPE_CHECKING:
    from charrnn.cli.sample_prompts import Prompt
    from charrnn.cli.score_input import Model
    from charrnn.inference.adaptive import AdaptiveReader
    from charrnn.inference.network import Ids, Predictor
    from charrnn.inference.score import ScoredPiece
    from charrnn.runs.checkpoint import Checkpoint


def adaptive_reader(checkpoints: Sequence[Checkpoint], weights: Sequence[float] | None) -> AdaptiveReader:
    """A reader that learns, of models with one vocabulary. Imports torch where one of them is a network.

    Raises CharrnnError where torch is missing, and for a model of documents.
    """
    from charrnn.inference.adaptive import AdaptiveReader

    if checkpoints[0].header.vocabulary.documents:
        raise ConfigError("--adapt learns one long text, and this model reads documents: leave it out")

    models = [_learning_predictor(checkpoint) for checkpoint in checkpoints]
    return AdaptiveReader(models, checkpoints[0].header.vocabulary, weights)


def _learning_predictor(checkpoint: Checkpoint) -> Predictor:
    """The n-gram model of a checkpoint, or its network, which learns."""
    if isinstance(checkpoint.header.model, NgramConfig):
        from charrnn.inference.predictor import predictor

        return predictor(checkpoint)
    try:
        from charrnn.training.adapt import LearningNetwork, use_one_thread
    except ImportError as error:
        raise CharrnnError(
            f"--adapt: a network learns with torch, which cannot be imported ({error}):"
            " pip install torch, or give an n-gram model"
        ) from error
    use_one_thread()
    return LearningNetwork(checkpoint.header.network, checkpoint.weights)


def adaptive_model(model: Model, checkpoints: Sequence[Checkpoint], weights: Sequence[float] | None) -> Model:
    """The model of the checkpoints that learns each text while it reads it."""
    return model._replace(
        name=f"{model.name}, adapted", adaptive_reader=partial(adaptive_reader, checkpoints, weights)
    )


def stream(model: Model, pieces: Iterable[Ids], before: Ids) -> Iterator[ScoredPiece]:
    """Score a text that comes in pieces (N,), and learn it where the model adapts."""
    from charrnn.inference.adaptive import adaptive_stream
    from charrnn.inference.score import score_stream

    if model.adaptive_reader is None:
        return score_stream(model.predictor, pieces, before)
    return adaptive_stream(model.adaptive_reader(), pieces, before)


def short_pieces(model: Model, pieces: Iterable[Ids]) -> Iterable[Ids]:
    """The pieces in which the model reads a text, so short that another model can read them beside it.

    Equal ones for a model that learns; otherwise, no piece waits for the next one.
    """
    from charrnn.inference.adaptive import LEARN, equal_pieces
    from charrnn.inference.network import CHUNK

    if model.adaptive_reader is not None:
        return equal_pieces(pieces, LEARN)
    return (piece[start : start + CHUNK] for piece in pieces for start in range(0, len(piece), CHUNK))


def adapt_to_prompt(
    out: Terminal, checkpoints: Sequence[Checkpoint], weights: Sequence[float] | None, prompt: Prompt
) -> tuple[Predictor, Prompt]:
    """The models after they have learned the prompt, and the prompt with their cursor.

    Raises ConfigError for an empty prompt.
    """
    import numpy as np

    from charrnn.inference.adaptive import adaptive_stream
    from charrnn.inference.network import CHUNK
    from charrnn.inference.sample import opening_ids
    from charrnn.inference.states import Cursor

    if not len(prompt.ids):
        raise ConfigError("--adapt learns the prompt, which is empty: give a long one with --prompt-file")
    reader = adaptive_reader(checkpoints, weights)
    pieces = (prompt.ids[start : start + CHUNK] for start in range(0, len(prompt.ids), CHUNK))
    nats, size = 0.0, len(prompt.ids)
    with out.bar(desc="learning the prompt", unit="char", unit_scale=True, total=size) as bar:
        for piece in adaptive_stream(reader, pieces, opening_ids(checkpoints[0].header.vocabulary)):
            nats -= float(piece.log_probabilities.sum())
            bar.update(len(piece.ids))
    bits = nats / size / np.log(2)
    out.note(f"learned the prompt: {size:,} characters, {bits:.4f} bits per character while reading it")
    predictor = reader.frozen()
    return predictor, replace(prompt, cursor=Cursor(prompt.ids[-1:], reader.state))
