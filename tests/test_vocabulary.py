"""The laws of characters and ids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import UnknownCharacterError
from charrnn.text.vocabulary import CODE_POINTS, UNKNOWN, Vocabulary, code_points, describe

any_text = st.text(st.characters())  # lone surrogates too
BYTES = Vocabulary("".join(map(chr, range(256))), byte_level=True)


def vocabulary(text: str) -> Vocabulary:
    return Vocabulary("".join(sorted(set(text))))


@given(any_text)
def test_decoding_what_was_encoded_gives_the_text_back(text: str) -> None:
    known = vocabulary(text)
    ids = known.encode(text)
    assert len(ids) == len(text)
    assert known.decode(ids) == known.decode(ids.tolist()) == text
    assert known.decode_bytes(ids) == text.encode("utf-8", "surrogatepass")


@given(st.text())
def test_at_byte_level_text_goes_through_utf_8(text: str) -> None:
    ids = BYTES.encode(text)
    assert ids.tolist() == list(text.encode())
    assert BYTES.decode(ids) == text


@given(st.binary())
def test_at_byte_level_any_bytes_come_back(data: bytes) -> None:
    assert BYTES.decode_bytes(list(data)) == data
    assert BYTES.decode(list(data)) == data.decode("utf-8", "replace")
    assert BYTES.encode(data.decode("utf-8", "surrogateescape")).tolist() == list(data)


@given(any_text)
def test_a_greater_character_has_a_greater_id(text: str) -> None:
    known = vocabulary(text)
    assert known.encode(known.symbols).tolist() == list(range(len(known)))
    assert sorted(text) == [known.symbols[i] for i in sorted(known.encode(text))]


@given(any_text, st.characters(), any_text, st.integers(0, 1 << 40))
def test_an_unknown_character_is_named_with_its_code_point_and_position(
    before: str, unknown: str, after: str, earlier: int
) -> None:
    before = before.replace(unknown, "")
    known = vocabulary(before + after.replace(unknown, ""))
    with pytest.raises(UnknownCharacterError) as caught:
        known.encode_units(before + unknown + after, earlier)
    message = str(caught.value)
    assert f"U+{ord(unknown):04X}" in message
    assert f"at position {earlier + len(before)} " in message
    assert len(message.splitlines()) == 1


def test_an_unknown_byte_is_named_as_a_byte_at_its_byte_position() -> None:
    with pytest.raises(UnknownCharacterError, match=r"^byte 0xC3 at position 2 is not among the model's 2"):
        Vocabulary("ab", byte_level=True).encode("abé")


@given(st.sets(st.characters()), st.lists(st.integers(0, CODE_POINTS - 1)))
def test_looking_up_a_code_point_finds_its_symbol_or_unknown(symbols: set[str], codes: list[int]) -> None:
    known = Vocabulary("".join(sorted(symbols)))
    expected = [known.symbols.find(chr(code)) for code in codes]
    assert UNKNOWN == -1  # as str.find says it
    assert known.lookup(np.array(codes, np.uint32)).tolist() == expected


@given(any_text)
def test_code_points_are_those_of_the_characters(text: str) -> None:
    assert code_points(text).tolist() == list(map(ord, text))


@pytest.mark.parametrize(
    ("symbols", "byte_level"), [("ba", False), ("aa", False), ("aba", True), ("aĀ", True)]
)
def test_symbols_out_of_order_or_twice_or_beyond_a_byte_are_refused(symbols: str, byte_level: bool) -> None:
    with pytest.raises(ValueError, match="symbols"):
        Vocabulary(symbols, byte_level)


@pytest.mark.parametrize(
    ("size", "dtype"), [(0, "u1"), (1, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), (65537, "u4")]
)
def test_ids_take_the_smallest_type_that_holds_them(size: int, dtype: str) -> None:
    assert Vocabulary("".join(map(chr, range(size)))).id_dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("é", "'é' (U+00E9 LATIN SMALL LETTER E WITH ACUTE)"),
        ("\n", r"'\n' (U+000A)"),
        ("\u2028", r"'\u2028' (U+2028 LINE SEPARATOR)"),
        ("\ud800", r"'\ud800' (U+D800)"),
    ],
)
def test_a_character_is_described_in_one_line(character: str, shown: str) -> None:
    assert describe(character) == shown
