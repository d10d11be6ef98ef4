"""The cache of encoded texts: private, listed and cleared; no other file is touched."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from charrnn.errors import CorpusError
from charrnn.text import cache
from charrnn.text.corpus import open_corpus
from charrnn.text.sources import file_source
from tests.conftest import TEXT, charrnn

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")


def encode(text: str) -> None:
    Path("text.txt").write_text(text)
    open_corpus([file_source(Path("text.txt"))], "text")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def usual_umask() -> Iterator[None]:
    """What most machines have: new files can be read by everybody."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_umask")
def test_only_the_owner_can_read_encoded_texts() -> None:
    encode("secret")
    (path,) = cache.cache_folder().iterdir()
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    path.chmod(0o644)  # as an earlier version wrote it
    encode("secret")
    assert mode(path) == 0o600


@pytest.mark.usefixtures("usual_umask")
def test_a_folder_that_the_user_made_keeps_its_mode() -> None:
    folder = cache.cache_folder()
    folder.mkdir(mode=0o755)
    encode("text")
    assert mode(folder) == 0o755


@pytest.mark.usefixtures("usual_umask")
def test_charrnns_own_folder_becomes_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHARRNN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    folder = cache.cache_folder()
    folder.mkdir(mode=0o755, parents=True)
    encode("text")
    assert folder.is_relative_to(tmp_path / "home")
    assert mode(folder) == 0o700
    assert mode(folder.parent) == 0o755


def test_the_list_shows_folder_number_sizes_and_ages_the_one_used_last_first() -> None:
    encode("first")
    (first,) = cache.cache_folder().iterdir()
    os.utime(first, (first.stat().st_mtime - 7200,) * 2)
    encode("the second")
    done = charrnn("cache")
    header, newer, older = done.text.splitlines()
    assert header.split() == ["SIZE", "LAST", "USED", "FILE"]
    assert older.split()[-3:] == ["2", "h", first.name]
    assert first.name not in newer
    assert done.err.startswith("2 encoded texts, ")
    assert done.err.endswith(f" in {cache.cache_folder()}\n")
    lines = [json.loads(line) for line in charrnn("cache", "--json").text.splitlines()]
    assert lines[1]["path"] == str(first)
    assert lines[1]["bytes"] == first.stat().st_size


@pytest.mark.parametrize("command", [["cache"], ["cache", "clear"]])
def test_an_empty_cache_is_no_error(command: list[str]) -> None:
    done = charrnn(*command)
    assert (done.status, done.out) == (0, b"")
    assert "0 encoded texts" in done.err


def test_clear_deletes_encoded_texts_alone_and_says_what_was_freed() -> None:
    encode("text")
    folder = cache.cache_folder()
    (encoded,) = folder.iterdir()
    size = encoded.stat().st_size
    orphan = folder / f".{encoded.name}.0123abcd-99-0123abcd"
    orphan.write_bytes(b"left by a killed process")
    os.utime(orphan, (0, 0))
    kept = ["weights.npy", "notes.txt", f"{encoded.name}.bak"]
    for name in kept:
        (folder / name).write_text("mine")
    done = charrnn("cache", "clear")
    assert done.err == f"deleted 2 encoded texts in {folder}: {size + 24} bytes freed\n"
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)


def test_clear_leaves_what_another_process_writes_alone() -> None:
    path = cache.cache_folder() / f"{'0' * 32}.npy"
    with cache.write_private(path) as file:
        file.write(b"half")
        assert cache.clear() == ([], 0)
    assert path.read_bytes() == b"half"


def test_the_limit_deletes_no_file_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cache.cache_folder()
    folder.mkdir()
    (folder / "weights.npy").write_bytes(bytes(100))
    monkeypatch.setattr(cache, "CACHE_LIMIT", 0)
    encode("one")
    encode("two!")
    assert (folder / "weights.npy").exists()
    assert len(list(folder.iterdir())) == 2


def test_the_catalogues_texts_are_not_in_the_cache() -> None:
    Path("corpora").mkdir()
    Path("corpora/shakespeare.txt").write_text("To be")
    charrnn("cache", "clear")
    assert Path("corpora/shakespeare.txt").exists()


def reading_again() -> bool:
    """Whether opening the text again finds its ids in the cache."""
    activities: set[str] = set()
    corpus = open_corpus(
        [file_source(Path("text.txt"))], "text", progress=lambda activity, count: activities.add(activity)
    )
    assert corpus.vocabulary.decode(corpus.ids.tolist()) == Path("text.txt").read_text()
    return "encoding" not in activities


@pytest.mark.parametrize("place", [0, 3, 80, 128, 131, -33, -32, -1])
def test_a_file_with_one_changed_byte_is_made_again(place: int) -> None:
    encode("to be or not to be")
    (path,) = cache.cache_folder().iterdir()
    assert reading_again()
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert not reading_again()
    assert reading_again()


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_file_that_was_cut_or_written_by_an_earlier_version_is_made_again(size: int) -> None:
    encode("to be or not to be")
    (path,) = cache.cache_folder().iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:-32] if size < 0 else data[:size])
    assert not reading_again()
    assert reading_again()


def test_a_pipe_in_the_place_of_a_file_is_an_error_and_no_endless_wait() -> None:
    encode("text")
    (path,) = cache.cache_folder().iterdir()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CorpusError, match=r"something other than a file is in its place; set .CHARRNN_CACHE"):
        encode("text")


def test_the_weights_of_mixtures_are_as_private_as_texts(run: Path) -> None:
    Path("text.txt").write_text(TEXT * 20)
    for command in (
        ["ngram", "text.txt", "--name", "n"],
        ["train", "text.txt", "--steps", "1", "--name", "a"],
    ):
        assert charrnn(*command).status == 0
    charrnn("cache", "clear")
    cache.cache_folder().rmdir()
    assert charrnn("sample", "a", "n", "--length", "1").status == 0
    assert {mode(path) for path in cache.cache_folder().iterdir()} == {0o600}
    assert mode(cache.cache_folder()) == 0o700
    (weights,) = cache.cache_folder().glob("*.json")
    weights.unlink()
    os.mkfifo(weights)
    assert charrnn("sample", "a", "n", "--length", "1").status == 0
