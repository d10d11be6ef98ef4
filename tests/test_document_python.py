"""charrnn from Python with models of documents: the same as the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn
from charrnn.conditions import Values
from charrnn.runs.checkpoint import BEST, read_header
from tests.conftest import charrnn as command
from tests.test_document_commands import LANG, by_hand, rows, save_labelled, save_model


@pytest.fixture
def model() -> charrnn.Model:
    """The model of a run with two labels and a vector, called ``labelled``."""
    save_labelled("labelled")
    return charrnn.load("labelled")


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, ""),
        ({"labels": {"lang": "fr"}}, "--label lang=fr"),
        ({"labels": {"lang": {"de": 1, "fr": 3}, "who": "bob"}}, "--label lang=de:1,fr:3 --label who=bob"),
        ({"labels": {"lang": None}}, "--label lang="),
        ({"vectors": {"picture": [1, -2]}, "labels": {"lang": "en"}}, "--vector [1,-2] --label lang=en"),
        ({"labels": {"lang": "fr"}, "guidance": 3.5}, "--label lang=fr --guidance 3.5"),
        ({"prompt": "ab", "labels": {"who": "ann"}}, "--prompt ab --label who=ann"),
        ({"length": 0}, "--length 0"),
        ({"match": "a+b|e"}, "--match a+b|e"),
        ({"clamp": {(0, 1): 0.5}, "guidance": 2.0, "labels": {"lang": "de"}},
         "--clamp 0:1=0.5 --guidance 2 --label lang=de"),
    ],
)  # fmt: skip
def test_equal_options_and_seed_give_the_text_of_the_command(
    model: charrnn.Model, options: dict[str, Any], arguments: str
) -> None:
    (row,) = rows("labelled", *arguments.split())
    assert model.generate(seed=1, **options) == row["text"]
    assert "".join(model.stream(seed=1, **options)) == row["text"]


def test_a_document_is_at_most_twice_as_long_as_the_longest_one(model: charrnn.Model) -> None:
    assert len(model.generate(min_length=18, seed=1)) == 18
    with pytest.raises(charrnn.ConfigError, match="must be at most --length 18"):
        model.generate(min_length=19)


@pytest.mark.parametrize(
    "values", [{}, {"lang": "de"}, {"lang": {"de": 1, "en": 1}, "picture": [0.5, 3]}, {"who": None}]
)
def test_the_probabilities_of_a_document_are_those_of_its_characters_and_its_end(
    model: charrnn.Model, values: Values
) -> None:
    expected = by_hand("labelled", "a cab", values)
    assert len(expected) == 6
    np.testing.assert_allclose(model.log_probabilities("a cab", labels=values), expected)
    bits = -expected.mean() / math.log(2)
    assert model.bits_per_character("a cab", labels=values) == pytest.approx(bits)
    if not values:
        (total,) = map(
            json.loads, command("score", "labelled", "--lines", "--json", stdin=b"a cab").out.splitlines()
        )
        assert total["bpc"] == pytest.approx(bits, abs=1e-4)


def test_a_text_is_classified_as_on_the_command_line(model: charrnn.Model) -> None:
    for others, arguments in (
        ({}, ()),
        ({"who": "ann", "picture": [1, 2]}, ("--label", "who=ann", "--vector", "[1,2]")),
    ):
        found = model.classify("a cab", "lang", labels=others)
        ran = command("classify", "labelled", "--label", "lang", "--json", *arguments, stdin=b"a cab")
        row = json.loads(ran.out)
        assert found == {
            value: pytest.approx(share, rel=1e-4) for value, share in row["probabilities"].items()
        }
        assert list(found) == sorted(found, key=lambda value: -found[value])
        assert next(iter(found)) == row["label"]
        assert set(found) == set(LANG.values)
        assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.generate(labels={"lan": "de"}), "did you mean lang"),
        (lambda m: m.generate(labels={"lang": "xx"}), "label lang has no value 'xx'"),
        (lambda m: m.generate(vectors={"picture": [1]}), "must have 2 numbers, not 1"),
        (lambda m: m.generate(guidance=-1.0), "must be from 0"),
        (lambda m: m.generate(guidance=float("nan")), "must be from 0"),
        (lambda m: m.log_probabilities("a", labels={"age": 3}), "no label or vector called 'age'"),
        (lambda m: m.classify("a", "picture"), "picture has no values to choose from"),
        (lambda m: m.classify("a", "age"), "no label or vector called 'age'"),
    ],
)
def test_a_wrong_label_is_a_config_error(model: charrnn.Model, call: Any, message: str) -> None:
    with pytest.raises(charrnn.ConfigError, match=message):
        call(model)


def test_a_model_without_labels_says_so() -> None:
    save_model("plain")
    model = charrnn.load("plain")
    for call in (
        lambda: model.generate(labels={"lang": "de"}),
        lambda: model.log_probabilities("a", labels={"lang": "de"}),
        lambda: model.classify("a", "lang"),
    ):
        with pytest.raises(charrnn.ConfigError, match="this model has no labels and no vectors"):
            call()
    with pytest.raises(charrnn.ConfigError, match="needs a model with labels or vectors"):
        model.generate(guidance=1.0)


def test_the_facts_of_a_model_have_its_documents_and_labels(model: charrnn.Model) -> None:
    assert model.info["documents"] == "json"
    assert set(model.info["labels"]["lang"]) == set(LANG.values)
    assert model.info["vectors"] == {"picture": 2}


SETTINGS: dict[str, Any] = {"steps": 2, "hidden": 4, "embedding": 4, "streams": 3, "bptt": 8, "dropout": 0.1}


@pytest.mark.slow
def test_training_from_python_gives_the_weights_of_the_command() -> None:
    texts = ["".join(np.random.default_rng(k).choice(list("abc"), 3 + k % 9)) for k in range(60)]
    lines = [json.dumps({"text": t, "lang": "xy"[k % 2], "v": [k, 1]}) for k, t in enumerate(texts)]
    Path("rows.jsonl").write_text("\n".join(lines))
    model = charrnn.train(
        Path("rows.jsonl"),
        "python",
        documents="json",
        labels=["lang"],
        vectors=["v"],
        loss="text",
        **SETTINGS,
    )
    options = [word for name, value in SETTINGS.items() for word in (f"--{name}", str(value))]
    fields = ["--label", "lang", "--vector", "v", "--loss", "text"]
    ran = command("train", "rows.jsonl", "--documents", "json", *fields, *options, "--name", "shell")
    assert ran.status == 0, ran.err
    first, second = (read_header(Path("checkpoints", name, BEST)) for name in ("python", "shell"))
    assert first.weights_sha256 == second.weights_sha256
    assert first.corpus == second.corpus
    assert first.origin == second.origin
    assert set(model.generate(seed=1, labels={"lang": "x"}, vectors={"v": [3, 1]})) <= set("abc")


@pytest.mark.slow
def test_a_string_is_divided_into_documents() -> None:
    model = charrnn.train("ab\ncd\n" * 40, "names", documents="line", **SETTINGS)
    assert model.symbols == "abcd"
    assert model.info["documents_count"] == 80
    assert len(model.generate(seed=1)) <= 4
    with pytest.raises(charrnn.CorpusError, match="1 document; training needs at least 2"):
        charrnn.train("ab\ncd\n", documents="file", **SETTINGS)
    with pytest.raises(charrnn.ConfigError, match="JSON lines: add documents"):
        charrnn.train("ab\ncd\n", documents="line", labels=["lang"], **SETTINGS)
