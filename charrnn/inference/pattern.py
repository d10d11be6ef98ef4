"""Regular expressions matched one character at a time, with llguidance's lazy automaton.

V: vocabulary
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator

import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray

from charrnn.errors import ConfigError
from charrnn.inference.network import Mask
from charrnn.text.vocabulary import Vocabulary, code_points

MAX_BOUND = 1_000_000
"""The largest length that the automaton counts; it treats a larger maximum as no maximum."""

CodePoints = NDArray[np.uint32]


class _Tokens:
    """A vocabulary in the form that llguidance expects: one token per symbol, and an end of text."""

    bos_token_id = None

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        count = len(vocabulary.symbols)
        self.eos_token_id = count
        self.special_token_ids = [count]
        # llguidance marks its own tokens with the byte 0xFF, which never occurs in UTF-8.
        symbols = [vocabulary.decode_bytes([symbol]) for symbol in range(count)]
        self.tokens = [b"" if symbol == b"\xff" else symbol for symbol in symbols] + [b"\xff<end>"]

    def __call__(self, text: bytes) -> list[int]:
        """A text as ids, without its unknown symbols."""
        units = text.decode("latin-1" if self.vocabulary.byte_level else "utf-8", "ignore")
        return [symbol for symbol in map(self.vocabulary.symbols.find, units) if symbol >= 0]


class Pattern:
    """A regular expression that a whole text has to match, within given characters and lengths.

    The syntax is that of Rust's regex crate: no look-around, no back-references; ``.`` matches any
    character but a newline, ``(?i)`` and ``(?s)`` work, character classes know Unicode.
    """

    def __init__(
        self,
        expression: str,
        vocabulary: Vocabulary,
        allowed: Mask | None = None,
        min_length: int = 0,
        max_length: int = 0,
    ) -> None:
        """Compile an expression.

        allowed     (V,) the characters that may be generated; None is all
        max_length  in symbols; 0 is no maximum. At byte level every character is assumed to need as many
                    bytes as the longest allowed one, so that the text always fits.

        Raises ConfigError for an invalid expression, and if no text can match.
        """
        self.expression = expression if expression.isprintable() else repr(expression)  # for messages
        if vocabulary.backward:
            raise ConfigError(
                f"--match {self.expression}: a text is matched from its beginning, and a backward model"
                " writes it from its end: leave it out; --stop and --allow work"
            )
        self.size, self.tokens = len(vocabulary), len(vocabulary.symbols)
        characters = _characters(vocabulary, allowed)
        if not len(characters):
            raise ConfigError(f"--match {self.expression}: --allow and --ban leave no character")
        widest = len(chr(characters[-1]).encode()) if vocabulary.byte_level else 1
        if max_length and max_length < widest:
            raise ConfigError(
                f"--match {self.expression}: --length {max_length} is too short:"
                f" a character has up to {widest} bytes"
            )
        longest = max_length // widest if max_length <= MAX_BOUND else 0
        shortest = min(min_length, longest or MAX_BOUND)
        # The intersection with the allowed characters and lengths: no beginning without an end is allowed.
        literal, bounds = _literal(expression), f"{{{shortest},{longest or ''}}}"
        self._grammar = f"start: MATCH\nMATCH: /{literal}/ & /[{''.join(_ranges(characters))}]{bounds}/\n"
        self._tokenizer = LLTokenizer(TokenizerWrapper(_Tokens(vocabulary)), slices=[])
        alone = LLMatcher(self._tokenizer, f"start: /{literal}/\n", log_level=0)
        if alone.is_error() and "NoExtension" not in alone.get_error():
            raise ConfigError(
                f"--match {self.expression}: must be a valid regular expression: {_reason(alone.get_error())}"
            )
        start = self.start()
        if not start.matches and not start.allowed.any():
            limits = [f"at least {shortest} (--min-length)"] if shortest else []
            if longest:
                bytes_each = f" bytes, up to {widest} per character" if widest > 1 else ""
                limits.append(f"at most {longest} (--length {max_length}{bytes_each})")
            lengths = f" with length {' and '.join(limits)}" if limits else ""
            raise ConfigError(
                f"--match {self.expression}: no text of the allowed characters{lengths} matches"
            )

    def start(self) -> Match:
        """The match of an empty text."""
        return Match(self, LLMatcher(self._tokenizer, self._grammar, log_level=0))


class Match:
    """The match of a text that grows.

    allowed  (V,) the characters after which the text can still match
    matches  whether the text matches as it is
    """

    def __init__(self, pattern: Pattern, matcher: LLMatcher) -> None:
        self._pattern, self._matcher = pattern, matcher
        self._update()

    def _update(self) -> None:
        size = self._pattern.size
        self.matches = self._matcher.is_accepting()
        self.allowed: Mask = np.zeros(size, bool)
        if self._matcher.is_stopped() and not self._matcher.is_error():
            return
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if not self._matcher.is_error():
            tokens = self._pattern.tokens
            self.allowed[:tokens] = np.unpackbits(bits, count=tokens, bitorder="little").astype(bool)
            return
        # llguidance also reports an expression that nothing matches as an error, "NoExtension".
        # All other errors are its limits.
        message = self._matcher.get_error()
        if "NoExtension" not in message:
            raise ConfigError(
                f"--match {self._pattern.expression}: the expression is too complex ({_reason(message)});"
                " try a simpler expression or a shorter --length"
            )

    def add(self, symbol: int) -> None:
        """Extend the text by an allowed character."""
        self._matcher.consume_token(symbol)
        self._update()

    def copy(self) -> Match:
        """An independent copy."""
        twin = copy.copy(self)
        twin._matcher = self._matcher.deep_copy()
        return twin


def _characters(vocabulary: Vocabulary, allowed: Mask | None) -> CodePoints:
    """The code points of the allowed characters, in order."""
    symbols = code_points(vocabulary.symbols)
    if allowed is not None:
        symbols = symbols[allowed[: len(symbols)]]
    return _characters_of_bytes(symbols) if vocabulary.byte_level else _without_surrogates(symbols)


def _without_surrogates(codes: CodePoints) -> CodePoints:
    return codes[(codes < 0xD800) | (codes > 0xDFFF)]


def _characters_of_bytes(known: CodePoints) -> CodePoints:
    """The code points whose UTF-8 bytes are all known."""
    is_known = np.zeros(256, bool)
    is_known[known] = True
    codes = _without_surrogates(np.arange(0x110000, dtype=np.uint32))
    text = np.frombuffer(codes.tobytes().decode("utf-32-le").encode(), np.uint8)
    starts = np.flatnonzero((text & 0xC0) != 0x80)
    result: CodePoints = codes[np.logical_and.reduceat(is_known[text], starts)]
    return result


def _ranges(codes: CodePoints) -> Iterator[str]:
    """Code points as the ranges of a character class."""
    for run in np.split(codes, np.flatnonzero(np.diff(codes) != 1) + 1):
        yield f"\\x{{{run[0]:x}}}-\\x{{{run[-1]:x}}}"


def _literal(expression: str) -> str:
    """An expression as the grammar writes it between slashes: slashes and line ends are escaped.

    An empty expression becomes an empty group, because ``//`` would begin a comment.
    """

    def escape(part: re.Match[str]) -> str:
        return {"/": "\\/", "\n": "\\n", "\\\n": "\\n", "\r": "\\r"}.get(part[0], part[0])

    return re.sub(r"\\.|/|\n|\r", escape, expression, flags=re.DOTALL) or "(?:)"


def _reason(message: str) -> str:
    """The reason in an error message of llguidance, in one line."""
    result = re.search(
        r"^error: (.+)$|(lookarounds not supported yet|too many expressions[\w ]*)", message, re.M
    )
    return (result[1] or result[2]) if result else message.strip().splitlines()[0]
