"""Many symbols take the memory of the parameters, not of characters times symbols."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from charrnn import cells
from charrnn.config import ModelConfig, TrainConfig
from charrnn.inference import network as inference_network
from charrnn.inference import score, score_lines
from charrnn.inference.network import Inference, characters_at_once
from charrnn.inference.pieces import Pieces
from charrnn.inference.states import Cursor, read_prompts
from charrnn.inspection.activations import every_signal, watch_stream, watch_text
from charrnn.inspection.encode import encode_stream, state_parts
from charrnn.runs import parameters
from charrnn.text.corpus import Corpus
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import readout
from charrnn.training.devices import ProcessGroup
from charrnn.training.learner import Learner
from charrnn.training.network import CharRNN
from charrnn.training.ops import OneHot
from tests.conftest import random_weights

CPU = torch.device("cpu")
V, STREAMS, BPTT, LIMIT = 6000, 16, 32, 20_000


class Largest(TorchDispatchMode):
    """Notes the most bytes of a tensor that an operation of torch makes."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.nbytes for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.most = max(self.most, *sizes, 0)
        return result


def learner(model: ModelConfig, symbols: int = V) -> Learner:
    """A training of a random text with many symbols."""
    ids = np.random.default_rng(0).integers(0, symbols, 4000).astype(np.uint16)
    corpus = Corpus(ids, Vocabulary("".join(map(chr, range(symbols)))), "", "random")
    config = TrainConfig(streams=STREAMS, bptt=BPTT, steps=1, precision="float32")
    return Learner(corpus, model, config, ProcessGroup(CPU))


@pytest.mark.slow
@pytest.mark.parametrize("embedding", [0, 3])
@pytest.mark.parametrize("cell", ["lstm", "gru", "mut1", "mingru"])
def test_no_tensor_of_a_step_or_a_validation_has_characters_times_symbols(
    cell: str, embedding: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readout, "NUMBERS", LIMIT)
    model = ModelConfig(cell=cell, hidden=6, embedding=embedding, layers=2)
    with Largest() as largest:
        learner(model).train_step(0, 1.0)
        learner(model).validate(range(100, 500))
    assert 0 < largest.most < 4 * STREAMS * BPTT * V / 10


@pytest.mark.parametrize("numbers", [1, 5 * V, 1 << 24])
def test_the_loss_and_its_gradient_do_not_depend_on_the_rows_at_once(
    numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readout, "NUMBERS", numbers)
    generator = torch.Generator().manual_seed(0)
    layer = readout.Readout(7, V)
    x = torch.randn(23, 7, generator=generator, requires_grad=True)
    targets = torch.randint(-1, V, (23,), generator=generator)
    targets[3] = -1
    results = []
    for loss in (
        layer(x, targets),
        functional.cross_entropy(layer(x), targets, ignore_index=-1, reduction="sum"),
    ):
        gradients = torch.autograd.grad(loss / 10, [x, layer.weight, layer.bias])
        results.append([loss.detach(), *gradients])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cell", cells.names())
def test_one_hot_inputs_that_stay_ids_give_the_results_of_vectors(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = CharRNN(ModelConfig(cell=cell, hidden=5, embedding=0, layers=2), 40, torch.Generator())
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 40, (3, 9)))
    assert isinstance(model.embed(ids), OneHot)
    results = []
    for embed in (model.embed, lambda ids: functional.one_hot(ids, 40).float()):
        monkeypatch.setattr(model, "embed", embed)
        total, _ = model(ids, model.start(3), None, ids.roll(1, 1))
        results.append([total.detach(), *torch.autograd.grad(total, list(model.parameters()))])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class Counting:
    """A predictor that notes the most logits of a call."""

    def __init__(self, predictor: Inference) -> None:
        self.predictor, self.symbols, self.start, self.most = predictor, predictor.symbols, predictor.start, 0

    def __call__(self, ids: Any, state: Any, trace: Any = None) -> Any:
        logits, state = self.predictor(ids, state, trace)
        self.most = max(self.most, logits.size)
        return logits, state


def read_pieces(predictor: Counting, ids: Any) -> None:
    pieces = Pieces(predictor, ids, 8)
    rows = np.arange(pieces.count)
    list(pieces.read(rows, pieces.initial(rows), 0, pieces.length))


READINGS: dict[str, Callable[[Counting, Any], object]] = {
    "prompt": lambda predictor, ids: read_prompts(predictor, [Cursor(ids, predictor.start(1))]),
    "prompts": lambda predictor, ids: read_prompts(
        predictor, [Cursor(ids[k:], predictor.start(1)) for k in range(3)]
    ),
    "stream": lambda predictor, ids: list(score.score_stream(predictor, [ids], ids[:1])),
    "lines": lambda predictor, ids: score_lines.score_lines(
        predictor, [ids[k:] for k in range(3)], Cursor(ids[:1], predictor.start(1))
    ),
    "carried": lambda predictor, ids: score_lines.score_carried(
        predictor, [ids], Cursor(ids[:1], predictor.start(1))
    ),
    "pieces": read_pieces,
}


@pytest.mark.parametrize("reading", READINGS)
def test_the_logits_in_memory_are_limited_whatever_the_symbols(
    reading: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference_network, "NUMBERS", LIMIT)
    config = ModelConfig(hidden=4, embedding=3)
    predictor = Counting(Inference(config, random_weights(config, 1000, 0)))
    ids = np.random.default_rng(0).integers(0, 1000, 600)
    READINGS[reading](predictor, ids)
    assert LIMIT / 2 < predictor.most <= LIMIT
    assert characters_at_once(predictor) == LIMIT // 1000


@pytest.mark.parametrize("cell", cells.names())
def test_a_network_without_a_table_of_products_gives_the_logits_of_one_with_it(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ModelConfig(cell=cell, hidden=4, embedding=3, layers=2)
    arrays = random_weights(config, 50, 0)
    ids = np.random.default_rng(0).integers(0, 50, (2, 9))
    results = []
    for most in (1 << 24, 0):
        monkeypatch.setattr(inference_network, "TABLE", most)
        inference = Inference(config, arrays)
        assert inference.table.size == 50 * 3 or most
        results.append(inference(ids, inference.start(2))[0])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)


def test_a_network_of_one_hot_inputs_takes_a_few_times_its_parameters() -> None:
    config, symbols = ModelConfig(hidden=16, embedding=0), 30_000
    shapes = parameters.shapes(config, symbols)
    arrays: dict[str, Any] = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    tracemalloc.start()
    try:
        Inference(config, arrays)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4 * sum(array.nbytes for array in arrays.values())


# --- fifty times the input, the same memory ---


def watch(network: Inference, pieces: Iterator[Any]) -> None:
    for _ in watch_stream(network, pieces, every_signal(network)):
        pass


def encode(network: Inference, pieces: Iterator[Any]) -> None:
    encode_stream(network, pieces, state_parts(network, "all", "all"))


def carried(network: Inference, pieces: Iterator[Any]) -> None:
    cursor = Cursor(np.zeros(1, np.int64), network.start(1))
    for piece in pieces:
        _, cursor = score_lines.score_carried(network, [piece], cursor)


@pytest.mark.slow
@pytest.mark.parametrize("read", [watch, encode, carried])
def test_a_text_fifty_times_as_long_takes_no_more_memory(
    read: Callable[[Inference, Iterator[Any]], None],
) -> None:
    config = ModelConfig(hidden=4, embedding=3)
    network = Inference(config, random_weights(config, 9, 0))

    def peak(count: int) -> int:
        ids = np.random.default_rng(0).integers(0, 9, 600)
        tracemalloc.start()
        try:
            read(network, (ids for _ in range(count)))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what is made once
    assert peak(50) < 1.5 * peak(1)


@pytest.mark.slow
def test_a_text_that_is_watched_in_pieces_takes_no_more_memory_than_one_piece_of_it() -> None:
    config = ModelConfig(hidden=4, embedding=3)
    network = Inference(config, random_weights(config, 9, 0))

    def peak(count: int) -> int:
        ids = np.random.default_rng(0).integers(0, 9, count).astype(np.uint8)
        tracemalloc.start()
        try:
            for _ in watch_text(network, ids, every_signal(network), lambda chunk: None):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(8_000)
    assert peak(400_000) < 3 * peak(8_000)
