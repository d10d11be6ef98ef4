"""Concepts: what can be read off a text at each character, to compare units with.

N: characters of a text   C: concepts
"""

from __future__ import annotations

from typing import NamedTuple


class Concept(NamedTuple):
    """A property of each character of a text.

    number  whether its values are numbers, such as a depth; otherwise they are 0 (off) and 1 (on)
    """

    name: str
    description: str
    number: bool = False


CONCEPTS = (Concept("quotes", "inside quotation marks"),)
"""All concepts that have a name."""
