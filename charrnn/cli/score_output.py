"""How ``charrnn score`` writes what it has measured: totals, characters, shades, surprising places."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charrnn.cli import shades
from charrnn.cli.table import escaped, write_table
from charrnn.cli.terminal import Terminal
from charrnn.files import json_line

if TYPE_CHECKING:
    from charrnn.inference.score import ScoredPiece
    from charrnn.inference.worst_places import Place
    from charrnn.text.vocabulary import Vocabulary

OTHERS = 3
"""Alternatives that are shown for a character."""


@dataclass
class Total:
    """The score of one text: its characters, and minus their log-probability in nats.

    baseline  the score of an n-gram model on the same text, or that without adapting
    adapted   whether the model learned the text while it read
    shift     the nats that reading in pieces has added (--streams)
    """

    text: str
    model: str
    characters: int = 0
    nats: float = 0.0
    baseline: Total | None = None
    shift: float | None = None
    adapted: bool = False

    def add(self, piece: ScoredPiece) -> None:
        """Count a piece."""
        self.characters += len(piece.ids)
        self.nats -= float(piece.log_probabilities.sum())

    @property
    def nats_per_character(self) -> float:
        """The loss."""
        return self.nats / self.characters

    @property
    def bits_per_character(self) -> float:
        """The loss in bits."""
        return self.nats_per_character / math.log(2)

    @property
    def perplexity(self) -> float:
        """Of a character."""
        try:
            return math.exp(self.nats_per_character)
        except OverflowError:
            return math.inf

    @property
    def shift_bits_per_character(self) -> float:
        """What reading in pieces has added to the loss in bits."""
        return (self.shift or 0.0) / self.characters / math.log(2)

    @property
    def sentence(self) -> str:
        """The score as a note says it."""
        return (
            f"{self.characters:,} characters, {self.bits_per_character:.4f} bits per character,"
            f" perplexity {self.perplexity:.4f}"
        )

    def record(self) -> dict[str, Any]:
        """The fields of a JSON line."""
        fields = {
            "text": self.text,
            "model": self.model,
            "characters": self.characters,
            "nats": number(self.nats),
            "nats_per_character": number(self.nats_per_character),
            "bpc": number(self.bits_per_character),
            "perplexity": number(self.perplexity),
        }
        if self.shift is not None:
            fields["shift_bpc"] = number(self.shift_bits_per_character)
        if self.baseline:
            fields["plain" if self.adapted else "baseline"] = {
                key: value for key, value in self.baseline.record().items() if key != "text"
            }
        if self.baseline and self.adapted:
            gain = self.baseline.bits_per_character - self.bits_per_character
            fields["gain_bpc"] = number(gain)
        return fields

    def rows(self) -> Iterator[list[str]]:
        """The rows of a table: the score, and that of the baseline."""
        figures = [self.nats_per_character, self.bits_per_character, self.perplexity]
        yield [
            self.text,
            self.model,
            f"{self.characters:,}",
            f"{self.nats:,.2f}",
            *(f"{figure:.4f}" for figure in figures),
        ]
        if self.baseline:
            yield from self.baseline.rows()
        if self.baseline and self.adapted:
            gains = [
                self.baseline.nats - self.nats,
                self.baseline.nats_per_character - self.nats_per_character,
                self.baseline.bits_per_character - self.bits_per_character,
                self.baseline.perplexity - self.perplexity,
            ]
            yield [self.text, "gain", "", f"{gains[0]:,.2f}", *(f"{gain:.4f}" for gain in gains[1:])]


def sum_of(totals: Sequence[Total], name: str = "total") -> Total:
    """The score of several texts together."""
    baselines = [total.baseline for total in totals if total.baseline]
    characters, nats = sum(total.characters for total in totals), math.fsum(total.nats for total in totals)
    baseline = sum_of(baselines, name) if baselines else None
    return Total(name, totals[0].model, characters, nats, baseline, adapted=totals[0].adapted)


def write_totals(out: Terminal, totals: Sequence[Total], as_json: bool) -> None:
    """Write a row for each text and, for several, their total; or as many JSON lines."""
    if len(totals) > 1:
        totals = [*totals, sum_of(totals)]
    if as_json:
        for total in totals:
            out.write(json_line(total.record()))
        return
    header = ["TEXT", "MODEL", "CHARACTERS", "NATS", "NATS/CHARACTER", "BPC", "PERPLEXITY"]
    rows = [row for total in totals for row in total.rows()]
    write_table(out, [header, *rows], right=range(2, len(header)))


def number(value: float) -> float | None:
    """A number for JSON, which has no infinity."""
    return value if math.isfinite(value) else None


class Symbols:
    """The symbols of a vocabulary, as the outputs show them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.byte_level, self._symbols = vocabulary.byte_level, vocabulary.symbols
        self.others = min(OTHERS, len(vocabulary) - 1)
        self._escaped = [self._cell(symbol) for symbol in vocabulary.symbols]

    def _is_byte(self, symbol: str) -> bool:
        """Whether the symbol is a byte that is no character by itself."""
        return self.byte_level and ord(symbol) > 127

    def _cell(self, symbol: str) -> str:
        return rf"\x{ord(symbol):02x}" if self._is_byte(symbol) else escaped(symbol)

    def escaped(self, symbol_id: int) -> str:
        r"""A symbol as a cell of a TSV file: "\n" for a newline."""
        return self._escaped[symbol_id]

    def shown(self, symbol_id: int) -> str:
        """A symbol as a sign that can be seen: "⏎" for a newline."""
        symbol = self._symbols[symbol_id]
        return f"0x{ord(symbol):02X}" if self._is_byte(symbol) else shades.sign(symbol)

    def fields(self, symbol_id: int) -> dict[str, object]:
        """A symbol as JSON fields; at byte level also its byte."""
        symbol = self._symbols[symbol_id]
        if not self.byte_level:
            return {"char": symbol}
        return {"char": "\ufffd" if self._is_byte(symbol) else symbol, "byte": ord(symbol)}


def write_characters(
    out: Terminal, pieces: Iterable[ScoredPiece], vocabulary: Vocabulary, as_json: bool
) -> None:
    """Write a row for each character, with the alternatives; TSV with a header, or JSON lines."""
    symbols = Symbols(vocabulary)
    if not as_json:
        others = [name for n in range(1, symbols.others + 1) for name in (f"other{n}", f"probability{n}")]
        out.write(("\t".join(["char", "probability", "bits", "rank", *others]) + "\n").encode())
    for piece in pieces:
        for row in _character_rows(piece, symbols.others):
            out.write(_json_row(row, symbols) if as_json else _tsv_row(row, symbols))
        out.flush()  # the next piece may be long in coming


Row = tuple[int, float, int, list[tuple[int, float]]]
"""A character, its log-probability in nats, its rank, and alternatives with their log-probabilities."""


def _character_rows(piece: ScoredPiece, others: int) -> Iterator[Row]:
    import numpy as np

    ids = piece.others(others)
    scores = np.take_along_axis(piece.scores, ids, 1)
    columns = (piece.ids, piece.log_probabilities, piece.ranks, ids, scores)
    for symbol, score, rank, other_ids, other_scores in zip(*(c.tolist() for c in columns), strict=True):
        yield symbol, score, rank, list(zip(other_ids, other_scores, strict=True))


def _tsv_row(row: Row, symbols: Symbols) -> bytes:
    symbol, score, rank, others = row
    cells = [symbols.escaped(symbol), f"{math.exp(score):.6g}", f"{bits(score):.4f}", str(rank)]
    for other, other_score in others:
        cells += [symbols.escaped(other), f"{math.exp(other_score):.6g}"]
    return ("\t".join(cells) + "\n").encode()


def _json_row(row: Row, symbols: Symbols) -> bytes:
    symbol, score, rank, others = row
    return json_line(
        symbols.fields(symbol)
        | {"probability": _rounded(score), "bits": number(round(bits(score), 6)), "rank": rank}
        | {"alternatives": alternatives(others, symbols)}
    )


def alternatives(others: Iterable[tuple[int, float]], symbols: Symbols) -> list[dict[str, object]]:
    """Alternatives as JSON."""
    return [symbols.fields(other) | {"probability": _rounded(score)} for other, score in others]


def _rounded(score: float) -> float:
    """The probability to six digits."""
    return float(f"{math.exp(score):.6g}")


def bits(score: float) -> float:
    """The surprise in bits of a log-probability in nats."""
    return -score / math.log(2) + 0.0  # 0.0 instead of -0.0


def percent(score: float) -> str:
    """The probability of a log-probability in nats, in percent with two digits."""
    return f"{float(f'{100 * math.exp(score):.2g}'):g} %"


def write_shaded(out: Terminal, pieces: Iterable[ScoredPiece], vocabulary: Vocabulary) -> None:
    """Write the text shaded by surprise, below a legend."""
    out.write(shades.surprise_legend().encode())
    decoder = Characters(vocabulary)
    for piece in pieces:
        for symbol, score in zip(piece.ids.tolist(), piece.log_probabilities.tolist(), strict=True):
            for character, surprise in decoder.add(symbol, score):
                out.write(shades.surprising(character, surprise).encode("utf-8", "replace"))
        out.flush()


class Characters:
    """Joins the bytes of a character at byte level; at character level each symbol is a character."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary, self._bits = vocabulary, 0.0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, symbol: int, score: float) -> Iterator[tuple[str, float]]:
        """Yields the characters that a symbol completes, each with the surprise of its bytes in bits."""
        self._bits += bits(score)
        if not self._vocabulary.byte_level:
            characters = self._vocabulary.symbols[symbol]
        else:
            characters = self._decoder.decode(self._vocabulary.decode_bytes([symbol]))
        for character in characters:
            yield character, self._bits
            self._bits = 0.0


def write_places(out: Terminal, places: Sequence[Place], vocabulary: Vocabulary, as_json: bool) -> None:
    """Write a row for each place, the most surprising first, with its context and what was expected."""
    symbols = Symbols(vocabulary)
    rows = [["BITS", "LINE", "COLUMN", "CHARACTER", "EXPECTED", "CONTEXT"]]
    for place in places:
        others = list(zip(place.others.tolist(), place.other_scores.tolist(), strict=True))
        before, after = vocabulary.decode(place.before), vocabulary.decode(place.after)
        if as_json:
            out.write(
                json_line(
                    {"bits": number(round(bits(-place.nats), 6)), "line": place.line, "column": place.column}
                    | symbols.fields(place.symbol)
                    | {"alternatives": alternatives(others, symbols), "before": before, "after": after}
                )
            )
            continue
        expected = ", ".join(f"{symbols.shown(other)} {percent(score)}" for other, score in others)
        context = f"{signs(before)}[{signs(vocabulary.decode([place.symbol]))}]{signs(after)}"
        cells = [f"{bits(-place.nats):.2f}", f"{place.line:,}", f"{place.column:,}"]
        rows.append([*cells, symbols.shown(place.symbol), expected, context])
    if not as_json:
        write_table(out, rows, right=(0, 1, 2))


def signs(text: str) -> str:
    """A text on one line: newlines as signs, control characters as pictures."""
    return "".join(shades.NEWLINE if character == "\n" else shades.visible(character) for character in text)
