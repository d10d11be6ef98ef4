"""The saturation of gates is counted as its definition says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from charrnn import cells
from charrnn.config import ModelConfig
from charrnn.errors import ConfigError
from charrnn.inference.network import Inference
from charrnn.inspection.activations import Signal
from charrnn.inspection.gates import saturation, sigmoid_gates
from charrnn.runs.checkpoint import BEST, Header, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT, charrnn, random_weights

V = 7


def network(cell: str, layers: int = 2, scale: float = 2.5) -> Inference:
    """A network with weights so large that its gates saturate."""
    config = ModelConfig(cell=cell, layers=layers, hidden=5, embedding=4)
    weights = {name: np.float32(scale) * array for name, array in random_weights(config, V).items()}
    return Inference(config, weights)


def counted(inference: Inference, ids: np.ndarray) -> dict[Signal, list[list[float]]]:
    """The shares of each sigmoid gate, from one step of the network after the other."""
    values: dict[Signal, list[np.ndarray]] = {}

    def trace(layer: int, layer_state, gates) -> None:
        for name, kind, gate in zip(inference.cell.gates, inference.cell.activations, gates, strict=True):
            if kind == "sigmoid":
                values.setdefault(Signal(layer, name), []).append(gate[0].copy())

    state = inference.start(1)
    for symbol in ids:
        _, state = inference(np.array([[symbol]]), state, trace)
    return {
        signal: [
            [sum(test(step[unit]) for step in steps) / len(ids) for unit in range(5)]
            for test in (lambda value: value < 0.1, lambda value: value > 0.9)
        ]
        for signal, steps in values.items()
    }


@pytest.mark.parametrize("cell", [name for name in cells.names() if name != "rnn"])
@pytest.mark.parametrize("size", [1, 60])
def test_the_shares_are_those_of_a_count_step_by_step(cell: str, size: int) -> None:
    inference, ids = network(cell), np.random.default_rng(1).integers(0, V, size)
    expected = counted(inference, ids)
    found = saturation(inference, ids)
    assert list(found) == list(expected)
    for signal, (left, right) in expected.items():
        np.testing.assert_allclose(found[signal].left, left, atol=1e-12)
        np.testing.assert_allclose(found[signal].right, right, atol=1e-12)
    assert any(0 < share < 1 for left, right in expected.values() for share in left + right) or size == 1


def test_the_number_of_threads_changes_nothing() -> None:
    inference, ids = network("lstm"), np.random.default_rng(1).integers(0, V, 3000)
    one, three = (saturation(inference, ids, threads) for threads in (1, 3))
    for signal, shares in one.items():
        np.testing.assert_array_equal(np.array(shares), np.array(three[signal]))


def test_a_cell_without_sigmoid_gates_is_refused() -> None:
    with pytest.raises(ConfigError, match="the cell rnn has no gates"):
        sigmoid_gates(network("rnn"))


def test_gates_with_another_activation_are_left_out() -> None:
    assert {signal.name for signal in sigmoid_gates(network("mingru"))} == {"update"}


def test_the_json_lines_of_a_gate_have_the_means_of_its_row(run: Path) -> None:
    Path("text.txt").write_text(TEXT)
    lines = [
        json.loads(line)
        for line in charrnn("inspect-cell", "tiny", "text.txt", "--gates", "--json").text.splitlines()
    ]
    assert [(line["layer"], line["gate"], line["unit"]) for line in lines] == [
        (layer, gate, unit)
        for layer in range(2)
        for gate in ("input", "forget", "output")
        for unit in range(6)
    ]
    header, *rows = charrnn("inspect-cell", "tiny", "text.txt", "--gates").text.splitlines()
    assert header.split() == ["LAYER", "GATE", "LEFT", "RIGHT", "UNITS", "MOSTLY", "LEFT", "MOSTLY", "RIGHT"]
    for row in rows:
        layer, gate, left, right, units, *mostly = row.split()
        units_of_gate = [line for line in lines if (str(line["layer"]), line["gate"]) == (layer, gate)]
        assert int(units) == len(units_of_gate)
        for side, mean, most in (("left", left, mostly[0]), ("right", right, mostly[1])):
            shares = [line[side] for line in units_of_gate]
            assert float(mean) == pytest.approx(np.mean(shares), abs=1e-4)
            assert int(most) == sum(share > 0.9 for share in shares)


@pytest.mark.slow
def test_a_terminal_and_a_picture_have_a_plot_for_each_gate(run: Path) -> None:
    Path("text.txt").write_text(TEXT)
    ran = charrnn("inspect-cell", "tiny", "text.txt", "--gates", "--svg", "gates.svg", tty=True)
    assert ran.status == 0
    for gate in ("input", "forget", "output"):
        assert f"{gate} gate" in ran.text
    assert all(f"layer {layer}" in ran.text for layer in (0, 1))
    assert Path("gates.svg").read_text().count("<use") > 3 * 2 * 6


def test_a_network_without_gates_is_told_so_before_the_text_is_read() -> None:
    config, folder = ModelConfig(cell="rnn", layers=1, hidden=3, embedding=2), Path("checkpoints/plain")
    folder.mkdir(parents=True)
    vocabulary = Vocabulary("ab")
    save_checkpoint(folder / BEST, Header(config, vocabulary), random_weights(config, 2))
    ran = charrnn("inspect-cell", "plain", "missing.txt", "--gates")
    assert (ran.status, ran.out) == (2, b"")
    assert "rnn has no gates" in ran.err
