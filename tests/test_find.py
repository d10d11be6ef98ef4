"""A search for units finds the unit that was planted, none where chance decides, and reports true scores."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from charrnn.config import ModelConfig
from charrnn.errors import CorpusError
from charrnn.inference.network import Inference
from charrnn.inspection import find_scores as scores
from charrnn.inspection.activations import every_signal, watch_text
from charrnn.inspection.concepts import ConceptReader, labels
from charrnn.inspection.find_rank import Ranking
from charrnn.inspection.find_units import Findings, Found, find
from charrnn.runs.checkpoint import BEST, Header, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT, charrnn, random_weights

VOCABULARY = Vocabulary("".join(sorted("abcAB12 \n.“”")))
PLANTED = 3


def quoted_text(count: int = 4000, seed: int = 0) -> str:
    """Random characters, of which “ and ” are a pair."""
    generator = np.random.default_rng(seed)
    letters = list("abcAB12 .")
    parts = ["".join(generator.choice(letters, generator.integers(5, 60))) for _ in range(count // 10)]
    text = "".join("“" * (n % 2) + part + "”" * (n % 2) for n, part in enumerate(parts))[:count]
    return text.replace("b ", "b\n")  # no blank line, which would end a quotation


def random_text(count: int = 4000, seed: int = 0) -> str:
    """Characters of which none says anything about the next."""
    return "".join(np.random.default_rng(seed).choice(list("abAB12 .\n"), count))


def network(layers: int = 2, seed: int = 0) -> Inference:
    config = ModelConfig(layers=layers, hidden=6, embedding=0)
    return Inference(config, random_weights(config, len(VOCABULARY), seed))


def network_with_a_quote_unit() -> Inference:
    """Unit PLANTED of layer 0 of an LSTM: “ writes 1 into its cell state, ” writes -1, others leave it."""
    config = ModelConfig(layers=2, hidden=6, embedding=0)
    weights = random_weights(config, len(VOCABULARY))
    gates = [PLANTED + gate * 6 for gate in range(4)]  # input, forget, candidate, output
    inputs, bias = weights["layers.0.weight_ih"], weights["layers.0.bias"]
    weights["layers.0.weight_hh"][gates] = 0
    inputs[gates], bias[gates] = 0, [-20, 20, 0, 20]
    for mark, value in (("“", 20), ("”", -20)):
        inputs[gates, VOCABULARY.symbols.index(mark)] = [40, -40, value, 0]
    return Inference(config, weights)


def search(
    text: str, *names: str, inference: Inference | None = None, threads: int = 2, **settings
) -> Findings:
    reader = ConceptReader(names or None, settings.pop("expressions", ()), byte_level=False)
    ids = VOCABULARY.encode(text)
    return find(inference or network(), VOCABULARY, ids, reader, threads=threads, **settings)


def test_a_planted_quote_unit_is_found_first_with_nearly_perfect_scores() -> None:
    best, *_ = search(quoted_text(), "quotes", inference=network_with_a_quote_unit()).rows
    assert (best.concept, best.layer, best.unit, best.p) == ("quotes", 0, PLANTED, 0.01)
    assert best.beyond_chance
    assert min(best.r or 0, best.given_character or 0, best.auc or 0, best.f1 or 0) > 0.99
    assert best.bits == pytest.approx(entropy(best.share_on), abs=0.05)
    assert 5 <= best.longest_run <= 61


def entropy(share: float) -> float:
    return -float(sum(part * np.log2(part) for part in (share, 1 - share)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_no_unit_knows_the_next_of_independent_characters(seed: int) -> None:
    names = ("next-space", "next-letter", "next-capital", "next-punctuation")
    rows = search(random_text(seed=seed), *names, inference=network(seed=seed)).rows
    assert len(rows) == 20
    assert min(row.p for row in rows) > 0.05
    assert not any(row.beyond_chance for row in rows)


@pytest.mark.slow
def test_p_is_about_uniform_for_labels_that_say_nothing_about_the_text_and_change_slowly() -> None:
    generator, inference = np.random.default_rng(0), network(layers=1)
    found = []
    for _ in range(24):
        ids = generator.integers(0, len(VOCABULARY), 2000)
        targets = np.cumsum(generator.random((2000, 2)) < [0.02, 0.1], 0) % 2  # on for 50 or 10 characters
        ranking = Ranking(targets.astype(np.float32))
        ranking.read(inference, ids, 1, lambda characters: None)
        every = np.concatenate(list(ranking.correlations.values()))
        found.append(min(ranking.p_value(r, concept) for concept, r in enumerate(np.abs(every).max(0))))
    assert np.sum(np.array(found) <= 0.1) <= 6  # 2.4 are expected
    assert 6 <= np.sum(np.array(found) <= 0.5) <= 18  # 12 are expected


def test_a_concept_of_the_current_character_has_no_correlation_beyond_the_character() -> None:
    for row in search(quoted_text(), "capital", top=3).rows:
        assert row.character == pytest.approx(1)
        assert row.given_character is None
        assert row.r != 0


@pytest.mark.slow
def test_nothing_is_chosen_on_the_part_that_is_reported() -> None:
    first, one, other = quoted_text(2000)[:-2] + "\na", quoted_text(2000, 1), random_text(2000, 2)
    chosen, reported = [
        [
            [
                (row.concept, row.layer, row.unit, row.signal, row.threshold, row.p, row.r_ranking)
                for row in rows
            ],
            [row.r for row in rows],
        ]
        for second in (one, other)
        for rows in [search(first + "a\n" + second, "word", "next-space", "line-position", threads=1).rows]
    ]
    assert chosen[0] == reported[0]
    assert chosen[1] != reported[1]


@pytest.mark.slow
def test_blocks_and_threads_change_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(threads: int) -> list[list[object]]:
        found = search(quoted_text(5000), "quotes", "line-position", threads=threads).rows
        return [
            [round(value, 5) if isinstance(value, float) else value for value in asdict(row).values()]
            for row in found
        ]

    monkeypatch.setattr("charrnn.inspection.find_units.RANKING", 1000)
    monkeypatch.setattr("charrnn.inspection.activations.PIECES", 1)
    whole = rows(1)
    for module in ("activations", "find_units"):
        monkeypatch.setattr(f"charrnn.inspection.{module}.BLOCK", 1024)
    assert rows(2) == whole


def test_each_unit_is_listed_once_for_a_concept() -> None:
    rows = search(quoted_text(), "word", "digit", top=100).rows
    for concept in ("word", "digit"):
        units = [(row.layer, row.unit) for row in rows if row.concept == concept]
        assert len(units) == len(set(units)) == 12
        ranks = [abs(row.r_ranking) for row in rows if row.concept == concept]
        assert ranks == sorted(ranks, reverse=True)


def test_concepts_that_hardly_occur_are_left_out() -> None:
    findings = search(random_text(), "quotes", "word", expressions=("zz",))
    assert findings.left_out == ("quotes", "zz")
    assert {row.concept for row in findings.rows} == {"word"}


def test_a_concept_that_only_the_first_part_shows_is_left_out() -> None:
    findings = search(quoted_text(2000) + "ab 1\n" * 400, "quotes", "word")
    assert findings.left_out == ("quotes",)


def test_units_that_never_change_are_not_found() -> None:
    config = ModelConfig(layers=1, hidden=3, embedding=0)
    zeros = {name: weight * 0 for name, weight in random_weights(config, len(VOCABULARY)).items()}
    findings = search(random_text(), "word", inference=Inference(config, zeros))
    assert findings.rows == ()


@pytest.mark.parametrize(("count", "shown"), [(1, "1 character:"), (999, "999 characters:")])
def test_a_text_that_is_too_short_says_how_long_it_must_be(count: int, shown: str) -> None:
    with pytest.raises(CorpusError, match=f"{shown} to find units, give one of 1,000 or more"):
        search("a" * count)


def test_rankings_are_the_correlations_of_numpy() -> None:
    inference, text = network(), quoted_text(1500)
    ids, reader = VOCABULARY.encode(text), ConceptReader(("quotes", "line-position"), (), False)
    targets = labels(VOCABULARY, ids, reader)
    ranking = Ranking(targets)
    ranking.read(inference, ids, 2, lambda characters: None)
    values: dict = {signal: np.zeros((len(ids), 6)) for signal in ranking.correlations}

    def keep(chunk) -> None:
        for signal, array in chunk.values.items():
            values[signal][chunk.positions] = array

    list(watch_text(inference, ids, every_signal(inference), keep, 2))
    for signal, array in values.items():
        expected = np.corrcoef(array.T, targets.T)[:6, 6:]
        np.testing.assert_allclose(ranking.correlations[signal], expected, atol=1e-4)
        np.testing.assert_allclose(ranking.low[signal], array.min(0), atol=1e-6)


def test_p_counts_the_shifts_that_reach_a_correlation() -> None:
    ranking = Ranking(np.random.default_rng(0).normal(size=(1000, 2)))
    ranking.chance = np.stack([np.linspace(0.01, 0.99, 99), np.full(99, 0.1)], 1)
    assert ranking.p_value(1.5, 0) == 0.01
    assert ranking.p_value(-1.5, 0) == 0.01
    assert ranking.p_value(0.94, 0) == 0.07  # 0.94 to 0.99 reach it
    assert ranking.p_value(0.001, 0) == 1.0
    assert ranking.p_value(0.188, 1) == 0.07  # the second concept is measured in its own median


VALUES = arrays(np.float64, st.tuples(st.integers(30, 60), st.just(3)), elements=st.integers(0, 9).map(float))


@pytest.mark.slow
@settings(max_examples=25)
@given(VALUES, st.integers(0, 2**32))
def test_scores_from_sums_are_those_of_their_definitions(x: np.ndarray, seed: int) -> None:
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, 4, len(x))
    y = (x + generator.normal(0, 4, x.shape) > 4).astype(float)
    moments, half = scores.Moments(3, 5), len(x) // 2
    for part in (slice(half), slice(half, None)):
        moments.add(ids[part], x[part], y[part])
    counts = scores.histogram(scores.Binning(np.zeros(3), np.full(3, 9.0))(x), y > 0)
    thresholds = scores.best_thresholds(counts)
    for column in range(3):
        a, b = x[:, column], y[:, column]
        assert_close(moments.correlations()[column], pearson(a, b))
        assert_close(moments.given_character()[column], pearson(residual(a, ids), residual(b, ids)))
        assert_close(moments.character()[column], pearson(b, b - residual(b, ids)), constant=0)
        assert_close(scores.auc(counts)[column], rank_statistic(a[b > 0], a[b == 0]))
        candidates = [f1(a >= cut, b > 0) for cut in range(10)]
        assert scores.f1(counts, thresholds)[column] == pytest.approx(max(np.nan_to_num(candidates)))
        assert_close(scores.information(counts)[column], mutual_information(a, b))


def assert_close(actual: float, expected: float, constant: float = np.nan) -> None:
    """Both may be NaN; ``constant`` is the score where a mean for the character is constant."""
    if np.isnan(expected) and not np.isnan(constant):
        assert np.isnan(actual) or actual == pytest.approx(constant, abs=1e-6)
    else:
        np.testing.assert_allclose(actual, expected, atol=1e-6)


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    if a.std() < 1e-6 or b.std() < 1e-6:
        return np.nan
    return float(np.corrcoef(a, b)[0, 1])


def residual(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    result: np.ndarray = values - np.array([values[ids == symbol].mean() for symbol in ids])
    return result


def rank_statistic(on: np.ndarray, off: np.ndarray) -> float:
    """Of all pairs, the share in which the first value is larger; equal ones count half."""
    pairs = np.sign(on[:, None] - off[None]) / 2 + 0.5
    return float(pairs.mean()) if pairs.size else np.nan


def f1(predicted: np.ndarray, true: np.ndarray) -> float:
    both = (predicted & true).sum()
    return 2 * both / (predicted.sum() + true.sum()) if predicted.sum() + true.sum() else np.nan


def mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for value in set(a):
        for label in set(b):
            joint = ((a == value) & (b == label)).mean()
            if joint:
                total += joint * np.log2(joint / (a == value).mean() / (b == label).mean())
    return total


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 7))
def test_the_longest_run_does_not_depend_on_the_blocks(on: list[bool], size: int) -> None:
    runs = scores.Runs(1)
    for start in range(0, len(on), size):
        runs.add(np.array(on[start : start + size])[:, None])
    text = "".join("x" if value else " " for value in on)
    assert runs.longest[0] == max(map(len, text.split()), default=0)


def test_beyond_chance_is_a_small_p_and_a_correlation_in_both_parts() -> None:
    (found, *_) = search(quoted_text(), "quotes", inference=network_with_a_quote_unit()).rows
    assert found.beyond_chance
    assert not replace(found, p=0.06).beyond_chance
    for r in (None, found.chance, -found.chance - 0.1):
        assert not replace(found, r=r).beyond_chance


@pytest.fixture
def quotes_run(tmp_path: Path) -> Path:
    """A run called ``planted``, and quoted.txt."""
    config = ModelConfig(layers=1, hidden=6, embedding=0)
    folder = tmp_path / "checkpoints" / "planted"
    folder.mkdir(parents=True)
    save_checkpoint(folder / BEST, Header(config, VOCABULARY), random_weights(config, len(VOCABULARY)))
    Path("quoted.txt").write_text(quoted_text(2000))
    return folder


@pytest.mark.usefixtures("quotes_run")
def test_the_command_writes_a_line_for_each_concept_and_says_what_it_read() -> None:
    ran = charrnn("inspect-cell", "planted", "quoted.txt", "--find")
    assert ran.status == 0
    header, *lines = ran.text.splitlines()
    assert header.split()[:3] == ["CONCEPT", "UNIT", "SIGNAL"]
    assert {line.split()[0] for line in lines} >= {"quotes", "line-position", "next-space"}
    assert "left out, because one part has fewer than 20 characters on or off: comments, brackets" in ran.err
    assert "chosen on 1,000 characters from 36 signals of units, measured on the 1,000 characters" in ran.err


@pytest.mark.usefixtures("quotes_run")
def test_the_command_writes_all_scores_as_json() -> None:
    ran = charrnn("inspect-cell", "planted", "quoted.txt", "--concept", "capital", "--top", "2", "--json")
    rows = [json.loads(line) for line in ran.text.splitlines()]
    assert [row["concept"] for row in rows] == ["capital", "capital"]
    assert rows[0]["given_character"] is None
    assert set(rows[0]) == {*Found.__annotations__, "beyond_chance", "window"}


@pytest.mark.usefixtures("quotes_run")
def test_expressions_alone_are_the_only_concepts() -> None:
    ran = charrnn("inspect-cell", "planted", "quoted.txt", "--find-regex", "[ab]+", "--json")
    assert {json.loads(line)["concept"] for line in ran.text.splitlines()} == {"[ab]+"}


@pytest.mark.usefixtures("quotes_run")
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("--find-regex zzz", 1, "no unit can be compared with a concept in this text"),
        ("--find-regex (", 2, "--find-regex (: must be a regular expression"),
        ("--find-regex (.|..)+[xy]", 2, "takes more than 0.01 s"),
        ("--concept quots", 2, "did you mean quotes"),
        ("--find --unit 3", 2, "--unit has no effect with --find"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: str, status: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.inspection.concepts.SECONDS", 0.01)
    ran = charrnn("inspect-cell", "planted", "quoted.txt", *arguments.split())
    assert (ran.status, ran.out) == (status, b"")
    assert message in ran.err.splitlines()[-1]


@pytest.mark.usefixtures("run")
def test_a_text_that_repeats_itself_shows_nothing_beyond_chance() -> None:
    """Shifted by a whole number of sentences, the labels are the true ones."""
    Path("text.txt").write_text(TEXT * 10)
    ran = charrnn("inspect-cell", "tiny", "text.txt", "--find", "--concept", "quotes", "--json")
    assert min(json.loads(line)["p"] for line in ran.text.splitlines()) > 0.01
