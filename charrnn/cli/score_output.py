"""How ``charrnn score`` writes what it has measured: totals, characters, shades, surprising places."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from charrnn.cli import shades
from charrnn.cli.table import RowWriter, probability, rounded, write_figures
from charrnn.cli.terminal import Terminal

if TYPE_CHECKING:
    from charrnn.inference.score import ScoredPiece
    from charrnn.text.vocabulary import Vocabulary

END = "END"
"""How the end of a document is shown. No character has this name."""
OTHERS = 3
"""Alternatives that are shown for a character."""


class Score(NamedTuple):
    """The score of a text: its characters, and minus their log-probability in nats."""

    characters: int = 0
    nats: float = 0.0

    @property
    def loss(self) -> float:
        """Nats per character; NaN for a text without characters."""
        return self.nats / self.characters if self.characters else math.nan

    @property
    def bpc(self) -> float:
        """Bits per character."""
        return self.loss / math.log(2)

    @property
    def perplexity(self) -> float:
        """Of a character."""
        try:
            return math.exp(self.loss)
        except OverflowError:
            return math.inf

    def figures(self) -> dict[str, float]:
        """The columns that all rows have; rounded, because batches of lines differ by rounding."""
        return {"characters": self.characters, "nats": rounded(self.nats), "bpc": rounded(self.bpc)}


def sum_of(scores: Sequence[Score]) -> Score:
    """The score of several texts together."""
    return Score(sum(score.characters for score in scores), math.fsum(score.nats for score in scores))


@dataclass
class Total:
    """The score of one text under one model, as it is read.

    baseline  that of an n-gram model on the same text, or that without adapting
    adapted   whether the model learned the text while it read
    shift     the nats that reading in pieces has added (--streams)
    """

    text: str
    model: str
    score: Score = field(default_factory=Score)
    baseline: Total | None = None
    shift: float | None = None
    adapted: bool = False

    def add(self, piece: ScoredPiece) -> None:
        """Count a piece."""
        nats = self.score.nats - float(piece.log_probabilities.sum())
        self.score = Score(self.score.characters + len(piece.ids), nats)

    def counted(self, pieces: Iterable[ScoredPiece]) -> Iterator[ScoredPiece]:
        """The same pieces, each counted before it is passed on."""
        for piece in pieces:
            self.add(piece)
            yield piece

    @property
    def shift_bpc(self) -> float:
        """What reading in pieces has added to the bits per character."""
        return Score(self.score.characters, self.shift or 0.0).bpc

    @property
    def sentence(self) -> str:
        """The score as a note says it."""
        score = self.score
        return (
            f"{score.characters:,} characters, {score.bpc:.4f} bits per character,"
            f" perplexity {score.perplexity:.4f}"
        )

    def row(self) -> dict[str, Any]:
        """The score as a row of a table."""
        score = self.score
        figures = {"loss": score.loss, "bpc": score.bpc, "perplexity": score.perplexity}
        return {"file": self.text, "model": self.model, **score._asdict(), **figures}

    def gain(self, plain: Total) -> dict[str, Any]:
        """How much lower the figures are than without adapting, as a row."""
        row, other = self.row(), plain.row()
        gains = {key: other[key] - row[key] for key in row if isinstance(row[key], float)}
        return row | {"model": "gain", "characters": None} | gains

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of a table: the score, that of the baseline, and the gain by adapting."""
        yield self.row()
        if self.baseline:
            label = "" if self.adapted else " (baseline)"
            yield self.baseline.row() | {"model": self.baseline.model + label}
            if self.adapted:
                yield self.gain(self.baseline)

    def record(self) -> dict[str, Any]:
        """The score as a JSON line."""
        fields = self.row()
        if self.shift is not None:
            fields["shift_bpc"] = self.shift_bpc
        if self.baseline:
            plain = self.baseline.row()
            del plain["file"]
            fields["plain" if self.adapted else "baseline"] = plain
            if self.adapted:
                fields["gain_bpc"] = self.gain(self.baseline)["bpc"]
        return fields


def write_totals(out: Terminal, totals: Sequence[Total], as_json: bool) -> None:
    """Write a row for each text and, for several, their total; or as many JSON lines."""
    if len(totals) > 1:
        totals = [*totals, _all(totals)]
    rows = [row for total in totals for row in ([total.record()] if as_json else total.rows())]
    write_figures(out, rows, as_json)


def _all(totals: Sequence[Total]) -> Total:
    """The total of several texts."""
    baselines = [total.baseline for total in totals if total.baseline]
    score = sum_of([total.score for total in totals])
    baseline = _all(baselines) if baselines else None
    return Total("total", totals[0].model, score, baseline, adapted=totals[0].adapted)


class Symbols:
    """The symbols of a vocabulary, as the outputs show them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.byte_level, self._symbols, self._end = (
            vocabulary.byte_level,
            vocabulary.symbols,
            vocabulary.boundary,
        )
        self.others = min(OTHERS, len(vocabulary) - 1)

    def _is_byte(self, symbol: str) -> bool:
        """Whether the symbol is a byte that is no character by itself."""
        return self.byte_level and ord(symbol) > 127

    def shown(self, symbol_id: int) -> str:
        """A symbol as a sign that can be seen: "⏎" for a newline, "END" for the end of a document."""
        if symbol_id == self._end:
            return END
        symbol = self._symbols[symbol_id]
        return f"0x{ord(symbol):02X}" if self._is_byte(symbol) else shades.sign(symbol)

    def fields(self, symbol_id: int) -> dict[str, object]:
        """A symbol as columns; at byte level also its byte, which a surrogate stands for above 127."""
        if symbol_id == self._end:
            return {"char": END, "byte": None} if self.byte_level else {"char": END}
        symbol = self._symbols[symbol_id]
        if not self.byte_level:
            return {"char": symbol}
        return {"char": chr(0xDC00 + ord(symbol)) if self._is_byte(symbol) else symbol, "byte": ord(symbol)}

    def listed(self, others: Iterable[tuple[int, float]]) -> str:
        """Other symbols and their log-probabilities, as a text."""
        return ", ".join(f"{self.shown(other)} {percent(score)}" for other, score in others)

    def alternatives(self, others: Iterable[tuple[int, float]]) -> list[dict[str, object]]:
        """Other symbols and their log-probabilities, as columns."""
        return [self.fields(other) | {"probability": probability(score)} for other, score in others]


def write_characters(
    out: Terminal, pieces: Iterable[ScoredPiece], vocabulary: Vocabulary, as_json: bool
) -> None:
    """Write a row for each character, with the alternatives."""
    symbols, writer = Symbols(vocabulary), RowWriter(out, as_json)
    for piece in pieces:
        for symbol, score, rank, others in character_rows(piece, symbols.others):
            figures = {"probability": probability(score), "bits": rounded(bits(score)), "rank": rank}
            alternatives = {"alternatives": symbols.alternatives(others)}
            writer.write(symbols.fields(symbol) | figures | alternatives)
        out.flush()  # the next piece may be long in coming


Character = tuple[int, float, int, list[tuple[int, float]]]
"""A character, its log-probability in nats, its rank, and alternatives with their log-probabilities."""


def character_rows(piece: ScoredPiece, others: int) -> Iterator[Character]:
    """The characters of a piece, each with so many alternatives."""
    import numpy as np

    ids = piece.others(others)
    scores = np.take_along_axis(piece.scores, ids, 1)
    columns = (piece.ids, piece.log_probabilities, piece.ranks, ids, scores)
    for symbol, score, rank, other_ids, other_scores in zip(*(c.tolist() for c in columns), strict=True):
        yield symbol, score, rank, list(zip(other_ids, other_scores, strict=True))


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
        if symbol == self._vocabulary.boundary:
            characters = self._decoder.decode(b"", final=True) + "\n"
        elif not self._vocabulary.byte_level:
            characters = self._vocabulary.symbols[symbol]
        else:
            characters = self._decoder.decode(self._vocabulary.decode_bytes([symbol]))
        for character in characters:
            yield character, self._bits
            self._bits = 0.0


def write_places(
    out: Terminal, pieces: Iterable[ScoredPiece], count: int, vocabulary: Vocabulary, as_json: bool
) -> None:
    """Write a row for each of the most surprising places, with its context and the alternatives."""
    from charrnn.inference.worst_places import worst_places

    symbols, rows = Symbols(vocabulary), []
    newline = vocabulary.symbols.find("\n") if vocabulary.boundary is None else vocabulary.boundary
    for place in worst_places(pieces, count, symbols.others, newline):
        others = list(zip(place.others.tolist(), place.other_scores.tolist(), strict=True))
        before, after = vocabulary.decode(place.before), vocabulary.decode(place.after)
        row: dict[str, Any] = {"bits": rounded(bits(-place.nats)), "line": place.line, "column": place.column}
        if as_json:
            row |= symbols.fields(place.symbol) | {"alternatives": symbols.alternatives(others)}
            row |= {"before": before, "after": after}
        else:
            row |= {"char": symbols.shown(place.symbol), "alternatives": symbols.listed(others)}
            char = signs(vocabulary.decode([place.symbol]))
            row |= {"context": f"{signs(before)}[{char}]{signs(after)}"}
        rows.append(row)
    write_figures(out, rows, as_json)


def signs(text: str) -> str:
    """A text on one line: newlines as signs, control characters as pictures."""
    return "".join(shades.NEWLINE if character == "\n" else shades.visible(character) for character in text)
