"""Documents read as rows are documents read one by one, and training on them learns, stops and resumes."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from charrnn.conditions import Label, Vector
from charrnn.config import ModelConfig, TrainConfig
from charrnn.errors import CheckpointError, ConfigError
from charrnn.inference.network import Inference
from charrnn.runs import checkpoint, parameters
from charrnn.runs.checkpoint import BEST, LAST, Checkpoint, Header
from charrnn.text.document_corpus import DocumentCorpus
from charrnn.text.document_files import open_documents
from charrnn.text.documents import Division
from charrnn.text.sources import Source
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import document_batches, document_data, evaluate, learner
from charrnn.training.devices import ProcessGroup
from charrnn.training.document_data import DocumentData, DocumentReader
from charrnn.training.network import CharRNN, weights
from charrnn.training.pretrained import extended
from charrnn.training.train import Event, Training
from tests.oracles import NETWORKS, gradients_of, log_softmax, network_settings
from tests.test_train import reports, same_weights, validation

CPU = torch.device("cpu")
ALL: dict[str, Any] = {"split": (1, 0, 0), "label_drop": 0.0}
every_cell = pytest.mark.parametrize("cell", NETWORKS)
every_input = pytest.mark.parametrize("embedding", [0, 3])
every_condition = pytest.mark.parametrize("condition", ["none", "every", "first"])


def corpus_of(rows: Sequence[dict[str, Any]], **fields: Any) -> DocumentCorpus:
    data = "\n".join(map(json.dumps, rows)).encode()
    return open_documents([Source("text", lambda: io.BytesIO(data))], "text", Division("json", **fields))


def some_rows() -> list[dict[str, Any]]:
    """Documents of 1 to 27 characters, whose vectors have the mean 0 and the scale 1."""
    drawn = np.random.default_rng(0)
    signs = [[1, -1], None, [-1, 1], [1, 1], None, [-1, -1]]
    sizes = [27, 22, 17, 17, 12, 9, 8, 7, 5, 3, 2, 1]
    texts = ["".join(drawn.choice(list("abcdef"), size)) for size in sizes]
    return [
        {"prompt": text[: k * size // 12], "text": text[k * size // 12 :], "who": who, "v": signs[k % 6]}
        for k, (text, size, who) in enumerate(zip(texts, sizes, ["a", None, "b", "c"] * 3, strict=True))
    ]


def some_corpus(condition: str) -> DocumentCorpus:
    fields = {} if condition == "none" else {"labels": ("who",), "vectors": ("v",)}
    return corpus_of(some_rows(), **fields)


def model_config(corpus: DocumentCorpus, **settings: Any) -> ModelConfig:
    if settings.get("condition") == "none":
        del settings["condition"]
    return ModelConfig(documents=True, conditions=corpus.conditions, condition_width=2, **settings)


def network(corpus: DocumentCorpus, cell: str, embedding: int, condition: str, fused: bool = True) -> CharRNN:
    """A float64 network whose parameters are all drawn, biases too."""
    sizes: dict[str, Any] = {"layers": 2, "hidden": 5, "embedding": embedding}
    config = model_config(corpus, **network_settings(cell), **sizes, condition=condition)
    model = CharRNN(config, len(corpus.vocabulary), torch.Generator().manual_seed(0)).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.6, generator=generator)
    for layer in model.stack:
        layer.fused = fused
    return model


def read_alone(model: CharRNN, corpus: DocumentCorpus, number: int) -> tuple[np.ndarray, list[tuple]]:
    """(L,) nats of a document's characters and its END, and the state after each: NumPy, one at a time."""
    text = corpus.vocabulary.decode(corpus.document(number)[1:])
    (row,) = (row for row in some_rows() if row["prompt"] + row["text"] == text)
    values = {condition.name: row[condition.name] for condition in corpus.conditions}
    twin = Inference(model.config, weights(model)).given(values)
    state, nats, states = twin.start(1), [], []
    ids = corpus.ids[corpus.starts[number] : corpus.starts[number + 1] + 1].astype(int)
    for symbol, following in pairwise(ids):
        logits, state = twin(np.array([[symbol]]), state)
        nats.append(-log_softmax(logits[0, 0])[following])
        states.append(state[: len(model.start(1))])
    return np.array(nats), states


def reader_of(corpus: DocumentCorpus, **changes: Any) -> DocumentReader:
    return DocumentReader(corpus, TrainConfig(**(ALL | changes)), CPU)


# Reading


@pytest.mark.slow
@every_cell
@every_input
@every_condition
def test_rows_read_like_their_documents_one_by_one(
    cell: str, embedding: int, condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document_batches, "SLICE", 2)  # so that windows have several slices, and padding
    corpus = some_corpus(condition)
    model = network(corpus, cell, embedding, condition)
    alone = [read_alone(model, corpus, number) for number in range(corpus.count)]
    config = TrainConfig(streams=5, bptt=8, **ALL)
    reading = DocumentData(corpus, config, ProcessGroup(CPU))
    reading.start(model)
    for step in range(6):
        rows = reading.batches.window(reading.place)[0].rows
        loss = float(reading.read_window(model, step).detach())
        spans = list(zip(*(array.tolist() for array in rows), strict=True))
        expected = [alone[number][0][offset : offset + size] for number, offset, size in spans]
        assert loss == pytest.approx(np.concatenate(expected).mean(), rel=1e-11)
        for row, (number, offset, _) in enumerate(reading.place.open.tolist()):
            state = alone[number][1][offset - 1]
            for layer, expected_layer in zip(reading.window_state.state, state, strict=True):
                for part, expected_part in zip(layer, expected_layer, strict=True):
                    np.testing.assert_allclose(part[row].numpy(), expected_part[0], atol=1e-12)


@pytest.mark.slow
@every_cell
@every_input
@every_condition
def test_the_gradient_of_rows_is_that_of_their_documents_one_by_one(
    cell: str, embedding: int, condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document_batches, "SLICE", 2)
    corpus = some_corpus(condition)
    reader = reader_of(corpus)
    longest_first = np.argsort(-reader.lengths, kind="stable")
    separate, *others = (network(corpus, cell, embedding, condition, fused) for fused in (False, True, False))
    expected = torch.zeros((), dtype=torch.float64)
    for number in longest_first:
        ids = torch.from_numpy(corpus.ids[corpus.starts[number] : corpus.starts[number + 1] + 1].astype(int))
        logits, _ = separate(
            ids[None, :-1], separate.start(1), reader.conditions(separate, np.array([number]), None)
        )
        expected = expected + functional.cross_entropy(logits[0], ids[1:], reduction="sum")
    torch.autograd.backward(expected)
    for model in others:
        state, total, size = model.start(corpus.count), torch.zeros((), dtype=torch.float64), 8
        for start in range(0, int(reader.lengths.max()), size):  # windows that hand on the state's gradient
            numbers = longest_first[reader.lengths[longest_first] > start]
            sizes = np.minimum(reader.lengths[numbers] - start, size)
            rows = document_batches.Rows(numbers, np.full_like(numbers, start), sizes)
            state = tuple(tuple(part[: len(numbers)] for part in layer) for layer in state)
            nats, count, state = reader.read(model, rows, state)
            assert count == sizes.sum()
            total = total + nats
        torch.testing.assert_close(total, expected, rtol=1e-11, atol=0)
        torch.autograd.backward(total)
        for gradient, wanted in zip(gradients_of(model), gradients_of(separate), strict=True):
            torch.testing.assert_close(gradient, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
@every_cell
@every_condition
@pytest.mark.parametrize("loss", ["all", "text"])
def test_validation_is_the_mean_over_documents_one_by_one(
    cell: str, condition: str, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, value in (
        (document_data, "LONG", 10),  # documents above it are read in chunks
        (document_data, "BATCH", 16),
        (evaluate, "SHORTEST", 6),
        (evaluate, "BURN_IN", 4),
        (evaluate, "TOLERANCE", 1e-13),
    ):
        monkeypatch.setattr(module, name, value)
    corpus = some_corpus(condition)
    model, reader = network(corpus, cell, 3, condition).train(), reader_of(corpus, loss=loss)
    numbers = np.arange(1, corpus.count)
    skipped = [int(corpus.table["prompt"][number]) if loss == "text" else 0 for number in numbers]
    assert max(skipped) > 0 or loss == "all"
    nats = [read_alone(model, corpus, number)[0] for number in numbers.tolist()]
    expected = np.concatenate([each[skip:] for each, skip in zip(nats, skipped, strict=True)]).mean()
    assert reader.evaluate(model, numbers) == pytest.approx(expected, rel=1e-11)
    assert model.training


@pytest.mark.parametrize("hidden", [3, 30])
def test_validation_reads_few_characters_at_once_with_a_wide_network(
    hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = some_corpus("none")
    symbols = len(corpus.vocabulary)
    monkeypatch.setattr(evaluate, "NUMBERS", 30 * (4 * hidden + symbols))
    model, reader, sizes = network(corpus, "lstm", 3, "none"), reader_of(corpus), []
    model = CharRNN(replace(model.config, hidden=hidden), symbols)
    model.readout.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0][..., 0].numel()))
    expected = reader.evaluate(model, np.arange(corpus.count))
    assert sum(sizes) == corpus.lengths.sum()
    assert max(sizes) <= 2 * 30
    monkeypatch.setattr(evaluate, "NUMBERS", 9 * (4 * hidden + symbols))
    assert reader.evaluate(model, np.arange(corpus.count)) == pytest.approx(expected, rel=1e-5)
    assert max(sizes) > 30
    assert max(sizes[-corpus.count :]) <= 2 * 9


@pytest.mark.slow
def test_a_report_validates_on_the_first_documents_of_a_long_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "VALIDATED", 100)
    training = training_on(labelled(), tmp_path / "run", split=(50, 50, 0))
    (*_, last) = reports(finished(training))
    corpus, data = training.learner.corpus, training.learner.data
    assert isinstance(corpus, DocumentCorpus)
    assert isinstance(data, DocumentData)
    whole = np.array(corpus.numbers(training.learner.validation_part))
    first = whole[np.cumsum(corpus.lengths[whole]) <= 100]
    assert 1 < len(first) < len(whole)
    assert last.validation_nats == data.reader.evaluate(training.learner.model, first)


def test_a_window_of_prompts_alone_has_no_loss_and_no_gradient() -> None:
    rows = [{"prompt": letter * 20, "text": "c"} for letter in "ab"]
    corpus = corpus_of(rows)
    reading = DocumentData(corpus, TrainConfig(streams=2, bptt=8, loss="text", **ALL), ProcessGroup(CPU))
    model = CharRNN(ModelConfig(hidden=4, documents=True), len(corpus.vocabulary))
    reading.start(model)
    loss = reading.read_window(model, 0)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0
    assert all((gradient == 0).all() for gradient in gradients_of(model))
    assert [float(reading.read_window(model, step).detach()) > 0 for step in (1, 2)] == [False, True]


# Dropped conditions


@pytest.mark.parametrize(
    ("fields", "missing"), [({"labels": ("who",)}, 0.2), ({"labels": ("who", "x")}, 0.36)]
)
def test_conditions_are_dropped_in_their_share_and_anew_in_each_epoch(
    fields: dict[str, Any], missing: float
) -> None:
    corpus = corpus_of([{"text": f"{n}", "who": "a", "x": "b"} for n in range(4000)], **fields)
    numbers, zeros = np.arange(corpus.count), np.zeros(corpus.count, np.int64)
    dropped = reader_of(corpus, label_drop=0.2).dropped(numbers, zeros)
    assert dropped.mean(0) == pytest.approx([missing] * dropped.shape[1], abs=0.02)
    assert dropped.all(1).mean() == pytest.approx(0.2 + 0.8 * 0.2**2 * (dropped.shape[1] > 1), abs=0.02)
    assert (dropped != reader_of(corpus, label_drop=0.2).dropped(numbers, zeros + 1)).any()
    assert not reader_of(corpus, label_drop=0.0).dropped(numbers, zeros).any()
    assert reader_of(corpus, label_drop=1.0).dropped(numbers, zeros).all()
    # the same for all windows of a document: by its epoch, whatever else is read
    reader, epochs = reader_of(corpus, label_drop=0.2), numbers % 3
    mixed = reader.dropped(numbers, epochs)
    assert (mixed[epochs == 0] == dropped[epochs == 0]).all()
    assert (reader.dropped(numbers[epochs > 0], epochs[epochs > 0]) == mixed[epochs > 0]).all()


def test_a_dropped_condition_is_read_as_a_missing_one() -> None:
    corpus = some_corpus("every")
    model, reader = network(corpus, "lstm", 3, "every"), reader_of(corpus)
    numbers = np.arange(corpus.count)
    given = reader.conditions(model, numbers, np.zeros((corpus.count, 2), np.bool_))
    dropped = reader.conditions(model, numbers, np.tile([True, False], (corpus.count, 1)))
    assert given is not None
    assert dropped is not None
    assert (dropped[:, :2] == model.conditions[0].weight[0]).all()  # type: ignore[index]
    assert (dropped[:, 2:] == given[:, 2:]).all()
    assert (dropped != given).any()


# Training

MODEL: dict[str, Any] = {"hidden": 12, "embedding": 6, "condition": "every"}
CONFIG = TrainConfig(streams=4, bptt=8, steps=20, save_every=7)


def labelled(swapped: bool = False, prompt: int = 0) -> DocumentCorpus:
    """Documents of 4 to 41 characters; those of one label have other characters than those of the other."""
    sizes = np.random.default_rng(0).integers(4, 38, 60).tolist()
    texts = [("cdab"[n % 2 * 2 :][:2] * 20)[:size] + "\n" * (n % 5) for n, size in enumerate(sizes)]
    labels = "yx" if swapped else "xy"
    rows = [{"prompt": text[:prompt], "text": text[prompt:], "who": labels["ab" in text]} for text in texts]
    return corpus_of(rows, labels=("who",))


def training_on(corpus: DocumentCorpus, folder: Path, **changes: Any) -> Training:
    options = {name: changes.pop(name) for name in ("resume", "group", "pretrained") if name in changes}
    config = model_config(corpus, **MODEL, attention=changes.pop("attention", 0))
    return Training(corpus, config, replace(CONFIG, **changes), folder, **options)


def finished(training: Training) -> list[Event]:
    return list(training.run())


def chances(model: Inference, *ids: int) -> np.ndarray:
    """(V,) the probability of each character after a text."""
    result: np.ndarray = np.exp(log_softmax(model(np.array([ids]), model.start(1))[0][0, -1]))
    return result


@pytest.mark.slow
def test_training_learns_the_documents_and_their_labels(tmp_path: Path) -> None:
    corpus = labelled()
    changes: dict[str, Any] = {"dropout": 0.0, "weight_drop": 0.0, "lr": 0.02, "optimizer": "adamw"}
    training = training_on(corpus, tmp_path / "run", steps=300, save_every=100, **changes)
    first, *_, last = reports(finished(training))
    assert validation(last) < validation(first) < math.log(6)
    assert validation(last) < 0.45
    saved = checkpoint.load(tmp_path / "run" / BEST)
    twin = Inference(saved.header.network, saved.weights)
    start = len(corpus.vocabulary) - 1
    for value, symbols in (("x", "cd"), ("y", "ab")):
        assert chances(twin.given({"who": value}), start)[corpus.vocabulary.encode(symbols)].sum() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop_step", "optimizer", "attention"),
    [(1, "muon", 0), (6, "adamw", 0), (7, "muon", 0), (13, "adamw", 0), (7, "muon", 8)],
)
def test_a_run_stopped_and_resumed_ends_in_the_bytes_of_one_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_step: int, optimizer: str, attention: int
) -> None:
    changes: dict[str, Any] = {"optimizer": optimizer, "label_drop": 0.3, "clip": 0.3, "attention": attention}
    finished(training_on(labelled(), tmp_path / "whole", **changes))
    training = training_on(labelled(), tmp_path / "cut", **changes)
    train_step = training.learner.train_step

    def stopping(step: int, lr_factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        training.stop = step == stop_step - 1
        return train_step(step, lr_factor)

    monkeypatch.setattr(training.learner, "train_step", stopping)
    finished(training)
    last = checkpoint.load(tmp_path / "cut" / LAST, resume=True)
    assert training.step == stop_step
    assert stop_step == 1 or len(last.weights["resume.documents"]) > 2  # documents that go on
    finished(training_on(labelled(), tmp_path / "cut", resume=last, **changes))
    for name in (BEST, LAST):
        assert same_weights(tmp_path / "whole" / name, tmp_path / "cut" / name, resume=True)


@pytest.mark.parametrize("changed", [lambda: labelled(swapped=True), lambda: labelled(prompt=1)])
def test_changed_labels_or_prompts_are_not_resumed(
    tmp_path: Path, changed: Callable[[], DocumentCorpus]
) -> None:
    finished(training_on(labelled(), tmp_path / "run", steps=1))
    last = checkpoint.load(tmp_path / "run" / LAST, resume=True)
    training_on(labelled(), tmp_path / "run", resume=last)
    with pytest.raises(
        CheckpointError, match="its labels, vectors or prompts are not those this run was learning"
    ):
        training_on(changed(), tmp_path / "run", resume=last)


def test_a_damaged_place_in_the_documents_is_not_resumed(tmp_path: Path) -> None:
    finished(training_on(labelled(), tmp_path / "run", steps=3))
    last = checkpoint.load(tmp_path / "run" / LAST, resume=True)
    last.weights["resume.documents"][0, 1] = 10**6
    with pytest.raises(CheckpointError, match="damaged: documents: not a place in these documents"):
        training_on(labelled(), tmp_path / "run", resume=last)


def test_several_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--documents trains in one process"):
        training_on(labelled(), tmp_path / "run", group=ProcessGroup(CPU, 0, 2))


# Starting from another model


def drawn(config: ModelConfig, vocabulary: Vocabulary, seed: int) -> dict[str, np.ndarray]:
    """float64 weights."""
    shapes, generator = parameters.shapes(config, len(vocabulary)), np.random.default_rng(seed)
    return {name: generator.normal(0, 0.5, shape) for name, shape in shapes.items()}


OLD, NEW = "abd", "abcd"
KEPT = [NEW.index(symbol) for symbol in OLD]
WHO, V = Label("who", ("a", "c")), Vector("v", (0.0, 1.0), (1.0, 2.0))


@every_cell
@every_input
@every_condition
@pytest.mark.parametrize("hidden", [3, 7])  # 3: as wide as the first input was
def test_a_plain_model_that_begins_to_learn_documents_and_labels_reads_as_before(
    cell: str, embedding: int, condition: str, hidden: int
) -> None:
    old, new = Vocabulary(OLD), Vocabulary(NEW, documents=True)
    config = ModelConfig(**network_settings(cell), layers=2, hidden=hidden, embedding=embedding)
    more: dict[str, Any] = {} if condition == "none" else {"conditions": (WHO, V), "condition": condition}
    longer = replace(config, documents=True, **more)
    before = Checkpoint(Path("old"), Header(config, old), drawn(config, old, 0))
    after = extended(before, longer, new, drawn(longer, new, 1))
    assert {name: array.shape for name, array in after.items()} == parameters.shapes(longer, len(new))
    twin, other = Inference(config, before.weights), Inference(longer, after)
    if more:
        other = other.given({"who": "c", "v": [3, 4]})
    logits, state = twin(old.encode("abdbaddb")[None], twin.start(1))
    others, other_state = other(new.encode("abdbaddb")[None], other.start(1))
    np.testing.assert_allclose(others[..., KEPT], logits, atol=1e-12)
    for layer, expected in zip(other_state, state, strict=False):
        np.testing.assert_allclose(layer, expected, atol=1e-12)
    lowest = before.weights["readout.bias"].min()
    assert after["readout.bias"][[NEW.index("c"), len(NEW)]].tolist() == [lowest, lowest]


@every_cell
@every_input
@pytest.mark.parametrize("condition", ["every", "first"])
def test_a_model_of_documents_that_gets_symbols_and_values_reads_the_old_ones_as_before(
    cell: str, embedding: int, condition: str
) -> None:
    old, new = Vocabulary(OLD, documents=True), Vocabulary(NEW, documents=True)
    conditioned: dict[str, Any] = {"conditions": (WHO, V), "condition": condition, "condition_width": 4}
    sizes: dict[str, Any] = {"layers": 2, "hidden": 5, "embedding": embedding}
    config = ModelConfig(**network_settings(cell), **sizes, documents=True, **conditioned)
    longer = replace(config, conditions=(Label("x", ("a",)), Label("who", ("a", "b", "c")), V))
    before = Checkpoint(Path("old"), Header(config, old), drawn(config, old, 0))
    after = Inference(longer, extended(before, longer, new, drawn(longer, new, 1)))
    for values in ({"who": "c", "v": [3, 4]}, {"who": "a"}, {"v": [0, 1]}):
        twin, other = Inference(config, before.weights).given(values), after.given(values | {"x": "a"})
        logits, _ = twin(np.array([[len(OLD), *old.encode("abd"), len(OLD), 0]]), twin.start(1))
        others, _ = other(np.array([[len(NEW), *new.encode("abd"), len(NEW), 0]]), other.start(1))
        np.testing.assert_allclose(others[..., [*KEPT, len(NEW)]], logits, atol=1e-12)


def test_a_training_starts_with_the_loss_of_the_model_that_it_starts_from(tmp_path: Path) -> None:
    (*_, last) = reports(finished(training_on(labelled(), tmp_path / "old")))
    pretrained = checkpoint.load(tmp_path / "old" / LAST)
    training = training_on(labelled(), tmp_path / "new", pretrained=pretrained)
    assert training.learner.validate() == pytest.approx(last.validation_nats, rel=1e-6)


# NumPy


@every_cell
@every_condition
def test_a_boundary_in_the_middle_of_a_stream_begins_a_text_anew(cell: str, condition: str) -> None:
    corpus = some_corpus(condition)
    model = network(corpus, cell, 3, condition)
    twin, end = Inference(model.config, weights(model)), len(corpus.vocabulary) - 1
    if condition != "none":
        twin = twin.given({"who": "b", "v": [3, -1]})
    logits, state = twin(np.array([[end, 0, 1, end, 2, 3], [end, 0, 1, 2, 3, end]]), twin.start(2))
    first, first_state = twin(np.array([[end, 2, 3]]), twin.start(1))
    second, _ = twin(np.array([[end, 0, 1, 2, 3]]), twin.start(1))
    np.testing.assert_allclose(logits[0, 3:], first[0], atol=1e-13)
    np.testing.assert_allclose(logits[1, :5], second[0], atol=1e-13)
    np.testing.assert_allclose(logits[1, 5], first[0, 0], atol=1e-13)
    assert np.abs(logits[0, 4] - logits[1, 3]).max() > 1e-3  # the text before a boundary matters without it
    for layer, expected in zip(state, first_state, strict=True):
        for part, expected_part in zip(layer, expected, strict=True):
            np.testing.assert_allclose(part[:1], expected_part, atol=1e-13)


@every_cell
@pytest.mark.parametrize("condition", ["every", "first"])
def test_shares_of_values_enter_as_their_weighted_mean(cell: str, condition: str) -> None:
    model = network(some_corpus(condition), cell, 3, condition)
    twin = Inference(model.config, weights(model))

    def entering(value: Any) -> np.ndarray:
        (result,) = twin.given({"who": value}).start(1)[-1]
        return np.asarray(result)

    mixed = entering({"a": 1, "c": 3})
    np.testing.assert_allclose(mixed, (entering("a") + 3 * entering("c")) / 4, atol=1e-13)
    assert np.abs(entering("a") - entering("c")).max() > 0.01
    assert (entering({"a": 2}) == entering("a")).all()
    assert (entering(None) == entering({})).all()
    (without,) = twin.start(1)[-1]
    assert (entering(None) == without).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"who": "A"}, "label who has no value 'A'; did you mean a?"),
        ({"who": 7}, "label who has no value 7; its values: a, b, c"),
        ({"who": {"a": 1, "z": 1}}, "label who has no value 'z'; its values: a, b, c"),
        ({"who": {"a": 0}}, "shares must be 0 or more, and one of them above 0"),
        ({"who": {"a": -1, "b": 2}}, "shares must be 0 or more"),
        ({"whom": "a"}, "no label or vector called 'whom'; did you mean who?"),
        ({"v": [1]}, "vector v: must have 2 numbers, not 1"),
        ({"v": "1,2"}, "vector v: must be a list of numbers"),
    ],
)
def test_a_value_that_a_condition_cannot_have_is_refused(values: dict[str, Any], message: str) -> None:
    model = network(some_corpus("every"), "lstm", 3, "every")
    with pytest.raises(ConfigError) as caught:
        Inference(model.config, weights(model)).given(values)
    assert message in str(caught.value)
