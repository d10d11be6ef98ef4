"""Documents, each read from its START to its END.

D: documents of the corpus   R: rows of a window   M: characters of all slices of a window
C: numbers of all conditions   V: vocabulary
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from charrnn.cells import State
from charrnn.conditions import MISSING
from charrnn.config import TrainConfig
from charrnn.errors import ConfigError
from charrnn.runs.checkpoint import RESUME
from charrnn.text.document_corpus import DocumentCorpus
from charrnn.training.devices import ProcessGroup
from charrnn.training.document_batches import START, DocumentBatches, Rows, parts, rows_of, slices
from charrnn.training.evaluate import characters_at_once, evaluate
from charrnn.training.network import CharRNN, detach
from charrnn.training.window_state import Arrays, WindowState

LONG = 1 << 14
"""Characters above which a document is validated by itself, as a long text; shorter ones are read as rows."""
BATCH = 1 << 14
"""Characters of the rows that are validated at once."""
DROP_SEED = 1
"""Distinguishes the draws of dropped labels from those of the order of documents."""

Integers = NDArray[np.int64]


class DocumentData:
    """Documents, each of which begins in the state of zeros."""

    def __init__(self, corpus: DocumentCorpus, config: TrainConfig, group: ProcessGroup) -> None:
        """Raises CorpusError for a single document, ConfigError for several processes."""
        if group.world_size > 1:
            raise ConfigError("--documents trains in one process: start it without torchrun")
        self.corpus, self.config, self.group = corpus, config, group
        self.reader = DocumentReader(corpus, config, group.device)
        numbers = np.array(corpus.numbers(corpus.splits(config.split)[0]))
        self.parts = parts(numbers, self.reader.lengths, config.streams)
        self.batches = DocumentBatches(self.parts.lengths, config.streams, config.bptt, config.seed)
        self.streams = None
        self.place = START

    @property
    def characters_per_step(self) -> float:
        """As of ``TrainingData``."""
        return self.batches.characters_per_step

    @property
    def steps_per_epoch(self) -> float:
        """As of ``TrainingData``."""
        return self.batches.steps_per_epoch

    @property
    def shortened(self) -> str:
        """As of ``TrainingData``."""
        wanted = self.config.streams * self.config.bptt
        if self.batches.budget == wanted:
            return ""
        return f"short text: {self.batches.budget:,} characters in a step, instead of {wanted:,}"

    def start(self, model: CharRNN) -> None:
        """As of ``TrainingData``."""
        self.place, self.window_state = START, WindowState(model, 0)

    def read_window(self, model: nn.Module, step: int) -> Tensor:
        """As of ``TrainingData``; END counts as a character."""
        assert isinstance(model, CharRNN)
        window, self.place = self.batches.window(self.place)
        chosen, offsets, lengths = window.rows
        rows = Rows(self.parts.documents[chosen], self.parts.offsets[chosen] + offsets, lengths)
        before = torch.from_numpy(window.before).to(self.group.device)
        state = tuple(
            tuple(functional.pad(part, (0, 0, 0, 1))[before] for part in layer)  # row -1: zeros
            for layer in self.window_state.state
        )
        missing = self.reader.dropped(rows.documents, window.epochs)
        total, count, after = self.reader.read(model, rows, state, missing)
        going = len(self.place.open)
        self.window_state.state = tuple(tuple(part[:going] for part in layer) for layer in detach(after))
        return total / max(1, count)

    def validate(self, model: CharRNN, part: range) -> float:
        """As of ``TrainingData``."""
        return self.reader.evaluate(model, np.array(self.corpus.numbers(part)))

    def arrays(self) -> dict[str, Tensor]:
        """As of ``TrainingData``: the place in the documents, and the state of the rows that go on."""
        return {"documents": torch.from_numpy(self.place.to_array())} | self.window_state.arrays()

    def restore(self, arrays: Arrays) -> None:
        """As of ``TrainingData``."""
        self.place = self.batches.place(arrays[RESUME + "documents"])
        self.window_state.restore(arrays, len(self.place.open))


class DocumentReader:
    """Reads rows of documents, with their labels and vectors."""

    def __init__(self, corpus: DocumentCorpus, config: TrainConfig, device: torch.device) -> None:
        self.corpus, self.config, self.device = corpus, config, device
        self.lengths = corpus.lengths
        self._dropped: dict[int, NDArray[np.bool_]] = {}

    def dropped(self, documents: Integers, epochs: Integers) -> NDArray[np.bool_]:
        """(R, conditions) the conditions that these documents, begun in these epochs, are read without."""
        count, share = len(self.corpus.conditions), self.config.label_drop
        result = np.zeros((len(documents), count), np.bool_)
        if not count or not share:
            return result
        for epoch in np.unique(epochs).tolist():
            if epoch not in self._dropped:
                draws = np.random.default_rng((self.config.seed, epoch, DROP_SEED)).random(
                    (self.corpus.count, count + 1), np.float32
                )
                several = draws[:, 1:] < share if count > 1 else np.zeros_like(draws[:, 1:], np.bool_)
                self._dropped[epoch] = (draws[:, :1] < share) | several
            rows = epochs == epoch
            result[rows] = self._dropped[epoch][documents[rows]]
        for epoch in [epoch for epoch in self._dropped if epoch < epochs.min()]:
            del self._dropped[epoch]
        return result

    def conditions(
        self, model: CharRNN, documents: Integers, missing: NDArray[np.bool_] | None
    ) -> Tensor | None:
        """(R, C) what the first layer reads of the conditions of these documents; None without conditions."""
        inputs = []
        for index in range(len(self.corpus.conditions)):
            given = self.corpus.inputs(index, documents)
            if missing is not None and missing[:, index].any():
                given[missing[:, index]] = MISSING if given.ndim == 1 else np.eye(1, given.shape[1])
            tensor = torch.from_numpy(given).to(self.device)
            inputs.append(tensor if tensor.dim() == 1 else tensor.to(model.readout.weight.dtype))
        return model.embed_conditions(inputs) if inputs else None

    def read(
        self, model: CharRNN, rows: Rows, state: State, missing: NDArray[np.bool_] | None = None
    ) -> tuple[Tensor, int, State]:
        """Read rows: the nats of their characters, how many count, and the state after the last slice."""
        cut = slices(rows.lengths)
        inside = cut.inside
        offsets = rows.offsets[cut.row] + np.minimum(cut.position, rows.lengths[cut.row] - 1)
        sources = self.corpus.starts[rows.documents][cut.row] + offsets
        if self.config.loss == "text":
            inside = inside & (offsets >= self.corpus.table["prompt"][rows.documents][cut.row])
        inputs = torch.from_numpy(self.corpus.ids[sources].astype(np.int64)).to(self.device)
        targets = torch.from_numpy(self.corpus.ids[sources[inside] + 1].astype(np.int64)).to(self.device)
        conditions = self.conditions(model, rows.documents, missing)
        outputs, after = model.read_slices(inputs, cut.bounds, state, conditions)
        counted = torch.from_numpy(np.flatnonzero(inside)).to(self.device)
        return model.readout(outputs.index_select(0, counted), targets), len(counted), after

    @torch.no_grad()
    def evaluate(self, model: CharRNN, documents: Integers) -> float:
        """Mean nats per character of these documents, each with its END.

        Changes neither the model's mode nor its random generator.
        """
        total, count = 0.0, 0
        was_training = model.training
        model.eval()
        try:
            size = min(BATCH, characters_at_once(model))
            long = self.lengths[documents] > min(LONG, size)
            for part in self._batches(documents[~long], size, model.config.attention):
                rows = rows_of(part, self.lengths)
                loss, targets, _ = self.read(model, rows, model.start(len(part)))
                total, count = total + float(loss), count + targets
            for number in documents[long].tolist():
                mean, targets = self._evaluate_long(model, number)
                total, count = total + mean * targets, count + targets
        finally:
            model.train(was_training)
        return total / max(1, count)

    def _batches(self, documents: Integers, size: int, attention: int) -> list[Integers]:
        """The documents, the longest first, in parts of about ``size`` characters.

        Attention keeps N outputs for each document, which take as much memory as N characters.
        """
        documents = documents[np.argsort(-self.lengths[documents], kind="stable")]
        batch = np.cumsum(self.lengths[documents] + attention) // size
        return np.split(documents, np.flatnonzero(np.diff(batch)) + 1) if len(documents) else []

    def _evaluate_long(self, model: CharRNN, number: int) -> tuple[float, int]:
        """The mean nats per character of a long document, and how many characters count."""
        start, stop = (int(position) + 1 for position in self.corpus.starts[number : number + 2])
        skip = int(self.corpus.table["prompt"][number]) if self.config.loss == "text" else 0
        conditions = self.conditions(model, np.array([number]), None)
        return evaluate(model, self.corpus.ids, range(start, stop), skip, conditions), stop - start - skip
