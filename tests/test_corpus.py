"""The laws of reading texts in pieces, of the cache of their ids, and of their splits."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.errors import ConfigError, CorpusError
from charrnn.runs.checkpoint import BEST, LAST
from charrnn.text import cache as reader
from charrnn.text import sources as sources_module
from charrnn.text.corpus import Corpus, open_corpus
from charrnn.text.sources import Reading, Source, characters, file_source, sources, text_files
from charrnn.text.vocabulary import Vocabulary

pieces = st.sampled_from(["\r\n", "\r", "\n", "\ufeff", "\0", "a", "é", "€", "😀"])
tricky_text = st.lists(pieces | pieces | st.characters(codec="utf-8"), max_size=20).map("".join)
tricky_bytes = st.lists(pieces.map(str.encode) | st.binary(max_size=2), max_size=20).map(b"".join)
chunks = st.sampled_from([1, 2, 3, 4, 7, 1 << 20])
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".GZ": gzip.compress,
}


def memory(data: bytes, name: str = "text") -> Source:
    return Source(name, lambda: io.BytesIO(data))


def written(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def opened(*texts: bytes | Path, activities: list[str] | None = None, **reading: Any) -> Corpus:
    """A corpus of files, or of bytes, in the test's own cache; progress adds to ``activities``."""
    opened_texts = [memory(text) if isinstance(text, bytes) else file_source(text) for text in texts]
    record = [] if activities is None else activities
    return open_corpus(
        opened_texts,
        "text",
        Reading(**reading),
        progress=lambda activity, characters: record.append(activity),
    )


def text_of(corpus: Corpus) -> str:
    return corpus.vocabulary.decode(corpus.ids)


def lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def refusal(*texts: bytes | Path, **reading: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        opened(*texts, **reading)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def cached() -> list[Path]:
    return sorted(reader.cache_folder().iterdir())


# Reading


@pytest.mark.slow
@settings(deadline=None)
@given(
    texts=st.lists(tricky_text, min_size=1, max_size=3).filter(
        lambda texts: any(t.strip("\ufeff") for t in texts)
    ),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "gb18030"]),
    newlines=st.sampled_from(["lf", "keep"]),
    chunk=chunks,
)
@example(["\ufeff\ufeffa\r\n\r", "\n\r\r\n"], "utf-8", "lf", 1)
@example(["\ufeff\ufeffa\r\n\r", "\n\r\r\n"], "utf-16", "lf", 3)
@example(["\ufeff\ufeffa\r\n\r", "\n\r\r\n"], "utf-8", "keep", 1 << 20)
def test_a_text_in_pieces_has_the_ids_of_the_text_in_memory(
    texts: list[str], encoding: str, newlines: str, chunk: int
) -> None:
    settled = lf if newlines == "lf" else str
    expected = "".join(settled(text.removeprefix("\ufeff")) for text in texts)
    symbols = sorted(set(expected))
    given_texts = [memory(text.encode(encoding)) for text in texts]
    with TemporaryDirectory(dir=".") as cache, patch.object(sources_module, "CHUNK", chunk):
        corpus = open_corpus(given_texts, "text", Reading(encoding, newlines=newlines), Path(cache))
        assert corpus.vocabulary == Vocabulary("".join(symbols))
        assert corpus.ids.tolist() == [symbols.index(character) for character in expected]
        assert corpus.ids.dtype == corpus.vocabulary.id_dtype
        assert corpus.sha256 == hashlib.sha256(expected.encode()).hexdigest()


@pytest.mark.slow
@settings(deadline=None)
@given(data=tricky_bytes.filter(bool), newlines=st.sampled_from(["lf", "keep"]), chunk=chunks)
def test_learning_bytes_reads_any_file_byte_for_byte(data: bytes, newlines: str, chunk: int) -> None:
    expected = data if newlines == "keep" else data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    with TemporaryDirectory(dir=".") as cache, patch.object(sources_module, "CHUNK", chunk):
        corpus = open_corpus([memory(data)], "text", Reading(byte_level=True, newlines=newlines), Path(cache))
        assert corpus.vocabulary.byte_level
        assert corpus.vocabulary.decode_bytes(corpus.ids) == expected
        assert corpus.sha256 == hashlib.sha256(expected).hexdigest()


@given(
    data=st.binary(max_size=12),
    encoding=st.sampled_from(["utf-8", "ascii", "utf-16-le", "cp932"]),
    chunk=chunks,
)
def test_a_byte_that_is_not_text_is_named_with_its_offset(data: bytes, encoding: str, chunk: int) -> None:
    try:
        expected = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        expected = f"a.txt: byte 0x{data[error.start]:02X} at offset {error.start} is not {encoding};"
    with patch.object(sources_module, "CHUNK", chunk):
        try:
            result = "".join(characters([memory(data, "a.txt")], Reading(encoding, newlines="keep")))
        except CorpusError as error:
            result = str(error)
    assert result == expected or (
        result.startswith(expected) and "--encoding" in result and "--bytes" in result
    )


def test_a_bad_byte_in_a_later_file_is_counted_from_that_files_start() -> None:
    good, bad = memory(b"good"), memory(b"012\xff", "bad.txt")
    with pytest.raises(CorpusError, match=r"bad\.txt: byte 0xFF at offset 3 "):
        open_corpus([good, bad], "texts")


def test_utf_16_without_a_byte_order_mark_is_a_corpus_error() -> None:
    assert "utf-16" in refusal("abc".encode("utf-16-le"), encoding="utf-16")


def test_latin_1_reads_every_byte() -> None:
    corpus = opened(bytes(range(256)), encoding="latin-1", newlines="keep")
    assert corpus.vocabulary.symbols == bytes(range(256)).decode("latin-1")


def test_nul_bytes_are_characters() -> None:
    assert text_of(opened(b"\0a\0\0")) == "\0a\0\0"


def test_files_are_read_one_after_the_other_and_a_line_end_is_not_made_of_two() -> None:
    assert text_of(opened(b"a\r", b"\nb")) == "a\n\nb"


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_packed_file_reads_like_the_plain_one(tmp_path: Path, suffix: str) -> None:
    data = "naïve\r\ntext".encode() * 100
    assert text_of(opened(written(tmp_path / f"a.txt{suffix}", PACKERS[suffix](data)))) == lf(data.decode())


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"plain text" * 9, lambda data: data[:40] + data[44:]]
)
def test_a_damaged_packed_file_is_a_corpus_error_that_names_it(
    tmp_path: Path, suffix: str, damage: Callable[[bytes], bytes]
) -> None:
    data = damage(PACKERS[suffix](bytes(Random(0).choices(b"abcd \n", k=2000))))
    assert f"a{suffix}" in refusal(written(tmp_path / f"a{suffix}", data), encoding="latin-1")


@pytest.mark.parametrize("text", [b"", b"\xef\xbb\xbf"])
def test_an_empty_text_is_a_corpus_error(text: bytes) -> None:
    assert refusal(text) == "text: the text is empty"


@pytest.mark.parametrize(
    ("reading", "option"),
    [({"encoding": "klingon"}, "--encoding klingon"), ({"newlines": "crlf"}, "--newlines crlf")],
)
def test_a_reading_that_makes_no_sense_names_its_option(reading: dict[str, Any], option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        Reading(**reading)


# Files and folders


def names_in(folder: Path, glob: str = "*", **reading: Any) -> tuple[list[str], dict[str, int]]:
    """The files that are read in a folder, and what is skipped."""
    files, skipped = text_files(folder, glob, Reading(**reading))
    return [path.relative_to(folder).as_posix() for path in files], dict(skipped)


def test_a_folder_is_its_matching_files_at_any_depth_sorted(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    for name in ("b.txt", "a/z.txt", "a/b/c.txt", "c.py"):
        written(folder / name, name)
    expected = [str(folder / name) for name in ("a/b/c.txt", "a/z.txt", "b.txt")]
    assert [source.name for source in sources([folder], "*.txt")] == expected
    assert len(sources([folder])) == 4


def test_hidden_files_and_folders_are_skipped_unless_the_glob_asks_for_them(tmp_path: Path) -> None:
    folder = tmp_path / ".texts"  # its own name does not count: it is given
    for name in ("a.txt", ".hidden.txt", ".git/b.txt", ".git/c/d.txt", "e/.venv/f.txt", "e/.g.md"):
        written(folder / name, name)
    assert names_in(folder) == (["a.txt"], {"hidden folder": 2, "hidden file": 2})
    assert names_in(folder, "*.txt") == (["a.txt"], {"hidden folder": 2, "hidden file": 1})
    assert names_in(folder, ".*.txt") == ([".hidden.txt"], {})
    assert names_in(folder, ".git/*.txt") == ([".git/b.txt"], {})


@pytest.mark.parametrize("file", [BEST, LAST])
@pytest.mark.parametrize("options", [{}, {"glob": "*.jsonl"}, {"byte_level": True}])
def test_the_folders_of_runs_are_skipped(tmp_path: Path, file: str, options: dict[str, Any]) -> None:
    for name in ("a.jsonl", f"runs/one/{file}", "runs/one/log.jsonl", "runs/one/sub/x.jsonl", "runs/b.jsonl"):
        written(tmp_path / name, name)
    assert names_in(tmp_path, **options) == (["a.jsonl", "runs/b.jsonl"], {"run folder": 1})


PACKED_ZEROS = gzip.compress(b"text\0text", mtime=0)


@pytest.mark.parametrize(
    ("name", "data", "binary"),
    [
        ("zero", b"text\0text", True),
        ("paper.pdf", b"%PDF-1.7\n1 0 obj", True),
        ("utf-16.txt", "text".encode("utf-16"), True),
        ("packed.gz", PACKED_ZEROS, True),
        ("packed.txt.gz", gzip.compress(b"text", mtime=0), False),
        ("damaged.gz", PACKED_ZEROS[:9], False),  # reading it says what is wrong
        ("not packed.gz", b"text", False),
        ("latin-1.txt", b"\xe9t\xe9", False),  # reading it names the byte and the option
        ("empty", b"", False),
        ("late", b"a" * 9000 + b"\0", False),
    ],
)
def test_binary_files_are_skipped_by_their_content(
    tmp_path: Path, name: str, data: bytes, binary: bool
) -> None:
    written(tmp_path / "a.txt", "text")
    written(tmp_path / name, data)
    expected = (["a.txt"], {"binary file": 1}) if binary else (sorted(["a.txt", name]), {})
    assert names_in(tmp_path) == expected


@pytest.mark.parametrize(
    "options", [{"glob": "*.bin"}, {"byte_level": True}, {"encoding": "utf-16"}, {"encoding": "utf-32-le"}]
)
def test_binary_files_are_read_where_they_are_asked_for(tmp_path: Path, options: dict[str, Any]) -> None:
    written(tmp_path / "a.bin", b"\0a")
    assert names_in(tmp_path, **options) == (["a.bin"], {})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "shift-jis"])
def test_a_zero_byte_is_binary_in_encodings_without_it(tmp_path: Path, encoding: str) -> None:
    written(tmp_path / "a.bin", b"\0a")
    assert names_in(tmp_path, encoding=encoding) == ([], {"binary file": 1})


def test_a_folder_where_all_is_skipped_says_what(tmp_path: Path) -> None:
    written(tmp_path / "a", b"\0")
    written(tmp_path / "b", b"\0")
    written(tmp_path / ".c", "text")
    with pytest.raises(CorpusError, match=r"holds no file.*; skipped: 1 hidden file, 2 binary files$"):
        sources([tmp_path])


def test_a_file_that_is_given_is_read_whatever_it_is(tmp_path: Path) -> None:
    for name in (".hidden", "binary", BEST):
        path = written(tmp_path / name, b"\0")
        assert [source.name for source in sources([path])] == [str(path)]


def test_what_is_read_does_not_depend_on_the_order_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("c.txt", "a.txt", "b/z.txt", "b/y.txt", ".b/x.txt", ".d", f"e/{BEST}", "f"):
        written(tmp_path / name, b"\0" if name == "f" else name)
    expected = names_in(tmp_path)
    walk = os.walk

    def walk_backwards(*arguments: Any, **options: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        for root, folders, names in walk(*arguments, **options):
            folders.reverse()
            yield root, folders, names[::-1]

    monkeypatch.setattr(os, "walk", walk_backwards)
    assert names_in(tmp_path) == expected
    assert expected[0] == ["a.txt", "b/y.txt", "b/z.txt", "c.txt"]


def test_files_keep_the_order_they_are_given_in_and_need_not_match(tmp_path: Path) -> None:
    paths = [written(tmp_path / name, name) for name in ("b.md", "a.md", "b.txt")]
    assert [source.name for source in sources(paths, "*.txt")] == list(map(str, paths))


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere", "no file or folder .*nowhere"), (".", r"no file that matches --glob \*\.x")],
)
def test_a_path_without_a_file_is_a_corpus_error(path: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        sources([path], "*.x")


def test_a_file_that_vanishes_is_a_corpus_error(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "text")
    (source,) = sources([path])
    path.unlink()
    with pytest.raises(CorpusError, match=r"no file .*a\.txt"):
        open_corpus([source], "text")


# The cache


def test_the_same_text_is_found_again_from_another_file_packing_encoding_or_line_end(tmp_path: Path) -> None:
    text = "été\nfini\n"
    opened(text.encode())
    activities: list[str] = []
    opened(written(tmp_path / "dos.txt", text.replace("\n", "\r\n")), activities=activities)
    opened(written(tmp_path / "a.xz", lzma.compress(text.encode())), activities=activities)
    opened(text.encode("utf-16"), encoding="utf-16", activities=activities)
    assert set(activities) == {"reading", "checking"}
    assert len(cached()) == 1


def test_a_changed_file_is_never_served_stale_even_of_the_same_size_and_time(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "abab")
    before = opened(path)
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    os.utime(written(path, "abba"), ns=times)
    assert text_of(opened(path)) == "abba"
    assert text_of(before) == "abab"


def test_bytes_and_characters_of_one_text_are_kept_apart() -> None:
    assert opened(b"ab").vocabulary != opened(b"ab", byte_level=True).vocabulary
    assert len(cached()) == 2


def test_a_truncated_cache_file_is_written_anew() -> None:
    opened(b"some text")
    (path,) = cached()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.unlink()  # not truncated in place: the ids that are still mapped would vanish
        path.write_bytes(whole[:length])
        assert text_of(opened(b"some text")) == "some text"
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "other",
    [
        np.zeros(4, np.uint16),
        np.zeros(4, np.float32),
        np.zeros((4, 1), np.uint8),
        np.zeros(5, np.uint8),
        np.array([None] * 4),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_a_cache_file_of_another_type_or_shape_is_written_anew(other: np.ndarray) -> None:
    opened(b"text")
    (path,) = cached()
    np.save(path, other, allow_pickle=True)
    assert text_of(opened(b"text")) == "text"


@pytest.mark.parametrize(("symbols", "dtype"), [(256, np.uint8), (257, np.uint16)])
def test_ids_are_as_small_as_the_vocabulary_allows_and_mapped(symbols: int, dtype: type) -> None:
    text = "".join(map(chr, range(symbols))) * 2
    corpus = opened(text.encode(), newlines="keep")
    assert corpus.ids.dtype == dtype
    assert corpus.ids.base is not None
    assert not corpus.ids.flags.writeable


def test_an_unwritable_cache_is_a_corpus_error_that_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARRNN_CACHE", str(written(tmp_path / "file", "") / "cache"))
    assert "$CHARRNN_CACHE" in refusal(b"text")


@pytest.fixture(params=["fsync", "replace"])
def full_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, request.param, refuse)


def test_a_full_disk_is_a_corpus_error_and_leaves_nothing_in_the_cache(full_disk: None) -> None:
    assert "No space left on device" in refusal(b"text")
    assert cached() == []


def test_the_least_recently_used_ids_go_first_and_the_newest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [b"first", b"second", b"third"]
    for age, text in zip((300, 200, 100), texts, strict=True):
        before = set(cached()) if reader.cache_folder().exists() else set()
        opened(text)
        (path,) = set(cached()) - before
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    opened(b"first")  # and so the second is the one not used for longest
    monkeypatch.setattr(reader, "CACHE_LIMIT", sum(path.stat().st_size for path in cached()))
    opened(b"fourth")
    activities: list[str] = []
    for text in (b"first", b"third", b"fourth"):
        opened(text, activities=activities)
    assert set(activities) == {"reading", "checking"}
    assert len(cached()) == 3
    monkeypatch.setattr(reader, "CACHE_LIMIT", 0)
    assert text_of(opened(b"fifth")) == "fifth"
    assert len(cached()) == 1


def test_known_symbols_are_in_the_vocabulary_beside_the_texts() -> None:
    corpus = open_corpus([memory(b"db")], "text", known="cab")
    assert corpus.vocabulary.symbols == "abcd"
    assert corpus.ids.tolist() == [3, 1]


@pytest.mark.parametrize("second", [b"aab", b"aacb", b"abab", b"ababb"])
def test_a_text_that_changes_while_it_is_read_is_a_corpus_error(second: bytes) -> None:
    passes = iter([b"aabb", second])
    with pytest.raises(CorpusError, match="text changed while it was read"):
        open_corpus([Source("text", lambda: io.BytesIO(next(passes)))], "text")


def test_progress_counts_every_character_twice() -> None:
    counts: Counter[str] = Counter()
    open_corpus([memory("é€".encode())], "text", progress=lambda activity, n: counts.update({activity: n}))
    assert counts == {"reading": 2, "encoding": 2}


# Splits


def of_length(count: int) -> Corpus:
    return Corpus(np.zeros(count, np.uint8), Vocabulary("a"), "", "text")


shares = st.tuples(st.floats(0.01, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))


@given(count=st.integers(2, 10**6), shares=shares)
def test_splits_are_contiguous_cover_the_text_and_have_their_shares(
    count: int, shares: tuple[float, float, float]
) -> None:
    train, validation, test = of_length(count).splits(shares)
    assert (train.start, train.stop, validation.stop, test.stop) == (0, validation.start, test.start, count)
    assert len(train) + len(validation) + len(test) == count
    assert len(train) >= 2
    if len(train) < count:
        for part, share in zip((train, validation, test), shares, strict=True):
            assert abs(len(part) - count * share / sum(shares)) <= 1


@pytest.mark.parametrize("shares", [(90, 5, 5), (0.9, 0.05, 0.05), (18, 1, 1)])
def test_splits_of_a_round_text_are_exact(shares: tuple[float, float, float]) -> None:
    assert of_length(100).splits(shares) == (range(90), range(90, 95), range(95, 100))


@pytest.mark.parametrize("shares", [(90, 5, 5), (1, 99, 0), (100, 0, 0)])
def test_of_two_characters_both_train(shares: tuple[float, float, float]) -> None:
    assert of_length(2).splits(shares) == (range(2), range(2, 2), range(2, 2))


def test_a_single_character_is_too_short_to_train_on() -> None:
    with pytest.raises(CorpusError, match=r"^text: 1 character: training needs at least 2"):
        opened(b"a").splits((90, 5, 5))


def test_a_text_that_changed_while_it_was_read_is_not_cached_as_the_first() -> None:
    passes = iter([b"aabb", b"abab"])
    with pytest.raises(CorpusError):
        open_corpus([Source("text", lambda: io.BytesIO(next(passes)))], "text")
    assert text_of(opened(b"aabb")) == "aabb"


@pytest.mark.parametrize("encoding", ["hex", "rot13", "base64", "zlib", "uu", "a\0b"])
def test_an_encoding_that_makes_no_text_names_the_option(encoding: str) -> None:
    with pytest.raises(ConfigError, match="--encoding"):
        Reading(encoding)


def test_an_absolute_glob_is_a_corpus_error() -> None:
    with pytest.raises(CorpusError, match="--glob"):
        sources(["."], "/x")


@pytest.mark.parametrize("place", [0, 10, 20, 60, 100, 126])
@pytest.mark.parametrize("junk", [b"PK\x03\x04", b"(", b"\xff"])
def test_a_cache_file_with_a_damaged_header_is_written_anew(place: int, junk: bytes) -> None:
    opened(b"some text")
    (path,) = cached()
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:place] + junk + whole[place + len(junk) :])
    assert text_of(opened(b"some text")) == "some text"


@pytest.mark.parametrize("encoding", ["utf-7", "unicode_escape"])
def test_half_of_a_surrogate_pair_is_no_character_of_a_text(tmp_path: Path, encoding: str) -> None:
    data = {"utf-7": b"a+2AA-b", "unicode_escape": b"a\\ud800b"}[encoding]
    assert data.decode(encoding) == "a\ud800b"
    (tmp_path / "text").write_bytes(data)
    with pytest.raises(CorpusError, match=r"text holds U\+D800, half of a character: remove it"):
        open_corpus([file_source(tmp_path / "text")], "text", Reading(encoding=encoding))
