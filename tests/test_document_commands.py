"""``charrnn sample`` with models of documents, labels and vectors; the runs that other tests share."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.conditions import Condition, Label, Values, Vector
from charrnn.config import ModelConfig, TrainConfig
from charrnn.inference.conditioned import conditioned
from charrnn.inference.predictor import predictor
from charrnn.inference.score import log_probabilities
from charrnn.runs.checkpoint import BEST, Header, load, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import Ran, charrnn, random_weights

LANG = Label("lang", ("de", "en", "fr"))
WHO = Label("who", ("ann", "bob"))
PICTURE = Vector("picture", (0.5, 0.0), (2.0, 1.0))
LONGEST = 9


def save_model(
    name: str,
    documents: str = "line",
    conditions: Sequence[Condition] = (),
    symbols: str = " abcde",
    loss: str = "all",
    seed: int = 0,
) -> None:
    """A run of documents with random weights, as if trained on NAME.txt."""
    config = ModelConfig(hidden=6, embedding=4, documents=True, conditions=tuple(conditions))
    vocabulary = Vocabulary(symbols, documents=True)
    labels = [condition.name for condition in conditions if isinstance(condition, Label)]
    vectors = [condition.name for condition in conditions if isinstance(condition, Vector)]
    counts = {"lang": {"de": 1, "en": 2000, "fr": 5}, "who": {"ann": 4, "bob": 3}}
    corpus = {"name": f"{name}.txt", "sha256": "0", "characters": 40, "documents": 2006, "longest": LONGEST}
    if labels:
        corpus["labels"] = {label: counts.get(label, {}) for label in labels}
    by = {"label_by": "file"} if "file" in labels else {"labels": labels}
    origin = {"texts": [f"{name}.txt"], "documents": documents, "vectors": vectors, **by}
    weights = {key: 1.5 * value for key, value in random_weights(config, len(vocabulary), seed).items()}
    Path("checkpoints", name).mkdir(parents=True)
    header = Header(config, vocabulary, TrainConfig(loss=loss), corpus, origin=origin)
    save_checkpoint(Path("checkpoints", name, BEST), header, weights)


def save_labelled(name: str, loss: str = "all", seed: int = 0) -> None:
    """A run with two labels and a vector."""
    save_model(name, "json", (LANG, WHO, PICTURE), loss=loss, seed=seed)


def by_hand(name: str, text: str, values: Values | None = None, ended: bool = True) -> np.ndarray:
    """The log-probability of each character of a document and of its END."""
    loaded = load(Path("checkpoints", name, BEST))
    vocabulary = loaded.header.vocabulary
    ids = [*vocabulary.encode(text).tolist(), *[len(vocabulary) - 1] * ended]
    return log_probabilities(conditioned(predictor(loaded), values or {}), vocabulary, np.array(ids))


@pytest.fixture
def plain() -> None:
    """A run of documents, called ``plain``."""
    save_model("plain")


@pytest.fixture
def labelled() -> None:
    """A run with two labels and a vector, called ``labelled``."""
    save_labelled("labelled")


def sample(*arguments: str, **options: Any) -> Ran:
    done = charrnn("sample", *arguments, "--seed", "1", **options)
    assert done.status == 0, done.err
    return done


def rows(*arguments: str, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in sample(*arguments, "--json", **options).out.splitlines()]


def refusal(*arguments: str, status: int = 2, **options: Any) -> str:
    """The one line that reports a mistake, after the note of the seed."""
    done = charrnn(*arguments, **options)
    assert (done.status, done.out) == (status, b""), done.err
    *notes, line = done.err.splitlines()
    assert all(note.startswith("seed ") for note in notes)
    return line


# --- whole documents ---


@pytest.mark.parametrize(
    ("documents", "delimiter"),
    [("line", "\n"), ("json", "\n"), ("blank", "\n\n"), ("file", "\n\n"), ("\n--\n", "\n--\n"), ("|", "|")],
)
def test_each_document_is_followed_by_what_divides_the_text(documents: str, delimiter: str) -> None:
    save_model("model", documents)
    texts = [row["text"] for row in rows("model", "--count", "5")]
    assert sample("model", "--count", "5").text == "".join(text + delimiter for text in texts)
    assert sample("model").text == texts[0] + delimiter
    assert sample("model", "--delimiter", r"\t").text == texts[0] + "\t"


def test_a_hundred_documents_are_a_hundred_lines(plain: None) -> None:
    texts = [row["text"] for row in rows("plain", "--count", "100", "--length", "0")]
    assert len(texts) == 100
    assert len(set(texts)) > 20
    assert sample("plain", "--count", "100", "--length", "0").text.splitlines() == texts
    batches = sample("plain", "--count", "100", "--length", "0", "--batch", "7")
    assert batches.text.splitlines() == texts


def test_a_prompt_begins_the_document(plain: None) -> None:
    (row,) = rows("plain", "--prompt", "ab c", "--scores")
    assert sample("plain", "--prompt", "ab c").text == f"ab c{row['text']}\n"
    assert sample("plain", stdin=b"ab c").text == f"ab c{row['text']}\n"
    expected = by_hand("plain", "ab c" + row["text"])[4:]
    assert row["log_probabilities"] == pytest.approx(expected, abs=1e-3)


def test_a_json_line_tells_how_the_document_ended_and_the_score_of_its_end(plain: None) -> None:
    whole, cut = (
        rows("plain", "--count", "30", "--scores"),
        rows("plain", "--length", "1", "--min-length", "1"),
    )
    assert {row["ended"] for row in whole} <= {"end", "length"}
    for row in [row for row in whole if row["ended"] == "end"]:
        expected = by_hand("plain", row["text"])
        assert len(row["log_probabilities"]) == len(row["text"]) + 1
        assert row["log_probabilities"] == pytest.approx(expected, abs=1e-3)
        assert row["log_probability"] == pytest.approx(expected.sum(), abs=1e-3)
    assert (cut[0]["ended"], len(cut[0]["text"])) == ("length", 1)


def test_a_document_has_at_most_twice_the_length_of_the_longest_one(plain: None) -> None:
    (row,) = rows("plain", "--min-length", str(2 * LONGEST))
    assert (len(row["text"]), row["ended"]) == (2 * LONGEST, "length")
    line = refusal("sample", "plain", "--min-length", str(2 * LONGEST + 1))
    assert f"--min-length {2 * LONGEST + 1}: must be at most --length {2 * LONGEST}" in line
    assert {row["ended"] for row in rows("plain", "--count", "50", "--length", "0")} == {"end"}
    assert len(rows("plain", "--min-length", "50", "--length", "0")[0]["text"]) >= 50


def test_a_document_that_matches_ends_with_end(plain: None) -> None:
    for row in rows("plain", "--match", "(abc|e+)", "--count", "20", "--scores"):
        assert re.fullmatch("abc|e+", row["text"])
        assert row["ended"] == ("end" if len(row["text"]) < 2 * LONGEST else "match")
        assert row["log_probability"] == pytest.approx(by_hand("plain", row["text"]).sum(), abs=1e-3)


def test_a_state_that_is_saved_after_a_document_begins_the_next_one(labelled: None) -> None:
    first = sample("labelled", "--label", "lang=fr", "--length", "0", "--save-state", "state").text
    assert sample("labelled", "--length", "0", "--load-state", "state").text == first
    assert first != sample("labelled", "--length", "0").text


def test_whole_copies_are_counted(plain: None) -> None:
    texts = [row["text"] for row in rows("plain", "--count", "30")]
    known = {text for text in texts[::3] if text}
    assert known
    Path("corpus.txt").write_text("".join(f"{text}\n" for text in ["edcba", *known]))
    copies = sum(text in known for text in texts)
    note = f"{copies} of 30 documents are in the corpus, word for word"
    done = sample("plain", "--count", "30", "--novel", "corpus.txt", "--json")
    assert done.err.splitlines()[-1] == note
    whole = [json.loads(line)["copied"]["whole"] for line in done.out.splitlines()]
    assert whole == [text in known for text in texts]
    told = sample("plain", "--count", "30", "--novel", "corpus.txt").err.splitlines()
    assert told[-1] == note
    assert sum("a document of the corpus: " in line for line in told) == copies
    assert sum("longest copied run: " in line for line in told) == 30 - copies - texts.count("")


def test_a_copy_is_the_prompt_and_what_continues_it(plain: None) -> None:
    (row,) = rows("plain", "--prompt", "abc")
    for corpus, whole in ((f"abc{row['text']}\nx\n", True), (f"{row['text']}x\nabc\n", False)):
        Path("corpus.txt").write_text(corpus)
        (copied,) = rows("plain", "--prompt", "abc", "--novel", "corpus.txt")
        assert copied["copied"]["whole"] is whole


# --- labels and vectors ---


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ([], {}),
        (["--label", "lang=fr"], {"lang": "fr"}),
        (["--label", "lang=de:1,fr:3", "--label", "who=bob"], {"lang": {"de": 1, "fr": 3}, "who": "bob"}),
        (["--label", "lang=de,fr:3"], {"lang": {"de": 1, "fr": 3}}),
        (["--label", "lang="], {}),
        (["--vector", "[1.5, -2]"], {"picture": [1.5, -2]}),
        (["--vector", "picture=[0,1]", "--label", "who=ann"], {"who": "ann", "picture": [0, 1]}),
    ],
)
def test_a_document_is_written_for_the_values_of_the_options(
    labelled: None, arguments: list[str], values: Values
) -> None:
    (row,) = rows("labelled", *arguments)
    whole = row["ended"] == "end"
    expected = by_hand("labelled", row["text"], values, whole).sum()
    assert row["log_probability"] == pytest.approx(expected, abs=1e-3)
    assert rows("labelled", *arguments, "--guidance", "0") == [row]


def test_guidance_raises_the_probability_that_the_label_gains(labelled: None) -> None:
    label = ("--label", "lang=fr")
    gains = []
    for strength in ("0", "4"):
        texts = rows("labelled", *label, "--guidance", strength, "--count", "40")
        whole = [row["text"] for row in texts if row["ended"] == "end"]
        scores = [by_hand("labelled", t, {"lang": "fr"}).sum() - by_hand("labelled", t).sum() for t in whole]
        gains.append(np.mean(scores))
    assert gains[1] > gains[0] + 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--label lan=de", "the model has no label or vector called 'lan'; did you mean lang?"),
        ("--label age=3", "the model has no label or vector called 'age'; it has: lang, who, picture"),
        ("--label lang=fre", "label lang has no value 'fre'; did you mean fr?"),
        ("--label lang=xx", "label lang has no value 'xx'; its values: de, en, fr"),
        ("--label lang=de:1,xx:2", "label lang has no value 'xx'"),
        ("--label lang=de:much,fr:1", "label lang has no value 'de:much'"),
        ("--label lang=de:-1", "shares must be 0 or more"),
        ("--label lang", "--label lang: must be NAME=VALUE"),
        ("--label lang=de --label lang=fr", "lang is given twice; a mixture of values: --label lang=A:0.5"),
        ("--label picture=3", "--label picture: it is a vector: --vector 'picture=[...]'"),
        ("--vector lang=[1,2]", "--vector lang: it is a label: --label lang=VALUE"),
        ("--vector [1]", "vector picture: must have 2 numbers, not 1"),
        ("--vector [1,NaN]", "vector picture: number 2 is NaN, not a finite number"),
        ("--vector [1,1e99]", "number 2 is 1e+99, not a finite number"),
        ("--vector [1,true]", "number 2 is true, not a finite number"),
        ("--vector 1,2", "--vector picture: must be a list of numbers such as [0.1, -2, 3]"),
        ("--vector {}", "--vector picture: must be a list of numbers"),
        pytest.param(f"--vector {'[' * 100_000}", "--vector picture: must be a list of numbers", id="deep"),
        ("--vector pic=[1,2]", "did you mean picture?"),
        ("--label lang=de --guidance -1", "--guidance -1: must be from 0 (off) to 100"),
        ("--label lang=de --guidance nan", "--guidance nan: must be from 0 (off) to 100"),
        ("--guidance much", "--guidance much: must be a number"),
        ("--label lang=de --load-state s", "--label and --load-state: a saved state keeps its labels"),
        ("--vector [1,2] --load-state s", "--vector and --load-state: a saved state keeps its vectors"),
    ],
)
def test_a_wrong_label_or_vector_is_one_line(labelled: None, arguments: str, message: str) -> None:
    assert message in refusal("sample", "labelled", *arguments.split())


def test_a_vector_that_is_given_twice_has_no_mixture(labelled: None) -> None:
    line = refusal("sample", "labelled", "--vector", "[1,2]", "--vector", "[1,2]")
    assert line == "charrnn: picture is given twice"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--label lang=de", "this model has no labels and no vectors"),
        ("--vector [1]", "--vector: this model has no vectors"),
        ("--guidance 2 --prompts -", "--guidance needs a model with labels or vectors; this one has none"),
    ],
)
def test_a_model_without_labels_says_that_it_has_none(plain: None, arguments: str, message: str) -> None:
    assert message in refusal("sample", "plain", *arguments.split())


def test_lines_of_prompts_have_their_own_labels(labelled: None) -> None:
    given: list[dict[str, Any]] = [
        {"prompt": "a", "lang": "de", "id": 7},
        {"prompt": "b", "lang": "fr", "picture": [1, 1]},
        {"prompt": "", "lang": None},
        {"prompt": ""},
    ]
    Path("prompts").write_text("".join(json.dumps(row) + "\n" for row in given))
    for arguments, option in (((), None), (("--label", "lang=en"), "en")):
        results = rows("labelled", "--prompts", "prompts", "--label", "who=ann", *arguments)
        check_labels(given, results, option)


def check_labels(given: list[dict[str, Any]], results: list[dict[str, Any]], option: str | None) -> None:
    """The labels of an option come before those of lines."""
    for row, result in zip(given, results, strict=True):
        values = {"lang": option or row.get("lang"), "who": "ann", "picture": row.get("picture")}
        assert {name: result.get(name) for name in values} == values
        assert result.get("id") == row.get("id")
        scores = by_hand("labelled", row["prompt"] + result["text"], values, result["ended"] == "end")
        assert result["log_probability"] == pytest.approx(scores[len(row["prompt"]) :].sum(), abs=1e-3)


@pytest.mark.parametrize(
    ("fields", "message", "status"),
    [
        ({"lang": "fre"}, "label lang has no value 'fre'; did you mean fr?", 2),
        ({"lang": 3}, "label lang has no value '3'", 2),
        ({"lang": ["de"]}, "label lang is a list; it must be a text or a whole number", 1),
        ({"lang": 0.5}, "label lang is a fraction", 1),
        ({"picture": [1]}, "vector picture: must have 2 numbers, not 1", 2),
    ],
)
def test_a_wrong_label_of_a_prompt_names_its_line(
    labelled: None, fields: dict[str, Any], message: str, status: int
) -> None:
    lines = "".join(json.dumps({"prompt": "a"} | row) + "\n" for row in ({"lang": "de"}, fields))
    line = refusal("sample", "labelled", "--prompts", "-", stdin=lines.encode(), status=status)
    assert f"--prompts, line 2: {message}" in line


def test_the_labels_of_prompts_are_not_ignored_after_a_saved_state(labelled: None) -> None:
    sample("labelled", "--save-state", "state")
    lines = b'{"prompt": "a"}\n{"prompt": "a", "lang": "de"}\n'
    arguments = ("sample", "labelled", "--prompts", "-", "--load-state", "state")
    line = refusal(*arguments, stdin=lines, status=1)
    assert line == "charrnn: --prompts, line 2: lang: --load-state keeps the labels of the saved state"
