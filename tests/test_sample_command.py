"""``charrnn sample`` as its users see it; test_sample.py tests what it generates."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.cli import main
from charrnn.cli.sample_output import Sample, TextWriter
from charrnn.cli.sample_prompts import Prompt
from charrnn.cli.terminal import Terminal
from charrnn.config import ModelConfig
from charrnn.inference.states import Cursor
from charrnn.runs.checkpoint import BEST, Header, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT, Ran, charrnn, random_weights


def sample(*arguments: str, **settings) -> Ran:
    done = charrnn("sample", "--seed", "1", *arguments, **settings)
    assert done.status == 0, done.err
    return done


def lines(*arguments: str, **settings) -> list[dict]:
    return [json.loads(line) for line in sample("--json", *arguments, **settings).out.splitlines()]


def refusal(*arguments: str, status: int = 1, **settings) -> str:
    """The one line that reports a mistake."""
    done = charrnn("sample", *arguments, **settings)
    assert (done.status, done.out) == (status, b""), done.err
    (line,) = (line for line in done.err.splitlines() if not line.startswith("seed "))
    assert "Traceback" not in line
    return line


def model(name: str, symbols: str, byte_level: bool = False, seed: int = 0, **config) -> Path:
    model_config = ModelConfig(**({"layers": 1, "hidden": 6, "embedding": 4} | config))
    folder = Path("checkpoints", name)
    folder.mkdir(parents=True)
    vocabulary = Vocabulary("".join(sorted(set(symbols))), byte_level)
    weights = random_weights(model_config, len(vocabulary), seed)
    save_checkpoint(folder / BEST, Header(model_config, vocabulary), weights)
    return folder / BEST


def test_a_file_gets_what_stdout_gets_and_the_command_succeeds(run: Path) -> None:
    done = sample("--output", "out.txt")
    assert done.out == b""
    assert Path("out.txt").read_bytes() == sample().out
    assert "No space left" in refusal("--output", "/dev/full")


def test_a_file_that_exists_is_refused_before_anything_is_read(run: Path) -> None:
    Path("mine.txt").write_text("mine")
    for path, problem in (
        ("mine.txt", "this file exists: delete it, or name another"),
        (f"checkpoints/tiny/{BEST}", "this file exists: delete it, or name another"),
        (".", "this is a folder: name a file"),
        ("no/out.txt", "there is no folder no"),
    ):
        assert refusal("--prompt-file", "missing", "--output", path) == f"charrnn: --output {path}: {problem}"
    assert Path("mine.txt").read_text() == "mine"
    assert sample("--output", "/dev/null").out == b""


# --- several samples ---


def test_with_batch_1_every_sample_is_exactly_the_one_that_its_index_generates_alone(run: Path) -> None:
    arguments = ("--length", "30", "--prompt", "the", "--scores", "--temperature", "0.5:2")
    several = lines("--count", "5", "--batch", "1", *arguments)
    assert len({line["text"] for line in several}) == 5
    for index, line in enumerate(several):
        assert lines("--index", str(index), *arguments) == [line]


@pytest.mark.parametrize("batch", ["2", "7", "64"])
def test_the_batch_size_changes_samples_by_rounding_only(run: Path, batch: str) -> None:
    arguments = ("--count", "7", "--length", "20", "--stop", "a", "--temperature", "0.5:2")
    for line, exact in zip(
        lines(*arguments, "--batch", batch), lines(*arguments, "--batch", "1"), strict=True
    ):
        assert line | {"log_probability": 0} == exact | {"log_probability": 0}
        assert line["log_probability"] == pytest.approx(exact["log_probability"], abs=1e-3)


def test_one_sample_at_a_time_uses_one_thread(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []
    monkeypatch.setattr("charrnn.cli.sample.one_thread", lambda: calls.append(None))
    sample("--length", "1")
    sample("--length", "1", "--count", "2", "--batch", "1")
    assert len(calls) == 2
    sample("--length", "1", "--count", "2")
    assert len(calls) == 2


def test_a_delimiter_follows_each_of_several_samples_and_no_single_one(run: Path) -> None:
    assert len(sample("--length", "5").text) == len(sample("--length", "5", "--delimiter", "|").text) == 5
    texts = sample("--count", "3", "--length", "5", "--delimiter", r"|\n\0").text.split("|\n\0")
    assert [len(text) for text in texts] == [5, 5, 5, 0]
    assert sample("--count", "2", "--length", "4", "--allow", "a").text == "aaaa\naaaa\n"


def test_each_line_of_prompts_is_continued_in_order(run: Path) -> None:
    prompts = ["the cat", "", "no", "she said"]
    Path("prompts").write_text("\n".join(prompts) + "\n")
    results = lines("--prompts", "prompts", "--length", "9", "--batch", "1")
    assert [line["prompt"] for line in results] == prompts
    assert [line["index"] for line in results] == [0, 1, 2, 3]
    for line in results:
        arguments = ("--prompt", line["prompt"], "--index", str(line["index"]), "--length", "9")
        assert lines(*arguments)[0] == line
    windows = b"\xef\xbb\xbf" + Path("prompts").read_bytes().replace(b"\n", b"\r\n")
    piped = sample("--prompts", "-", "--length", "9", "--batch", "1", stdin=windows)
    assert piped.text == "".join(line["prompt"] + line["text"] + "\n" for line in results)


def test_prompts_from_json_lines_keep_their_other_fields(run: Path) -> None:
    rows = [{"id": 1, "prompt": "the", "tags": ["é"]}, {"prompt": "a\ncat", "id": None, "text": "old"}]
    stdin = "".join(json.dumps(row) + "\n" for row in rows).encode()
    results = lines("--prompts", "-", "--count", "2", "--length", "4", stdin=stdin)
    assert [line["id"] for line in results] == [1, 1, None, None]
    assert results[0]["tags"] == ["é"]
    assert [line["prompt"] for line in results] == ["the", "the", "a\ncat", "a\ncat"]
    assert all(len(line["text"]) == 4 for line in results)
    for second in (
        '{"id": 2}',
        '{"prompt": 2}',
        "[1]",
        '{"prompt": "a", "x": NaN}',
        '{"prompt": "a", "x": 1e999}',
    ):
        stdin = ('{"prompt": "a"}\n' + second + "\n").encode()
        done = charrnn("sample", "--prompts", "-", "--length", "2", "--json", stdin=stdin)
        assert done.status == 1
        assert "--prompts, line 2: not a JSON object" in done.err
    blank = lines("--prompts", "-", "--length", "2", stdin=b'{"prompt": "a"}\n\n{"prompt": "t"}\n\n')
    assert [line["prompt"] for line in blank] == ["a", "t"]


def test_a_line_that_is_too_long_is_not_read_whole(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.cli.sample_prompts.LONGEST_LINE", 1000)
    done = charrnn("sample", "--prompts", "-", stdin=b"a" * 5000)
    assert (done.status, done.out) == (1, b"")
    assert "--prompts, line 1: the line has more than 1,000 bytes" in done.err


def test_a_prompt_without_an_end_is_not_read_whole(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.cli.sample_prompts.LONGEST_PROMPT", 1000)
    done = charrnn("sample", stdin=b"a" * 5000)
    assert (done.status, done.out) == (1, b"")
    assert "--prompt-file -: more than 1,000 characters" in done.err


def test_without_prompts_nothing_is_written(run: Path) -> None:
    assert sample("--prompts", "-", stdin=b"").out == b""


def test_a_wrong_prompt_is_reported_with_the_number_of_its_line(run: Path) -> None:
    assert "--prompts, line 2: '☃'" in refusal("--prompts", "-", stdin="a\n☃\n".encode())
    assert "--prompts, line 1: byte 0xFF at offset 1" in refusal("--prompts", "-", stdin=b"a\xff\n")
    assert "--prompts missing: No such file" in refusal("--prompts", "missing")


def test_a_prompt_file_is_continued_as_the_same_prompt_is(run: Path) -> None:
    Path("prompt.txt").write_bytes(b"the\r\ncat")
    expected = lines("--prompt", "the\ncat", "--length", "9")
    assert lines("--prompt-file", "prompt.txt", "--length", "9") == expected
    assert lines("--prompt-file", "-", "--length", "9", stdin=b"the\ncat") == expected
    assert "--unknown nearest" in refusal("--prompt-file", "-", stdin="the ☃".encode())
    near = sample("--prompt-file", "-", "--unknown", "nearest", "--length", "1", stdin="THÉ".encode())
    assert near.text.startswith("thé")
    Path("prompt.txt").write_bytes(b"a\xff")
    assert "prompt.txt: byte 0xFF at offset 1" in refusal("--prompt-file", "prompt.txt")


def test_a_byte_model_reads_every_byte_of_a_prompt_file(run: Path) -> None:
    model("raw", "".join(map(chr, range(256))), byte_level=True)
    data = "é☃".encode() + b"\xff\r\n"
    assert sample("raw", "--prompt-file", "-", "--length", "1", stdin=data).out.startswith(data)


# --- characters the model does not know ---


def test_characters_outside_the_vocabulary_are_refused_or_skipped_or_replaced(run: Path) -> None:
    assert "--unknown nearest replaces and --unknown skip omits" in refusal("--prompt", "thé ☃")
    skipped = sample("--prompt", "the\u2603 cat", "--unknown", "skip", "--length", "1")
    assert skipped.text.startswith("the cat")
    assert "'☃' is not in the vocabulary: skipped" in skipped.err.splitlines()
    batches = ("--count", "2", "--batch", "1")
    near = sample("--prompt", "“Thé cat À”", "--unknown", "nearest", "--length", "1", *batches)
    assert near.text.startswith('"thé cat a"')
    assert near.err.count("'À' is not in the vocabulary: read as 'a'") == 1
    assert "☃" in refusal("--prompt", "☃", "--unknown", "nearest")


# --- where a sample ends ---


def test_a_stop_string_ends_a_sample_and_is_no_part_of_it(run: Path) -> None:
    stopped = lines("--count", "8", "--stop", "a", "--stop", "t", "--length", "200")
    assert {line["ended"] for line in stopped} == {"stop"}
    assert not any(set("at") & set(line["text"]) for line in stopped)
    kept = lines("--count", "8", "--stop", "a", "--keep-stop", "--length", "400")
    assert {line["ended"] for line in kept} == {"stop"}
    assert all(line["text"].index("a") == len(line["text"]) - 1 for line in kept)
    (line,) = lines("--stop-at-newline", "--length", "1000")
    assert line["ended"] == "stop"
    assert "\n" not in line["text"]


def test_match_generates_only_text_that_matches(run: Path) -> None:
    for line in lines("--count", "6", "--match", r"(the|a) [a-d]+\.", "--length", "20"):
        assert re.fullmatch(r"(the|a) [a-d]+\.", line["text"])
        assert line["ended"] == "match"


@pytest.mark.parametrize("options", [(), ("--beam", "4"), ("--count", "3")], ids=" ".join)
def test_a_sample_without_allowed_characters_ends_early(run: Path, options: tuple[str, ...]) -> None:
    arguments = ("--no-repeat", "1", "--length", "100", *options)
    results = lines(*arguments)
    assert {line["ended"] for line in results} == {"stuck"}
    assert all(len(set(line["text"])) == len(line["text"]) > 1 for line in results)
    note = "ended early: --ban, --allow, --no-repeat or --match exclude every character"
    assert sample(*arguments).err.count(note) == len(results)


def test_ban_and_allow_can_be_given_several_times(run: Path) -> None:
    assert not set("abe") & set(sample("--ban", "a", "--ban", "be", "--length", "300").text)
    assert set(sample("--allow", "a", "--allow", "t", "--length", "100").text) == set("at")


def test_a_strong_repeat_penalty_excludes_the_characters_of_its_window(run: Path) -> None:
    text = sample("--repeat-penalty", "1e30", "--repeat-window", "3", "--length", "200").text
    assert all(len(set(text[start : start + 4])) == 4 for start in range(len(text) - 3))


# --- beams ---


def test_a_search_writes_the_best_first(run: Path) -> None:
    results = lines("--beam", "6", "--count", "6", "--length", "8", "--length-penalty", "0")
    scores = [line["score"] for line in results]
    assert scores == sorted(scores, reverse=True)
    assert all(line["seed"] is None for line in results)
    for line in results:
        assert line["log_probability"] == pytest.approx(line["score"], abs=1e-4)
    assert sample("--beam", "6", "--length", "8").text == results[0]["text"]
    greedy = sample("--temperature", "0", "--length", "30").text
    assert sample("--beam", "1", "--length", "30").text == greedy


def test_each_prompt_has_its_own_search(run: Path) -> None:
    results = lines("--prompts", "-", "--beam", "3", "--count", "2", "--length", "5", stdin=b"the\ncat\n")
    assert [(line["index"], line["prompt"]) for line in results] == [
        (0, "the"),
        (1, "the"),
        (2, "cat"),
        (3, "cat"),
    ]
    alone = lines("--prompt", "cat", "--beam", "3", "--count", "2", "--length", "5")
    assert [line["text"] for line in results[2:]] == [line["text"] for line in alone]


def test_samples_without_replacement_depend_on_the_seed_and_the_index(run: Path) -> None:
    arguments = ("--beam", "8", "--stochastic", "--count", "8", "--length", "3")
    results = [line["text"] for line in lines(*arguments)]
    assert len(set(results)) == 8
    assert [line["text"] for line in lines(*arguments)] == results
    assert [line["text"] for line in lines(*arguments, "--index", "1")] != results


def test_a_search_that_finds_too_few_texts_says_so(run: Path) -> None:
    done = sample("--beam", "9", "--count", "5", "--allow", "ac", "--length", "2")
    assert done.text.count("\n") == 4
    assert done.err == "found 4 of 5 samples: the options allow no more\n"


# --- saved states ---


def test_a_saved_state_continues_the_text(run: Path) -> None:
    whole = sample("--temperature", "0", "--prompt", "the cat", "--length", "30").text
    parts = sample("--temperature", "0", "--prompt", "the cat", "--length", "12", "--save-state", "s").text
    parts += sample("--temperature", "0", "--length", "18", "--load-state", "s", "--save-state", "s").text
    assert parts == whole
    more = sample("--temperature", "0", "--load-state", "s", "--prompt", "no", "--length", "5").text
    assert (
        more == "no" + sample("--temperature", "0", "--prompt", whole + "no", "--length", "5").text[32 + 7 :]
    )


def test_a_state_of_another_model_is_refused_with_the_reason(run: Path) -> None:
    model("other", TEXT + "é", layers=2, seed=3)
    model("gru", TEXT + "é", cell="gru")
    model("letters", "abc")
    sample("tiny", "--length", "3", "--save-state", "s")
    assert "another model: its weights" in refusal("other", "--load-state", "s")
    assert "another model: its cells are 'lstm 2 x 6', this model's 'gru 1 x 6'" in refusal(
        "gru", "--load-state", "s"
    )
    assert "another model" in refusal("letters", "--load-state", "s")
    assert "no saved state at none" in refusal("tiny", "--load-state", "none")
    assert "not a saved state" in refusal("tiny", "--load-state", "checkpoints/tiny/model.safetensors")
    Path("cut").write_bytes(Path("s").read_bytes()[:-7])
    assert "damaged" in refusal("tiny", "--load-state", "cut")
    assert "--save-state nowhere/s: there is no folder nowhere" in refusal(
        "tiny", "--save-state", "nowhere/s", "--length", "2"
    )


def test_only_a_state_is_overwritten_by_a_state(run: Path) -> None:
    Path("novel.txt").write_text(TEXT)
    os.mkfifo("pipe")
    os.symlink("kept", "link")
    Path("empty").touch()
    model_file = "checkpoints/tiny/model.safetensors"
    before = Path(model_file).read_bytes()
    for path in ("novel.txt", "pipe", model_file, "checkpoints", "."):
        done = charrnn("sample", "--save-state", path, "--length", "2")
        assert (done.status, done.out) == (1, b"")
        assert "--save-state overwrites only saved states, give another name" in done.err
    done = charrnn("sample", "--save-state", "", "--length", "2")
    assert (done.status, done.out) == (2, b"")
    assert "--save-state is empty: name a file" in done.err
    assert Path(model_file).read_bytes() == before
    for path in ("kept", "kept", "empty", "link"):
        sample("--save-state", path, "--length", "2")
        sample("--load-state", path, "--length", "2")
    assert Path("link").is_symlink()


@pytest.mark.slow
def test_a_state_is_saved_although_nobody_reads_the_text(run: Path) -> None:
    pipeline = (
        f"{sys.executable} -m charrnn sample --seed 1 --length 9000 --save-state s | head -c 10;"
        " echo ${PIPESTATUS[0]}"
    )
    done = subprocess.run(["bash", "-c", pipeline], capture_output=True, check=True)
    assert done.stdout.endswith(b"0\n")
    whole = sample("--length", "9000", "--save-state", "whole")
    assert whole.status == 0
    assert Path("s").read_bytes() == Path("whole").read_bytes()


def test_a_state_that_cannot_be_saved_is_refused_before_anything_is_generated(run: Path) -> None:
    done = charrnn("sample", "--save-state", "nowhere/s", "--length", "2")
    assert (done.status, done.out) == (1, b"")
    assert "--save-state nowhere/s: there is no folder nowhere" in done.err


def test_a_long_prompt_is_reported_and_changes_no_sample(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--prompt", TEXT, "--length", "20", "--temperature", "0")
    short = sample(*arguments)
    monkeypatch.setattr("charrnn.cli.sample_prompts.LONG_PROMPT", 1000)
    long = sample(*arguments)
    assert long.out == short.out
    note = "reading a prompt of 1,920 characters; --save-state and --load-state avoid reading it again\n"
    assert long.err == note
    several = sample(*arguments, "--count", "3", "--batch", "1", "--no-echo")
    assert several.err == note, "the prompt is read once for all batches"
    assert several.out == 3 * (short.out.removeprefix(TEXT.encode()) + b"\n")


# --- several models ---


def test_models_are_mixed_where_their_vocabularies_are_equal(run: Path) -> None:
    model("other", TEXT + "é", seed=3)
    model("less", TEXT.replace("c", ""))
    arguments = ("--temperature", "0", "--length", "20")
    assert sample("tiny", "other", "--weights", "1,0", *arguments).text == sample("tiny", *arguments).text
    assert sample("tiny", "other", "--weights", "0,2", *arguments).text == sample("other", *arguments).text
    assert len(sample("tiny", "other", *arguments).text) == 20
    line = refusal("tiny", "less", status=2)
    assert "less lacks 'c'" in line
    assert "'é'" in line
    assert "--weights 1: must be 2 numbers" in refusal("tiny", "other", "--weights", "1", status=2)
    assert "--weights a,b: must be auto, equal, or numbers" in refusal("--weights", "a,b", status=2)
    sample("tiny", "other", "--length", "3", "--save-state", "s")
    assert (
        len(sample("tiny", "other", "--length", "3", "--load-state", "s", "--weights", "0.1,0.9").text) == 3
    )


# --- scores, colours and copies ---


def test_scores_are_of_the_unmodified_model_and_add_up(run: Path) -> None:
    (line,) = lines("--scores", "--length", "30", "--temperature", "0.3", "--top-k", "3")
    assert len(line["log_probabilities"]) == 30
    assert sum(line["log_probabilities"]) == pytest.approx(line["log_probability"], abs=1e-4)
    (again,) = lines("--scores", "--match", re.escape(line["text"]), "--length", "30")
    assert again["text"] == line["text"]
    assert again["log_probabilities"] == pytest.approx(line["log_probabilities"], abs=1e-3)


def test_colour_shades_a_terminal_and_not_a_pipe(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = sample("--length", "30").text
    assert sample("--length", "30", "--colour", "auto").text == plain
    painted = sample("--length", "30", "--colour", "auto", tty=True).text
    assert len(set(re.findall(r"\x1b\[[\d;]*m", painted)[-30:])) > 2, "shades differ to the end"
    bare = re.sub(r"\x1b\[[\d;]*m", "", painted).replace("\u23ce", "")
    assert bare.partition("\n")[2].rstrip("\n") == plain.rstrip("\n"), "below the legend"
    assert "\x1b[" not in sample("--length", "30", "--color", "never", tty=True).text
    assert "\x1b[" in sample("--length", "30", "--color", "always").text
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in sample("--length", "30", "--colour", "auto").text
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in sample("--length", "30", "--colour", "auto", tty=True).text


def test_novel_reports_the_longest_copied_run(run: Path) -> None:
    Path("corpus.txt").write_text("unlike\n" + TEXT)
    drawn = sample("--length", "60").text
    (line,) = lines("--length", "60", "--novel", "corpus.txt")
    copied = line["copied"]
    corpus = Path("corpus.txt").read_text()
    assert copied["text"] == drawn[copied["start"] :][: copied["length"]]
    assert corpus.index(copied["text"]) == copied["found"]
    longer = copied["length"] + 1
    assert not any(drawn[start : start + longer] in corpus for start in range(60 - longer + 1))
    done = sample("--length", "60", "--count", "2", "--novel", "corpus.txt")
    assert done.err.count("longest copied run: ") == 2
    assert done.out == sample("--length", "60", "--count", "2").out
    Path("other.txt").write_text("0123")
    assert (
        "no character of the sample occurs in the corpus"
        in sample("--length", "9", "--novel", "other.txt").err
    )


# --- pipes ---

EVERY = "".join(map(chr, [*range(0x20), 0x22, 0x5C, 0x7F, 0x85, 0xA0, 0x2028, 0xD800, 0xFEFF, 0x10FFFF]))


def test_json_lines_are_valid_for_every_character(run: Path) -> None:
    model("every", EVERY)
    results = lines("every", "--count", "20", "--length", "50", "--temperature", "3")
    assert set("".join(line["text"] for line in results)) == set(EVERY)
    assert all(len(line["text"]) == 50 for line in results)


def test_text_has_every_character_of_the_json_line(run: Path) -> None:
    model("every", EVERY)
    (line,) = lines("every", "--length", "50", "--temperature", "3")
    text = sample("every", "--length", "50", "--temperature", "3").out.decode("utf-8", "surrogatepass")
    assert text == line["text"]


@pytest.mark.slow
def test_a_byte_model_writes_whole_characters_only(run: Path) -> None:
    class Watched(io.BytesIO):
        def write(self, data: Any, /) -> int:
            pieces.append(bytes(data))
            return len(data)

    pieces: list[bytes] = []
    symbols = "é☃𝄞a".encode().decode("latin-1")
    model("raw", symbols, byte_level=True)
    arguments = ["sample", "raw", "--length", "20", "--match", "[é☃𝄞a]+", "--seed"]
    for seed in range(8):
        assert main([*arguments, str(seed)], Terminal(io.BytesIO(), Watched(), io.StringIO())) == 0
    text = b"".join(pieces).decode()
    assert set(text) <= set("é☃𝄞a")
    assert len(set(text)) > 1
    for piece in pieces:
        piece.decode()


@given(st.lists(st.binary(max_size=4), max_size=6))
def test_a_text_writer_writes_all_bytes_and_holds_at_most_three_back(pieces: list[bytes]) -> None:
    out = io.BytesIO()
    no_ids = np.empty(0, np.int64)
    vocabulary = Vocabulary("".join(map(chr, range(256))), byte_level=True)
    writer = TextWriter(Terminal(io.BytesIO(), out, io.StringIO()), vocabulary, None, "|", False, False)
    part = Sample(Prompt("", no_ids, Cursor(no_ids, ())), 0, 0)
    given_bytes = b""
    for piece in pieces:
        part.ids += list(piece)
        given_bytes += piece
        writer.update(part)
        assert given_bytes.startswith(out.getvalue())
        assert len(given_bytes) - len(out.getvalue()) <= 3
    writer.end(part)
    assert out.getvalue() == given_bytes + b"|"


@pytest.mark.slow
def test_a_closed_pipe_ends_several_samples_quietly(run: Path) -> None:
    for options in (
        "--count 100000 --stop-at-newline",
        "--json --count 100000 --length 9",
        "--beam 4 --length 0",
    ):
        pipeline = (
            f"{sys.executable} -m charrnn sample --seed 1 {options} | head -c 60; echo ${{PIPESTATUS[0]}}"
        )
        done = subprocess.run(["bash", "-c", pipeline], capture_output=True, check=True)
        assert done.stdout.endswith(b"0\n")
        assert len(done.stdout) == 62
        assert done.stderr in (b"", b"seed 1\n")


def test_with_batch_1_a_prompt_is_answered_before_the_next_is_read(run: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "charrnn",
        "sample",
        "--prompts",
        "-",
        "--batch",
        "1",
        "--stop-at-newline",
    ]
    with subprocess.Popen(
        [*command, "--seed", "1", "--length", "20", "--ban", "\n"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as talk:  # fmt: skip
        assert talk.stdin
        assert talk.stdout
        for prompt in ("the", "cat", "no"):
            talk.stdin.write(prompt.encode() + b"\n")
            talk.stdin.flush()
            assert talk.stdout.readline().decode().startswith(prompt)
        talk.stdin.close()
        assert talk.wait() == 0


def test_a_line_is_flushed_while_other_samples_are_generated(run: Path) -> None:
    class Pipe(io.BytesIO):
        def flush(self) -> None:
            flushed.append(len(self.getvalue()))

    flushed: list[int] = []
    ticks = itertools.count()
    terminal = Terminal(io.BytesIO(), Pipe(), io.StringIO(), clock=lambda: next(ticks) * 0.01)
    endings = [len(line["text"]) for line in lines("--count", "40", "--length", "400", "--stop", "c")]
    pairs = itertools.pairwise(endings)
    index = next(number for number, (size, next_size) in enumerate(pairs) if size + 50 < next_size)
    arguments = ["--seed", "1", "--index", str(index), "--count", "2", "--length", "400", "--stop", "c"]
    assert main(["sample", "--json", *arguments], terminal) == 0
    assert any(0 < size < flushed[-1] for size in flushed)


# --- mistakes ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--ban", "".join(sorted(set(TEXT) | {"é"}))], "exclude every character"),
        (["--allow", ""], "exclude every character"),
        (["--match", "[0-9]+"], "--match [0-9]+"),
        (["--match", "("], "must be a valid regular expression"),
        (["--match", "a{30}", "--length", "20"], "--match a{30}"),
        (["--stop", "☃"], "--stop '☃' can never be generated"),
        (["--stop", ""], "--stop ''"),
        (["--min-length", "20", "--length", "10"], "--min-length 20"),
        (["--no-repeat", "2", "--length", "0"], "--no-repeat"),
        (["--temperature", "1:2", "--length", "0"], "--temperature 1:2"),
        (["--temperature", "1:-2"], "--temperature -2"),
        (["--min-p", "2"], "--min-p 2"),
        (["--typical", "0"], "--typical 0"),
        (["--repeat-penalty", "0"], "--repeat-penalty 0"),
        (["--count", "2", "--length", "0"], "--count: with --length 0 no sample ends"),
        (["--prompts", "-", "--length", "0"], "--prompts: with --length 0"),
        (["--json", "--length", "0"], "--json: with --length 0"),
        (["--scores", "--length", "0"], "--scores: with --length 0"),
        (["--novel", "corpus.txt", "--length", "0"], "--novel: with --length 0"),
        (["--save-state", "s", "--length", "0"], "--save-state: with --length 0"),
        (["--save-state", "s", "--count", "2"], "--save-state and --count: a state file holds one sample"),
        (["--save-state", "s", "--prompts", "-"], "--save-state and --prompts"),
        (["--prompt", "a", "--prompt-file", "-"], "--prompt and --prompt-file: give only one of them"),
        (["--prompt", "", "--prompts", "-"], "--prompt and --prompts: give only one of them"),
        (["--prompt-file", "-", "--prompts", "-"], "--prompt-file and --prompts: give only one of them"),
        (["--diverse", "2"], "--diverse has no effect without --beam"),
        (["--stochastic"], "--stochastic has no effect without --beam"),
        (["--length-penalty", "1"], "--length-penalty has no effect without --beam"),
        (["--beam", "4", "--diversity", "1"], "--diversity has no effect without --diverse"),
        (["--beam", "4", "--stochastic", "--length-penalty", "1"], "--stochastic and --length-penalty"),
        (["--keep-stop"], "--keep-stop has no effect without --stop or --stop-at-newline"),
        (["--repeat-window", "9"], "--repeat-window has no effect without --repeat-penalty"),
        (["--colour", "always", "--json"], "--json and --colour: JSON has no colours"),
        (["--delimiter", "|", "--scores"], "--json and --delimiter"),
        (["--beam", "0"], "--beam 0"),
        (["--beam", "5000"], "--beam 5000"),
        (["--beam", "4", "--count", "5"], "--count 5"),
        (["--beam", "4", "--length-penalty", "1e300"], "--length-penalty 1e+300"),
        (["--beam", "4", "--diverse", "3"], "--diverse 3"),
        (["--beam", "4", "--diverse", "2", "--stochastic"], "--stochastic and --diverse"),
        (["--beam", "4", "--temperature", "0"], "--temperature 0"),
        (["--novel", "missing"], "no file or folder missing"),
        (["--novel", "tinyshakspeare"], "no file or folder tinyshakspeare; did you mean tinyshakespeare?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_the_option(run: Path, arguments: list[str], says: str) -> None:
    assert says in refusal(*arguments, status=1 if says.startswith("no file") else 2)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--count", "0"),
        ("--batch", "0"),
        ("--batch", str(2**63)),
        ("--repeat-window", str(2**63)),
        ("--repeat-window", "0"),
        ("--unknown", "guess"),
        ("--index", "-1"),
        ("--temperature", "a"),
        ("--temperature", "1:2:3"),
        ("--temperature", "1:"),
        ("--weights", "0.5;0.5"),
    ],
)
def test_a_wrong_value_of_an_option_is_one_line_and_exit_2(run: Path, option: str, value: str) -> None:
    assert f"{option} {shlex.quote(value)}: must be" in refusal(option, value, status=2)


def test_an_option_with_its_default_value_fits_any_other(run: Path) -> None:
    options = ("--diverse", "1", "--length-penalty", "0.6", "--repeat-window", "64", "--count", "1")
    assert (
        sample(*options, "--stop", "c", "--length", "0").text == sample("--stop", "c", "--length", "0").text
    )


def test_weights_that_are_not_finite_are_refused_by_name(run: Path) -> None:
    config = ModelConfig(layers=1, hidden=6, embedding=4)
    weights = random_weights(config, 3)
    weights["readout.bias"][:] = np.nan
    folder = Path("checkpoints", "nan")
    folder.mkdir()
    save_checkpoint(folder / BEST, Header(config, Vocabulary("abc")), weights)
    assert "readout.bias" in refusal("nan")


def test_a_vocabulary_without_a_newline_can_be_sampled(run: Path) -> None:
    model("letters", "abc")
    assert set(sample("letters", "--length", "50").text) == set("abc")
    assert "--stop '\\n' can never be generated" in refusal("letters", "--stop-at-newline", status=2)


def test_a_beam_wider_than_the_vocabulary_finds_all_texts(run: Path) -> None:
    model("letters", "abc")
    texts = [line["text"] for line in lines("letters", "--beam", "100", "--count", "27", "--length", "3")]
    assert sorted(texts) == ["".join(letters) for letters in itertools.product("abc", repeat=3)]


@pytest.mark.slow
def test_the_locale_changes_nothing(run: Path) -> None:
    arguments = ("--seed", "1", "--length", "20", "--stop", "é", "--prompt", "é")
    expected = charrnn("sample", *arguments).out
    assert expected.startswith("é".encode())
    for settings in ({"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        command = [sys.executable, "-m", "charrnn", "sample", *arguments]
        assert subprocess.check_output(command, env=os.environ | settings) == expected


# --- the documentation ---


@pytest.mark.slow
def test_every_example_of_the_sampling_page_runs(run: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "sampling.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for name in ("notes", "better"):
        model(name, "\n" + "".join(map(chr, range(32, 127))))
    Path("novels.txt").write_text(TEXT)
    # The shell says what the arguments are; the commands run here.
    shell = 'charrnn() { printf "%s\\0" "$@" "" >> commands; }; jq() { cat; }\n'
    subprocess.run(["bash", "-ec", shell + "".join(blocks)], input=b"hello\n", check=True)
    commands = Path("commands").read_text().removesuffix("\0\0").split("\0\0")
    shown = "\n" + "".join(blocks)
    assert len(commands) == shown.count("\ncharrnn ") + shown.count("\n  charrnn ")
    for command in commands:
        limit = ["--length", "220"] if command.startswith("sample") else ["--steps", "2", "--hidden", "4"]
        done = charrnn(*command.split("\0"), *limit)
        assert done.status == 0, (command, done.err)
        assert done.out
