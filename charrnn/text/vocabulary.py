"""Vocabularies: characters <-> ids.

V: vocabulary size   N: number of characters

A model reads a text from its beginning or, backward, from its end. ``encode`` gives the ids of a text in the
order in which the model reads them, and ``decode`` gives the text of such ids, as a person reads it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UnknownCharacterError

Scalar = TypeVar("Scalar", bound=np.generic)

CODE_POINTS = 0x110000
UNKNOWN = -1
"""The id of every character that the vocabulary does not hold."""


def describe(character: str) -> str:
    """One character as a message shows it: ``'é' (U+00E9 LATIN SMALL LETTER E WITH ACUTE)``."""
    name = unicodedata.name(character, "")
    return f"{character!r} (U+{ord(character):04X}{' ' + name if name else ''})"


@dataclass(frozen=True)
class Vocabulary:
    """The symbols that a model knows, sorted by code point without repeats; an id is a symbol's index.

    With ``byte_level`` a symbol stands for a byte: its code point is 0-255, and text is UTF-8. With
    ``documents`` there is one more id, the ``boundary``, which no text can hold. With ``backward`` it is
    that of a backward model.
    """

    symbols: str
    byte_level: bool = False
    documents: bool = False
    backward: bool = False

    def __post_init__(self) -> None:
        if list(self.symbols) != sorted(set(self.symbols)):
            raise ValueError("symbols: they must be sorted and without repeats")
        if self.byte_level and any(ord(symbol) > 255 for symbol in self.symbols):
            raise ValueError("symbols: a byte cannot be above 255")

    def __len__(self) -> int:
        """V, the number of ids."""
        return len(self.symbols) + self.documents

    @property
    def boundary(self) -> int | None:
        """The id that stands before and after each document; None for a model of one endless text.

        As an input it is START; predicted, it is END.
        """
        return len(self.symbols) if self.documents else None

    @cached_property
    def _ids(self) -> NDArray[np.int64]:
        """(highest code point + 2,): the id of each code point; the last is UNKNOWN, for all higher ones."""
        codes = code_points(self.symbols)
        table = np.full(int(codes.max(initial=0)) + 2, UNKNOWN, np.int64)
        table[codes] = np.arange(len(self.symbols))
        return table

    @property
    def id_dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned type that holds every id."""
        return np.dtype(np.min_scalar_type(max(len(self) - 1, 0)))

    def lookup(self, codes: NDArray[np.uint32]) -> NDArray[np.int64]:
        """(N,) code points -> (N,) ids, UNKNOWN where the vocabulary lacks the symbol."""
        return self._ids[np.minimum(codes, len(self._ids) - 1)]

    def units(self, text: str) -> str:
        """Text as symbols: its characters, or at byte level its UTF-8 bytes as code points.

        Raises UnknownCharacterError for a surrogate, which has no bytes.
        """
        if not self.byte_level:
            return text
        try:
            return text.encode("utf-8", "surrogateescape").decode("latin-1")
        except UnicodeEncodeError as error:
            surrogate = describe(text[error.start])
            raise UnknownCharacterError(
                f"{surrogate} at position {error.start} has no bytes in UTF-8"
            ) from error

    def encode(self, text: str, before: int = 0) -> NDArray[np.int64]:
        """Text -> (N,) ids in the model's order.

        Raises UnknownCharacterError naming the character and its position.
        """
        return self.reversed_if_backward(self.encode_units(self.units(text), before))

    def encode_units(self, units: str, before: int = 0) -> NDArray[np.int64]:
        """Units, as ``sources.characters`` reads them, -> (N,) ids in the order of the text.

        ``before`` is the number of units of the same text before these. Raises UnknownCharacterError
        naming the character and its position.
        """
        ids = self.lookup(code_points(units))
        if (unknown := np.flatnonzero(ids == UNKNOWN)).size:
            position = int(unknown[0])
            unit = f"byte 0x{ord(units[position]):02X}" if self.byte_level else describe(units[position])
            raise UnknownCharacterError(
                f"{unit} at position {before + position} is not among the model's {len(self.symbols)} symbols"
                " (charrnn info lists them)"
            )
        return ids

    def reversed_if_backward(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """(N, ...) values of a whole text, from text order to the model's order, or back."""
        return np.ascontiguousarray(values[::-1]) if self.backward else values

    def pieces_reversed_if_backward(self, pieces: Iterable[NDArray[Scalar]]) -> Iterator[NDArray[Scalar]]:
        """The pieces (N,) of a text, as above; for a backward model, one piece."""
        if not self.backward:
            yield from pieces
        elif whole := list(pieces):
            yield self.reversed_if_backward(np.concatenate(whole))

    @property
    def forward(self) -> Vocabulary:
        """The vocabulary for ids in text order."""
        return replace(self, backward=False)

    def decode(self, ids: NDArray[np.integer] | list[int]) -> str:
        """(N,) ids in the model's order -> text; at byte level U+FFFD where the bytes are not UTF-8."""
        return self.decode_bytes(ids).decode("utf-8", "replace" if self.byte_level else "surrogatepass")

    def decode_bytes(self, ids: NDArray[np.integer] | list[int]) -> bytes:
        """(N,) ids in the model's order -> the bytes of a file: UTF-8, or at byte level the bytes.

        A boundary is a newline.
        """
        symbols = self.symbols + "\n" * self.documents
        ids = ids[::-1] if self.backward else ids
        text = "".join([symbols[i] for i in ids])
        return text.encode("latin-1" if self.byte_level else "utf-8", "surrogatepass")


def code_points(text: str) -> NDArray[np.uint32]:
    """Text -> (N,) code points."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def have_property(codes: NDArray[np.uint32], holds: Callable[[str], bool]) -> NDArray[np.bool_]:
    """(N,) code points -> (N,) whether each has a property. Asks ``holds`` once for each different one."""
    known, inverse = np.unique(codes, return_inverse=True)
    flags: NDArray[np.bool_] = np.array([holds(chr(code)) for code in known], bool)[inverse]
    return flags
