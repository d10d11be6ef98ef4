"""Text for a model that does not know all of its characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from charrnn.errors import UnknownCharacterError
from charrnn.text.vocabulary import Vocabulary, describe

ALIKE = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u2039\u203a\u00b4\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        "\u2022": "*",
        "\u00d7": "x",
        "\t": " ",
        "\r": "\n",
        "\u00df": "ss",
        "\u00e6": "ae",
        "\u00c6": "AE",
        "\u0153": "oe",
        "\u0152": "OE",
        "\u00f8": "o",
        "\u00d8": "O",
        "\u0142": "l",
        "\u0141": "L",
        "\u0131": "i",
        "\u00f0": "d",
        "\u00fe": "th",
    }
)
"""What people write for each other and Unicode does not call compatible."""


class Replacement:
    """Text in the characters that a model knows.

    replaced  each character that was not known, and what is read for it
    """

    def __init__(self, vocabulary: Vocabulary, skip: bool = False) -> None:
        """``skip`` leaves out what is not known; else the nearest that is known stands for it."""
        self._known = set(vocabulary.symbols)
        self._byte_level, self._skip = vocabulary.byte_level, skip
        self.replaced: dict[str, str] = {}

    def knows(self, text: str) -> bool:
        """Whether the model knows all characters of a text (at byte level, all their bytes)."""
        units = text.encode("utf-8", "surrogateescape").decode("latin-1") if self._byte_level else text
        return self._known.issuperset(units)

    def __call__(self, text: str) -> str:
        """The text as the model can read it.

        The nearest is found by composed form, compatibility form, likeness, case and accents, in
        this order. Raises UnknownCharacterError for a character that nothing known is near to.
        """
        if self.knows(text):
            return text
        if not self._skip:
            text = unicodedata.normalize("NFC", text)
            if not self.knows("\r"):
                text = text.replace("\r\n", "\n")
        return "".join(map(self._one, text))

    def _one(self, character: str) -> str:
        if self.knows(character):
            return character
        if character not in self.replaced:
            found = "" if self._skip else next(filter(self.knows, _near(character)), None)
            if found is None:
                raise UnknownCharacterError(
                    f"{describe(character)} is near to none of the model's {len(self._known)} symbols:"
                    " --unknown skip leaves it out"
                )
            self.replaced[character] = found
        return self.replaced[character]


def _near(character: str) -> Iterator[str]:
    """What could stand for a character, the nearest first; nothing that is empty."""
    compatible = unicodedata.normalize("NFKC", character)
    bare = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
    for forms in (
        [character, compatible, character.translate(ALIKE), compatible.translate(ALIKE)],
        [bare, bare.translate(ALIKE)],
    ):
        yield from filter(None, forms)
        for form in forms:
            yield from filter(None, (form.swapcase(), form.lower(), form.upper(), form.casefold()))
