"""What holds the network back while it trains, and that it does so."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
import torch

from charrnn import cells
from charrnn.config import ModelConfig
from charrnn.training.network import KERNELS, CharRNN
from charrnn.training.ops import dropout_mask
from tests.oracles import gradients_of

B, T, V, H = 4, 9, 7, 16
CPU = torch.device("cpu")


def network(cell: str = "lstm", **changes) -> CharRNN:
    model = CharRNN(ModelConfig(cell=cell, layers=2, hidden=H, embedding=3), V, seeded())
    settings = {"dropout": 0.0, "weight_drop": 0.0, "precision": None, "generator": seeded()}
    model.prepare_for_training(**(settings | changes))
    return model


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ids() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, V, (B, T)))


def logits(model: CharRNN) -> torch.Tensor:
    result: torch.Tensor = model(ids(), model.start(B))[0].detach()
    return result


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.99])
def test_a_mask_drops_its_share_and_keeps_the_mean(share: float) -> None:
    mask = dropout_mask((300, 401), share, seeded(), CPU)
    assert mask.shape == (300, 401)
    assert float((mask == 0).float().mean()) == pytest.approx(share, abs=0.005)
    assert float(mask.mean()) == pytest.approx(1, abs=0.1)
    assert len(mask.unique()) == (2 if share else 1)


def test_masks_come_from_the_generator_alone() -> None:
    torch.manual_seed(0)
    one = dropout_mask((50, 50), 0.5, seeded(3), CPU)
    torch.manual_seed(1)
    assert (one == dropout_mask((50, 50), 0.5, seeded(3), CPU)).all()
    assert (one != dropout_mask((50, 50), 0.5, seeded(4), CPU)).any()


@pytest.mark.slow
@pytest.mark.parametrize("cell", cells.names())
@pytest.mark.parametrize("changes", [{"dropout": 0.5}, {"weight_drop": 0.5}])
def test_what_is_dropped_changes_training_and_never_answers(cell: str, changes: dict) -> None:
    if "weight_drop" in changes and "weight_hh" not in cells.get(cell).shapes(H, H):
        changes = {"dropout": 0.5}  # without a recurrent matrix there is none to drop
    free, model = network(cell), network(cell, **changes)
    assert not torch.equal(logits(model), logits(free))
    assert not torch.equal(logits(model), logits(model))
    assert torch.equal(logits(model.eval()), logits(free.eval()))


@pytest.mark.parametrize("cell", KERNELS)
def test_dropped_weights_take_effect_inside_the_fused_kernel(cell: str) -> None:
    results = []
    for fused in (True, False):
        model = network(cell, weight_drop=0.5, generator=seeded(5))
        for layer in model.stack:
            layer.fused = fused
        result = model(ids(), model.start(B))[0]
        result.square().sum().backward()
        gradient = model.stack[0].weight_hh.grad
        assert gradient is not None
        results.append((result.detach(), gradient))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-3, atol=1e-5)
    assert float((results[0][1] == 0).float().mean()) == pytest.approx(0.5, abs=0.1)


def test_a_streams_dropped_units_are_the_same_at_each_of_its_characters() -> None:
    model = network(dropout=0.5)
    (dropped,) = model._drop_units([torch.ones(T, B, H)])
    assert (dropped == dropped[0]).all()
    assert (dropped[0] != dropped[0, 0]).any()


@pytest.mark.parametrize("cell", KERNELS)
def test_bfloat16_is_near_float32_in_value_and_gradient(cell: str) -> None:
    results = []
    for precision in (None, torch.bfloat16):
        model = network(cell, precision=precision)
        result = model(ids(), model.start(B))[0]
        result.logsumexp(-1).sum().backward()
        gradients = torch.cat([gradient.flatten() for gradient in gradients_of(model)])
        assert result.dtype == gradients.dtype == torch.float32
        results.append((result.detach(), gradients))
    assert float((results[0][0] - results[1][0]).abs().max()) < 0.05
    assert float((results[0][1] - results[1][1]).norm() / results[0][1].norm()) < 0.05
    assert not torch.equal(results[0][0], results[1][0])


def test_answers_are_float32_whatever_training_is() -> None:
    assert torch.equal(logits(network(precision=torch.bfloat16).eval()), logits(network().eval()))


@pytest.mark.parametrize("cell", cells.names())
def test_only_a_cell_without_a_kernel_or_a_scan_takes_its_steps(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(cells.get(cell))
    counted = Mock(side_effect=kind.step)
    monkeypatch.setattr(kind, "step", lambda *arguments: counted(*arguments))
    logits(network(cell))
    assert counted.call_count == (0 if cell in {*KERNELS, "mingru", "minlstm"} else 2 * T)


def test_a_process_drops_the_units_of_its_own_streams() -> None:
    together, alone = network(dropout=0.5), network(dropout=0.5)
    alone.streams = (B, slice(1, 3))
    (dropped,) = together._drop_units([torch.ones(T, B, H)])
    assert torch.equal(alone._drop_units([torch.ones(T, 2, H)])[0], dropped[:, 1:3])
