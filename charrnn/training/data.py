"""How a training reads its text: as streams of one long text, or as documents.

It gives the loss of each step, hands the recurrent state from window to window, and validates.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from charrnn.config import TrainConfig
from charrnn.text.corpus import Corpus
from charrnn.text.document_corpus import DocumentCorpus
from charrnn.training.devices import ProcessGroup
from charrnn.training.document_data import DocumentData
from charrnn.training.network import CharRNN
from charrnn.training.text_data import TextData
from charrnn.training.window_state import Arrays


class TrainingData(Protocol):
    """What a learner asks of the way its text is read."""

    @property
    def characters_per_step(self) -> float:
        """Characters that a step reads, averaged over an epoch."""

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which the training part is read once."""

    @property
    def streams(self) -> tuple[int, slice] | None:
        """The number of all streams and those of this process; None where rows are no streams."""

    @property
    def shortened(self) -> str:
        """What differs from the settings because the text is short; "" where nothing does."""

    def start(self, model: CharRNN) -> None:
        """Begin at the start of the text."""

    def read_window(self, model: nn.Module, step: int) -> Tensor:
        """Read the window of a step: its mean nats per character, a number with a gradient."""

    def validate(self, model: CharRNN, part: range) -> float:
        """Mean nats per character of a part."""

    def arrays(self) -> dict[str, Tensor]:
        """All that reading a window changes, by name."""

    def restore(self, arrays: Arrays) -> None:
        """Set what ``arrays`` returned. Raises KeyError, ValueError for other arrays."""


def training_data(corpus: Corpus, config: TrainConfig, group: ProcessGroup) -> TrainingData:
    """The training part, as it is read. Raises CorpusError, ConfigError."""
    if isinstance(corpus, DocumentCorpus):
        return DocumentData(corpus, config, group)
    return TextData(corpus, config, group)
