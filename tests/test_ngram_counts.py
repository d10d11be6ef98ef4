"""Counting n-grams: equal to a dictionary's counts, whatever fits in memory."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.errors import CorpusError
from charrnn.inference.growing_array import GrowingArray, smallest
from charrnn.inference.key_counts import count_keys
from charrnn.inference.ngram import Level
from charrnn.inference.ngram_counts import build, count, discounts
from charrnn.text.cache import cache_folder

CODE_POINTS = 0x110000
"""A vocabulary so large that one key holds three characters."""

texts = st.integers(1, 4).flatmap(lambda symbols: st.lists(st.integers(0, symbols - 1), max_size=40))


def spelled(levels: list[Level], symbols: int) -> list[list[tuple[int, ...]]]:
    """The n-grams of each length, in the order of their nodes."""
    result: list[list[tuple[int, ...]]] = [[()]]
    for level in levels:
        nodes, characters = np.divmod(level.keys.astype(np.int64), symbols)
        pairs = zip(nodes.tolist(), characters.tolist(), strict=True)
        result.append([(*result[-1][node], character) for node, character in pairs])
    return result[1:]


def same(one: Level, other: Level) -> bool:
    """Whether two levels have equal arrays of equal types."""
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.slow
@given(texts, st.sampled_from([4, 1000, CODE_POINTS]), st.integers(1, 12), st.integers(1, 50))
def test_the_counts_are_those_of_a_dictionary(text: list[int], symbols: int, orders: int, chunk: int) -> None:
    results = list(count(np.array(text, np.int64), symbols, orders, chunk=chunk))
    assert len(results) == min(orders, len(text))
    levels = [level for level, _ in results]
    for length, (level, grams) in enumerate(zip(levels, spelled(levels, symbols), strict=True), 1):
        expected = Counter(tuple(text[i : i + length]) for i in range(len(text) - length + 1))
        assert grams == sorted(expected)
        assert level.counts.tolist() == [expected[gram] for gram in grams]


@pytest.mark.slow
@given(texts, st.sampled_from([4, CODE_POINTS]), st.integers(1, 12), st.integers(1, 50))
def test_continuation_counts_are_numbers_of_different_characters_before(
    text: list[int], symbols: int, orders: int, chunk: int
) -> None:
    results = list(count(np.array(text, np.int64), symbols, orders, chunk=chunk))
    assert all(shorter is None for _, shorter in results[:1])
    all_grams = spelled([level for level, _ in results], symbols)
    for length, (_, shorter) in enumerate(results[1:], 1):
        assert shorter is not None
        assert np.array_equal(shorter.keys, results[length - 1][0].keys)
        before: dict[tuple[int, ...], set[int]] = {}
        for start in range(len(text) - length + 1):
            previous = text[start - 1] if start else -1
            before.setdefault(tuple(text[start : start + length]), set()).add(previous)
        assert shorter.counts.tolist() == [len(before[gram]) for gram in all_grams[length - 1]]


@pytest.mark.parametrize("symbols", [5, CODE_POINTS])
@pytest.mark.parametrize("kind", ["random", "one character", "period 2", "half of it one character"])
def test_a_text_of_many_chunks_gives_the_model_of_one_chunk(kind: str, symbols: int) -> None:
    text = np.random.default_rng(0).integers(0, 5, 2000, np.uint8)
    text[slice(0, {"one character": 2000, "half of it one character": 1000}.get(kind, 0))] = 0
    if kind == "period 2":
        text = np.arange(2000, dtype=np.uint8) % 2
    whole, parts = build(text, symbols, 8), build(text, symbols, 8, chunk=64)
    assert all(same(one, other) for one, other in zip(whole.levels, parts.levels, strict=True))
    assert np.array_equal(whole.discounts, parts.discounts)


def test_ids_mapped_from_a_file_give_the_same_model(tmp_path: Path) -> None:
    text = np.random.default_rng(0).integers(0, 7, 500, np.uint8)
    np.save(tmp_path / "ids.npy", text)
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    pairs = zip(build(text, 7, 4).levels, build(mapped, 7, 4, chunk=50).levels, strict=True)
    assert all(same(one, other) for one, other in pairs)


def test_the_type_of_the_keys_holds_every_key_that_is_looked_for() -> None:
    text = np.zeros(300, np.uint8)
    for symbols in (100, 256, 257, CODE_POINTS):
        for level in build(text, symbols, 3).levels:
            assert np.iinfo(level.keys.dtype).max >= symbols - 1


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=9), min_size=1, max_size=30))
def test_keys_of_any_chunks_are_counted(chunks: list[list[int]]) -> None:
    keys, counts = count_keys((np.array(chunk, np.uint64) for chunk in chunks), 9)
    expected = Counter(key for chunk in chunks for key in chunk)
    assert keys.tolist() == sorted(expected)
    assert counts.tolist() == [expected[key] for key in sorted(expected)]


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 255), max_size=5)), st.integers(1, 9))
def test_a_growing_array_has_all_that_was_appended(pieces: list[list[int]], limit: int) -> None:
    array = GrowingArray(np.uint8, limit)
    for piece in pieces:
        array.append(np.array(piece, np.int64))
    result = array.array()
    assert result.dtype == np.uint8
    assert result.tolist() == [number for piece in pieces for number in piece]


@settings(max_examples=50)
@given(st.lists(st.sampled_from([0, 255, 256, 65536, 2**40]), min_size=1), st.integers(1, 9))
def test_the_smallest_type_loses_no_number(numbers: list[int], limit: int) -> None:
    result = smallest(np.array(numbers), limit)
    assert result.tolist() == numbers
    assert result.dtype == np.min_scalar_type(max(numbers))


def test_the_last_of_the_progress_is_that_every_length_is_counted() -> None:
    characters: list[float] = []
    build(np.arange(100) % 7, 7, 5, characters.append, chunk=30)
    assert min(characters) > 0
    assert sum(characters) == 5 * 100


# Discounts


@given(st.lists(st.integers(1, 6), min_size=1))
def test_discounts_are_between_0_and_their_counts(counts: list[int]) -> None:
    result = discounts(np.array(counts))
    assert result.shape == (3,)
    assert (result > 0).all()
    assert (result < (1, 2, 3)).all()


def test_discounts_are_those_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [50, 20, 10, 6, 5])
    factor = 50 / (50 + 2 * 20)
    expected = [1 - 2 * factor * 20 / 50, 2 - 3 * factor * 10 / 20, 3 - 4 * factor * 6 / 10]
    np.testing.assert_allclose(discounts(counts), expected)
    monkeypatch.setattr("charrnn.inference.ngram_counts.CHUNK", 7)
    np.testing.assert_allclose(discounts(counts), expected)


# Temporary files


def test_a_short_text_writes_no_file() -> None:
    build(np.arange(1000) % 9, 9, 5)
    assert not cache_folder().exists()


def test_the_temporary_files_have_no_name() -> None:
    model = build(np.random.default_rng(0).integers(0, 9, 1000), 9, 5, chunk=100)
    assert cache_folder().is_dir()
    assert not list(cache_folder().iterdir())
    assert not model.levels[-1].keys.flags.owndata  # mapped, and still there


def test_a_full_disk_is_one_line_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(CorpusError) as caught:
            build(np.random.default_rng(0).integers(0, 9, 1000), 9, 5, chunk=100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert str(cache_folder()) in message
    assert "$CHARRNN_CACHE" in message
    assert not list(cache_folder().iterdir())


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(CorpusError, match="file/cache"):
        build(np.random.default_rng(0).integers(0, 9, 1000), 9, 5, chunk=100)


KILLED = """
import os, signal
import numpy as np
from charrnn.inference import growing_array
from charrnn.inference.ngram_counts import build

mapped = growing_array.mmap.mmap
maps = 0

def kill_at_the_fifth(*arguments):
    global maps
    maps += 1
    if maps == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return mapped(*arguments)

growing_array.mmap.mmap = kill_at_the_fifth
build(np.random.default_rng(0).integers(0, 9, 1000), 9, 5, chunk=100)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_no_file() -> None:
    ran = subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert cache_folder().is_dir()
    assert not list(cache_folder().iterdir())


def test_most_of_a_long_text_is_never_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    append = GrowingArray.append

    def watched(self: GrowingArray, numbers: np.ndarray) -> None:
        sizes.append(len(numbers))
        append(self, numbers)

    monkeypatch.setattr(GrowingArray, "append", watched)
    build(np.random.default_rng(0).integers(0, 9, 20_000), 9, 7, chunk=500)
    assert sum(sizes) > 20_000
    assert max(sizes) <= 1.5 * 500
