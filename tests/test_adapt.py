"""Dynamic evaluation: a mixture that learns the text it reads."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn import cells
from charrnn.config import ModelConfig, NgramConfig
from charrnn.inference.adaptive import (
    LEARN,
    ORDER,
    AdaptiveReader,
    LearningPredictor,
    adaptive_stream,
    recent_model,
)
from charrnn.inference.network import Inference, Predictor
from charrnn.inference.ngram import to_arrays
from charrnn.inference.ngram_counts import build
from charrnn.inference.score import score_stream
from charrnn.runs.checkpoint import BEST, Header, load, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.adapt import LearningNetwork
from charrnn.training.network import weights
from tests.conftest import charrnn, random_weights

SYMBOLS = "\n 3XYZabcde"
VOCABULARY = Vocabulary(SYMBOLS)
CONFIG = ModelConfig(hidden=8, embedding=3)
BEFORE = np.zeros(1, np.int64)


def random_ids(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, len(SYMBOLS), size)


def network(**rates: float) -> LearningNetwork:
    return LearningNetwork(CONFIG, random_weights(CONFIG, len(SYMBOLS)), **rates)


def static_network() -> Inference:
    return Inference(CONFIG, random_weights(CONFIG, len(SYMBOLS)))


def ngram() -> Predictor:
    return build(random_ids(500, 7), len(SYMBOLS), 4)


def adaptive_scores(
    predictors: Sequence[Predictor], ids: np.ndarray, piece: int = 1000, **options: float
) -> np.ndarray:
    """(N, V) the scores of a text that is read in pieces of one size."""
    reader = AdaptiveReader(predictors, VOCABULARY, **options)  # type: ignore[arg-type]
    pieces = [ids[start : start + piece] for start in range(0, len(ids), piece)]
    return np.concatenate([scored.scores for scored in adaptive_stream(reader, pieces, BEFORE)])


def plain_scores(predictor: Predictor, ids: np.ndarray) -> np.ndarray:
    return np.concatenate([scored.scores for scored in score_stream(predictor, [ids], BEFORE)])


def loss(scores: np.ndarray, ids: np.ndarray) -> float:
    return float(-scores[np.arange(len(ids)), ids].mean())


@pytest.mark.slow
@settings(max_examples=10)
@given(changed=st.integers(0, 199), seed=st.integers(0, 9))
def test_a_character_does_not_change_its_own_scores_nor_those_before_it(changed: int, seed: int) -> None:
    ids = random_ids(200, seed)
    other = ids.copy()
    other[changed:] = random_ids(200 - changed, seed + 100)
    one = adaptive_scores([network(), ngram()], ids)
    two = adaptive_scores([network(), ngram()], other)
    assert np.array_equal(one[: changed + 1], two[: changed + 1])


def test_a_character_changes_the_scores_of_later_pieces() -> None:
    ids = np.tile(np.arange(len(SYMBOLS)), 30)
    other = ids.copy()
    other[0] = 5
    one, two = (adaptive_scores([ngram()], text) for text in (ids, other))
    assert not np.array_equal(one[2 * LEARN :], two[2 * LEARN :])


@pytest.mark.parametrize("size", [1, 7, 64, 65, 333])
def test_the_sizes_of_the_pieces_do_not_matter(size: int) -> None:
    ids = random_ids(333)
    models = [network(), ngram()]
    assert np.array_equal(
        adaptive_scores([network(), ngram()], ids), adaptive_scores(models, ids, piece=size)
    )


@pytest.mark.parametrize("cell", cells.names())
def test_without_a_recent_model_and_at_rates_of_zero_the_score_is_the_plain_one(cell: str) -> None:
    config = ModelConfig(cell=cell, layers=2, hidden=8, embedding=3)
    initial = random_weights(config, len(SYMBOLS))
    learner = LearningNetwork(config, initial, rate=0, decay=0)
    ids = random_ids(200)
    adapted = adaptive_scores([learner], ids, mixing_rate=0, order=0)
    np.testing.assert_allclose(adapted, plain_scores(Inference(config, initial), ids), atol=1e-4)


@pytest.mark.parametrize("cell", cells.names())
def test_every_cell_learns_a_periodic_text(cell: str) -> None:
    config = ModelConfig(cell=cell, hidden=8, embedding=3)
    initial = random_weights(config, len(SYMBOLS))
    ids = np.tile(random_ids(16), 20)
    adapted = adaptive_scores([LearningNetwork(config, initial)], ids, mixing_rate=0, order=0)
    assert loss(adapted, ids) < loss(plain_scores(Inference(config, initial), ids), ids)


def test_each_of_the_three_parts_alone_learns_a_periodic_text() -> None:
    ids = np.tile(random_ids(100), 8)
    plain = loss(plain_scores(static_network(), ids), ids)
    learning = adaptive_scores([network()], ids, mixing_rate=0, order=0)
    recent = adaptive_scores([static_network()], ids, mixing_rate=0)
    mixing = adaptive_scores([static_network()], ids, order=0)
    together = adaptive_scores([network()], ids)
    losses = [loss(scores, ids) for scores in (learning, recent, mixing, together)]
    assert max(losses) < plain
    assert losses[-1] == min(losses)


def test_probabilities_sum_to_one() -> None:
    scores = adaptive_scores([network(), ngram()], random_ids(400))
    np.testing.assert_allclose(np.exp(scores).sum(1), 1)


def test_reading_twice_gives_equal_scores() -> None:
    ids = random_ids(400)
    one, two = (adaptive_scores([network(), ngram()], ids) for _ in range(2))
    assert np.array_equal(one, two)


def test_a_frozen_reader_predicts_what_the_reader_would_predict_next() -> None:
    ids = random_ids(LEARN * 5)
    reader = AdaptiveReader([network(), ngram()], VOCABULARY)
    before = BEFORE
    for start in range(0, len(ids), LEARN):
        piece = ids[start : start + LEARN]
        reader.read(np.concatenate([before, piece[:-1]]), piece)
        before = piece[-1:]
    predictor = reader.frozen()
    state = reader.state
    later = random_ids(LEARN, 5)
    frozen, _ = predictor(np.concatenate([before, later[:-1]])[None], state)
    scores = reader.read(np.concatenate([before, later[:-1]]), later)
    np.testing.assert_allclose(frozen[0], scores, atol=1e-4)
    again, _ = predictor(np.concatenate([before, later[:-1]])[None], state)
    assert np.array_equal(frozen, again)  # it learns nothing more


@settings(max_examples=10)
@given(split=st.integers(1, 99))
def test_a_frozen_reader_reads_two_halves_like_the_whole(split: int) -> None:
    reader = AdaptiveReader([ngram()], VOCABULARY)
    list(adaptive_stream(reader, [random_ids(300)], BEFORE))
    predictor, ids = reader.frozen(), random_ids(100, 3)[None]
    whole, end = predictor(ids, predictor.start(1))
    left, state = predictor(ids[:, :split], predictor.start(1))
    right, after = predictor(ids[:, split:], state)
    np.testing.assert_allclose(np.concatenate([left, right], 1), whole, atol=1e-12)
    for one, two in zip(after, end, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(one, two, strict=True))


def test_a_network_at_rate_zero_keeps_its_weights_and_another_rate_changes_all_of_them() -> None:
    initial = random_weights(CONFIG, len(SYMBOLS))
    for rate in (0.0, 1e-3):
        learner = network(rate=rate, decay=0)
        learner(random_ids(20)[None], learner.start(1))
        learner.learn(random_ids(20, 1))
        for name, weight in weights(learner.model).items():
            assert np.array_equal(weight, initial[name]) == (rate == 0), name


def test_decay_brings_the_weights_back() -> None:
    def distance(decay: float) -> float:
        learner = network(decay=decay)
        adaptive_scores([learner], random_ids(640))
        initial = random_weights(CONFIG, len(SYMBOLS))
        return sum(
            float(np.abs(weight - initial[name]).sum()) for name, weight in weights(learner.model).items()
        )

    assert distance(0.2) < distance(0.0)


def test_learning_follows_a_call() -> None:
    learner = network()
    assert isinstance(learner, LearningPredictor)
    with pytest.raises(ValueError, match="follows a call"):
        learner.learn(random_ids(3))


@pytest.mark.parametrize("size", [0, 1, 2, ORDER - 1, ORDER, 40])
def test_a_recent_model_of_any_text_is_a_distribution(size: int) -> None:
    model = recent_model(random_ids(size), len(SYMBOLS), ORDER)
    logits, confidence, _ = model.predict(random_ids(50, 1)[None], model.start(1))
    np.testing.assert_allclose(np.exp(logits).sum(-1), 1)
    long = build(random_ids(1000), len(SYMBOLS), ORDER)
    assert confidence.shape == long.predict(random_ids(50)[None], long.start(1))[1].shape
    if not size:
        np.testing.assert_allclose(logits, -np.log(len(SYMBOLS)))


@pytest.mark.parametrize("symbols", ["a", "ab", "日本語"])
def test_small_vocabularies_of_any_script_adapt(symbols: str) -> None:
    vocabulary = Vocabulary("".join(sorted(symbols)))
    ids = np.arange(200) % len(symbols)
    model = build(ids[:20], len(symbols), 3)
    reader = AdaptiveReader([model], vocabulary)
    scores = np.concatenate([piece.scores for piece in adaptive_stream(reader, [ids], BEFORE)])
    np.testing.assert_allclose(np.exp(scores).sum(1), 1)


@pytest.fixture
def writer(tmp_path: Path) -> Path:
    """A run called ``writer``, with letters enough for a prompt."""
    config = ModelConfig(hidden=16, embedding=4)
    vocabulary = Vocabulary("\n !:QZabcdefghijklmnopqrstuvwxyz")
    folder = tmp_path / "checkpoints" / "writer"
    folder.mkdir(parents=True)
    small = {name: weight / 5 for name, weight in random_weights(config, len(vocabulary)).items()}
    save_checkpoint(folder / BEST, Header(config, vocabulary), small)
    return folder


PROMPT = "the wizard Zaqo said no to Zaqo!\n" * 30


@pytest.mark.slow
def test_a_name_repeated_in_the_prompt_becomes_likely(writer: Path) -> None:
    Path("chapter.txt").write_text(PROMPT + "the wizard Z")
    arguments = ("sample", "writer", "--prompt-file", "chapter.txt", "--length", "3", "--temperature", "0")
    plain = charrnn(*arguments, "--no-echo")
    adapted = charrnn(*arguments, "--no-echo", "--adapt")
    assert plain.text.strip() != "aqo"
    assert (adapted.status, adapted.text.strip()) == (0, "aqo")
    assert "learned the prompt: 1,002 characters" in adapted.err


@pytest.mark.slow
def test_adapting_leaves_the_checkpoint_as_it_is(writer: Path) -> None:
    before = hashlib.sha256((writer / BEST).read_bytes()).hexdigest()
    mean = {name: weight.mean() for name, weight in load(writer / BEST).weights.items()}
    assert charrnn("sample", "writer", "--prompt", PROMPT, "--adapt", "--length", "5").status == 0
    assert hashlib.sha256((writer / BEST).read_bytes()).hexdigest() == before
    assert mean == {name: weight.mean() for name, weight in load(writer / BEST).weights.items()}


@pytest.mark.slow
def test_the_same_seed_and_prompt_give_the_same_sample(writer: Path) -> None:
    arguments = ("sample", "writer", "--prompt", PROMPT, "--adapt", "--length", "50", "--seed", "3")
    one, two = charrnn(*arguments), charrnn(*arguments)
    assert one.text == two.text
    several = charrnn(*arguments, "--count", "3", "--batch", "1", "--json")
    assert several.text.count("\n") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--adapt learns the prompt, which is empty"),
        (("--prompts", "lines.txt"), "--prompts and --adapt"),
        (("--prompt", "a", "--save-state", "state"), "--save-state and --adapt"),
        (("--prompt", "a", "--load-state", "state"), "--load-state and --adapt"),
    ],
)
def test_sample_adapts_to_one_prompt_that_is_there(
    writer: Path, arguments: tuple[str, ...], message: str
) -> None:
    ran = charrnn("sample", "writer", "--adapt", *arguments)
    assert ran.status == 2
    assert message in ran.err
    assert ran.err.count("\n") == 1


@pytest.fixture
def story() -> Path:
    path = Path("story.txt")
    path.write_text(PROMPT)
    return path


def test_score_prints_the_adapted_score_the_plain_one_and_the_gain(writer: Path, story: Path) -> None:
    plain = json.loads(charrnn("score", "writer", "story.txt", "--json").text)
    ran = charrnn("score", "writer", "story.txt", "--adapt", "--json")
    row = json.loads(ran.text)
    assert row["plain"]["nats"] == pytest.approx(plain["nats"], rel=1e-6)
    assert row["gain_bpc"] > 1
    assert row["gain_bpc"] == pytest.approx(plain["bpc"] - row["bpc"], rel=1e-5)
    table = charrnn("score", "writer", "story.txt", "--adapt").text.splitlines()
    assert len(table) == 4
    assert "writer, adapted" in table[1]
    assert f"{row['bpc']:.4f}" in table[1]
    assert f"{plain['bpc']:.4f}" in table[2]
    assert f"{row['gain_bpc']:.4f}" in table[3]


def test_several_texts_are_learned_apart(writer: Path, story: Path) -> None:
    Path("other.txt").write_text(PROMPT[:500])
    together = charrnn("score", "writer", "story.txt", "other.txt", "--adapt", "--json").text.splitlines()
    alone = [
        charrnn("score", "writer", name, "--adapt", "--json").text for name in ("story.txt", "other.txt")
    ]
    assert [f"{line}\n" for line in together[:2]] == alone
    total = json.loads(together[2])
    assert total["characters"] == len(PROMPT) + 500
    assert total["gain_bpc"] > 0


def test_the_scores_of_characters_are_the_adapted_ones(writer: Path, story: Path) -> None:
    total = json.loads(charrnn("score", "writer", "story.txt", "--adapt", "--json").text)
    rows = charrnn("score", "writer", "story.txt", "--adapt", "--chars", "--json").text.splitlines()
    bits = sum(json.loads(row)["bits"] for row in rows)
    assert bits / len(PROMPT) == pytest.approx(total["bpc"], abs=1e-4)


@pytest.mark.parametrize(
    "arguments", [("--lines",), ("--lines", "--carry"), ("--streams", "2"), ("--candidates", "story.txt")]
)
def test_score_refuses_to_adapt_to_texts_that_are_not_read_in_order(
    writer: Path, story: Path, arguments: tuple[str, ...]
) -> None:
    ran = charrnn("score", "writer", "story.txt", "--adapt", *arguments)
    assert ran.status == 2
    assert "--adapt" in ran.err
    assert ran.err.count("\n") == 1


@pytest.fixture
def counts(writer: Path) -> Path:
    """An n-gram model with the vocabulary of ``writer``."""
    vocabulary = load(writer / BEST).header.vocabulary
    arrays = to_arrays(build(vocabulary.encode("a cat and a dog! " * 20), len(vocabulary), 4))
    path = Path("counts.safetensors")
    save_checkpoint(path, Header(NgramConfig(4), vocabulary), arrays)
    return path


def test_a_network_adapts_only_with_torch_and_an_ngram_model_without(
    writer: Path, counts: Path, story: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "charrnn.training.adapt", None)
    ran = charrnn("score", "writer", "story.txt", "--adapt")
    assert ran.status == 1
    assert "--adapt: a network learns with torch" in ran.err
    assert ran.err.count("\n") == 1
    assert charrnn("score", str(counts), "story.txt", "--adapt").status == 0


def test_a_network_and_an_ngram_model_adapt_together(writer: Path, counts: Path, story: Path) -> None:
    row = json.loads(charrnn("score", "writer", str(counts), "story.txt", "--adapt", "--json").text)
    assert row["model"] == "writer + counts, adapted"
    assert row["gain_bpc"] > 1
    ran = charrnn("sample", "writer", str(counts), "--prompt", PROMPT, "--adapt", "--length", "20")
    assert ran.status == 0
    assert len(ran.text) > len(PROMPT)


def test_an_empty_text_is_an_error_in_one_line(writer: Path) -> None:
    Path("empty.txt").touch()
    ran = charrnn("score", "writer", "empty.txt", "--adapt")
    assert ran.status == 1
    assert "empty" in ran.err


def test_a_text_of_one_character_adapts(writer: Path) -> None:
    Path("short.txt").write_text("a")
    row = json.loads(charrnn("score", "writer", "short.txt", "--adapt", "--json").text)
    assert row["characters"] == 1
