"""``charrnn classify``: the value of a label by Bayes' rule, and how often it is the true one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.conditions import Label
from charrnn.config import NgramConfig
from charrnn.inference.ngram import to_arrays
from charrnn.inference.ngram_counts import build
from charrnn.runs.checkpoint import BEST, Header, save_checkpoint
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import Ran, charrnn
from tests.test_document_commands import (
    LANG,
    PICTURE,
    WHO,
    by_hand,
    refusal,
    save_labelled,
    save_model,
)

TEXTS = ["abc", "d e", "e", "bbb a", "cad"]
TRUTHS: list[Any] = ["de", "fr", None, "", "xx"]
PRIOR = np.array([1, 2000, 5]) + 1
"""How often the training text of ``save_model`` has each value, and one."""


@pytest.fixture(autouse=True)
def _runs() -> None:
    """A run ``langs`` with one label, and ``labelled`` with two labels and a vector."""
    save_model("langs", "json", [LANG])
    save_labelled("labelled")
    Path("lines").write_text("".join(f"{text}\n" for text in TEXTS))
    rows = [
        {"text": text, **({} if truth is None else {"lang": truth})}
        for text, truth in zip(TEXTS, TRUTHS, strict=True)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def done(*arguments: str, **options: Any) -> Ran:
    ran = charrnn("classify", *arguments, **options)
    assert ran.status == 0, ran.err
    return ran


def rows(*arguments: str, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done(*arguments, "--json", **options).out.splitlines()]


def posterior(
    name: str, text: str, label: Label = LANG, prior: Any = 1.0, skip: int = 0, **values: Any
) -> dict[str, float]:
    """The probability of each value: its prior times the probability of the document under it."""
    nats = np.array([by_hand(name, text, {**values, label.name: v})[skip:].sum() for v in label.values])
    joint = np.exp(nats - nats.max()) * prior
    return dict(zip(label.values, (joint / joint.sum()).tolist(), strict=True))


def close(probabilities: dict[str, float]) -> dict[str, Any]:
    return {value: pytest.approx(share, rel=1e-3) for value, share in probabilities.items()}


def by_score(name: str, text: str) -> dict[str, float]:
    """The softmax of minus the nats that ``charrnn score`` gives under each value."""
    nats = []
    for value in LANG.values:
        ran = charrnn("score", name, "--lines", "--json", "--label", f"lang={value}", stdin=text.encode())
        nats.append(json.loads(ran.out)["nats"])
    shares = np.exp(min(nats) - np.array(nats))
    return dict(zip(LANG.values, (shares / shares.sum()).tolist(), strict=True))


# --- the verdict ---


def test_the_posterior_of_a_line_is_the_softmax_of_its_scores() -> None:
    labels = set()
    for row, text in zip(rows("langs", "lines"), TEXTS, strict=True):
        expected = posterior("langs", text)
        first, second, *_ = sorted(expected, key=lambda value: -expected[value])
        assert row["probabilities"] == close(expected)
        assert (row["label"], row["runner_up"], row["text"]) == (first, second, text)
        assert row["probability"] == row["probabilities"][first]
        ratio = np.log(expected[first] / expected[second])
        assert row["log_ratio"] == pytest.approx(ratio, abs=1e-3)
        labels.add(row["label"])
    assert len(labels) > 1
    assert rows("langs", stdin=b"cab")[0]["probabilities"] == close(by_score("langs", "cab"))


def test_the_training_prior_counts_how_frequent_a_value_was() -> None:
    for row, text in zip(rows("langs", "lines", "--prior", "training"), TEXTS, strict=True):
        assert row["probabilities"] == close(posterior("langs", text, prior=PRIOR))
        assert row["label"] == "en"


def test_one_label_is_found_where_the_values_of_the_others_are_given() -> None:
    options = ("--label", "who", "--label", "lang=fr", "--vector", "[1, 2]")
    for row, text in zip(rows("labelled", "lines", *options), TEXTS, strict=True):
        expected = posterior("labelled", text, WHO, lang="fr", picture=[1, 2])
        assert row["probabilities"] == close(expected)


def test_the_other_fields_of_a_json_line_are_read_and_its_own_label_is_not() -> None:
    row = {"text": "cab", "lang": "de", "who": "ann", "picture": [1, 0]}
    data = json.dumps(row).encode()
    (found,) = rows("labelled", "--label", "lang", stdin=data)
    assert found["probabilities"] == close(posterior("labelled", "cab", who="ann", picture=[1, 0]))
    (found,) = rows("labelled", "--label", "lang", "--label", "who=bob", stdin=data)
    assert found["probabilities"] == close(posterior("labelled", "cab", who="bob", picture=[1, 0]))


@pytest.mark.parametrize("loss", ["all", "text"])
def test_a_prompt_is_judged_unless_training_left_it_out(loss: str) -> None:
    save_model("model", "json", [LANG], loss=loss)
    (row,) = rows("model", stdin=b'{"prompt": "ab", "text": "cde"}')
    skip = 2 if loss == "text" else 0
    assert row["probabilities"] == close(posterior("model", "abcde", skip=skip))
    assert row["text"] == "cde"


def test_a_file_is_one_document() -> None:
    Path("a.txt").write_text("ab\n\ncd\n\n")
    Path("b.txt").write_text("e")
    books = Label("file", ("austen", "shelley"))
    save_model("model", "blank", [books], symbols="\n abcde")
    found = rows("model", "a.txt", "b.txt", "--files", "--label", "file")
    assert [row["file"] for row in found] == ["a.txt", "b.txt"]
    for row, text in zip(found, ("ab\n\ncd", "e"), strict=True):
        assert row["probabilities"] == close(posterior("model", text, books))
    (piped,) = rows("model", "--files", stdin=b"ab\n\ncd")
    assert piped["probabilities"] == found[0]["probabilities"]


# --- what is written ---


def test_lines_are_tab_separated() -> None:
    first, *others = done("langs", "lines").text.splitlines()
    assert first.split("\t") == ["line", "label", "probability", "runner_up", "log_ratio", "text"]
    expected = rows("langs", "lines")
    for number, (line, row) in enumerate(zip(others, expected, strict=True), 1):
        cells = line.split("\t")
        assert [cells[0], cells[1], cells[3], cells[5]] == [
            str(number),
            row["label"],
            row["runner_up"],
            row["text"],
        ]
        assert float(cells[2]) == pytest.approx(row["probability"])
        assert float(cells[4]) == pytest.approx(row["log_ratio"], abs=1e-4)


def test_several_texts_are_named() -> None:
    table = [line.split("\t")[:2] for line in done("langs", "lines", "rows.jsonl").text.splitlines()]
    assert table[0] == ["file", "line"]
    numbers = [str(number) for number in range(1, 6)]
    assert table[1:] == [[name, number] for name in ("lines", "rows.jsonl") for number in numbers]


def test_every_row_has_the_same_columns() -> None:
    data = b'{"text": "ab", "lang": "de"}\n\n{"text": ""}\n{"text": "c\\td"}\n'
    done_rows = done("langs", "--unknown", "skip", stdin=data).text.splitlines()
    assert {line.count("\t") for line in done_rows} == {6}
    assert [line.split("\t")[5] for line in done_rows] == ["truth", "de", "", "", ""]
    assert done_rows[-1].split("\t")[-1] == r"c\td"
    assert done_rows[2] == "2\t\t\t\t\t\t"


def test_a_line_without_a_character_has_no_label() -> None:
    first, empty, _ = rows("langs", stdin=b"ab\n\nc\n")
    assert empty == {
        "line": 2,
        **dict.fromkeys(("label", "probability", "runner_up", "log_ratio")),
        "text": "",
    }
    assert first["label"]


def test_accuracy_and_errors_are_told_where_labels_are_known() -> None:
    ran = done("langs", "rows.jsonl")
    verdicts = [line.split("\t")[1] for line in ran.text.splitlines()[1:]]
    truths = [line.split("\t")[5] for line in ran.text.splitlines()[1:]]
    assert truths == ["de", "fr", "", "", "xx"]
    right = sum(verdict == truth for verdict, truth in zip(verdicts, truths, strict=True))
    accuracy, strange, head, *matrix = ran.err.splitlines()
    assert accuracy == f"accuracy {right / 3:.4f}: {right} of 3"
    assert strange == "labels in the text that the model does not know: 'xx'"
    assert head.split() == ["true", "lang", "\\", "predicted", "de", "en", "fr"]
    expected = {
        truth: [str(int(verdict == value)) for value in LANG.values]
        for truth, verdict in (("de", verdicts[0]), ("fr", verdicts[1]))
    }
    assert {name: counts for name, *counts in map(str.split, matrix)} == expected


def test_nothing_is_told_where_no_label_is_known() -> None:
    assert done("langs", "lines").err == ""
    assert done("langs", stdin=b'{"text": "ab"}\n').err == ""
    assert done("langs", "lines", "--files", "--unknown", "skip").err.startswith("skipped ")


def test_of_many_values_the_most_frequent_errors_are_told() -> None:
    values = tuple(f"v{k:02}" for k in range(20))
    save_model("many", "json", [Label("lang", values)])
    lines = "".join(
        json.dumps({"text": text, "lang": values[k % 7]}) + "\n" for k, text in enumerate(TEXTS * 7)
    )
    ran = done("many", stdin=lines.encode())
    verdicts = [line.split("\t")[1] for line in ran.text.splitlines()[1:]]
    pairs = [(values[k % 7], verdict) for k, verdict in enumerate(verdicts)]
    wrong = sorted(
        {pair for pair in pairs if pair[0] != pair[1]}, key=lambda pair: (-pairs.count(pair), pair)
    )
    expected = [
        f"true {truth}, predicted {verdict}: {pairs.count((truth, verdict))}" for truth, verdict in wrong
    ]
    assert len(expected) > 10
    assert ran.err.splitlines()[1:] == expected[:10]


# --- mistakes ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "plain lines",
            "classify needs a model with labels: charrnn train TEXT --documents json --label NAME",
        ),
        ("pictures lines", "classify needs a model with labels"),
        ("labelled lines", "say which label to find, with --label NAME: lang, who"),
        ("labelled lines --label who=ann", "say which label to find, with --label NAME: lang, who"),
        ("labelled lines --label lang --label who", "--label lang --label who: classify finds one label"),
        ("labelled lines --label picture", "--label picture: it is a vector; labels: lang, who"),
        ("labelled lines --label lan", "the model has no label or vector called 'lan'; did you mean lang?"),
        ("labelled lines --label lang --label lang=de", "--label lang: it is asked for and given"),
        ("labelled lines --label lang --label who=bo", "label who has no value 'bo'"),
        ("labelled lines --label lang --vector [1]", "vector picture: must have 2 numbers, not 1"),
        ("langs lines --label =de", "--label =de: must be NAME, the label to find, or NAME=VALUE"),
        ("one lines", "--label one: has one value, only: there is nothing to choose"),
        ("langs labelled lines", "labelled: classify needs one checkpoint, not 2"),
        ("langs missing.txt", "missing.txt is neither a checkpoint nor a text"),
        ("langs lines --prior flat", "--prior flat: must be uniform or training"),
        (
            "langs",
            "no text to classify: name a file, or pipe one in: charrnn classify CHECKPOINT < notes.txt",
        ),
    ],
)
def test_a_wrong_command_line_is_one_line(arguments: str, message: str) -> None:
    save_model("plain")
    save_model("pictures", "json", [PICTURE])
    save_model("one", "json", [Label("one", ("only",))])
    assert message in refusal("classify", *arguments.split())


def test_an_n_gram_model_has_no_labels() -> None:
    vocabulary = Vocabulary("ab", documents=True)
    model = build(np.array([2, 0, 1, 2, 1, 2]), 3, 2, boundary=2)
    Path("checkpoints", "grams").mkdir()
    save_checkpoint(
        Path("checkpoints", "grams", BEST),
        Header(NgramConfig(2, documents=True), vocabulary, name="grams"),
        to_arrays(model),
    )
    assert "grams is an n-gram model" in refusal("classify", "grams", "lines", status=1)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (b"", "", "standard input: the text is empty"),
        (b"", "--files", "standard input: the text is empty"),
        (b"a\xe2\x98\x83\n", "", "standard input, line 1, column 2: '\u2603'"),
        (b"a\xe2\x98\x83\n", "--files", "standard input, column 2: '\u2603'"),
        (
            b'{"text": "a"}\nb\n',
            "",
            "line 2: not JSON (Expecting value, column 1); the first line is a JSON object",
        ),
        (b'{"text": "a", "lang": ["de"]}\n', "", "line 1: label lang is a list"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_line(data: bytes, options: str, message: str) -> None:
    assert message in refusal("classify", "langs", "-", *options.split(), stdin=data, status=1)


def test_of_several_texts_the_empty_one_is_named() -> None:
    Path("empty").write_text("")
    for texts in (("empty", "lines"), ("lines", "empty")):
        ran = charrnn("classify", "langs", *texts, "--unknown", "skip")
        assert ran.status == 1
        assert ran.err.endswith("charrnn: empty: the text is empty\n")
