"""Gradient norms through time agree with theory and with finite differences."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from charrnn import cells
from charrnn.errors import ConfigError
from charrnn.training import gradient_flow
from charrnn.training.gradient_flow import flow, fresh, singular_values, texts
from tests.conftest import TEXT, charrnn

V, T = 9, 60


def ids(length: int = T) -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, (3, length + 1))


@pytest.mark.parametrize("value", [0.7, 1.0, 1.2])
def test_a_linear_rnns_norm_goes_as_its_singular_value_to_the_power_of_the_distance(value: float) -> None:
    model = fresh("rnn", 1, 8, V, seed=0, singular=value)  # an orthogonal matrix, times the value
    with torch.no_grad():
        model.stack[0].weight_ih.mul_(1e-12)  # so near 0 the tanh is the identity
    (hidden,) = flow(model, ids())
    assert hidden.largest_singular_value == pytest.approx(value)
    assert hidden.norms[0] > 0.01
    np.testing.assert_allclose(hidden.norms, hidden.norms[0] * value ** np.arange(T), rtol=1e-4)


def test_the_gradient_of_a_cell_state_is_unchanged_over_any_distance_when_the_forget_gate_is_open() -> None:
    model = fresh("lstm", 1, 8, V, seed=0)
    with torch.no_grad():
        layer = model.stack[0]
        layer.weight_hh.zero_()
        layer.weight_ih.mul_(0.1)
        bias = layer.bias.view(4, 8)
        bias[0], bias[1] = -40.0, 60.0  # input gate 0, forget gate 1
    (memory,) = [result for result in flow(model, ids()) if result.state == "memory"]
    assert memory.norms[0] > 0.01
    np.testing.assert_allclose(memory.norms, memory.norms[0], rtol=1e-9)


@pytest.mark.parametrize("cell", cells.names())
def test_norms_are_the_gradients_of_finite_differences(cell: str) -> None:
    model, text = fresh(cell, 2, 5, V, seed=1), ids(6)[:1]
    norms = {(result.layer, result.state): result.norms for result in flow(model, text)}
    read, rest = torch.from_numpy(text[:, :3]), torch.from_numpy(text[:, 3:])
    _, state = model(read, model.start(1))

    @torch.no_grad()
    def loss(state) -> float:
        logits, _ = model(rest[:, :-1], state)
        return float(torch.nn.functional.cross_entropy(logits[:, -1], rest[:, -1]))

    for layer in range(2):
        for index, name in enumerate(model.stack[layer].cell.state_names):
            gradient = []
            for unit in range(5):
                ends = []
                for step in (1e-5, -1e-5):
                    moved = [[part.detach().clone() for part in layer_state] for layer_state in state]
                    moved[layer][index][0, unit] += step
                    ends.append(loss(tuple(map(tuple, moved))))
                gradient.append((ends[0] - ends[1]) / 2e-5)
            expected = np.linalg.norm(gradient)
            assert norms[layer, name][2] == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_clipping_multiplies_all_norms_by_the_factor_that_torch_multiplies_the_gradients_by() -> None:
    model, text = fresh("lstm", 1, 8, V, seed=0), ids()
    logits, _ = model(torch.from_numpy(text[:, :-1]), model.start(len(text)))
    torch.nn.functional.cross_entropy(logits[:, -1], torch.from_numpy(text[:, -1])).backward()
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3))
    for free, clipped in zip(flow(model, text), flow(model, text, clip=1e-3), strict=True):
        assert free.global_norm is None
        assert clipped.global_norm == pytest.approx(norm)
        assert clipped.clip_factor == pytest.approx(1e-3 / norm)
        assert (clipped.norms == free.norms).all()
        assert (free.clipped_norms == free.norms).all()
        assert (clipped.clipped_norms == clipped.clip_factor * clipped.norms).all()
    assert all(result.clip_factor == 1 for result in flow(model, text, clip=1e9))


@pytest.mark.parametrize("value", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("cell", [name for name in cells.names() if not name.startswith("min")])
def test_the_matrix_of_each_gate_of_each_layer_has_the_singular_value_that_was_asked_for(
    cell: str, value: float
) -> None:
    model = fresh(cell, 2, 6, V, seed=0, singular=value)
    for layer in (0, 1):
        for gate in model.stack[layer].weight_hh.detach().split(6):
            assert np.linalg.norm(gate.numpy(), 2) == pytest.approx(value)
        assert singular_values(model, layer)[1] == pytest.approx(value)


def test_a_cell_without_a_recurrent_matrix_has_no_singular_value_and_none_can_be_asked_for() -> None:
    assert singular_values(fresh("mingru", 1, 4, V, 0), 0) == (None, None)
    assert singular_values(fresh("rnn", 1, 4, V, 0), 0) == pytest.approx((1, 1))
    with pytest.raises(ConfigError, match="mingru has no recurrent matrix: leave mingru out of --cells"):
        fresh("mingru", 1, 4, V, 0, singular=2.0)


def test_small_recurrent_matrices_make_the_gradient_vanish_and_large_ones_make_it_explode() -> None:
    ends = []
    for value in (0.9, 1.5, 2.0):
        (hidden,) = flow(fresh("rnn", 1, 32, V, seed=0, singular=value), ids())
        ends.append(hidden.norms[-1] / hidden.norms[0])
    assert ends[0] < 1e-3
    assert ends[2] > 10
    assert ends == sorted(ends)


def test_a_norm_too_large_to_be_squared_is_an_error_that_names_a_length_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = fresh("rnn", 1, 32, V, seed=0, singular=3.0)
    (hidden,) = flow(model, ids())
    monkeypatch.setattr(gradient_flow, "LARGEST", hidden.norms[40] * 0.99)
    message = r"--length 60: \d+ characters back, the norm of rnn exceeds .*: try --length \d+$"
    with pytest.raises(ConfigError, match=message) as caught:
        flow(model, ids())
    (reach,), (shorter,) = (
        map(int, re.findall(form, str(caught.value))) for form in (r"(\d+) characters", r"try --length (\d+)")
    )
    assert hidden.norms[reach - 1] >= gradient_flow.LARGEST > hidden.norms[: reach - 1].max()
    assert flow(model, ids()[:, -shorter - 1 :])


def test_progress_is_told_twice_for_each_character() -> None:
    ticks: list[None] = []
    model = fresh("lstm", 2, 4, V, seed=0)
    watched = flow(model, ids(), tick=lambda: ticks.append(None))
    assert len(ticks) == 2 * T
    for one, other in zip(watched, flow(model, ids()), strict=True):
        assert (one.norms == other.norms).all()


def test_texts_are_spread_over_the_whole_and_a_short_one_is_an_error() -> None:
    rows = texts(np.arange(100), 9)
    assert rows.shape == (4, 10)
    assert (rows[0, 0], rows[-1, -1]) == (0, 99)
    with pytest.raises(ConfigError, match="--length 100: must be below 100, the number of characters"):
        texts(np.arange(100), 100)


def test_a_pipe_gets_a_line_for_each_cell_layer_state_and_distance() -> None:
    done = charrnn("gradient-flow", "--cells", "rnn,lstm", "--layers", "2", "--hidden", "6", "--length", "5")
    lines = [json.loads(line) for line in done.text.splitlines()]
    assert len(lines) == (2 * 1 + 2 * 2) * 5
    assert sorted({line["distance"] for line in lines}) == [1, 2, 3, 4, 5]
    fields = ["cell", "layer", "state", "distance", "norm", "singular_value", "gate_singular_value"]
    assert list(lines[0]) == fields
    assert {(line["cell"], line["layer"], line["state"]) for line in lines} == {
        (cell, layer, state)
        for cell, states in (("rnn", ["hidden"]), ("lstm", ["hidden", "memory"]))
        for layer in (0, 1)
        for state in states
    }
    assert all(math.isfinite(line["norm"]) for line in lines)


def test_a_line_has_the_norm_before_and_after_clipping_and_each_network_its_global_norm() -> None:
    command = "gradient-flow --cells rnn,lstm --singular 0.5,3 --hidden 6 --length 9 --clip 0.75"
    done = charrnn(*command.split())
    lines = [json.loads(line) for line in done.text.splitlines()]
    assert [line["gate_singular_value"] for line in lines] == pytest.approx(
        [0.5] * 9 + [3] * 9 + [0.5] * 18 + [3] * 18
    )
    for line in lines:
        assert line["clip_factor"] == pytest.approx(min(1, 0.75 / line["global_norm"]))
        assert line["clipped_norm"] == pytest.approx(line["norm"] * line["clip_factor"])
    notes = done.err.splitlines()
    assert len(notes) == 4
    assert [note.split(":")[0] for note in notes] == [
        f"{cell} (singular value {value})" for cell in ("rnn", "lstm") for value in ("0.5", "3")
    ]
    factors = {line["clip_factor"] for line in lines}
    assert sum("clipped to 0.75, times" in note for note in notes) == len(factors - {1})


def test_a_terminal_gets_curves() -> None:
    seen = charrnn("gradient-flow", "--cells", "rnn,gru", "--hidden", "6", "--length", "30", tty=True).text
    assert "mean norm of d loss / d state" in seen
    assert "gru layer 0 hidden" in seen
    command = ["gradient-flow", "--cells", "rnn", "--singular", "0.5,2", "--hidden", "6", "--length", "30"]
    seen = charrnn(*command, "--clip", "1e-6", tty=True).text
    assert "rnn (singular value 0.5) layer 0 hidden, clipped: global norm " in seen


def test_a_checkpoint_is_followed_over_a_text_or_a_sample_of_its_own(run: Path) -> None:
    Path("text.txt").write_text(TEXT)
    for arguments in (["tiny", "text.txt"], ["tiny"]):
        done = charrnn("gradient-flow", *arguments, "--length", "20")
        assert len(done.text.splitlines()) == 2 * 2 * 20, done.err
    again = charrnn("gradient-flow", "tiny", "--length", "20")
    assert again.text == done.text
    assert charrnn("gradient-flow", "tiny", "--length", "20", "--seed", "2").text != done.text


@pytest.mark.slow
@pytest.mark.parametrize("cell", cells.names())
def test_one_unit_is_enough(cell: str) -> None:
    done = charrnn("gradient-flow", "--cells", cell, "--hidden", "1", "--length", "3")
    assert done.status == 0, done.err
    assert all(math.isfinite(json.loads(line)["norm"]) for line in done.text.splitlines())


def test_a_seed_that_torch_cannot_take_is_refused() -> None:
    done = charrnn("gradient-flow", "--cells", "rnn", "--hidden", "2", "--seed", str(2**63))
    assert done.status == 2
    assert done.err.startswith(f"charrnn: --seed {2**63}: must be ")


def test_spaces_between_the_names_of_cells_are_ignored() -> None:
    done = charrnn("gradient-flow", "--cells", "rnn, gru", "--hidden", "2", "--length", "1")
    assert [json.loads(line)["cell"] for line in done.text.splitlines()] == ["rnn", "gru"]


@pytest.mark.slow
def test_a_reader_that_stops_is_no_error() -> None:
    command = [sys.executable, "-m", "charrnn", "gradient-flow", "--cells", "rnn", "--hidden", "2"]
    with subprocess.Popen(
        [*command, "--length", "2000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0


def test_checkpoints_are_compared_under_their_names(run: Path) -> None:
    Path("text.txt").write_text(TEXT)
    shutil.copytree(run, run.parent / "other")
    done = charrnn("gradient-flow", "tiny", "text.txt", "--beside", "other", "--length", "3")
    lines = [json.loads(line) for line in done.text.splitlines()]
    assert [line.pop("checkpoint") for line in lines] == ["tiny"] * 12 + ["other"] * 12
    alone = charrnn("gradient-flow", "tiny", "text.txt", "--length", "3")
    assert [json.loads(line) for line in alone.text.splitlines()] == lines[:12] == lines[12:]


@pytest.mark.slow
def test_the_same_curves_are_the_same_picture() -> None:
    command = ["gradient-flow", "--cells", "rnn", "--hidden", "4", "--length", "9", "--svg"]
    for name in ("a.svg", "b.svg"):
        assert charrnn(*command, name).status == 0
    assert Path("a.svg").read_bytes() == Path("b.svg").read_bytes()


@pytest.mark.slow
def test_pictures_are_drawn() -> None:
    command = "gradient-flow --cells rnn --hidden 4 --length 9 --png f.png --svg f.svg"
    done = charrnn(*command.split())
    assert done.status == 0, done.err
    assert Path("f.png").read_bytes().startswith(b"\x89PNG")
    assert ">rnn layer 0 hidden, largest singular value 1.00</text>" in Path("f.svg").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cells", "rnn,lstn"], "no cell is called lstn; did you mean lstm?"),
        (["--cells", "rnn", "--length", "0"], "--length 0"),
        (["--cells", "rnn", "--length", "99999"], "--length 99999"),
        (["--cells", "rnn", "--hidden", "0"], "--hidden 0"),
        (["--cells", "rnn", "--layers", "1000"], "--layers 1000"),
        (
            ["--cells", "rnn,lstm", "--hidden", "1000000"],
            "would have 1,000,130,004,225 parameters; at most 20,000,000 are possible",
        ),
        (["--cells", "rnn", "--layers", "100", "--length", "1000"], "must be at most 781"),
        (["--cells", ""], "no cell is called ''; cells: gru"),
        (
            ["--cells", "rnn", "--length", "3", "--svg", "nowhere/f.svg"],
            "--svg nowhere/f.svg: there is no folder nowhere",
        ),
        (["--cells", "rnn", "--clip", "-1"], "--clip -1"),
        (["--cells", "rnn", "--clip", "inf"], "--clip inf"),
        (["--cells", "rnn", "--singular", "1,0"], "--singular 1,0: must be numbers above 0"),
        (["--cells", "rnn", "--singular", "1,,2"], "--singular 1,,2: must be numbers above 0"),
        (["--cells", "rnn", "--singular", "nan"], "--singular nan: must be numbers above 0"),
        (["tiny", "--singular", "2"], "--singular has no effect without --cells"),
        (["tiny", "short.txt"], "--length 100: must be below 3, the number of characters of the text"),
        (["tiny", "--cells", "rnn"], "leave out the checkpoints"),
        (["--cells", "rnn", "--beside", "tiny"], "leave out the checkpoints"),
        (["tiny", "--beside", "tiny"], "compares checkpoints on a text"),
        (["tiny", "short.txt", "--beside", "none", "--length", "2"], "no checkpoint is called none"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(run: Path, arguments: list[str], says: str) -> None:
    Path("short.txt").write_text("the")
    done = charrnn("gradient-flow", *arguments)
    assert done.status == (1 if "nowhere" in says or "none" in says else 2)
    assert says in done.err
    assert len(done.err.splitlines()) == 1
