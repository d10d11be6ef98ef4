"""The names of the concepts that units are compared with."""

from __future__ import annotations

from typing import NamedTuple


class Concept(NamedTuple):
    """A property of each character of a text.

    number  whether its values are numbers, such as a depth; otherwise they are 0 (off) and 1 (on)
    """

    name: str
    description: str
    number: bool = False


CONCEPTS = (
    Concept("quotes", "inside quotation marks"),
    Concept("comments", "inside a comment: after #, // or /*"),
    Concept("brackets", "number of open brackets", number=True),
    Concept("indentation", "columns of white space before the line", number=True),
    Concept("line-position", "share of the line that has been read", number=True),
    Concept("since-newline", "characters since the newline, at most 200", number=True),
    Concept("word", "part of a word"),
    Concept("capital", "a capital letter"),
    Concept("digit", "a digit"),
    Concept("line-start", "the first character of a line"),
    Concept("next-space", "a space or tab comes next"),
    Concept("next-newline", "a newline comes next"),
    Concept("next-letter", "a letter comes next"),
    Concept("next-capital", "a capital letter comes next"),
    Concept("next-digit", "a digit comes next"),
    Concept("next-punctuation", "another character comes next"),
)
"""All concepts that have a name; ``charrnn.inspection.concepts`` says exactly when each is on."""
