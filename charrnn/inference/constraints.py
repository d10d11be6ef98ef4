"""Constraints on a text: which characters are allowed next, and when the text ends.

V: vocabulary
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import ConfigError, UnknownCharacterError
from charrnn.inference.network import Mask
from charrnn.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from charrnn.inference.pattern import Match, Pattern

Stop = tuple[int, ...]
"""A stop string, as ids."""


@dataclass(frozen=True)
class Constraints:
    """The constraints that each text has to satisfy.

    symbols     V
    length      maximum number of characters; 0 is no maximum
    min_length  number of characters before which no stop string, match or END can end the text
    allowed     (V,) the characters that may be generated; None is all
    stops       stop strings: the text ends before the first one
    keep_stop   whether the stop string is included in the text
    no_repeat   n: no sequence of n characters occurs twice; 0 is off
    window      number of characters in ``ConstrainedText.recent_mask``
    pattern     an expression that the whole text has to match
    end         the id that ends a document; None for a model of one endless text
    """

    symbols: int
    length: int = 0
    min_length: int = 0
    allowed: Mask | None = None
    stops: tuple[Stop, ...] = ()
    keep_stop: bool = False
    no_repeat: int = 0
    window: int = 0
    pattern: Pattern | None = None
    end: int | None = None

    def __post_init__(self) -> None:
        if self.allowed is not None and not self.allowed[: self.end].any():
            raise ConfigError("--allow and --ban exclude every character of the model")
        if not all(self.stops):
            raise ConfigError("--stop '': must have at least one character")
        if self.length and self.min_length > self.length:
            raise ConfigError(f"--min-length {self.min_length}: must be at most --length {self.length}")
        if self.no_repeat and not self.length:
            raise ConfigError("--no-repeat keeps the whole text in memory: give a --length above 0")

    @classmethod
    def from_strings(
        cls,
        vocabulary: Vocabulary,
        allow: str | None,
        ban: str | None,
        stops: Sequence[str],
        match: str | None,
        note: Callable[[str], object],
        **settings: Any,
    ) -> Self:
        """The constraints in strings: characters, stop strings, an expression. ``settings`` are other fields.

        ``note`` gets a line for characters without effect. Raises ConfigError.
        """
        allowed = _allowed_characters(vocabulary, allow, ban, note)
        pattern = None
        if match is not None:
            from charrnn.inference.pattern import Pattern

            pattern = Pattern(
                match, vocabulary, allowed, settings.get("min_length", 0), settings.get("length", 0)
            )
        stop_ids = tuple(_stop_ids(vocabulary, string) for string in stops)
        return cls(
            len(vocabulary),
            allowed=allowed,
            stops=stop_ids,
            pattern=pattern,
            end=vocabulary.boundary,
            **settings,
        )

    @property
    def ends(self) -> bool:
        """Whether anything can end a text."""
        return bool(self.length or self.stops or self.pattern) or self.end is not None

    @cached_property
    def unconstrained(self) -> bool:
        """Whether every character is allowed at every position."""
        return self.allowed is None and not (
            self.no_repeat or self.pattern or (self.min_length and (self.stops or self.end is not None))
        )

    def start(self, prompt: Sequence[int] | NDArray[np.integer] = ()) -> ConstrainedText:
        """An empty text that follows ``prompt`` (N,)."""
        return ConstrainedText(self, prompt)


class ConstrainedText:
    """The constraints applied to one text as it grows.

    A character is settled when it is known to belong to the text. It is withheld as long as it may be the
    beginning of a stop string.

    ended  None as long as the text grows, then "length", "stop", "match" or "end"
    count  number of characters drawn
    """

    def __init__(self, constraints: Constraints, prompt: Sequence[int] | NDArray[np.integer]) -> None:
        self.constraints = constraints
        self.ended: str | None = None
        self.count = 0
        self._withheld: tuple[int, ...] = ()
        window = constraints.window
        self._recent = deque(prompt[-window:] if window else (), window)
        self._last: tuple[int, ...] = ()  # the last n - 1 characters
        self._followers: dict[tuple[int, ...], frozenset[int]] = {}  # of each n - 1 characters
        self._match: Match | None = constraints.pattern.start() if constraints.pattern else None
        if constraints.end is None and self._match_is_complete():
            self.ended = "match"

    @property
    def ending_mask(self) -> Mask | None:
        """(V,) the characters that end the match without belonging to it; None where no character does.

        A document that matches ends with END alone.
        """
        matches = self._match is not None and self._match.matches and self.constraints.end is None
        return ~self._match.allowed if self._match and matches else None

    def allowed_mask(self) -> Mask:
        """(V,) the characters that may be drawn."""
        constraints, allowed = self.constraints, self.constraints.allowed
        mask = np.ones(constraints.symbols, bool) if allowed is None else allowed.copy()
        if self._match is not None and (constraints.end is not None or not self._match.matches):
            mask &= self._match.allowed
        if constraints.end is not None:
            matches = self._match is None or self._match.matches
            mask[constraints.end] = matches and self.count >= constraints.min_length
        if constraints.no_repeat:
            mask[list(self._followers.get(self._last, ()))] = False
        for stop in constraints.stops:
            too_early = self.count + 1 - len(stop) < constraints.min_length
            if too_early and _ends_with(self._withheld, stop[:-1]):
                mask[stop[-1]] = False
        return mask

    def recent_mask(self) -> Mask:
        """(V,) the characters among the last ``window`` of the prompt and the text."""
        mask = np.zeros(self.constraints.symbols, bool)
        mask[list(self._recent)] = True
        if self.constraints.end is not None:
            mask[self.constraints.end] = False  # START has the id of END, and is no character
        return mask

    def add(self, symbol: int) -> int:
        """Add a drawn character -> how many of the unsettled characters, the oldest first, are now settled.

        If the text has ended, the other unsettled characters do not belong to it.
        """
        if symbol == self.constraints.end:
            self.ended = "end"
            return len(self._withheld)
        if self._match is not None:
            if not self._match.allowed[symbol]:  # it ends the match, and does not belong to the text
                self.ended = "match"
                return len(self._withheld)
            self._match.add(symbol)
        self.count += 1
        self._recent.append(symbol)
        if size := self.constraints.no_repeat:
            self._followers[self._last] = self._followers.get(self._last, frozenset()) | {symbol}
            self._last = (*self._last, symbol)[-(size - 1) :] if size > 1 else ()
        settled = self._find_stop(symbol) if self.constraints.stops else 1
        if self.ended:
            return settled
        is_longest = self.count == self.constraints.length
        if (is_longest or self.constraints.end is None) and self._match_is_complete():
            self.ended = "match"
        elif is_longest:
            self.ended = "length"
        return settled + len(self._withheld) if self.ended else settled

    def _find_stop(self, symbol: int) -> int:
        """Look for a stop string that ``symbol`` completes or continues -> as ``add``."""
        stops = self.constraints.stops
        unsettled = (*self._withheld, symbol)
        complete = max((len(stop) for stop in stops if _ends_with(unsettled, stop)), default=0)
        if complete:
            self.ended = "stop"
            return len(unsettled) - (0 if self.constraints.keep_stop else complete)
        prefix_length = max(
            size
            for stop in stops
            for size in range(min(len(stop), len(unsettled) + 1))
            if _ends_with(unsettled, stop[:size])
        )
        settled = len(unsettled) - prefix_length
        self._withheld = unsettled[settled:]
        return settled

    def _match_is_complete(self) -> bool:
        """Whether the text matches, and no allowed character continues the match."""
        match = self._match
        return match is not None and match.matches and not (match.allowed & self.allowed_mask()).any()

    def copy(self) -> ConstrainedText:
        """An independent copy."""
        twin = copy.copy(self)
        twin._recent, twin._followers = self._recent.copy(), self._followers.copy()
        twin._match = self._match and self._match.copy()
        return twin


def allowed_masks(texts: Sequence[ConstrainedText]) -> Mask | None:
    """(B, V) the allowed mask of each text; None if their constraints allow every character."""
    if texts[0].constraints.unconstrained:
        return None
    return np.stack([text.allowed_mask() for text in texts])


def recent_masks(texts: Sequence[ConstrainedText]) -> Mask | None:
    """(B, V) the recent mask of each text; None if their constraints have no window."""
    if not texts[0].constraints.window:
        return None
    return np.stack([text.recent_mask() for text in texts])


def _allowed_characters(
    vocabulary: Vocabulary, allow: str | None, ban: str | None, note: Callable[[str], object]
) -> Mask | None:
    """(V,) the characters that --allow and --ban leave; None where they leave all. Raises ConfigError."""
    allowed = np.ones(len(vocabulary), bool)
    characters_only = allowed[: vocabulary.boundary]
    for name, characters in (("--allow", allow), ("--ban", ban)):
        if characters is None:
            continue
        if vocabulary.byte_level and not characters.isascii():
            raise ConfigError(f"{name} {characters}: a byte-level model accepts only ASCII characters here")
        if unknown := "".join(dict.fromkeys(c for c in characters if c not in vocabulary.symbols)):
            note(f"{name}: {unknown!r} has no effect: not in the model's vocabulary")
        listed = np.array([symbol in characters for symbol in vocabulary.symbols])
        characters_only &= listed if name == "--allow" else ~listed
    return None if allowed.all() else allowed


def _stop_ids(vocabulary: Vocabulary, string: str) -> Stop:
    """A stop string as ids. Raises ConfigError."""
    try:
        return tuple(vocabulary.encode(string).tolist())
    except UnknownCharacterError as error:
        raise ConfigError(f"--stop {string!r} can never be generated: {error}") from error


def _ends_with(text: Stop, end: Stop) -> bool:
    return not end or text[-len(end) :] == end
