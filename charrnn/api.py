"""charrnn from Python: what the package exports (docs/python.md).

N: characters of a text; at byte level its bytes
"""

from __future__ import annotations

import codecs
import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from charrnn.conditions import Label
from charrnn.conditions import find as find_condition
from charrnn.config import ModelConfig, TrainConfig
from charrnn.errors import ConfigError
from charrnn.files import is_run_name, user_folder
from charrnn.inference import score
from charrnn.inference.choice import Choice
from charrnn.inference.clamp import with_clamps
from charrnn.inference.classify import classify, log_prior
from charrnn.inference.conditioned import Guided, conditioned, conditions_of
from charrnn.inference.constraints import Constraints
from charrnn.inference.network import Inference, Predictor
from charrnn.inference.predictor import predictor
from charrnn.inference.sample import Chunk, beginning, choose_seed, sample, sample_generator
from charrnn.inference.states import Cursor
from charrnn.inspection.encode import encode, state_parts
from charrnn.inspection.inspect_cell import unit_values
from charrnn.origin import Origin
from charrnn.runs import checkpoint
from charrnn.runs.find import find, model_name, model_names
from charrnn.runs.history import Report
from charrnn.runs.info import describe
from charrnn.sampling_options import Given
from charrnn.sampling_options import Sampling as Sampling
from charrnn.text.corpus import Corpus, open_corpus
from charrnn.text.document_corpus import DocumentCorpus
from charrnn.text.document_files import open_documents
from charrnn.text.documents import Division
from charrnn.text.sources import Reading, Source, sources
from charrnn.text.vocabulary import Vocabulary

StrPath = str | os.PathLike[str]


class Model:
    """A trained model: generates text, and reads text to measure it or to look inside.

    path     the file of its checkpoint
    name     the name of its run
    symbols  the characters that it knows, sorted; at byte level the bytes as characters 0 to 255
    """

    def __init__(self, path: Path) -> None:
        """Raises CheckpointError."""
        loaded = checkpoint.load(path)
        self.path, self.name = path.absolute(), loaded.header.name or model_name(path)
        self._vocabulary = loaded.header.vocabulary
        self._title = loaded.header.model.title
        self._default_length = loaded.header.sample_length
        self._predictor = predictor(loaded)

    def __repr__(self) -> str:
        return f"<charrnn.Model {self.name}: {self._title}>"

    @property
    def symbols(self) -> str:
        """The characters that the model knows."""
        return self._vocabulary.symbols

    @property
    def info(self) -> dict[str, Any]:
        """What ``charrnn info --json`` prints: architecture, text, losses and settings of the training."""
        return describe(self.path)

    def generate(self, prompt: str = "", **options: Unpack[Sampling]) -> str:
        """A text that continues ``prompt``, which is not included. ``options``: see ``Sampling``.

        A backward model generates the text before the prompt.
        Equal options and seed give the text of ``charrnn sample``. Raises ConfigError, UnknownCharacterError.
        """
        return "".join(self._stream(prompt, endless=False, **options))

    def stream(self, prompt: str = "", **options: Unpack[Sampling]) -> Iterator[str]:
        """As ``generate``, but yields pieces as they are generated; a backward model yields one piece."""
        return self._stream(prompt, endless=True, **options)

    def log_probabilities(self, text: str, **given: Unpack[Given]) -> NDArray[np.float64]:
        """(N,) natural logarithm of each character's probability, given the characters before it.

        A backward model gives those given the characters after it. A model of documents also gives that of
        the end, (N + 1,). ``given``: see ``Given``. Raises ConfigError, UnknownCharacterError.
        """
        ids = self._vocabulary.encode(text)
        if self._vocabulary.boundary is not None:
            ids = np.append(ids, self._vocabulary.boundary)
        result = score.log_probabilities(_conditioned(self._predictor, **given), self._vocabulary, ids)
        characters = self._vocabulary.reversed_if_backward(result[: len(ids) - self._vocabulary.documents])
        return np.concatenate([characters, result[len(characters) :]])

    def bits_per_character(self, text: str, **given: Unpack[Given]) -> float:
        """The loss on a text that is not empty, as ``log_probabilities``. Raises UnknownCharacterError."""
        return float(-self.log_probabilities(text, **given).mean() / np.log(2))

    def classify(self, text: str, label: str, **given: Unpack[Given]) -> dict[str, float]:
        """The probability of each value of a label for a text, as ``charrnn classify``, the highest first.

        ``given`` are the values of the model's other labels and vectors. Raises ConfigError.
        """
        chosen = find_condition(conditions_of(self._predictor), label)
        if not isinstance(chosen, Label) or len(chosen.values) < 2:
            raise ConfigError(f"{label} has no values to choose from")
        others, vectors = given.get("labels", {}), given.get("vectors", {})
        likelihoods = [
            self.log_probabilities(text, labels={**others, label: value}, vectors=vectors).sum()
            for value in chosen.values
        ]
        prior = log_prior(None, len(chosen.values))
        (prediction,) = classify(np.array([likelihoods]), prior)
        posterior = np.exp(prediction.log_posterior).tolist()
        return dict(sorted(zip(chosen.values, posterior, strict=True), key=lambda pair: -pair[1]))

    def unit(self, text: str, unit: int, layer: int = 0, signal: str | None = None) -> NDArray[np.float64]:
        """(N,) values of one unit after each character is read; ``signal`` as ``charrnn inspect-cell --of``.

        Raises ConfigError, UnknownCharacterError.
        """
        pieces = unit_values(self._network(), [self._vocabulary.encode(text)], layer, [unit], signal)
        return self._vocabulary.reversed_if_backward(
            np.concatenate([np.zeros(0), *(values[:, 0] for _, values in pieces)])
        )

    def encode(
        self, texts: Sequence[str], layer: int | Literal["all"] | None = None, of: str = "hidden"
    ) -> NDArray[np.floating]:
        """(R, F) the state after each of R texts, as ``charrnn encode``; zeros for an empty text.

        layer  its number, "all", or None for the highest
        of     "hidden", "cell" or "all"

        Raises ConfigError, UnknownCharacterError.
        """
        inference = self._network()
        parts = state_parts(inference, layer, of)
        return encode(inference, [self._vocabulary.encode(text) for text in texts], parts)

    def _network(self) -> Inference:
        """The network. Raises ConfigError for an n-gram model."""
        if not isinstance(self._predictor, Inference):
            raise ConfigError(f"{self.name} is an n-gram model: it has no units")
        return self._predictor

    def _stream(
        self,
        prompt: str,
        endless: bool,
        length: int | None = None,
        min_length: int = 0,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        keep_stop: bool = False,
        match: str | None = None,
        allow: str | None = None,
        ban: str | None = None,
        no_repeat: int = 0,
        repeat_window: int = 64,
        clamp: Mapping[tuple[int, int], float] | None = None,
        labels: Mapping[str, Any] | None = None,
        vectors: Mapping[str, Sequence[float]] | None = None,
        guidance: float = 0.0,
        **filters: Any,
    ) -> Iterator[str]:
        choice = Choice(**filters)
        if length is None:
            length = self._default_length
        constraints = Constraints.from_strings(
            self._vocabulary,
            allow=allow,
            ban=ban,
            stops=[stop] if isinstance(stop, str) else stop,
            match=match,
            note=partial(warnings.warn, stacklevel=5),  # at the caller of generate
            length=length,
            min_length=min_length,
            keep_stop=keep_stop,
            no_repeat=no_repeat,
            window=repeat_window if choice.repeat_penalty != 1 else 0,
        )
        if not endless and not constraints.ends:
            raise ConfigError("length 0 without stop or match never ends: use stream, or give a length")
        if self._vocabulary.backward and not constraints.ends:
            raise ConfigError(
                "length 0: a backward model gives its text when it is complete: give a length or stop"
            )
        ids = beginning(self._vocabulary, self._vocabulary.encode(prompt))
        free: Predictor = with_clamps(self._predictor, clamp) if clamp else self._predictor
        model = _conditioned(free, labels or {}, vectors or {})
        model = Guided(model, free, guidance) if guidance else model
        if guidance and not (labels or vectors):
            raise ConfigError("guidance has no effect without labels or vectors")
        cursor = Cursor(ids, model.start(1))
        generator = sample_generator(choose_seed(seed))
        chunks = sample(model, [cursor], choice, constraints, [generator])
        return _decoded(self._vocabulary, chunks)


def _conditioned(
    model: Predictor, labels: Mapping[str, Any] | None = None, vectors: Mapping[str, Any] | None = None
) -> Predictor:
    """The model, conditioned on these values. Raises ConfigError."""
    values = {**(labels or {}), **(vectors or {})}
    return conditioned(model, values) if values else model


def _decoded(vocabulary: Vocabulary, chunks: Iterator[Chunk]) -> Iterator[str]:
    """The texts of chunks; at byte level in whole characters, U+FFFD where the bytes are not UTF-8.

    The text of a backward model is one piece.
    """
    if vocabulary.backward:
        yield vocabulary.decode([symbol for chunk in chunks for symbol in chunk.ids])
        return
    errors = "replace" if vocabulary.byte_level else "surrogatepass"
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    for chunk in chunks:
        if text := decoder.decode(vocabulary.decode_bytes(chunk.ids), final=chunk.ended is not None):
            yield text


def load(name: StrPath, checkpoints: StrPath | None = None) -> Model:
    """The model of a run, by its name; a pretrained model, by its name; or that of a checkpoint file.

    ``checkpoints`` is the folder of the runs, by default that of the command line. Raises CheckpointError.
    """
    return Model(find(os.fspath(name), _runs_folder(checkpoints)))


def models(checkpoints: StrPath | None = None) -> list[str]:
    """The names that ``load`` accepts: the runs, then the models that come with charrnn."""
    return model_names(_runs_folder(checkpoints))


def train(
    text: str | os.PathLike[str] | Sequence[os.PathLike[str]],
    name: str | None = None,
    *,
    checkpoints: StrPath | None = None,
    byte_level: bool = False,
    documents: str = "",
    labels: Sequence[str] = (),
    vectors: Sequence[str] = (),
    device: str = "auto",
    on_report: Callable[[Report], object] | None = None,
    **settings: Any,
) -> Model:
    """Train a model as ``charrnn train`` does, and return the best one. Imports torch.

    text         a string is the text itself, a ``Path`` is a file or a folder
    documents    what one document is, as ``--documents``; "": the text is one long text
    labels, vectors  the fields of JSON lines on which texts depend
    name         of the run; by default that of the file, or "text"
    checkpoints  the folder of the runs, by default that of the command line
    on_report    called with each report: its losses, its speed, a sample
    settings     budget (minutes, epochs, steps), architecture (the fields of ``ModelConfig``) and all
                 others of the options of ``charrnn train``; what is not given is chosen as there

    Raises ConfigError, CorpusError, CheckpointError; CharrnnError when the loss diverges.
    """
    from charrnn.runs.new_run import new_run_folder
    from charrnn.training import budget, devices, sizing
    from charrnn.training.train import Notice, Training

    if name is not None and not is_run_name(name):
        raise ConfigError(f"name {name!r}: must be a plain folder name of at most 255 bytes")
    if (labels or vectors or "loss" in settings) and documents != "json":
        raise ConfigError('labels, vectors and loss are for JSON lines: add documents="json"')
    corpus, origin = _read(text, Origin([], "*", "utf-8", byte_level, "", documents, [*labels], [*vectors]))
    architecture = {field.name for field in fields(ModelConfig)} & settings.keys()
    model = ModelConfig(**{key: settings[key] for key in architecture})
    if isinstance(corpus, DocumentCorpus):
        model = replace(model, documents=True, conditions=corpus.conditions)
    config = TrainConfig.from_dict({key: value for key, value in settings.items() if key not in architecture})
    left_open = {*sizing.CHOSEN, "split"} - settings.keys()
    if config.epochs is config.steps is config.minutes is None:
        left_open.add("steps")
    corpus.splits(config.split)  # raises CorpusError if the text is too short
    group = devices.join(device)
    model, config, _ = budget.choose_settings(corpus, model, config, left_open, group)
    with new_run_folder(_runs_folder(checkpoints), name, origin.run_name if origin else "text") as lock:
        training = Training(corpus, model, config, lock, group, origin=origin.record() if origin else None)
        for event in training.run():
            if isinstance(event, Notice):
                warnings.warn(event.text, stacklevel=2)
            elif isinstance(event, Report) and on_report is not None:
                on_report(event)
        return Model(training.folder / checkpoint.BEST)


def _runs_folder(given: StrPath | None) -> Path:
    """The folder of the runs: the one given, or that of the command line."""
    return Path(given) if given else user_folder("checkpoints")


def _read(
    text: str | os.PathLike[str] | Sequence[os.PathLike[str]], origin: Origin
) -> tuple[Corpus, Origin | None]:
    """A text as ids, and its origin; None for a string, which has none. Raises CorpusError."""
    reading = Reading(byte_level=origin.byte_level, newlines=origin.newlines)
    if isinstance(text, str):
        data = text.encode("utf-8", "surrogatepass")
        return _opened([Source("text", lambda: io.BytesIO(data))], "text", reading, origin), None
    paths = [text] if isinstance(text, os.PathLike) else text
    if not paths:
        raise ConfigError("no text: give a string, a Path or several")
    origin = replace(origin, texts=[os.fspath(path) for path in paths])
    return _opened(sources(origin.texts), Path(origin.texts[0]).name, reading, origin), origin


def _opened(texts: Sequence[Source], name: str, reading: Reading, origin: Origin) -> Corpus:
    """The texts as ids; as documents, if the origin says so. Raises CorpusError."""
    division = Division.of_origin(origin)
    return open_documents(texts, name, division, reading) if division else open_corpus(texts, name, reading)
