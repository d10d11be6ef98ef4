"""Mixtures on the command line: where their weights come from, and training both models at once."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from charrnn.cli import train_ngram
from charrnn.config import ModelConfig, TrainConfig
from charrnn.errors import CharrnnError
from charrnn.inference import mixing_file, ngram_build
from charrnn.inference.fit_mixing import Fitted
from charrnn.inference.mixing import Mixing
from charrnn.runs.checkpoint import BEST, Header, load, read_header, save_checkpoint
from charrnn.runs.find import ngram_beside
from charrnn.text.cache import cache_folder
from charrnn.text.corpus import open_corpus
from charrnn.text.sources import file_source
from tests.conftest import TEXT, charrnn, random_weights

SPLIT = (60.0, 30.0, 10.0)
SAMPLE = ("sample", "net", "net-ngram", "--length", "20", "--seed", "1", "--temperature", "0")


def network(name: str, seed: int = 0, split: tuple[float, float, float] = SPLIT, corpus: str = "") -> Path:
    """A run of random weights on ./text.txt."""
    text = open_corpus([file_source(Path("text.txt"))], "text.txt")
    config = ModelConfig(hidden=6, embedding=4)
    header = Header(
        config,
        text.vocabulary,
        TrainConfig(split=split),
        {"name": "text.txt", "sha256": corpus or text.sha256, "characters": len(text.ids)},
        name=name,
    )
    folder = Path("checkpoints", name)
    folder.mkdir(parents=True)
    save_checkpoint(folder / BEST, header, random_weights(config, len(text.vocabulary), seed))
    return folder / BEST


@pytest.fixture
def models() -> tuple[Path, Path]:
    """A network and an n-gram model of ./text.txt: the runs ``net`` and ``net-ngram``."""
    generator = np.random.default_rng(0)
    words = sorted(set(TEXT.split()))
    Path("text.txt").write_text(" ".join(generator.choice(words, 600)))
    first = network("net")
    done = charrnn("ngram", "text.txt", "--name", "net-ngram", "--split", "60,30,10")
    assert done.status == 0, done.err
    return first, Path("checkpoints/net-ngram", BEST)


def weights_file() -> Path:
    (path,) = cache_folder().glob("*.json")
    return path


def test_weights_are_found_on_the_shared_validation_part_and_kept(models: tuple[Path, Path]) -> None:
    first = charrnn(*SAMPLE)
    (line,) = [line for line in first.err.splitlines() if line.startswith("weights ")]
    assert "linear): net 0." in line
    *losses, mixed = (float(part.split()[-1]) for part in line.removesuffix(" nats").split(";")[1].split(","))
    assert losses[0] == pytest.approx(float(line.split("validation ")[1].split(",")[0]))
    assert mixed < losses[0]
    kept = mixing_file.load(weights_file())
    assert kept is not None
    mixing_file.save(weights_file(), replace(kept, loss=1.25))
    assert charrnn(*SAMPLE).err.splitlines()[0] == line.replace(f"{mixed:.4f} nats", "1.2500 nats")


@pytest.mark.slow
def test_auto_is_the_default_and_numbers_replace_it(models: tuple[Path, Path]) -> None:
    assert charrnn(*SAMPLE).out == charrnn(*SAMPLE, "--weights", "auto").out
    for given in ("equal", "0.7,0.3"):
        done = charrnn(*SAMPLE, "--weights", given)
        assert (done.status, done.err) == (0, "")
    assert charrnn(*SAMPLE, "--weights", "equal").out == charrnn(*SAMPLE, "--weights", "2,2").out


@pytest.mark.parametrize("content", [b"", b"{}", b"not JSON", b'{"kind": "linear"}', b"[" * 100_000])
def test_a_damaged_file_is_written_again(models: tuple[Path, Path], content: bytes) -> None:
    first = charrnn(*SAMPLE)
    before = weights_file().read_bytes()
    weights_file().write_bytes(content)
    again = charrnn(*SAMPLE)
    assert (again.out, again.err) == (first.out, first.err)
    assert weights_file().read_bytes() == before


def test_a_file_with_a_changed_byte_is_not_used() -> None:
    fitted = Fitted(Mixing("linear", np.ones((3, 2)), np.ones((4, 2))), [0.5, 0.5], [1.0, 2.0], 0.9, 100)
    path = Path("weights.json")
    mixing_file.save(path, fitted)
    assert mixing_file.load(path) is not None
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        byte = bytes([content[position] ^ 1])
        path.write_bytes(content[:position] + byte + content[position + 1 :])
        assert mixing_file.load(path) is None


def test_a_disk_that_refuses_the_file_does_no_harm(models: tuple[Path, Path]) -> None:
    first = charrnn(*SAMPLE)
    path = weights_file()
    path.unlink()
    path.mkdir()
    assert charrnn(*SAMPLE).out == first.out


def test_the_text_is_read_again_where_the_cache_has_lost_it(models: tuple[Path, Path]) -> None:
    first = charrnn(*SAMPLE)
    for path in cache_folder().iterdir():
        path.unlink()
    assert charrnn(*SAMPLE).out == first.out


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("gone", "the text text.txt is not known by its path"),
        ("a pipe", "the text text.txt is not known by its path"),
        ("changed", "the text text.txt has changed"),
        ("other text", "the models are from different texts"),
        ("no text", "a checkpoint does not say which text it is from"),
        ("other split", "the models are from different parts of the text (--split)"),
    ],
)
def test_equal_weights_say_why_and_how_to_give_others(
    models: tuple[Path, Path], change: str, reason: str
) -> None:
    if change in ("gone", "a pipe", "changed"):
        for path in cache_folder().iterdir():
            path.unlink()
        text = Path("text.txt").read_text()
        Path("text.txt").write_text(text[::-1])
        if change != "changed":
            Path("text.txt").unlink()
        if change == "a pipe":  # reading it would wait for ever
            os.mkfifo("text.txt")
    elif change == "no text":
        header = read_header(models[0])
        weights = load(models[0]).weights
        save_checkpoint(models[0], Header(header.model, header.vocabulary, header.training), weights)
    else:
        split = (50.0, 40.0, 10.0) if change == "other split" else SPLIT
        other = network("other", 0, split, "0" * 64 if change == "other text" else "")
        other.replace(models[0])
    done = charrnn(*SAMPLE)
    assert done.status == 0
    assert done.err == f"equal weights: {reason}; to choose others: --weights A,B\n"
    assert done.out == charrnn(*SAMPLE, "--weights", "equal").out


def test_a_validation_part_that_is_too_short_gives_equal_weights() -> None:
    Path("text.txt").write_text(TEXT[:1000])
    for seed in (0, 1):
        network(f"net-{seed}", seed, (90.0, 10.0, 0.0))
    done = charrnn("sample", "net-0", "net-1", "--length", "5", "--temperature", "0")
    assert "equal weights: the validation part has 100 characters, too few" in done.err


def test_two_networks_get_weights_too(models: tuple[Path, Path]) -> None:
    network("second", seed=1)
    assert "linear): net 0." in charrnn("sample", "net", "second", "--length", "5").err


@pytest.mark.parametrize("given", ["auto,1", "1;2", "x", ""])
def test_wrong_weights_name_the_choices(models: tuple[Path, Path], given: str) -> None:
    done = charrnn(*SAMPLE, "--weights", given)
    assert done.status == 2
    assert "must be auto, equal, or numbers" in done.err


def test_the_n_gram_model_of_the_same_text_is_found_beside_a_run(models: tuple[Path, Path]) -> None:
    first, second = models
    assert ngram_beside(first, read_header(first)) == second.absolute()
    moved = second.parent.rename("checkpoints/another")
    assert ngram_beside(first, read_header(first)) == (moved / BEST).absolute()
    other = network("other", split=(50.0, 40.0, 10.0))
    assert ngram_beside(other, read_header(other)) is None
    (moved / BEST).write_bytes(b"damaged")
    assert ngram_beside(first, read_header(first)) is None


def test_an_n_gram_model_of_bytes_does_not_belong_to_a_run_of_characters(models: tuple[Path, Path]) -> None:
    first, second = models
    shutil.rmtree(second.parent)
    done = charrnn("ngram", "text.txt", "--bytes", "--name", "net-ngram", "--split", "60,30,10")
    assert done.status == 0, done.err
    assert ngram_beside(first, read_header(first)) is None


TRAIN = ("train", "text.txt", "--steps", "4", "--hidden", "8", "--split", "60,30,10", "--name", "both")


@pytest.fixture
def text() -> None:
    Path("text.txt").write_text(TEXT)


@pytest.mark.slow
@pytest.mark.usefixtures("text")
def test_training_with_an_n_gram_model_makes_both_and_says_their_losses() -> None:
    done = charrnn(*TRAIN, "--with-ngram")
    assert (done.status, done.text) == (0, f"checkpoints/both/{BEST}\n"), done.err
    assert "mixed  validation " in done.err
    assert "to sample: charrnn sample both both-ngram\n" in done.err
    assert "-gram model: validation " in done.err
    suggested = [line for line in done.err.splitlines() if ": charrnn train " in line]
    assert len(suggested) == 2  # to train on, and to repeat
    assert all("--with-ngram" in line for line in suggested)
    header = read_header(Path("checkpoints/both-ngram", BEST))
    assert header.corpus == read_header(Path("checkpoints/both", BEST)).corpus
    assert charrnn("sample", "--length", "5").status == 0
    newest = json.loads(charrnn("info", "--json").text)
    assert newest["name"] == "both"  # not the n-gram model


@pytest.mark.slow
@pytest.mark.usefixtures("text")
def test_an_ended_run_gets_its_n_gram_model_later_and_keeps_the_one_it_has() -> None:
    assert charrnn(*TRAIN).status == 0
    for when in ("now", "earlier"):
        done = charrnn("train", "--resume", "both", "--with-ngram")
        assert f"n-gram both-ngram, counted {when}\n" in done.err
        assert "to sample: charrnn sample both both-ngram\n" in done.err
    assert sorted(path.name for path in Path("checkpoints").iterdir()) == ["both", "both-ngram"]


@pytest.mark.slow
@pytest.mark.usefixtures("text")
def test_ctrl_c_while_n_grams_are_counted_keeps_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ngram_build, "fit", interrupt)
    done = charrnn(*TRAIN, "--with-ngram")
    assert (done.status, done.out) == (130, b"")
    assert done.err.endswith("for the n-gram model: charrnn train --resume both --with-ngram\n")
    assert Path("checkpoints/both", BEST).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("text")
def test_a_failure_to_save_the_n_gram_model_says_where_the_network_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CharrnnError("cannot write")

    monkeypatch.setattr(train_ngram, "_build", refuse)
    done = charrnn(*TRAIN, "--with-ngram")
    assert done.status == 1
    assert done.err.splitlines()[-1] == (
        f"charrnn: the network is saved, checkpoints/both/{BEST}; but cannot write"
    )
