"""Concepts: what the labels of a text are, however it is cut."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import ConfigError
from charrnn.inspection import concepts, syntax
from charrnn.inspection.concepts import CONCEPTS, ConceptReader, LabelStream, labels
from charrnn.text.vocabulary import Vocabulary


def read(text: str, *names: str, expressions: tuple[str, ...] = ()) -> np.ndarray:
    return ConceptReader(names, expressions, byte_level=False).read(text, last=True)


def marks(text: str, name: str) -> str:
    """Of each character: x where a concept is on, . where it is off; of a number, its digit."""
    number = {concept.name: concept.number for concept in CONCEPTS}[name]
    return "".join(f"{value:.0f}" if number else ".x"[int(value)] for value in read(text, name)[:, 0])


QUOTES = [
    ('a "b c" d', "..xxxx..."),
    ("a “b” « c » d", "..xx..xxxx..."),
    ("don't 'stop it' or", "......xxxxxxxx...."),
    ("the dogs' 'tis don't", "...................."),
    (r'"a\"b" c', "xxxxx..."),
    ('"a "b\n\nc', "xxx....."),
    ('"a\n\nb "c', "xxx...xx"),
    ('"""a "b" c\n\nd"""e', "..xxxxxxxxxxxxx.."),
    ("f'a' + x['b']", ".xx......xx.."),
    ("# it's 'so'\n'b'", "............xx."),
]
COMMENTS = [
    ("x # y\nz", "..xxx.."),
    ("#include <a>\n# b", ".............xxx"),
    ("see #13, a#b", "............"),
    ("x; // y\nz", "....xxx.."),
    ("// y", ".xxx"),
    ("http://a b", ".........."),
    ("a // b", "......"),
    ("a /* b\n * c */ d", "...xxxxxxxxxx..."),
    ('"# b" # c', "......xxx"),
]
BRACKETS = [
    ("a(b[c]{d})e", "01122122100"),
    ("a) (b", "00011"),
    ('("(" #)\nb)', "1111111110"),
    ("([\n\n{\n\nx}", "122011110"),
]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        *(("quotes", *case) for case in QUOTES),
        *(("comments", *case) for case in COMMENTS),
        *(("brackets", *case) for case in BRACKETS),
        ("indentation", "a\n  b c\n\td\n\n", "002222228880"),
        ("since-newline", "ab\nc\n\nd", "1201001"),
        ("word", "it's 4 o'clock - x_1.", "xxxx.x.xxxxxxx...xxx."),
        ("capital", "aBÉ c", ".xx.."),
        ("digit", "a1²٣", ".xxx"),
        ("line-start", "ab\n\nc", "x..xx"),
        ("next-space", "a b\tc\n", "x.x..."),
        ("next-newline", "a \n\nb", ".xx.."),
        ("next-letter", "1a B\n", "x.x.."),
        ("next-capital", "1a B\n", "..x.."),
        ("next-digit", "a12", "xx."),
        ("next-punctuation", "a, b!", "x..x."),
    ],
)
def test_labels_are_those_that_a_reader_would_mark(name: str, text: str, expected: str) -> None:
    assert f"{text}\n{marks(text, name)}" == f"{text}\n{expected}"


def test_the_position_in_a_line_is_the_share_that_is_read() -> None:
    position = read("abc\nde", "line-position")[:, 0]
    np.testing.assert_allclose(position, [0.25, 0.5, 0.75, 1, 0.5, 1])


def test_the_distance_from_the_newline_has_a_largest_value() -> None:
    distance = read("x" * 300, "since-newline")[:, 0]
    assert distance[198:].tolist() == [199] + [200] * 101


@pytest.mark.parametrize("opening", ['"""', "/*"])
def test_what_is_never_closed_ends(opening: str) -> None:
    name = "quotes" if opening == '"""' else "comments"
    text = opening + " x" * syntax.LONGEST
    assert marks(text, name).count("x") == syntax.LONGEST


def test_an_expression_is_on_inside_its_matches_also_across_lines() -> None:
    assert read("ab\nc ab\nd", expressions=(r"b\nc?",))[:, 0].tolist() == [0, 1, 1, 1, 0, 0, 1, 1, 0]
    assert read("ab\nba", expressions=("^b|^a",))[:, 0].tolist() == [1, 0, 0, 1, 0]


def test_an_expression_with_named_groups_is_on_inside_the_first() -> None:
    every = read("k=v x=", expressions=(r"(\w)=(?P<value>\w?)(?P<other>)",))
    assert every[:, 0].tolist() == [0, 0, 1, 0, 0, 0]


def test_a_group_that_takes_no_part_in_a_match_is_off() -> None:
    assert read("ab", expressions=("(?P<x>c)?b|a",))[:, 0].tolist() == [0, 0]


def test_an_unknown_concept_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"--concept quote: must be one of quotes, .*; did you mean quotes"):
        read("a", "quote")


def test_a_wrong_expression_is_shown_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="--find-regex: must not be empty"):
        ConceptReader([], [""], False)
    with pytest.raises(ConfigError, match=r"--find-regex \(a: must be a regular expression: missing \)"):
        read("a", expressions=("(a",))


def test_an_expression_that_backtracks_for_ever_ends_with_advice() -> None:
    with (
        patch.object(concepts, "SECONDS", 0.01),
        pytest.raises(ConfigError, match=r"--find-regex \(a\|aa\)\+\$: takes .*; avoid repeats"),
    ):
        read("a" * 64 + "b", expressions=("(a|aa)+$",))


TEXTS = st.text(alphabet="ab1 'B\"“”«»()[{}#/*\\\n\n\té", max_size=120)


def cut(text: str, sizes: list[int]) -> list[str]:
    stops = np.cumsum(sizes).tolist()
    return [text[start:stop] for start, stop in zip([0, *stops], [*stops, None], strict=True)]


@pytest.mark.slow
@given(TEXTS, st.lists(st.integers(0, 30), max_size=6))
def test_the_labels_do_not_depend_on_how_the_text_comes(text: str, sizes: list[int]) -> None:
    pieces = cut(text, sizes)
    with patch.object(concepts, "BLOCK", 20), patch.object(syntax, "LONGEST", 50):
        whole = ConceptReader(None, ["b.*?a"], byte_level=False).read(text, last=True)
        reader = ConceptReader(None, ["b.*?a"], byte_level=False)
        parts = [reader.read(piece, last=index == len(sizes)) for index, piece in enumerate(pieces)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.slow
@given(TEXTS)
def test_blocks_that_end_with_a_line_change_no_label_of_a_concept(text: str) -> None:
    longest = max(len(line) + 1 for line in text.split("\n"))
    with patch.object(concepts, "BLOCK", longest):
        blocks = ConceptReader(None, [], byte_level=False).read(text, last=True)
    np.testing.assert_array_equal(blocks, ConceptReader(None, [], byte_level=False).read(text, last=True))


@pytest.mark.slow
@given(TEXTS, st.lists(st.integers(0, 30), max_size=6))
def test_a_byte_has_the_labels_of_its_character(text: str, sizes: list[int]) -> None:
    reader = ConceptReader(None, ["é"], byte_level=True)
    pieces = cut(text.encode().decode("latin-1"), sizes)
    parts = [reader.read(piece, last=index == len(sizes)) for index, piece in enumerate(pieces)]
    characters = ConceptReader(None, ["é"], byte_level=False).read(text, last=True)
    counts = [len(character.encode()) for character in text]
    np.testing.assert_array_equal(np.concatenate(parts), np.repeat(characters, counts, 0))


def test_bytes_that_are_no_characters_have_labels_of_their_own() -> None:
    reader = ConceptReader(["next-letter"], [], byte_level=True)
    assert reader.read("\xff\xc3a\xe2\x82", last=True)[:, 0].tolist() == [0, 1, 0, 0, 0]


def test_labels_of_ids_are_those_of_the_text_also_in_parts() -> None:
    text = 'She said "no".\n' * 20
    vocabulary = Vocabulary("".join(sorted(set(text))))
    ids, whole = vocabulary.encode(text), ConceptReader(None, [], False).read(text, last=True)
    np.testing.assert_array_equal(labels(vocabulary, ids, ConceptReader(None, [], False)), whole)
    with patch.object(concepts, "BLOCK", 32):
        stream = LabelStream(vocabulary, ids, ConceptReader(None, [], False))
        parts = [stream.take(100) for _ in range(4)]
    assert [len(part) for part in parts] == [100, 100, 100, 0]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_an_expression_does_not_have_the_name_of_a_concept() -> None:
    reader = ConceptReader(["quotes"], ["quotes"], False)
    assert [concept.name for concept in reader.concepts] == ["quotes", "'quotes'"]
