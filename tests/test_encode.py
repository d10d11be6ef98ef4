"""The vector of a text is the state after it, whatever is read beside it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn import cells
from charrnn.api import load
from charrnn.config import ModelConfig
from charrnn.errors import ConfigError
from charrnn.inference.network import Inference
from charrnn.inspection import encode as encoding
from charrnn.inspection.encode import encode, encode_stream, state_parts
from charrnn.inspection.inspect_cell import unit_values
from tests.conftest import TEXT, charrnn, random_weights

V, HIDDEN = 9, 6


def network(cell: str = "lstm") -> Inference:
    config = ModelConfig(cell=cell, layers=2, hidden=HIDDEN, embedding=4)
    return Inference(config, random_weights(config, V))


NETWORK = network()


def states(*arguments: str, stdin: bytes = b"") -> list[dict]:
    """The JSON lines of ``charrnn encode``."""
    return [json.loads(line) for line in charrnn("encode", *arguments, stdin=stdin).text.splitlines()]


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, V - 1), max_size=9), max_size=9), st.integers(1, 4))
def test_a_text_has_the_vector_that_it_has_alone(texts: list[list[int]], batch: int) -> None:
    parts = state_parts(NETWORK, "all", "all")
    arrays = [np.array(text, np.int64) for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "BATCH", batch)
        together = encode(NETWORK, arrays, parts)
    assert together.shape == (len(texts), 4 * HIDDEN)
    for row, ids in zip(together, arrays, strict=True):
        alone, length = encode_stream(NETWORK, np.array_split(ids, 3), parts)
        np.testing.assert_allclose(row, alone, atol=1e-6)
        assert length == len(ids)
        assert row.any() == bool(len(ids)), "an empty text keeps the zeros"


@pytest.mark.parametrize("cell", cells.names())
def test_the_vector_has_the_values_of_all_units_after_the_last_character(cell: str) -> None:
    inference = network(cell)
    ids = np.random.default_rng(0).integers(0, V, 40)
    parts = state_parts(inference, "all", "all")
    assert [layer for layer, _ in parts] == sorted(layer for layer, _ in parts)
    columns = []
    for layer, name in parts:
        (piece,) = unit_values(inference, [ids], layer, range(HIDDEN), name)
        columns.append(piece[1][-1])
    np.testing.assert_allclose(encode(inference, [ids], parts)[0], np.concatenate(columns), atol=1e-6)


def test_the_default_is_the_hidden_state_of_the_highest_layer() -> None:
    assert state_parts(NETWORK, None, "hidden") == [(1, "hidden")]
    assert state_parts(NETWORK, 0, "cell") == state_parts(NETWORK, 0, "memory") == [(0, "memory")]
    assert state_parts(network("gru"), "all", "all") == [(0, "hidden"), (1, "hidden")]


@pytest.mark.parametrize(
    ("cell", "layer", "name", "message"),
    [
        ("lstm", 2, "hidden", "--layer 2: the model has layers 0 to 1"),
        ("lstm", None, "forget", "--of forget: the state of the model's cell has hidden, memory"),
        ("gru", None, "cell", "--of cell: the state of the model's cell has hidden"),
        ("gru", None, "hiden", "did you mean hidden"),
    ],
)
def test_an_unknown_layer_or_part_is_an_error_that_lists_the_known(
    cell: str, layer: int | None, name: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        state_parts(network(cell), layer, name)


# --- the command ---


def test_lines_are_encoded_by_themselves_without_their_newlines(run: Path) -> None:
    rows = states("tiny", "-", "--lines", stdin=b"the cat\n\nsat\nthe cat")
    assert [(row["line"], row["text"]) for row in rows] == [
        (1, "the cat"), (2, ""), (3, "sat"), (4, "the cat")
    ]  # fmt: skip
    assert rows[0]["state"] == rows[3]["state"] != rows[2]["state"]
    assert set(rows[1]["state"]) == {0.0}
    (whole,) = states("tiny", "-", stdin=b"the cat")
    assert whole["state"] == pytest.approx(rows[0]["state"], abs=2e-6)


def test_each_of_several_texts_is_encoded_from_the_state_of_zeros(run: Path) -> None:
    for name, text in (("a", TEXT), ("b", "the cat"), ("c", TEXT)):
        Path(f"{name}.txt").write_text(text)
    first, second, third = states("tiny", "a.txt", "b.txt", "c.txt")
    assert (first["file"], first["characters"]) == ("a.txt", len(TEXT))
    assert first["state"] == third["state"] != second["state"]
    files = [row["file"] for row in states("tiny", "a.txt", "b.txt", "--lines")]
    assert files == ["a.txt"] * len(TEXT.splitlines()) + ["b.txt"]


@pytest.mark.parametrize("options", [[], ["--lines"], ["--lines", "--layer", "all", "--of", "all"]])
def test_the_array_has_the_rows_of_the_json_lines(run: Path, options: list[str]) -> None:
    Path("a.txt").write_text(TEXT)
    done = charrnn("encode", "tiny", "a.txt", *options, "--output", "a.npy")
    assert (done.out, done.err) == (b"", "wrote a.npy\n")
    array = np.load("a.npy")
    rows = [row["state"] for row in states("tiny", "a.txt", *options)]
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, rows, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["empty.txt"], 1, "empty.txt: the text is empty"),
        (["empty.txt", "--lines"], 1, "empty.txt: the text is empty"),
        (["empty.txt", "--lines", "-o", "b.npy"], 1, "empty.txt: the text is empty"),
        (["new.txt"], 1, "new.txt: line 1, column 1: 'Z' (U+005A LATIN CAPITAL LETTER Z) is not"),
        (["new.txt", "--lines"], 1, "new.txt, line 1, column 1: 'Z' (U+005A LATIN CAPITAL LETTER Z) is not"),
        (["new.txt", "--unknown", "skip"], 1, "new.txt: the model knows none of its characters"),
        (["a.txt", "-o", "a.npy"], 1, "--output a.npy: this file exists: delete it, or name another"),
        (["a.txt", "-o", "a.json"], 2, "--output a.json: the name must end with .npy"),
        (["a.txt", "-o", "no/a.npy"], 1, "--output no/a.npy: there is no folder no"),
        (["tiny", "a.txt"], 2, "tiny: give one checkpoint"),
        (["a.txt", "--layer", "1.5"], 2, "--layer 1.5: must be all, or the number of a layer"),
        ([], 2, "no text to encode: name a file, or pipe one in: charrnn encode CHECKPOINT < notes.txt"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(
    run: Path, arguments: list[str], status: int, message: str
) -> None:
    for name, text in (("a.txt", TEXT), ("empty.txt", ""), ("new.txt", "ZZ"), ("a.npy", "mine")):
        Path(name).write_text(text)
    done = charrnn("encode", "tiny", *arguments)
    assert done.status == status
    assert done.err.startswith(f"charrnn: {message}")
    assert done.err.count("\n") == 1
    assert done.out == b""
    assert not list(Path().glob("*b.npy*"))
    assert Path("a.npy").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_that_ends_the_process_leaves_no_temporary_file(
    run: Path, number: signal.Signals, status: int
) -> None:
    command = [sys.executable, "-m", "charrnn", "encode", "tiny", "-", "--lines", "-o", "a.npy"]
    before = set(Path().iterdir())
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not list(Path().glob(".a.npy.*")):  # stdin stays open: the command waits for lines
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait() == status
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert set(Path().iterdir()) == before


def test_python_gives_the_array_of_the_command(run: Path) -> None:
    model = load("tiny")
    lines = ["the cat", "", "sat"]
    expected = [row["state"] for row in states("tiny", "-", "--lines", stdin="\n".join(lines).encode())]
    np.testing.assert_allclose(model.encode(lines), expected, atol=1e-6)
    assert model.encode(lines, layer="all", of="all").shape == (3, 2 * len(expected[0]) * 2)
    with pytest.raises(ConfigError, match="--layer 7"):
        model.encode(lines, layer=7)
