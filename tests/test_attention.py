"""Attention over the last outputs of the top layer, in both backends, in training and in the commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from charrnn.cells import State
from charrnn.cli.train_command import train_command
from charrnn.config import ModelConfig, TrainConfig
from charrnn.errors import CheckpointError, ConfigError
from charrnn.inference.network import Inference
from charrnn.inference.states import Cursor, load_state, save_state, select_rows
from charrnn.inspection.inspect_cell import attention_weights
from charrnn.origin import Origin
from charrnn.runs import checkpoint, parameters
from charrnn.runs.checkpoint import BEST, LAST, Header, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import attention as module
from charrnn.training.adapt import LearningNetwork
from charrnn.training.gradient_flow import flow
from charrnn.training.network import CharRNN, detach, weights
from charrnn.training.ops import TorchOps
from tests.conftest import TEXT, charrnn, random_weights
from tests.oracles import gradients_of
from tests.test_train import trained

B, T, V, H = 3, 9, 7, 5
CONNECTIONS = [(False, "top"), (True, "top"), (False, "all"), (True, "all")]
every_reach = pytest.mark.parametrize("reach", [1, 2, 4, T, T + 11])
every_cell = pytest.mark.parametrize("cell", ["lstm", "gru-cho", "mingru"])


@pytest.fixture(params=[1, 3, module.SHORTEST_BLOCK])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of this many steps, at least."""
    monkeypatch.setattr(module, "SHORTEST_BLOCK", request.param)


def network(reach: int, cell: str = "lstm", layers: int = 2, **settings: Any) -> CharRNN:
    """A float64 network whose parameters are all drawn, and whose attention has weights of all sizes."""
    config = ModelConfig(cell, layers, H, 3, attention=reach, **settings)
    model = CharRNN(config, V, torch.Generator().manual_seed(0)).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, 2.0 if name.startswith("attention") else 0.6, generator=generator)
    return model


def ids(rows: int = B, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, V, (rows, T)))


def plain(model: CharRNN, ids: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
    """Logits (B, T, V), and (B, N) weights of each step, oldest first: a loop over steps and over outputs."""
    config, states = model.config, list(model.start(len(ids))[: model.config.layers])
    zero = model.readout.weight.new_zeros(len(ids), H)
    tops, logits, weights = [zero] * config.attention, [], []
    for column in ids.T:
        x, outputs = model.embedding(column), []
        for index, layer in enumerate(model.stack):
            rows = layer.cell.inputs(layer.weights(), x, TorchOps)
            states[index], _ = layer.cell.step(layer.weights(), rows, states[index], TorchOps)
            hidden = states[index][0]
            x = hidden + x if config.residual and index > 0 else hidden
            outputs.append(x)
        tops.append(x)
        scores = []
        for position, past in enumerate(tops[-config.attention :]):
            query = x @ model.attention.query.T
            scores.append((query * past).sum(1) / H**0.5 + model.attention.distance[position])
        powers = [score.exp() for score in scores]
        total = sum(powers, torch.zeros(()))
        weights.append([power / total for power in powers])
        context = zero
        for weight, past in zip(weights[-1], tops[-config.attention :], strict=True):
            context = context + weight[:, None] * past
        read = torch.cat([*(outputs if config.readout == "all" else outputs[-1:]), context], 1)
        logits.append(read @ model.readout.weight.T + model.readout.bias)
    return torch.stack(logits, 1), weights


def assert_equal_states(one: State, other: State, atol: float = 1e-12) -> None:
    for left, right in zip(one, other, strict=True):
        for part, other_part in zip(left, right, strict=True):
            np.testing.assert_allclose(np.asarray(part), np.asarray(other_part), atol=atol)


# The network


@every_reach
@pytest.mark.parametrize(("residual", "readout"), CONNECTIONS)
@pytest.mark.usefixtures("block")
def test_both_backends_compute_what_a_plain_loop_computes(reach: int, residual: bool, readout: str) -> None:
    model = network(reach, residual=residual, readout=readout)
    expected = plain(model, ids())[0].detach()
    logits, state = model(ids(), model.start(B))
    twin = Inference(model.config, weights(model))
    ours, our_state = twin(ids().numpy(), twin.start(B))
    torch.testing.assert_close(logits, expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-11)
    assert_equal_states(our_state, detach(state))


@every_reach
@every_cell
@pytest.mark.usefixtures("block")
def test_gradients_are_those_of_a_plain_loop(reach: int, cell: str) -> None:
    model, looped = network(reach, cell), network(reach, cell)
    model(ids(), model.start(B))[0].square().sum().backward()
    plain(looped, ids())[0].square().sum().backward()
    for left, right in zip(gradients_of(model), gradients_of(looped), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-8)


@every_reach
@every_cell
@pytest.mark.parametrize("cut", [1, 4, T - 1])
def test_cutting_the_text_changes_nothing(reach: int, cell: str, cut: int) -> None:
    model = network(reach, cell)
    twin = Inference(model.config, weights(model))
    whole, _ = model(ids(), model.start(B))
    first, state = model(ids()[:, :cut], model.start(B))
    second, _ = model(ids()[:, cut:], detach(state))
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-12, atol=1e-12)
    before, state = twin(ids()[:, :cut].numpy(), twin.start(B))
    after, _ = twin(ids()[:, cut:].numpy(), state)
    np.testing.assert_allclose(np.concatenate([before, after], 1), whole.detach().numpy(), atol=1e-12)


@every_reach
def test_rows_do_not_see_each_other(reach: int) -> None:
    model = network(reach)
    twin = Inference(model.config, weights(model))
    logits, state = model(ids(), model.start(B))
    ours, our_state = twin(ids().numpy(), twin.start(B))
    for row in range(B):
        alone, alone_state = model(ids()[[row]], model.start(1))
        torch.testing.assert_close(logits[[row]], alone, rtol=1e-12, atol=1e-12)
        our_alone, _ = twin(ids()[[row]].numpy(), twin.start(1))
        np.testing.assert_allclose(ours[[row]], our_alone, atol=1e-12)
        assert_equal_states(select_rows(our_state, [row]), detach(alone_state))
        assert_equal_states(
            tuple(tuple(part[[row]] for part in layer) for layer in detach(state)), detach(alone_state)
        )


@every_reach
@pytest.mark.parametrize("times", [1, T])
def test_a_state_is_not_changed_by_reading_on_from_it(reach: int, times: int) -> None:
    model = network(reach)
    twin = Inference(model.config, weights(model))
    _, state = twin(ids().numpy(), twin.start(B))
    copies = [[part.copy() for part in layer] for layer in state]
    tensors: State = tuple(tuple(torch.from_numpy(part) for part in layer) for layer in state)
    twin(ids(seed=1)[:, :times].numpy(), state)
    model(ids(seed=1)[:, :times], tensors)
    assert_equal_states(state, tuple(map(tuple, copies)), atol=0)


def test_attention_to_one_output_reads_the_current_output_twice() -> None:
    model = network(1)
    twin = Inference(model.config, weights(model))
    arrays = {name: value for name, value in weights(model).items() if not name.startswith("attention")}
    left, right = np.split(arrays["readout.weight"], 2, 1)
    without = Inference(replace(model.config, attention=0), arrays | {"readout.weight": left + right})
    logits, _ = twin(ids().numpy(), twin.start(B))
    expected, _ = without(ids().numpy(), without.start(B))
    np.testing.assert_allclose(logits, expected, atol=1e-12)


def test_outputs_before_the_text_add_nothing_but_take_their_share() -> None:
    model = network(4)
    with torch.no_grad():
        model.attention.distance[:3], model.attention.distance[3] = 40.0, -40.0  # all weight on what is older
    twin = Inference(model.config, weights(model))
    logits, state = twin(ids()[:, :1].numpy(), twin.start(B))
    expected = state[1][0] @ twin.readout[:, :H].T + twin.readout_bias
    np.testing.assert_allclose(logits[:, 0], expected, atol=1e-12)


def test_long_windows_need_no_memory_for_all_pairs_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    pad = functional.pad

    def recorded(x: Tensor, widths: tuple[int, ...]) -> Tensor:
        result = pad(x, widths)
        sizes.append(result.numel())
        return result

    monkeypatch.setattr(functional, "pad", recorded)
    attention = module.Attention(4, H)
    steps = 1000
    attention(torch.zeros(steps, 1, H), attention.start(1))
    assert sum(sizes) <= 2 * steps * (module.SHORTEST_BLOCK + 4)


@pytest.mark.parametrize("reach", [2, 4, T + 11])
def test_a_network_that_learns_hands_its_state_to_numpy(reach: int) -> None:
    config = ModelConfig("lstm", 1, H, 3, attention=reach)
    arrays = random_weights(config, V)
    learning, twin = LearningNetwork(config, arrays), Inference(config, arrays)
    assert_equal_states(learning.start(2), twin.start(2), atol=0)
    _, state = learning(ids(1).numpy(), learning.start(1))
    _, expected = twin(ids(1).numpy(), twin.start(1))
    assert_equal_states(state, expected, atol=1e-5)
    learning.learn(ids(1, seed=1).numpy()[0])
    assert not np.array_equal(weights(learning.model)["attention.query"], arrays["attention.query"])


@pytest.mark.parametrize("distance", [1, 3])
def test_gradient_flow_is_that_of_the_steps_with_their_attention(distance: int) -> None:
    """The norms for the states that a step receives, while the outputs before that step stay as they are."""
    model, text = network(4), ids()
    norms = [result.norms[distance - 1] for result in flow(model, text.numpy())]
    state = model(text[:, : T - 1 - distance], model.start(B))[1]
    parts = [part.detach().requires_grad_() for layer in state for part in layer]
    received: State = (tuple(parts[:2]), tuple(parts[2:4]), (parts[4].detach(),))
    logits, _ = model(text[:, T - 1 - distance : T - 1], received)
    loss = functional.cross_entropy(logits[:, -1], text[:, -1], reduction="sum")
    gradients = torch.autograd.grad(loss, parts[:4])
    np.testing.assert_allclose(norms, [float(g.norm(dim=1).mean()) for g in gradients], rtol=1e-10)


# Settings


@pytest.mark.parametrize(("residual", "readout"), CONNECTIONS)
def test_attention_adds_two_parameters_and_columns_of_the_readout(residual: bool, readout: str) -> None:
    settings: dict[str, Any] = {"layers": 3, "hidden": H, "residual": residual, "readout": readout}
    before = parameters.shapes(ModelConfig(**settings), V)
    after = parameters.shapes(ModelConfig(**settings, attention=4), V)
    columns = before["readout.weight"][1] + H
    new = {"attention.query": (H, H), "attention.distance": (4,), "readout.weight": (V, columns)}
    assert after == before | new
    assert list(network(4, residual=residual, layers=3, readout=readout).state_dict()) == list(after)


def test_a_checkpoint_names_attention_only_where_there_is_some() -> None:
    assert "attention" not in ModelConfig().to_dict()
    config = ModelConfig(attention=4)
    assert ModelConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("value", [-1, 1.0, "4", True, None, 2**40])
def test_attention_of_a_wrong_type_or_size_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"--attention .*: must be a whole number from 0 to"):
        ModelConfig(attention=value)


def test_the_command_that_repeats_a_training_has_its_attention() -> None:
    origin = Origin(texts=["a.txt"])
    assert "--attention 7" in train_command(ModelConfig(attention=7), TrainConfig(), origin, 20_000)
    assert "--attention" not in train_command(ModelConfig(), TrainConfig(), origin, 20_000)


# Files


def saved(folder: Path, reach: int = 4, **settings: Any) -> Header:
    """A run in this folder; its weights are drawn."""
    vocabulary = Vocabulary("".join(sorted(set(TEXT))))
    header = Header(ModelConfig(layers=2, hidden=6, embedding=4, attention=reach, **settings), vocabulary)
    folder.mkdir(parents=True)
    save_checkpoint(folder / BEST, header, random_weights(header.network, len(vocabulary)))
    return header


def test_a_checkpoint_with_attention_has_format_3(tmp_path: Path) -> None:
    header = saved(tmp_path / "run")
    record = (tmp_path / "run" / BEST).read_bytes()
    assert b'\\"format\\": 3' in record or b'\\"format\\":3' in record
    assert checkpoint.load(tmp_path / "run" / BEST).header.network == header.network


def test_a_saved_state_has_the_last_outputs(tmp_path: Path) -> None:
    config = ModelConfig(layers=2, hidden=H, embedding=3, attention=4)
    twin = Inference(config, random_weights(config, V))
    _, state = twin(ids(1).numpy(), twin.start(1))
    save_state(tmp_path / "state", Cursor(np.array([2]), state), {"weights": "w"})
    loaded = load_state(tmp_path / "state", {"weights": "w"}, twin, V)
    assert_equal_states(loaded.state, state, atol=0)
    longer = replace(config, attention=5)
    with pytest.raises(CheckpointError, match="do not fit the model"):
        load_state(tmp_path / "state", {"weights": "w"}, Inference(longer, random_weights(longer, V)), V)


@pytest.mark.slow
def test_a_state_to_resume_from_without_its_outputs_is_refused(tmp_path: Path) -> None:
    model = ModelConfig(hidden=6, embedding=4, attention=3)
    trained(tmp_path, model=model, steps=2, save_every=2)
    last = checkpoint.load(tmp_path / "run" / LAST, resume=True)
    del last.weights["resume.carry.attention"]
    with pytest.raises(CheckpointError, match=r"resume\.carry\.attention"):
        trained(tmp_path, model=model, resume=last)


# Commands


def test_train_refuses_attention_to_nothing_or_beyond_the_window() -> None:
    Path("t.txt").write_text(TEXT)
    for value in ("0", "-3", "many", "1.5"):
        done = charrnn("train", "t.txt", "--attention", value)
        assert (done.status, done.err.count("\n")) == (2, 1)
        rule = "must be a whole number of at least 1; leave it out for none"
        assert f"--attention {value}: {rule}" in done.err
    done = charrnn("train", "t.txt", "--attention", "65")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "--attention 65: must be at most the window, --bptt 64" in done.err
    assert not Path("checkpoints").exists()


def test_train_from_a_model_keeps_its_attention_and_refuses_a_shorter_window(tmp_path: Path) -> None:
    Path("t.txt").write_text(TEXT)
    saved(tmp_path / "checkpoints" / "old", 8)
    done = charrnn("train", "t.txt", "--from", "old", "--attention", "8")
    assert "--from old keeps that model's architecture: leave out --attention" in done.err
    done = charrnn("train", "t.txt", "--from", "old", "--bptt", "7")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "--attention 8: must be at most the window, --bptt 7: give --bptt 8 or more" in done.err


@pytest.mark.slow
def test_a_network_with_attention_is_trained_described_sampled_and_learned_from_again(tmp_path: Path) -> None:
    Path("t.txt").write_text(TEXT)
    sizes = ["--hidden", "8", "--bptt", "16", "--streams", "4", "--steps", "4", "--split", "80,10,10"]
    done = charrnn("train", "t.txt", "--attention", "16", *sizes, "--name", "one")
    assert done.status == 0, done.err
    assert "lstm 1 x 8, embedding 64, attention over 16 characters:" in done.err
    assert "--attention 16" in done.err  # in the command that repeats it
    assert json.loads(charrnn("info", "one", "--json").text)["attention"] == 16
    again = charrnn("train", "t.txt", "--from", "one", *sizes[2:], "--name", "two")
    assert again.status == 0, again.err
    assert checkpoint.read_header(tmp_path / "checkpoints" / "two" / BEST).network.attention == 16
    whole = charrnn("sample", "one", "--length", "40", "--seed", "1")
    assert len(whole.text) >= 40
    adapted = charrnn("score", "one", "t.txt", "--adapt")
    assert adapted.status == 0, adapted.err


@pytest.mark.parametrize("reach", [1, 3, 20])
def test_the_weights_shown_are_those_of_the_network(reach: int) -> None:
    model = network(reach).float()
    text = ids(1).numpy()[0]
    twin = Inference(model.config, weights(model))
    read = attention_weights(twin, np.array_split(text, 2))
    values = np.concatenate([rows for _, rows in read])
    expected = np.array([[float(weight.detach()) for weight in step] for step in plain(model, ids(1))[1]])
    np.testing.assert_allclose(values[:, ::-1], expected, atol=1e-5)
    np.testing.assert_allclose(values.sum(1), 1, atol=1e-5)


def test_inspect_cell_shows_attention_as_marks_colours_and_json(tmp_path: Path) -> None:
    saved(tmp_path / "checkpoints" / "old", 3)
    text = b"the cat sat\n"
    plain = charrnn("inspect-cell", "old", "--of", "attention", stdin=text)
    title, empty, first, *rows = plain.text.splitlines()
    assert title == "old attention, by characters back: 0  ▅▆▇█ 1, marks under each line"
    assert (empty, first) == ("", "  the cat sat⏎")
    assert [row[0] for row in rows] == ["0", "1", "2"]
    lines = charrnn("inspect-cell", "old", "--of", "attention", "--json", stdin=text).text.splitlines()
    values = [json.loads(line)["values"] for line in lines]
    assert [json.loads(line)["char"] for line in lines] == list(text.decode())
    assert all(list(value) == ["0", "1", "2"] for value in values)
    assert [round(sum(value.values()), 4) for value in values] == [1.0] * len(text)
    painted = charrnn("inspect-cell", "old", "--of", "attention", "--colour", "always", stdin=text)
    assert "\x1b[" in painted.text


@pytest.mark.slow
def test_a_picture_of_attention_is_a_heat_map_even_of_few_outputs(tmp_path: Path) -> None:
    saved(tmp_path / "checkpoints" / "old", 3)
    done = charrnn("inspect-cell", "old", "--of", "attention", "--svg", "a.svg", stdin=TEXT.encode())
    assert done.status == 0, done.err
    picture = Path("a.svg").read_text(encoding="utf-8")
    assert "characters back" in picture
    assert "<image" in picture


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer", "0"], "--layer has no effect with --of attention"),
        (["--unit", "1"], "--unit has no effect with --of attention"),
        (["--find"], "--of attention and --find: give only one of them"),
        (["--html", "a.html"], "--html and --of attention: give only one of them"),
        ([], "--of attention: this model has no attention; charrnn train --attention 32 trains one with it"),
    ],
)
def test_attention_is_not_shown_of_units_or_of_a_model_without_it(
    run: Path, options: list[str], message: str
) -> None:
    done = charrnn("inspect-cell", "tiny", "--of", "attention", *options, stdin=TEXT.encode())
    assert (done.status, done.out) == (2, b"")
    assert done.err == f"charrnn: {message}\n"
