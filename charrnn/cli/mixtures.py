"""Mixtures of checkpoints on the command line: their weights, found on the validation part they share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import read_corpus
from charrnn.config import ModelConfig
from charrnn.errors import CharrnnError, CorpusError
from charrnn.origin import Origin

if TYPE_CHECKING:
    from charrnn.inference.fit_mixing import Fitted
    from charrnn.inference.mixture import Mixture
    from charrnn.inference.network import Predictor
    from charrnn.runs.checkpoint import Checkpoint, Header
    from charrnn.text.corpus import Corpus
    from charrnn.text.vocabulary import Vocabulary

GIVE_WEIGHTS = "to choose others: --weights A,B"


class NoWeights(CharrnnError):
    """Why no weights can be found for a mixture."""


def combined(
    out: Terminal, checkpoints: Sequence[Checkpoint], weights: Sequence[float] | None, corpora: Path
) -> Predictor:
    """The model of one checkpoint, or the mixture of several.

    weights  None: fitted on the validation part, or equal for models without a common validation part; a
             note says which. An empty sequence: equal
    corpora  the folder of the catalogue's texts

    Raises ConfigError.
    """
    if len(checkpoints) == 1 and not weights:
        from charrnn.inference.predictor import predictor

        return predictor(checkpoints[0])
    from charrnn.inference.mixture import mixture_of

    if weights is not None:
        return mixture_of(checkpoints, weights)
    mixture = mixture_of(checkpoints)
    try:
        fitted = found(out, checkpoints, mixture, corpora)
    except CharrnnError as error:
        out.note(f"equal weights: {error}; {GIVE_WEIGHTS}")
    else:
        out.note(f"weights {describe(checkpoints, fitted)}")
        mixture.mixing = fitted.mixing
    return mixture


def found(
    out: Terminal,
    checkpoints: Sequence[Checkpoint],
    mixture: Mixture,
    corpora: Path,
    corpus: Corpus | None = None,
) -> Fitted:
    """The weights from the file that keeps them, or fitted now on the validation part, and kept.

    ``corpus`` is the text of the models, which is read if it is needed and not given.
    Raises CharrnnError, "why", where there is no such part or its text is not found.
    """
    from charrnn.inference import fit_mixing, mixing_file

    headers = [checkpoint.header for checkpoint in checkpoints]
    _check_part(headers)
    path = mixing_file.path_of(checkpoints)
    if (fitted := mixing_file.load(path)) is not None:
        return fitted
    corpus = corpus or _text(out, headers, corpora)
    part = corpus.splits(headers[0].training.split)[1]
    if len(part) < fit_mixing.MIN_CHARACTERS:
        raise NoWeights(f"the validation part has {len(part)} characters, too few")
    bar = out.bar(desc="finding weights", total=1.0, bar_format="{desc}: {percentage:3.0f}% {bar}", delay=0.5)
    steps = 1 / (2 + len(fit_mixing.forms(len(part))))
    read = min(len(part), fit_mixing.MAX_CHARACTERS)
    data = fit_mixing.predictions(
        mixture, corpus.ids, part, len(corpus.vocabulary), lambda count: bar.update(steps * count / read)
    )
    fitted = fit_mixing.fit(data, lambda form: bar.update(steps))
    out.end_bars()
    with suppress(CorpusError):  # without the file, the weights are fitted again the next time
        mixing_file.save(path, fitted)
    return fitted


def describe(checkpoints: Sequence[Checkpoint], fitted: Fitted) -> str:
    """The weights and losses of a mixture in one line."""
    from charrnn.runs.find import model_name

    names = [model_name(checkpoint.path) for checkpoint in checkpoints]
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(names, fitted.weights, strict=True))
    losses = ", ".join(f"{loss:.4f}" for loss in fitted.losses)
    constant = fitted.mixing.is_constant
    kind = fitted.mixing.kind if constant else f"{fitted.mixing.kind}, means over the contexts"
    return f"({kind}): {weights}; validation {losses}, mixed {fitted.loss:.4f} nats"


def _check_part(headers: Sequence[Header]) -> None:
    """Raise NoWeights unless the models have the same validation part."""
    first = headers[0]
    if any(isinstance(header.model, ModelConfig) and header.model.conditions for header in headers):
        raise NoWeights("weights are not fitted for models with labels or vectors")
    if any(header.training.loss == "text" for header in headers):
        raise NoWeights("weights are not fitted for models that were trained with --loss text")
    if not all(header.corpus.get("sha256") for header in headers):
        raise NoWeights("a checkpoint does not say which text it is from")
    if any(header.corpus["sha256"] != first.corpus["sha256"] for header in headers):
        raise NoWeights("the models are from different texts")
    if any(header.training.split != first.training.split for header in headers):
        raise NoWeights("the models are from different parts of the text (--split)")
    if not first.training.split[1]:
        raise NoWeights("the models have no validation part (--split)")


def _text(out: Terminal, headers: Sequence[Header], corpora: Path) -> Corpus:
    """The text of the models, from the cache of encoded texts or from its files. Raises CharrnnError."""
    wanted, vocabulary = headers[0].corpus, headers[0].vocabulary
    if corpus := _cached(wanted, vocabulary):
        return corpus
    reason = f"the text {wanted['name']} is not known by its path"
    for header in headers:
        origin = Origin.from_record(header.origin) if header.origin else None
        if origin is None or not all(_is_here(text, corpora) for text in origin.texts):
            continue
        corpus = read_corpus(out, origin, corpora, known=vocabulary.symbols)
        corpus = corpus.in_direction(vocabulary.backward)
        if corpus.sha256 == wanted["sha256"] and corpus.vocabulary == vocabulary:
            return corpus
        reason = f"the text {wanted['name']} has changed"
    raise NoWeights(reason)


def _cached(record: dict[str, Any], vocabulary: Vocabulary) -> Corpus | None:
    """The text that a checkpoint records, if its ids are in the cache."""
    from charrnn.text.corpus import cached_corpus
    from charrnn.text.document_corpus import cached_documents

    if vocabulary.documents:
        return cached_documents(record, vocabulary)
    return cached_corpus(record["sha256"], int(record["characters"]), vocabulary, str(record["name"]))


def _is_here(text: str, corpora: Path) -> bool:
    """Whether a text can be read now: without stdin, a pipe, which may wait, or a download."""
    from charrnn.text import catalog

    entry = catalog.entries().get(text)
    return (
        Path(text).is_file()
        or Path(text).is_dir()
        or (entry is not None and catalog.local_sources(entry, corpora) is not None)
    )
