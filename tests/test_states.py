"""States: the rows of a batch, and the file that keeps one between calls."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from charrnn.config import ModelConfig
from charrnn.errors import CheckpointError
from charrnn.inference.network import Inference
from charrnn.inference.states import Cursor, concatenate_states, load_state, save_state, select_rows
from tests.conftest import random_weights

V = 5
MODEL = {"weights": "abc", "vocabulary": "def"}


def network(cell: str = "lstm", layers: int = 2, hidden: int = 3) -> Inference:
    config = ModelConfig(cell, layers, hidden, 2)
    return Inference(config, random_weights(config, V))


def filled(predictor: Inference, batch: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    return tuple(
        tuple(generator.normal(size=part.shape).astype(part.dtype) for part in layer)
        for layer in predictor.start(batch)
    )


def same(one, other) -> bool:
    parts = [[(part.dtype, part.shape, part.tobytes()) for part in layer] for layer in one]
    return parts == [[(part.dtype, part.shape, part.tobytes()) for part in layer] for layer in other]


@given(st.integers(1, 6), st.data())
def test_a_batch_is_its_rows_side_by_side(batch: int, data) -> None:
    state = filled(network(), batch)
    indices = data.draw(st.lists(st.integers(0, batch - 1), min_size=1, max_size=8))
    assert same(concatenate_states([select_rows(state, [k]) for k in range(batch)]), state)
    assert same(select_rows(state, indices), concatenate_states([select_rows(state, [k]) for k in indices]))
    assert same(select_rows(state, np.array(indices)), select_rows(state, indices))
    cut = data.draw(st.integers(0, batch))
    assert same(
        concatenate_states([select_rows(state, range(cut)), select_rows(state, range(cut, batch))]), state
    )


@given(
    st.sampled_from(["lstm", "gru", "rnn", "mingru"]),
    st.integers(1, 3),
    st.integers(1, 9),
    st.lists(st.integers(0, V - 1), min_size=1, max_size=20),
    st.integers(0, 99),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_a_loaded_state_equals_the_saved_one(tmp_path: Path, cell, layers, hidden, unread, seed) -> None:
    predictor = network(cell, layers, hidden)
    start = Cursor(np.array(unread), filled(predictor, 1, seed))
    save_state(tmp_path / "state", start, MODEL)
    result = load_state(tmp_path / "state", MODEL, predictor, V)
    assert result.unread.tolist() == unread
    assert same(result.state, start.state)


def test_a_row_of_a_batch_can_be_saved(tmp_path: Path) -> None:
    state = select_rows(filled(network(), 4), [2])
    save_state(tmp_path / "state", Cursor(np.array([1, 2], np.uint8)[::-1], state), MODEL)
    result = load_state(tmp_path / "state", MODEL, network(), V)
    assert result.unread.tolist() == [2, 1]
    assert same(result.state, state)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    save_state(path, Cursor(np.array([1]), filled(network(), 1)), MODEL)
    return path


def refused(path: Path, model: dict[str, str] = MODEL, predictor: Inference | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_state(path, model, predictor or network(), V)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_changed_byte_of_a_state_is_refused(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    assert "SHA-256" in refused(saved)


def test_the_state_of_another_model_is_refused_with_what_differs(saved: Path) -> None:
    message = refused(saved, {**MODEL, "weights": "xyz"})
    assert "another model" in message
    assert "weights are 'abc', this model's 'xyz'" in message
    assert "another model: its cell are None, this model's 'lstm'" in refused(saved, {"cell": "lstm"})


@pytest.mark.parametrize("other", [network(layers=1), network(hidden=4), network("gru")])
def test_a_state_of_another_shape_is_refused(saved: Path, other: Inference) -> None:
    assert "damaged" in refused(saved, predictor=other)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "none", tmp_path / "none" / "state", tmp_path / "file" / "state"):
        assert refused(path) == f"no saved state at {path}"
    assert refused(tmp_path) == f"{tmp_path} is not a file"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a file" in refused(tmp_path / "pipe")


def test_a_state_cut_short_anywhere_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for size in range(len(whole)):
        saved.write_bytes(whole[:size])
        refused(saved)


@given(st.integers(0, 10**6), st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_byte_changed_is_refused_or_another_state_of_the_same_shape(
    saved: Path, at: int, byte: int
) -> None:
    whole = bytearray(saved.read_bytes())
    whole[at % len(whole)] = byte
    changed = saved.with_name("changed")
    changed.write_bytes(whole)
    message, result = "", None
    try:
        result = load_state(changed, MODEL, network(), V)
    except CheckpointError as error:
        message = str(error)
    assert "\n" not in message
    if result is not None:
        assert [[part.shape for part in layer] for layer in result.state] == [[(1, 3)] * 2] * 2
        assert set(result.unread.tolist()) <= set(range(V))


def rewritten(path: Path, change: Callable[[dict, dict], object]) -> None:
    tensors = load_file(path)
    header = {"format": 1, "model": MODEL}
    change(tensors, header)
    save_file(tensors, path, {"charrnn-state": json.dumps(header)})


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, header: tensors.pop("0.0"),
        lambda tensors, header: tensors.pop("unread"),
        lambda tensors, header: tensors.update(unread=np.zeros(0, np.int64)),
        lambda tensors, header: tensors.update(unread=np.array([V])),
        lambda tensors, header: tensors.update(unread=np.array([-1])),
        lambda tensors, header: tensors.update(unread=np.array([[1]])),
        lambda tensors, header: tensors.update(unread=np.array([1.0])),
        lambda tensors, header: tensors.update({"1.1": tensors["1.1"].astype(np.float64)}),
        lambda tensors, header: tensors.update({"1.1": tensors["1.1"] * np.float32(np.nan)}),
        lambda tensors, header: tensors.update({"1.1": tensors["1.1"] * np.float32(np.inf)}),
        lambda tensors, header: tensors.update({"1.1": tensors["1.1"].repeat(2, 0)}),
        lambda tensors, header: header.pop("format"),
        lambda tensors, header: header.update(format=2),
        lambda tensors, header: header.update(format="a\nb"),
        lambda tensors, header: header.pop("model"),
        lambda tensors, header: header.update(model="abc"),
        lambda tensors, header: header.update(model={"weights": "a\nb"}),
        lambda tensors, header: tensors.update({"2.0": tensors["1.0"]}),
        lambda tensors, header: tensors.update({"1.2": tensors["1.0"]}),
    ],
)
def test_a_file_with_wrong_tensors_or_header_is_refused(saved: Path, change) -> None:
    rewritten(saved, change)
    refused(saved)


@pytest.mark.parametrize("header", ["", "[]", "1", "null", "{", "[" * 100_000])
def test_a_header_that_is_no_json_object_is_refused(saved: Path, header: str) -> None:
    save_file({"unread": np.array([1])}, saved, {"charrnn-state": header})
    refused(saved)


def test_a_file_of_another_kind_is_refused(saved: Path, run: Path) -> None:
    assert "not a saved state of charrnn" in refused(run / "model.safetensors")
    saved.write_text('{"a": "state"}')
    refused(saved)


def test_a_state_is_saved_whole_or_not_at_all(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, start = saved.read_bytes(), Cursor(np.array([2]), filled(network(), 1, 1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match=r"^cannot write .*: No space"):
            save_state(saved, start, MODEL)
    assert saved.read_bytes() == before
    save_state(saved, start, MODEL)
    assert saved.read_bytes() != before
    assert [path.name for path in saved.parent.iterdir()] == ["state"]
    with pytest.raises(CheckpointError, match=r"^cannot write .*: No such file"):
        save_state(saved.parent / "none" / "state", start, MODEL)
