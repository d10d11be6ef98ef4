"""``charrnn score`` of a text as one stream, and what it computes."""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.cli import main
from charrnn.cli.options import unescape
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_reader import place_after
from charrnn.config import ModelConfig
from charrnn.errors import DownloadError
from charrnn.inference.choice import Choice, log_softmax
from charrnn.inference.constraints import Constraints
from charrnn.inference.network import CHUNK
from charrnn.inference.pieces import WARM_UP
from charrnn.inference.sample import opening_ids, sample, sample_generator
from charrnn.inference.score import ScoredPiece, log_probabilities, score_stream
from charrnn.inference.score_streams import score_streams
from charrnn.inference.states import Cursor
from charrnn.inference.worst_places import AFTER, BEFORE, NEAR, Place, worst_places
from charrnn.origin import Origin
from charrnn.runs.checkpoint import BEST, Header, read_header, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT, Ran, charrnn, random_weights
from tests.generation_oracles import Table, network

V = 5
LETTERS = Vocabulary("abcde")


def score(*arguments: str, **settings) -> Ran:
    done = charrnn("score", *arguments, **settings)
    assert done.status == 0, done.err
    return done


def record(*arguments: str, **settings) -> dict:
    """The only JSON line."""
    (line,) = score(*arguments, "--json", **settings).out.splitlines()
    fields: dict = json.loads(line)
    return fields


def refusal(*arguments: str, status: int = 1, **settings) -> str:
    """The one line that reports a mistake."""
    done = charrnn("score", *arguments, **settings)
    assert (done.status, done.out) == (status, b""), done.err
    (line,) = done.err.splitlines()
    assert "Traceback" not in line
    return line


def assert_equal(one: dict, other: dict) -> None:
    """Two totals are equal but for rounding."""
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert value == (pytest.approx(other[key], rel=1e-6) if isinstance(value, float) else other[key])


def save_model(name: str, symbols: str, byte_level: bool = False, uniform: bool = False) -> None:
    """A run with random weights, or with zeros."""
    config, vocabulary = ModelConfig(hidden=6, embedding=4), Vocabulary("".join(sorted(symbols)), byte_level)
    weights = random_weights(config, len(vocabulary))
    if uniform:
        weights = {key: np.zeros_like(value) for key, value in weights.items()}
    Path("checkpoints", name).mkdir(parents=True)
    save_checkpoint(Path("checkpoints", name, BEST), Header(config, vocabulary), weights)


def train(*arguments: str) -> None:
    tiny = ["--hidden", "8", "--embedding", "4", "--streams", "4", "--bptt", "16", "--steps", "12"]
    done = charrnn("train", *arguments, *tiny)
    assert done.status == 0, done.err


# --- the score of a stream ---


def test_the_score_is_that_of_one_character_after_another() -> None:
    model, ids = network(), np.random.default_rng(0).integers(0, V, 50)
    state, before, scores = model.start(1), opening_ids(LETTERS), []
    for symbol in ids:
        logits, state = model(before[None], state)
        scores.append(log_softmax(logits[0, 0])[symbol])
        before = np.array([symbol])
    assert np.allclose(log_probabilities(model, LETTERS, ids), scores, atol=1e-6)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 700), max_size=3), st.integers(0, 3))
def test_the_pieces_that_a_text_comes_in_do_not_change_its_score(sizes: list[int], seed: int) -> None:
    model = network(layers=1)
    ids = np.random.default_rng(seed).integers(0, V, sum(sizes))
    pieces = np.split(ids, np.cumsum(sizes))
    whole = list(score_stream(model, [ids], opening_ids(LETTERS)))
    parts = list(score_stream(model, pieces, opening_ids(LETTERS)))
    assert max((len(piece.ids) for piece in whole + parts), default=0) <= CHUNK
    one, other = (
        np.concatenate([np.zeros(0), *(piece.log_probabilities for piece in read)]) for read in (whole, parts)
    )
    assert np.allclose(one, other, atol=1e-6)


def test_the_rank_counts_the_more_probable_characters_and_the_others_leave_out_the_own_one() -> None:
    scores = np.log([[0.1, 0.2, 0.3, 0.4, 0.0 + 1e-9], [0.4, 0.3, 0.1, 0.1, 0.1]])
    piece = ScoredPiece(np.array([2, 0]), scores)
    assert piece.ranks.tolist() == [2, 1]
    assert piece.others(3).tolist()[0] == [3, 1, 0]
    assert piece.others(3).tolist()[1][0] == 1
    assert piece.others(4).tolist()[1].count(0) == 0


@pytest.mark.parametrize("symbols", ["ab", "abcdefg"])
def test_a_uniform_model_needs_log2_v_bits(symbols: str) -> None:
    save_model("uniform", symbols, uniform=True)
    total = record("uniform", stdin=b"abba")
    assert total["bpc"] == pytest.approx(math.log2(len(symbols)), abs=1e-12)
    assert total["perplexity"] == pytest.approx(len(symbols), abs=1e-9)
    assert total["characters"] == 4


@pytest.mark.slow
def test_the_validation_part_scores_what_training_reported() -> None:
    Path("text.txt").write_text(TEXT * 3)
    train("text.txt", "--split", "60,30,10")
    expected = read_header(Path("checkpoints", "text", BEST)).results["validation_nats"]
    total = record("text", "--part", "validation")
    assert total["loss"] == pytest.approx(expected, abs=1e-5)
    assert total["characters"] == int(len(TEXT) * 3 * 0.3)
    streams = record("text", "--part", "validation", "--streams", "3")
    assert streams["loss"] == pytest.approx(expected, abs=1e-5)


def test_what_a_model_writes_scores_about_its_entropy() -> None:
    # each letter is followed by itself (0.9) or by the next one (0.1)
    table = np.eye(V) * 0.9 + np.roll(np.eye(V), 1, 1) * 0.1
    model = Table(np.log(table + 1e-12))
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    cursor = Cursor(opening_ids(LETTERS), model.start(1))
    chunks = sample(model, [cursor], Choice(), Constraints(V, 20_000), [sample_generator(1)])
    written = np.array([symbol for chunk in chunks for symbol in chunk.ids])
    assert -log_probabilities(model, LETTERS, written).mean() == pytest.approx(entropy, abs=0.02)


@pytest.mark.slow
def test_a_sample_pipes_into_score(run: Path) -> None:
    done = charrnn("sample", "tiny", "--seed", "1", "--length", "3000", "--scores", "--json")
    line = json.loads(done.out)
    total = record("tiny", "-", stdin=line["text"].encode())
    assert total["nats"] == pytest.approx(-line["log_probability"], abs=0.05)


# --- pieces that are read at once ---


@given(st.integers(1, 4 * WARM_UP), st.integers(1, 9), st.integers(1, 3))
def test_streams_score_every_character_once(size: int, count: int, workers: int) -> None:
    ids = np.random.default_rng(size).integers(0, V, size)
    model = Table(np.random.default_rng(0).normal(size=(V, V)))  # it remembers one character only
    read: list[int] = []
    result = score_streams(model, ids, opening_ids(LETTERS), count, workers, read.append)
    assert result.nats == pytest.approx(-log_probabilities(model, LETTERS, ids).sum(), abs=1e-6)
    assert result.shift == pytest.approx(0, abs=1e-6)
    assert 1 <= result.pieces <= count
    assert sum(read) == size


class Remembers:
    """A predictor that finds "a" certain once it has read an "e" at any time, and is uniform before."""

    symbols = V

    def start(self, batch: int):
        return ((np.zeros((batch, 1)),),)

    def __call__(self, ids, state, trace=None):
        seen = np.maximum(state[0][0], np.maximum.accumulate(ids == 4, 1))
        logits = np.where(seen[:, :, None] > 0, [50.0, 0, 0, 0, 0], np.zeros(V))
        return logits, ((seen[:, -1:],),)


def test_the_shift_is_what_the_cuts_cost_a_model_that_remembers_what_is_out_of_reach() -> None:
    ids = np.zeros(4 * WARM_UP, np.int64)
    ids[0] = 4
    exact = -log_probabilities(Remembers(), LETTERS, ids).sum()
    result = score_streams(Remembers(), ids, opening_ids(LETTERS), 4)
    assert result.pieces == 4
    # pieces 2 and 3 begin too late to see the "e"; the seam of piece 3 is judged from piece 2, which also
    # missed it, so the shift that is reported is that of piece 2's beginning
    assert result.nats - exact == pytest.approx(2 * WARM_UP * math.log(V), rel=1e-3)
    assert result.shift == pytest.approx(WARM_UP * math.log(V), rel=1e-3)


def test_streams_say_how_much_they_move_the_score(run: Path) -> None:
    text = (TEXT * 2).encode()
    alone = record("tiny", stdin=text)
    done = score("tiny", "--streams", "4", "--json", stdin=text)
    total = json.loads(done.out)
    moved = total["bpc"] - alone["bpc"]
    assert moved == pytest.approx(total["shift_bpc"], abs=1e-6)
    assert "4 pieces at once; the cuts move the score by" in done.err
    assert "the cuts move the score by less than 0.000001" in score("tiny", "--streams", "2", stdin=b"a").err


# --- the baseline ---


def test_the_n_gram_model_beside_the_run_scores_the_same_text(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model("tiny-ngram", "".join({*TEXT, "é"}), uniform=True)
    beside = Path("checkpoints", "tiny-ngram", BEST)
    monkeypatch.setattr("charrnn.runs.find.ngram_beside", lambda path, header: beside)
    Path("a.txt").write_text("the cat sat")
    for streams in ("1", "2"):
        total = record("tiny", "a.txt", "--streams", streams)
        alone = record("tiny-ngram", "a.txt")
        assert total["baseline"]["model"] == "tiny-ngram"
        assert total["baseline"]["nats"] == pytest.approx(alone["nats"])
        assert total["nats"] == pytest.approx(record("tiny", "a.txt")["nats"])
    rows = [row.split() for row in score("tiny", "a.txt", "a.txt").text.splitlines()]
    assert [row[1] for row in rows] == ["MODEL", *["tiny", "tiny-ngram"] * 3]
    assert [row[2] for row in rows] == [
        "CHARACTERS",
        "11",
        "(baseline)",
        "11",
        "(baseline)",
        "22",
        "(baseline)",
    ]


# --- which argument is what ---


def test_arguments_are_checkpoints_until_the_first_that_is_a_text(run: Path) -> None:
    Path("a.txt").write_text("the cat")
    Path("b.txt").write_text("no cat")
    expected = record("tiny", "a.txt")
    for given_name in ("checkpoints/tiny", "checkpoints/tiny/model.safetensors"):
        assert record(given_name, "a.txt") == expected | {"model": "tiny"}
    assert record("a.txt") == expected  # the newest run
    rows = score("tiny", "a.txt", "b.txt").text.splitlines()
    assert [row.split()[0] for row in rows] == ["FILE", "a.txt", "b.txt", "total"]
    first, second, total = map(json.loads, score("tiny", "a.txt", "b.txt", "--json").out.splitlines())
    assert first["nats"] + second["nats"] == pytest.approx(total["nats"])
    assert total["characters"] == len("the catno cat")
    assert "tiny is a checkpoint: give the checkpoints before the texts" in refusal("a.txt", "tiny", status=2)


def test_a_text_with_the_name_of_a_run_is_given_by_its_path(run: Path) -> None:
    Path("tiny").write_text("the cat")
    assert record("tiny", "./tiny")["file"] == "./tiny"
    for arguments in (["tiny"], ["tiny", "./tiny", "tiny"]):
        assert refusal(*arguments, status=2).endswith("; the text of this name is ./tiny")


def test_several_checkpoints_are_mixed(run: Path) -> None:
    assert record("tiny", "tiny", stdin=b"the cat")["bpc"] == pytest.approx(
        record("tiny", stdin=b"the cat")["bpc"]
    )


def test_models_that_do_not_mix_can_be_compared(run: Path) -> None:
    save_model("other", "xyz")
    message = refusal("tiny", "other", stdin=b"the cat", status=2)
    assert message.endswith("--from the other; --compare scores with each of them")


def test_a_wrong_name_gets_the_nearest_checkpoint_or_text(run: Path) -> None:
    Path("notes.txt").write_text("the cat")
    assert "did you mean tiny?" in refusal("tinny", "notes.txt", status=2)
    assert "did you mean notes.txt?" in refusal("tiny", "note.txt", status=2)


def test_without_a_text_the_message_shows_what_to_type(run: Path) -> None:
    assert "charrnn score CHECKPOINT < notes.txt" in refusal("tiny", status=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--lines", "--chars"],
        ["--carry"],
        ["--above", "3"],
        ["--prompt", "x"],
        ["--chars", "--streams", "2"],
        ["--json", "--colour", "always"],
        ["--part", "test", "--unknown", "skip"],
        ["--compare"],
        ["--worst", "0"],
        ["--part", "train"],
    ],
    ids=" ".join,
)
def test_options_that_do_not_go_together_are_a_wrong_command_line(run: Path, arguments: list[str]) -> None:
    refusal("tiny", *arguments, status=2, stdin=b"the cat")


# --- input that cannot be scored ---


def test_an_empty_text_and_one_of_unknown_characters_are_one_clear_line(run: Path) -> None:
    assert "standard input: the text is empty" in refusal("tiny", stdin=b"")
    assert "the model knows none of its characters" in refusal(
        "tiny", "--unknown", "skip", stdin="ßü".encode()
    )
    for mode in ("--chars", "--worst=3", "--html=page.html", "--streams=2"):
        assert "the text is empty" in refusal("tiny", mode, stdin=b"")
    assert not Path("page.html").exists()


def test_a_binary_file_is_one_clear_line(run: Path) -> None:
    Path("image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    assert "image.png: byte 0x89 at offset 0 is not utf-8" in refusal("tiny", "image.png")
    assert "is a folder: give one file" in refusal("tiny", "checkpoints")


def test_unknown_characters_stop_are_skipped_or_read_as_the_nearest_and_are_counted(run: Path) -> None:
    text = "the cät sät\n".encode()
    assert "--unknown nearest replaces and --unknown skip omits" in refusal("tiny", stdin=text)
    done = score("tiny", "--unknown", "skip", "--json", stdin=text)
    assert done.err == "skipped 2 unknown characters: 'ä' (2)\n"
    assert_equal(json.loads(done.out), record("tiny", stdin=b"the ct st\n"))
    done = score("tiny", "--unknown", "nearest", "--json", stdin=text)
    assert done.err == "replaced 2 unknown characters: 'ä' by 'a' (2)\n"
    assert_equal(json.loads(done.out), record("tiny", stdin=b"the cat sat\n"))


def test_a_message_about_an_unknown_character_names_its_text(run: Path) -> None:
    Path("known.txt").write_text("the cat\n")
    Path("unknown.txt").write_text("the cßt\0")
    for unknown, start in (("error", "line 1, column 6: 'ß'"), ("nearest", "'")):
        line = refusal("tiny", "known.txt", "unknown.txt", "--unknown", unknown)
        assert line.startswith(f"charrnn: unknown.txt: {start}")


def test_bytes_that_are_not_utf_8_are_skipped_and_counted(run: Path) -> None:
    text = b"the \xff\xfecat\xc3\n"
    assert "--unknown skip leaves out such bytes" in refusal("tiny", stdin=text)
    done = score("tiny", "--unknown", "skip", "--json", stdin=text)
    assert done.err == "skipped 3 unknown characters: byte 0xFF (1), byte 0xFE (1), byte 0xC3 (1)\n"
    assert_equal(json.loads(done.out), record("tiny", stdin=b"the cat\n"))
    assert "byte 0xFF (1)" in score("tiny", "--lines", "--unknown", "skip", stdin=text).err
    save_model("twin", "".join(set(TEXT)))
    assert "byte 0xFF (1)" in score("tiny", "twin", "--compare", "--unknown", "skip", stdin=text).err


def test_a_page_cannot_replace_a_folder(run: Path) -> None:
    for folder in (".", "/", "checkpoints"):
        assert f"--html {folder}: this is a folder" in refusal("tiny", "--html", folder, stdin=b"the cat")


@given(st.text("ab\n", max_size=30), st.integers(0, 30))
def test_the_place_after_a_text_does_not_depend_on_where_it_is_cut(text: str, cut: int) -> None:
    lines = text.split("\n")
    place = place_after(text[cut:], *place_after(text[:cut], 1, 1))
    assert place == (len(lines), len(lines[-1]) + 1)


def test_an_accent_in_the_next_piece_still_belongs_to_its_letter(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "e\u0301" * 9  # é, which the model knows, as two characters
    for size in (1, 2, 3, 100):
        monkeypatch.setattr("charrnn.text.sources.CHUNK", size)
        assert record("tiny", "--unknown", "nearest", stdin=text.encode())["characters"] == 9


@pytest.mark.parametrize("text", ["a", "é\n", "e\u0301😀a"])
def test_a_byte_level_model_reads_bytes(text: str) -> None:
    save_model("bytes", "".join(map(chr, range(256))), byte_level=True)
    assert record("bytes", stdin=text.encode())["characters"] == len(text.encode())
    rows = [
        json.loads(line) for line in score("bytes", "--chars", "--json", stdin=text.encode()).out.splitlines()
    ]
    assert bytes(row["byte"] for row in rows) == text.encode()


# --- a part of the run's text ---


@pytest.fixture
def trained() -> Path:
    """A run on text.txt, without a test part."""
    Path("text.txt").write_text(TEXT)
    train("text.txt", "--split", "80,20,0")
    return Path("checkpoints", "text")


@pytest.mark.slow
def test_a_part_needs_the_run_s_own_text(trained: Path) -> None:
    assert "text has no test part: it was trained with --split 80,20,0" in refusal("text", "--part", "test")
    expected = record("text", "--part", "validation")
    assert expected["file"] == "text.txt, validation part"
    Path("text.txt").rename("moved.txt")
    command = "give it: charrnn score text --part validation TEXT"
    assert command in refusal("text", "--part", "validation")
    moved = record("text", "--part", "validation", "moved.txt")
    assert moved | {"file": ""} == expected | {"file": ""}
    piped = record("text", "--part", "validation", "-", stdin=TEXT.encode())
    assert piped["nats"] == expected["nats"]
    Path("text.txt").write_text(TEXT + "x")
    assert "is not the text that text learned" in refusal("text", "--part", "validation")


@pytest.mark.slow
def test_a_note_says_which_texts_the_model_has_learned(trained: Path) -> None:
    note = "text learned text.txt, so a new text would have a higher loss\n"
    for options in ([], ["--lines"], ["--chars"]):
        assert note in score("text", "text.txt", *options).err
    Path("other.txt").write_bytes(Path("text.txt").read_bytes()[:50])
    assert "learned" not in score("text", "other.txt").err
    assert "learned" not in score("text", "--part", "validation").err


def test_a_part_needs_to_know_where_the_text_is(run: Path) -> None:
    assert "tiny does not say where its text is" in refusal("tiny", "--part", "test", status=2)


def test_a_part_whose_text_cannot_be_downloaded_says_how_to_give_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DownloadError("tinyshakespeare: cannot fetch")

    monkeypatch.setattr("charrnn.text.catalog.download", refuse)
    line = refusal("shakespeare", "--part", "test")
    assert line.endswith("cannot fetch; give it: charrnn score shakespeare --part test TEXT")


def test_a_part_does_not_wait_for_a_pipe(run: Path) -> None:
    header = read_header(run / BEST)
    origin = Origin(["pipe"]).record()
    header = replace(header, origin=origin, corpus={"name": "pipe", "sha256": "0", "characters": 9})
    save_checkpoint(run / BEST, header, random_weights(header.network, len(header.vocabulary)))
    os.mkfifo("pipe")
    assert "learned a text from a pipe; give it:" in refusal("tiny", "--part", "test", status=2)


@pytest.mark.slow
def test_the_first_input_of_a_part_is_the_character_before_it(trained: Path) -> None:
    rows = score("text", "--part", "validation", "--chars", "--json").out.splitlines()
    stop = int(len(TEXT) * 0.8)
    assert [json.loads(row)["char"] for row in rows] == list(TEXT[stop:])
    # a text that begins with the character before: from its second character on nearly the same reading
    whole = score("text", "--chars", "--json", stdin=("\n" + TEXT[stop - 1 :]).encode()).out.splitlines()
    assert json.loads(rows[0])["rank"] >= 1
    assert len(whole) == len(rows) + 2


# --- characters ---


def test_the_characters_have_probabilities_ranks_and_alternatives(run: Path) -> None:
    text = "the cat\n"
    rows = [
        json.loads(line) for line in score("tiny", "--chars", "--json", stdin=text.encode()).out.splitlines()
    ]
    assert "".join(row["char"] for row in rows) == text
    total = record("tiny", stdin=text.encode())
    assert sum(row["bits"] for row in rows) / len(rows) == pytest.approx(total["bpc"], abs=1e-4)
    for row in rows:
        assert row["probability"] == pytest.approx(2 ** -row["bits"], rel=1e-4)
        likelier = [other for other in row["alternatives"] if other["probability"] > row["probability"]]
        assert len(likelier) == min(3, row["rank"] - 1)
        assert row["char"] not in [other["char"] for other in row["alternatives"]]


def test_the_tsv_of_characters_gives_the_text_back() -> None:
    text = "a\tb\\n\nc \0"
    save_model("odd", "".join(set(text)))
    lines = score("odd", "--chars", stdin=text.encode()).text.split("\n")[1:-1]
    cells = [line.split("\t") for line in lines]
    assert all(len(row) == 10 for row in cells)
    assert "".join(unescape(row[0]) for row in cells) == text


@pytest.mark.slow
@pytest.mark.parametrize("mode", [["--chars"], ["--colour", "always"], []], ids=str)
def test_a_closed_pipe_is_quiet(run: Path, mode: list[str]) -> None:
    Path("long.txt").write_text(TEXT * 20)
    command = [sys.executable, "-m", "charrnn", "score", "tiny", "long.txt", *mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(1 if mode else 0)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_full_disk_is_one_line(run: Path) -> None:
    assert "No space left" in refusal("tiny", "--html", "/dev/full", stdin=b"the cat")
    assert "there is no folder no" in refusal("tiny", "--html", "no/page.html", stdin=b"the cat")


# --- shades and pages ---


def test_only_with_colour_is_the_text_on_stdout_shaded(run: Path) -> None:
    shaded = score("tiny", "--colour", "always", stdin=b"the cat\n")
    legend, text = re.sub(r"\x1b\[[\d;]*m", "", shaded.text).split("\n", 1)
    assert legend.startswith("bits of surprise")
    assert text.replace("⏎", "") == "the cat\n"
    assert "8 characters" in shaded.err
    assert b"\x1b" not in score("tiny", stdin=b"the cat\n", tty=True).out
    shaded = score("tiny", "--colour", "always", stdin=b"the cat", tty=True)
    assert shaded.out.endswith(b"\n")  # so that the note below the text has a line of its own


class Page(HTMLParser):
    """The characters of a page, and what is said of each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.characters = ""
        self.about: list[str | None] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        if "data-about" in dict(attrs):
            self.about.append(dict(attrs)["data-about"])

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "i" and len(self.about) > len(self.characters):
            self.characters += data


@pytest.mark.parametrize("byte_level", [False, True])
def test_the_page_has_every_character_of_the_text_escaped(byte_level: bool) -> None:
    text = "<script>alert(\"&amp;\")</script>\n\n'é'\t"
    save_model("html", "".join(map(chr, range(256))) if byte_level else "".join(set(text)), byte_level)
    done = score("html", "--html", "page.html", stdin=text.encode())
    assert done.text.startswith("FILE")
    page = Path("page.html").read_text()
    read = Page(page)
    assert read.characters == text
    assert len(read.about) == len(text)
    assert read.tags.count("script") == 1
    assert not re.search(r"https?:|src=|url\(|@import", page)
    assert "bits per character" in page
    assert "color-scheme: light dark" in page


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_text() -> None:
    def most(pieces: int) -> int:
        model = Table(np.zeros((V, V)))
        tracemalloc.start()
        for _ in score_stream(model, (np.zeros(10_000, np.int64) for _ in range(pieces)), np.zeros(1, int)):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert most(100) < 1.1 * most(10) + 100_000


# --- the most surprising places ---


def expected_places(piece: ScoredPiece, count: int) -> list[tuple[float, int]]:
    """(surprise, position) of the places, by looking at every character."""
    nats = -piece.log_probabilities
    found = []
    for position in range(len(nats)):
        start = max(0, position - NEAR)
        if nats[start : position + NEAR + 1].argmax() == position - start:
            found.append((nats[position], position))
    return sorted(found, key=lambda place: (-place[0], place[1]))[:count]


def cut(piece: ScoredPiece, size: int) -> Iterator[ScoredPiece]:
    for start in range(0, len(piece.ids), size):
        yield ScoredPiece(piece.ids[start : start + size], piece.scores[start : start + size])


@given(st.integers(0, 600), st.integers(1, 300), st.integers(1, 6), st.integers(0, 99))
def test_the_worst_places_are_found_wherever_the_text_is_cut(
    length: int, size: int, count: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, V, length)
    whole = ScoredPiece(ids, np.log(generator.dirichlet(np.ones(V), length)).reshape(-1, V))
    places = worst_places(cut(whole, size), count, 2, newline=3)
    assert [(place.nats, place.position) for place in places] == expected_places(whole, count)
    for place in places:
        check_place(place, ids.tolist())


def check_place(place: Place, ids: list[int]) -> None:
    """The place says where it is and what is around it."""
    before = ids[: place.position]
    assert (place.line, place.column) == (before.count(3) + 1, [3, *before][::-1].index(3) + 1)
    assert place.symbol == ids[place.position]
    assert place.before.tolist() == before[-BEFORE:]
    assert place.after.tolist() == ids[place.position + 1 : place.position + 1 + AFTER]


def test_the_worst_places_are_far_apart_and_show_their_context(run: Path) -> None:
    done = score("tiny", "--worst", "4", "--json", stdin=TEXT.encode())
    rows = [json.loads(line) for line in done.out.splitlines()]
    lines = TEXT.split("\n")
    assert len(rows) == 4
    assert [row["bits"] for row in rows] == sorted((row["bits"] for row in rows), reverse=True)
    for row in rows:
        assert (lines[row["line"] - 1] + "\n")[row["column"] - 1] == row["char"]
        assert row["before"] + row["char"] + row["after"] in TEXT
    table = score("tiny", "--worst", "4", stdin=TEXT.encode()).text
    assert table.splitlines()[0].split()[:3] == ["BITS", "LINE", "COLUMN"]


def test_characters_are_written_while_the_input_pauses(run: Path) -> None:
    """A stream that has bytes, pauses and ends: what has come is written before the pause ends."""
    out = io.BytesIO()

    class Slow(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            data = super().read1(4)
            if self.tell() == 8 and data:
                written.append(out.getvalue().count(b"\n"))
            return data

    written: list[int] = []
    terminal = Terminal(Slow(b"the cat\n"), out, io.StringIO(), stdin_piped=True)
    assert main(["score", "tiny", "--chars"], terminal) == 0
    assert written == [1 + 4]  # the header, and the first four characters


PAGE = (Path(__file__).parent.parent / "docs" / "scoring.md").read_text().partition("\n## Lines\n")[0]


@pytest.mark.slow
@pytest.mark.parametrize("block", re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
def test_the_commands_of_the_page_work(block: str) -> None:
    Path("notes.txt").write_text(TEXT.replace('"', "'"))
    function = f'charrnn() {{ "{sys.executable}" -m charrnn "$@"; }}; jq() {{ cat; }}; '
    done = subprocess.run(["bash", "-ec", function + block], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "charrnn:" not in done.stderr
