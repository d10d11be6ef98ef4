"""What may come next in one text, and when it is done: all of choosing that is not probability.

V: vocabulary
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import ConfigError
from charrnn.inference.network import Mask

if TYPE_CHECKING:
    from charrnn.inference.pattern import Match, Pattern

Stop = tuple[int, ...]


@dataclass(frozen=True)
class Constraints:
    """The rules of one text.

    symbols    V
    length     characters at most; 0 is without end
    least      characters before which no stop ends it
    allowed    (V,) what may come at all; None is all
    stops      strings that end it, as ids
    keep_stop  whether the stop that ends it belongs to it
    no_repeat  n: no n characters come twice; 0 is off
    window     characters that are ``ConstrainedText.recent``
    pattern    what it must match as a whole
    """

    symbols: int
    length: int = 0
    least: int = 0
    allowed: Mask | None = None
    stops: tuple[Stop, ...] = ()
    keep_stop: bool = False
    no_repeat: int = 0
    window: int = 0
    pattern: Pattern | None = None

    def __post_init__(self) -> None:
        if self.allowed is not None and not self.allowed.any():
            raise ConfigError("--allow and --ban leave no character of the model's to draw")
        if not all(self.stops):
            raise ConfigError("--stop '': a stop string has at least one character")
        if self.length and self.least > self.length:
            raise ConfigError(f"--min-length {self.least}: --length is {self.length}")
        if self.no_repeat and not self.length:
            raise ConfigError("--no-repeat remembers the whole text: give a --length")

    @property
    def ends(self) -> bool:
        """Whether anything can end the text."""
        return bool(self.length or self.stops or self.pattern)

    def start(self, before: Sequence[int] | NDArray[np.integer] = ()) -> ConstrainedText:
        """A text that begins; ``before`` (N,) is what is read ahead of it."""
        return ConstrainedText(self, [int(id) for id in before[-self.window :]] if self.window else ())


class ConstrainedText:
    """One text as it grows under its rules.

    ended    None while it goes on, then "length", "stop" or "match"
    count    characters drawn
    """

    def __init__(self, rules: Constraints, before: Iterable[int]) -> None:
        self.rules = rules
        self.ended: str | None = None
        self.count = 0
        self._held: tuple[int, ...] = ()  # drawn, and perhaps the beginning of a stop string
        self._recent = deque(before, rules.window) if rules.window else None
        self._last: tuple[int, ...] = ()  # the n - 1 characters drawn last
        self._seen: dict[tuple[int, ...], frozenset[int]] = {}  # n - 1 characters: what came after them
        self._match: Match | None = rules.pattern.start() if rules.pattern else None
        if self._matched():
            self.ended = "match"

    @property
    def unconstrained(self) -> bool:
        """Whether everything may come, whatever was written."""
        rules = self.rules
        return rules.allowed is None and not (rules.no_repeat or self._match or (rules.stops and rules.least))

    @property
    def matches(self) -> bool:
        """Whether drawing a character that ``goes_on`` does not hold ends a text that matches."""
        return self._match is not None and self._match.matches

    @property
    def continuation_mask(self) -> Mask | None:
        """(V,) the characters that go on with the match; None where there is nothing to match."""
        return None if self._match is None else self._match.allowed

    def allowed_mask(self) -> Mask:
        """(V,) the characters that may be drawn."""
        rules = self.rules
        found = np.ones(rules.symbols, bool) if rules.allowed is None else rules.allowed.copy()
        if self._match is not None and not self._match.matches:
            found &= self._match.allowed
        if rules.no_repeat:
            found[list(self._seen.get(self._last, ()))] = False
        for stop in rules.stops:
            if self.count + 1 - len(stop) < rules.least and _ends(self._held, stop[:-1]):
                found[stop[-1]] = False
        return found

    def recent_mask(self) -> Mask:
        """(V,) the characters of the window."""
        found = np.zeros(self.rules.symbols, bool)
        found[list(self._recent or ())] = True
        return found

    def add(self, id: int) -> int:
        """One character is drawn: how many of those not yet certain now belong to the text, from the first.

        Once the text has ended, those that are left over do not belong to it.
        """
        rules, match = self.rules, self._match
        if match is not None:
            if not match.allowed[id]:
                self.ended = "match"
                return len(self._held)
            match.add(id)
        self.count += 1
        if self._recent is not None:
            self._recent.append(id)
        if rules.no_repeat:
            self._seen[self._last] = self._seen.get(self._last, frozenset()) | {id}
            self._last = (*self._last, id)[-(rules.no_repeat - 1) :] if rules.no_repeat > 1 else ()
        certain = 1
        if rules.stops:
            held = (*self._held, id)
            if stop := max((len(stop) for stop in rules.stops if _ends(held, stop)), default=0):
                self.ended = "stop"
                return len(held) - (0 if rules.keep_stop else stop)
            keep = max(
                size
                for stop in rules.stops
                for size in range(min(len(stop), len(held) + 1))
                if _ends(held, stop[:size])
            )
            certain = len(held) - keep
            self._held = held[certain:]
        if self._matched():
            self.ended = "match"
        elif self.count == rules.length:
            self.ended = "length"
        return certain + len(self._held) if self.ended else certain

    def _matched(self) -> bool:
        """Whether the text matches, and no rule lets the match go on."""
        match = self._match
        return match is not None and match.matches and not (match.allowed & self.allowed_mask()).any()

    def fork(self) -> ConstrainedText:
        """The same text, to go on in another way."""
        twin = object.__new__(ConstrainedText)
        twin.__dict__.update(self.__dict__)  # as copy.copy, in a quarter of its time
        if self._recent is not None:
            twin._recent = self._recent.copy()
        if self.rules.no_repeat:
            twin._seen = dict(self._seen)
        if self._match is not None:
            twin._match = self._match.fork()
        return twin


def _ends(text: Stop, part: Stop) -> bool:
    return not part or text[-len(part) :] == part
