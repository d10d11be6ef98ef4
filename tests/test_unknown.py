"""The laws of replacing characters outside a vocabulary."""

from __future__ import annotations

import string
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import UnknownCharacterError
from charrnn.text.unknown import Replacement
from charrnn.text.vocabulary import Vocabulary


def nearest(symbols: str) -> Replacement:
    return Replacement(Vocabulary("".join(sorted(set(symbols)))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("‘a’ ‚b‛ ‹c› d´ e′ ʼn", "'a' 'b' 'c' d' e' 'n"),
        ("“a” „b‟ «c» 5″", '"a" "b" "c" 5"'),
        ("a‐b‑c‒d–e—f―g −1", "a-b-c-d-e-f-g -1"),
        ("a\tb\r\nc\rd", "a b\nc\nd"),
        ("• 2×3 … ½", "* 2x3 ... 1/2"),
        ("ßæœøłıðþ ŒØŁ", "ssaeoeolidth OeOL"),
        ("Ångström naïve Čapek", "Angstrom naive Capek"),
        ("Щука Ωmega 你", "Shchuka Omega Ni"),
        ("a\u2028b\u00a0c", "a b c"),
    ],
)
def test_quotes_dashes_line_ends_ligatures_accents_and_other_scripts_have_ascii_replacements(
    text: str, expected: str
) -> None:
    printable = string.ascii_letters + string.digits + string.punctuation + " \n"
    assert nearest(printable)(text) == expected


def test_another_case_of_a_letter_comes_before_the_letter_without_accents_and_its_transliteration() -> None:
    assert nearest("жéZhzhEe")("ЖÉ") == "жé"
    assert nearest("еeE")("Ё") == "е"  # the Cyrillic letter without its dots
    assert nearest("ßs")("ẞ") == "ß"
    assert nearest("SFIsf")("ß") == "ss"


def test_a_model_of_capitals_reads_capitals() -> None:
    assert nearest(string.ascii_uppercase + " '")("don’t æ щ ﬁ") == "DON'T AE SHCH FI"


@pytest.mark.parametrize("character", ["😀", "☃", "\u200b", "\ud800", "\x01"])
def test_a_character_that_resembles_no_symbol_is_named_with_the_option_that_skips_it(character: str) -> None:
    with pytest.raises(UnknownCharacterError, match=rf"U\+{ord(character):04X}.*--unknown skip") as caught:
        nearest(string.printable.replace("\x01", ""))(character)
    assert "\n" not in str(caught.value)


def test_a_surrogate_has_no_bytes_and_is_skipped_or_named() -> None:
    every_byte = Vocabulary("".join(map(chr, range(256))), byte_level=True)
    assert Replacement(every_byte, skip=True)("a\ud800b") == "ab"
    with pytest.raises(UnknownCharacterError, match=r"U\+D800"):
        Replacement(every_byte)("a\ud800b")
    assert (
        Replacement(every_byte)("\udcff") == "\udcff"
    )  # how an argument's bytes are read that are not UTF-8


@given(st.text(max_size=6))
def test_every_replacement_is_known_and_recorded(text: str) -> None:
    replacement = nearest(string.printable)
    try:
        result = replacement(text)
    except UnknownCharacterError:
        return
    assert replacement.knows(result)
    for character, instead in replacement.replaced.items():
        assert not replacement.knows(character)
        assert instead
        assert instead in result


def test_the_nearest_is_composed_then_compatible_then_alike_then_of_another_case_then_without_accents() -> (
    None
):
    near = Replacement(Vocabulary("".join(sorted("abceéfinoxACE'\"-. 1"))))
    assert near("e\u0301") == "é"
    assert near("ﬁ") == "fi"
    assert near("…") == "..."
    assert near("“a”—‘b’") == "\"a\"-'b'"
    assert near("àçÇ") == "acC"
    assert near("X") == "x"
    assert near("B") == "b"
    assert near("É") == "é"
    assert near("①\u00a0") == "1 "
    assert near.replaced["à"] == "a"
    few = Replacement(Vocabulary("\nFISafis"))
    assert few("ﬁßıa\r\n") == "fissia\n"


@given(st.text("abc é\u0301\nx☃", max_size=20))
def test_skipping_keeps_the_known_characters_in_order(text: str) -> None:
    known = Replacement(Vocabulary("".join(sorted("abc é"))), skip=True)
    assert known(text) == "".join(c for c in text if c in "abc é")


@given(st.text(max_size=8))
def test_known_text_stays_as_it_is(text: str) -> None:
    assert Replacement(Vocabulary("".join(sorted(set(text)))))(text) == text


def test_at_byte_level_a_character_is_known_if_all_its_bytes_are() -> None:
    near = Replacement(Vocabulary("".join(sorted("ae" + "é".encode().decode("latin-1"))), byte_level=True))
    assert near("éà") == "éa"
    assert near.knows("é")
    assert not near.knows("à")


def test_the_library_is_imported_only_for_the_first_replacement() -> None:
    script = (
        "import sys\n"
        "from charrnn.text.unknown import Replacement\n"
        "from charrnn.text.vocabulary import Vocabulary\n"
        "replacement = Replacement(Vocabulary('e')); replacement('e'); print('anyascii' in sys.modules)\n"
        "replacement('ə'); print('anyascii' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
