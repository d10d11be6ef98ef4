"""Models that read a text from its end: the laws of the direction, and the commands."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import charrnn as package
from charrnn.config import ModelConfig, TrainConfig
from charrnn.errors import ConfigError
from charrnn.inference.mixture import check_vocabularies
from charrnn.inference.network import Inference
from charrnn.inference.score import log_probabilities
from charrnn.inspection.concepts import ConceptReader, labels
from charrnn.runs.checkpoint import BEST, LAST, Header, load, save_checkpoint
from charrnn.runs.history import Report
from charrnn.text.corpus import Corpus, cached_corpus, open_corpus
from charrnn.text.document_corpus import DocumentCorpus, cached_documents
from charrnn.text.document_files import open_documents
from charrnn.text.documents import Division
from charrnn.text.sources import Source
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.train import Training
from tests.conftest import TEXT, Ran, charrnn, random_weights

MODEL = ModelConfig(hidden=8, embedding=5)
BACKWARD = replace(MODEL, backward=True)
CONFIG = TrainConfig(streams=4, bptt=16, steps=6, save_every=3)
STORY = "".join(f"{number} {word}.\n" for number, word in enumerate(TEXT.split()[:200]))
SPLIT = TrainConfig.split


def source(text: str) -> Source:
    return Source("text", lambda: io.BytesIO(text.encode()))


def corpus(text: str = STORY) -> Corpus:
    return open_corpus([source(text)], "text")


def documents(text: str) -> DocumentCorpus:
    return open_documents([source(text)], "text", Division("line"))


def save_run(name: str = "back", backward: bool = True, kind: str = "", symbols: str = TEXT) -> None:
    """A run with random weights; with a ``kind`` of documents, as if trained on those."""
    vocabulary = Vocabulary("".join(sorted(set(symbols))), False, bool(kind), backward)
    config = ModelConfig(layers=2, hidden=6, embedding=4, backward=backward, documents=bool(kind))
    Path("checkpoints", name).mkdir(parents=True)
    weights = {key: 2 * value for key, value in random_weights(config, len(vocabulary)).items()}
    origin = {"texts": [f"{name}.txt"], "documents": kind}
    save_checkpoint(Path("checkpoints", name, BEST), Header(config, vocabulary, origin=origin), weights)


@pytest.fixture
def back() -> None:
    """A backward model, called ``back``, and its ``twin``, which has the same weights and reads forward."""
    save_run()
    save_run("twin", backward=False)


def done(*arguments: str, **options: Any) -> Ran:
    result = charrnn(*arguments, **options)
    assert result.status == 0, result.err
    return result


def rows(*arguments: str, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done(*arguments, **options).out.splitlines()]


# --- characters and ids ---


@given(st.text("abé", max_size=6), st.booleans(), st.booleans())
def test_ids_are_in_the_order_of_reading_and_text_is_as_written(
    text: str, byte_level: bool, backward: bool
) -> None:
    symbols = "".join(map(chr, range(256))) if byte_level else "abé"
    vocabulary = Vocabulary(symbols, byte_level, backward=backward)
    ids = vocabulary.encode(text)
    forward = vocabulary.forward.encode(text)
    assert ids.tolist() == (forward[::-1] if backward else forward).tolist()
    assert vocabulary.decode(ids) == text
    assert vocabulary.decode(ids.tolist()) == text
    assert vocabulary.decode_bytes(ids) == text.encode()
    assert vocabulary.reversed_if_backward(ids).tolist() == forward.tolist()


@given(st.lists(st.text("ab", max_size=3), max_size=4), st.booleans())
def test_a_text_in_pieces_is_turned_as_a_whole(pieces: list[str], backward: bool) -> None:
    vocabulary = Vocabulary("ab", backward=backward)
    given_pieces = [vocabulary.encode_units(piece) for piece in pieces]
    result = [
        symbol for piece in vocabulary.pieces_reversed_if_backward(given_pieces) for symbol in piece.tolist()
    ]
    assert result == vocabulary.encode("".join(pieces)).tolist()


# --- the parts of a text ---

shares = st.tuples(st.floats(0.1, 100), st.floats(0, 100), st.floats(0, 100))


@given(st.text("ab\n", min_size=2, max_size=40), shares)
def test_the_parts_of_a_text_are_the_same_spans_in_both_directions(
    text: str, split: tuple[float, float, float]
) -> None:
    forward = corpus(text)
    backward = forward.in_direction(True)
    assert backward.in_direction(True) is backward
    for one, other in zip(forward.splits(split), backward.splits(split), strict=True):
        spans = (forward.ids[one.start : one.stop], backward.ids[other.start : other.stop])
        assert forward.vocabulary.decode(spans[0]) == backward.vocabulary.decode(spans[1])
    again = backward.in_direction(False)
    assert again.ids.tolist() == forward.ids.tolist()
    assert again.vocabulary == forward.vocabulary


@pytest.mark.slow
@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=2, max_size=20), shares)
def test_the_documents_of_each_part_are_the_same_in_both_directions(
    texts: list[str], split: tuple[float, float, float]
) -> None:
    forward = documents("\n".join(texts))
    backward = forward.in_direction(True)

    def in_parts(of: DocumentCorpus) -> list[list[str]]:
        return [
            sorted(of.vocabulary.decode(of.document(number)[1:]) for number in of.numbers(part))
            for part in of.splits(split)
        ]

    assert in_parts(backward) == in_parts(forward)
    assert backward.ids[0] == backward.vocabulary.boundary == backward.ids[-1]


def test_documents_keep_their_labels_in_both_directions() -> None:
    lines = "".join(json.dumps({"text": text, "who": text[0]}) + "\n" for text in ("ab", "ba", "cab", "abba"))
    forward = open_documents([source(lines)], "text", Division("json", ("who",)))
    backward = forward.in_direction(True)
    for number in range(backward.count):
        text = backward.vocabulary.decode(backward.document(number)[1:])
        assert backward.values(number) == {"who": text[0]}


def test_the_cache_holds_a_text_once_and_gives_it_in_the_direction_that_is_asked_for() -> None:
    forward = corpus()
    backward = forward.in_direction(True)
    for wanted in (backward, forward, backward):
        cached = cached_corpus(wanted.sha256, len(wanted.ids), wanted.vocabulary, "text")
        assert cached is not None
        assert cached.vocabulary == wanted.vocabulary
        assert cached.ids.tolist() == wanted.ids.tolist()
    lines = documents("ab\nba\n").in_direction(True)
    found = cached_documents(lines.record(), lines.vocabulary)
    assert found is not None
    assert found.ids.tolist() == lines.ids.tolist()


# --- training ---


def weights_of(name: str, kind: str = BEST) -> dict[str, bytes]:
    return {key: value.tobytes() for key, value in load(Path(name, kind)).weights.items()}


@pytest.mark.slow
def test_training_backward_is_training_forward_on_the_turned_text() -> None:
    """The turned text's training part is its end: the parts are given in the opposite order."""
    text = corpus()
    list(Training(text, BACKWARD, CONFIG, Path("backward")).run())

    class Turned(Corpus):
        def splits(self, shares: tuple[float, float, float]) -> tuple[range, range, range]:
            test, validation, train = super().splits(shares[::-1])
            return train, validation, test

    turned = corpus(STORY[::-1])
    turned = Turned(turned.ids, turned.vocabulary, turned.sha256, turned.name)
    sizes = [len(part) for part in text.splits(SPLIT)]
    assert [len(part) for part in turned.splits(SPLIT)] == pytest.approx(sizes, abs=1)
    exact = [float(size) for size in sizes]
    list(
        Training(turned, MODEL, replace(CONFIG, split=(exact[0], exact[1], exact[2])), Path("forward")).run()
    )
    assert weights_of("backward", LAST) == weights_of("forward", LAST)
    losses = [load(Path(name, BEST)).header.results["validation_nats"] for name in ("backward", "forward")]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("as_documents", [False, True])
def test_a_backward_run_resumes_exactly(as_documents: bool) -> None:
    text = documents(STORY) if as_documents else corpus()
    model = replace(BACKWARD, documents=as_documents)
    list(Training(text, model, CONFIG, Path("whole")).run())
    cut = Training(text, model, CONFIG, Path("cut"))
    for _ in cut.run():
        cut.stop = cut.step >= 3
    assert 0 < cut.step < 6
    last = load(Path("cut", LAST), resume=True)
    list(Training(text, model, CONFIG, Path("cut"), resume=last).run())
    assert weights_of("cut", LAST) == weights_of("whole", LAST)


def test_a_training_part_that_is_nearly_all_of_the_text_leaves_no_target_to_validate() -> None:
    """Read from the end, the one character of the validation part has none before it."""
    config = replace(CONFIG, split=(len(STORY) - 1, 1, 0))
    events = list(Training(corpus(), BACKWARD, config, Path("run")).run())
    assert {event.validation_nats for event in events if isinstance(event, Report)} == {None}


@pytest.mark.slow
def test_documents_are_learned_from_their_end() -> None:
    """All documents end with one letter and begin with any of eight: only the end can be foretold."""
    text = documents("".join(f"{first}{second}z\n" for first in "abcdefgh" for second in "abcdefgh"))
    config = replace(CONFIG, steps=60, save_every=60, lr=0.05)
    list(Training(text, replace(BACKWARD, documents=True), config, Path("run")).run())
    model = package.load("run/model.safetensors")
    scores = model.log_probabilities("abz")
    assert scores[2] > -0.5 > scores[1]
    assert scores[2] > -0.5 > scores[0]


@pytest.mark.slow
def test_the_command_trains_continues_and_says_the_direction() -> None:
    Path("story.txt").write_text(STORY, encoding="utf-8")
    size = ["--hidden", "8", "--steps", "4"]
    first = done("train", "story.txt", "--backward", *size, "--name", "one")
    assert "model  lstm 1 x 8, backward" in first.err
    (repeat,) = re.findall("to repeat exactly: charrnn (.*)", first.err)
    assert "--backward" in repeat.split()
    done(*repeat.split(), "--name", "again")
    assert weights_of("checkpoints/one") == weights_of("checkpoints/again")
    done("train", "--resume", "one", "--steps", "2")
    assert load(Path("checkpoints/one", LAST)).header.vocabulary.backward
    done("train", "story.txt", "--from", "one", "--steps", "2", "--name", "two")
    assert load(Path("checkpoints/two", BEST)).header.network.backward
    assert rows("info", "two", "--json")[0]["backward"] is True
    assert re.search("\nbackward +yes\n", done("info", "one").text)
    assert "lstm 1 x 8, backward" in done("runs").text
    for part in ("validation", "test"):
        assert rows("score", "one", "--part", part, "--json")[0]["characters"] > 0
    validation = rows("score", "two", "--part", "validation", "--json")[0]["loss"]
    assert validation == pytest.approx(rows("info", "two", "--json")[0]["validation_nats"], abs=1e-3)


# --- sampling ---


def test_score_reads_what_sample_reported(back: None) -> None:
    (line,) = rows("sample", "back", "-n", "30", "--seed", "1", "--scores")
    text, expected = line["text"], line["log_probabilities"]
    chars = rows("score", "back", "-", "--chars", "--json", stdin=text.encode())
    assert "".join(row["char"] for row in chars) == text
    assert [row["bits"] for row in chars] == pytest.approx(
        [-score / np.log(2) for score in expected], abs=1e-3
    )
    assert package.load("back").log_probabilities(text) == pytest.approx(expected, abs=1e-4)
    (total,) = rows("score", "back", "-", "--json", stdin=text.encode())
    assert total["nats"] == pytest.approx(-sum(expected), abs=1e-2)


def test_a_sample_comes_before_its_prompt(back: None) -> None:
    options = ["-p", "the cat.", "-n", "20", "--seed", "1"]
    (line,) = rows("sample", "back", *options, "--json")
    assert done("sample", "back", *options).text == line["text"] + "the cat."
    assert done("sample", "back", *options, "--no-echo").text == line["text"]
    model = package.load("back")
    assert model.generate("the cat.", length=20, seed=1) == line["text"]
    assert list(model.stream("the cat.", length=20, seed=1)) == [line["text"]]


def test_a_backward_model_is_its_twin_on_turned_texts(back: None) -> None:
    """The twin has the same weights, reads forward, and gets every text turned."""
    one = rows("sample", "back", "-p", "mat.", "-n", "30", "--seed", "3", "--count", "3", "--scores")
    other = rows("sample", "twin", "-p", ".tam", "-n", "30", "--seed", "3", "--count", "3", "--scores")
    for left, right in zip(one, other, strict=True):
        assert left["text"] == right["text"][::-1]
        assert left["log_probabilities"] == right["log_probabilities"][::-1]
    searched = [
        rows("sample", name, "-p", prompt, "--beam", "4", "--stop", stop, "-n", "9", "--json", "--keep-stop")
        for name, prompt, stop in (("back", "mat.", "at"), ("twin", ".tam", "ta"))
    ]
    assert searched[0][0]["text"] == searched[1][0]["text"][::-1]
    assert searched[0][0]["ended"] == searched[1][0]["ended"]
    one, other = (
        rows("score", name, "-", "--json", stdin=text.encode())
        for name, text in (("back", TEXT), ("twin", TEXT[::-1]))
    )
    assert one[0]["bpc"] == other[0]["bpc"]
    model, twin = package.load("back"), package.load("twin")
    np.testing.assert_array_equal(model.unit("the cat", 2), twin.unit("tac eht", 2)[::-1])
    np.testing.assert_array_equal(model.encode(["the cat"]), twin.encode(["tac eht"]))


def test_several_samples_are_in_order_with_their_delimiters_and_prompts(back: None) -> None:
    text = done(
        "sample", "back", "-p", "he", "-n", "5", "--count", "2", "--seed", "1", "--delimiter", "|"
    ).text
    pieces = text.split("|")
    assert pieces[2] == ""
    assert [len(piece) for piece in pieces[:2]] == [7, 7]
    assert all(piece.endswith("he") for piece in pieces[:2])


def test_coloured_samples_and_texts_are_in_reading_order(back: None) -> None:
    plain = done("sample", "back", "-p", "he", "-n", "30", "--seed", "1").text
    coloured = done("sample", "back", "-p", "he", "-n", "30", "--seed", "1", "--colour", "always").text
    scored = done("score", "back", "-", "--colour", "always", stdin=plain.encode()).text
    for shown in (coloured, scored):
        body = re.sub("\x1b\\[[0-9;]*m", "", shown.split("\n", 1)[1])
        assert body.replace("⏎", "").replace("\n", "") == plain.replace("\n", "")


def test_a_saved_state_continues_towards_the_front(back: None) -> None:
    whole = done("sample", "back", "-p", "he.", "-n", "30", "--seed", "4", "-t", "0").text
    done("sample", "back", "-p", "he.", "-n", "12", "--seed", "4", "-t", "0", "--save-state", "state")
    more = done("sample", "back", "-n", "18", "-t", "0", "--load-state", "state").text
    assert whole.startswith(more)
    twin = charrnn("sample", "twin", "--load-state", "state")
    assert twin.status == 1
    assert "saved with another model" in twin.err


def test_a_copied_run_is_found_in_the_order_of_the_text(back: None) -> None:
    Path("corpus.txt").write_text("xx the mat xx", encoding="utf-8")
    options = ["--allow", "thema ", "-n", "200", "--seed", "1", "--json", "--novel", "corpus.txt"]
    (line,) = rows("sample", "back", *options)
    copied = line["copied"]
    assert copied["length"] > 1
    assert line["text"][copied["start"] :].startswith(copied["text"])
    assert "xx the mat xx"[copied["found"] :].startswith(copied["text"])


def test_bytes_are_read_from_the_last_one() -> None:
    save_run(symbols="".join(map(chr, range(256))))
    loaded = load(Path("checkpoints/back", BEST))
    header = replace(loaded.header, vocabulary=replace(loaded.header.vocabulary, byte_level=True))
    Path("checkpoints/bytes").mkdir()
    save_checkpoint(Path("checkpoints/bytes", BEST), header, loaded.weights)
    text = done("sample", "bytes", "-p", "é☃", "-n", "9", "--seed", "1").out
    assert text.endswith("é☃".encode())
    assert len(text) == 9 + 5
    chars = rows("score", "bytes", "-", "--chars", "--json", stdin=text)
    assert bytes(row["byte"] for row in chars) == text
    values = rows("inspect-cell", "bytes", "-", "--unit", "1", "--json", stdin="é☃".encode())
    assert bytes(row["byte"] for row in values) == "é☃".encode()
    assert values[-1]["value"] == pytest.approx(package.load("bytes").unit("é☃", 1)[-1], abs=1e-5)


# --- documents ---


def test_a_document_is_read_from_its_end_to_its_start() -> None:
    save_run("docs", kind="line")
    loaded = load(Path("checkpoints/docs", BEST))
    vocabulary = loaded.header.vocabulary
    boundary = vocabulary.boundary
    assert boundary is not None
    ids = np.append(vocabulary.forward.encode("she sat")[::-1], boundary)
    expected = log_probabilities(Inference(loaded.header.network, loaded.weights), vocabulary, ids)
    (row,) = rows("score", "docs", "-", "--lines", "--json", stdin=b"she sat\n")
    assert row["nats"] == pytest.approx(-expected.sum(), abs=1e-3)
    chars = rows("score", "docs", "-", "--chars", "--json", stdin=b"she sat\n")
    assert [row["char"] for row in chars] == [*"she sat", "END"]
    in_order = [*expected[:-1][::-1], expected[-1]]
    assert [row["bits"] for row in chars] == pytest.approx(
        [-score / np.log(2) for score in in_order], abs=1e-3
    )
    assert package.load("docs").log_probabilities("she sat") == pytest.approx(in_order, abs=1e-5)


def test_a_document_ends_with_its_prompt_and_json_lines_divide_it() -> None:
    save_run("docs", kind="json")
    for line in rows("sample", "docs", "-p", "mat.", "--seed", "1", "--count", "5", "--scores", "-n", "50"):
        if line["ended"] == "end":
            assert len(line["log_probabilities"]) == len(line["text"]) + 1
            text = line["text"] + "mat."
            scores = package.load("docs").log_probabilities(text)
            expected = [*scores[: len(line["text"])], scores[-1]]
            assert line["log_probabilities"] == pytest.approx(expected, abs=1e-3)
            whole = done("score", "docs", "-", "--lines", "--json", stdin=text.encode()).out
            parts = json.dumps({"prompt": text[:3], "text": text[3:]}).encode()
            again = done("score", "docs", "-", "--lines", "--json", stdin=parts).out
            assert json.loads(again)["nats"] == json.loads(whole)["nats"]
            return
    pytest.fail("no document ended")


# --- other commands ---


def test_lines_end_with_the_newline_before_them(back: None) -> None:
    lines = rows("score", "back", "-", "--lines", "--json", stdin=b"the cat\n\nsat\n")
    model = package.load("back")
    for row, text in zip(lines, ("the cat", "", "sat"), strict=True):
        expected = -model.log_probabilities("\n" + text).sum() if text else 0
        assert row["nats"] == pytest.approx(expected, abs=1e-3)
        assert row["characters"] == (len(text) + 1 if text else 0)


def test_candidates_come_before_the_prompt(back: None) -> None:
    Path("candidates").write_text("the \nmat \n", encoding="utf-8")
    ranked = rows("score", "back", "--candidates", "candidates", "--prompt", "cat", "--json")
    model = package.load("back")
    for row in ranked:
        scores = model.log_probabilities(row["text"] + "cat")
        assert row["nats"] == pytest.approx(-scores[: len(row["text"])].sum(), abs=1e-3)


def test_surprising_places_have_their_context_in_reading_order(back: None) -> None:
    places = rows("score", "back", "-", "--worst", "3", "--json", stdin=TEXT[:300].encode())
    for place in places:
        around = place["before"] + place["char"] + place["after"]
        assert around in TEXT
        text = TEXT[:300].splitlines()[place["line"] - 1]
        assert (text + "\n")[place["column"] - 1] == place["char"]


def test_documents_of_a_part_are_scored_in_text_order(back: None) -> None:
    Path("names.txt").write_text("ann\nbea\ncid\ndora\neve\nfay\n" * 3 + "gus\nhal\n", encoding="utf-8")
    sizes = ["--hidden", "4", "--steps", "2", "--split", "50,0,50", "--documents", "line"]
    for name, option in (("one", []), ("other", ["--backward"])):
        assert charrnn("train", "names.txt", "--name", name, *sizes, *option).status == 0
    texts = [
        "".join(
            row["char"] for row in rows("score", name, "--part", "test", "--chars", "--json") if row["char"]
        )
        for name in ("one", "other")
    ]
    assert texts[0] == texts[1]


def test_values_of_units_are_shown_in_reading_order(back: None) -> None:
    text = "the cat sat"
    values = rows("inspect-cell", "back", "-", "--unit", "1", "--json", stdin=text.encode())
    assert "".join(row["char"] for row in values) == text
    expected = package.load("twin").unit(text[::-1], 1)[::-1]
    assert [row["value"] for row in values] == pytest.approx(expected, abs=1e-5)
    assert text in done("inspect-cell", "back", "-", "--unit", "1", stdin=text.encode()).text
    (row,) = rows("encode", "back", "-", "--lines", stdin=text.encode())
    assert row["state"] == pytest.approx(package.load("twin").encode([text[::-1]])[0], abs=1e-5)


def test_labels_of_concepts_are_those_of_the_text_in_reading_order() -> None:
    text = 'he said "no" and left.\n' * 3
    vocabulary = Vocabulary("".join(sorted(set(text))))
    backward = replace(vocabulary, backward=True)
    names = ["quotes", "line-position"]
    forward = labels(vocabulary, vocabulary.encode(text), ConceptReader(names, ["said.*?left"], False))
    turned = labels(backward, backward.encode(text), ConceptReader(names, ["said.*?left"], False))
    assert forward.any(0).all()
    np.testing.assert_array_equal(turned, forward[::-1])


REFUSALS: Sequence[tuple[str, str]] = [
    (
        "sample back --interactive",
        "--interactive continues a text at its end, and this model writes what comes",
    ),
    ("sample back --match a+", "--match a+: a text is matched from its beginning, and a backward model"),
    (
        "sample back --length 0",
        "--length 0: the sample of a backward model is printed when it is complete: add --stop",
    ),
    (
        "sample back twin",
        "back and twin do not mix: one is a forward model, the other a backward",
    ),
    ("score back twin text.txt", "back and twin do not mix: one is a forward model"),
    (
        "score back text.txt --lines --carry",
        "--carry reads the lines from first to last, which a backward model cannot",
    ),
    ("score back twin text.txt --compare", "--compare with a backward model needs --lines: add"),
    ("inspect-cell back text.txt --errors", "--errors does not work with a backward model"),
    ("inspect-cell back text.txt --html page.html", "--html does not work with a backward model"),
    (
        "train text.txt --backward --with-ngram",
        "--with-ngram: an n-gram model reads forward",
    ),
    (
        "train text.txt --backward --from twin",
        "--from twin keeps that model's architecture: leave out --backward",
    ),
    (
        "train text.jsonl --backward --documents json --loss text",
        "--loss text and --backward do not go together",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS)
def test_what_needs_the_other_direction_is_refused(back: None, arguments: str, message: str) -> None:
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    result = charrnn(*arguments.split(), tty="--interactive" in arguments)
    assert (result.status, result.out) == (2, b""), result.err
    assert message in result.err


def test_python_refuses_what_the_command_line_refuses(back: None) -> None:
    model = package.load("back")
    with pytest.raises(ConfigError, match="length 0: a backward model gives its text when it is complete"):
        next(model.stream(length=0))
    with pytest.raises(ConfigError, match="--loss text and --backward do not go together"):
        Training(corpus(), BACKWARD, replace(CONFIG, loss="text"), Path("run"))
    with pytest.raises(ConfigError, match="--backward 1: must be true or false"):
        ModelConfig(backward=1)  # type: ignore[arg-type]


def test_two_backward_models_mix() -> None:
    vocabularies = [Vocabulary("ab", backward=True)] * 2
    check_vocabularies(["one", "other"], vocabularies)
    save_run("one")
    save_run("other")
    mixed = done("sample", "one", "other", "--weights", "equal", "-p", "cat.", "-n", "20", "--seed", "1").text
    assert mixed == done("sample", "one", "-p", "cat.", "-n", "20", "--seed", "1").text  # they are equal


def test_lines_are_compared_with_a_model_of_the_other_direction(back: None) -> None:
    (row,) = rows("score", "back", "twin", "-", "--compare", "--lines", "--json", stdin=b"the cat\n")
    assert row["nats"]["back"] != row["nats"]["twin"]
    (own,) = rows("score", "back", "-", "--lines", "--json", stdin=b"the cat\n")
    assert row["nats"]["back"] == own["nats"]


def test_a_checkpoint_names_the_direction_only_where_it_is_backward() -> None:
    save_run("one")
    save_run("two", backward=False)
    for name, backward in (("one", True), ("two", False)):
        header = load(Path("checkpoints", name, BEST)).header
        assert header.vocabulary.backward is header.network.backward is backward
        assert ("backward" in header.network.to_dict()) is backward
    assert ModelConfig(backward=True).title == "lstm 1 x 512, backward"


@pytest.mark.slow
def test_python_trains_backward() -> None:
    model = package.train(STORY, "run", backward=True, hidden=8, steps=4)
    assert model.info["backward"] is True
    assert "backward" in repr(model)
