"""Filling gaps: the most probable texts that fit a template.

A template is a sequence of items: characters, which are given, and gaps. A beam search with a forward model
goes through the template from its beginning. Hypotheses compete only with others of the same length at the
same item, because one that is still inside a gap is often more probable than one that has had to read the
characters after it. A text that fits the template in several ways is one hypothesis with several positions.
So a search that is wide enough finds every text that fits.

B: hypotheses   V: vocabulary
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CheckpointError
from charrnn.inference.choice import DAMAGED, Scores, largest, log_softmax
from charrnn.inference.network import Mask, Predictor
from charrnn.inference.sample import opening_ids
from charrnn.inference.score_lines import score_lines
from charrnn.inference.states import Cursor, select_rows
from charrnn.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from charrnn.inference.pattern import Match, Pattern

Text = tuple[int, ...]
"""Ids, in the order of the text."""


@dataclass(frozen=True)
class Gap:
    """An unknown part of a text: from ``fewest`` to ``most`` characters, which the pattern matches."""

    fewest: int
    most: int
    pattern: Pattern | None = None


Template = Sequence[int | Gap]
"""Its items: the ids of the characters that are given, and the gaps between them."""


@dataclass(frozen=True)
class Filling:
    """A text that fits a template.

    gaps      the content of each gap; of several ways to fit, the one whose first gaps are the shortest
    forward   log-probability of the text under the forward model, in nats; of a document, with its END
    backward  that under the backward model; None without one
    """

    text: Text
    gaps: tuple[Text, ...]
    forward: float
    backward: float | None = None

    @property
    def sum(self) -> float:
        """The log-probability by which fillings are ranked."""
        return self.forward + (self.backward or 0.0)


class Position(NamedTuple):
    """A position in a template: an item, and how many characters of its content have been read."""

    item: int
    read: int = 0


@dataclass
class _Hypothesis:
    """The beginning of a text.

    score   its log-probability
    row     the row of the state before its last character
    positions  where in the template it can be, each with the contents of the gaps before
    """

    text: Text = ()
    score: float = 0.0
    row: int = 0
    positions: dict[Position, tuple[Text, ...]] = field(default_factory=dict)


def fill(predictor: Predictor, vocabulary: Vocabulary, template: Template, width: int) -> list[Filling]:
    """The ``width`` most probable texts that fit a template, under a forward model, the best first.

    width  the hypotheses of one length that are kept at each item; the result is exact where it is at least
           the number of beginnings of texts that fit

    Raises CheckpointError for a damaged model.
    """
    search = _Search(vocabulary, template, width)
    live = [search.first()]
    logits, state = predictor(opening_ids(vocabulary)[None], predictor.start(1))
    while live:
        scores = log_softmax(logits[:, -1])  # (B, V)
        if np.isnan(scores).any():
            raise CheckpointError(DAMAGED)
        search.finish(live, scores)
        live = search.extended(live, scores)
        if live:
            state = select_rows(state, [hypothesis.row for hypothesis in live])
            logits, state = predictor(np.array([hypothesis.text[-1:] for hypothesis in live]), state)
    return search.finished


def ranked(fillings: Sequence[Filling], predictor: Predictor, vocabulary: Vocabulary) -> list[Filling]:
    """The fillings with their log-probability under a backward model, the largest sum first."""
    end = [] if vocabulary.boundary is None else [vocabulary.boundary]
    texts = [
        np.append(vocabulary.reversed_if_backward(np.array(filling.text, np.int64)), np.array(end, np.int64))
        for filling in fillings
    ]
    start = Cursor(opening_ids(vocabulary), predictor.start(1))
    nats = score_lines(predictor, texts, start).tolist()
    if any(map(math.isnan, nats)):
        raise CheckpointError(DAMAGED)
    both = [replace(filling, backward=score) for filling, score in zip(fillings, nats, strict=True)]
    return sorted(both, key=lambda filling: -filling.sum)


class _Search:
    """A search through a template.

    finished  the most probable texts that fit, at most ``width``, the best first
    """

    def __init__(self, vocabulary: Vocabulary, template: Template, width: int) -> None:
        self._template, self._width, self._boundary = template, width, vocabulary.boundary
        self._characters: Mask = np.ones(len(vocabulary), bool)
        self._characters[len(vocabulary.symbols) :] = False
        self._matches: dict[tuple[int, Text], Match] = {}  # of an item and what it holds so far
        self.finished: list[Filling] = []

    def first(self) -> _Hypothesis:
        """The empty text."""
        hypothesis = _Hypothesis()
        self._add_position(hypothesis, Position(0), ())
        return hypothesis

    def finish(self, live: Sequence[_Hypothesis], scores: Scores) -> None:
        """Keep the texts that fit the whole template. ``scores`` (B, V) are those of the next characters."""
        end = Position(len(self._template))
        for hypothesis, next_scores in zip(live, scores, strict=True):
            if end in hypothesis.positions:
                score = hypothesis.score + (0.0 if self._boundary is None else next_scores[self._boundary])
                self.finished.append(Filling(hypothesis.text, hypothesis.positions[end], float(score)))
        self.finished.sort(key=lambda filling: -filling.forward)
        del self.finished[self._width :]

    def extended(self, live: Sequence[_Hypothesis], scores: Scores) -> list[_Hypothesis]:
        """The best hypotheses with one more character.

        A hypothesis that is less probable than enough finished texts is dropped: it cannot become better.
        """
        items = np.stack([self._next_items(hypothesis) for hypothesis in live])  # (B, V)
        totals = scores + np.array([hypothesis.score for hypothesis in live])[:, None]
        lowest = self.finished[-1].forward if len(self.finished) == self._width else -math.inf
        indices = np.flatnonzero((items >= 0) & (totals > lowest))
        result = []
        for item in np.unique(items.ravel()[indices]).tolist():
            at_item = indices[items.ravel()[indices] == item]
            for index in at_item[largest(totals.ravel()[at_item], self._width)].tolist():
                row, symbol = divmod(index, totals.shape[1])
                result.append(self._extended(live[row], symbol, float(totals[row, symbol]), row))
        return result

    def _next_items(self, hypothesis: _Hypothesis) -> NDArray[np.int64]:
        """(V,) the furthest item at which a hypothesis can be after each character; -1: it does not fit."""
        result = np.full(len(self._characters), -1)
        for position in hypothesis.positions:
            mask, item = self._step(hypothesis.text, position)
            result[mask] = np.maximum(result[mask], item)
        return result

    def _step(self, text: Text, position: Position) -> tuple[Mask, int]:
        """(V,) the characters that can come at a position of a text, and the item after them."""
        mask = np.zeros_like(self._characters)
        if position.item == len(self._template):
            return mask, position.item
        item = self._template[position.item]
        if isinstance(item, int):
            mask[item] = True
            return mask, position.item + 1
        if position.read == item.most:
            return mask, position.item
        match = self._match(position, text)
        return self._characters if match is None else match.allowed, position.item

    def _extended(self, hypothesis: _Hypothesis, symbol: int, score: float, row: int) -> _Hypothesis:
        result = _Hypothesis((*hypothesis.text, symbol), score, row)
        for position, contents in hypothesis.positions.items():
            mask, item = self._step(hypothesis.text, position)
            if mask[symbol]:
                after = Position(item) if item > position.item else Position(item, position.read + 1)
                self._add_position(result, after, contents)
        return result

    def _add_position(self, hypothesis: _Hypothesis, position: Position, contents: tuple[Text, ...]) -> None:
        """Add a position where a hypothesis can be, and those after gaps that can end here."""
        while True:
            before = hypothesis.positions.get(position)
            if before is not None and _lengths(before) <= _lengths(contents):
                return
            hypothesis.positions[position] = contents
            item = None if position.item == len(self._template) else self._template[position.item]
            if not isinstance(item, Gap) or position.read < item.fewest:
                return
            match = self._match(position, hypothesis.text)
            if match is not None and not match.matches:
                return
            content = hypothesis.text[len(hypothesis.text) - position.read :]
            position, contents = Position(position.item + 1), (*contents, content)

    def _match(self, position: Position, text: Text) -> Match | None:
        """The match of what a gap holds so far; None for a gap without a pattern."""
        gap = self._template[position.item]
        assert isinstance(gap, Gap)
        if gap.pattern is None:
            return None
        content = text[len(text) - position.read :]
        match = self._matches.get((position.item, content))
        if match is None:
            before = self._match(Position(position.item, position.read - 1), text[:-1]) if content else None
            match = before.copy() if before else gap.pattern.start()
            if content:
                match.add(content[-1])
            self._matches[position.item, content] = match
        return match


def _lengths(contents: Sequence[Text]) -> tuple[int, ...]:
    return tuple(map(len, contents))
