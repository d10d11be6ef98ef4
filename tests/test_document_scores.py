"""``charrnn score`` of documents: END counts as a character, and labels are those of each document."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.config import NgramConfig
from charrnn.inference.choice import log_softmax
from charrnn.inference.network import Inference
from charrnn.inference.ngram import to_arrays
from charrnn.inference.ngram_counts import build
from charrnn.runs.checkpoint import BEST, Header, load, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import charrnn
from tests.test_document_commands import LANG, by_hand, refusal, save_labelled, save_model

ROWS: list[dict[str, Any]] = [
    {"text": "abc", "lang": "de"},
    {"text": "", "lang": "de"},
    {"text": "d e", "lang": "fr", "who": "bob", "picture": [1, -1], "id": 5},
    {"prompt": "ab", "text": "ba", "lang": "unknown", "who": None},
    {"text": "e"},
]


def values_of(row: dict[str, Any]) -> dict[str, Any]:
    """What the model reads of a line: an unknown value is a missing one."""
    known = {**row, "lang": row.get("lang") if row.get("lang") in LANG.values else None}
    return {name: known[name] for name in ("lang", "who", "picture") if name in known}


def scores_of(row: dict[str, Any], name: str = "labelled", **others: Any) -> np.ndarray:
    """The log-probabilities of a line's characters and END; none for a line without a character."""
    text = row.get("prompt", "") + row["text"]
    own = {key: value for key, value in values_of(row).items() if value is not None}
    return by_hand(name, text, own | others) if text else np.zeros(0)


def score(*arguments: str, **options: Any) -> str:
    done = charrnn("score", *arguments, **options)
    assert done.status == 0, done.err
    return done.text


def lines(*arguments: str, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in score(*arguments, "--json", **options).splitlines()]


@pytest.fixture
def labelled() -> None:
    """The run ``labelled`` and the documents ./rows.jsonl."""
    save_labelled("labelled")
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))


# --- whole texts ---


@pytest.mark.parametrize(
    ("documents", "text", "expected"),
    [
        ("line", "ab\n\nc d\ne", ["ab", "c d", "e"]),
        ("line", "ab\r\nc", ["ab", "c"]),
        ("blank", "ab\nc\n\n \nd\n", ["ab\nc", "d"]),
        ("file", "ab\n\nc\n", ["ab\n\nc"]),
        ("\n--\n", "ab\n--\n--\nc\n--\n", ["ab", "--\nc"]),
        ("json", '{"text": "ab"}\n\n{"prompt": "c", "text": "\\nd"}\n', ["ab", "c\nd"]),
    ],
)
def test_the_score_of_a_text_is_that_of_its_documents_and_their_ends(
    documents: str, text: str, expected: list[str]
) -> None:
    save_model("model", documents, symbols="\n -abcde")
    Path("text").write_bytes(text.encode())
    (total,) = lines("model", "text")
    nats = sum(-by_hand("model", document).sum() for document in expected)
    assert total["nats"] == pytest.approx(nats, rel=1e-6)
    assert total["characters"] == sum(len(document) + 1 for document in expected)
    assert total["perplexity"] == pytest.approx(math.exp(nats / total["characters"]), rel=1e-6)
    assert lines("model", "-", stdin=text.encode())[0]["nats"] == total["nats"]


def test_a_document_is_scored_one_character_after_another() -> None:
    save_model("model")
    loaded = load(Path("checkpoints", "model", BEST))
    model, start = Inference(loaded.header.network, loaded.weights), len(loaded.header.vocabulary) - 1
    state, before, total = model.start(1), start, 0.0
    for symbol in [*loaded.header.vocabulary.encode("cab").tolist(), start]:
        logits, state = model(np.array([[before]]), state)
        total -= log_softmax(logits[0, 0])[symbol]
        before = symbol
    assert lines("model", stdin=b"cab\n")[0]["nats"] == pytest.approx(total, rel=1e-6)


def test_the_labels_of_json_lines_are_read(labelled: None) -> None:
    (total,) = lines("labelled", "rows.jsonl")
    assert total["nats"] == pytest.approx(-sum(scores_of(row).sum() for row in ROWS), rel=1e-6)
    assert total["characters"] == sum(len(scores_of(row)) for row in ROWS)


@pytest.mark.parametrize(
    ("arguments", "others"),
    [
        ("--label lang=en", {"lang": "en"}),
        ("--label lang=", {"lang": None}),
        ("--label lang=en:1,de:1 --vector [0,1]", {"lang": {"en": 1, "de": 1}, "picture": [0, 1]}),
    ],
)
def test_a_label_of_the_options_comes_before_those_of_the_lines(
    labelled: None, arguments: str, others: dict[str, Any]
) -> None:
    expected = [-scores_of(row, **others).sum() for row in ROWS]
    (total,) = lines("labelled", "rows.jsonl", *arguments.split())
    assert total["nats"] == pytest.approx(sum(expected), rel=1e-6)
    rows = lines("labelled", "rows.jsonl", "--lines", *arguments.split())
    assert [row["nats"] for row in rows] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("loss", ["all", "text"])
def test_the_characters_of_prompts_count_unless_training_left_them_out(loss: str) -> None:
    save_labelled("labelled", loss)
    for prompt, text in (("ab", "cde"), ("", "cde"), ("ab", "")):
        row = {"prompt": prompt, "text": text, "lang": "de"}
        skip = len(prompt) if loss == "text" else 0
        expected = scores_of(row)[skip:]
        data = json.dumps(row).encode()
        totals = [*lines("labelled", stdin=data), *lines("labelled", "--lines", stdin=data)]
        for total in totals:
            assert total["nats"] == pytest.approx(-expected.sum(), abs=1e-4)
            assert total["characters"] == len(expected)
        characters = lines("labelled", "--chars", stdin=data)
        assert [c["char"] for c in characters] == [*(prompt + text)[skip:], "END"]


# --- lines ---


def test_each_line_has_the_score_of_its_document(labelled: None) -> None:
    rows = lines("labelled", "rows.jsonl", "--lines")
    assert [row["text"] for row in rows] == [json.dumps(row) for row in ROWS]
    assert [row["nats"] for row in rows] == pytest.approx([-scores_of(row).sum() for row in ROWS], abs=1e-4)
    assert [row["characters"] for row in rows] == [len(scores_of(row)) for row in ROWS]
    assert sum(row["nats"] for row in rows) == pytest.approx(
        lines("labelled", "rows.jsonl")[0]["nats"], abs=1e-3
    )


def test_plain_lines_are_documents_without_a_label(labelled: None) -> None:
    rows = lines("labelled", "--lines", stdin=b"abc\n\nd e\n")
    assert [row["nats"] for row in rows] == pytest.approx(
        [-by_hand("labelled", "abc").sum(), 0, -by_hand("labelled", "d e").sum()], abs=1e-4
    )
    one = lines("labelled", "--lines", "--label", "lang=de", stdin=b"abc\n")
    assert one[0]["nats"] == pytest.approx(-by_hand("labelled", "abc", {"lang": "de"}).sum(), abs=1e-4)


def test_the_most_surprising_documents_are_filtered(labelled: None) -> None:
    bpc = [-scores_of(row).mean() / math.log(2) if len(scores_of(row)) else -1 for row in ROWS]
    wanted = max(range(len(ROWS)), key=lambda k: bpc[k])
    assert score("labelled", "rows.jsonl", "--lines", "--top", "1") == json.dumps(ROWS[wanted]) + "\n"


def test_candidates_are_whole_documents_that_continue_the_prompt() -> None:
    save_labelled("labelled")
    Path("candidates").write_text("c\nd e\n")
    options = ("--candidates", "candidates", "--prompt", "ab", "--label", "lang=fr")
    expected = {text: by_hand("labelled", "ab" + text, {"lang": "fr"})[2:].sum() for text in ("c", "d e")}
    ranked = lines("labelled", *options)
    assert [row["text"] for row in ranked] == sorted(expected, key=lambda text: -expected[text])
    shares = np.exp(log_softmax(np.array([expected[row["text"]] for row in ranked])))
    for row, share in zip(ranked, shares, strict=True):
        assert row["nats"] == pytest.approx(-expected[row["text"]], abs=1e-4)
        assert row["probability"] == pytest.approx(share, rel=1e-3)


@pytest.mark.parametrize("arguments", [[], ["--lines"]])
def test_models_are_compared_by_their_documents(labelled: None, arguments: list[str]) -> None:
    save_labelled("other", seed=1)
    rows = lines("labelled", "other", "rows.jsonl", "--compare", "--label", "lang=de", *arguments)
    expected = {
        name: [-scores_of(row, name, lang="de").sum() for row in ROWS] for name in ("labelled", "other")
    }
    if not arguments:
        assert {row["model"]: row["nats"] for row in rows} == {
            name: pytest.approx(sum(nats), abs=1e-3) for name, nats in expected.items()
        }
        return
    for k, row in enumerate(rows):
        assert row["nats"] == {name: pytest.approx(nats[k], abs=1e-4) for name, nats in expected.items()}


# --- characters ---


def test_end_is_a_row_of_the_characters(labelled: None) -> None:
    characters = lines("labelled", "rows.jsonl", "--chars")
    expected = [
        symbol for row in ROWS if row["text"] for symbol in [*(row.get("prompt", "") + row["text"]), "END"]
    ]
    assert [character["char"] for character in characters] == expected
    scores = np.concatenate([scores_of(row) for row in ROWS])
    assert [character["probability"] for character in characters] == pytest.approx(np.exp(scores), rel=1e-4)
    assert "END" in {other["char"] for character in characters for other in character["alternatives"]}
    table = score("labelled", "rows.jsonl", "--chars").splitlines()
    assert [line.split("\t")[0] for line in table[1:]] == expected


def test_the_most_surprising_places_are_found_in_their_documents(labelled: None) -> None:
    places = lines("labelled", "rows.jsonl", "--worst", "1")
    texts = [row.get("prompt", "") + row["text"] for row in ROWS if row["text"]]
    bits = [-scores_of(row) / math.log(2) for row in ROWS if row["text"]]
    document = max(range(len(texts)), key=lambda k: bits[k].max())
    column = int(bits[document].argmax())
    assert places[0]["bits"] == pytest.approx(bits[document].max(), abs=1e-4)
    assert (places[0]["line"], places[0]["column"]) == (document + 1, column + 1)
    assert places[0]["char"] == [*texts[document], "END"][column]


def test_shades_and_pages_have_each_document_on_a_line_of_its_own(labelled: None) -> None:
    shown = re.sub(r"\x1b\[[\d;]*m", "", score("labelled", "rows.jsonl", "--colour", "always"))
    assert shown.partition("\n")[2].replace("\u23ce", "") == "abc\nd e\nabba\ne\n"
    score("labelled", "rows.jsonl", "--html", "page.html")
    page = Path("page.html").read_text()
    assert "bits" in page
    assert "abba" in re.sub(r"<[^>]*>", "", page).replace("\u23ce", "")


# --- the text of the run, and mistakes ---


@pytest.fixture
def ngram() -> None:
    """An n-gram model of documents, called ``grams``."""
    vocabulary = Vocabulary(" abcde", documents=True)
    model = build(np.array([6, 1, 2, 6, 3, 4, 5, 0, 6]), 7, 3, boundary=6)
    Path("checkpoints", "grams").mkdir(parents=True)
    header = Header(NgramConfig(3, documents=True), vocabulary, origin={"texts": ["x"], "documents": "line"})
    save_checkpoint(Path("checkpoints", "grams", BEST), header, to_arrays(model))


def test_a_mixture_of_a_labelled_network_and_an_n_gram_model_is_given_the_label(
    labelled: None, ngram: None
) -> None:
    options = ("--weights", "3,1", "--lines", "--label", "lang=de")
    (row,) = lines("labelled", "grams", *options, stdin=b"abc\n")
    network, grams = (by_hand("labelled", "abc", {"lang": "de"}), by_hand("grams", "abc"))
    expected = -np.log(0.75 * np.exp(network) + 0.25 * np.exp(grams)).sum()
    assert row["nats"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--label lan=de", "did you mean lang?"),
        ("--label lang=xx", "label lang has no value 'xx'; its values: de, en, fr"),
        ("--vector [1]", "vector picture: must have 2 numbers, not 1"),
        ("--adapt", "--adapt reads one long text, and this model reads documents"),
        ("--lines --carry", "--carry reads one long text, and this model reads documents"),
        ("--streams 2", "--streams cuts one long text, and this model reads documents"),
        ("--adapt --label lang=de", "--adapt and --label: only a model without labels and vectors adapts"),
    ],
)
def test_a_wrong_option_is_one_line(labelled: None, arguments: str, message: str) -> None:
    assert message in refusal("score", "labelled", "rows.jsonl", *arguments.split())


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (b"abc\n", "", "standard input, line 1: not JSON"),
        (
            b'{"text": "a"}\nabc\n',
            "--lines",
            "line 2: not JSON (Expecting value, column 1); the first line is a JSON object",
        ),
        (b'{"txt": "a"}\n', "", 'line 1: no text in the field "text"; its fields: txt'),
        (b'{"text": "a", "lang": ["de"]}\n', "", "line 1: label lang is a list"),
        (b'{"text": "a", "lang": 1.5}\n', "--lines", "line 1: label lang is a fraction"),
        (b'{"text": "a", "picture": [1]}\n', "--lines", "line 1: vector picture: must have 2 numbers, not 1"),
        (
            b'{"text": "a", "prompt": 3}\n',
            "--lines",
            'line 1: no text in the field "prompt"; it must be a text',
        ),
        (
            b'{"text": "a", "prompt": "\\ud800"}\n',
            "--lines",
            'the field "prompt" holds U+D800, half of a character',
        ),
        (b'{"text": "a\\u2603"}\n', "", "document 1 of standard input, column 2: '\u2603'"),
        (b'{"text": "a\\u2603"}\n', "--lines", "line 1, column 2: '\u2603'"),
        (b"\n\n", "", "the text is empty"),
    ],
)
def test_a_wrong_document_is_one_line_that_names_it(
    labelled: None, data: bytes, options: str, message: str
) -> None:
    status = 2 if "vector" in message else 1
    line = refusal("score", "labelled", "-", *options.split(), stdin=data, status=status)
    assert message in line
    assert "--documents" not in line


def test_unknown_characters_of_a_prompt_are_counted_once(labelled: None) -> None:
    data = json.dumps({"prompt": "a☃", "text": "b"}).encode()
    done = charrnn("score", "labelled", "--lines", "--unknown", "skip", "--json", stdin=data)
    assert json.loads(done.out)["nats"] == pytest.approx(-by_hand("labelled", "ab").sum(), abs=1e-4)
    assert "skipped 1 unknown character: '☃' (1)" in done.err


def test_a_prompt_of_null_is_no_prompt_in_lines_as_in_training(labelled: None) -> None:
    (one,) = lines("labelled", stdin=b'{"prompt": null, "text": "a cab"}\n')
    (two,) = lines("labelled", stdin=b'{"text": "a cab"}\n')
    assert one["nats"] == two["nats"]


def test_models_that_are_compared_count_the_same_characters_where_one_leaves_out_prompts() -> None:
    save_labelled("texts", "text")
    save_labelled("all", "all")
    Path("rows.jsonl").write_text('{"prompt": "ab", "text": "cde"}\n')
    for arguments in (("texts", "all"), ("all", "texts")):
        compared = lines(*arguments, "--compare", "rows.jsonl")
        assert [row["characters"] for row in compared] == [4, 4]
