"""The laws of the longest copied run: exact, wherever a window of the corpus ends."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charrnn.text import novel
from charrnn.text.corpus import open_corpus
from charrnn.text.novel import Run, longest_runs
from charrnn.text.sources import file_source
from charrnn.text.vocabulary import UNKNOWN, Vocabulary, code_points

NONE = Run(0, 0, 0)


def ids(text: str | Sequence[int]) -> np.ndarray:
    return np.array([ord(c) for c in text] if isinstance(text, str) else text, np.int64)


def runs(texts: Sequence[str | Sequence[int]], corpus: str | Sequence[int], chunk: int = 1) -> list[Run]:
    with patch.object(novel, "CHUNK", chunk):
        return longest_runs([ids(text) for text in texts], ids(corpus).astype(np.uint32))


def by_hand(text: Sequence[int], corpus: Sequence[int]) -> Run:
    """The longest run by comparing at every position: the first in the corpus, then in the text."""
    best = NONE
    for corpus_start in range(len(corpus)):
        for start in range(len(text)):
            length = 0
            while (
                start + length < len(text)
                and corpus_start + length < len(corpus)
                and text[start + length] == corpus[corpus_start + length]
            ):
                length += 1
            if length > best.length:
                best = Run(length, start, corpus_start)
    return best


chunks = st.sampled_from([1, 2, 3, 7, 1 << 18])


@st.composite
def texts_and_corpus(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    """Few symbols, so that many runs are equal; the texts contain pieces of the corpus."""
    symbols = draw(st.integers(1, 4))
    some = st.lists(st.integers(0, symbols - 1), max_size=12)
    corpus = draw(some) * draw(st.integers(1, 4)) + draw(some)
    cuts = st.tuples(st.integers(0, len(corpus)), st.integers(0, 20)).map(
        lambda cut: corpus[cut[0] : cut[0] + cut[1]]
    )
    own = st.lists(st.integers(UNKNOWN, symbols), max_size=4)
    text = st.lists(cuts | own, max_size=3).map(lambda parts: [symbol for part in parts for symbol in part])
    return draw(st.lists(text, max_size=4)), corpus


@pytest.mark.slow
@given(case=texts_and_corpus(), chunk=chunks)
@example(([[0] * 9, [0] * 5 + [1] + [0] * 8, []], [0] * 40), 1)
@example(([[0, 1, 2, 3, 4, 5, 6, 7]], [0, 1, 2, 3, 8, 4, 5, 6, 7]), 1)
def test_the_run_is_the_one_that_comparing_at_every_position_finds(
    case: tuple[list[list[int]], list[int]], chunk: int
) -> None:
    texts, corpus = case
    assert runs(texts, corpus, chunk) == [by_hand(text, corpus) for text in texts]


@given(data=st.data(), chunk=chunks)
def test_a_piece_of_the_corpus_is_copied_whole_wherever_it_was_cut(data: st.DataObject, chunk: int) -> None:
    corpus = data.draw(st.permutations(range(30)))
    found = data.draw(st.integers(0, 29))
    length = data.draw(st.integers(1, 30 - found))
    piece = corpus[found : found + length]
    assert runs([[99, *piece, 99], piece], corpus, chunk) == [
        Run(length, 1, found),
        Run(length, 0, found),
    ]


@pytest.mark.slow
@given(case=texts_and_corpus())
def test_every_text_has_the_run_that_it_has_alone(case: tuple[list[list[int]], list[int]]) -> None:
    texts, corpus = case
    assert runs(texts, corpus) == [run for text in texts for run in runs([text], corpus)]


def test_a_text_that_is_the_corpus_is_copied_from_its_start() -> None:
    assert runs(["to be or not"], "to be or not") == [Run(12, 0, 0)]


def test_a_text_may_hold_the_whole_corpus() -> None:
    assert runs(["or not to be, or"], "to be") == [Run(5, 7, 0)]


def test_a_text_with_nothing_from_the_corpus_has_no_run() -> None:
    assert runs(["xyz", [UNKNOWN] * 3], "abcabc") == [NONE, NONE]


@pytest.mark.parametrize(("text", "corpus"), [("", "abc"), ("abc", ""), ("", "")])
def test_an_empty_text_or_corpus_has_no_run(text: str, corpus: str) -> None:
    assert runs([text], corpus) == [NONE]


def test_no_texts_have_no_runs() -> None:
    assert runs([], "abc") == []


def test_of_equally_long_runs_the_one_that_the_corpus_has_first_is_reported() -> None:
    assert runs(["cd-ab-ab"], "..ab.cd.ab") == [Run(2, 3, 2)]


def test_a_run_does_not_continue_in_the_next_text() -> None:
    assert runs(["ab", "cd"], "abcd") == [Run(2, 0, 0), Run(2, 0, 2)]


def test_an_unknown_character_breaks_a_run() -> None:
    assert runs([[*map(ord, "abc"), UNKNOWN, *map(ord, "defg")]], "abcdefg") == [Run(4, 4, 3)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_ids_may_be_of_any_width(dtype: type) -> None:
    last = min(int(np.iinfo(dtype).max), 0x10FFFF)
    corpus: np.ndarray = np.array([1, last, 0, last], dtype)
    assert longest_runs([np.array([last, 0, 1])], corpus) == [Run(2, 0, 1)]
    assert longest_runs([np.array([last, 0, 1], dtype)], corpus) == [Run(2, 0, 1)]


def test_a_corpus_of_one_character_has_a_run_as_long_as_the_texts() -> None:
    assert runs([[0] * 1000, [0] * 300 + [1] + [0] * 699, [1]], [0] * 20000, 1 << 10) == [
        Run(1000, 0, 0),
        Run(699, 301, 0),
        NONE,
    ]


def test_a_models_ids_become_the_corpus_own_by_their_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("the cat sat", encoding="utf-8")
    corpus = open_corpus([file_source(path)], "a.txt")
    model = Vocabulary(" achstxé")
    own = corpus.vocabulary.lookup(code_points(model.symbols))
    assert longest_runs([own[model.encode("a cat saé")]], corpus.ids) == [Run(7, 1, 3)]


def test_progress_counts_every_character_of_the_corpus_once() -> None:
    steps: list[int] = []
    with patch.object(novel, "CHUNK", 4):
        longest_runs([ids("xyz")], ids("abcdefghij"), steps.append)
    assert steps == [4, 4, 2]


def test_a_corpus_that_is_ten_times_as_long_takes_no_more_memory() -> None:
    def peak(corpus: np.ndarray) -> int:
        tracemalloc.start()
        longest_runs([text], corpus)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    generator = np.random.default_rng(0)
    text, corpus = generator.integers(0, 4, 200), generator.integers(0, 4, 20000).astype(np.uint8)
    with patch.object(novel, "CHUNK", 1 << 10):
        assert peak(np.tile(corpus, 10)) < 1.5 * peak(corpus)
