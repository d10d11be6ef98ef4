"""Replace the characters of a text that a model does not know."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator

from charrnn.errors import UnknownCharacterError
from charrnn.text.vocabulary import Vocabulary, describe

LOOK_ALIKE = str.maketrans(
    {**dict.fromkeys("«»″", '"'), **dict.fromkeys("‹›´", "'"), "×": "x", "ı": "i", "\t": " ", "\r": "\n"}
)
"""Replacements that resemble a character more than its transliteration does (anyascii writes « as <<)."""


class Replacement:
    """Replaces unknown characters in texts for one vocabulary.

    replaced  the unknown characters of the texts so far, each with its replacement ("" where it was left out)
    counts    how often each of them occurred
    """

    def __init__(self, vocabulary: Vocabulary, skip: bool = False) -> None:
        """``skip``: leave unknown characters out, instead of replacing them by the nearest known ones."""
        self._vocabulary, self._known, self._skip = vocabulary, set(vocabulary.symbols), skip
        self.replaced: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    def knows(self, text: str) -> bool:
        """Whether the vocabulary holds all characters of a text (at byte level: all their bytes)."""
        try:
            return self._known.issuperset(self._vocabulary.units(text))
        except UnknownCharacterError:  # a surrogate has no bytes
            return False

    def __call__(self, text: str) -> str:
        """The text, its unknown characters replaced.

        Raises UnknownCharacterError for a character without a known replacement.
        """
        if self.knows(text):
            return text
        if not self._skip:
            text = unicodedata.normalize("NFC", text)
            if not self.knows("\r"):
                text = text.replace("\r\n", "\n")
        return "".join(map(self._known_character, text))

    def _known_character(self, character: str) -> str:
        if self.knows(character):
            return character
        if character not in self.replaced:
            self.replaced[character] = "" if self._skip else self._nearest(character)
        self.counts[character] += 1
        return self.replaced[character]

    def _nearest(self, character: str) -> str:
        for candidate in _candidates(character):
            if candidate and self.knows(candidate):
                return candidate
        raise UnknownCharacterError(
            f"{describe(character)} resembles none of the model's {len(self._known)} symbols;"
            " --unknown skip leaves it out"
        )


def _candidates(character: str) -> Iterator[str]:
    """Replacements for a character, the nearest first.

    Its compatibility form and its look-alike, then the character without accents, then its
    transliteration to ASCII; of each also the other cases. Some may be empty.
    """
    compatible = unicodedata.normalize("NFKC", character)
    yield from _with_cases(compatible, character.translate(LOOK_ALIKE), compatible.translate(LOOK_ALIKE))

    decomposed = unicodedata.normalize("NFKD", character)
    yield from _with_cases("".join(part for part in decomposed if not unicodedata.combining(part)))

    yield from _with_cases(_transliterated(character))


def _with_cases(*forms: str) -> Iterator[str]:
    """The forms, then their other cases; casefold makes "ss" of "ß"."""
    yield from forms
    for form in forms:
        yield from (form.lower(), form.casefold(), form.upper())


def _transliterated(character: str) -> str:
    """A character in ASCII, as "Shch" for "Щ"; "" for an emoji, of which only a name is known."""
    from anyascii import anyascii

    ascii_text = anyascii(character)
    return "" if len(ascii_text) > 2 and ascii_text[0] == ascii_text[-1] == ":" else ascii_text
