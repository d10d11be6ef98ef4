"""Sampling: ``for chunk in sample(predictor, cursors, choice, constraints, generators)``.

B: samples of a batch   V: vocabulary   N: characters of a prompt
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from charrnn.cells import State
from charrnn.inference.choice import Choice, can_continue, gumbel, normalised
from charrnn.inference.constraints import ConstrainedText, Constraints, allowed_masks, recent_masks
from charrnn.inference.network import Ids, Predictor
from charrnn.inference.prompts import read_prompts
from charrnn.inference.states import Cursor, row, rows
from charrnn.text.vocabulary import Vocabulary


class Chunk(NamedTuple):
    """A chunk of draft sample, as it is generated.

    row      the index of the sample's cursor; of a beam search, its position in the result
    ids      the next characters that belong to the text
    scores   their log-probabilities under the model itself, in nats; when sampling, only on request
    ended    None, or why the text ends here: "length", "stop", "match", or "stuck": no character is allowed
    end      the cursor after the text, once it has ended
    rank     the score by which a beam search compares texts
    """

    row: int
    ids: list[int]
    scores: list[float]
    ended: str | None = None
    end: Cursor | None = None
    rank: float | None = None


def choose_seed(seed: int | None) -> int:
    """The given seed, or a random draft."""
    return int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed


def generator(seed: int, index: int = 0) -> np.random.Generator:
    """The random generator of sample number ``index``, independent of how many samples are drawn."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))


def opening_ids(vocabulary: Vocabulary) -> Ids:
    """(1,) the prompt when none is given: a newline, else a space, else the first symbol."""
    known = [vocabulary.symbols.find(character) for character in "\n "]
    return np.array([next((symbol for symbol in known if symbol >= 0), 0)])


def sample_ids(
    predictor: Predictor,
    vocabulary: Vocabulary,
    length: int,
    generator: np.random.Generator,
    temperature: float = 1.0,
) -> Ids:
    """(length,) ids of a sample without a prompt."""
    cursor = Cursor(opening_ids(vocabulary), predictor.start(1))
    constraints = Constraints(len(vocabulary), length)
    chunks = sample(predictor, [cursor], Choice(temperature), constraints, [generator])
    return np.array([symbol for chunk in chunks for symbol in chunk.ids])


def sample(
    predictor: Predictor,
    cursors: Sequence[Cursor],
    choice: Choice,
    constraints: Constraints,
    generators: Sequence[np.random.Generator],
    scored: bool = False,
) -> Iterator[Chunk]:
    """Generate one sample from each cursor, as one batch.

    A sample depends on its own cursor and generator only. Batches of different sizes round the logits
    differently; otherwise the samples are equal. Raises ConfigError, CheckpointError.
    """
    drafts = [
        _Draft(row, cursor, constraints.start(cursor.unread), generator)
        for row, (cursor, generator) in enumerate(zip(cursors, generators, strict=True))
    ]
    if drafts[0].text.ended:  # the pattern matches the empty text only: every sample has ended
        for draft in drafts:
            yield draft.chunk(0, draft.text.ended, draft.cursor)
        return
    batch = _Batch(predictor, drafts)
    for position in count():
        ids = batch.draw(choice, choice.temperature_at(position, constraints.length))
        scores = normalised(batch.logits.astype(np.float64)) if scored else None
        unfinished = []
        for index, (draft, symbol) in enumerate(zip(batch.drafts, ids.tolist(), strict=True)):
            settled = draft.add(symbol, None if scores is None else float(scores[index, symbol]))
            if draft.text.ended:
                # A character that ends a match is not counted, and is left for the next text.
                counted = draft.text.count > position
                end = batch.cursor_after(index, symbol) if counted else batch.cursor_before(index)
                yield draft.chunk(settled, draft.text.ended, end)
            else:
                unfinished.append(index)
                if settled:
                    yield draft.chunk(settled)
        if not unfinished:
            return
        if len(unfinished) < len(ids):
            batch.keep(unfinished)
            ids = ids[unfinished]
        batch.read(ids)
        yield from batch.drop_stuck()
        if not batch.drafts:
            return


class _Draft:
    """A sample that grows; ``ids`` and ``scores`` of the characters that no chunk has contained yet."""

    def __init__(self, row: int, cursor: Cursor, text: ConstrainedText, generator: np.random.Generator):
        self.row, self.cursor, self.text, self.generator = row, cursor, text, generator
        self.ids: list[int] = []
        self.scores: list[float] = []

    def add(self, symbol: int, score: float | None) -> int:
        """Add a drawn character -> how many characters are now settled."""
        self.ids.append(symbol)
        if score is not None:
            self.scores.append(score)
        return self.text.add(symbol)

    def chunk(self, size: int, ended: str | None = None, end: Cursor | None = None) -> Chunk:
        """The first ``size`` characters, which are then no longer kept."""
        chunk = Chunk(self.row, self.ids[:size], self.scores[:size], ended, end)
        del self.ids[:size], self.scores[:size]
        return chunk


class _Batch:
    """Samples that are generated together.

    logits   (B, V) of the next characters
    allowed  (B, V) the characters that may be drawn; None is all
    """

    def __init__(self, predictor: Predictor, drafts: list[_Draft]) -> None:
        self._predictor, self.drafts = predictor, drafts
        self._last: tuple[Ids, State] | None = None  # the last characters read, and the state before them
        self.logits, self._state = read_prompts(predictor, [draft.cursor for draft in drafts])
        self.allowed = allowed_masks([draft.text for draft in drafts])

    def draw(self, choice: Choice, temperature: float) -> Ids:
        """(B,) the next character of each."""
        noise = gumbel([draft.generator for draft in self.drafts], self.logits.shape[-1])
        recent = recent_masks([draft.text for draft in self.drafts]) if choice.repeat_penalty != 1 else None
        return choice.draw(self.logits, noise, self.allowed, recent, temperature)

    def read(self, ids: Ids) -> None:
        """Read (B,) the next character of each."""
        self._last = ids, self._state
        logits, self._state = self._predictor(ids[:, None], self._state)
        self.logits = logits[:, 0]
        self.allowed = allowed_masks([draft.text for draft in self.drafts])

    def drop_stuck(self) -> Iterator[Chunk]:
        """End the samples that no allowed character continues."""
        if self.allowed is None:
            return
        continues = can_continue(self.logits, self.allowed)
        if continues.all():
            return
        for index in np.flatnonzero(~continues).tolist():
            draft = self.drafts[index]
            yield draft.chunk(len(draft.ids), "stuck", self.cursor_before(index))
        self.keep(np.flatnonzero(continues).tolist())

    def keep(self, indices: list[int]) -> None:
        """Keep only these samples."""
        self.drafts = [self.drafts[index] for index in indices]
        self.logits, self._state = self.logits[indices], rows(self._state, indices)
        if self.allowed is not None:
            self.allowed = self.allowed[indices]
        if self._last is not None:
            self._last = self._last[0][indices], rows(self._last[1], indices)

    def cursor_after(self, index: int, symbol: int) -> Cursor:
        """The cursor after a sample's text, whose last character ``symbol`` is not read yet."""
        return Cursor(np.array([symbol]), row(self._state, index))

    def cursor_before(self, index: int) -> Cursor:
        """The cursor before the last character that a sample has read."""
        if self._last is None:
            return self.drafts[index].cursor
        ids, state = self._last
        return Cursor(ids[index : index + 1], row(state, index))
