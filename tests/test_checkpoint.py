"""A checkpoint comes back as it was saved; anything else is one line that says what is wrong with it."""

from __future__ import annotations

import copy
import errno
import json
import os
import platform
import struct
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save, save_file

import charrnn
from charrnn import cells
from charrnn.conditions import Label, Vector
from charrnn.config import ModelConfig, TrainConfig
from charrnn.errors import CheckpointError
from charrnn.runs import checkpoint, parameters
from charrnn.runs.checkpoint import BEST, LAST, Header, load, read_header, save_checkpoint, weights_sha256
from charrnn.runs.find import find
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import random_weights

CONFIG = ModelConfig("gru", layers=1, hidden=2, embedding=2)
HEADER = Header(CONFIG, Vocabulary("abc"))
WEIGHTS = random_weights(CONFIG, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good checkpoint."""
    save_checkpoint(tmp_path / BEST, HEADER, WEIGHTS)
    return tmp_path / BEST


def test_a_pipe_in_the_place_of_a_checkpoint_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / BEST)
    with pytest.raises(CheckpointError, match=r"cannot write .*: it is a pipe or a device"):
        save_checkpoint(tmp_path / BEST, HEADER, WEIGHTS)
    assert (tmp_path / BEST).is_fifo()


def header_of(path: Path) -> dict[str, Any]:
    """The header as JSON."""
    with safe_open(path, framework="numpy") as file:
        header: dict[str, Any] = json.loads(file.metadata()["charrnn"])
    return header


def damage(path: Path, header: object = None, weights: dict[str, np.ndarray] = WEIGHTS) -> None:
    """Write what ``save_checkpoint`` never would: any header (text is taken as it is), any tensors."""
    header = header_of(path) if header is None else header
    text = header if isinstance(header, str) else json.dumps(header)
    path.write_bytes(save(weights, {"charrnn": text}))


def refusal(path: Path, resume: bool = False) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path, resume)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert str(path) in message
    return message


def loads_or_is_refused(path: Path) -> None:
    try:
        load(path, resume=True)
    except CheckpointError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - both ends are good ones


# Round trips

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
json_objects = st.dictionaries(st.text(max_size=5), json_values, max_size=3)
budgets = st.none() | st.floats(0.001, 1e9)
headers = st.builds(
    Header,
    model=st.builds(
        ModelConfig,
        cell=st.sampled_from(cells.names()),
        layers=st.integers(1, 3),
        hidden=st.integers(1, 4),
        embedding=st.integers(0, 3),
    ),
    vocabulary=st.sets(st.characters(), min_size=1, max_size=9).map(lambda s: Vocabulary("".join(sorted(s))))
    | st.sets(st.integers(0, 255).map(chr), min_size=1).map(lambda s: Vocabulary("".join(sorted(s)), True)),
    training=st.builds(
        TrainConfig,
        epochs=budgets,
        minutes=budgets,
        dropout=st.floats(0, 0.9),
        lr=st.floats(1e-9, 1),
        seed=st.integers(0, 2**63 - 1),
    ),
    corpus=json_objects,
    results=json_objects,
    versions=st.dictionaries(st.text(), st.text(), max_size=2),
    resume=st.none() | json_objects,
)


@pytest.mark.slow
@settings(deadline=None)
@given(headers, st.integers(0, 99))
def test_a_checkpoint_comes_back_as_it_was_saved(header: Header, seed: int) -> None:
    weights = random_weights(header.network, len(header.vocabulary), seed)
    with TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / BEST
        save_checkpoint(path, header, weights)
        expected = replace(header, weights_sha256=weights_sha256(weights))
        assert read_header(path) == expected
        result = load(path)
    assert (result.path, result.header) == (path, expected)
    assert result.weights.keys() == weights.keys()
    for name, weight in weights.items():
        assert result.weights[name].dtype == np.float32
        assert (result.weights[name] == weight).all()


def test_what_training_keeps_for_itself_comes_only_when_asked_for(tmp_path: Path) -> None:
    kept: dict[str, np.ndarray] = {
        "resume.count": np.arange(3),
        "resume.mean": np.ones((2, 1)),
        "resume.bytes": np.zeros(5, np.uint8),
    }
    save_checkpoint(tmp_path / LAST, HEADER, WEIGHTS | kept)
    assert load(tmp_path / LAST).weights.keys() == WEIGHTS.keys()
    result = load(tmp_path / LAST, resume=True).weights
    assert result.keys() == WEIGHTS.keys() | kept.keys()
    for name, tensor in kept.items():
        assert (result[name].dtype, result[name].shape) == (tensor.dtype, tensor.shape)
        assert (result[name] == tensor).all()


def test_a_view_is_saved_as_what_it_shows(path: Path) -> None:
    transposed = {name: np.asfortranarray(weight) for name, weight in WEIGHTS.items()}
    save_checkpoint(path, HEADER, transposed)
    assert all((load(path).weights[name] == weight).all() for name, weight in WEIGHTS.items())


def test_the_same_checkpoint_is_the_same_file(tmp_path: Path, path: Path) -> None:
    save_checkpoint(tmp_path / "again", HEADER, dict(reversed(WEIGHTS.items())))
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_versions_are_those_that_run() -> None:
    result = checkpoint.versions(torch="2.0")
    assert result["charrnn"] == charrnn.__version__
    assert result["python"] == platform.python_version()
    assert (result["numpy"], result["torch"]) == (np.__version__, "2.0")


@pytest.mark.slow
@given(headers.map(lambda header: header.model), st.integers(1, 9))
def test_parameters_are_counted_by_their_shapes(config: ModelConfig, symbols: int) -> None:
    weights = random_weights(config, symbols)
    assert parameters.count(config, symbols) == sum(weight.size for weight in weights.values())
    assert ("embedding.weight" in weights) == (config.embedding > 0)


# Files that are no checkpoints


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"It is a truth universally acknowledged\n" * 99,
        b"\xff" * 99,
        b"\0" * 99,
        b"PK\x03\x04" * 99,
    ],
)
def test_any_other_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    message = refusal(path)
    assert "is not a checkpoint, or is damaged" in message or "is a text, not a checkpoint" in message


def test_safetensors_of_another_program_are_refused(path: Path) -> None:
    save_file(WEIGHTS, path)
    assert "is a safetensors file, but not a checkpoint of charrnn" in refusal(path)
    save_file(WEIGHTS, path, {"format": "pt"})
    assert "is a safetensors file, but not a checkpoint of charrnn" in refusal(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith("is not a file")


@pytest.mark.parametrize("name", ["missing", f"{BEST}/inside"])
def test_a_file_that_is_not_there_is_refused(path: Path, name: str) -> None:
    assert "no checkpoint at" in refusal(path.parent / name)


def test_a_file_cut_short_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    size = len(whole)
    for length in {*range(16), *range(16, size, 23), *range(size - 16, size)}:
        path.write_bytes(whole[:length])
        refusal(path)


@settings(deadline=None)
@given(st.data())
def test_a_flipped_byte_is_refused_or_harmless(data: st.DataObject) -> None:
    with TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / BEST
        save_checkpoint(path, HEADER, WEIGHTS)
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        loads_or_is_refused(path)


# Tensors that do not fit


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_missing_tensor_is_named(path: Path, name: str) -> None:
    damage(path, weights={key: weight for key, weight in WEIGHTS.items() if key != name})
    assert f"tensor {name!r} is missing" in refusal(path)


def test_an_extra_tensor_is_named(path: Path) -> None:
    damage(path, weights=WEIGHTS | {"layers.1.bias": np.zeros(6, np.float32)})
    assert "tensor 'layers.1.bias' does not belong to this network" in refusal(path)


@pytest.mark.parametrize(
    "other",
    [
        np.zeros((6, 3), np.float32),
        np.zeros((2, 6), np.float32),
        np.zeros(12, np.float32),
        np.zeros((6, 2), np.float64),
        np.zeros((6, 2), np.int32),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_a_tensor_of_another_shape_or_type_is_named_with_what_is_asked_for(
    path: Path, other: np.ndarray
) -> None:
    damage(path, weights=WEIGHTS | {"layers.0.weight_hh": other})
    assert "tensor layers.0.weight_hh is " in (message := refusal(path))
    assert str(list(other.shape)) in message
    assert message.endswith("needs float32 or float16 [6, 2]")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_finite_number_is_refused(path: Path, value: float) -> None:
    weights = copy.deepcopy(WEIGHTS)
    weights["readout.bias"][1] = value
    damage(path, weights=weights)
    assert "tensor readout.bias holds values that are not finite" in refusal(path)


# Headers that do not fit


@pytest.mark.parametrize("cell", ["xlstm", "gru_cho", "../os", "", "a\nb"])
def test_a_cell_this_version_does_not_know_is_named_with_those_it_does(path: Path, cell: str) -> None:
    header = header_of(path)
    header["model"]["cell"] = cell
    damage(path, header)
    message = refusal(path)
    assert "upgrade charrnn" in message
    assert ", ".join(cells.names()) in message
    assert cell in message or repr(cell) in message


def changed(header: dict[str, Any], keys: str, value: object) -> dict[str, Any]:
    """The header with the entry at ``keys``, like "model.cell" or "model.conditions.0", set.

    It is left out where the value is ``...``.
    """
    *outer, last = [int(key) if key.isdigit() else key for key in keys.split(".")]
    inside: Any = header
    for key in outer:
        inside = inside[key]
    if value is ...:
        del inside[last]
    else:
        inside[last] = value
    return header


def test_a_format_from_the_future_says_to_upgrade(path: Path) -> None:
    damage(path, changed(header_of(path), "format", 4))
    assert "has checkpoint format 4, this charrnn reads up to 3: upgrade" in refusal(path)
    # ... even if nothing else is where this version expects it
    damage(path, {"format": 4})
    assert "upgrade charrnn" in refusal(path)


HOSTILE: dict[str, list[Any]] = {
    "format": [..., None, "1", [], {}, 0, -1, 0.5, True, float("nan")],
    "model": [..., None, 5, "lstm", [], [["cell", "lstm"]]],
    "model.depth": [3],
    "model.cell": [None, 7, "", "transformer", "../gru", "__init__", "os", "GRU", "g\nru"],
    "model.layers": [0, -1, 2, 1.0, "1", True, None, [1], 10**12, 10**30],
    "model.hidden": [0, 3, 10**9, 2.0, "2", None],
    "model.embedding": [-1, 0, 3, 2.0, None],
    "vocabulary": [..., None, "abc", ["abc", False], {}],
    "vocabulary.symbols": [..., "", "ab", "abcd", "cba", "aab", 5, None, ["a", "b", "c"], 123],
    "vocabulary.bytes": [..., "no", None, 1],
    "training": [..., None, 5, [], "x"],
    "training.streams": [0, "32", None, [], {}, 1.5],
    "training.dropout": [1, -1, "0.1", None, float("nan"), [0]],
    "training.lr": [0, -1, float("nan"), float("inf"), "x", 10**400],
    "training.split": [None, 5, [], "abc", [1, 2], [0, 1, 1], [1, "2", 3], {}, [10**400, 1, 1]],
    "training.turbo": [True],
    "training.two\\nlines": [1],
    "training.beta1": ["x"],
    "training.final_lr": ["x", None],
    "model.two\\nlines": [1],
    "resume": [5, [], "text"],
    "corpus": [..., None, 5, "text"],
    "corpus.characters": [None, "5", -1, 1.5, 10**30, True],
    "corpus.longest": [None, "5"],
    "corpus.name": [5, None],
    "corpus.sha256": [5, ["x"]],
    "results": [..., None, 5, [1, 2]],
    "name": [None, 5, ["a"]],
    "results.step": ["1", None, -1],
    "results.characters_per_second": ["\x1b[31m", True, float("inf")],
    "results.epoch": ["1", [], float("nan"), 10**400],
    "results.validation_nats": ["x", True, float("inf"), {}],
    "weights_sha256": [None, 5, "0" * 64],
    "parent": [5, [], "x", {"name": 5}],
    "origin": [
        5,
        [1],
        {"texts": "x"},
        {"texts": [], "byte_level": 0},
        {"texts": [], "byte_level": True},
        {"turbo": 1},
        {"two\nlines": 1},
    ],
    "versions": [..., None, 5, "1.0", {"charrnn": {"a": 1}}, {"torch": None}],
}


@pytest.mark.parametrize(
    ("keys", "value"), [(keys, value) for keys, values in HOSTILE.items() for value in values]
)
def test_a_header_that_makes_no_sense_is_refused(path: Path, keys: str, value: object) -> None:
    damage(path, changed(header_of(path), keys, value))
    refusal(path)


HOSTILE_DOCUMENTS: dict[str, list[Any]] = {
    "model.documents": [..., "x", 1, None],
    "model.conditions": [..., "x", 5, [5], [{}], [{"label": "a"}], [{"vector": "v"}]],
    "model.condition": ["last", 3, None],
    "model.condition_width": [0, "16", 10**12],
    "model.conditions.0": [{"label": 3, "values": ["a"]}, {"label": "", "values": ["a"]}],
    "model.conditions.0.values": [..., None, "ab", [], ["b", "a"], ["a", "a"], ["", "b"], [1, 2]],
    "model.conditions.0.label": [..., 3, "", None, "v"],
    "model.conditions.1.mean": [..., None, [], ["x", 1], [float("nan"), 1], [1]],
    "model.conditions.1.scale": [..., None, [0, 1], [-1, 1], [1e-300, 1], [float("inf"), 1]],
    "corpus.labels": [None, "x", [], {"who": "x"}, {"who": {"a": "x"}}, {"who": {"a": -1}}, {"who": None}],
}


@pytest.mark.parametrize(
    ("keys", "value"), [(keys, value) for keys, values in HOSTILE_DOCUMENTS.items() for value in values]
)
def test_a_header_of_documents_that_makes_no_sense_is_refused(
    tmp_path: Path, keys: str, value: object
) -> None:
    conditions = (Label("who", ("a", "b")), Vector("v", (0.0, 1.0), (1.0, 2.0)))
    config = ModelConfig("gru", 1, 2, 2, documents=True, conditions=conditions)
    header = Header(config, Vocabulary("abc", documents=True), corpus={"labels": {"who": {"a": 1, "b": 2}}})
    weights, path = random_weights(config, 4), tmp_path / BEST
    save_checkpoint(path, header, weights)
    damage(path, changed(header_of(path), keys, value), weights)
    refusal(path)


@pytest.mark.parametrize(
    "text", ["", "{", "null", "5", "[]", '"charrnn"', "\0", "[" * 10**5, '{"format": ' + "9" * 10**4 + "}"]
)
def test_a_header_that_is_no_json_object_is_refused(path: Path, text: str) -> None:
    damage(path, text)
    refusal(path)
    with pytest.raises(CheckpointError):
        read_header(path)


# Saving


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("old", [True, False])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str, old: bool
) -> None:
    before = path.read_bytes()
    if not old:
        path.unlink()

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, refuse)
    with pytest.raises(CheckpointError, match=rf"^cannot write .*{BEST}: No space left on device$"):
        save_checkpoint(path, HEADER, random_weights(CONFIG, 3, seed=1))
    assert [file.read_bytes() for file in path.parent.iterdir()] == [before] * old


def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, HEADER, random_weights(CONFIG, 3, seed=1))
    assert [file.read_bytes() for file in path.parent.iterdir()] == [before]


def test_a_folder_that_is_not_there_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^cannot write .*: No such file or directory$"):
        save_checkpoint(tmp_path / "missing" / BEST, HEADER, WEIGHTS)


def test_a_saved_file_has_the_permissions_of_any_new_file(path: Path) -> None:
    (path.parent / "any").write_bytes(b"")
    assert path.stat().st_mode == (path.parent / "any").stat().st_mode


# Finding


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """./checkpoints with the runs ``old`` and ``new``, each with both kinds of file."""
    for age, name in enumerate(["new", "old"]):
        for kind in (BEST, LAST):
            file = tmp_path / "checkpoints" / name / kind
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"")
            os.utime(file, (1e9 - age, 1e9 - age))
    return Path("checkpoints")  # tests run in tmp_path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, f"checkpoints/new/{BEST}"),
        ("old", f"checkpoints/old/{BEST}"),
        ("checkpoints/old", f"checkpoints/old/{BEST}"),
        (f"checkpoints/old/{LAST}", f"checkpoints/old/{LAST}"),
    ],
)
def test_a_checkpoint_is_found_as_the_newest_by_name_by_folder_and_by_file(
    runs: Path, given: str | None, expected: str
) -> None:
    assert find(given, runs) == Path(expected)


@pytest.mark.parametrize("given", [None, "new", "checkpoints/new"])
def test_the_kind_says_which_of_a_runs_files_is_meant(runs: Path, given: str | None) -> None:
    assert find(given, runs, LAST) == runs / "new" / LAST


def test_the_newest_run_is_the_one_saved_last(runs: Path) -> None:
    os.utime(runs / "old" / LAST)
    assert find(None, runs) == runs / "old" / BEST
    assert find(None, runs, LAST) == runs / "old" / LAST


def test_a_bare_word_is_a_run_before_it_is_a_file_and_a_path_a_file_before_a_run(runs: Path) -> None:
    Path("old").write_text("a text")
    assert find("old", runs) == runs / "old" / BEST
    assert find("./old", runs) == Path("old")
    Path("mine.safetensors").write_text("a checkpoint beside the runs")
    assert find("mine.safetensors", runs) == Path("mine.safetensors")


def test_an_unknown_name_lists_the_runs_there_are(runs: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"^no checkpoint is called mine; .*checkpoints: new, old; models that"
    ):
        find("mine", runs)
    with pytest.raises(
        CheckpointError, match=r"^no checkpoint is called older; did you mean old\? \(looked in "
    ):
        find("older", runs)


@pytest.mark.parametrize("given", [None, "tiny"])
def test_without_any_run_the_message_says_where_it_looked(tmp_path: Path, given: str | None) -> None:
    with pytest.raises(CheckpointError, match=str(tmp_path / "none")):
        find(given, tmp_path / "none")


def test_a_vocabulary_without_symbols_is_refused(path: Path) -> None:
    damage(path, changed(header_of(path), "vocabulary.symbols", ""), random_weights(CONFIG, 0))
    refusal(path)


def test_an_extra_tensor_with_a_line_in_its_name_is_refused_in_one_line(path: Path) -> None:
    damage(path, weights=WEIGHTS | {"two\nlines": np.zeros(1, np.float32)})
    refusal(path)


def test_a_number_kept_for_training_keeps_its_shape(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / LAST, HEADER, WEIGHTS | {"resume.number": np.array(3.0)})
    assert load(tmp_path / LAST, resume=True).weights["resume.number"].shape == ()


@pytest.mark.parametrize(("kind", "size"), [("BF16", 2), ("F8_E4M3", 1)])
def test_a_training_tensor_of_a_type_numpy_does_not_know_is_refused(path: Path, kind: str, size: int) -> None:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    header["resume.x"] = {"dtype": kind, "shape": [1], "data_offsets": [len(body), len(body) + size]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body + bytes(size))
    refusal(path, resume=True)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=300)
def test_any_value_anywhere_in_the_header_is_refused_or_harmless(data: st.DataObject) -> None:
    with TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / BEST
        save_checkpoint(path, Header(CONFIG, Vocabulary("abc"), resume={}), WEIGHTS)
        header = header_of(path)
        key = data.draw(st.sampled_from(sorted(header)))
        inside = [f"{key}.{name}" for name in header[key]] if isinstance(header[key], dict) else []
        value = data.draw(json_values | st.integers(10**300, 10**400))
        damage(path, changed(header, data.draw(st.sampled_from([key, *inside])), value))
        loads_or_is_refused(path)


def test_weights_of_half_precision_are_loaded_as_float32(tmp_path: Path) -> None:
    config, vocabulary = ModelConfig(layers=1, hidden=3, embedding=2), Vocabulary("ab")
    weights = random_weights(config, len(vocabulary))
    halves = {name: weight.astype(np.float16) for name, weight in weights.items()}
    save_checkpoint(tmp_path / "half", Header(config, vocabulary), halves)
    loaded = load(tmp_path / "half").weights
    for name, weight in weights.items():
        assert loaded[name].dtype == np.float32
        np.testing.assert_allclose(loaded[name], weight, rtol=1e-3)


def test_the_header_holds_the_hash_of_the_weights_but_not_of_the_state_for_resuming(tmp_path: Path) -> None:
    config, vocabulary = ModelConfig(layers=1, hidden=3, embedding=2), Vocabulary("ab")
    weights = random_weights(config, len(vocabulary))
    header = Header(config, vocabulary, name="mine", parent={"name": "older", "weights_sha256": "0"})
    save_checkpoint(tmp_path / "one", header, weights)
    save_checkpoint(tmp_path / "two", header, weights | {"resume.more": np.zeros(1, np.float32)})
    save_checkpoint(tmp_path / "three", header, random_weights(config, len(vocabulary), seed=1))
    first, second, third = (read_header(tmp_path / name) for name in ("one", "two", "three"))
    assert (first.name, first.parent) == ("mine", {"name": "older", "weights_sha256": "0"})
    assert first.weights_sha256 == second.weights_sha256 != third.weights_sha256


def test_a_changed_byte_of_the_weights_is_refused(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert refusal(path).endswith("is damaged: its weights do not have the SHA-256 that its header says")
    read_header(path)  # it is not computed for the header alone


def test_a_checkpoint_that_says_no_sha256_loads(path: Path) -> None:
    damage(path, changed(header_of(path), "weights_sha256", ...))
    load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resume.optimizer.x.exp_avg_sq", -1.0),
        ("resume.optimizer.x.exp_avg_sq", 1e19),
        ("resume.optimizer.x.exp_avg", 1e10),
        ("resume.optimizer.x.step", -1.0),
        ("resume.optimizer.x.momentum", np.nan),
        ("resume.carry.0.h", np.inf),
    ],
)
def test_a_number_for_resuming_that_no_training_saves_is_refused(
    tmp_path: Path, name: str, value: float
) -> None:
    save_checkpoint(tmp_path / LAST, HEADER, WEIGHTS | {name: np.array([0, value], np.float32)})
    load(tmp_path / LAST)
    assert f"tensor {name} holds values that are not finite or too large" in refusal(tmp_path / LAST, True)


def test_a_pretrained_model_is_found_after_the_runs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = {name: Path(f"package-{name}") for name in ("old", "shipped")}
    for path in shipped.values():
        path.write_bytes(b"")
    monkeypatch.setattr("charrnn.runs.find.pretrained", lambda: shipped)
    assert find("old", runs) == runs / "old" / BEST
    assert find("shipped", runs) == shipped["shipped"]
    with pytest.raises(CheckpointError, match="no checkpoint is called shipped"):
        find("shipped", runs, LAST)
