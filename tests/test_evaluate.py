"""Validation is one stream, every character once, however it is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from charrnn import cells
from charrnn.config import ModelConfig
from charrnn.inference.network import Inference, read
from charrnn.training import evaluate as module
from charrnn.training.evaluate import evaluate
from charrnn.training.network import CharRNN, weights
from tests.oracles import NETWORKS, log_softmax, network_settings

V = 6


def text(count: int = 900) -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, count).astype(np.uint8)


def network(cell: str = "lstm", seed: int = 0) -> CharRNN:
    config = ModelConfig(**network_settings(cell), hidden=7, embedding=3)
    model = CharRNN(config, V, torch.Generator().manual_seed(seed)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


def one_stream(model: CharRNN, ids: np.ndarray, part: range) -> float:
    """The definition, on NumPy: one character after the other from an empty state."""
    twin = Inference(model.config, weights(model))
    first = max(part.start, 1)
    logits = np.concatenate(
        [rows for _, rows, _ in read(twin, ids[first - 1 : part.stop - 1], twin.start(1))]
    )
    return float(-log_softmax(logits)[np.arange(len(logits)), ids[first : part.stop]].mean())


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORTEST", 40)
    monkeypatch.setattr(module, "BURN_IN", 20)


@pytest.mark.slow
@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("cell", NETWORKS)
@pytest.mark.parametrize("part", [range(900), range(100, 831), range(899, 900), range(500, 502)])
def test_chunks_side_by_side_give_the_loss_of_one_stream(cell: str, part: range) -> None:
    model = network(cell)
    assert evaluate(model, text(), part) == pytest.approx(one_stream(model, text(), part), abs=1e-5)


@pytest.mark.usefixtures("small_chunks")
def test_a_cell_that_never_forgets_is_read_exactly_too() -> None:
    model = network()
    with torch.no_grad():
        bias = model.stack[0].bias.view(4, 7)
        bias[0], bias[1] = -4.0, 40.0  # hardly any input, and a forget gate that is wide open
    assert evaluate(model, text(), range(900)) == pytest.approx(
        one_stream(model, text(), range(900)), abs=1e-6
    )


@pytest.mark.usefixtures("small_chunks")
def test_a_unit_that_never_forgets_and_does_not_matter_costs_few_sweeps() -> None:
    model = network()
    with torch.no_grad():
        model.stack[0].bias.view(4, 7)[1, 0] = 40.0
        model.stack[0].weight_hh[:, 0] = 0  # nothing reads its value
        model.readout.weight[:, 0] = 0
    read = []
    model.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].numel()))
    assert evaluate(model, text(), range(900)) == pytest.approx(
        one_stream(model, text(), range(900)), abs=1e-6
    )
    assert sum(read) < 6 * 900  # as many sweeps as chunks would read 22 * 900


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("cell", ["lstm", "mut1", "mingru"])
@pytest.mark.parametrize("numbers", [1, 22 * 34 * 3, 22 * 34 * 9])
def test_the_loss_does_not_depend_on_the_characters_read_at_once(
    cell: str, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, whole = network(cell), range(900)
    monkeypatch.setattr(module, "NUMBERS", numbers)
    assert evaluate(model, text(), whole) == pytest.approx(one_stream(model, text(), whole), abs=1e-5)


@pytest.mark.parametrize("hidden", [7, 70])
@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_the_gates_and_logits_in_memory_are_limited_whatever_the_width(
    cell: str, hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NUMBERS", 3000)
    model, read = CharRNN(ModelConfig(cell=cell, hidden=hidden, embedding=3), V), []
    model.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].numel()))
    evaluate(model, text(), range(900))
    width = len(cells.get(cell).gates) * hidden + V
    assert sum(read) == 899
    assert 3000 - width < max(read) * width <= 3000


def test_evaluating_moves_neither_mode_nor_randomness() -> None:
    model = network().train()
    generator = torch.Generator()
    model.prepare_for_training(0.5, 0.5, None, generator)
    before = generator.get_state()
    first = evaluate(model, text(), range(900))
    assert model.training
    assert (generator.get_state() == before).all()
    assert evaluate(model, text(), range(900)) == first


def test_a_part_without_a_target_is_refused() -> None:
    with pytest.raises(ValueError, match="no character"):
        evaluate(network(), text(), range(5, 5))
