"""Characters <-> ids.

V: the vocabulary's size; an id is a position in the sorted row of symbols.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UnknownCharacterError

CODE_POINTS = 0x110000
UNKNOWN = -1


def describe(character: str) -> str:
    """One character as a message shows it: ``'é' (U+00E9 LATIN SMALL LETTER E WITH ACUTE)``."""
    name = unicodedata.name(character, "")
    return f"{character!r} (U+{ord(character):04X}{' ' + name if name else ''})"


@dataclass(frozen=True)
class Vocabulary:
    """The symbols a model knows, sorted by code point, each once.

    With ``byte_level`` the unit is the byte: the symbols are code points 0-255 standing for
    bytes, text is encoded as UTF-8 on the way in, and ``decode`` gives text back with
    U+FFFD where the bytes are not UTF-8.
    """

    symbols: str
    byte_level: bool = False

    def __post_init__(self) -> None:
        if list(self.symbols) != sorted(set(self.symbols)):
            raise ValueError("symbols: not sorted, or one stands twice")
        if self.byte_level and any(ord(symbol) > 255 for symbol in self.symbols):
            raise ValueError("symbols: a byte above 255")

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def _code_points(self) -> NDArray[np.uint32]:
        return code_points(self.symbols)

    @cached_property
    def _table(self) -> NDArray[np.int64]:
        """(highest code point + 2,): the id of each code point; the last row is for all beyond."""
        table = np.full(int(self._code_points.max(initial=0)) + 2, UNKNOWN, np.int64)
        table[self._code_points] = np.arange(len(self))
        return table

    @property
    def id_dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned type that holds every id."""
        return np.dtype(np.min_scalar_type(max(len(self) - 1, 0)))

    def lookup(self, codes: NDArray[np.uint32]) -> NDArray[np.int64]:
        """(N,) code points -> (N,) ids, UNKNOWN where there is none."""
        return self._table[np.minimum(codes, len(self._table) - 1)]

    def encode(self, text: str) -> NDArray[np.int64]:
        """Text -> (N,) ids. Raises UnknownCharacterError naming the character and its position."""
        if self.byte_level:
            try:
                text = text.encode("utf-8", "surrogateescape").decode("latin-1")
            except UnicodeEncodeError as error:
                where = f"{describe(text[error.start])} at position {error.start}"
                raise UnknownCharacterError(f"{where} has no bytes in UTF-8") from error
        return self.encode_units(text)

    def encode_units(self, units: str, before: int = 0) -> NDArray[np.int64]:
        """Units as ``corpus.characters`` reads them (code points, or bytes as code points) -> (N,) ids.

        ``before``: how many units of the same text came before these. Raises UnknownCharacterError.
        """
        ids = self.lookup(code_points(units))
        if (unknown := np.flatnonzero(ids == UNKNOWN)).size:
            position = int(unknown[0])
            what = f"byte 0x{ord(units[position]):02X}" if self.byte_level else describe(units[position])
            raise UnknownCharacterError(
                f"{what} at position {before + position} is not among the model's {len(self)} symbols"
                " (charrnn info lists them)"
            )
        return ids

    def decode(self, ids: NDArray[np.integer] | list[int]) -> str:
        """(N,) ids -> text."""
        if self.byte_level:
            return self.decode_bytes(ids).decode("utf-8", "replace")
        return "".join([self.symbols[i] for i in ids])

    def decode_bytes(self, ids: NDArray[np.integer] | list[int]) -> bytes:
        """(N,) ids -> the bytes a file would hold: raw bytes, or UTF-8."""
        text = "".join([self.symbols[i] for i in ids])
        return text.encode("latin-1") if self.byte_level else text.encode("utf-8", "surrogatepass")


def code_points(text: str) -> NDArray[np.uint32]:
    """Text -> (N,) code points."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
