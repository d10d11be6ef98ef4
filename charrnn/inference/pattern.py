"""Text that matches a regular expression, character by character, by llguidance's lazy automaton.

V: vocabulary
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray

from charrnn.errors import ConfigError
from charrnn.inference.network import Mask
from charrnn.text.vocabulary import Vocabulary, code_points

LONGEST = 1_000_000
"""Characters from which on a length is not followed: the automaton would be larger than the text."""


class _Units:
    """A vocabulary as the library wants one: a row of tokens, here the units, and an end of text."""

    bos_token_id = None

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.eos_token_id = len(vocabulary)
        self.special_token_ids = [len(vocabulary)]
        # The byte 0xFF marks the library's own tokens; no UTF-8 holds it.
        units = [vocabulary.decode_bytes([id]) for id in range(len(vocabulary))]
        self.tokens = [b"" if unit == b"\xff" else unit for unit in units] + [b"\xff<end>"]

    def __call__(self, text: bytes) -> list[int]:
        """What is certain to come, as ids."""
        units = text.decode("latin-1" if self.vocabulary.byte_level else "utf-8", "ignore")
        return [id for id in map(self.vocabulary.symbols.find, units) if id >= 0]


class Pattern:
    """All texts of some characters and some lengths that match an expression as a whole.

    The syntax is that of Rust's regex crate: no look-around, no back-references; ``.`` is all but
    a newline, ``(?i)`` and ``(?s)`` work, classes know Unicode.
    """

    def __init__(
        self,
        expression: str,
        vocabulary: Vocabulary,
        allowed: Mask | None = None,
        least: int = 0,
        most: int = 0,
    ) -> None:
        """``allowed`` (V,): what may come at all; lengths in symbols, ``most`` 0 is without end.

        At byte level as many characters may come as are sure to fit into ``most`` bytes.
        Raises ConfigError for an expression that is none, or that no such text matches.
        """
        self.expression = expression if expression.isprintable() else repr(expression)  # as messages show it
        self.size = len(vocabulary)
        known = _known(vocabulary, allowed)
        if not len(known):
            raise ConfigError(f"--match {self.expression}: no character may come")
        characters = "".join(_ranges(known))
        self._tokenizer = LLTokenizer(TokenizerWrapper(_Units(vocabulary)), slices=[])
        widest = len(chr(known[-1]).encode()) if vocabulary.byte_level else 1
        room = most // widest if most <= LONGEST else 0
        if most and most < widest:
            raise ConfigError(
                f"--match {self.expression}: --length {most} is short: a character has up to {widest} bytes"
            )
        least = min(least, room or LONGEST)
        # Both at once: so nothing is begun that these characters, or this length, cannot finish.
        length = f"{{{least},{room or ''}}}"
        self._grammar = f"start: MATCH\nMATCH: /{_literal(expression)}/ & /[{characters}]{length}/\n"
        alone = LLMatcher(self._tokenizer, f"start: /{_literal(expression)}/\n", log_level=0)
        if alone.is_error() and "NoExtension" not in alone.get_error():
            raise ConfigError(f"--match {self.expression}: not an expression: {_reason(alone.get_error())}")
        first = self.start()
        if not first.matches and not first.allowed.any():
            limits = [f"at least {least} of them (--min-length)"] if least else []
            if room:
                each = f", of {widest} bytes each" if widest > 1 else ""
                limits.append(f"at most {room} of them (--length {most}{each})")
            which = f", {' and '.join(limits)}," if limits else ""
            raise ConfigError(
                f"--match {self.expression}: no text of the characters that may come{which} matches"
            )

    def start(self) -> Match:
        """Nothing written yet."""
        return Match(self, LLMatcher(self._tokenizer, self._grammar, log_level=0))


class Match:
    """How far a text has matched.

    allowed (V,) the characters after which it can still match
    matches whether it matches as it is
    """

    def __init__(self, pattern: Pattern, matcher: LLMatcher) -> None:
        self._pattern, self._matcher = pattern, matcher
        self._look()

    def _look(self) -> None:
        size = self._pattern.size
        self.matches = self._matcher.is_accepting()
        self.allowed: Mask = np.zeros(size, bool)
        if self._matcher.is_stopped() and not self._matcher.is_error():
            return
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if self._matcher.is_error():
            # A language without a text is an error to the library; what else goes wrong is its limits.
            if "NoExtension" not in (message := self._matcher.get_error()):
                raise ConfigError(
                    f"--match {self._pattern.expression}: too much to follow ({_reason(message)}):"
                    " a plainer expression or a shorter --length may do"
                )
            return
        self.allowed = np.unpackbits(bits, count=size, bitorder="little").astype(bool)

    def add(self, id: int) -> None:
        """One character more, one that may come."""
        self._matcher.consume_token(id)
        self._look()

    def fork(self) -> Match:
        """The same, to go on by itself."""
        twin = object.__new__(Match)
        twin._pattern, twin._matcher = self._pattern, self._matcher.deep_copy()
        twin.matches, twin.allowed = self.matches, self.allowed
        return twin


def _known(vocabulary: Vocabulary, allowed: Mask | None) -> NDArray[np.uint32]:
    """The code points of characters that may come, in order."""
    symbols = code_points(vocabulary.symbols)
    if allowed is not None:
        symbols = symbols[allowed]
    if vocabulary.byte_level:
        symbols = _of_bytes(symbols)
    return symbols[(symbols < 0xD800) | (symbols > 0xDFFF)]


def _ranges(codes: NDArray[np.uint32]) -> Iterator[str]:
    """Code points as ranges of a character class."""
    for run in np.split(codes, np.flatnonzero(np.diff(codes) != 1) + 1):
        yield f"\\x{{{run[0]:x}}}-\\x{{{run[-1]:x}}}"


def _of_bytes(known: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The code points whose bytes in UTF-8 are all known."""
    there = np.zeros(256, bool)
    there[known] = True
    codes = np.arange(0x110000, dtype=np.uint32)
    codes = codes[(codes < 0xD800) | (codes > 0xDFFF)]
    text = np.frombuffer(codes.tobytes().decode("utf-32-le").encode(), np.uint8)
    starts = np.flatnonzero((text & 0xC0) != 0x80)
    whole: NDArray[np.uint32] = codes[np.logical_and.reduceat(there[text], starts)]
    return whole


def _literal(expression: str) -> str:
    """An expression between slashes: slashes and line ends in it escaped, all else as it is.

    Nothing between them would begin a comment.
    """

    def escaped(found: re.Match[str]) -> str:
        return {"/": "\\/", "\n": "\\n", "\\\n": "\\n", "\r": "\\r"}.get(found[0], found[0])

    return re.sub(r"\\.|/|\n|\r", escaped, expression, flags=re.DOTALL) or "(?:)"


def _reason(message: str) -> str:
    """The library's message in a line."""
    found = re.search(
        r"^error: (.+)$|(lookarounds not supported yet|too many expressions[\w ]*)", message, re.M
    )
    return (found[1] or found[2]) if found else message.strip().splitlines()[0]
