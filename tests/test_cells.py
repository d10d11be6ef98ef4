"""The laws of every cell, picked up by its name, in float64."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from charrnn import cells
from charrnn.config import ModelConfig
from charrnn.errors import ConfigError
from charrnn.inference.network import Inference
from charrnn.inference.ops import FEW, NumpyOps, Recurrent
from charrnn.runs import parameters
from charrnn.training import recurrent_gradient
from charrnn.training.network import KERNELS, CharRNN, detach, weights
from charrnn.training.ops import TorchOps
from charrnn.training.recurrent_gradient import product
from tests.oracles import gradients_of, plain_network

every_cell = pytest.mark.parametrize("name", cells.names())
every_input = pytest.mark.parametrize("embedding", [0, 3])
B, T, V, H, LAYERS = 3, 11, 7, 5, 2


def network(name: str, embedding: int = 3, seed: int = 0) -> CharRNN:
    """A float64 network whose parameters are all drawn, biases too."""
    config = ModelConfig(cell=name, layers=LAYERS, hidden=H, embedding=embedding)
    model = CharRNN(config, V, torch.Generator().manual_seed(seed)).double()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.6, generator=generator)
    return model


def numpy_twin(model: CharRNN) -> Inference:
    return Inference(model.config, weights(model))


def ids(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, V, (B, T))


def flat(state: tuple) -> list[np.ndarray]:
    return [
        np.asarray(part.detach() if isinstance(part, torch.Tensor) else part)
        for layer_state in state
        for part in layer_state
    ]


@every_cell
@pytest.mark.parametrize("width", [4, H])
def test_a_steps_inputs_are_weighted_inputs_and_biases_and_where_asked_the_raw_input(
    name: str, width: int
) -> None:
    cell, generator = cells.get(name), np.random.default_rng(0)
    w = SimpleNamespace(**{key: generator.normal(size=shape) for key, shape in cell.shapes(width, H).items()})
    x = generator.normal(size=(B, width))
    expected = [[row @ unit + bias for unit, bias in zip(w.weight_ih, w.bias, strict=True)] for row in x]
    if cell.raw_input:
        raw = x if width == H else [[row @ unit for unit in w.projection] for row in x]
        expected = [[*left, *right] for left, right in zip(expected, raw, strict=True)]
    np.testing.assert_allclose(cell.inputs(w, x, NumpyOps), expected, atol=1e-13)
    in_torch = SimpleNamespace(**{key: torch.from_numpy(value) for key, value in vars(w).items()})
    np.testing.assert_allclose(cell.inputs(in_torch, torch.from_numpy(x), TorchOps), expected, atol=1e-13)


@every_cell
def test_a_step_gives_the_shapes_it_names(name: str) -> None:
    cell = cells.get(name)
    drawn = np.random.default_rng(0)
    w = SimpleNamespace(**{key: drawn.normal(size=shape) for key, shape in cell.shapes(4, H).items()})
    x = cell.inputs(w, drawn.normal(size=(B, 4)), NumpyOps)
    state, gates = cell.step(w, x, tuple(np.zeros((B, H)) for _ in cell.state_names), NumpyOps)
    assert [part.shape for part in state] == [(B, H)] * len(cell.state_names)
    assert [gate.shape for gate in gates] == [(B, H)] * len(cell.gates)
    assert len(cell.activations) == len(cell.gates)
    assert len(set(cell.signals)) == len(cell.signals)
    for gate, kind in zip(gates, cell.activations, strict=True):
        low, high = {"sigmoid": (0, 1), "tanh": (-1, 1), "linear": (-np.inf, np.inf)}[kind]
        assert (low < gate).all()
        assert (gate < high).all()


@pytest.mark.slow
@every_cell
def test_the_first_part_of_the_state_is_the_layers_output(name: str) -> None:
    model = network(name)
    logits, state = model(torch.from_numpy(ids()), model.start(B))
    torch.testing.assert_close(model.readout(state[-1][0]), logits[:, -1])


@every_cell
def test_a_step_changes_nothing_in_place(name: str) -> None:
    twin = numpy_twin(network(name))
    _, state = twin(ids(), twin.start(B))
    before = [part.copy() for part in flat(state)]
    twin(ids(1), state)
    for was, now in zip(before, flat(state), strict=True):
        assert (was == now).all()


@every_cell
@every_input
def test_torch_and_numpy_compute_the_same(name: str, embedding: int) -> None:
    model = network(name, embedding)
    twin = numpy_twin(model)
    logits, state = model(torch.from_numpy(ids()), model.start(B))
    ours, our_state = twin(ids(), twin.start(B))
    np.testing.assert_allclose(ours, logits.detach().numpy(), atol=1e-12)
    for left, right in zip(flat(our_state), flat(state), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-12)


IN_PARALLEL = [
    name
    for name in cells.names()
    if type(cells.get(name)).scan_coefficients is not cells.Cell.scan_coefficients
]


@pytest.mark.parametrize("name", [*KERNELS, *IN_PARALLEL])
def test_the_fused_kernel_and_the_steps_agree_in_value_and_gradient(name: str) -> None:
    results = []
    for fused in (True, False):
        model = network(name)
        for layer in model.stack:
            layer.fused = fused
        logits, _ = model(torch.from_numpy(ids()), model.start(B))
        logits.square().sum().backward()
        results.append([logits.detach(), *gradients_of(model)])
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


def stepped(model: CharRNN) -> CharRNN:
    """The same network without kernels and scans."""
    for layer in model.stack:
        layer.fused = False
    return model


@pytest.mark.slow
@every_cell
@pytest.mark.parametrize("weight_drop", [0.0, 0.5])
def test_gradients_over_time_are_those_of_plain_autograd(name: str, weight_drop: float) -> None:
    text = torch.from_numpy(ids())
    results = []
    for plain in (True, False):
        model = stepped(network(name)).train()
        model.prepare_for_training(0.0, weight_drop, None, torch.Generator().manual_seed(5))
        logits, state = plain_network(model, text) if plain else model(text, model.start(B))
        ends = [part for layer_state in state for part in layer_state]
        (logits.square().sum() + sum(end.sin().sum() for end in ends)).backward()
        results.append([logits.detach(), *gradients_of(model)])
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-11, atol=1e-11)


@every_cell
def test_gradients_of_a_text_of_which_the_end_does_not_count_are_those_of_its_beginning(name: str) -> None:
    text, results = torch.from_numpy(ids()), []
    for read in (text, text[:, :4]):
        model = stepped(network(name))
        logits, _ = model(read, model.start(B))
        logits[:, :4].square().sum().backward()
        results.append(gradients_of(model))
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-11, atol=1e-11)


@every_cell
def test_gradients_in_float32_are_near_those_in_float64(name: str) -> None:
    text = torch.from_numpy(ids())
    results = []
    for dtype in (torch.float32, torch.float64):
        model = stepped(network(name)).to(dtype)
        logits, _ = model(text, model.start(B))
        logits.square().sum().backward()
        results.append([logits.detach().double(), *(gradient.double() for gradient in gradients_of(model))])
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4 * float(right.abs().max()))


@pytest.mark.parametrize("large", [0, 1 << 62])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 5), (9, 1, 5), (20, 7, 1), (130, 65, 33)])
def test_a_product_is_the_product_whatever_the_layout(
    shape: tuple[int, int, int], large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurrent_gradient, "ONEDNN", torch.backends.mkldnn.is_available())
    monkeypatch.setattr(recurrent_gradient, "LARGE", large)
    rows, inputs, outputs = shape
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, inputs, generator=generator)
    matrix = torch.randn(outputs, inputs, generator=generator)
    expected = (x.double() @ matrix.double().T).float()
    for left in (x, x.T.contiguous().T):
        for right in (matrix, matrix.T.contiguous().T):
            torch.testing.assert_close(product(left, right), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(product(x[:1].expand(rows, -1), matrix)[-1], expected[0], rtol=1e-5, atol=1e-4)
    transposed = recurrent_gradient.transposed_product(x.T.contiguous(), matrix.T.contiguous())
    torch.testing.assert_close(transposed, expected, rtol=1e-5, atol=1e-4)


@every_cell
def test_a_layer_of_one_unit_learns(name: str) -> None:
    model = CharRNN(ModelConfig(name, layers=2, hidden=1, embedding=1), V, torch.Generator().manual_seed(0))
    model.prepare_for_training(0.3, 0.3, None, torch.Generator().manual_seed(0))
    for fused in (True, False):
        for layer in model.stack:
            layer.fused = fused
        model.zero_grad()
        logits, _ = model(torch.from_numpy(ids()), model.start(B))
        logits.square().sum().backward()
        assert all(gradient.isfinite().all() for gradient in gradients_of(model))


@every_cell
def test_a_gradient_asked_for_twice_is_the_same(name: str) -> None:
    model = stepped(network(name))
    logits, _ = model(torch.from_numpy(ids()), model.start(B))
    loss = logits.square().sum()
    first, second = (
        torch.autograd.grad(loss, list(model.parameters()), retain_graph=again) for again in (True, False)
    )
    for left, right in zip(first, second, strict=True):
        assert (left == right).all()


@every_cell
def test_feeding_ab_then_c_is_feeding_abc(name: str) -> None:
    model = network(name)
    twin = numpy_twin(model)
    whole, end = twin(ids(), twin.start(B))
    for cut in (1, 4, T - 1):
        first, state = twin(ids()[:, :cut], twin.start(B))
        second, state = twin(ids()[:, cut:], state)
        np.testing.assert_allclose(np.concatenate([first, second], 1), whole, atol=1e-13)
        for left, right in zip(flat(state), flat(end), strict=True):
            np.testing.assert_allclose(left, right, atol=1e-13)
        text = torch.from_numpy(ids())
        _, state_at_cut = model(text[:, :cut], model.start(B))
        cut_logits, _ = model(text[:, cut:], detach(state_at_cut))
        np.testing.assert_allclose(cut_logits.detach().numpy(), whole[:, cut:], atol=1e-12)


@every_cell
def test_rows_of_a_batch_do_not_see_each_other(name: str) -> None:
    twin = numpy_twin(network(name))
    together, _ = twin(ids(), twin.start(B))
    for row in range(B):
        alone, _ = twin(ids()[row : row + 1], twin.start(1))
        np.testing.assert_allclose(alone[0], together[row], atol=1e-13)


@pytest.mark.parametrize("batch", [1, 2, FEW, FEW + 1, 64])
def test_numpys_product_is_the_sum_over_the_inputs_for_every_batch_size_and_slice(batch: int) -> None:
    drawn = np.random.default_rng(batch)
    x, matrix = drawn.normal(size=(batch, 33)), drawn.normal(size=(48, 33))
    recurrent = Recurrent(matrix)
    for rows in (slice(None), slice(16), slice(16, None), slice(None, 16)):
        expected = np.einsum("bd,rd->br", x, matrix[rows])
        for factor in (recurrent[rows], recurrent if len(expected[0]) == 48 else matrix[rows]):
            np.testing.assert_allclose(NumpyOps.product(x, factor), expected, rtol=0, atol=1e-12)
            bias = drawn.normal(size=expected.shape)
            np.testing.assert_allclose(NumpyOps.affine(bias, x, factor), bias + expected, rtol=0, atol=1e-12)


@every_cell
def test_a_stream_read_character_by_character_is_the_same_alone_and_in_a_small_batch(name: str) -> None:
    config, drawn = ModelConfig(cell=name, layers=LAYERS, hidden=72, embedding=0), np.random.default_rng(0)
    shapes = parameters.shapes(config, V)
    twin = Inference(config, {key: drawn.normal(0, 0.3, shapes[key]).astype(np.float32) for key in shapes})
    text = drawn.integers(0, V, (FEW, T))

    def stepped(text: np.ndarray) -> tuple[np.ndarray, tuple]:
        state, results = twin.start(len(text)), []
        for t in range(T):
            logits, state = twin(text[:, t : t + 1], state)
            results.append(logits)
        return np.concatenate(results, 1), state

    together, end = stepped(text)
    for row in range(FEW):
        alone, alone_end = stepped(text[row : row + 1])
        assert (alone[0] == together[row]).all()
        for left, right in zip(flat(alone_end), flat(end), strict=True):
            assert (left[0] == right[row]).all()
        at_once, _ = twin(text[row : row + 1], twin.start(1))
        np.testing.assert_allclose(at_once, alone, rtol=1e-4, atol=1e-4)


@every_cell
def test_reading_nothing_changes_nothing(name: str) -> None:
    twin = numpy_twin(network(name))
    _, state = twin(ids(), twin.start(B))
    logits, after = twin(ids()[:, :0], state)
    assert logits.shape == (B, 0, V)
    for left, right in zip(flat(state), flat(after), strict=True):
        assert (left == right).all()


@every_cell
def test_a_trace_only_watches_and_sees_every_step(name: str) -> None:
    twin = numpy_twin(network(name))
    seen: list[tuple[int, np.ndarray]] = []
    plain, state = twin(ids(), twin.start(B))
    traced, traced_state = twin(
        ids(), twin.start(B), lambda layer, state, gates: seen.append((layer, state[0]))
    )
    assert (plain == traced).all()
    for left, right in zip(flat(state), flat(traced_state), strict=True):
        assert (left == right).all()
    assert [layer for layer, _ in seen] == [0] * T + [1] * T
    assert (seen[-1][1] == state[-1][0]).all()


@pytest.mark.slow
@every_cell
def test_gradients_match_finite_differences(name: str) -> None:
    cell = cells.get(name)
    generator = torch.Generator().manual_seed(0)
    shapes = cell.shapes(4, H)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)

    parameters = [drawn(*shape) for shape in shapes.values()]
    inputs, initial = drawn(2, B, 4), [drawn(B, H) for _ in cell.state_names]

    def two_steps(inputs: torch.Tensor, *rest: torch.Tensor) -> tuple[torch.Tensor, ...]:
        w = SimpleNamespace(**dict(zip(shapes, rest[: len(shapes)], strict=True)))
        state = tuple(rest[len(shapes) :])
        for row in cell.inputs(w, inputs, TorchOps):
            state, gates = cell.step(w, row, state, TorchOps)
        return (*state, *gates)

    assert torch.autograd.gradcheck(two_steps, (inputs, *parameters, *initial))


def test_the_lstm_is_torchs() -> None:
    model, theirs = network("lstm"), torch.nn.LSTM(3, H, LAYERS).double()
    with torch.no_grad():
        for index, layer in enumerate(model.stack):
            getattr(theirs, f"weight_ih_l{index}").copy_(layer.weight_ih)
            getattr(theirs, f"weight_hh_l{index}").copy_(layer.weight_hh)
            getattr(theirs, f"bias_ih_l{index}").copy_(layer.bias)
            getattr(theirs, f"bias_hh_l{index}").zero_()
    compare(model, theirs)


def test_the_gru_is_torchs() -> None:
    model, theirs = network("gru"), torch.nn.GRU(3, H, LAYERS).double()
    with torch.no_grad():
        for index, layer in enumerate(model.stack):
            getattr(theirs, f"weight_ih_l{index}").copy_(layer.weight_ih)
            getattr(theirs, f"weight_hh_l{index}").copy_(layer.weight_hh)
            getattr(theirs, f"bias_ih_l{index}").copy_(layer.bias)
            getattr(theirs, f"bias_hh_l{index}").copy_(torch.cat([torch.zeros(2 * H), layer.bias_hh]))
    compare(model, theirs)


@torch.enable_grad()
def compare(model: CharRNN, theirs: torch.nn.RNNBase) -> None:
    """Stepped and fused, against an embedding, torch's module and a readout of the same weights."""
    text = torch.from_numpy(ids())
    outputs, _ = theirs(model.embedding.weight.detach()[text.T])
    expected = model.readout(outputs).transpose(0, 1)
    expected.square().sum().backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for fused in (True, False):
        model.zero_grad()
        for layer in model.stack:
            layer.fused = fused
        logits, _ = model(text, model.start(B))
        torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
        logits.square().sum().backward()
        for index, layer in enumerate(model.stack):
            for ours, name in (
                (layer.weight_ih, "weight_ih"),
                (layer.weight_hh, "weight_hh"),
                (layer.bias, "bias_ih"),
            ):
                torch.testing.assert_close(ours.grad, gradients[f"{name}_l{index}"], rtol=1e-9, atol=1e-9)


def test_the_two_grus_are_two_functions() -> None:
    drawn = np.random.default_rng(0)
    after, before = cells.get("gru"), cells.get("gru-cho")
    w = SimpleNamespace(**{key: drawn.normal(size=shape) for key, shape in after.shapes(4, H).items()})
    w.bias_hh[:] = 0
    x, h = drawn.normal(size=(B, 3 * H)), drawn.normal(size=(B, H))
    (one,), _ = after.step(w, x, (h,), NumpyOps)
    (two,), _ = before.step(w, x, (h,), NumpyOps)
    assert np.abs(one - two).max() > 0.01


def test_a_fresh_lstm_has_its_forget_gate_open() -> None:
    model = CharRNN(ModelConfig(hidden=H), V, torch.Generator().manual_seed(0))
    bias = model.stack[0].bias.detach().view(4, H)
    assert (bias[1] == 1).all()
    assert (bias[[0, 2, 3]] == 0).all()


def test_fresh_recurrent_matrices_are_orthogonal_gate_by_gate() -> None:
    model = CharRNN(ModelConfig(cell="gru", hidden=8), V, torch.Generator().manual_seed(0))
    for block in model.stack[0].weight_hh.detach().split(8):
        torch.testing.assert_close(block @ block.T, torch.eye(8))


def test_an_unknown_cell_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no cell is called zzz; cells: gru, gru-cho, lstm,.* rnn"):
        cells.get("zzz")


@pytest.mark.parametrize("name", ["mut1", "mut2"])
def test_a_raw_input_is_projected_only_where_it_is_not_as_wide_as_the_cell(name: str) -> None:
    assert "projection" not in cells.get(name).shapes(H, H)
    assert cells.get(name).shapes(4, H)["projection"] == (H, 4)


@pytest.mark.parametrize("name", ["mut1", "mut2"])
def test_a_one_hot_input_as_wide_as_the_cell_is_the_raw_input_of_both_backends(name: str) -> None:
    model = CharRNN(
        ModelConfig(cell=name, hidden=V, embedding=0), V, torch.Generator().manual_seed(0)
    ).double()
    twin = numpy_twin(model)
    logits, _ = model(torch.from_numpy(ids()), model.start(B))
    np.testing.assert_allclose(twin(ids(), twin.start(B))[0], logits.detach().numpy(), atol=1e-12)


def test_cells_that_see_the_input_alone_are_read_in_parallel() -> None:
    assert IN_PARALLEL == ["mingru", "minlstm"]


@pytest.mark.parametrize("name", ["mut1", "mut2"])
def test_the_cells_with_a_raw_input_follow_their_equations(name: str) -> None:
    generator, cell = np.random.default_rng(0), cells.get(name)
    w = SimpleNamespace(**{key: generator.normal(size=shape) for key, shape in cell.shapes(H, H).items()})
    x, h = generator.normal(size=(B, H)), generator.normal(size=(B, H))
    first, second = x @ w.weight_ih[:H].T + w.bias[:H], x @ w.weight_ih[H:].T + w.bias[H:]
    u = w.weight_hh.reshape(-1, H, H)

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    if name == "mut1":
        z, r = sigmoid(first), sigmoid(second + h @ u[0].T)
        n = np.tanh((r * h) @ u[1].T + np.tanh(x) + w.bias_n)
    else:
        z, r = sigmoid(first + h @ u[0].T), sigmoid(x + h @ u[1].T + w.bias_r)
        n = np.tanh((r * h) @ u[2].T + second)
    (after,), _ = cell.step(w, cell.inputs(w, x, NumpyOps), (h,), NumpyOps)
    np.testing.assert_allclose(after, z * n + (1 - z) * h, atol=1e-13)
