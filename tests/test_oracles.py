"""Each error of a model is removed by the first oracle that has a reason for it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import ModelConfig, TrainConfig
from charrnn.inference.network import Inference
from charrnn.inference.ngram import NGram
from charrnn.inference.ngram_build import fit
from charrnn.inference.sample import opening_ids
from charrnn.inference.score import log_probabilities
from charrnn.inspection.oracles import BOOSTS, MEMORIES, RARE, Peeling, count_words, peel
from charrnn.origin import Origin
from charrnn.runs.checkpoint import BEST, Header, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT, Ran, charrnn, random_weights

SYMBOLS = Vocabulary("".join(sorted("\n '\",-_abcd")))
POOR = 0.01
"""The probability of a character that only the last boost, or another oracle, helps."""


def peeled(
    text: str,
    network: Sequence[float] | float = POOR,
    ngram: Sequence[float] | None = None,
    words: Mapping[str, int] | None = None,
    vocabulary: Vocabulary | None = None,
    cuts: Sequence[int] = (),
) -> Peeling:
    """A text after a newline, its characters with these probabilities, read in blocks."""
    vocabulary = vocabulary or Vocabulary("".join(sorted({*text, "\n"})))
    ids = vocabulary.encode(text)
    scores = np.log(np.broadcast_to(network, len(ids)))
    short = np.log(ngram) if ngram is not None else np.full(len(ids), -np.inf)
    peeling = Peeling(vocabulary, "\n", ngram is not None, words)
    stops = [*sorted(cuts), len(ids)]
    for start, stop in zip([0, *stops], stops, strict=False):
        block = slice(start, stop)
        peeling.read(ids[block], scores[block], short[block], stop == len(ids))
    return peeling


def errors(peeling: Peeling) -> dict[str, int]:
    """The errors that each oracle removes, without the oracles that remove none."""
    return {part.oracle: part.errors for part in peeling.removed if part.errors}


def in_word(text: str, position: int) -> bool:
    def is_inside(k: int) -> bool:
        return 0 <= k < len(text) and (text[k].isalnum() or text[k] == "_")

    joins = 0 <= position < len(text) and text[position] in "'-"
    return is_inside(position) or (joins and is_inside(position - 1) and is_inside(position + 1))


def word_around(text: str, position: int) -> tuple[int, int]:
    """The first position of the word, and the one behind its last."""
    start = stop = position
    while in_word(text, start - 1):
        start -= 1
    while in_word(text, stop):
        stop += 1
    return start, stop


def reasons(
    text: str, position: int, network: float, ngram: float | None, words: Mapping[str, int] | None
) -> Iterator[tuple[str, bool]]:
    """The oracles, and whether each would remove an error; found without any shortcut."""
    yield "n-gram model", ngram is not None and ngram > 0.5
    if in_word(text, position):
        start, stop = word_around(text, position)
        earlier = (k for k in range(start) if in_word(text, k))
        before = [k for k in earlier if text[slice(*word_around(text, k))] == text[start:stop]]
        distance = start - word_around(text, before[-1])[0] if before and position > start else 10**6
        for length in MEMORIES:
            yield f"word in last {length} characters", distance <= length
        count = 10**6 if words is None else words.get(text[start:stop], 0)
        for most in RARE:
            yield f"word {most} time{'' if most == 1 else 's'} in training", count <= most
    yield "after space, quote or newline", position == 0 or text[position - 1] in " \n'\""
    yield "punctuation", text[position] in "'\",-_"
    for boost in BOOSTS:
        yield f"boost of {boost:g}", network + boost >= 0.5


PROBABILITIES = st.floats(0.001, 0.999)


@pytest.mark.slow
@given(st.data())
def test_each_error_is_removed_once_by_the_first_oracle_that_has_a_reason(data: st.DataObject) -> None:
    text = data.draw(st.text(SYMBOLS.symbols, min_size=1, max_size=60))
    rows = st.lists(PROBABILITIES, min_size=len(text), max_size=len(text))
    network, ngram = data.draw(rows), data.draw(st.none() | rows)
    words = data.draw(st.none() | st.dictionaries(st.text("abcd", min_size=1, max_size=2), st.integers(1, 7)))
    expected: dict[str, int] = {}
    nats: dict[str, float] = {}
    for position, probability in enumerate(network):
        if probability < 0.5:
            found = reasons(text, position, probability, ngram[position] if ngram else None, words)
            name = next(name for name, holds in found if holds)
            expected[name] = expected.get(name, 0) + 1
            nats[name] = nats.get(name, 0) - np.log(probability)
    peeling = peeled(text, network, ngram, words, SYMBOLS)
    assert errors(peeling) == expected
    assert {part.oracle: part.nats for part in peeling.removed if part.errors} == pytest.approx(nats)
    assert peeling.characters == len(text)
    assert peeling.nats == pytest.approx(-np.log(network).sum())


@pytest.mark.slow
@given(
    st.lists(st.text("ab'-", max_size=5), min_size=9, max_size=20), st.lists(st.integers(6, 30), max_size=4)
)
def test_the_blocks_of_a_text_change_nothing(parts: list[str], sizes: list[int]) -> None:
    text = " ".join(parts)  # a block of 6 characters has a space, so that no word is cut
    cuts = [cut for cut in accumulate(sizes) if cut < len(text)]
    words = {"a": 1, "ab": 3}
    whole, cut = peeled(text, words=words), peeled(text, words=words, cuts=cuts)
    assert [part[:2] for part in cut.removed] == [part[:2] for part in whole.removed]


def test_hand_counted_a_repeated_word_is_known_from_its_second_letter_on() -> None:
    expected = {
        "word in last 100 characters": 1,  # the second a of the second aa
        "after space, quote or newline": 3,
        "boost of 0.5": 4,
    }
    assert errors(peeled("aa aa bb")) == expected


@pytest.mark.parametrize(
    ("distance", "memory"), [(100, 100), (101, 500), (501, 1000), (5000, 5000), (5001, None)]
)
def test_a_memory_reaches_as_far_back_as_it_says(distance: int, memory: int | None) -> None:
    found = errors(peeled("word" + "." * (distance - 4) + "word"))
    assert [found.get(f"word in last {n} characters", 0) for n in MEMORIES] == [
        3 * (n == memory) for n in MEMORIES
    ]


def test_rare_words_are_removed_with_their_first_letters_the_rarest_first() -> None:
    words = {"once": 1, "often": 6}
    assert errors(peeled("never once often", words=words)) == {
        "word 0 times in training": 5,
        "word 1 time in training": 4,
        "after space, quote or newline": 1,
        "boost of 0.5": 6,  # both spaces, and often without its first letter
    }


def test_the_order_of_the_oracles_decides_who_removes_an_error() -> None:
    text, words = "mary mary", {"mary": 1}
    known = [0.9] * len(text)
    assert errors(peeled(text, ngram=known, words=words)) == {"n-gram model": len(text)}
    assert errors(peeled(text, words=words)) == {
        "word in last 100 characters": 3,
        "word 1 time in training": 5,
        "boost of 0.5": 1,
    }


def test_a_boost_removes_what_it_lifts_to_a_half() -> None:
    probabilities = [0.49, 0.41, 0.39, 0.29, 0.19, 0.09]
    assert errors(peeled("\u4e00" + "\u3042" * 6, [0.9, *probabilities])) == {
        "boost of 0.1": 2,
        "boost of 0.2": 1,
        "boost of 0.3": 1,
        "boost of 0.4": 1,
        "boost of 0.5": 1,
    }


def test_a_character_with_a_half_is_no_error() -> None:
    assert errors(peeled("ab", [0.5, 0.4999])) == {"boost of 0.1": 1}


def test_a_text_without_errors_has_nothing_to_remove() -> None:
    peeling = peeled("ab ab", 0.9, words={})
    assert errors(peeling) == {}
    assert len(peeling.removed) == len(MEMORIES) + len(RARE) + 2 + len(BOOSTS)


def test_a_text_of_one_character_follows_the_newline_before_it() -> None:
    assert errors(peeled("a")) == {"after space, quote or newline": 1}


def test_at_byte_level_words_are_made_of_characters() -> None:
    vocabulary = Vocabulary("".join(map(chr, range(256))), byte_level=True)
    found = errors(peeled("né né—", vocabulary=vocabulary))
    assert found == {
        "word in last 100 characters": 2,  # both bytes of the second é
        "after space, quote or newline": 2,
        "punctuation": 3,  # the bytes of the dash
        "boost of 0.5": 3,  # the first é and the space
    }


def test_bytes_that_are_not_utf_8_are_characters_too() -> None:
    vocabulary = Vocabulary("".join(map(chr, range(256))), byte_level=True)
    peeling = Peeling(vocabulary, "\n", False, None)
    scores = np.log(np.full((2, 3), POOR))
    peeling.read(np.array([0xFF, 0x61, 0xC3]), scores[0], scores[1], True)
    assert peeling.characters == sum(errors(peeling).values()) == 3


def network(symbols: int) -> Inference:
    config = ModelConfig(layers=1, hidden=8, embedding=4)
    return Inference(config, random_weights(config, symbols))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_errors_are_those_of_the_models_scores(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("activations", "oracles"):
        monkeypatch.setattr(f"charrnn.inspection.{module}.BLOCK", 1100)
    monkeypatch.setattr("charrnn.inspection.activations.SHORTEST_PIECE", 550)
    vocabulary = Vocabulary("".join(sorted(set(TEXT))))
    ids, model = vocabulary.encode(TEXT), network(len(vocabulary))
    ngram: NGram = fit(ids[:900], ids[:0], len(vocabulary), 4).model
    stream = np.concatenate([opening_ids(vocabulary), ids])
    counts: list[int] = []
    words = count_words(vocabulary, ids)
    peeling = peel(model, ngram, vocabulary, stream, words, threads, counts.append)
    scores, short = (log_probabilities(each, vocabulary, ids) for each in (model, ngram))
    assert (peeling.characters, sum(counts)) == (len(ids), 2 * len(ids))
    assert peeling.nats == pytest.approx(-scores.sum(), rel=1e-5)
    wrong = scores < np.log(0.5)
    assert sum(errors(peeling).values()) == wrong.sum() > 100
    assert errors(peeling)["n-gram model"] == (wrong & (short > np.log(0.5))).sum() > 100
    assert peeling.removed[0].nats == pytest.approx(-scores[wrong & (short > np.log(0.5))].sum(), rel=1e-5)


def test_words_are_counted_across_the_blocks_of_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = Vocabulary("".join(sorted({*TEXT, *"rock'n'roll"})))
    text = TEXT + "rock'n'roll\n"
    expected = dict.fromkeys(("cat", "sat", "on", "mat", "she", "said", "no", "and", "left"), 40)
    for block in (12, 97, 10**6):
        monkeypatch.setattr("charrnn.inspection.oracles.BLOCK", block)
        counts = count_words(vocabulary, vocabulary.encode(text))
        assert counts == expected | {"the": 80, "rock'n'roll": 1}


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run called ``tiny``, its weights drawn at random, that says it learned four fifths of text.txt."""
    Path("text.txt").write_text(TEXT)
    Path("new.txt").write_text('the cat said "no"\nthe mat sat on the mat.\n')
    config = ModelConfig(layers=1, hidden=6, embedding=4)
    vocabulary = Vocabulary("".join(sorted(set(TEXT))))
    corpus = {"name": "text.txt", "sha256": sha256(TEXT.encode()).hexdigest(), "characters": len(TEXT)}
    header = Header(
        config, vocabulary, TrainConfig(split=(80, 20, 0)), corpus, origin=Origin(["text.txt"]).record()
    )
    folder = tmp_path / "checkpoints" / "tiny"
    folder.mkdir(parents=True)
    save_checkpoint(folder / BEST, header, random_weights(config, len(vocabulary)))
    return folder


def inspect(*options: str, tty: bool = False) -> Ran:
    return charrnn("inspect-cell", "tiny", "new.txt", "--errors", *options, tty=tty)


def table(ran: Ran) -> dict[str, dict]:
    assert ran.status == 0, ran.err
    return {line["oracle"]: line for line in map(json.loads, ran.text.splitlines())}


def test_the_errors_that_remain_are_those_not_yet_removed(trained: Path) -> None:
    rows = list(table(inspect("--json")).values())
    remaining = total = rows[0]["removed"] + rows[0]["remaining"]
    for row in rows:
        remaining -= row["removed"]
        assert row["remaining"] == remaining
        assert row["share"] == pytest.approx(row["removed"] / total)
    assert remaining == 0


@pytest.mark.slow
def test_the_note_about_a_missing_n_gram_model_has_a_command_that_makes_it(trained: Path) -> None:
    ran = inspect("--json")
    assert "n-gram model" not in table(ran)
    (note,) = [line for line in ran.err.splitlines() if "without an n-gram model" in line]
    option, _, command = note.partition("add ")[2].partition(" ")
    assert option == "--ngram"
    program, *arguments = shlex.split(command.removeprefix('"$(').removesuffix(')"'))
    assert program == "charrnn"
    path = charrnn(*arguments).text.strip()
    assert table(inspect("--json", option, path))["n-gram model"]["removed"] > 0
    beside = inspect("--json")  # the model of the same text and split
    assert table(beside) == table(inspect("--json", option, path))
    assert "without" not in beside.err


@pytest.mark.slow
def test_the_words_of_the_training_text_are_counted_where_it_is_found(trained: Path) -> None:
    rows = table(inspect("--json"))
    assert rows["word 0 times in training"]["removed"] == 0  # all words of new.txt are in text.txt
    assert any("in training" in name for name in rows)
    Path("text.txt").rename("moved.txt")
    ran = inspect("--json")
    assert not any("in training" in name for name in table(ran))
    assert "the oracle of rare words is left out: the text of tiny: no file or folder" in ran.err
    assert "give it: --training-text TEXT" in ran.err
    assert table(inspect("--json", "--training-text", "moved.txt")) == rows
    refused = inspect("--training-text", "new.txt")
    assert (refused.status, refused.out) == (1, b"")
    assert "new.txt is not the text that tiny learned" in refused.err


def test_the_n_gram_model_must_be_one_and_have_the_same_symbols(trained: Path) -> None:
    ran = inspect("--ngram", "tiny")
    assert (ran.status, ran.out) == (2, b"")
    assert "--ngram tiny: this is a network; `charrnn ngram TEXT` makes an n-gram model" in ran.err
    Path("other.txt").write_text("xyz " * 30)
    charrnn("ngram", "other.txt", "--name", "other", "--order", "2")
    ran = inspect("--ngram", "other")
    assert (ran.status, ran.out) == (2, b"")
    assert "tiny and other do not mix, their symbols differ" in ran.err


def test_a_sample_is_no_text_for_errors(trained: Path) -> None:
    ran = charrnn("inspect-cell", "tiny", "--errors")
    assert (ran.status, ran.out) == (2, b"")
    assert "--errors needs a text that the model did not learn: give it as TEXT" in ran.err


def test_a_piped_text_has_the_errors_of_its_file(trained: Path) -> None:
    piped = charrnn("inspect-cell", "tiny", "--errors", "--json", stdin=Path("new.txt").read_bytes())
    assert table(piped) == table(inspect("--json"))


def test_a_text_of_one_character_is_read_to_its_end(trained: Path) -> None:
    Path("new.txt").write_text("t")
    rows = table(inspect("--json"))
    assert sum(row["removed"] for row in rows.values()) == 1


def test_a_text_without_errors_has_a_table_of_zeros(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.inspection.oracles.LEAST", 1e-9)
    ran = inspect()
    assert "0 of 42 characters are errors" in ran.err
    assert {row.split()[-4:-3][0] for row in ran.text.splitlines()[1:]} == {"0"}


def test_an_empty_text_is_refused(trained: Path) -> None:
    Path("new.txt").write_text("")
    ran = inspect()
    assert (ran.status, ran.out) == (1, b"")
    assert "the text is empty" in ran.err


def test_a_text_that_the_model_learned_is_noted(trained: Path) -> None:
    ran = charrnn("inspect-cell", "tiny", "text.txt", "--errors")
    assert "tiny learned text.txt, so a new text would have a higher loss\n" in ran.err
    assert "learned" not in inspect().err


@pytest.mark.slow
def test_a_terminal_and_a_picture_have_a_bar_for_each_oracle(trained: Path) -> None:
    ran = inspect("--svg", "errors.svg", tty=True)
    assert ran.status == 0
    rows = table(inspect("--json"))
    removing = [name for name, row in rows.items() if row["share"] > 0.01]
    assert [
        name
        for name in rows
        if any(line.startswith(name) and line[-1] in "▏▎▍▌▋▊▉█" for line in ran.text.splitlines())
    ] == removing
    assert max(len(line) for line in ran.text.splitlines()) <= 80
    assert "█" not in inspect().text
    assert Path("errors.svg").read_text().count("</g>") > len(removing)
