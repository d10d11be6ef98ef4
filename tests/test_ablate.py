"""Clamped units: what they are held at, whom that reaches, and what the loss says about it."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn import cells, load
from charrnn.cli import inspect_ablate
from charrnn.cli.table import write_figures
from charrnn.cli.terminal import Terminal
from charrnn.config import ModelConfig
from charrnn.errors import ConfigError
from charrnn.inference.choice import log_softmax
from charrnn.inference.clamp import clamped, with_clamps
from charrnn.inference.network import Inference
from charrnn.inspection import ablate, concepts
from charrnn.inspection.concepts import Concept, limits
from charrnn.inspection.inspect_cell import unit_values
from charrnn.runs.checkpoint import BEST, Header, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT, charrnn, random_weights

V, HIDDEN = 9, 6


def network(cell: str = "lstm", layers: int = 2) -> Inference:
    config = ModelConfig(cell=cell, layers=layers, hidden=HIDDEN, embedding=4)
    return Inference(config, random_weights(config, V))


def text(count: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, V, count)


def logits(inference: Inference, ids: np.ndarray, batch: int = 1) -> np.ndarray:
    """(batch, N, V) of a text that every row reads."""
    return inference(np.repeat(ids[None], batch, 0), inference.start(batch))[0]


# --- the clamped network ---


@pytest.mark.parametrize("cell", cells.names())
def test_a_unit_clamped_at_the_value_that_it_has_anyway_changes_nothing(cell: str) -> None:
    inference = network(cell)
    for symbol in range(V):
        ids = np.array([[symbol]])
        expected, state = inference(ids, inference.start(1))
        clamps = {(layer, unit): float(state[layer][0][0, unit]) for layer in (0, 1) for unit in (1, 4)}
        np.testing.assert_array_equal(with_clamps(inference, clamps)(ids, inference.start(1))[0], expected)


@pytest.mark.parametrize("cell", cells.names())
def test_the_next_step_and_the_readout_see_the_value_and_the_cell_state_is_left_to_itself(cell: str) -> None:
    inference = network(cell, layers=1)
    found = logits(with_clamps(inference, {(0, 2): 0.7}), text())
    state = inference.start(1)
    for position, symbol in enumerate(text()):
        _, ((hidden, *others),) = inference(np.array([[symbol]]), state)
        hidden = hidden.copy()
        hidden[0, 2] = 0.7
        state = ((hidden, *others),)
        expected = inference.readout @ hidden[0] + inference.readout_bias[0]
        np.testing.assert_allclose(found[0, position], expected, atol=1e-5)


@pytest.mark.parametrize("cell", cells.names())
@pytest.mark.parametrize("layer", [0, 1])
def test_the_hidden_state_of_a_clamped_unit_is_the_value_and_no_other_units(cell: str, layer: int) -> None:
    inference = with_clamps(network(cell), {(layer, 3): -0.25})
    ((_, values),) = unit_values(inference, [text()], layer, range(HIDDEN), "hidden")
    assert (values[:, 3] == np.float32(-0.25)).all()
    assert (np.delete(values, 3, 1) != np.float32(-0.25)).all()


def test_with_all_units_of_the_top_layer_clamped_the_prediction_is_constant() -> None:
    inference = with_clamps(network(), {(1, unit): unit / 10 for unit in range(HIDDEN)})
    found = logits(inference, text())
    np.testing.assert_array_equal(found, np.broadcast_to(found[:, :1], found.shape))
    assert not np.array_equal(found, logits(with_clamps(network(), {(1, 0): 0.0}), text()))


@pytest.mark.slow
@settings(max_examples=15)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 100))
def test_rows_of_a_batch_do_not_see_each_others_clamps(clamps: int, texts: int, seed: int) -> None:
    generator, inference = np.random.default_rng(seed), network("gru")
    values = np.where(
        generator.random((clamps, HIDDEN)) < 0.5, np.nan, generator.normal(size=(clamps, HIDDEN))
    )
    together = logits(clamped(inference, {0: values}), text(20), texts * clamps)
    for row in range(texts * clamps):
        alone = logits(clamped(inference, {0: values[[row % clamps]]}), text(20))
        np.testing.assert_allclose(together[row], alone[0], atol=1e-5)


def test_a_clamped_network_leaves_the_other_as_it_is() -> None:
    inference = network()
    before = logits(inference, text())
    with_clamps(inference, {(0, 0): 1.0})
    np.testing.assert_array_equal(logits(inference, text()), before)


# --- the measurement ---


def reference(inference: Inference, ids: np.ndarray) -> np.ndarray:
    """(N - 1,) nats of each character after the first."""
    scores = log_softmax(logits(inference, ids[:-1])[0])
    return -np.take_along_axis(scores, ids[1:, None], 1)[:, 0]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_sums_are_those_of_reading_the_text_once_for_each_set(threads: int) -> None:
    inference, ids = network(), text(1400)
    inside = np.random.default_rng(1).random((len(ids), 2)) < 0.3
    sets, held = [[1, 2], [3, 0]], np.linspace(-0.5, 0.5, HIDDEN)
    counts: list[int] = []
    found = ablate.measure(inference, ids, 1, sets, held, inside, threads, counts.append)
    losses = [reference(inference, ids)]
    losses += [reference(with_clamps(inference, {(1, u): held[u] for u in units}), ids) for units in sets]
    parts = np.column_stack([np.ones(len(ids) - 1), inside[:-1]])
    np.testing.assert_allclose(found.totals, np.array(losses) @ parts, rtol=1e-5)
    for stretch in range(3):
        part = slice(stretch * ablate.STRETCH, (stretch + 1) * ablate.STRETCH)
        change = (losses[1] - losses[0])[part] @ parts[part]
        np.testing.assert_allclose(found.change[stretch], change, atol=1e-2)
        np.testing.assert_array_equal(found.counts[stretch], parts[part].sum(0))
    assert sum(counts) == len(ids) - 1


def test_the_means_are_those_of_the_hidden_state() -> None:
    inference, ids = network(), text(700)
    ((_, first), (_, second)) = unit_values(inference, [ids], 1, range(HIDDEN), "hidden")
    found = ablate.hidden_means(inference, ids, 1, 2, lambda characters: None)
    np.testing.assert_allclose(found, np.concatenate([first, second]).mean(0), atol=1e-5)


def test_a_concept_with_numbers_is_on_above_its_mean() -> None:
    labels = np.array([[0, 1], [1, 2], [1, 6]], np.float32)
    found = limits(labels, [Concept("a", ""), Concept("b", "", number=True)])
    assert (labels > found).tolist() == [[False, False], [True, False], [True, True]]


@pytest.mark.parametrize("backward", [False, True])
def test_the_positions_inside_concepts_are_those_above_the_limits(
    monkeypatch: pytest.MonkeyPatch, backward: bool
) -> None:
    monkeypatch.setattr(concepts, "BLOCK", 50)
    vocabulary = Vocabulary("".join(sorted(set(TEXT))), backward=backward)
    ids = vocabulary.encode(TEXT[:700])
    readers = [concepts.ConceptReader(None, ["[aeiou]+"], byte_level=False) for _ in range(2)]
    values = concepts.labels(vocabulary, ids, readers[0])
    inside = concepts.positions_inside(vocabulary, ids, readers[1])
    assert np.array_equal(inside, values > limits(values, readers[0].concepts))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 40), st.integers(0, 9))
def test_random_sets_are_different_and_of_other_units(hidden: int, size: int, count: int, seed: int) -> None:
    units = list(range(min(size, hidden)))
    sets = ablate.random_sets(units, hidden, count, np.random.default_rng(seed))
    assert len({frozenset(chosen) for chosen in sets}) == len(sets) <= count
    for chosen in sets:
        assert len(set(chosen)) == len(units)
        assert set(chosen).isdisjoint(units)
        assert set(chosen) <= set(range(hidden))
    if len(units) > hidden - len(units):
        assert not sets
    elif count == 1:
        assert len(sets) == 1


def test_the_p_values_of_all_units_are_uniform() -> None:
    inference, ids = network(layers=1), text(300)
    held = ablate.hidden_means(inference, ids, 0, 1, lambda characters: None)
    found = []
    for unit in range(HIDDEN):
        sets = ablate.random_sets([unit], HIDDEN, 39, np.random.default_rng(0))
        losses = ablate.measure(inference, ids, 0, [[unit], *sets], held, np.zeros((300, 0), bool))
        (change,) = ablate.changes(losses, np.random.default_rng(0))
        found.append(change.p)
    assert sorted(found) == pytest.approx([rank / HIDDEN for rank in range(1, HIDDEN + 1)])


def losses_of(change: np.ndarray, counts: np.ndarray, random: int = 3) -> ablate.Losses:
    totals = np.stack([10 * counts.sum(0), 10 * counts.sum(0) + change.sum(0)])
    return ablate.Losses(np.concatenate([totals, totals[[0] * random]]), change, counts)


def test_the_interval_of_a_constant_change_is_that_change() -> None:
    counts = np.tile([500.0, 100.0], (20, 1))
    change = counts * [0.2, 0.6]
    found = {c.where: c for c in ablate.changes(losses_of(change, counts), np.random.default_rng(0))}
    for where, value in (("everywhere", 0.2), ("inside", 0.6), ("outside", 0.1), ("difference", 0.5)):
        assert found[where].change == pytest.approx(value)
        assert found[where].interval == pytest.approx((value, value))
        assert found[where].p == 0.25


@pytest.mark.slow
def test_about_19_in_20_intervals_hold_the_true_change() -> None:
    held = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        counts = np.full((60, 1), 500.0)
        # a stretch has a change of its own: its characters are not independent
        change = counts * generator.normal(0.1, 0.3, (60, 1))
        (found,) = ablate.changes(losses_of(change, counts), generator)
        held += found.interval[0] <= 0.1 <= found.interval[1]
    assert 34 <= held <= 39


def test_a_part_in_few_stretches_has_no_interval() -> None:
    counts = np.tile([500.0, 0.0], (20, 1))
    counts[: ablate.FEWEST_STRETCHES - 1, 1] = 10
    found = list(ablate.changes(losses_of(counts * 0.1, counts), np.random.default_rng(0)))
    assert [np.isnan(change.interval).all() for change in found] == [False, True, True, True]


# --- the command ---


@pytest.fixture
def latch() -> str:
    """A network whose unit 2 is 1 inside [brackets], where c and d come, and -1 outside, where a and b do."""
    vocabulary = Vocabulary("[]abcd")
    config = ModelConfig(cell="rnn", layers=1, hidden=HIDDEN, embedding=0)
    weights = {name: 0.01 * array for name, array in random_weights(config, len(vocabulary)).items()}
    weights["layers.0.weight_ih"][2] = [9, -9, -1, -1, 1, 1]
    weights["layers.0.weight_hh"][2, 2] = 3
    weights["readout.weight"][:, 2] = [-2, 2, -3, -3, 3, 3]
    weights["readout.bias"][:2] = -1
    folder = Path("checkpoints/latch")
    folder.mkdir(parents=True)
    save_checkpoint(folder / BEST, Header(config, vocabulary), weights)
    generator = np.random.default_rng(0)
    pieces = ("".join(generator.choice(list(letters), 9)) for _ in range(450) for letters in ("ab", "cd"))
    Path("text.txt").write_text("".join(f"{a}[{b}]" for a, b in zip(pieces, pieces, strict=True)))
    return "latch"


INSIDE = ("--find-regex", r"\[[^]]*")


def figures(*arguments: str) -> dict[tuple[str, str], dict[str, Any]]:
    done = charrnn("inspect-cell", *arguments, "--json")
    assert done.status == 0, done.err
    rows = [json.loads(line) for line in done.text.splitlines()]
    return {(row["concept"], row["where"]): row for row in rows}


@pytest.mark.slow
def test_the_loss_rises_inside_the_concept_that_a_unit_tracks_and_not_outside(latch: str) -> None:
    rows = figures(latch, "text.txt", "--unit", "2", "--clamp", "-1", *INSIDE)
    inside, outside, difference = (rows[r"\[[^]]*", where] for where in ("inside", "outside", "difference"))
    assert inside["low"] > 3
    assert abs(outside["change"]) < 0.01
    assert inside["p"] == difference["p"] == pytest.approx(1 / 6, abs=1e-6)
    assert inside["random_high"] < 0.01
    other = figures(latch, "text.txt", "--unit", "4", "--ablate", *INSIDE)
    assert abs(other["whole text", "everywhere"]["change"]) < 0.01
    assert other["whole text", "everywhere"]["p"] > 1 / 6
    ablated = figures(latch, "text.txt", "--unit", "2", "--ablate", *INSIDE)
    assert ablated["whole text", "everywhere"]["low"] > 0.5


def test_the_label_of_a_prediction_is_that_of_the_character_before_it(latch: str) -> None:
    text = Path("text.txt").read_text()
    rows = figures(latch, "text.txt", "--unit", "2", "--ablate", *INSIDE)
    depths = np.cumsum([{"[": 1, "]": -1}.get(character, 0) for character in text])[:-1]
    nats = reference_of(latch, text)
    for where, inside in (("inside", True), ("outside", False)):
        assert rows[r"\[[^]]*", where]["characters"] == (depths == inside).sum()
        expected = nats[depths == inside].mean() / np.log(2)
        assert rows[r"\[[^]]*", where]["bpc"] == pytest.approx(expected, abs=1e-3)


def reference_of(name: str, text: str) -> np.ndarray:
    """(N - 1,) nats of each character after the first, of the network of a run."""
    model = load(name)
    ids = np.array([model.symbols.index(character) for character in text])
    return reference(model._predictor, ids)  # type: ignore[arg-type]


def test_without_a_concept_every_concept_that_occurs_is_measured(run: Path) -> None:
    Path("text.txt").write_text(TEXT)
    rows = figures("tiny", "text.txt", "--unit", "0", "--ablate", "--layer", "1")
    names = {name for name, _ in rows}
    assert {"whole text", "quotes", "line-position", "next-newline"} <= names
    assert "digit" not in names
    assert {where for name, where in rows if name == "quotes"} == {"inside", "outside", "difference"}


@given(st.lists(st.floats(-9.9, 9.9), min_size=5, max_size=5), st.integers(1, 9_999_999))
def test_a_table_row_fits_100_columns(nats: list[float], characters: int) -> None:
    loss, change, low, high, random = (math.log(2) * bits for bits in nats)
    rows = [
        inspect_ablate._row(
            name, ablate.Change(0, where, characters, size, change, (low, high), np.array([random]))
        )
        for name, where, size in (("next-punctuation", "inside", abs(loss)), (r"\d" * 50, "difference", loss))
    ]
    out = Terminal(io.BytesIO(), io.BytesIO(), io.StringIO())
    write_figures(out, rows)
    assert isinstance(out.stdout, io.BytesIO)
    lines = out.stdout.getvalue().decode().splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[-1].startswith(r"\d\d\d\d\d\d\d\…")


def test_a_concept_that_never_occurs_is_said(run: Path) -> None:
    Path("text.txt").write_text(TEXT)
    done = charrnn("inspect-cell", "tiny", "text.txt", "--unit", "0", "--ablate", "--concept", "digit")
    assert done.status == 0
    assert "left out, because this text shows them nowhere or everywhere: digit\n" in done.err
    assert "digit" not in done.text
    assert len(done.text.splitlines()) == 2


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e9"])
def test_a_value_that_no_unit_can_have_is_refused(run: Path, value: str) -> None:
    Path("text.txt").write_text(TEXT)
    for done in (
        charrnn("inspect-cell", "tiny", "text.txt", "--unit", "0", "--clamp", value),
        charrnn("sample", "tiny", "--clamp", f"0:0={value}"),
    ):
        assert done.status == 2
        assert "must be from -1000 to 1000" in done.err


@pytest.mark.parametrize("mode", [("--ablate",), ("--clamp", "0.5")])
@pytest.mark.parametrize("other", [("--of", "memory"), ("--top", "3"), ("--html", "x.html"), ("--find",)])
def test_options_that_would_be_ignored_are_refused(
    run: Path, mode: tuple[str, ...], other: tuple[str, ...]
) -> None:
    words = ("--sample", "9", "--unit", "1", *mode, "--concept", "quotes", *other)
    done = charrnn("inspect-cell", "tiny", *words)
    assert done.status == 2
    assert {mode[0], other[0]} <= set(done.err.split(":")[1].split())


@pytest.mark.parametrize("mode", [("--ablate",), ("--clamp", "0.5")])
def test_no_unit_is_held_that_nobody_named(run: Path, mode: tuple[str, ...]) -> None:
    done = charrnn("inspect-cell", "tiny", "--sample", "9", *mode)
    assert done.status == 2
    assert done.err == f"charrnn: {mode[0]} has no effect without --unit\n"


def test_a_text_of_one_character_has_no_loss_to_measure(run: Path) -> None:
    Path("text.txt").write_text("t")
    done = charrnn("inspect-cell", "tiny", "text.txt", "--unit", "0", "--ablate")
    assert done.status == 1
    assert done.err == "charrnn: text.txt: one character: the loss is that of the characters after it\n"


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3, 480])
def test_a_short_text_has_changes_and_no_interval(run: Path, size: int) -> None:
    Path("text.txt").write_text(TEXT[:size])
    rows = figures("tiny", "text.txt", "--unit", "0", "--ablate")
    for row in rows.values():
        assert isinstance(row["change"], float)
        assert row["low"] is row["high"] is None
    assert (
        "an interval needs 8 stretches of 500 characters"
        in charrnn("inspect-cell", "tiny", "text.txt", "--unit", "0", "--ablate").err
    )


@pytest.mark.slow
def test_a_whole_layer_has_no_random_sets_to_compare_with(run: Path) -> None:
    Path("text.txt").write_text(TEXT)
    done = charrnn("inspect-cell", "tiny", "text.txt", "--unit", "all", "--ablate", "--concept", "quotes")
    assert done.status == 0
    assert "too few other units for random sets" in done.err
    assert "nan" not in done.text
    rows = figures("tiny", "text.txt", "--unit", "all", "--ablate")
    assert rows["whole text", "everywhere"]["p"] is rows["whole text", "everywhere"]["random_low"] is None


@pytest.mark.slow
def test_the_picture_shows_the_units_and_the_random_sets(run: Path) -> None:
    Path("text.txt").write_text(TEXT)
    command = ("inspect-cell", "tiny", "text.txt", "--ablate", "--unit", "1", "--svg", "x.svg")
    done = charrnn(*command, "--concept", "quotes", "--find-regex", r"[^$]\.$(\W|\s$)?")
    assert done.status == 0, done.err
    picture = Path("x.svg").read_text()
    shown = (
        "tiny, layer 0, unit 1 held at its mean",
        "quotes, inside",
        r"[^$]\.$(\W|\s$)?, outside",
        "random sets",
    )
    for words in shown:
        assert f">{words}" in picture


@pytest.mark.slow
def test_the_same_command_prints_the_same_figures(run: Path) -> None:
    Path("text.txt").write_text(TEXT)
    command = ("inspect-cell", "tiny", "text.txt", "--ablate", "--unit", "1,2", "--random-sets", "5")
    assert charrnn(*command).out == charrnn(*command).out


# --- sample --clamp ---

SAMPLE = ("sample", "tiny", "--seed", "3", "--length", "40", "--prompt", "the ")
CLAMP = ("--clamp", "1:2=0.9", "--clamp", "0:0=-1")


def test_a_sample_is_that_of_the_clamped_network(run: Path) -> None:
    done = charrnn(*SAMPLE, *CLAMP)
    expected = load("tiny").generate("the ", length=40, seed=3, clamp={(1, 2): 0.9, (0, 0): -1})
    assert done.text.rstrip("\n") == ("the " + expected).rstrip("\n")
    assert done.out != charrnn(*SAMPLE).out


@pytest.mark.slow
def test_samples_of_a_batch_are_those_that_each_is_alone(run: Path) -> None:
    together = charrnn(*SAMPLE, *CLAMP, "--count", "3", "--json").text.splitlines()
    for index, line in enumerate(together):
        alone = json.loads(charrnn(*SAMPLE, *CLAMP, "--index", str(index), "--json").text)
        assert json.loads(line)["text"] == alone["text"]


def test_a_saved_state_of_a_clamped_network_continues(run: Path) -> None:
    greedy = ("sample", "tiny", "--temperature", "0", *CLAMP)
    whole = charrnn(*greedy, "--prompt", "the cat", "--length", "30").text
    parts = charrnn(*greedy, "--prompt", "the cat", "--length", "12", "--save-state", "s").text
    parts += charrnn(*greedy, "--length", "18", "--load-state", "s").text
    assert parts.replace("\n", "") == whole.replace("\n", "")


@pytest.mark.parametrize("options", [("--beam", "4"), ("--match", "[a-z]{5}"), ("--adapt",)])
def test_a_clamp_goes_with_searches_and_matches_but_not_with_learning(
    run: Path, options: tuple[str, ...]
) -> None:
    done = charrnn("sample", "tiny", "--length", "5", "--prompt", "the ", *CLAMP, *options)
    assert done.status == (2 if "--adapt" in options else 0)


@pytest.mark.parametrize(
    ("clamp", "message"),
    [
        ("0:6=1", "--clamp 0:6=1: the model has units 0 to 5"),
        ("2:0=1", "--clamp 2:0=1: the model has layers 0 to 1"),
        ("-1:0=1", "--clamp -1:0=1: the model has layers 0 to 1"),
        ("0:1", "--clamp 0:1: must be LAYER:UNIT=VALUE, such as 0:117=0.9"),
        ("0=1", "--clamp 0=1: must be LAYER:UNIT=VALUE, such as 0:117=0.9"),
    ],
)
def test_a_clamp_of_no_unit_is_an_error_that_says_what_there_is(run: Path, clamp: str, message: str) -> None:
    done = charrnn("sample", "tiny", "--clamp", clamp)
    assert (done.status, done.err, done.out) == (2, f"charrnn: {message}\n", b"")


@pytest.mark.slow
def test_a_mixture_and_an_ngram_model_have_no_units_to_clamp(run: Path) -> None:
    Path("text.txt").write_text(TEXT)
    assert charrnn("ngram", "text.txt", "--name", "counts", "--quiet").status == 0
    for names in (("counts",), ("tiny", "tiny")):
        done = charrnn("sample", *names, *CLAMP, "--weights", "equal")
        assert done.status == 2
        assert "--clamp needs one network" in done.err
    with pytest.raises(ConfigError, match="--clamp needs one network"):
        load("counts").generate(clamp={(0, 0): 0.0})
