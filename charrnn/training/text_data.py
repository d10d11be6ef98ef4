"""One long text, read as parallel streams.

S: streams   T: characters of a window
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from charrnn.cells import State
from charrnn.config import TrainConfig
from charrnn.errors import CheckpointError
from charrnn.runs.checkpoint import RESUME
from charrnn.text.corpus import Corpus
from charrnn.training.batches import Batches
from charrnn.training.devices import ProcessGroup
from charrnn.training.evaluate import evaluate
from charrnn.training.network import CharRNN, detach
from charrnn.training.window_state import Arrays, WindowState


class TextData:
    """One long text as streams, each of which hands its state from window to window."""

    def __init__(self, corpus: Corpus, config: TrainConfig, group: ProcessGroup) -> None:
        """Raises CorpusError for a text too short, ConfigError for streams that cannot be shared equally."""
        self.corpus, self.config, self.group = corpus, config, group
        part = corpus.splits(config.split)[0]
        ids = corpus.ids[part.start : part.stop]
        self.batches = Batches.fitted(ids, config.streams, config.bptt, group.world_size)
        self.local_streams = group.local_streams(self.batches.streams)

    @property
    def characters_per_step(self) -> float:
        """As of ``TrainingData``; of all processes together."""
        return self.batches.characters_per_step

    @property
    def steps_per_epoch(self) -> float:
        """As of ``TrainingData``."""
        return self.batches.steps_per_epoch

    @property
    def streams(self) -> tuple[int, slice]:
        """As of ``TrainingData``."""
        return self.batches.streams, self.local_streams

    @property
    def shortened(self) -> str:
        """As of ``TrainingData``."""
        batches, config = self.batches, self.config
        if (batches.streams, batches.bptt) == (config.streams, config.bptt):
            return ""
        return (
            f"short text: {batches.streams} streams and windows of {batches.bptt} characters,"
            f" instead of {config.streams} and {config.bptt}"
        )

    def start(self, model: CharRNN) -> None:
        """As of ``TrainingData``."""
        self.window_state = WindowState(model, self.local_streams.stop - self.local_streams.start)

    def read_window(self, model: nn.Module, step: int) -> Tensor:
        """As of ``TrainingData``."""
        inputs, targets = (
            torch.from_numpy(ids).to(self.group.device, non_blocking=True)
            for ids in self.batches.batch(step, self.local_streams)
        )
        total: Tensor
        total, state = model(inputs, self.initial_state(step), targets=targets)
        self.window_state.state = detach(state)
        return total / targets.numel()

    def initial_state(self, step: int) -> State:
        """The state after the window before, with zeros for the streams that are reset."""
        state = self.window_state.state
        random = np.random.default_rng((self.config.seed, step)).random(self.batches.streams)
        reset = random < self.config.reset
        if self.batches.starts_epoch(step):
            # The text of stream s begins where that of stream s - 1 ends; stream 0 has none before it.
            state = tuple(
                tuple(self.group.gather(part).roll(1, 0)[self.local_streams] for part in layer)
                for layer in state
            )
            reset[0] = True
        if not reset.any():
            return state
        keep = torch.from_numpy(~reset[self.local_streams]).to(self.group.device)[:, None]
        return tuple(tuple(part * keep for part in layer) for layer in state)

    def validate(self, model: CharRNN, part: range) -> float:
        """As of ``TrainingData``; the part is read as one stream."""
        return evaluate(model, self.corpus.ids, part)

    def arrays(self) -> dict[str, Tensor]:
        """As of ``TrainingData``: the state of all streams, the same in every process."""
        return self.window_state.arrays(self.group.gather)

    def restore(self, arrays: Arrays) -> None:
        """As of ``TrainingData``.

        Raises CheckpointError where another number of processes cuts a short text into other streams.
        """
        before, now = len(arrays[RESUME + "carry.0.hidden"]), self.batches.streams
        if before != now and self.shortened:
            processes = f"{self.group.world_size} process{'' if self.group.world_size == 1 else 'es'}"
            raise CheckpointError(
                f"this run reads {before} streams, and {processes} would read {now} of its short text:"
                " resume it with as many processes as it began with"
            )
        self.window_state.restore(arrays, self.batches.streams, self.local_streams)
