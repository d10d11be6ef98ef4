"""Concepts: what can be read off a text at each character, to compare units with.

A label describes the text up to and with its character, as a unit's value does. The length of a line, its
indentation, a quotation in single quotes and the next character also depend on what follows.

N: characters of a text   C: concepts
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from charrnn.errors import ConfigError, did_you_mean
from charrnn.inference.network import Ids
from charrnn.inspection.concept_table import CONCEPTS, Concept
from charrnn.inspection.syntax import Syntax, SyntaxLabels
from charrnn.text.vocabulary import Vocabulary, code_points, have_property

__all__ = ["CONCEPTS", "Concept", "ConceptReader", "LabelStream", "labels", "limits"]

Labels = NDArray[np.float32]

BLOCK = 65_536
"""Characters that are labelled at once. A block ends with a paragraph or a line, if it has one."""
MOST_SINCE_NEWLINE = 200
"""The largest value of the concept since-newline: lines of prose can be whole paragraphs."""
TAB = 8
"""Columns to the next tab stop."""
SECONDS = 5.0
"""Time that a regular expression may take for a block."""


class _Block:
    """Some lines of a text, and the character after them ("" at the end of the text)."""

    def __init__(self, text: str, after: str, line_start: bool, since_newline: int, syntax: Syntax) -> None:
        """Of the text before the block: whether it ended with a newline, and how far back its last one is."""
        self.text, self.line_start, self.since_newline = text, line_start, since_newline
        self._syntax = syntax
        self._codes = code_points(text + after)

    @property
    def codes(self) -> NDArray[np.uint32]:
        return self._codes[: len(self.text)]

    @cached_property
    def syntax(self) -> SyntaxLabels:
        return self._syntax.read(self.text)

    @cached_property
    def line_starts(self) -> NDArray[np.intp]:
        """The positions of the first characters of the lines; 0 also where a line began before the block."""
        ends = np.flatnonzero(self.codes == 10) + 1
        return np.concatenate([[0], ends[ends < len(self.text)]])

    @cached_property
    def line_lengths(self) -> NDArray[np.intp]:
        result: NDArray[np.intp] = np.diff(self.line_starts, append=len(self.text))
        return result

    def lines(self, values: NDArray[Any]) -> NDArray[Any]:
        """A value for each line -> the value of the line of each character."""
        result: NDArray[Any] = np.repeat(values, self.line_lengths)
        return result

    def is_in(self, holds: Callable[[str], bool], ahead: int = 0) -> NDArray[np.bool_]:
        """Whether each character, or the one ``ahead`` of it, has a property; False behind the text."""
        flags = have_property(self._codes, holds)
        return np.append(flags, False)[ahead : ahead + len(self.text)]


def _is_punctuation(character: str) -> bool:
    return not (character.isalnum() or character.isspace())


def _is_space(character: str) -> bool:
    return character.isspace() and character != "\n"


def _indentation(block: _Block) -> NDArray[Any]:
    lines = block.text.split("\n")[: len(block.line_starts)]
    widths = [line[: len(line) - len(line.lstrip(" \t"))].expandtabs(TAB) for line in lines]
    return block.lines(np.array([len(width) for width in widths]))


def _since_start(block: _Block) -> NDArray[Any]:
    """(N,) the number of characters before each in its line, as far as the line is in the block."""
    result: NDArray[np.intp] = np.arange(len(block.text)) - block.lines(block.line_starts)
    return result


def _since_newline(block: _Block) -> NDArray[Any]:
    """0 at a newline, 1 at the first character after it."""
    result: NDArray[Any] = _since_start(block) + 1
    result[: block.line_lengths[0]] += block.since_newline
    result[block.codes == 10] = 0
    return result.clip(max=MOST_SINCE_NEWLINE)


def _line_start(block: _Block) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = _since_start(block) == 0
    result[0] = block.line_start
    return result


def _in_word(block: _Block) -> NDArray[np.bool_]:
    """Letters, digits and _, and an apostrophe or hyphen between two of them."""
    inside = block.is_in(lambda c: c.isalnum() or c == "_")
    joins = block.is_in(lambda c: c in "'’-")
    after = block.is_in(lambda c: c.isalnum() or c == "_", ahead=1)
    before = np.append(False, inside[:-1])
    result: NDArray[np.bool_] = inside | (joins & before & after)
    return result


_LABELS: Mapping[str, Callable[[_Block], NDArray[Any]]] = {
    "quotes": lambda block: block.syntax.quotes,
    "comments": lambda block: block.syntax.comments,
    "brackets": lambda block: block.syntax.brackets,
    "indentation": _indentation,
    "line-position": lambda block: (_since_start(block) + 1) / block.lines(block.line_lengths),
    "since-newline": _since_newline,
    "word": _in_word,
    "capital": lambda block: block.is_in(str.isupper),
    "digit": lambda block: block.is_in(str.isdigit),
    "line-start": _line_start,
    "next-space": lambda block: block.is_in(_is_space, ahead=1),
    "next-newline": lambda block: block.is_in("\n".__eq__, ahead=1),
    "next-letter": lambda block: block.is_in(str.isalpha, ahead=1),
    "next-capital": lambda block: block.is_in(str.isupper, ahead=1),
    "next-digit": lambda block: block.is_in(str.isdigit, ahead=1),
    "next-punctuation": lambda block: block.is_in(_is_punctuation, ahead=1),
}
"""The values (N,) of each concept."""


class _Expression:
    """On inside a match of a regular expression, or inside its first named group. ^ and $ match at lines."""

    def __init__(self, expression: str) -> None:
        """Raises ConfigError for an invalid expression."""
        is_plain = expression.isprintable() and expression not in _LABELS  # no concept has its name
        self.shown = expression if is_plain else repr(expression)
        if not expression:
            raise ConfigError("--find-regex: must not be empty: an empty match marks no characters")
        try:
            self._compiled = regex.compile(expression, regex.MULTILINE)
        except regex.error as error:
            raise ConfigError(f"--find-regex {self.shown}: must be a regular expression: {error}") from error
        self._group = min(self._compiled.groupindex.values(), default=0)

    def __call__(self, block: _Block) -> NDArray[Any]:
        result = np.zeros(len(block.text), bool)
        try:
            for match in self._compiled.finditer(block.text, timeout=SECONDS):
                start, stop = match.span(self._group)
                result[max(start, 0) : max(stop, 0)] = True
        except TimeoutError:
            raise ConfigError(
                f"--find-regex {self.shown}: takes more than {SECONDS:g} s for {len(block.text):,}"
                " characters; avoid repeats that match the same text in many ways, as (a|aa)+"
            ) from None
        return result


class ConceptReader:
    """Labels of a text that comes in blocks of any size; the labels do not depend on the blocks.

    concepts  (C,) the concepts with a name, then one for each expression
    """

    def __init__(self, names: Sequence[str] | None, expressions: Sequence[str], byte_level: bool) -> None:
        """``names`` of None is all. Raises ConfigError for an unknown name or an invalid expression."""
        known = {concept.name: concept for concept in CONCEPTS}
        for name in names or ():
            if name not in known:
                similar = did_you_mean(name, known)
                raise ConfigError(f"--concept {name}: must be one of {', '.join(known)}{similar}")
        named = [known[name] for name in dict.fromkeys(known if names is None else names)]
        patterns = [_Expression(expression) for expression in dict.fromkeys(expressions)]
        self.concepts = (*named, *(Concept(pattern.shown, "inside a match") for pattern in patterns))
        self._columns: list[Callable[[_Block], NDArray[Any]]] = [
            *(_LABELS[concept.name] for concept in named),
            *patterns,
        ]
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape") if byte_level else None
        self._text = ""  # not labelled yet
        self._line_start, self._since_newline, self._syntax = True, 0, Syntax()

    def read(self, units: str, last: bool) -> Labels:
        """(n, C) the next labels: the beginning of the text that has been read and not been labelled.

        Units are a vocabulary's symbols; at byte level, a character's labels are repeated for each byte.
        With ``last``, which ends the text, all labels are returned.
        """
        if self._decoder:
            units = self._decoder.decode(units.encode("latin-1"), last)
        text = self._text + units
        blocks, start = [np.zeros((0, len(self.concepts)), np.float32)], 0
        while len(text) - start > (0 if last else BLOCK):
            stop = _end_of_block(text, start)
            blocks.append(self._label(text[start:stop], text[stop : stop + 1]))
            start = stop
        self._text = text[start:]
        return np.concatenate(blocks)

    def _label(self, text: str, after: str) -> Labels:
        """(n, C) labels of the symbols of one block."""
        block = _Block(text, after, self._line_start, self._since_newline, self._syntax)
        result = np.empty((len(text), len(self._columns)), np.float32)
        for index, column in enumerate(self._columns):
            result[:, index] = column(block)
        self._line_start = text[-1] == "\n"
        newline = text.rfind("\n")
        self._since_newline = len(text) - 1 - newline + (self._since_newline if newline < 0 else 0)
        return np.repeat(result, _byte_counts(block.codes), 0) if self._decoder else result


def _end_of_block(text: str, start: int) -> int:
    """Where the block that begins at ``start`` ends: after a blank line, a line, or BLOCK characters."""
    stop = start + BLOCK
    if stop >= len(text):
        return len(text)
    for mark in ("\n\n", "\n"):
        if (position := text.rfind(mark, start, stop)) >= 0:
            return position + len(mark)
    return stop


def _byte_counts(codes: NDArray[np.uint32]) -> NDArray[np.intp]:
    """(N,) the number of bytes of each character; a surrogate stands for one byte that is not UTF-8."""
    counts: NDArray[np.intp] = np.searchsorted([0x80, 0x800, 0x10000], codes, side="right") + 1
    return np.where((codes >= 0xDC80) & (codes <= 0xDCFF), 1, counts)


class LabelStream:
    """The labels of a text's ids (N,), in the order in which the model reads them.

    For a backward model, all are made at once.
    """

    def __init__(self, vocabulary: Vocabulary, ids: Ids, reader: ConceptReader) -> None:
        self._codes, self._ids, self._reader = (
            code_points(vocabulary.symbols),
            vocabulary.reversed_if_backward(ids),
            reader,
        )
        self._position = 0  # in the ids that were read
        self._ready: Labels = np.zeros((0, len(reader.concepts)), np.float32)
        if vocabulary.backward:
            self._ready = vocabulary.reversed_if_backward(self.take(len(ids)))

    def take(self, count: int) -> Labels:
        """(count, C) the next labels; fewer at the end of the text."""
        parts, missing = [self._ready], count - len(self._ready)
        while missing > 0 and self._position < len(self._ids):
            ids = self._ids[self._position : self._position + BLOCK]
            self._position += len(ids)
            units = self._codes[ids].tobytes().decode("utf-32-le", "surrogatepass")
            parts.append(self._reader.read(units, self._position == len(self._ids)))
            missing -= len(parts[-1])
        ready = np.concatenate(parts)
        self._ready = ready[count:]
        return ready[:count]


def labels(vocabulary: Vocabulary, ids: Ids, reader: ConceptReader) -> Labels:
    """(N, C) the labels of a whole text (N,)."""
    return LabelStream(vocabulary, ids, reader).take(len(ids))


def positions_inside(vocabulary: Vocabulary, ids: Ids, reader: ConceptReader) -> NDArray[np.bool_]:
    """(N, C) whether each symbol of a text (N,) is inside each concept, as ``limits`` says.

    Only the labels that are numbers are kept, which need their mean: all labels take much more memory.
    """
    is_number = np.array([concept.number for concept in reader.concepts], bool)
    inside = np.empty((len(ids), len(is_number)), bool)
    numbers = np.empty((len(ids), int(is_number.sum())), np.float32)
    stream = LabelStream(vocabulary, ids, reader)
    for start in range(0, len(ids), BLOCK):
        part, labels = slice(start, start + BLOCK), stream.take(BLOCK)
        inside[part] = labels > 0.5
        numbers[part] = labels[:, is_number]
    inside[:, is_number] = numbers > numbers.mean(0, dtype=np.float64)
    return inside


def limits(labels: Labels, concepts: Sequence[Concept]) -> NDArray[np.float64]:
    """(N, C) labels -> (C,) a concept is on where its label is larger: a number's mean, otherwise 0.5."""
    numbers = [concept.number for concept in concepts]
    return np.where(numbers, labels.mean(0, dtype=np.float64), 0.5)
