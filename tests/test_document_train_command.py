"""``charrnn train`` on documents: its options, the command that repeats it, and what continues it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.conditions import Label
from charrnn.runs.checkpoint import BEST, LAST, Header, load, read_header
from tests.conftest import TEXT, Ran, charrnn

TINY = (
    *("--steps", "2", "--hidden", "4", "--embedding", "4", "--streams", "3", "--bptt", "8"),
    *("--split", "60,30,10", "--dropout", "0.1"),
)
LABELS = ("--documents", "json", "--label", "lang", "--vector", "numbers")


@pytest.fixture(autouse=True)
def _texts() -> None:
    """The documents of 60 short texts, divided in several ways."""
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list("abcd "), size)) + "e" for size in generator.integers(2, 15, 60)]
    for name, delimiter in (("lines", "\n"), ("parts", "\n--\n"), ("odd", "\t\\\n"), ("blank", "\n\n")):
        Path(f"{name}.txt").write_text(delimiter.join(texts))
    rows = [
        {
            "prompt": text[:2],
            "text": text[2:],
            "lang": ["de", "fr"][k % 2],
            "a\nb": k % 3,
            "numbers": [k, 1],
        }
        for k, text in enumerate(texts)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def train(*arguments: str, settings: tuple[str, ...] = TINY, **options: Any) -> Ran:
    done = charrnn("train", *arguments, *settings, **options)
    assert done.status == 0, done.err
    return done


def header(name: str, file: str = BEST) -> Header:
    return read_header(Path("checkpoints", name, file))


def refusal(*arguments: str, status: int = 2, **options: Any) -> str:
    """The one line that reports a mistake."""
    done = charrnn("train", *arguments, **options)
    assert (done.status, done.out) == (status, b""), done.err
    *notes, line = done.err.splitlines()
    assert all(note.startswith(("rates ", "from ", "text ")) for note in notes)
    assert line.startswith("charrnn: ")
    return line.removeprefix("charrnn: ")


# --- what a run learns ---


def test_a_run_records_its_documents_and_their_labels() -> None:
    done = train("rows.jsonl", *LABELS, "--loss", "text", "--condition", "first", "--name", "run")
    assert "60 documents" in done.err
    assert "lang (2 values), numbers (2 numbers); read with START alone" in done.err
    saved = header("run")
    assert saved.network.documents
    assert saved.vocabulary.documents
    label, vector = saved.network.conditions
    assert label == Label("lang", ("de", "fr"))
    assert (vector.name, vector.inputs) == ("numbers", 3)
    assert (saved.network.condition, saved.training.loss) == ("first", "text")
    assert saved.corpus["labels"] == {"lang": {"de": 30, "fr": 30}}
    assert saved.corpus["documents"] == 60
    wanted = {"documents": "json", "labels": ["lang"], "vectors": ["numbers"]}
    assert saved.origin.items() >= wanted.items()
    sampled = charrnn("sample", "run", "--label", "lang=fr", "--vector", "[3,1]", "--count", "3")
    assert (sampled.status, sampled.text.count("\n")) == (0, 3)


def test_the_text_that_training_validated_has_the_loss_that_score_gives() -> None:
    for loss in ("all", "text"):
        train("rows.jsonl", *LABELS, "--loss", loss, "--name", loss)
        scored = charrnn("score", loss, "--part", "validation", "--json")
        assert json.loads(scored.out)["loss"] == pytest.approx(
            header(loss).results["validation_nats"], abs=1e-4
        )


def test_the_name_of_its_file_is_the_label_of_each_paragraph() -> None:
    for name, count in (("austen", 20), ("shelley", 30)):
        Path(f"{name}.txt").write_text("\n\n".join(f"text {k} of {name}" for k in range(count)))
    train("austen.txt", "shelley.txt", "--label-by", "file", "--name", "books")
    saved = header("books")
    assert saved.corpus["labels"] == {"file": {"austen": 20, "shelley": 30}}
    assert (saved.origin["documents"], saved.origin["label_by"]) == ("blank", "file")
    assert charrnn("sample", "books", "--label", "file=austen").status == 0
    Path("page.txt").write_text("text 7 of austen")
    found = charrnn("classify", "books", "page.txt", "--files")
    assert found.text.splitlines()[1].split("\t")[1] in ("austen", "shelley")
    totals = [
        json.loads(charrnn("score", "books", "austen.txt", "--json", *label).out)["nats"]
        for label in ((), ("--label", "file=austen"), ("--label", "file=shelley"))
    ]
    assert totals[0] == totals[1] != totals[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["lines.txt", "--documents", "line"],
        ["blank.txt", "--documents", "blank"],
        ["parts.txt", "--documents", r"\n--\n"],
        ["odd.txt", "--documents", r"\t\\\n"],
        ["lines.txt", "blank.txt", "--documents", "line", "--label-by", "file"],
        ["blank.txt", "lines.txt", "--label-by", "file", "--condition", "first"],
        ["rows.jsonl", *LABELS, "--loss", "text"],
        ["rows.jsonl", "--documents", "json", "--label", r"a\nb", "--condition", "first", "--seed", "7"],
    ],
)
def test_the_command_that_is_told_repeats_the_training(arguments: list[str]) -> None:
    done = train(*arguments, "--name", "first")
    (repeat,) = (line for line in done.err.splitlines() if line.startswith("to repeat exactly: "))
    words = shlex.split(repeat.removeprefix("to repeat exactly: charrnn train "))
    train(*words, "--name", "second", settings=())
    first, second = header("first"), header("second")
    assert first.weights_sha256 == second.weights_sha256
    assert (first.origin, first.network, first.training) == (second.origin, second.network, second.training)


def test_a_training_from_another_model_is_repeated_too() -> None:
    train("rows.jsonl", *LABELS, "--name", "start")
    done = train("rows.jsonl", *LABELS, "--from", "start", "--name", "first", settings=("--steps", "2"))
    (repeat,) = (line for line in done.err.splitlines() if line.startswith("to repeat exactly: "))
    train(*shlex.split(repeat.split("charrnn train ")[1]), "--name", "second", settings=())
    assert header("first").weights_sha256 == header("second").weights_sha256 != header("start").weights_sha256


# --- what continues a run ---


def test_a_run_of_documents_is_trained_on() -> None:
    train("rows.jsonl", *LABELS, "--name", "run")
    train("--resume", "run", "--steps", "3", settings=())
    saved = header("run", LAST)
    assert saved.results["step"] == 5
    assert saved.origin["labels"] == ["lang"]
    rows = Path("rows.jsonl").read_text()
    Path("rows.jsonl").write_text(rows.replace('"de"', '"it"'))
    assert "not the text this run was learning" in refusal("--resume", "run", "--steps", "2", status=1)


def test_a_model_of_one_long_text_becomes_one_of_documents_with_labels() -> None:
    Path("prose.txt").write_text(TEXT)
    train("prose.txt", "--name", "prose")
    train("rows.jsonl", *LABELS, "--from", "prose", "--name", "run", settings=("--steps", "1"))
    before, after = load(Path("checkpoints", "prose", BEST)), load(Path("checkpoints", "run", BEST))
    assert (after.header.parent or {}).get("name") == "prose"
    assert after.header.network.documents
    assert [condition.name for condition in after.header.network.conditions] == ["lang", "numbers"]
    assert set(before.header.vocabulary.symbols) <= set(after.header.vocabulary.symbols)
    hidden = [loaded.weights["layers.0.weight_hh"] for loaded in (before, after)]
    assert 0 < np.abs(hidden[0] - hidden[1]).max() < 0.1
    train(
        "rows.jsonl",
        *LABELS,
        "--from",
        "prose",
        "--condition",
        "first",
        "--name",
        "first",
        settings=("--steps", "1"),
    )
    assert header("first").network.condition == "first"


def test_a_model_of_documents_is_continued_with_its_labels_and_new_values() -> None:
    train("rows.jsonl", *LABELS, "--condition", "first", "--name", "start")
    for arguments, message in (
        (["lines.txt"], "--from start: that model writes documents: add --documents"),
        (
            ["lines.txt", "--documents", "line"],
            "--from start: that model has lang: add --label or --vector lang",
        ),
        (
            ["rows.jsonl", *LABELS[:4]],
            "--from start: that model has numbers: add --label or --vector numbers",
        ),
        (["rows.jsonl", *LABELS, "--condition", "every"], "--from start keeps that model's --condition"),
    ):
        assert message in refusal(*arguments, "--from", "start", "--steps", "1")
    rows = Path("rows.jsonl").read_text()
    Path("more.jsonl").write_text(rows.replace('"de"', '"it"'))
    train("more.jsonl", *LABELS, "--from", "start", "--name", "run", settings=("--steps", "1"))
    (label, _) = header("run").network.conditions
    assert label.to_dict()["values"] == ["de", "fr", "it"]


# --- mistakes ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("lines.txt --label lang", "--label names a field of JSON lines: add --documents json"),
        ("lines.txt --vector numbers", "--vector names a field of JSON lines: add --documents json"),
        ("lines.txt --loss text", "--loss leaves out the prompts of JSON lines: add --documents json"),
        (
            "lines.txt --documents line --loss text",
            "--loss leaves out the prompts of JSON lines: add --documents json",
        ),
        ("lines.txt --documents line --label lang", "name fields of JSON lines: add --documents json"),
        ("lines.txt --documents line --vector v", "name fields of JSON lines: add --documents json"),
        ("lines.txt --condition first", "--condition has no effect without --label, --vector or --label-by"),
        ("lines.txt --documents line --condition first", "--condition has no effect without --label"),
        ("rows.jsonl --documents json --label text", "--label text: this field is what the model reads"),
        ("rows.jsonl --documents json --vector prompt", "prompt: this field is what the model reads"),
        ("rows.jsonl --documents json --label lang --label lang", "--label lang: is given twice"),
        ("rows.jsonl --documents json --label lang --vector lang", "lang: is given twice"),
        ("rows.jsonl --documents json --label file --label-by file", "leave out --label file"),
        ("lines.txt --label-by folder", "--label-by folder: must be file"),
        ("rows.jsonl --documents json --loss prompts", "--loss prompts: must be all or text"),
        (
            "rows.jsonl --documents json --label lang --condition last",
            "--condition last: must be every or first",
        ),
        ("lines.txt --documents lines", "did you mean line?"),
        ("lines.txt --documents paragraphs", "did you mean blank?"),
        ("rows.jsonl --documents jsonl", "did you mean json?"),
        ("lines.txt --documents=", "must be line, blank, file, json or a separator"),
        ("lines.txt --documents line --adapt", "no option is called --adapt"),
    ],
)
def test_a_wrong_combination_is_one_line(arguments: str, message: str) -> None:
    assert message in refusal(*arguments.split())
    assert not Path("checkpoints").exists()


@pytest.mark.parametrize(
    ("arguments", "data", "message"),
    [
        ("lines.txt --documents file", None, "lines.txt: 1 document; training needs at least 2"),
        ("lines.txt --documents ##", None, "lines.txt: 1 document; training needs at least 2"),
        ("lines.txt --label-by file", None, "lines.txt: 1 document"),
        ("lines.txt --documents json", None, "lines.txt, line 1: not JSON ("),
        ("rows.jsonl --documents json --label size", None, '--label size: no document has a field "size"'),
        ("rows.jsonl --documents json --vector size", None, '--vector size: no document has a field "size"'),
        ("rows.jsonl --documents json --label numbers", None, "rows.jsonl, line 1: label numbers is a list"),
        ("rows.jsonl --documents json --vector lang", None, "vector lang: must be a list of numbers"),
        ("- --documents json", '{"text": "a"}\n{"txt": "b"}\n', 'line 2: no text in the field "text"'),
        ("- --documents json", '{"text": "a"}\n["b"]\n', "line 2: not a JSON object"),
        ("- --documents json", '{"text": 3}\n', 'line 1: no text in the field "text"; it must be a text'),
        ("- --documents line", "\n\n", "standard input: the text holds no document with a character"),
    ],
)
def test_a_text_without_documents_is_one_line(arguments: str, data: str | None, message: str) -> None:
    stdin = None if data is None else data.encode()
    assert message in refusal(*arguments.split(), "--steps", "1", stdin=stdin, status=1)
    assert not Path("checkpoints").exists()


def test_the_vectors_of_a_text_have_one_length() -> None:
    Path("rows.jsonl").write_text('{"text": "a", "v": [1, 2]}\n{"text": "b", "v": [1]}\n')
    line = refusal("rows.jsonl", "--documents", "json", "--vector", "v", status=1)
    assert line == "rows.jsonl, line 2: vector v: must have 2 numbers, not 1"
