"""Connections between layers, beside the stack: residual layers, and a readout of all layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from charrnn import cells
from charrnn.config import ModelConfig
from charrnn.errors import ConfigError
from charrnn.inference.network import Inference
from charrnn.runs import parameters
from charrnn.training.gradient_flow import flow
from charrnn.training.network import CharRNN, detach, weights
from charrnn.training.ops import TorchOps
from tests.oracles import gradients_of

B, T, V, H, LAYERS = 3, 9, 7, 5, 3
connections = pytest.mark.parametrize(("residual", "readout"), [(True, "top"), (False, "all"), (True, "all")])


def network(residual: bool, readout: str, cell: str = "lstm") -> CharRNN:
    config = ModelConfig(cell, LAYERS, H, 3, residual=residual, readout=readout)
    model = CharRNN(config, V, torch.Generator().manual_seed(0)).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.6, generator=generator)
    return model


def ids() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, V, (B, T)))


def plain_logits(model: CharRNN, ids: torch.Tensor) -> torch.Tensor:
    """(B, T, V), character by character, layer by layer."""
    states, results = list(model.start(len(ids))), []
    for column in ids.T:
        x = model.embedding(column)
        outputs = []
        for index, layer in enumerate(model.stack):
            rows = layer.cell.inputs(layer.weights(), x, TorchOps)
            states[index], _ = layer.cell.step(layer.weights(), rows, states[index], TorchOps)
            hidden = states[index][0]
            x = hidden + x if model.config.residual and index > 0 else hidden
            outputs.append(x)
        read = torch.cat(outputs, 1) if model.config.readout == "all" else outputs[-1]
        results.append(read @ model.readout.weight.T + model.readout.bias)
    return torch.stack(results, 1)


@connections
def test_both_backends_compute_what_a_plain_loop_computes(residual: bool, readout: str) -> None:
    model = network(residual, readout)
    expected = plain_logits(model, ids()).detach()
    logits, state = model(ids(), model.start(B))
    twin = Inference(model.config, weights(model))
    ours, our_state = twin(ids().numpy(), twin.start(B))
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-12)
    for one, other in zip(our_state, state, strict=True):
        for left, right in zip(one, other, strict=True):
            np.testing.assert_allclose(left, right.detach().numpy(), atol=1e-12)


@connections
@pytest.mark.parametrize("cell", ["lstm", "gru-cho", "mingru"])
def test_gradients_are_those_of_a_plain_loop(residual: bool, readout: str, cell: str) -> None:
    model, plain = network(residual, readout, cell), network(residual, readout, cell)
    model(ids(), model.start(B))[0].square().sum().backward()
    plain_logits(plain, ids()).square().sum().backward()
    for left, right in zip(gradients_of(model), gradients_of(plain), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-8)


@connections
def test_cutting_the_text_changes_nothing(residual: bool, readout: str) -> None:
    model = network(residual, readout)
    whole, _ = model(ids(), model.start(B))
    first, state = model(ids()[:, :4], model.start(B))
    second, _ = model(ids()[:, 4:], detach(state))
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-12, atol=1e-12)


@connections
def test_gradient_flow_measures_the_network_with_its_connections(residual: bool, readout: str) -> None:
    """The norms of the states that the last step receives, by finite differences of a plain loop's loss."""
    model, text = network(residual, readout), ids()
    flows = flow(model, text.numpy())
    state = model(text[:, : T - 2], model.start(B))[1]

    def loss(state: tuple) -> torch.Tensor:
        logits, _ = model(text[:, T - 2 : T - 1], state)
        return torch.nn.functional.cross_entropy(logits[:, -1], text[:, -1], reduction="sum")

    parts = [part.detach().requires_grad_() for layer in state for part in layer]
    pairs = tuple((parts[2 * k], parts[2 * k + 1]) for k in range(LAYERS))
    gradients = torch.autograd.grad(loss(pairs), parts)
    expected = [float(gradient.norm(dim=1).mean()) for gradient in gradients]
    np.testing.assert_allclose([result.norms[0] for result in flows], expected, rtol=1e-10)


def test_dropped_units_of_a_residual_layer_still_pass_its_input_on() -> None:
    model = network(True, "top")
    generator = torch.Generator().manual_seed(0)
    model.prepare_for_training(0.99, 0.0, None, generator)
    torch.manual_seed(0)
    below = [torch.randn(T, B, 3, dtype=torch.float64)]
    (top,), _ = model._read_layers(below, model.start(B))
    assert (top != 0).float().mean() < 0.2
    assert ((top != 0).any(0) == (top != 0).all(0)).all()  # one mask for all times


@pytest.mark.parametrize("cell", cells.names())
def test_connections_add_only_weights_of_the_readout(cell: str) -> None:
    plain = parameters.shapes(ModelConfig(cell, LAYERS, H), V)
    connected = parameters.shapes(ModelConfig(cell, LAYERS, H, residual=True, readout="all"), V)
    assert connected == plain | {"readout.weight": (V, LAYERS * H)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"residual": True}, "--residual connects layers: add --layers 2 or more"),
        ({"readout": "all"}, "--readout all connects layers: add --layers 2 or more"),
        ({"layers": 2, "readout": "both"}, "--readout both: must be top or all"),
        ({"layers": 2, "residual": 1}, "--residual 1: must be true or false"),
    ],
)
def test_connections_that_connect_nothing_are_an_error(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**changes)


def test_a_checkpoint_names_connections_only_where_there_are_some() -> None:
    assert {"residual", "readout"}.isdisjoint(ModelConfig(layers=2).to_dict())
    config = ModelConfig(layers=2, residual=True, readout="all")
    assert ModelConfig.from_dict(config.to_dict()) == config
