"""N-gram models of documents: START and END, counts that cross no boundary, the command, and mixtures."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.cli import mixtures
from charrnn.cli.terminal import Terminal
from charrnn.conditions import Label
from charrnn.config import ModelConfig, NgramConfig, TrainConfig
from charrnn.errors import CheckpointError, ConfigError
from charrnn.inference import fit_mixing, ngram_build
from charrnn.inference.choice import Choice
from charrnn.inference.constraints import Constraints
from charrnn.inference.mixing import character_classes
from charrnn.inference.mixture import mixture_of
from charrnn.inference.network import Predictor
from charrnn.inference.ngram import NGram, to_arrays
from charrnn.inference.ngram_counts import build, count, longest_ngram
from charrnn.inference.predictor import predictor
from charrnn.inference.sample import opening_ids, sample, sample_generator
from charrnn.inference.states import Cursor
from charrnn.runs.checkpoint import BEST, Header, load, read_header, save_checkpoint
from charrnn.runs.find import ngram_beside
from charrnn.text.cache import cache_folder
from charrnn.text.document_corpus import DocumentCorpus, cached_documents
from charrnn.text.document_files import open_documents
from charrnn.text.documents import Division
from charrnn.text.sources import file_source
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import charrnn, random_weights
from tests.test_ngram_counts import CODE_POINTS, same, spelled

Document = tuple[int, ...]
V = 4
B = V - 1

documents = st.lists(
    st.lists(st.integers(0, V - 2), min_size=1, max_size=9).map(tuple), min_size=1, max_size=8
)
ORDERS = st.integers(1, 7)


def ids_of(texts: list[Document], boundary: int = B) -> np.ndarray:
    """The ids of documents, with the boundary before, between and after them."""
    return np.array([boundary, *(symbol for text in texts for symbol in (*text, boundary))])


def model_of(texts: list[Document], order: int) -> NGram:
    return build(ids_of(texts), V, order, boundary=B)


class KneserNey:
    """The equations of the paper over documents between START and END, with dictionaries."""

    def __init__(self, texts: list[Document], order: int, boundary: int) -> None:
        self.boundary = boundary
        padded = [(boundary, *text, boundary) for text in texts]
        self.order = min(order, max(map(len, padded)))
        self.plain = [Counter(self._grams(padded, length)) for length in range(self.order + 1)]
        self.counts = [self._continued(length) for length in range(self.order)] + self.plain[-1:]

    def _grams(self, padded: list[Document], length: int) -> list[Document]:
        """All n-grams of one length; START alone is not predicted, so it is none."""
        starts = [(text, start) for text in padded for start in range(len(text) - length + 1)]
        return [text[start : start + length] for text, start in starts if length > 1 or start]

    def _continued(self, length: int) -> Counter[Document]:
        """The numbers of characters before each n-gram; those that begin with START have their counts."""
        before = Counter(gram[1:] for gram in self.plain[length + 1])
        kept = {gram: n for gram, n in self.plain[length].items() if length > 1 and gram[0] == self.boundary}
        return Counter({**before, **kept})

    def discount(self, length: int, number: int) -> float:
        """D(c) of the n-grams of a length: equation 26, limited."""
        if number == 0:
            return 0.0
        n = [0] + [max(1, sum(c == k for c in self.counts[length].values())) for k in range(1, 5)]
        k = min(number, 3)
        discount = k - (k + 1) * n[1] / (n[1] + 2 * n[2]) * n[k + 1] / n[k]
        return min(max(discount, 0.1), 0.9 * k)

    def probability(self, context: Document, last: int) -> float:
        """p(last | context)."""
        context = context[max(0, len(context) - self.order + 1) :]
        shorter = self.probability(context[1:], last) if context else 1 / (self.boundary + 1)
        length = len(context) + 1
        following = {gram: n for gram, n in self.counts[length].items() if gram[:-1] == context}
        if not following:
            return shorter
        left = sum(self.discount(length, number) for number in following.values())
        own = following.get((*context, last), 0)
        return (own - self.discount(length, own) + left * shorter) / sum(following.values())


def read(model: Predictor, ids: np.ndarray) -> np.ndarray:
    """(T, V) log-probabilities after each character."""
    logits: np.ndarray = model(ids[None], model.start(1))[0][0]
    return logits


# Counts


@pytest.mark.slow
@given(documents, st.sampled_from([V, 1000, CODE_POINTS]), st.integers(1, 12), st.integers(1, 50))
def test_the_counts_are_those_of_a_dictionary_that_crosses_no_boundary(
    texts: list[Document], symbols: int, orders: int, chunk: int
) -> None:
    paper = KneserNey(texts, orders, symbols - 1)
    ids = ids_of(texts, symbols - 1)
    results = list(count(ids, symbols, orders, chunk=chunk, boundary=symbols - 1))
    assert len(results) == paper.order
    all_grams = spelled([level for level, _ in results], symbols)
    for length, ((level, shorter), grams) in enumerate(zip(results, all_grams, strict=True), 1):
        assert grams == sorted(paper.plain[length])
        assert level.counts.tolist() == [paper.plain[length][gram] for gram in grams]
        if length == 1:
            assert shorter is None
            continue
        assert shorter is not None
        assert np.array_equal(shorter.keys, results[length - 2][0].keys)
        before = all_grams[length - 2]
        assert shorter.counts.tolist() == [paper.counts[length - 1][gram] for gram in before]


@pytest.mark.parametrize("symbols", [6, CODE_POINTS])
def test_documents_of_many_chunks_give_the_model_of_one_chunk(symbols: int) -> None:
    ids = np.random.default_rng(0).integers(0, 5, 2000)
    ids[np.random.default_rng(1).integers(0, 2000, 150)] = symbols - 1  # some documents are empty
    ids[[0, -1]] = symbols - 1
    whole, parts = (build(ids, symbols, 9, chunk=chunk, boundary=symbols - 1) for chunk in (1 << 20, 64))
    assert all(same(one, other) for one, other in zip(whole.levels, parts.levels, strict=True))
    assert np.array_equal(whole.discounts, parts.discounts)


@pytest.mark.slow
@given(documents)
def test_the_longest_n_gram_is_the_longest_document_between_start_and_end(texts: list[Document]) -> None:
    longest = max(map(len, texts)) + 2
    assert all(longest_ngram(ids_of(texts), B, chunk) == longest for chunk in (1, 3, 1000))
    assert model_of(texts, 50).order == longest


def test_counts_above_a_byte_of_n_grams_that_begin_with_start_are_kept() -> None:
    model = model_of([(0, 1, 2)] * 1000 + [(1, 1)], 3)
    grams = spelled(list(model.levels), V)
    counts = dict(zip(grams[1], model.levels[1].counts.tolist(), strict=True))
    assert counts[B, 0] == 1000
    assert counts[1, 2] == 1
    assert counts[1, B] == 1
    assert dict(zip(grams[0], model.levels[0].counts.tolist(), strict=True))[(B,)] == 2


# Predictions


@pytest.mark.slow
@given(documents, ORDERS, documents)
def test_the_probabilities_are_those_of_the_paper_within_each_document(
    texts: list[Document], order: int, others: list[Document]
) -> None:
    paper = KneserNey(texts, order, B)
    logits = iter(read(model_of(texts, order), ids_of(others)))
    for other in others:
        for end in range(len(other) + 1):
            context = (B, *other[:end])
            expected = [paper.probability(context, last) for last in range(V)]
            np.testing.assert_allclose(np.exp(next(logits)), expected, rtol=1e-9)


@pytest.mark.slow
@given(documents, ORDERS, st.lists(st.integers(0, V - 1), min_size=1, max_size=25))
def test_the_probabilities_after_any_context_are_above_zero_and_sum_to_one(
    texts: list[Document], order: int, context: list[int]
) -> None:
    probabilities = np.exp(read(model_of(texts, order), np.array(context)))
    assert (probabilities > 0).all()
    np.testing.assert_allclose(probabilities.sum(-1), 1)


@pytest.mark.slow
@given(documents, ORDERS, documents, documents)
def test_a_document_is_predicted_as_if_it_were_alone(
    texts: list[Document], order: int, before: list[Document], after: list[Document]
) -> None:
    model, ids = model_of(texts, order), ids_of(after)
    both = np.concatenate([ids_of(before)[:-1], ids])
    np.testing.assert_array_equal(read(model, both)[-len(ids) :], read(model, ids))


@pytest.mark.slow
@given(documents, documents)
def test_the_losses_of_the_trials_are_those_of_their_models(
    texts: list[Document], held_out: list[Document]
) -> None:
    ids, after = ids_of(texts), ids_of(held_out)[1:]
    trials = list(ngram_build.trials(ids, V, after, boundary=B))
    assert [trial.model.order for trial in trials] == list(range(1, len(trials) + 1))
    for trial in trials:
        paper = KneserNey(texts, trial.model.order, B)
        padded = [(B, *text, B) for text in held_out]
        losses = [
            -np.log(paper.probability(text[:end], text[end]))
            for text in padded
            for end in range(1, len(text))
        ]
        assert trial.nats == pytest.approx(np.mean(losses))
        for model in (trial.model, model_of(texts, trial.model.order)):
            assert ngram_build.loss(model, ids[-1:], after) == pytest.approx(trial.nats)


def sampled(model: NGram, texts: int, choice: Choice | None = None) -> list[tuple[list[int], str | None]]:
    """The ids of samples, and why each ended."""
    vocabulary = Vocabulary("abc", documents=True)
    cursors = [Cursor(opening_ids(vocabulary), model.start(1)) for _ in range(texts)]
    generators = [sample_generator(1, index) for index in range(texts)]
    chunks = sample(model, cursors, choice or Choice(), Constraints(V, 200, end=B), generators)
    ids: list[list[int]] = [[] for _ in range(texts)]
    ends: list[str | None] = [None] * texts
    for chunk in chunks:
        ids[chunk.row] += chunk.ids
        ends[chunk.row] = chunk.ended
    return list(zip(ids, ends, strict=True))


def test_samples_end_with_end() -> None:
    texts: list[Document] = [(0, 1), (2,), (0, 2, 1, 1), (1, 0)] * 20
    for ids, ended in sampled(model_of(texts, 3), 30):
        assert ended == "end"
        assert B not in ids


def test_without_unlikely_characters_an_order_beyond_every_document_writes_the_documents() -> None:
    texts: list[Document] = [(0, 1, 2, 0), (1, 0, 0), (2,), (0, 1, 1)]
    ids = [tuple(ids) for ids, _ in sampled(model_of(texts * 100, 50), 60, Choice(min_p=0.2))]
    assert set(ids) == set(texts)
    shorter = [tuple(ids) for ids, _ in sampled(model_of(texts * 100, 2), 60, Choice(min_p=0.2))]
    assert not set(shorter) <= set(texts)


# The file


def test_a_checkpoint_of_documents_has_plain_counts_and_one_of_a_text_has_none(tmp_path: Path) -> None:
    vocabulary = Vocabulary("abc")
    model = model_of([(0, 1, 2)] * 50, 4)
    assert max(level.counts.max() for level in model.levels[1:-1]) > V + 1
    path = tmp_path / "ngrams"
    documents = Vocabulary("abc", documents=True)
    save_checkpoint(path, Header(NgramConfig(4, documents=True), documents), to_arrays(model))
    assert load(path).header.vocabulary == documents
    ids = ids_of([(0, 1, 2)])
    np.testing.assert_array_equal(read(predictor(load(path)), ids), read(model, ids))
    save_checkpoint(path, Header(NgramConfig(4), vocabulary), to_arrays(model))
    with pytest.raises(CheckpointError, match="is damaged"):
        load(path)


@pytest.mark.parametrize(("length", "number"), [(1, V + 2), (2, 0), (2, (1 << 53) + 1)])
def test_a_count_that_no_documents_have_is_refused(tmp_path: Path, length: int, number: int) -> None:
    arrays = to_arrays(model_of([(0, 1, 2)] * 50, 4))
    counts = arrays[f"ngrams.{length}.counts"].astype(np.uint64)
    counts[0] = number
    vocabulary = Vocabulary("abc", documents=True)
    header = Header(NgramConfig(4, documents=True), vocabulary)
    save_checkpoint(tmp_path / "ngrams", header, arrays | {f"ngrams.{length}.counts": counts})
    with pytest.raises(CheckpointError, match=f"a count of length {length} is 0 or too large"):
        load(tmp_path / "ngrams")


# The command

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "she", "said", "no")


@pytest.fixture
def lines() -> list[str]:
    """The documents of ./lines.txt and ./rows.jsonl."""
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, generator.integers(1, 6))) for _ in range(400)]
    Path("lines.txt").write_text("".join(f"{text}\n" for text in texts))
    rows = [json.dumps({"text": text, "first": text.split()[0]}) for text in texts]
    Path("rows.jsonl").write_text("".join(f"{row}\n" for row in rows))
    return texts


def test_the_command_makes_a_model_of_documents(lines: list[str]) -> None:
    ran = charrnn("ngram", "lines.txt", "--documents", "line")
    assert (ran.status, ran.text) == (0, f"checkpoints/lines-ngram/{BEST}\n"), ran.err
    facts = [line for line in ran.err.splitlines() if line.startswith("text ")]
    assert "lines.txt: 400 documents (" in facts[0]
    assert f"; {sum(map(len, lines)):,} characters, {len(set(''.join(lines)))} symbols" in facts[0]
    loaded = load(Path(ran.text.strip()))
    header = loaded.header
    assert header.model.documents
    assert header.corpus["documents"] == 400
    assert header.corpus["characters"] == sum(map(len, lines))
    assert header.origin["documents"] == "line"
    corpus = cached_documents(header.corpus, header.vocabulary)
    assert corpus is not None
    part = corpus.splits(header.training.split)[1]
    log_probabilities = read(predictor(loaded), corpus.ids[part.start - 1 : part.stop - 1].astype(int))
    nats = -log_probabilities[np.arange(len(part)), corpus.ids[part.start : part.stop]].mean()
    assert header.results["validation_nats"] == pytest.approx(nats)


def test_lines_of_json_give_the_model_of_their_texts(lines: list[str]) -> None:
    paths = [
        Path(charrnn("ngram", *arguments).text.strip())
        for arguments in (("lines.txt", "--documents", "line"), ("rows.jsonl", "--documents", "json"))
    ]
    first, second = (load(path) for path in paths)
    assert first.record()["weights_sha256"] == second.record()["weights_sha256"]
    assert first.header.corpus["sha256"] == second.header.corpus["sha256"]


def test_an_order_beyond_the_longest_document_is_limited_with_a_note() -> None:
    Path("names.txt").write_text("ada\nbo\n" * 4)
    ran = charrnn("ngram", "names.txt", "--documents", "line", "--order", "9")
    longest = "the longest document of the training part, with START and END, has 5 characters"
    assert f"{longest}: order 5 instead of 9\n" in ran.err
    assert load(Path(ran.text.strip())).header.model == NgramConfig(5, documents=True)


def test_a_misspelt_kind_of_document_is_one_line_with_the_right_one() -> None:
    Path("names.txt").write_text("ada\nbo\n")
    ran = charrnn("ngram", "names.txt", "--documents", "lines")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, b"", 1)
    assert "did you mean line?" in ran.err
    assert not Path("checkpoints").exists()


# Mixtures

SPLIT = (60.0, 30.0, 10.0)


def corpus_of(name: str = "lines.txt", kind: str = "line") -> DocumentCorpus:
    return open_documents([file_source(Path(name))], name, Division(kind))


def network(name: str, corpus: DocumentCorpus, label: bool = False) -> Path:
    """A run of random weights on documents."""
    conditions = (Label("first", tuple(sorted(WORDS))),) if label else ()
    config = ModelConfig(hidden=6, embedding=4, documents=True, conditions=conditions)
    header = Header(
        config,
        corpus.vocabulary,
        TrainConfig(split=SPLIT),
        corpus.record(),
        name=name,
        origin={"texts": [str(Path(corpus.name).absolute())], "documents": "line"},
    )
    folder = Path("checkpoints", name)
    folder.mkdir(parents=True)
    save_checkpoint(folder / BEST, header, random_weights(config, len(corpus.vocabulary)))
    return folder / BEST


def ngram_run(*arguments: str, name: str = "net-ngram") -> Path:
    """The run that ``charrnn ngram`` makes."""
    done = charrnn("ngram", *arguments, "--name", name, "--split", "60,30,10")
    assert done.status == 0, done.err
    return Path("checkpoints", name, BEST)


def terminal() -> tuple[Terminal, io.StringIO]:
    err = io.StringIO()
    return Terminal(io.BytesIO(), io.BytesIO(), err, False, False, False, False), err


def test_a_mixture_of_documents_reads_the_validation_part_from_the_start_of_a_document(
    lines: list[str],
) -> None:
    corpus = corpus_of()
    paths = [network("net", corpus), ngram_run("lines.txt", "--documents", "line")]
    mixture = mixture_of([load(path) for path in paths])
    part = corpus.splits(SPLIT)[1]
    ids = corpus.ids[part.start - 1 : part.stop].astype(int)
    expected = [predictor(load(path))(ids[None, :-1], predictor(load(path)).start(1))[0][0] for path in paths]
    data = fit_mixing.predictions(mixture, corpus.ids, part, len(corpus.vocabulary))
    count = len(data.targets)
    assert part.stop - part.start - count < fit_mixing.MAX_PIECES
    np.testing.assert_array_equal(data.targets, ids[1:][:count])
    for k, logits in enumerate(expected):
        scores = logits - np.logaddexp.reduce(logits, -1)[:, None]
        np.testing.assert_allclose(data.log_probabilities[:, k], scores[:count], atol=1e-3)


@pytest.mark.parametrize("cached", [True, False])
def test_weights_are_found_on_documents_from_the_cache_or_from_their_files(
    lines: list[str], cached: bool
) -> None:
    paths = [network("net", corpus_of()), ngram_run("lines.txt", "--documents", "line")]
    if cached:
        Path("lines.txt").unlink()
    else:
        shutil.rmtree(cache_folder())
    out, err = terminal()
    mixtures.combined(out, [load(path) for path in paths], None, Path("corpora"))
    assert "weights (" in err.getvalue()
    losses = (
        err.getvalue().split("validation ")[1].removesuffix(" nats\n").replace(", mixed", ",").split(", ")
    )
    assert float(losses[1]) == pytest.approx(read_header(paths[1]).results["validation_nats"], abs=1e-3)
    assert float(losses[2]) < float(losses[0])


def test_a_network_with_labels_mixes_with_equal_weights_and_a_reason(lines: list[str]) -> None:
    paths = [network("net", corpus_of(), label=True), ngram_run("rows.jsonl", "--documents", "json")]
    assert ngram_beside(paths[0], read_header(paths[0])) == paths[1].absolute()
    out, err = terminal()
    checkpoints = [load(path) for path in paths]
    mixture = mixtures.combined(out, checkpoints, None, Path("corpora"))
    reason = "weights are not fitted for models with labels or vectors"
    assert err.getvalue() == f"equal weights: {reason}; to choose others: --weights A,B\n"
    ids = np.array([[checkpoints[0].header.vocabulary.boundary, 1, 2]])
    np.testing.assert_allclose(np.exp(mixture(ids, mixture.start(1))[0]).sum(-1), 1)


def test_the_n_gram_model_of_a_text_does_not_belong_to_a_network_of_documents(lines: list[str]) -> None:
    first, second = network("net", corpus_of()), ngram_run("lines.txt")
    assert ngram_beside(first, read_header(first)) is None
    with pytest.raises(ConfigError) as caught:
        mixture_of([load(first), load(second)])
    assert str(caught.value) == (
        "net and net-ngram do not mix: one knows documents, the other one long text;"
        " make both with the same --documents"
    )


def test_the_boundary_is_a_class_of_its_own() -> None:
    table = character_classes("aB\n .", documents=True)
    np.testing.assert_array_equal(table[:-1, :-1], character_classes("aB\n ."))
    np.testing.assert_array_equal(table.sum(1), 1)
    np.testing.assert_array_equal(np.flatnonzero(table[:, -1]), [5])


@pytest.mark.slow
@pytest.mark.parametrize("label", [[], ["--label", "first"]])
def test_training_with_an_n_gram_model_makes_one_of_the_texts_alone(
    lines: list[str], label: list[str]
) -> None:
    done = charrnn(
        *("train", "rows.jsonl", "--documents", "json", "--steps", "4", "--hidden", "8"),
        *("--split", "60,30,10", "--name", "net", "--with-ngram", *label),
    )
    assert done.status == 0, done.err
    mixed = "equal weights: weights are not fitted for models with labels" if label else "validation "
    assert f"mixed  {mixed}" in done.err
    first, second = (read_header(Path("checkpoints", name, BEST)) for name in ("net", "net-ngram"))
    assert second.model.documents
    assert second.vocabulary == first.vocabulary
    assert second.corpus == {
        name: value for name, value in first.corpus.items() if name not in ("labels", "table_sha256")
    }
    assert "labels" not in second.origin
    counted = load(ngram_run("rows.jsonl", "--documents", "json", name="again"))
    assert counted.record()["weights_sha256"] == second.weights_sha256
