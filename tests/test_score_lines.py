"""Scores of lines: inference, and the command with --lines, --compare and --candidates."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import select
import shutil
import threading
import tracemalloc
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import charrnn as library
from charrnn.cli import main, score_line_reader
from charrnn.cli import score_lines as command
from charrnn.cli.reading_options import Unknown
from charrnn.cli.score_compare import Comparison
from charrnn.cli.score_input import Model
from charrnn.cli.score_line_reader import Line, windows
from charrnn.cli.score_output import Score
from charrnn.cli.table import escaped
from charrnn.cli.terminal import Terminal
from charrnn.config import ModelConfig
from charrnn.errors import CheckpointError
from charrnn.inference import ngram_counts, score_lines
from charrnn.inference.mixing import Mixing
from charrnn.inference.mixture import Mixture
from charrnn.inference.network import Predictor
from charrnn.inference.score_lines import score_carried
from charrnn.inference.states import Cursor
from charrnn.runs.checkpoint import BEST, Header, save_checkpoint
from charrnn.text import sources
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT, Ran, charrnn, random_weights
from tests.generation_oracles import Table, network, softmax

V = 5
NETWORK = network(symbols=V)
NGRAM = ngram_counts.build(np.random.default_rng(0).integers(0, V, 300), V, 4)
PREDICTORS = {
    "network": NETWORK,
    "n-gram model": NGRAM,
    "mixture": Mixture([NETWORK, NGRAM], Mixing.constant([1, 2])),
}
texts = st.lists(st.lists(st.integers(0, V - 1), max_size=9), max_size=12)
predictors = pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)


def arrays(lines: list[list[int]]) -> list[np.ndarray]:
    return [np.array(line, np.uint8) for line in lines]


def begin(predictor: Predictor) -> Cursor:
    return Cursor(np.array([1]), predictor.start(1))


def alone(predictor: Predictor, line: list[int]) -> float:
    """The log-probability of a line, read at once."""
    logits, _ = predictor(np.array([[1, *line]]), predictor.start(1))
    return math.fsum(math.log(row[i]) for row, i in zip(softmax(logits[0]), line, strict=False))


@pytest.mark.slow
@settings(max_examples=25)
@predictors
@given(lines=texts, batch=st.sampled_from([1, 2, 64]), positions=st.sampled_from([1, 7, 2048]))
def test_a_line_in_a_batch_scores_as_it_does_alone_and_in_its_order(
    predictor: Predictor, lines: list[list[int]], batch: int, positions: int
) -> None:
    with patch.object(score_lines, "BATCH", batch), patch.object(score_lines, "POSITIONS", positions):
        scores = score_lines.score_lines(predictor, arrays(lines), begin(predictor))
    np.testing.assert_allclose(scores, [alone(predictor, line) for line in lines], atol=1e-5)


@pytest.mark.slow
@settings(max_examples=25)
@predictors
@given(lines=texts, cut=st.integers(0, 12), chunk=st.sampled_from([1, 4, 512]))
def test_carried_lines_score_as_one_text_however_they_are_grouped(
    predictor: Predictor, lines: list[list[int]], cut: int, chunk: int
) -> None:
    with patch.object(score_lines, "CHUNK", chunk):
        first, start = score_carried(predictor, arrays(lines[:cut]), begin(predictor))
        second, _ = score_carried(predictor, arrays(lines[cut:]), start)
    scores = np.concatenate([first, second])
    ends = np.cumsum([len(line) for line in lines])
    text = [symbol for line in lines for symbol in line]
    np.testing.assert_allclose(np.cumsum(scores), [alone(predictor, text[:end]) for end in ends], atol=1e-5)


def test_lines_that_share_a_start_score_the_difference_of_the_texts() -> None:
    prompt = [2, 0, 3]
    _, after = score_carried(NETWORK, arrays([prompt]), begin(NETWORK))
    scores = score_lines.score_lines(NETWORK, arrays([[4], [0, 1, 2], []]), after)
    whole = [alone(NETWORK, prompt + line) for line in ([4], [0, 1, 2], [])]
    np.testing.assert_allclose(scores, np.array(whole) - alone(NETWORK, prompt), atol=1e-5)


def test_a_start_is_not_changed_by_the_lines_after_it() -> None:
    start = begin(NETWORK)
    before = [array.copy() for layer in start.state for array in layer]
    first = score_lines.score_lines(NETWORK, arrays([[1, 2]] * 3), start)
    np.testing.assert_array_equal(first, score_lines.score_lines(NETWORK, arrays([[1, 2]] * 3), start))
    for array, copy in zip((array for layer in start.state for array in layer), before, strict=True):
        np.testing.assert_array_equal(array, copy)


class Counting(Table):
    """A uniform predictor that notes the largest call, in characters, and how many it reads in all."""

    def __init__(self) -> None:
        super().__init__(np.zeros((V, V)))
        self.largest = self.total = 0

    def __call__(self, ids, state, trace=None):
        self.largest, self.total = max(self.largest, ids.size), self.total + ids.size
        return super().__call__(ids, state, trace)


def test_no_call_is_large_and_no_character_is_read_twice() -> None:
    lines = [np.zeros(length, np.uint8) for length in [100_000, *range(200), 7]]
    counting = Counting()
    scores = score_lines.score_lines(counting, lines, begin(counting))
    np.testing.assert_allclose(scores, [-len(line) * math.log(V) for line in lines])
    assert counting.largest <= score_lines.POSITIONS
    assert counting.total == sum(map(len, lines))


def test_a_character_of_probability_0_makes_a_line_impossible_and_no_other() -> None:
    table = Table(np.where(np.eye(V) == 1, -np.inf, 0.0))  # no character follows itself
    scores = score_lines.score_lines(table, arrays([[2, 2], [2, 3]]), begin(table))
    np.testing.assert_allclose(scores, [-np.inf, -2 * math.log(V - 1)])


def test_without_any_line_there_is_no_score() -> None:
    assert score_lines.score_lines(NETWORK, [], begin(NETWORK)).shape == (0,)
    assert score_carried(NETWORK, [], begin(NETWORK))[0].shape == (0,)


# --- the command ---

LINES = ["the cat sat", "she said", "on the mat.", "", "tttt", "no", "the cat sat"]
PIPED = "".join(f"{line}\n" for line in LINES).encode()


def save_run(name: str, symbols: str, seed: int = 0, byte_level: bool = False) -> None:
    """A run with random weights."""
    config = ModelConfig(layers=1, hidden=5, embedding=3)
    vocabulary = Vocabulary("".join(sorted(set(symbols))), byte_level)
    folder = Path("checkpoints", name)
    folder.mkdir(parents=True)
    save_checkpoint(folder / BEST, Header(config, vocabulary), random_weights(config, len(vocabulary), seed))


@pytest.fixture
def second(run: Path) -> None:
    """A run that knows more characters than the run ``tiny``."""
    save_run("second", TEXT + "éxyz", seed=1)


def score(*arguments: str, stdin: bytes = PIPED) -> Ran:
    done = charrnn("score", *arguments, stdin=stdin)
    assert done.status == 0, done.err
    return done


def rows(*arguments: str, stdin: bytes = PIPED) -> list[dict[str, Any]]:
    """The JSON lines of a command."""
    return [json.loads(line) for line in score(*arguments, "--json", stdin=stdin).text.splitlines()]


def refusal(*arguments: str, stdin: bytes = PIPED, status: int = 1) -> str:
    """The one line on stderr of a command that fails before it writes anything."""
    done = charrnn("score", *arguments, stdin=stdin)
    assert (done.status, done.out) == (status, b""), done.err
    (line,) = done.err.splitlines()
    return line.removeprefix("charrnn: ")


def nats(text: str, model: str = "tiny") -> float:
    """Minus the log-probability of a text."""
    return -math.fsum(library.load(model).log_probabilities(text))


def table(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_each_line_has_a_row_in_its_order_with_its_score_as_a_text_of_its_own(run: Path) -> None:
    result = rows("tiny", "--lines")
    assert [row["text"] for row in result] == LINES
    assert [row["line"] for row in result] == list(range(1, 8))
    for row in result:
        text = row["text"] and row["text"] + "\n"
        assert row["characters"] == len(text)
        assert row["nats"] == pytest.approx(nats(text), abs=1e-3)
        if text:
            assert row["bpc"] == pytest.approx(nats(text) / len(text) / math.log(2), abs=1e-3)
    assert result[3]["bpc"] is None


def test_the_table_has_the_figures_of_the_json_lines(run: Path) -> None:
    header, *cells = table(score("tiny", "--lines").text)
    assert header == ["line", "characters", "nats", "bpc", "text"]
    for row, cell in zip(rows("tiny", "--lines"), cells, strict=True):
        assert cell[0] == str(row["line"])
        assert [float(value) for value in cell[1:3]] == [row["characters"], row["nats"]]
        assert cell[4] == row["text"]


def test_with_several_texts_a_row_names_its_own(run: Path) -> None:
    Path("a.txt").write_text("the\n")
    Path("b.txt").write_text("cat\nsat\n")
    result = rows("tiny", "a.txt", "b.txt", "--lines")
    assert [(row["file"], row["line"]) for row in result] == [("a.txt", 1), ("b.txt", 1), ("b.txt", 2)]
    assert table(score("tiny", "a.txt", "b.txt", "--lines").text)[1][:2] == ["a.txt", "1"]


def test_carried_lines_sum_to_the_score_of_the_text(run: Path) -> None:
    carried = rows("tiny", "--lines", "--carry")
    assert sum(row["nats"] for row in carried) == pytest.approx(nats(PIPED.decode()), abs=1e-2)
    assert sum(row["characters"] for row in carried) == len(PIPED)
    assert carried[6]["nats"] != rows("tiny", "--lines")[6]["nats"]


def test_several_checkpoints_are_mixed(run: Path) -> None:
    save_run("same", TEXT + "é", seed=3)
    mixed = rows("tiny", "same", "--lines")
    assert mixed[0]["nats"] not in (rows("tiny", "--lines")[0]["nats"], rows("same", "--lines")[0]["nats"])


@given(st.binary(max_size=20) | st.text(max_size=20).map(str.encode))
@pytest.mark.slow
def test_a_line_in_a_table_is_one_printable_cell_from_which_its_bytes_can_be_read(data: bytes) -> None:
    cell = escaped(data.decode("utf-8", "surrogateescape"))
    assert cell.isprintable()

    def character(match: re.Match[str]) -> str:
        short = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r", "\\0": "\0"}
        if match[0] in short:
            return short[match[0]]
        return chr(int(match[0][2:], 16) + (0xDC00 if match[0][1] == "x" else 0))

    text = re.sub(r"\\(x..|u....|U.{8}|.)", character, cell)
    assert text.encode("utf-8", "surrogateescape") == data


# --- filters ---


@pytest.mark.parametrize("bound", [0.0, 5.0, 99.0])
def test_below_above_and_equal_are_all_lines_with_characters(run: Path, bound: float) -> None:
    figures = [(row["text"], row["bpc"]) for row in rows("tiny", "--lines") if row["text"]]
    for value in [bound, figures[0][1]]:
        above = score("tiny", "--lines", "--above", str(value)).text.splitlines()
        below = score("tiny", "--lines", "--below", str(value)).text.splitlines()
        assert above == [text for text, bpc in figures if bpc > value]
        assert below == [text for text, bpc in figures if bpc < value]
        assert len(above) + len(below) + sum(bpc == value for _, bpc in figures) == 6


def test_both_bounds_pass_what_lies_between_them(run: Path) -> None:
    bpc = sorted(row["bpc"] for row in rows("tiny", "--lines") if row["text"])
    kept = rows("tiny", "--lines", "--above", str(bpc[0]), "--below", str(bpc[-1]))
    assert sorted(row["bpc"] for row in kept) == [value for value in bpc if bpc[0] < value < bpc[-1]]


def test_sort_is_by_bits_per_character_and_equal_lines_keep_their_order(run: Path) -> None:
    ranked = rows("tiny", "--lines", "--sort")
    scored = [row["bpc"] for row in ranked if row["text"]]
    assert scored == sorted(scored, reverse=True)
    assert ranked[-1]["text"] == ""
    equal = [row["line"] for row in ranked if row["text"] == "the cat sat"]
    assert equal == [1, 7]
    assert [cells[0] for cells in table(score("tiny", "--lines", "--sort").text)[1:]] == [
        str(row["line"]) for row in ranked
    ]


@pytest.mark.parametrize("count", [1, 3, 99])
def test_top_passes_the_least_probable_lines_in_their_order_or_with_sort_ranked(
    run: Path, count: int
) -> None:
    ranked = [row["text"] for row in rows("tiny", "--lines", "--sort")]
    top = score("tiny", "--lines", "--top", str(count)).text.splitlines()
    assert sorted(top) == sorted(ranked[:count])
    assert top == [row["text"] for row in rows("tiny", "--lines", "--top", str(count))]
    positions = [row["line"] for row in rows("tiny", "--lines", "--top", str(count))]
    assert positions == sorted(positions)
    assert score("tiny", "--lines", "--top", str(count), "--sort").text.splitlines() == ranked[:count]


@pytest.mark.parametrize(
    "data", [b"the cat\r\nsat\r\n", b"the\ncat", b"t\xffhe\nc\0at\n", "\ufeffthe\nc…t\n".encode()]
)
def test_a_filter_passes_the_bytes_of_a_line_unchanged(run: Path, data: bytes) -> None:
    done = charrnn("score", "tiny", "--lines", "--below", "99", "--unknown", "skip", stdin=data)
    assert (done.status, done.out) == (0, data)


def test_a_line_that_passes_cannot_steer_a_terminal(run: Path) -> None:
    save_run("bytes", "".join(map(chr, range(256))), byte_level=True)
    data = b"a\x1b]0;title\x07\tb\xc2\x9b\xff\r\nc"
    arguments = ("score", "bytes", "--lines", "--above", "0")
    assert charrnn(*arguments, stdin=data).out == data
    shown = "a\u241b]0;title\u2407\tb\ufffd\ufffd\r\nc\n"
    assert charrnn(*arguments, stdin=data, tty=True).out.decode() == shown


def test_a_last_line_without_a_newline_gets_one_only_where_another_line_follows(run: Path) -> None:
    Path("a.txt").write_bytes(b"the\ncat")
    Path("b.txt").write_bytes(b"sat")
    assert score("tiny", "a.txt", "b.txt", "--lines", "--below", "99").out == b"the\ncat\nsat"


def test_a_newline_a_carriage_return_or_a_byte_order_mark_does_not_change_the_score_of_a_line(
    run: Path,
) -> None:
    texts = (b"cat", b"cat\n", b"cat\r\n", b"\xef\xbb\xbfcat\n")
    scores = {
        row["nats"] for text in texts for row in rows("tiny", "--lines", "--unknown", "skip", stdin=text)
    }
    assert "skipped" not in charrnn("score", "tiny", "--lines", "--unknown", "skip", stdin=texts[-1]).err
    assert len(scores) == 1


def test_lines_that_have_arrived_do_not_wait_for_more() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin:
        lines = windows(Terminal(stdin, io.BytesIO(), io.StringIO()), "-")
        os.write(writing, b"the cat\nsat")
        assert next(lines) == [Line("standard input", 1, b"the cat\n")]
        os.write(writing, b" on\n\nthe")
        assert [line.data for line in next(lines)] == [b"sat on\n", b"\n"]
        os.close(writing)
        assert list(lines) == [[Line("standard input", 4, b"the")]]


def test_a_line_that_passes_is_printed_while_the_input_continues(run: Path) -> None:
    (stdin, feed), (answers, stdout) = os.pipe(), os.pipe()
    with os.fdopen(stdin, "rb") as source, os.fdopen(answers, "rb", 0) as answer:
        terminal = Terminal(source, os.fdopen(stdout, "wb"), io.StringIO(), stdin_piped=True)
        terminal._flush_time = math.inf  # only a pause of the input flushes
        thread = threading.Thread(target=main, args=(["score", "tiny", "--lines", "--above", "0"], terminal))
        thread.start()
        try:
            for line in (b"the cat\n", b"sat\n"):
                os.write(feed, line)
                assert select.select([answer], [], [], 60)[0]
                assert answer.read(99) == line
        finally:
            os.close(feed)
            thread.join()
            terminal.stdout.close()


UNIFORM = Model("uniform", Table(np.zeros((3, 3))), Vocabulary("\nab"))
OPTIONS: dict[str, Any] = {
    **dict.fromkeys(["above", "below", "top"]),
    **dict.fromkeys(["sort", "carry", "as_json"], False),
    "unknown": Unknown.error,
}


def peak(data: bytes, **options: Any) -> int:
    """The most memory, in bytes, that scoring lines takes."""
    Path("long.txt").write_bytes(data)
    with open(os.devnull, "wb") as stdout, patch.object(sources, "CHUNK", 1 << 11):
        out = Terminal(io.BytesIO(), stdout, io.StringIO())
        tracemalloc.start()
        command.write(out, [UNIFORM], ["long.txt"], OPTIONS | options)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"above": 0.1}, {"top": 9}], ids=str)
def test_fifty_times_as_many_lines_take_no_more_memory(options: dict[str, Any]) -> None:
    data = b"ababab\nabab\n" * 300
    peak(data[:100])  # what is imported and cached once
    # The peaks of equal texts differ by up to 1.9 times, with what has been collected by then; 30,000 lines
    # that are kept take more than 15 times as much.
    assert peak(data * 50, **options) < 3 * peak(data, **options)


@pytest.mark.slow
@pytest.mark.parametrize("carry", [False, True])
def test_a_long_line_takes_little_more_memory_than_a_few_copies_of_it(carry: bool) -> None:
    size = 2_000_000
    peak(b"a" * 10)
    assert peak(b"a" * size + b"\n", above=9.0, carry=carry) < 7 * size


def test_a_line_that_would_fill_the_memory_is_refused(run: Path) -> None:
    with patch.object(score_line_reader, "LONGEST_LINE", 9):
        assert refusal("tiny", "--lines", stdin=b"t" * 10).endswith("more than 9 bytes: is it a text?")


# --- unknown characters ---


def test_an_unknown_character_is_an_error_that_names_line_and_column(run: Path) -> None:
    line = refusal("tiny", "--lines", stdin="the\ncaß\n".encode())
    assert line.startswith("standard input, line 2, column 3: 'ß' (U+00DF LATIN SMALL LETTER SHARP S)")
    assert "--unknown skip" in line
    line = refusal("tiny", "--lines", stdin=b"the\nc\xc3\xa9\xff\n")
    assert line.startswith("standard input, line 2, column 3: byte 0xFF is not valid UTF-8")


def test_a_character_far_into_a_line_has_its_column(run: Path) -> None:
    with patch.object(score_line_reader, "BLOCK", 2):
        assert "line 1, column 6" in refusal("tiny", "--lines", stdin=b"the cXt")


def test_unknown_characters_are_skipped_or_replaced_and_counted(run: Path) -> None:
    data = "càt ß\nthe\n".encode()
    for unknown, text in (("skip", "ct "), ("nearest", "cat ss")):
        done = score("tiny", "--lines", "--json", "--unknown", unknown, stdin=data)
        row = json.loads(done.text.splitlines()[0])
        assert row["text"] == "càt ß"
        assert row["nats"] == pytest.approx(nats(text + "\n"), abs=1e-3)
        assert "2 unknown characters" in done.err


def test_a_model_of_bytes_reads_any_bytes(run: Path) -> None:
    save_run("bytes", "".join(map(chr, range(256))), byte_level=True)
    (row,) = rows("bytes", "--lines", stdin=b"\xff\r\x00")
    assert row["characters"] == 4
    assert row["text"].encode("utf-8", "surrogateescape") == b"\xff\r\0"
    save_run("some-bytes", "ab\n", byte_level=True)
    assert "column 2: byte 0xFF" in refusal("some-bytes", "--lines", stdin=b"a\xff")
    assert rows("some-bytes", "--lines", "--unknown", "skip", stdin=b"a\xff\n")[0]["characters"] == 2


def test_a_model_without_a_newline_scores_only_the_characters_of_a_line(run: Path) -> None:
    save_run("flat", "abc")
    (row, empty) = rows("flat", "--lines", stdin=b"cab\n\n")
    assert row["characters"] == 3
    assert row["nats"] == pytest.approx(nats("cab", "flat"), abs=1e-3)
    assert empty["characters"] == 0


# --- comparisons ---


@given(st.lists(st.floats(0, 500), min_size=2, max_size=5))
def test_the_posterior_is_that_of_bayes_and_sums_to_one(nats: list[float]) -> None:
    comparison = Comparison([Score(1, value) for value in nats])
    result = [comparison.verdict(k)["posterior"] for k in range(len(nats))]
    assert sum(result) == pytest.approx(1, abs=1e-5)
    likelihoods = [math.exp(min(nats) - value) for value in nats]
    assert result == pytest.approx([value / sum(likelihoods) for value in likelihoods], rel=1e-5)


def test_a_model_compared_with_its_copy_has_the_ratio_0(run: Path) -> None:
    shutil.copytree("checkpoints/tiny", "checkpoints/twin")
    assert {row["ratio"] for row in rows("tiny", "twin", "--compare", "--lines")} == {0}
    result = rows("tiny", "twin", "--compare")
    assert [(row["ratio"], row["posterior"]) for row in result] == [(0, 0.5)] * 2


def test_the_ratio_of_two_models_is_the_difference_of_their_scores(second: None) -> None:
    done = score("tiny", "second", "--compare", "--lines", "--json")
    result = [json.loads(line) for line in done.text.splitlines()]
    for row, one, other in zip(result, rows("tiny", "--lines"), rows("second", "--lines"), strict=True):
        assert row["ratio"] == pytest.approx(other["nats"] - one["nats"], abs=1e-3)
        assert row["nats"] == {"tiny": one["nats"], "second": other["nats"]}
    swapped = rows("second", "tiny", "--compare", "--lines")
    assert [row["ratio"] for row in swapped] == [0.0 - row["ratio"] for row in result]
    total = sum(row["ratio"] for row in result)
    assert f"{abs(total):,.1f} nats" in done.err
    first = sum(row["ratio"] > 0 for row in result)
    assert f"most probable model of 6 lines: tiny for {first}, second for {6 - first}" in done.err


def test_several_models_label_each_line_by_bayes(second: None) -> None:
    save_run("third", TEXT, seed=2)
    names = ["tiny", "second", "third"]
    result = rows(*names, "--compare", "--lines")
    for row in result:
        scores = list(row["nats"].values())
        if not row["text"]:
            assert (row["model"], row["runner_up"]) == (None, None)
            assert row["posterior"] == pytest.approx(1 / 3, abs=1e-4)
            continue
        likelihoods = [math.exp(min(scores) - value) for value in scores]
        order = sorted(range(3), key=lambda k: scores[k])
        assert (row["model"], row["runner_up"]) == (names[order[0]], names[order[1]])
        assert row["posterior"] == pytest.approx(max(likelihoods) / sum(likelihoods), abs=1e-3)
        assert row["ratio"] == pytest.approx(scores[order[1]] - scores[order[0]], abs=1e-3)
    assert len({row["model"] for row in result if row["text"]}) > 1
    header, first, *_ = table(score(*names, "--compare", "--lines").text)
    assert header[:5] == ["line", "model", "runner_up", "ratio", "posterior"]
    assert header[5:] == ["nats tiny", "nats second", "nats third", "text"]
    assert first[:3] == ["1", result[0]["model"], result[0]["runner_up"]]
    assert [float(figure) for figure in first[3:5]] == [result[0]["ratio"], result[0]["posterior"]]


def test_whole_texts_compare_by_their_scores_as_streams(second: None) -> None:
    Path("a.txt").write_bytes(PIPED)
    Path("b.txt").write_text("no\n")
    result = rows("tiny", "second", "a.txt", "b.txt", "--compare")
    for first, text in ((0, PIPED.decode()), (2, "no\n")):
        one, other = result[first : first + 2]
        for row in (one, other):
            assert row["nats"] == pytest.approx(nats(text, row["model"]), abs=1e-2)
        assert one["ratio"] == pytest.approx(other["nats"] - one["nats"], abs=1e-2) == -other["ratio"]
        assert one["posterior"] + other["posterior"] == pytest.approx(1)
    assert {row["file"] for row in result[4:]} == {"total"}
    assert result[4]["characters"] == len(PIPED) + 3
    assert "RATIO" in score("tiny", "second", "a.txt", "--compare").text


def test_a_comparison_with_skip_leaves_out_what_one_model_does_not_know_for_all(second: None) -> None:
    data = b"the x cat yz\n"
    assert "line 1, column 5: 'x'" in (line := refusal("tiny", "second", "--compare", "--lines", stdin=data))
    assert "symbols of tiny" in line
    done = score("tiny", "second", "--compare", "--lines", "--json", "--unknown", "skip", stdin=data)
    for model, value in json.loads(done.text)["nats"].items():
        assert value == pytest.approx(nats("the  cat \n", model), abs=1e-3)
    assert "skipped 3 characters that not all models know" in done.err


def test_models_of_characters_and_bytes_compare(run: Path) -> None:
    save_run("bytes", TEXT + "".join(map(chr, "é".encode())), byte_level=True)
    result = rows("tiny", "bytes", "--compare", stdin="sé\n".encode())
    assert [row["characters"] for row in result] == [3, 4]


def test_a_model_without_a_newline_and_one_with_it_compare_without_it(run: Path) -> None:
    save_run("flat", TEXT.replace("\n", ""))
    (row,) = rows("tiny", "flat", "--compare", "--lines", stdin=b"cat\n")
    assert row["nats"] == {name: pytest.approx(nats("cat", name), abs=1e-3) for name in ("tiny", "flat")}
    whole = rows("tiny", "flat", "--compare", "--unknown", "skip", stdin=b"cat\n")
    assert [model["characters"] for model in whole] == [3, 3]


# --- candidates ---


def test_candidates_score_the_difference_that_they_make_after_the_prompt(run: Path) -> None:
    prompt, candidates = "the cat", ["sat on", " left", "no", "tt"]
    data = "\n".join(candidates).encode()
    result = rows("tiny", "--candidates", "-", "--prompt", prompt, stdin=data)
    for row in result:
        expected = nats(prompt + row["text"]) - nats(prompt)
        assert row["nats"] == pytest.approx(expected, abs=1e-3)
        assert row["bpc"] == pytest.approx(expected / len(row["text"]) / math.log(2), abs=1e-3)
        assert row["text"] == candidates[row["line"] - 1]
    assert sorted(row["line"] for row in result) == [1, 2, 3, 4]
    assert [row["nats"] for row in result] == sorted(row["nats"] for row in result)
    likelihoods = [math.exp(-row["nats"]) for row in result]
    assert [row["probability"] for row in result] == pytest.approx(
        [value / sum(likelihoods) for value in likelihoods], abs=1e-3
    )


def test_equal_candidates_keep_their_order_and_empty_lines_are_none(run: Path) -> None:
    Path("c.txt").write_bytes(b"no\n\r\nno\r\nno\n")
    header, *cells = table(score("tiny", "--candidates", "c.txt").text)
    assert header == ["line", "characters", "nats", "bpc", "probability", "text"]
    assert [cell[0] for cell in cells] == ["1", "3", "4"]
    assert {(cell[1], cell[4]) for cell in cells} == {("2", "0.333333")}


def test_a_prompt_with_an_unknown_character_is_refused(run: Path) -> None:
    line = refusal("tiny", "--candidates", "-", "--prompt", "thX", stdin=b"no\n")
    assert line.startswith("--prompt, column 3: 'X'")


# --- bad input ---


@pytest.mark.parametrize("arguments", [["tiny", "--lines"], ["tiny", "twin", "--compare", "--lines"]])
def test_an_empty_text_is_refused_and_one_of_empty_lines_is_not(run: Path, arguments: list[str]) -> None:
    shutil.copytree("checkpoints/tiny", "checkpoints/twin")
    assert refusal(*arguments, stdin=b"") == "standard input: the text is empty"
    assert len(rows(*arguments, stdin=b"\n\n\r\n")) == 3


def test_a_text_of_unknown_characters_is_an_error_after_its_rows(run: Path) -> None:
    shutil.copytree("checkpoints/tiny", "checkpoints/twin")
    done = charrnn("score", "tiny", "--lines", "--above", "0", "--unknown", "skip", stdin="ÄÖ\nÜ\n".encode())
    assert (done.status, done.out) == (1, b"")
    assert "standard input: the model knows none of its characters" in done.err
    line = refusal("tiny", "twin", "--compare", "--unknown", "skip", stdin="ÄÖÜ".encode())
    assert line == "standard input: no character is known to all models"
    line = refusal("tiny", "--candidates", "-", "--unknown", "skip", stdin="no\nÄ\n".encode())
    assert line == "--candidates -, line 2: the model knows none of its characters"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("tiny . --lines", 1, ". is a folder: give one file, or -"),
        ("tiny --lines --above nan", 2, "--above nan: must be a number from 0 up"),
        ("tiny --lines --below -1", 2, "--below -1: must be a number from 0 up"),
        ("tiny --lines --above 3 --below 2", 2, "--above 3 --below 2: no number is above 3 and below 2"),
        ("tiny --above 3", 2, "--above has no effect without --lines"),
        ("tiny tiny --compare --lines --sort", 2, "--compare and --sort: "),
        ("tiny tiny --compare --lines --top 3", 2, "--compare and --top: "),
        ("tiny --candidates - --lines", 2, "--lines and --candidates: "),
        ("tiny tiny --compare", 2, "--compare: checkpoints/tiny/model.safetensors is given twice"),
        ("tiny a.txt --candidates -", 2, "a.txt: --candidates reads no other text"),
        ("tiny --candidates missing.txt", 1, "no file or folder missing.txt"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(
    run: Path, arguments: str, status: int, message: str
) -> None:
    Path("a.txt").touch()
    assert refusal(*arguments.split(), status=status).startswith(message)


def test_a_model_whose_logits_are_not_numbers_is_refused() -> None:
    damaged = UNIFORM._replace(predictor=Table(np.full((3, 3), np.nan)))
    Path("a.txt").write_text("ab\n")
    with pytest.raises(CheckpointError, match=r"^uniform: the model's logits are not finite"):
        command.write(Terminal.muted(), [damaged], ["a.txt"], OPTIONS)


def test_a_file_without_candidates_is_refused(run: Path) -> None:
    assert "has no candidates" in refusal("tiny", "--candidates", "-", stdin=b"\n\r\n")
    assert "--candidates is empty" in refusal("tiny", "--candidates", "", status=2)


class Failing(io.BytesIO):
    """A standard output that takes 100 bytes; each further one is an error."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, data: Any) -> int:
        if self.tell() > 100:
            raise self.error
        return super().write(data)


@pytest.mark.parametrize("more", [[], ["--json"], ["--above", "0"], ["--sort"]], ids=str)
def test_a_full_disk_is_one_line_and_a_closed_pipe_is_quiet(run: Path, more: list[str]) -> None:
    for error, status, message in (
        (
            OSError(errno.ENOSPC, "No space left"),
            1,
            "charrnn: cannot write to standard output: No space left\n",
        ),
        (BrokenPipeError(), 0, ""),
    ):
        terminal = Terminal(io.BytesIO(PIPED * 20), Failing(error), io.StringIO(), stdin_piped=True)
        assert main(["score", "tiny", "--lines", *more], terminal) == status
        assert cast(io.StringIO, terminal.stderr).getvalue() == message
