"""Patterns, compared with Python's ``re`` on all short texts."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest

from charrnn.errors import ConfigError
from charrnn.inference.constraints import Constraints
from charrnn.inference.pattern import Match, Pattern
from charrnn.text.vocabulary import Vocabulary

EXPRESSIONS = [
    "a*",
    "a*b",
    "(a*)*b",
    "(a|b)*c",
    "abc|abd|a",
    "(ab|ba)+",
    "[^a]b?",
    "a.c",
    "a{2,3}b{0,2}",
    "((a|ab)(c|bcd))?",
    "(a?b?c?){2}",
    "(.{0,2}c){2}",
    "^ab$",
    "",
    "|a",
    "(?:a|b(?:c|d))+?",
    r"\x61+[\x62-\x63]",
    "(?i)AB*",
    "a{0}b",
    "[a-c]{3}",
    "z|a",
]
"""Every beginning of a match of these needs at most three more characters."""
VOCABULARY = Vocabulary("abcd")
LONGEST = 5


def texts(symbols: str, longest: int) -> list[str]:
    return ["".join(text) for length in range(longest + 1) for text in product(symbols, repeat=length)]


def walk(match: Match, vocabulary: Vocabulary, longest: int, text: str = "") -> dict[str, tuple[str, bool]]:
    """Every beginning of a match -> the characters allowed next, and whether it matches."""
    result = {text: (vocabulary.decode(np.flatnonzero(match.allowed)), match.matches)}
    if len(text) < longest:
        for symbol in np.flatnonzero(match.allowed).tolist():
            twin = match.copy()
            twin.add(symbol)
            result |= walk(twin, vocabulary, longest, text + vocabulary.symbols[symbol])
    return result


def wanted(expression: str, symbols: str, least: int = 0, most: int = LONGEST + 3) -> dict:
    """The same, by trying all texts."""
    matching = {
        text for text in texts(symbols, most) if len(text) >= least and re.fullmatch(expression, text, re.A)
    }
    begun = {text[:size] for text in matching for size in range(len(text) + 1)}
    return {
        text: ("".join(c for c in symbols if text + c in begun), text in matching)
        for text in begun
        if len(text) <= LONGEST
    }


@pytest.mark.slow
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_mask_holds_the_characters_that_can_still_match(expression: str) -> None:
    result = walk(Pattern(expression, VOCABULARY).start(), VOCABULARY, LONGEST)
    assert result == wanted(expression, "abcd")


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize(("least", "most"), [(0, 4), (2, 5), (3, 3), (0, 1)])
def test_every_beginning_can_be_finished_within_the_length(expression: str, least: int, most: int) -> None:
    expected = wanted(expression, "abcd", least, most)
    if not expected:
        with pytest.raises(ConfigError, match="matches"):
            Pattern(expression, VOCABULARY, None, least, most)
    else:
        match = Pattern(expression, VOCABULARY, None, least, most).start()
        assert walk(match, VOCABULARY, LONGEST) == expected


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_beginning_can_be_finished_with_the_allowed_characters(expression: str) -> None:
    expected = wanted(expression, "bc")
    allowed = np.array([False, True, True, False])
    if not expected:
        with pytest.raises(ConfigError, match="matches"):
            Pattern(expression, VOCABULARY, allowed)
    else:
        assert walk(Pattern(expression, VOCABULARY, allowed).start(), VOCABULARY, LONGEST) == expected


ODD = "\t\n\r\x1b\"#&'-./\\]^`|~\x7f\u2028\u20ac\U0001f600\U0010ffff"


@pytest.mark.parametrize("character", ODD, ids=ascii)
def test_every_character_can_be_matched(character: str) -> None:
    vocabulary = Vocabulary(ODD)
    for expression in (re.escape(character), f"[{re.escape(character)}]", f"\\x{{{ord(character):x}}}"):
        match = Pattern(f"{expression}{{2}}", vocabulary).start()
        assert vocabulary.decode(np.flatnonzero(match.allowed)) == character
    anything = Pattern("(?s).", vocabulary).start()
    assert anything.allowed.all()
    others = Pattern(f"[^{re.escape(character)}]", vocabulary).start()
    assert vocabulary.decode(np.flatnonzero(~others.allowed)) == character


@pytest.mark.parametrize("expression", ["/", "\\/", "\n", "\\\n", "\r", "\\\r", "\t", "'", '"', "#", "\x1b"])
def test_every_character_can_stand_in_an_expression_as_it_is(expression: str) -> None:
    match = Pattern(expression, Vocabulary(ODD)).start()
    assert Vocabulary(ODD).decode(np.flatnonzero(match.allowed)) == expression[-1]


BYTES = Vocabulary("".join(map(chr, range(256))), byte_level=True)


def test_at_byte_level_a_character_is_its_bytes() -> None:
    match = Pattern("[é€]", BYTES).start()
    assert np.flatnonzero(match.allowed).tolist() == [0xC3, 0xE2]
    match.add(0xE2)
    assert np.flatnonzero(match.allowed).tolist() == [0x82]
    match.add(0x82)
    assert (match.matches, np.flatnonzero(match.allowed).tolist()) == (False, [0xAC])
    match.add(0xAC)
    assert match.matches


def test_at_byte_level_only_characters_of_known_bytes_come() -> None:
    known = Vocabulary("".join(map(chr, sorted("aé€".encode()))), byte_level=True)
    match = Pattern(".", known).start()
    assert (
        known.decode_bytes(np.flatnonzero(match.allowed)) == b"a\xc3\xe2"
    )  # without a byte that goes on: none
    match.add(known.symbols.index("\xc3"))
    assert known.decode_bytes(np.flatnonzero(match.allowed)) == b"\x82\xa9\xac"


def test_bytes_and_surrogates_outside_utf_8_are_never_allowed() -> None:
    assert np.flatnonzero(Pattern("(?s).", BYTES).start().allowed).max() == 0xF4
    lone = Vocabulary("a\ud800")
    assert Pattern(".", lone).start().allowed.tolist() == [True, False]


def test_copies_are_independent() -> None:
    match = Pattern("a(b+|c)d", VOCABULARY).start()
    match.add(0)
    twin = match.copy()
    match.add(1)
    assert VOCABULARY.decode(np.flatnonzero(match.allowed)) == "bd"
    assert VOCABULARY.decode(np.flatnonzero(twin.allowed)) == "bc"
    twin.add(2)
    assert VOCABULARY.decode(np.flatnonzero(twin.allowed)) == "d"
    match.add(3)
    assert (match.matches, twin.matches) == (True, False)


@pytest.mark.parametrize(
    "expression",
    [
        "(.{0,300}a){3}b",
        "(a*)*b",
        "[ab]{100000}",
        "(a?){99}a{99}b?",
        "((a|b){1,1000}c){1,1000}",
        ".*.*.*.*.*.*d",
    ],
)
def test_expressions_that_make_other_engines_hang_are_matched(expression: str) -> None:
    match = Pattern(expression, VOCABULARY).start()
    for position in range(300):
        allowed = np.flatnonzero(match.allowed)
        if not len(allowed):
            break
        match.add(int(allowed[position % len(allowed)]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("(", "unclosed group"),
        ("[", "unclosed"),
        ("*", "repetition"),
        ("a{2,1}", "repetition"),
        ("a\\", "must be a valid regular expression"),
        ("\\", "must be a valid regular expression"),
        ("(?=a)b", "look-around"),
        (r"\ba", "look"),
        (r"(a)\1", "backreferences"),
        ("(\n", "unclosed group"),
        ("\ud800", "must be a valid regular expression"),
        ("e", "no text of the allowed characters"),
        ("[e\n]", "no text of the allowed characters"),
        ("a{99999999}", "too complex"),
        ("(((((a{100}){100}){100}){100}){100})", "too complex"),
    ],
)
def test_an_expression_that_cannot_be_matched_is_an_error_of_one_line(expression: str, reason: str) -> None:
    with pytest.raises(ConfigError, match="^--match .*" + reason) as caught:
        Pattern(expression, VOCABULARY).start().add(0)
    str(caught.value).encode()
    assert str(caught.value).isprintable()


def test_without_an_allowed_character_or_a_match_short_enough_a_pattern_is_an_error() -> None:
    with pytest.raises(ConfigError, match="--match a: --allow and --ban leave no character"):
        Pattern("a", VOCABULARY, np.zeros(4, bool))
    with pytest.raises(ConfigError, match="with length at most 2"):
        Pattern("aaa", VOCABULARY, None, 0, 2)


def test_a_length_too_short_for_any_character_is_an_error() -> None:
    vocabulary = Vocabulary("".join(sorted(set("☃a".encode().decode("latin-1")))), byte_level=True)
    with pytest.raises(ConfigError, match="--length 2 is too short: a character has up to 3 bytes"):
        Pattern("☃", vocabulary, max_length=2)
    with pytest.raises(ConfigError, match=r"at most 1 \(--length 5 bytes, up to 3 per character\)"):
        Pattern("a{5}", vocabulary, max_length=5)
    assert Pattern("a", vocabulary, min_length=3, max_length=5).start().allowed.any()


def test_a_very_large_length_is_no_maximum() -> None:
    for least, most in ((0, 10**12), (0, 2**32), (3, 10**7)):
        assert Pattern("a+", Vocabulary("ab"), None, least, most).start().allowed.tolist() == [True, False]


def test_at_byte_level_every_beginning_fits_the_length_in_bytes() -> None:
    vocabulary = Vocabulary("".join(sorted(set("é☃a".encode().decode("latin-1")))), byte_level=True)
    constraints = Constraints(len(vocabulary), 10, pattern=Pattern("[é☃]+a", vocabulary, max_length=10))
    generator = np.random.default_rng(0)
    for _ in range(50):
        constrained, drawn = constraints.start(), []
        while not constrained.ended:
            drawn.append(int(generator.choice(np.flatnonzero(constrained.allowed_mask()))))
            constrained.add(drawn[-1])
        assert constrained.ended == "match"
        assert vocabulary.decode(drawn)[-1] == "a"


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_match_can_fill_the_whole_length(length: int) -> None:
    match = Pattern(f"a{{{length}}}", Vocabulary("ab"), max_length=length).start()
    for _ in range(length):
        assert match.allowed.tolist() == [True, False]
        match.add(0)
    assert match.matches
