"""The values of a watched unit are those the network computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from charrnn import cells
from charrnn.config import ModelConfig
from charrnn.errors import ConfigError
from charrnn.inference.network import Inference
from charrnn.inspection.activations import every_signal, signal_name, watch_stream, watch_text
from charrnn.inspection.inspect_cell import unit_values
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


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("size", [1, 40, 3000])
def test_pieces_at_once_have_the_values_of_one_stream(
    workers: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.inspection.activations.BLOCK", 1100)
    monkeypatch.setattr("charrnn.inspection.activations.PIECES", 2)
    inference, ids = network("lstm"), text(size)
    units = every_signal(inference)
    pieces = list(watch_stream(inference, [ids], units))
    expected = {signal: np.concatenate([piece.values[signal] for piece in pieces]) for signal in units}
    found = {signal: np.full_like(values, np.nan) for signal, values in expected.items()}

    def visit(chunk) -> None:
        for signal, values in chunk.values.items():
            found[signal][chunk.positions] = values

    counts: list[int] = []
    blocks = list(watch_text(inference, ids, units, [visit] * workers, counts.append))
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
