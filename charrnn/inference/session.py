"""Writing together with a model: a text that grows by continuations, and every step back.

N: characters of a text
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from charrnn.inference.choice import Choice
from charrnn.inference.constraints import Constraints
from charrnn.inference.network import Ids, Predictor
from charrnn.inference.sample import Chunk, sample, sample_generator
from charrnn.inference.states import Cursor


class Position(NamedTuple):
    """A text, as (N,) ids, and the cursor after it."""

    ids: tuple[int, ...]
    cursor: Cursor


@dataclass
class Draft:
    """A continuation while it is generated: its characters, and the cursor after it once it has ended."""

    ids: list[int] = field(default_factory=list)
    end: Cursor | None = None


class Moment(NamedTuple):
    """What a step back restores.

    texts     the finished texts
    position  the end of the present text
    base      where the last continuation began; None before the first continuation
    """

    texts: tuple[Position, ...]
    position: Position
    base: Position | None


class Session:
    """A text that a user and a model write in turns.

    ``saved`` is a cursor that the texts continue; without it they begin with ``opening`` (1,), which is read
    unless the user writes the beginning; with ``documents`` it is read in any case. The samples of the
    session have the numbers ``index``, ``index`` + 1, and so on, of the seed.

    origin  where the newest continuations begin
    drafts  the newest continuations, until one of them is kept
    """

    def __init__(
        self,
        predictor: Predictor,
        opening: Ids,
        saved: Cursor | None,
        seed: int,
        index: int = 0,
        documents: bool = False,
    ) -> None:
        self._predictor, self._reads_opening = predictor, documents or saved is not None
        self._boundary = opening[-1] if documents else None
        self._seed, self._index = seed, index
        self._opening = Position((), saved or Cursor(opening, predictor.start(1)))
        self._now = Moment((), self._opening, None)
        self._past: list[Moment] = []
        self.origin = self._opening
        self.drafts: list[Draft] = []

    @property
    def position(self) -> Position:
        """The end of the present text."""
        return self._now.position

    @property
    def texts(self) -> list[tuple[int, ...]]:
        """The texts that are not empty, the present one last."""
        return [position.ids for position in (*self._now.texts, self.position) if position.ids]

    @property
    def has_ended(self) -> bool:
        """Whether the present text is a document that has ended: what follows is another one."""
        return self._has_ended(self.position)

    def _has_ended(self, position: Position) -> bool:
        return bool(position.ids) and position.cursor.unread[-1] == self._boundary

    @property
    def can_retry(self) -> bool:
        """Whether there is a continuation to replace."""
        return self._now.base is not None

    def remember(self) -> None:
        """Let ``undo`` return to this moment, and drop the drafts. To be called before each change."""
        self._past.append(self._now)
        self.drafts = []

    def undo(self) -> bool:
        """Return to the moment that was remembered last; whether there is one."""
        self.drafts = []
        if not self._past:
            return False
        self._now = self._past.pop()
        return True

    def write(self, ids: Ids) -> None:
        """Append the user's characters (N,)."""
        self._now = self._now._replace(position=self._extended(self.position, ids), base=None)

    def replace(self, ids: Ids) -> None:
        """Replace the text. What it has in common with a remembered one is not read again."""
        text = tuple(ids.tolist())
        known = [self._opening, *(moment.position for moment in self._past), self.position]
        nearest = max(
            (
                position
                for position in known
                if text[: len(position.ids)] == position.ids
                # what is added to a document that has ended belongs to it, so it is read without its END
                and (text == position.ids or not self._has_ended(position))
            ),
            key=lambda position: len(position.ids),
        )
        position = self._extended(nearest, ids[len(nearest.ids) :])
        self._now = self._now._replace(position=position, base=None)

    def begin_another(self) -> None:
        """Finish the text, and begin another."""
        self._now = Moment((*self._now.texts, self.position), self._opening, None)

    def generate(
        self, count: int, choice: Choice, constraints: Constraints, again: bool = False
    ) -> Iterator[Chunk]:
        """Generate continuations as one batch, as ``drafts``; ``again``: in place of the last one.

        The iterator can be left at any time; the drafts then are what was generated. Raises ConfigError,
        CheckpointError.
        """
        base = self._now.base if again else None
        self.origin = base or self.position
        self.drafts = [Draft() for _ in range(count)]
        numbers = range(self._index, self._index + count)
        self._index += count
        generators = [sample_generator(self._seed, number) for number in numbers]
        cursors = [self.origin.cursor] * count
        return self._drafted(sample(self._predictor, cursors, choice, constraints, generators, scored=True))

    def _drafted(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            draft = self.drafts[chunk.row]
            draft.ids += chunk.ids
            draft.end = chunk.end
            yield chunk

    def keep(self, row: int) -> None:
        """Continue the text with the draft of this row; the others are dropped."""
        draft, base = self.drafts[row], self.origin
        if draft.end is None:  # it was stopped: its characters are read when the text is continued
            position = self._extended(base, np.array(draft.ids, np.int64))
        else:
            position = Position((*base.ids, *draft.ids), draft.end)
        self._now = self._now._replace(position=position, base=base)
        self.drafts = []

    def _extended(self, position: Position, ids: Ids) -> Position:
        if not len(ids):
            return position
        unread = ids
        if position.ids or self._reads_opening:
            unread = np.concatenate([position.cursor.unread, ids])
        return Position((*position.ids, *ids.tolist()), Cursor(unread, position.cursor.state))
