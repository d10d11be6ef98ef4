"""What ``charrnn info`` and the shell's completion say of models of documents."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from charrnn.conditions import Label
from tests.conftest import charrnn
from tests.test_completion import complete as complete
from tests.test_document_commands import save_labelled, save_model


def test_info_says_what_documents_and_labels_a_model_has() -> None:
    save_labelled("labelled")
    save_model("plain")
    (facts,) = map(json.loads, charrnn("info", "labelled", "--json").out.splitlines())
    assert facts["documents"] == "json"
    assert facts["documents_count"] == 2006
    assert facts["labels"] == {"lang": {"de": 1, "en": 2000, "fr": 5}, "who": {"ann": 4, "bob": 3}}
    assert facts["vectors"] == {"picture": 2}
    text = charrnn("info", "labelled").text
    assert re.search(r'^documents +"json"$', text, re.MULTILINE)
    assert re.search(r"^label lang +de 1, en 2,000, fr 5$", text, re.MULTILINE)
    assert re.search(r"^vector picture +2 numbers$", text, re.MULTILINE)
    assert "label" not in charrnn("info", "plain").text.replace("label_drop", "")


def test_info_shows_the_first_values_of_a_label_that_has_many() -> None:
    save_model("many", "json", [Label("who", tuple(f"v{k:03}" for k in range(60)))])
    text = charrnn("info", "many").text
    assert "v000, v001, " in text
    assert "v039, and 20 more (--json lists all)" in text
    (facts,) = map(json.loads, charrnn("info", "many", "--json").out.splitlines())
    assert len(facts["labels"]["who"]) == 60


@pytest.mark.parametrize("command", ["sample", "score", "classify"])
def test_labels_and_their_values_are_offered(command: str, request: pytest.FixtureRequest) -> None:
    complete = request.getfixturevalue("complete")
    save_labelled("labelled")
    save_model("plain")
    assert complete(command, "labelled", "--label", "") == ["lang=", "who="]
    assert complete(command, "labelled", "--label", "w") == ["who="]
    assert complete(command, "labelled", "--label", "lang=") == ["lang=de", "lang=en", "lang=fr"]
    assert complete(command, "labelled", "--label", "who=b") == ["who=bob"]
    assert complete(command, "labelled", "--label", "picture=") == []
    assert complete(command, "plain", "--label", "") == []
    assert complete(command, "missing", "--label", "") == []


def test_the_kinds_of_documents_are_offered(request: pytest.FixtureRequest) -> None:
    complete = request.getfixturevalue("complete")
    assert complete("train", "a.txt", "--documents", "") == ["line", "blank", "file", "json"]
    assert complete("train", "a.txt", "--label-by", "") == ["file"]
    assert complete("train", "a.txt", "--loss", "t") == ["text"]


def test_bash_which_parts_words_at_equals_signs_gets_what_follows_them(
    request: pytest.FixtureRequest,
) -> None:
    complete = request.getfixturevalue("complete")
    save_labelled("labelled")
    assert complete("sample", "labelled", "--label", "lang", "=") == ["de", "en", "fr"]
    words = ("labelled", "--label", "lang", "=", "de", "--label", "who", "=", "b")
    assert complete("sample", *words) == ["bob"]
    assert complete("sample", "labelled", "--label", "lang", "=", "de", "--label", "w") == ["who="]


def test_a_network_with_labels_is_looked_into_with_missing_labels() -> None:
    save_labelled("labelled")
    Path("text.txt").write_text("a cab bad" * 200)
    for arguments in (
        ("inspect-cell", "labelled", "text.txt", "--unit", "1"),
        ("inspect-cell", "labelled", "text.txt", "--gates"),
        ("inspect-cell", "labelled", "--unit", "1", "--sample", "20"),
        ("encode", "labelled", "text.txt", "--output", "states.npy"),
        ("gradient-flow", "labelled", "text.txt", "--length", "5"),
    ):
        assert charrnn(*arguments).status == 0, arguments
    refused = charrnn("inspect-cell", "labelled", "text.txt", "--errors")
    assert refused.status == 2
    assert "--errors reads one long text" in refused.err
