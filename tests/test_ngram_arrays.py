"""The file of an n-gram model: arrays mapped from it; a damaged one is one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save

from charrnn.config import NgramConfig
from charrnn.errors import CheckpointError
from charrnn.inference import states
from charrnn.inference.ngram import to_arrays
from charrnn.inference.ngram_counts import build
from charrnn.inference.predictor import predictor
from charrnn.runs import ngram_arrays
from charrnn.runs.checkpoint import (
    Header,
    load,
    read_header,
    rename_checkpoint,
    save_checkpoint,
    weights_sha256,
)
from charrnn.runs.find import pretrained
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT

VOCABULARY = Vocabulary("".join(sorted(set(TEXT))))
IDS = VOCABULARY.encode(TEXT)
ORDER = 3
ARRAYS = to_arrays(build(IDS, len(VOCABULARY), ORDER))
HEADER = Header(NgramConfig(ORDER), VOCABULARY, name="first")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good checkpoint of an n-gram model."""
    save_checkpoint(tmp_path / "ngrams", HEADER, ARRAYS)
    return tmp_path / "ngrams"


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert str(path) in message
    return message


def test_the_safetensors_library_reads_the_file(path: Path) -> None:
    with safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == ARRAYS.keys()
        assert list(file.metadata()) == ["charrnn"]
        for name, array in ARRAYS.items():
            assert file.get_tensor(name).dtype == array.dtype
            assert np.array_equal(file.get_tensor(name), array)


def test_the_arrays_are_mapped_read_only_and_equal(path: Path) -> None:
    loaded = load(path).weights
    assert loaded.keys() == ARRAYS.keys()
    for name, array in loaded.items():
        assert not array.flags.owndata
        assert not array.flags.writeable
        assert array.flags.aligned
        assert array.data.tolist() == array.tolist()  # Python's view of it has numbers, too
        assert array.dtype == ARRAYS[name].dtype
        assert np.array_equal(array, ARRAYS[name])


def test_a_replaced_file_does_not_change_what_was_loaded(path: Path) -> None:
    loaded = load(path).weights
    save_checkpoint(path, HEADER, {name: array * 0 for name, array in ARRAYS.items()})
    assert all(np.array_equal(array, ARRAYS[name]) for name, array in loaded.items())


def test_a_renamed_file_differs_in_its_name_alone(path: Path) -> None:
    rename_checkpoint(path, "second")
    assert read_header(path).name == "second"
    rename_checkpoint(path, "first")
    again = path.with_name("again")
    save_checkpoint(again, HEADER, ARRAYS)
    assert path.read_bytes() == again.read_bytes()


def test_a_network_that_safetensors_wrote_is_written_as_the_same_file(tmp_path: Path) -> None:
    shipped = next(iter(pretrained().values()))
    copy = tmp_path / "copy"
    copy.write_bytes(shipped.read_bytes())
    rename_checkpoint(copy, read_header(shipped).name)
    assert copy.read_bytes() == shipped.read_bytes()


tensor_names = st.text(min_size=1, max_size=5).filter(lambda name: name != "__metadata__")
types = st.sampled_from("?bBhHiIqQefd").map(np.dtype)
arrays = st.builds(
    lambda dtype, shape: np.arange(math.prod(shape)).astype(dtype).reshape(shape),
    types,
    st.lists(st.integers(0, 3), max_size=3),
)


@pytest.mark.slow
@given(st.dictionaries(tensor_names, arrays, max_size=5), st.text(max_size=9))
def test_any_arrays_are_written_as_the_library_writes_them(tensors: dict[str, Any], text: str) -> None:
    with TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / "file"
        states.FORMAT.write(path, {"text": text}, tensors)
        metadata = {states.FORMAT.key: json.dumps({"format": 1, "text": text})}
        assert path.read_bytes() == save(tensors, metadata)
        with states.FORMAT.open(path) as (header, mapped):
            assert header["text"] == text
            assert mapped.keys() == tensors.keys()
            for name, array in mapped.items():
                assert (array.dtype, array.shape) == (tensors[name].dtype, tensors[name].shape)
                assert np.array_equal(array, tensors[name])


def test_arrays_that_another_program_did_not_align_are_read(path: Path) -> None:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    moved = (length + 1).to_bytes(8, "little") + content[8 : 8 + length] + b" " + content[8 + length :]
    path.write_bytes(moved)
    loaded = load(path)
    assert all(array.flags.aligned for array in loaded.weights.values())
    logits, _ = predictor(loaded)(IDS[None, :20], predictor(loaded).start(1))
    np.testing.assert_allclose(np.exp(logits).sum(-1), 1)


def test_the_hash_is_of_the_names_and_bytes() -> None:
    scattered = {name: np.repeat(array, 2, axis=0)[::2] for name, array in ARRAYS.items()}
    assert not any(array.flags.contiguous for array in scattered.values())
    assert weights_sha256(scattered) == weights_sha256(ARRAYS)
    changed = ARRAYS["ngrams.1.counts"].copy()
    changed[0] += 1
    assert weights_sha256(ARRAYS | {"ngrams.1.counts": changed}) != weights_sha256(ARRAYS)


def test_a_saved_state_is_of_one_n_gram_model(path: Path) -> None:
    other = path.with_name("other")
    save_checkpoint(other, HEADER, ARRAYS | {"discounts": ARRAYS["discounts"] * 0.9})
    first, second = states.identity([load(path)]), states.identity([load(other)])
    assert first == states.identity([load(path)])
    assert first["weights"] != second["weights"]


# Damaged files


def changed(name: str, index: int, value: float) -> dict[str, np.ndarray]:
    """The arrays with one other number."""
    array = ARRAYS[name].copy()
    array.reshape(-1)[index] = value
    return {name: array}


@pytest.mark.parametrize(
    "changes",
    [
        changed("ngrams.2.keys", 1, ARRAYS["ngrams.2.keys"][0]),
        changed("ngrams.2.keys", -2, ARRAYS["ngrams.2.keys"][-1]),
        {"ngrams.2.keys": ARRAYS["ngrams.2.keys"][::-1]},
        changed("ngrams.1.keys", -1, len(VOCABULARY)),
        changed("ngrams.2.keys", -1, len(ARRAYS["ngrams.1.keys"]) * len(VOCABULARY)),
        {"ngrams.3.keys": ARRAYS["ngrams.3.keys"].astype(np.int64)},
        {"ngrams.3.keys": ARRAYS["ngrams.3.keys"].astype(np.float64)},
        {"ngrams.3.keys": ARRAYS["ngrams.3.keys"][:, None]},
        {"ngrams.3.keys": np.array(3, np.uint8)},
        {"ngrams.3.keys": ARRAYS["ngrams.3.keys"][:-1]},
        {"ngrams.3.keys": np.empty(0, np.uint8), "ngrams.3.counts": np.empty(0, np.uint8)},
        changed("ngrams.2.counts", 3, 0),
        changed("ngrams.2.counts", 3, len(VOCABULARY) + 2),
        {"ngrams.3.counts": ARRAYS["ngrams.3.counts"].astype(np.uint64) << np.uint64(54)},
        {"ngrams.3.counts": ARRAYS["ngrams.3.counts"].astype(np.int32)},
        changed("discounts", 4, math.nan),
        changed("discounts", 4, math.inf),
        changed("discounts", 4, 0.0),
        changed("discounts", 4, 1e-300),
        changed("discounts", 4, 2.0),
        {"discounts": ARRAYS["discounts"].astype(np.float32)},
        {"discounts": ARRAYS["discounts"][:2]},
        {"ngrams.4.keys": ARRAYS["ngrams.3.keys"], "ngrams.4.counts": ARRAYS["ngrams.3.counts"]},
        {"other": np.zeros(1, np.float32)},
    ],
)
def test_arrays_that_are_no_n_gram_model_are_refused(path: Path, changes: dict[str, np.ndarray]) -> None:
    save_checkpoint(path, HEADER, ARRAYS | changes)
    assert "is damaged" in refusal(path)


@pytest.mark.parametrize("name", sorted(ARRAYS))
def test_a_missing_array_is_named(path: Path, name: str) -> None:
    save_checkpoint(path, HEADER, {key: array for key, array in ARRAYS.items() if key != name})
    assert name in refusal(path)


@pytest.mark.parametrize("order", [1, 2, 4, 100])
def test_another_order_than_that_of_the_arrays_is_refused(path: Path, order: int) -> None:
    save_checkpoint(path, Header(NgramConfig(order), VOCABULARY), ARRAYS)
    refusal(path)


def test_keys_are_checked_across_the_pieces_of_the_check(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngram_arrays, "CHUNK", 4)
    load(path)
    for index in range(1, 10):
        save_checkpoint(
            path, HEADER, ARRAYS | changed("ngrams.2.keys", index, ARRAYS["ngrams.2.keys"][index - 1])
        )
        refusal(path)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=150)
def test_any_changed_bytes_are_refused_or_give_probabilities(data: st.DataObject) -> None:
    with TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / "ngrams"
        save_checkpoint(path, HEADER, ARRAYS)
        content = bytearray(path.read_bytes())
        body = 8 + int.from_bytes(content[:8], "little")
        start = data.draw(st.integers(8, body - 1) | st.integers(body, len(content) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=9))
        content[start : start + len(piece)] = piece
        path.write_bytes(content[: data.draw(st.sampled_from([len(content), start]))])
        try:
            model = predictor(load(path))
        except CheckpointError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - both ends are good ones
            return
        logits, state = model(IDS[None, :50], model.start(1))
        assert np.isfinite(logits).all()
        logits, _ = model(IDS[None, 50:51], state)
        assert np.isfinite(logits).all()
