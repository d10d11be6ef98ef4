"""What holds the network back while it trains, and that it does so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from charrnn import cells
from charrnn.config import ModelConfig
from charrnn.training.network import FUSED, CharRNN, Layer, dropout_mask

B, T, V, H = 4, 9, 7, 16
CPU = torch.device("cpu")


def network(cell: str = "lstm", **held) -> CharRNN:
    model = CharRNN(ModelConfig(cell=cell, layers=2, hidden=H, embedding=3), V, choose_seed())
    settings = {"dropout": 0.0, "weight_drop": 0.0, "precision": None, "generator": choose_seed()}
    model.regularise(**(settings | held))
    return model


def choose_seed(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ids() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, V, (B, T)))


def logits(model: CharRNN) -> torch.Tensor:
    return model(ids(), model.start(B))[0].detach()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.99])
def test_a_mask_drops_its_share_and_keeps_the_mean(share: float) -> None:
    mask = dropout_mask((300, 401), share, choose_seed(), CPU)
    assert mask.shape == (300, 401)
    assert float((mask == 0).float().mean()) == pytest.approx(share, abs=0.005)
    assert float(mask.mean()) == pytest.approx(1, abs=0.1)
    assert len(mask.unique()) == (2 if share else 1)


def test_masks_come_from_the_generator_alone() -> None:
    torch.manual_seed(0)
    one = dropout_mask((50, 50), 0.5, choose_seed(3), CPU)
    torch.manual_seed(1)
    assert (one == dropout_mask((50, 50), 0.5, choose_seed(3), CPU)).all()
    assert (one != dropout_mask((50, 50), 0.5, choose_seed(4), CPU)).any()


@pytest.mark.parametrize("cell", cells.names())
@pytest.mark.parametrize("held", [{"dropout": 0.5}, {"weight_drop": 0.5}])
def test_what_is_dropped_changes_training_and_never_answers(cell: str, held: dict) -> None:
    if "weight_drop" in held and "weight_hh" not in cells.get(cell).shapes(H, H):
        held = {"dropout": 0.5}  # without a recurrent matrix there is none to drop
    free, model = network(cell), network(cell, **held)
    assert not torch.equal(logits(model), logits(free))
    assert not torch.equal(logits(model), logits(model))
    assert torch.equal(logits(model.eval()), logits(free.eval()))


@pytest.mark.parametrize("cell", FUSED)
def test_dropped_weights_take_effect_inside_the_fused_kernel(cell: str) -> None:
    found = []
    for fused in (True, False):
        model = network(cell, weight_drop=0.5, generator=choose_seed(5))
        for layer in model.stack:
            layer.fused = fused
        result = model(ids(), model.start(B))[0]
        result.square().sum().backward()
        found.append((result.detach(), model.stack[0].weight_hh.grad))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-3, atol=1e-5)
    assert float((found[0][1] == 0).float().mean()) == pytest.approx(0.5, abs=0.1)


def test_a_streams_dropped_units_are_the_same_at_each_of_its_characters() -> None:
    model = network(dropout=0.5)
    dropped = model._dropped(torch.ones(T, B, H))
    assert (dropped == dropped[0]).all()
    assert (dropped[0] != dropped[0, 0]).any()


@pytest.mark.parametrize("cell", FUSED)
def test_bfloat16_is_near_float32_in_value_and_gradient(cell: str) -> None:
    found = []
    for precision in (None, torch.bfloat16):
        model = network(cell, precision=precision)
        result = model(ids(), model.start(B))[0]
        result.logsumexp(-1).sum().backward()
        gradients = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        assert result.dtype == gradients.dtype == torch.float32
        found.append((result.detach(), gradients))
    assert float((found[0][0] - found[1][0]).abs().max()) < 0.05
    assert float((found[0][1] - found[1][1]).norm() / found[0][1].norm()) < 0.05
    assert not torch.equal(found[0][0], found[1][0])


def test_answers_are_float32_whatever_training_is() -> None:
    assert torch.equal(logits(network(precision=torch.bfloat16).eval()), logits(network().eval()))


def test_a_layer_without_a_kernel_takes_its_steps() -> None:
    assert not Layer("gru-cho", 3, 4).fused
    assert Layer("gru", 3, 4).fused
