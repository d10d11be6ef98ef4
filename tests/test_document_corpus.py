"""The laws of documents as ids: their order, their parts, their labels and vectors, and the cache."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from charrnn.conditions import MOST_VALUES, Condition, Label, Vector
from charrnn.errors import ConfigError, CorpusError
from charrnn.text import document_corpus as module
from charrnn.text import documents
from charrnn.text.cache import cache_folder
from charrnn.text.document_corpus import DocumentCorpus
from charrnn.text.document_files import open_documents
from charrnn.text.documents import Division
from charrnn.text.sources import Reading, Source

some_texts = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), min_size=1)
few_texts = st.lists(st.sampled_from(["a", "b", "ab", "ba", "aab", "é"]), min_size=2, max_size=30)
shares = st.tuples(st.floats(0.1, 100), st.floats(0, 100), st.floats(0, 100))
WHO: dict[str, Any] = {"labels": ("who",)}


def memory(data: bytes, name: str = "text") -> Source:
    return Source(name, lambda: io.BytesIO(data))


def opened(
    texts: Sequence[str | dict[str, Any] | bytes],
    kind: str = "json",
    activities: list[str] | None = None,
    known: str = "",
    known_values: Sequence[Condition] = (),
    labels: tuple[str, ...] = (),
    vectors: tuple[str, ...] = (),
    **reading: Any,
) -> DocumentCorpus:
    """The corpus of a file of JSON lines, or of files; progress adds to ``activities``."""
    data = [text for text in texts if isinstance(text, bytes)]
    rows = [{"text": text} if isinstance(text, str) else text for text in texts]
    record = [] if activities is None else activities
    return open_documents(
        [memory(text) for text in data or ["\n".join(map(json.dumps, rows)).encode()]],
        "text",
        Division(kind, labels, vectors),
        Reading(**{"newlines": "keep"} | reading),
        known,
        known_values,
        lambda activity, characters: record.append(activity),
    )


def texts_of(corpus: DocumentCorpus, numbers: Sequence[int] | range | None = None) -> list[str]:
    """The texts of documents, or of all of them, in the corpus's order."""
    numbers = range(corpus.count) if numbers is None else numbers
    return [corpus.vocabulary.decode(corpus.document(number)[1:]) for number in numbers]


def parts(corpus: DocumentCorpus, shares: tuple[float, float, float]) -> list[range]:
    return [corpus.numbers(part) for part in corpus.splits(shares)]


def who(values: Sequence[str | None]) -> list[dict[str, Any]]:
    """One document for each value of a label."""
    return [{"text": f"text {number}", "who": value} for number, value in enumerate(values)]


# Ids


@pytest.mark.slow
@given(some_texts, st.sampled_from([1, 4, 1 << 20]), st.sampled_from([1, 2, 4096]))
def test_the_ids_hold_every_document_once_between_boundaries(
    texts: list[str], order_block: int, block: int
) -> None:
    with patch.object(module, "BLOCK", order_block), patch.object(documents, "BLOCK", block):
        corpus = opened(texts)
        assert Counter(texts_of(corpus)) == Counter(texts)
        boundaries = np.flatnonzero(corpus.ids == corpus.vocabulary.boundary)
        assert corpus.starts.tolist() == boundaries.tolist()
        assert (boundaries[0], boundaries[-1]) == (0, len(corpus.ids) - 1)
        assert len(corpus.ids) == sum(map(len, texts)) + len(texts) + 1
        assert corpus.record()["characters"] == sum(map(len, texts))
        assert corpus.record()["documents"] == corpus.count == len(texts)
        assert corpus.duplicates == len(texts) - len(set(texts))
        assert corpus.vocabulary.symbols == "".join(sorted(set("".join(texts))))


@pytest.mark.slow
@given(some_texts, some_texts, st.randoms())
def test_the_order_of_documents_depends_on_no_other_document_and_on_no_order(
    texts: list[str], others: list[str], random: Any
) -> None:
    shuffled = [*texts, *others]
    random.shuffle(shuffled)
    alone = texts_of(opened(texts))
    together = [text for text in texts_of(opened(shuffled)) if text in set(texts) - set(others)]
    assert together == [text for text in alone if text not in others]


def test_the_order_is_another_than_that_of_the_text() -> None:
    texts = [f"{number:04}" for number in range(1000)]
    places = np.array([int(text) for text in texts_of(opened(texts))])
    assert abs(np.corrcoef(places, np.arange(1000))[0, 1]) < 0.1
    assert abs(np.corrcoef(places[1:], places[:-1])[0, 1]) < 0.1


def test_all_bytes_and_the_boundary_are_257_ids() -> None:
    corpus = opened([bytes(set(range(256)) - {10}), b"\n"], kind="file", byte_level=True)
    assert corpus.count == 1  # the file of a newline is empty
    assert len(corpus.vocabulary) == 256
    corpus = opened([bytes(range(256)), b"a"], kind="file", byte_level=True)
    assert (len(corpus.vocabulary), corpus.vocabulary.boundary) == (257, 256)
    assert corpus.ids.dtype == np.uint16
    assert sorted(texts_of(corpus)) == sorted([bytes(range(256)).decode("utf-8", "replace"), "a"])


@pytest.mark.parametrize("texts", [[b""], [b"\n\n"], [b"\n", b"\r\n"]])
def test_a_text_without_a_document_is_refused(texts: list[bytes]) -> None:
    with pytest.raises(CorpusError, match="the text holds no document with a character"):
        opened(texts, kind="line")


def test_empty_documents_are_counted_and_described() -> None:
    corpus = opened([b"a\n\nb\n\nb\nc"], kind="line")
    assert corpus.empty == 2
    description = corpus.description((50, 50, 0))
    assert description.startswith("4 documents (1 is a copy; 2 empty left out): ")
    assert description.endswith("; 4 characters, 3 symbols")


# Splits


@pytest.mark.slow
@given(few_texts, shares)
def test_the_parts_are_all_documents_and_equal_ones_are_in_one_part(
    texts: list[str], shares: tuple[float, float, float]
) -> None:
    corpus = opened(texts)
    numbers = parts(corpus, shares)
    assert [number for part in numbers for number in part] == list(range(len(texts)))
    contents = [set(texts_of(corpus, part)) for part in numbers]
    assert sum(map(len, contents)) == len(set(texts))
    positions = corpus.splits(shares)
    assert len(numbers[0]) > 0
    for part, inside in zip(positions, numbers, strict=True):  # each part ends with the END of its last one
        boundaries = np.count_nonzero(corpus.ids[part.start : part.stop] == corpus.vocabulary.boundary)
        assert boundaries == len(inside) + (part.start == 0)


@pytest.mark.slow
@given(st.integers(2, 200), shares)
def test_without_equal_documents_the_parts_have_their_shares(
    count: int, shares: tuple[float, float, float]
) -> None:
    assume(count * min(share for share in shares if share) / sum(shares) > 1)
    sizes = [len(part) for part in parts(opened([f"{number}" for number in range(count)]), shares)]
    assert sizes == pytest.approx([count * share / sum(shares) for share in shares], abs=1)


def test_a_thousand_documents_are_divided_exactly() -> None:
    corpus = opened([f"{number}" for number in range(1000)])
    assert [len(part) for part in parts(corpus, (90, 5, 5))] == [900, 50, 50]
    assert [len(part) for part in parts(corpus, (1, 0, 0))] == [1000, 0, 0]
    assert [len(part) for part in parts(corpus, (1, 0, 1))] == [500, 0, 500]


def test_of_few_documents_one_validates() -> None:
    assert [len(part) for part in parts(opened(["a", "b"]), (90, 5, 5))] == [1, 1, 0]
    assert [len(part) for part in parts(opened(["a", "b", "c"]), (90, 5, 5))] == [2, 1, 0]
    assert [len(part) for part in parts(opened(["a", "b", "c"]), (90, 0, 10))] == [3, 0, 0]


def test_the_beginning_of_a_part_is_its_first_documents_that_fit_and_at_least_one() -> None:
    corpus = opened(["a" * size for size in (3, 5, 2, 8, 1, 9)])
    part = corpus.splits((50, 50, 0))[1]
    one, two, three = np.cumsum(corpus.lengths[3:]).tolist()
    for count, fitting in ((1, 1), (one, 1), (two - 1, 1), (two, 2), (three - 1, 2), (three, 3), (99, 3)):
        assert corpus.numbers(corpus.beginning(part, count)) == range(3, 3 + fitting)
        assert corpus.beginning(part, count).start == part.start
    assert corpus.beginning(part, 99) == part
    assert not corpus.beginning(part[:0], 5)


def test_equal_documents_are_all_trained_on_and_a_single_one_is_refused() -> None:
    assert [len(part) for part in parts(opened(["a"] * 9), (90, 5, 5))] == [9, 0, 0]
    with pytest.raises(CorpusError, match="text: 1 document; training needs at least 2"):
        opened(["a"]).splits((90, 5, 5))


# Labels and vectors


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "é", None]), st.booleans()), min_size=1))
def test_each_document_keeps_its_prompt_its_labels_and_its_vectors(rows: list[tuple]) -> None:
    vectors: list[Any] = [
        [number, number**2] if present else None for number, (_, present) in enumerate(rows)
    ]
    assume(any(name for name, _ in rows) and any(vectors))
    texts = [
        {"text": f"text {number}", "prompt": "p" * number, "x": number % 3, "who": name, "v": vector}
        for number, ((name, _), vector) in enumerate(zip(rows, vectors, strict=True))
    ]
    corpus = opened(texts, labels=("x", "who"), vectors=("v",))
    x, label, vector = corpus.conditions
    assert isinstance(x, Label)
    assert isinstance(label, Label)
    assert isinstance(vector, Vector)
    assert label.values == tuple(sorted({name for name, _ in rows if name}))
    numbers = [int(text.rpartition(" ")[2]) for text in texts_of(corpus)]
    given_vectors = np.array([each for each in vectors if each], float)
    np.testing.assert_allclose(vector.mean, given_vectors.mean(0))
    np.testing.assert_allclose(vector.scale, np.where(given_vectors.std(0) > 0, given_vectors.std(0), 1))
    labels = [x.row(str(number % 3)) for number in numbers]
    assert corpus.inputs(0, np.arange(corpus.count)).tolist() == labels
    labels = [label.row(rows[number][0]) for number in numbers]
    assert corpus.inputs(1, np.arange(corpus.count)).tolist() == labels
    expected = [vector.input(vectors[number]) for number in numbers]
    np.testing.assert_allclose(corpus.inputs(2, np.arange(corpus.count)), expected, atol=1e-5)
    assert corpus.table["prompt"].tolist() == numbers
    missing = [vectors[number] is None for number in numbers]
    assert np.isnan(corpus.table["vectors"]).all(1).tolist() == missing
    assert corpus.label_counts()["who"] == {
        value: sum(name == value for name, _ in rows) for value in label.values
    }


def test_a_number_that_is_equal_in_all_vectors_has_the_scale_1() -> None:
    rows = [{"text": "a", "v": [1e6, 3.0]}, {"text": "b", "v": [1e6, 5.0]}]
    assert opened(rows, vectors=("v",)).conditions == (Vector("v", (1e6, 4.0), (1.0, 1.0)),)


def test_the_hash_of_the_text_does_not_depend_on_labels_and_that_of_the_table_does() -> None:
    first, second = (opened(who(values), **WHO) for values in (("a", "b"), ("b", "a")))
    plain = opened(who("ab"))
    assert first.sha256 == second.sha256 == plain.sha256
    assert first.table_sha256 != second.table_sha256
    assert plain.table_sha256 == ""
    assert first.record()["table_sha256"] == first.table_sha256
    assert "table_sha256" not in plain.record()
    assert opened(["text 1", "text 0"]).sha256 != plain.sha256
    assert opened(["text 0t", "ext 1"]).sha256 != plain.sha256


def test_a_label_and_a_vector_that_no_document_has_are_refused() -> None:
    with pytest.raises(CorpusError, match='--label who: no document has a field "who"'):
        opened(["a"], **WHO)
    with pytest.raises(CorpusError, match='--vector v: no document has a field "v"'):
        opened([{"text": "a", "v": None}], vectors=("v",))


def test_a_label_with_too_many_values_is_no_category() -> None:
    with pytest.raises(ConfigError, match=r"--label who: has 10,001 different values.*is it a category\?"):
        opened(who([str(number) for number in range(MOST_VALUES + 1)]), **WHO)


# What another model knows


def test_known_symbols_and_values_are_added() -> None:
    corpus = opened(who(["b", None]), known="zé", known_values=[Label("who", ("a", "c"))], **WHO)
    assert corpus.vocabulary.symbols == "".join(sorted(set("text 01zé")))
    assert corpus.conditions == (Label("who", ("a", "b", "c")),)
    assert corpus.label_counts() == {"who": {"a": 0, "b": 1, "c": 0}}


def test_known_vectors_keep_their_mean_and_scale() -> None:
    known, rows = Vector("v", (10.0, 20.0), (2.0, 4.0)), [{"text": "a", "v": [14, 16]}]
    corpus = opened(rows, vectors=("v",), known_values=[known])
    assert corpus.conditions == (known,)
    assert corpus.inputs(0, np.array([0])).tolist() == [[0, 2, -1]]
    with pytest.raises(ConfigError, match="--vector v: has 2 numbers, the model's 3"):
        opened(rows, vectors=("v",), known_values=[Vector("v", (0.0,) * 3, (1.0,) * 3)])


def test_a_vector_of_the_model_cannot_become_a_label_nor_a_label_a_vector() -> None:
    with pytest.raises(ConfigError, match="--label who: the model has a vector of this name"):
        opened(who("ab"), known_values=[Vector("who", (0.0,), (1.0,))], **WHO)
    with pytest.raises(ConfigError, match="--vector v: the model has a label of this name"):
        opened([{"text": "a", "v": [1]}], vectors=("v",), known_values=[Label("v", ("a",))])


# The cache


def test_a_second_opening_reads_the_ids_from_the_cache() -> None:
    activities: list[str] = []
    rows = who(["a", "b", None])
    first = opened(rows, activities=activities, **WHO)
    assert set(activities) == {"reading", "encoding"}
    activities.clear()
    second = opened(rows, activities=activities, **WHO)
    assert set(activities) == {"reading", "checking"}
    assert (first.ids == second.ids).all()
    assert (first.table == second.table).all()
    assert first.record() == second.record()


def test_a_changed_label_prompt_or_vector_is_not_served_from_the_table_before() -> None:
    rows: list[dict[str, Any]] = [{"text": "a", "who": "x", "v": [1]}, {"text": "b", "who": "y", "v": [2]}]
    swapped = [{**rows[0], "who": "y", "v": [2]}, {**rows[1], "who": "x", "v": [1]}]
    for given_rows in (rows, swapped):
        corpus = opened(given_rows, vectors=("v",), **WHO)
        for number, text in enumerate(texts_of(corpus)):
            (row,) = (row for row in given_rows if row["text"] == text)
            assert corpus.table["labels"][number] == Label("who", ("x", "y")).row(row["who"])
            assert corpus.table["vectors"][number] == row["v"]
    for lengths in ((1, 0), (0, 1)):
        both = zip("ab", lengths, strict=True)
        corpus = opened([{"prompt": text[:size], "text": text[size:]} for text, size in both])
        assert corpus.table["prompt"].tolist() == [lengths["ab".index(text)] for text in texts_of(corpus)]
        assert corpus.record()["table_sha256"]


def test_a_damaged_file_of_the_cache_is_written_again() -> None:
    rows = who("aba")
    expected = opened(rows, **WHO)
    ids, table = expected.ids.tobytes(), expected.table.tobytes()
    for path in list(cache_folder().iterdir()):
        path.unlink()  # the file that is mapped stays as it is
        path.write_bytes(b"")
        corpus = opened(rows, **WHO)
        assert (corpus.ids.tobytes(), corpus.table.tobytes()) == (ids, table)


def test_a_text_that_changes_while_it_is_read_is_refused() -> None:
    versions = iter([b"abc\nd", b"abd\nd"])
    source = Source("text", lambda: io.BytesIO(next(versions)))
    with pytest.raises(CorpusError, match="text changed while it was read: try again"):
        open_documents([source], "text", Division("line"))
