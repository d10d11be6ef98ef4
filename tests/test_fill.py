"""Filling gaps: the search finds what brute force finds, and the command says what is wrong."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.config import ModelConfig
from charrnn.errors import CheckpointError
from charrnn.inference.choice import DAMAGED
from charrnn.inference.fill import Filling, Gap, fill, ranked
from charrnn.inference.network import Inference
from charrnn.inference.pattern import Pattern
from charrnn.inference.score import log_probabilities
from charrnn.runs.checkpoint import BEST, Header, load, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT, Ran, charrnn, random_weights

WIDE = 10_000
EXPRESSIONS = ("a*", "b?a|ab", "[ab]{1,2}", "(ab)*", "a|b")


def net(vocabulary: Vocabulary, seed: int) -> Inference:
    """A network with sharp predictions, in float64."""
    config = ModelConfig(hidden=5, embedding=3, documents=vocabulary.documents, backward=vocabulary.backward)
    weights = random_weights(config, len(vocabulary), seed)
    return Inference(config, {name: 2 * value.astype(np.float64) for name, value in weights.items()})


def log_probability(predictor: Inference, vocabulary: Vocabulary, text: str) -> float:
    """That of a whole text; of a document, with its END."""
    ids = vocabulary.encode(text)
    if vocabulary.boundary is not None:
        ids = np.append(ids, vocabulary.boundary)
    return float(log_probabilities(predictor, vocabulary, ids).sum())


def contents(item: str, symbols: str, most: int, expression: str | None) -> Iterator[str]:
    """Everything that can stand for a character of a template: "_", "*" for any number, or itself."""
    if item not in "_*":
        yield item
        return
    for size in [1] if item == "_" else range(most + 1):
        for content in map("".join, itertools.product(symbols, repeat=size)):
            if item == "_" or expression is None or re.fullmatch(expression, content):
                yield content


def brute_force(template: str, symbols: str, most: int, expression: str | None) -> dict[str, tuple[str, ...]]:
    """The texts that fit, each with the contents of its gaps: those whose first gaps are the shortest."""
    result: dict[str, tuple[str, ...]] = {}
    for parts in itertools.product(*(contents(item, symbols, most, expression) for item in template)):
        gaps = tuple(part for item, part in zip(template, parts, strict=True) if item in "_*")
        before = result.get("".join(parts))
        if before is None or list(map(len, gaps)) < list(map(len, before)):
            result["".join(parts)] = gaps
    return result


def items(template: str, vocabulary: Vocabulary, most: int, expression: str | None) -> list[int | Gap]:
    pattern = None if expression is None else Pattern(expression, vocabulary, max_length=most)
    gaps = {"_": Gap(1, 1), "*": Gap(0, most, pattern)}
    return [gaps[item] if item in gaps else vocabulary.symbols.index(item) for item in template]


def in_letters(vocabulary: Vocabulary, filling: Filling) -> tuple[str, tuple[str, ...]]:
    return vocabulary.decode(list(filling.text)), tuple(vocabulary.decode(list(gap)) for gap in filling.gaps)


@pytest.mark.slow
@given(
    st.text("ab_*", min_size=1, max_size=5).filter(lambda template: template.count("*") <= 2),
    st.sampled_from(["ab", "abc"]),
    st.integers(1, 3),
    st.none() | st.sampled_from(EXPRESSIONS),
    st.booleans(),
    st.integers(0, 9),
)
@settings(max_examples=60)
def test_a_wide_search_finds_every_text_that_fits_as_brute_force_does(
    template: str, symbols: str, most: int, expression: str | None, documents: bool, seed: int
) -> None:
    forward = Vocabulary(symbols, documents=documents)
    backward = Vocabulary(symbols, documents=documents, backward=True)
    nets = net(forward, seed), net(backward, seed + 100)
    expected = brute_force(template, symbols, most, expression)
    found = fill(nets[0], forward, items(template, forward, most, expression), WIDE)
    assert dict(in_letters(forward, filling) for filling in found) == expected
    assert len(found) == len(expected)  # no text twice
    assert [filling.forward for filling in found] == sorted((f.forward for f in found), reverse=True)

    both = ranked(found, nets[1], backward)
    assert [filling.sum for filling in both] == sorted((f.sum for f in both), reverse=True)
    assert {filling.text for filling in both} == {filling.text for filling in found}
    for filling in both:
        text, _ = in_letters(forward, filling)
        assert filling.forward == pytest.approx(log_probability(nets[0], forward, text), abs=1e-9)
        assert filling.backward == pytest.approx(log_probability(nets[1], backward, text), abs=1e-9)


@given(st.text("ab_*", min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 9))
@settings(max_examples=40)
def test_a_narrow_search_finds_texts_that_fit_with_their_scores(template: str, width: int, seed: int) -> None:
    vocabulary = Vocabulary("ab")
    predictor = net(vocabulary, seed)
    found = fill(predictor, vocabulary, items(template, vocabulary, 4, None), width)
    assert 1 <= len(found) <= width
    shape = template.replace("_", ".").replace("*", ".{0,4}")
    for filling in found:
        text, gaps = in_letters(vocabulary, filling)
        assert re.fullmatch(shape, text)
        parts = iter(gaps)
        assert "".join(next(parts) if item in "_*" else item for item in template) == text
        assert filling.forward == pytest.approx(log_probability(predictor, vocabulary, text), abs=1e-9)


class After:
    """A predictor of ``text`` and then ``next``, each character nearly certain, others equally improbable."""

    def __init__(self, text: str, symbols: str) -> None:
        self.text, self.letters, self.symbols = text, symbols, len(symbols)

    def start(self, batch: int) -> Any:
        return ((np.zeros((batch, 1)),),)

    def __call__(self, ids: Any, state: Any, trace: Any = None) -> Any:
        read, logits = state[0][0], []
        for _ in range(ids.shape[1]):
            row = np.zeros((len(ids), self.symbols))
            for index, position in enumerate(read[:, 0].astype(int).tolist()):
                row[index, self.letters.index(self.text[position % len(self.text)])] = 9
            read = read + 1
            logits.append(row)
        return np.stack(logits, 1), ((read,),)


def test_a_text_that_leaves_a_gap_does_not_compete_with_texts_inside_it() -> None:
    """Inside the gap, "abcabca" goes on with certainty; each text that leaves it has an improbable "z"."""
    vocabulary = Vocabulary("abcz")
    found = fill(After("abc", "abcz"), vocabulary, items("*zz", vocabulary, 6, None), 1)
    assert [in_letters(vocabulary, filling)[0] for filling in found] == ["zz"]
    found = fill(After("abczz", "abcz"), vocabulary, items("*zz", vocabulary, 6, None), 1)
    assert [in_letters(vocabulary, filling)[0] for filling in found] == ["abczz"]


def test_weights_that_are_damaged_are_an_error() -> None:
    vocabulary = Vocabulary("ab")
    predictor = net(vocabulary, 0)
    predictor.readout_bias[:] = np.nan
    with pytest.raises(CheckpointError, match=re.escape(DAMAGED)):
        fill(predictor, vocabulary, items("a_", vocabulary, 1, None), 1)


# --- the command ---


def save_run(
    name: str, backward: bool = False, symbols: str = TEXT, documents: bool = False, byte_level: bool = False
) -> None:
    vocabulary = Vocabulary("".join(sorted(set(symbols))), byte_level, documents, backward)
    config = ModelConfig(hidden=6, embedding=4, backward=backward, documents=documents)
    Path("checkpoints", name).mkdir(parents=True)
    weights = random_weights(config, len(vocabulary), seed=len(name))
    save_checkpoint(Path("checkpoints", name, BEST), Header(config, vocabulary), weights)


@pytest.fixture
def runs() -> None:
    """A forward model called ``fw``, and a backward model called ``back``."""
    save_run("fw")
    save_run("back", backward=True)


def filled(*arguments: str, **options: Any) -> Ran:
    done = charrnn("fill", *arguments, "--forward", "fw", **options)
    assert done.status == 0, done.err
    return done


def rows(*arguments: str, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in filled(*arguments, "--json", **options).out.splitlines()]


def test_only_the_filled_texts_are_printed_the_best_first(runs: None) -> None:
    done = filled("the _at sat[...].", "--count", "3", "--length", "4")
    assert len(done.text.splitlines()) == 3
    for line in done.text.splitlines():
        assert re.fullmatch(r"the .at sat.{0,4}\.", line)
    assert done.err == ""


def test_json_lines_have_the_gaps_and_the_scores_that_score_prints(runs: None) -> None:
    lines = rows("the _at[...].", "--backward", "back", "--count", "4", "--length", "3")
    assert [line["sum"] for line in lines] == sorted((line["sum"] for line in lines), reverse=True)
    for line in lines:
        first, second = line["gaps"]
        assert line["text"] == f"the {first}at{second}."
        for name, key in (("fw", "forward"), ("back", "backward")):
            done = charrnn("score", name, "-", "--json", stdin=line["text"].encode())
            assert json.loads(done.out)["nats"] == pytest.approx(-line[key], abs=1e-3)
        assert line["sum"] == pytest.approx(line["forward"] + line["backward"], abs=1e-3)
        assert line["template"] == "the _at[...]."


def test_the_backward_model_changes_the_order(runs: None) -> None:
    alone = rows("t__t.", "--count", "20")
    both = rows("t__t.", "--count", "20", "--backward", "back")
    assert {line["backward"] for line in alone} == {None}
    assert all(line["sum"] == line["forward"] for line in alone)
    assert [line["text"] for line in alone] != [line["text"] for line in both]


def test_each_line_of_stdin_is_a_template(runs: None) -> None:
    lines = rows("-", stdin=b"the _at\r\n_at.\n")
    assert [line["template"] for line in lines] == ["the _at", "_at."]
    assert rows(stdin=b"_at.\n") == lines[1:]


def test_gaps_and_brackets_can_be_given_as_characters() -> None:
    save_run("fw", symbols="a_[].\n\\")
    (line,) = rows(r"\_a\[...]_\n\\a")
    assert re.fullmatch(r"_a\[\.\.\.\].\n\\a", line["text"], re.DOTALL)
    assert len(line["gaps"]) == 1


def test_the_content_of_each_long_gap_matches_the_expression(runs: None) -> None:
    lines = rows("the [...] _ [...].", "--match", "[a-d]{2}", "--count", "9", "--beam", "16")
    for line in lines:
        first, one, second = line["gaps"]
        assert re.fullmatch("[a-d]{2}", first)
        assert re.fullmatch("[a-d]{2}", second)
        assert len(one) == 1
    assert len(lines) == 9


def test_documents_are_filled_with_their_end() -> None:
    save_run("fw", documents=True)
    save_run("back", documents=True, backward=True)
    (line,) = rows("the _at", "--backward", "back")
    for name, key in (("fw", "forward"), ("back", "backward")):
        loaded = load(Path("checkpoints", name, BEST))
        predictor = Inference(loaded.header.network, loaded.weights)
        expected = log_probability(predictor, loaded.header.vocabulary, line["text"])
        assert line[key] == pytest.approx(expected, abs=1e-3)


def test_unknown_characters_are_replaced_or_left_out_on_request(runs: None) -> None:
    assert rows("thé _at", "--unknown", "nearest")[0]["text"].startswith("the ")
    assert rows("th☃e _at", "--unknown", "skip")[0]["text"].startswith("the ")


REFUSALS: Sequence[tuple[str, str]] = [
    ("fill abc --forward fw", "TEMPLATE: the template has no gap: _ is one unknown character, [...]"),
    ("fill abc_ --forward back", "--forward back: this is a backward model: give it as --backward"),
    ("fill a_ --forward fw --backward fw", "--backward fw: this is a forward model: train a backward one"),
    (
        "fill a_ --forward fw --backward few",
        "--forward fw and --backward few know different symbols: train both",
    ),
    ("fill a_ --forward fw --backward docs", "--forward fw and --backward docs know different symbols"),
    (f"fill {'a[...]' * 101} --forward fw", "the template has 101 gaps [...]: use at most 100"),
    ("fill a_é --forward fw", "TEMPLATE: 'é' (U+00E9 LATIN SMALL LETTER E WITH ACUTE) at position 2"),
    ("fill _\\né --forward fw", "at position 3"),
    ("fill \udcff_ --forward fw", "TEMPLATE: it is not valid UTF-8"),
    (
        "fill a_ --forward bytes",
        "--forward bytes: fill needs a model of characters, and this one reads bytes",
    ),
    ("fill a_ --forward fw --length 0", "--length 0: must be"),
    ("fill a_ --forward fw --count 33", "--count 33: must be at most --beam 32"),
    ("fill a_ --forward fw --match a", "--match has no effect: the template has no [...]"),
    ("fill a[...] --forward fw --match Q", "--match Q: no text of the allowed characters"),
    ("fill a[...] --forward fw --match aaa --length 2", "with length at most 2 (--length 2) matches"),
    ("fill a[...] --forward fw --match a( ", "--match a(: must be a valid regular expression"),
    ("fill é_ --forward fw", "TEMPLATE: 'é' (U+00E9 LATIN SMALL LETTER E WITH ACUTE) at position 0"),
    ("fill --forward fw", "no template: give one"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS)
def test_a_mistake_is_one_line_with_the_way_out(runs: None, arguments: str, message: str) -> None:
    save_run("few", backward=True, symbols="abc")
    save_run("docs", backward=True, documents=True)
    save_run("bytes", byte_level=True, symbols="abc")
    done = charrnn(*arguments.split())
    assert (done.status, done.out) in ((1, b""), (2, b"")), done.err
    assert done.err.count("\n") == 1, done.err
    assert message in done.err


def test_a_byte_order_mark_before_the_first_line_is_left_out(runs: None) -> None:
    done = charrnn("fill", "-", "--forward", "fw", stdin=b"\xef\xbb\xbf_at\n_at\n")
    first, second = done.text.splitlines()
    assert first == second


def test_adjacent_gaps_share_what_they_hold(runs: None) -> None:
    assert rows("the [...][...][...] sat", "--length", "4")[0]["text"].startswith("the ")


def test_a_mistake_in_a_line_of_stdin_names_the_line(runs: None) -> None:
    done = charrnn("fill", "--forward", "fw", stdin=b"_at\nthe cat\n")
    assert done.status == 2
    assert "charrnn: TEMPLATE, line 2: the template has no gap" in done.err
    done = charrnn("fill", "--forward", "fw", stdin=b"_at\n\xff\n")
    assert done.err == "charrnn: TEMPLATE, line 2: it is not valid UTF-8\n"
