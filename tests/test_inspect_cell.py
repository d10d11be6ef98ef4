"""The values of a watched unit are those the network computes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from charrnn import cells
from charrnn.cli import app, inspect_options, inspect_values
from charrnn.config import ModelConfig
from charrnn.errors import ConfigError
from charrnn.inference.network import Inference
from charrnn.inspection.activations import every_signal, signal_name, watch_stream, watch_text
from charrnn.inspection.concept_table import CONCEPTS
from charrnn.inspection.inspect_cell import unit_values
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT, charrnn, random_weights

V = 9


def network(cell: str) -> Inference:
    config = ModelConfig(cell=cell, layers=2, hidden=6, embedding=4)
    return Inference(config, random_weights(config, V))


def text(count: int = 700) -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, count)


def watched(
    inference: Inference, ids: np.ndarray, layer: int, unit: int, signal: str | None = None, pieces: int = 1
) -> np.ndarray:
    read = unit_values(inference, np.array_split(ids, pieces), layer, [unit], signal)
    return np.concatenate([values[:, 0] for _, values in read])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [1, 40, 3000])
def test_pieces_at_once_have_the_values_of_one_stream(
    threads: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.inspection.activations.BLOCK", 1100)
    monkeypatch.setattr("charrnn.inspection.activations.SHORTEST_PIECE", 550)
    inference, ids = network("lstm"), text(size)
    units = every_signal(inference)
    pieces = list(watch_stream(inference, [ids], units))
    expected = {signal: np.concatenate([piece.values[signal] for piece in pieces]) for signal in units}
    found = {signal: np.full_like(values, np.nan) for signal, values in expected.items()}

    def visit(chunk) -> None:
        for signal, values in chunk.values.items():
            found[signal][chunk.positions] = values

    counts: list[int] = []
    blocks = list(watch_text(inference, ids, units, visit, threads, counts.append))
    assert [position for block in blocks for position in block] == list(range(size))
    assert sum(counts) == size
    for signal, values in expected.items():
        np.testing.assert_allclose(found[signal], values, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("cell", cells.names())
@pytest.mark.parametrize("layer", [0, 1])
def test_each_value_is_the_units_after_its_character(cell: str, layer: int) -> None:
    inference, ids = network(cell), text()
    for index, name in enumerate(inference.cell.state_names):
        values = watched(inference, ids, layer, 3, name)
        for position in (0, 1, 511, 512, 699):
            _, state = inference(ids[None, : position + 1], inference.start(1))
            expected = state[layer][index][0, 3]
            expected = np.tanh(expected) if name == "memory" else expected
            assert values[position] == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("cell", cells.names())
def test_every_signal_lies_within_its_range(cell: str) -> None:
    inference = network(cell)
    for signal in inference.cell.signals:
        values = watched(inference, text(), 1, 2, signal)
        assert len(values) == 700
        activation = dict(zip(inference.cell.gates, inference.cell.activations, strict=True)).get(signal)
        assert values.std() > 0
        if activation == "sigmoid":
            assert ((values >= 0) & (values <= 1)).all()
        elif "linear" not in inference.cell.activations:
            assert (np.abs(values) <= 1).all()


def test_cutting_the_text_changes_nothing() -> None:
    inference = network("lstm")
    whole = watched(inference, text(), 1, 2)
    np.testing.assert_allclose(watched(inference, text(), 1, 2, pieces=13), whole, atol=1e-6)


def test_the_default_is_the_cell_state_else_the_hidden_state() -> None:
    assert signal_name(cells.get("lstm"), None) == "memory"
    assert signal_name(cells.get("gru"), None) == "hidden"
    for cell, signal in (("lstm", "memory"), ("gru", "hidden")):
        inference = network(cell)
        np.testing.assert_array_equal(
            watched(inference, text(50), 1, 2), watched(inference, text(50), 1, 2, signal)
        )


def test_cell_is_another_name_of_the_cell_state(run: Path) -> None:
    Path("text.txt").write_text(TEXT)
    lines = {
        signal: charrnn("inspect-cell", "tiny", "text.txt", "--json", "--of", signal).text
        for signal in ("cell", "memory", "hidden")
    }
    assert lines["cell"] == lines["memory"] != lines["hidden"]
    assert len(lines["cell"].splitlines()) == len(TEXT)


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ((2, 0, None), "--layer 2: the model has layers 0 to 1"),
        ((-1, 0, None), "--layer -1"),
        ((0, 6, None), "--unit 6: the model has units 0 to 5"),
        (
            (0, 0, "reset"),
            "--of reset: the model's cell has hidden, memory, input, forget, candidate, output",
        ),
    ],
)
def test_an_unknown_layer_unit_or_signal_is_an_error_that_lists_the_known(unit: tuple, message: str) -> None:
    layer, number, signal = unit
    with pytest.raises(ConfigError, match=message):
        unit_values(network("lstm"), [text()], layer, [number], signal)


def test_a_cell_without_a_cell_state_refuses_the_name_that_was_given() -> None:
    with pytest.raises(ConfigError, match="--of cell: the model's cell has hidden, reset, update, candidate"):
        unit_values(network("gru"), [text()], 0, [0], "cell")


# --- the command ---


@pytest.mark.parametrize(
    ("value", "units"),
    [
        (None, [0]),
        ("all", range(20)),
        ("7", [7]),
        ("7,8,12-15", [7, 8, 12, 13, 14, 15]),
        ("3-5,4,3", [3, 4, 5]),
        ("18-99999999999", [18, 19, 20]),
        ("50-60", [50]),
    ],
)
def test_unit_names_numbers_and_ranges_up_to_the_first_outside_the_layer(
    value: str | None, units: list[int]
) -> None:
    parsed = None if value is None else inspect_options.parse_units(value)
    assert list(inspect_options.chosen_units(parsed, 20)) == list(units)


@pytest.mark.parametrize("value", ["", "7-", "-7", "9-7", "a", "1,,2", "all,1", "1.5", "²"])
def test_another_value_of_unit_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be all, or numbers and ranges"):
        inspect_options.parse_units(value)


def test_a_json_line_has_the_values_of_all_units_by_their_numbers(run: Path) -> None:
    def lines(*units: str) -> list[dict]:
        done = charrnn("inspect-cell", "tiny", "-", "--json", "--unit", ",".join(units), stdin=b"the cat")
        return [json.loads(line) for line in done.text.splitlines()]

    one, two, both = lines("1"), lines("4"), lines("4", "1")
    assert [line["char"] for line in both] == list("the cat")
    assert [line["values"] for line in both] == [
        {"4": b["value"], "1": a["value"]} for a, b in zip(one, two, strict=True)
    ]
    assert list(lines("all")[0]["values"]) == ["0", "1", "2", "3", "4", "5"]


def test_the_bytes_of_a_character_are_shown_as_the_character() -> None:
    vocabulary = Vocabulary("".join(map(chr, range(256))), byte_level=True)
    data = "aé漢".encode() + b"\xe6\xbc" + b"b\xff\xc3\xc3\xa9\xf0"
    symbols = [(chr(byte), [float(position)]) for position, byte in enumerate(data)]
    shown = [(c, int(values[0])) for c, values in inspect_values._characters(vocabulary, symbols)]
    bad = "\ufffd"
    assert shown == [
        ("a", 0), ("é", 2), ("漢", 5), (bad, 7), ("b", 8), (bad, 9), (bad, 10), ("é", 12), (bad, 13)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("text.txt", "this file exists: delete it, or name another"),
        (".", "this is a folder: name a file"),
        ("no/a.png", "there is no folder no"),
    ],
)
def test_a_picture_replaces_no_other_file_and_is_refused_before_the_text_is_read(
    run: Path, path: str, message: str
) -> None:
    Path("text.txt").write_text(TEXT)
    done = charrnn("inspect-cell", "tiny", "text.txt", "--png", path)
    assert (done.status, done.out) == (1, b"")
    assert done.err == f"charrnn: --png {path}: {message}\n"
    assert Path("text.txt").read_text() == TEXT


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["2", "1,3", "all"])
def test_a_picture_of_the_values_is_saved_beside_the_output(
    run: Path, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_values, "NAMED", 4)  # "all" is a heat map
    Path("text.txt").write_text("the cat sat\n" * 30)
    options = ("inspect-cell", "tiny", "text.txt", "--unit", unit)
    done = charrnn(*options, "--png", "a.png", "--svg", "a.svg")
    assert done.err == "wrote a.png\nwrote a.svg\n"
    assert done.text == charrnn(*options).text
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    svg = Path("a.svg").read_text()
    title = {"2": "unit 2", "1,3": "units 1,3", "all": "6 units"}[unit]
    assert f">tiny layer 0 {title} memory</text>" in svg
    assert ">the first 150 characters</text>" in svg
    assert svg.count(">⏎</text>") == 150 // 12


# --- options that go together ---

PARAMETERS: dict[str, Any] = {
    parameter.opts[0]: parameter
    for parameter in typer.main.get_group(app).commands["inspect-cell"].params
    if parameter.param_type_name == "option" and "--help" not in parameter.opts
}
VALUES = {"--of": "hidden", "--colour": "always", "--concept": "quotes", "--html": "a.html"}


def words(option: str) -> list[str]:
    """An option with a value that it takes; "--of attention" has one."""
    name, _, value = option.partition(" ")
    return [name] if getattr(PARAMETERS[name], "is_flag", False) else [name, value or VALUES.get(name, "1")]


def effective(mode: inspect_options.Mode) -> set[str]:
    return {*inspect_options.ALWAYS, *(flag.split()[0] for flag in mode.flags), *mode.options}


def test_the_help_names_every_concept() -> None:
    listed = PARAMETERS["--concept"].help.split(": ")[1].partition(".")[0]
    assert re.split(", | or ", listed) == [concept.name for concept in CONCEPTS]


def test_every_option_has_an_effect_in_some_mode() -> None:
    modes = (inspect_options.VALUES, *inspect_options.MODES.values())
    assert set().union(*map(effective, modes)) == {*PARAMETERS}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["values", *inspect_options.MODES])
def test_an_option_without_effect_is_refused_in_one_line(run: Path, name: str) -> None:
    mode = inspect_options.MODES.get(name, inspect_options.VALUES)
    flags = mode.flags[:1]
    for option in sorted({*PARAMETERS} - effective(mode)):
        others = inspect_options.MODES.values()
        if any(option in other.flags and {*flags} <= effective(other) for other in others):
            continue  # it asks for another mode
        arguments = [word for name in (*flags, option) for word in words(name)]
        done = charrnn("inspect-cell", "tiny", *arguments, stdin=TEXT.encode())
        assert done.status == 2, arguments
        first, *more = done.err.splitlines()
        assert more == []
        assert option in first
        assert re.search("has no effect with|give only one of them", first), first
        assert not Path("a.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--top 5", "--top has no effect without --html or --find"),
        ("--ngram tiny", "--ngram has no effect without --errors"),
        ("--layer 0 --find", "--layer has no effect with --find"),
        ("--gates --of forget", "--of has no effect with --gates"),
        ("--html a.html --svg a.svg", "--svg has no effect with --html"),
        ("--gates --errors", "--gates and --errors: give only one of them"),
        ("--unit 1 --ablate --clamp 1", "--ablate and --clamp: give only one of them"),
        ("--find --concept quotes --colour always", "--colour has no effect with --find"),
        ("--json --colour always", "--json and --colour: JSON has no colours"),
    ],
)
def test_a_combination_that_makes_no_sense_is_refused(run: Path, options: str, message: str) -> None:
    done = charrnn("inspect-cell", "tiny", *options.split())
    assert (done.status, done.err) == (2, f"charrnn: {message}\n")


def test_the_same_seed_gives_the_same_sample(run: Path) -> None:
    first, again, other = (charrnn("inspect-cell", "tiny", "--seed", seed).text for seed in "112")
    assert first == again != other
