"""The laws of dividing texts into documents, wherever the pieces are cut in which they are read."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charrnn.errors import ConfigError, CorpusError
from charrnn.text import documents as module
from charrnn.text import sources
from charrnn.text.documents import BLOCK, Division, Document, Skipped, documents, label_value
from charrnn.text.sources import Reading, Source

chunks = st.sampled_from([1, 2, 3, 5, 1 << 20])
separators = st.text("|-\n=", min_size=1, max_size=4)
text_without_separators = st.text("ab é€😀\t", min_size=1, max_size=12)
SEPARATOR = "<end>"


def memory(text: str | bytes, name: str = "text") -> Source:
    data = text if isinstance(text, bytes) else text.encode()
    return Source(name, lambda: io.BytesIO(data))


def divided(
    *texts: str | bytes | Source, kind: str = "json", skipped: Skipped | None = None, **options: Any
) -> list[Document]:
    """The documents of texts; ``options`` are of the division, and of the reading."""
    fields = {name: options.pop(name) for name in ("labels", "vectors", "label_by_file") if name in options}
    opened = [text if isinstance(text, Source) else memory(text) for text in texts]
    division = Division(kind, **fields)
    return [each for block in documents(opened, Reading(**options), division, skipped) for each in block]


def units(*texts: str | bytes | Source, **options: Any) -> list[str]:
    return [document.units for document in divided(*texts, **options)]


def refusal(*texts: str | bytes | Source, **options: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        divided(*texts, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def line(**fields: Any) -> str:
    return json.dumps({"text": "a"} | fields) + "\n"


# Separators


@given(st.lists(text_without_separators), separators, chunks)
@example(["a", "b"], "----", 1)
@example(["a", "b"], "\n--\n", 3)
def test_documents_joined_with_a_separator_come_back(texts: list[str], separator: str, chunk: int) -> None:
    with patch.object(sources, "CHUNK", chunk):
        assert units(separator.join(texts), kind=separator) == texts
        assert units(separator.join([*texts, ""]), kind=separator) == texts


@given(st.text("|-a\n", max_size=30), separators, chunks)
@example("a|||", "||", 2)
@example("-|--|--|-", "-|-", 1)
def test_a_text_is_divided_as_python_splits_it_wherever_its_pieces_are_cut(
    text: str, separator: str, chunk: int
) -> None:
    expected, skipped = text.split(separator), Skipped()
    if not expected[-1]:
        expected.pop()
    with patch.object(sources, "CHUNK", chunk):
        assert units(text, kind=separator, skipped=skipped) == list(filter(None, expected))
    assert skipped.empty == expected.count("")


def test_a_separator_is_found_in_bytes_and_beside_any_line_end() -> None:
    assert units("é§ö".encode(), kind="§", byte_level=True) == ["Ã©", "Ã¶"]
    for kind in ("\n--\n", "\r\n--\r\n"):
        assert units("a\r\n--\r\nb", kind=kind) == ["a", "b"]
    assert units("a\r\n--\r\nb", kind="\r\n--\r\n", newlines="keep") == ["a", "b"]


@pytest.mark.parametrize("kind", ["---", "\n\n\n", "END", "<|end|>", " ", "a"])
def test_every_other_text_is_a_separator(kind: str) -> None:
    assert units(f"é{kind}ö", kind=kind) == ["é", "ö"]


# Lines, paragraphs, files


@given(st.lists(text_without_separators | st.just("")), st.sampled_from(["\n", "\r\n"]), chunks)
def test_lines_are_documents_and_empty_ones_are_counted(lines: list[str], end: str, chunk: int) -> None:
    for newlines in ("lf", "keep"):
        skipped = Skipped()
        with patch.object(sources, "CHUNK", chunk):
            text = "".join(each + end for each in lines)
            assert units(text, kind="line", newlines=newlines, skipped=skipped) == list(filter(None, lines))
        assert skipped.empty == lines.count("")


def test_a_last_line_needs_no_newline_and_spaces_are_characters() -> None:
    assert units(" a\n \nb", kind="line") == [" a", " ", "b"]


paragraph = st.lists(st.text("ab é", min_size=1, max_size=5).filter(str.strip), min_size=1, max_size=3)
blank_lines = st.lists(st.sampled_from(["\n", " \n", "\t \n"]), min_size=1, max_size=3).map("".join)


@given(st.lists(st.tuples(paragraph, blank_lines)), st.sampled_from(["\n", "\r\n"]), chunks)
def test_paragraphs_come_back_without_the_blank_lines_between_them(
    paragraphs: list[tuple[list[str], str]], end: str, chunk: int
) -> None:
    text = "\n \n" + "".join("\n".join(lines) + "\n" + blank for lines, blank in paragraphs)
    for newlines in ("lf", "keep"):
        inner = end if newlines == "keep" else "\n"
        with patch.object(sources, "CHUNK", chunk):
            result = units(text.replace("\n", end), kind="blank", newlines=newlines)
        assert result == [inner.join(lines) for lines, _ in paragraphs]


def test_a_file_is_a_document_without_its_last_newlines_and_an_empty_file_is_counted() -> None:
    skipped = Skipped()
    assert units("\na\n\nb\n\n", "\n", "", "c", kind="file", skipped=skipped) == ["\na\n\nb", "c"]
    assert skipped.empty == 2


@pytest.mark.parametrize("kind", ["line", "blank", "file", SEPARATOR])
def test_a_document_never_goes_on_in_the_next_file(kind: str) -> None:
    assert units("a", "b", kind=kind) == ["a", "b"]


@pytest.mark.parametrize("kind", ["line", "blank", "file", "json", SEPARATOR])
def test_a_byte_order_mark_is_no_character_of_a_document(kind: str) -> None:
    text = line() if kind == "json" else "a"
    assert units("\ufeff" + text, "\ufeff" + text, kind=kind) == ["a", "a"]


def test_bytes_are_units() -> None:
    assert units(b"\xff\xc3\xa9\r\n\0\n", kind="line", byte_level=True, newlines="keep") == ["ÿÃ©", "\0"]
    (document,) = divided(line(text="é\r\n", prompt="€"), byte_level=True, newlines="keep")
    assert document == Document("€é\r\n".encode().decode("latin-1"), 3)


# Sizes


@pytest.mark.parametrize("kind", ["line", "blank", "file", "json", SEPARATOR])
def test_a_document_may_be_long_and_too_long_a_one_is_refused(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "abcd efg\t" * 1_100_000
    end = SEPARATOR if kind == SEPARATOR else "\n\n"
    source = memory((line(text=long) if kind == "json" else long) + end)
    assert units(source, kind=kind) == [long]
    monkeypatch.setattr(module, "LONGEST", 9_000_000)
    assert "text: a document has more than 9,000,000 characters" in refusal(source, kind=kind)


@pytest.mark.parametrize("kind", ["line", "blank", SEPARATOR])
def test_the_limit_is_that_of_a_document_and_not_of_a_text(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 10)
    monkeypatch.setattr(sources, "CHUNK", 3)
    end = {"line": "\n", "blank": "\n\n"}.get(kind, kind)
    assert units(("abcde" + end) * 20, kind=kind) == ["abcde"] * 20


def test_a_hundred_thousand_empty_lines_are_counted() -> None:
    skipped = Skipped()
    assert units("\n" * 100_000 + "a\n", kind="line", skipped=skipped) == ["a"]
    assert skipped.empty == 100_000


def test_documents_are_passed_on_some_at_a_time() -> None:
    blocks = list(documents([memory("a\n" * (BLOCK + 1))], Reading(), Division("line")))
    assert [len(block) for block in blocks] == [BLOCK, 1]


def test_progress_hears_of_every_character_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CHUNK", 4)
    read: list[int] = []
    list(documents([memory("ab\n\ncde\n"), memory("f")], Reading(), Division("line"), None, read.append))
    assert sum(read) == 9


# JSON lines


@given(
    st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.text("ab\r\n", max_size=4))),
    st.sampled_from([False, True]),
    chunks,
)
def test_texts_and_prompts_in_json_come_back(texts: list[tuple[str, str]], ascii_: bool, chunk: int) -> None:
    lines = [json.dumps({"text": text, "prompt": prompt}, ensure_ascii=ascii_) for text, prompt in texts]
    expected = [Document(prompt + text, len(prompt)) for text, prompt in texts if prompt + text]
    with patch.object(sources, "CHUNK", chunk):
        assert divided("\n \n".join(lines), newlines="keep") == expected


def test_line_ends_inside_json_are_read_like_those_of_a_text() -> None:
    assert divided(line(prompt="a\r\nb\r", text="c\rd")) == [Document("a\nb\nc\nd", 4)]


def test_an_empty_text_is_left_out_unless_it_has_a_prompt() -> None:
    skipped = Skipped()
    text = line(text="") + line(text="", prompt="a") + line(text="", prompt="")
    assert divided(text, skipped=skipped) == [Document("a", 1)]
    assert skipped.empty == 2


def test_labels_and_vectors_are_fields_and_a_missing_one_is_none() -> None:
    rows: list[dict[str, Any]] = [
        {"who": "é", "year": 1999, "v": [1, -2.5]},
        {"who": None, "year": ""},
        {"v": None, "x": {}},
    ]
    result = divided(*(line(**row) for row in rows), labels=("year", "who"), vectors=("v",))
    assert [(each.labels, each.vectors) for each in result] == [
        (("1999", "é"), ([1, -2.5],)),
        ((None, None), (None,)),
        ((None, None), (None,)),
    ]


@pytest.mark.parametrize("value", [0, -3, "0", " ", "None", 10**30])
def test_a_label_may_be_a_text_or_a_whole_number(value: Any) -> None:
    assert label_value("who", value) == str(value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (["a"], "a list"),
        ({"a": 1}, "an object"),
        (1.0, "a fraction"),
        (float("nan"), "a fraction"),
        (True, "true or false"),
        (False, "true or false"),
    ],
)
def test_a_label_of_another_type_is_refused_with_its_line(value: Any, kind: str) -> None:
    message = refusal(line() + "\n" + line(who=value), labels=("who",))
    assert message == f"text, line 3: label who is {kind}; it must be a text or a whole number"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"txt": "a", "b": 1}', 'no text in the field "text"; its fields: txt, b'),
        ('{"text": 3}', 'no text in the field "text"; it must be a text'),
        ('{"text": null}', 'no text in the field "text"; it must be a text'),
        ('{"text": "a", "prompt": ["b"]}', 'no text in the field "prompt"; it must be a text'),
        ('["a"]', 'not a JSON object such as {"text": "..."}'),
        ('"a"', "not a JSON object"),
        ("text", "not JSON (Expecting value"),
        ('{"text": "a"', "not JSON ("),
        ("[" * 100_000, "not JSON ("),
        ('{"text": "a", "year": 1' + "0" * 5000 + "}", "not JSON ("),
    ],
)
def test_a_line_that_is_no_document_is_refused_with_its_number(row: str, message: str) -> None:
    assert refusal(line() + row).startswith(f"text, line 2: {message}")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("[1, 2, 3]", "must have 2 numbers, not 3"),
        ("[]", "must have 1 to 100,000 numbers, not 0"),
        ("3", "must be a list of numbers such as"),
        ('"1, 2"', "must be a list of numbers such as"),
        ('{"0": 1}', "must be a list of numbers such as"),
        ("[1, NaN]", "number 2 is NaN, not a finite number"),
        ("[-Infinity, 1]", "number 1 is -Infinity, not a finite number"),
        ("[1, 1e400]", "number 2 is Infinity, not a finite number"),
        (f"[1, {10**40}]", f"number 2 is {10**40}, not a finite number"),
        ('[1, "2"]', 'number 2 is "2", not a finite number'),
        ("[true, 2]", "number 1 is true, not a finite number"),
        ("[null, 2]", "number 1 is null, not a finite number"),
    ],
)
def test_a_vector_of_another_length_or_of_no_numbers_is_refused(value: str, reason: str) -> None:
    row = line()[:-2] + f', "v": {value}}}'
    assert refusal(line(v=[1, 2]) + row, vectors=("v",)).startswith(f"text, line 2: vector v: {reason}")


def test_a_vector_is_as_long_in_every_file() -> None:
    first, second = memory(line(v=[1]), "one"), memory(line(v=[1, 2]), "two")
    assert refusal(first, second, vectors=("v",)) == "two, line 1: vector v: must have 1 number, not 2"


# Divisions


@pytest.mark.parametrize(
    ("given_kind", "meant"),
    [("lines", "line"), ("Line", "line"), ("jsonl", "json"), ("paragraph", "blank"), ("files", "file")],
)
def test_a_misspelt_kind_is_an_error_that_names_the_right_one(given_kind: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--documents {given_kind}: must be .*; did you mean {meant}\?"):
        Division(given_kind)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("", {}, "--documents '': must be line, blank, file, json or a separator"),
        ("line", {"labels": ("who",)}, "add --documents json"),
        ("blank", {"vectors": ("v",)}, "add --documents json"),
        ("json", {"labels": ("text",)}, "--label text: this field is what the model reads"),
        ("json", {"vectors": ("prompt",)}, "prompt: this field is what the model reads"),
        ("json", {"labels": ("a", "a")}, "a: is given twice"),
        ("json", {"labels": ("a",), "vectors": ("a",)}, "a: is given twice"),
        ("json", {"labels": ("file",), "label_by_file": True}, "leave out --label file"),
    ],
)
def test_a_division_that_makes_no_sense_is_refused(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Division(kind, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a/x.txt", "b/y.txt.gz", "z"], ["x", "y", "z"]),
        (["a/x.txt", "b/x.txt", "b/y.txt"], ["a/x.txt", "b/x.txt", "y"]),
        (["a/x.txt", "a/x.md"], ["a/x.txt", "a/x.md"]),
        (["v1.2.txt", ".hidden"], ["v1.2", ".hidden"]),
    ],
)
def test_the_label_of_a_file_is_its_name_or_its_path_where_names_are_equal(
    names: Sequence[str], labels: Sequence[str]
) -> None:
    result = divided(*(memory("a\nb", name) for name in names), kind="line", label_by_file=True)
    assert [document.labels for document in result] == [(label,) for label in labels for _ in range(2)]
    (document,) = divided(memory(line(who="b"), "x"), labels=("who",), label_by_file=True)
    assert document.labels == ("b", "x")
