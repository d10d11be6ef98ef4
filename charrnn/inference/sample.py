"""Sampling: ``for chunk in sample(predictor, cursors, choice, constraints, generators)``.

B: samples of a batch   V: vocabulary   N: characters of a prompt
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import numpy as np

from charrnn.inference.choice import Choice, can_continue, gumbel, log_softmax
from charrnn.inference.constraints import ConstrainedText, Constraints, allowed_masks, recent_masks
from charrnn.inference.network import Ids, Predictor
from charrnn.inference.states import Cursor, concatenate_states, read_prompts, select_rows
from charrnn.text.vocabulary import Vocabulary

MOST_DOCUMENTS = 20
"""Of a sample of documents without a prompt."""


class Chunk(NamedTuple):
    """A chunk of one sample, as it is generated.

    row      the index of the sample's cursor; of a beam search, its position in the result
    ids      the next characters that belong to the text
    scores   their log-probabilities under the model itself, in nats; when sampling, only on request. Where
             the text has "end"ed, that of END is the last
    ended    None, or why the text ends here: "length", "stop", "match", "end": END was drawn, or "stuck": no
             character is allowed
    end      the cursor after the text, once it has ended
    score    the score by which a beam search compares texts
    """

    row: int
    ids: list[int]
    scores: list[float]
    ended: str | None = None
    end: Cursor | None = None
    score: float | None = None


def choose_seed(seed: int | None) -> int:
    """The given seed, or a random one."""
    return int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed


def sample_generator(seed: int, index: int = 0) -> np.random.Generator:
    """The random generator of sample number ``index``, independent of how many samples are drawn."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))


def opening_ids(vocabulary: Vocabulary) -> Ids:
    """(1,) what is read before a text without a prompt: START, or a newline, a space, the first symbol."""
    if vocabulary.boundary is not None:
        return np.array([vocabulary.boundary])
    known = [vocabulary.symbols.find(character) for character in "\n "]
    return np.array([next((symbol for symbol in known if symbol >= 0), 0)])


def beginning(vocabulary: Vocabulary, prompt: Ids) -> Ids:
    """The ids to read before a text that begins with a prompt (N,): of a document, START comes first."""
    if len(prompt) and vocabulary.boundary is None:
        return prompt
    return np.concatenate([opening_ids(vocabulary), prompt])


def sample_ids(
    predictor: Predictor,
    vocabulary: Vocabulary,
    length: int,
    generator: np.random.Generator,
    temperature: float = 1.0,
) -> Ids:
    """(length,) ids of a sample without a prompt; a document does not end before."""
    return _sample_ids(predictor, vocabulary, length, length, generator, temperature)


def sample_text(
    predictor: Predictor,
    vocabulary: Vocabulary,
    length: int,
    generator: np.random.Generator,
    temperature: float = 1.0,
) -> str:
    """A sample of ``length`` characters without a prompt; of documents, several with so many together."""
    if vocabulary.boundary is None:
        return vocabulary.decode(sample_ids(predictor, vocabulary, length, generator, temperature))
    texts: list[str] = []
    while len(texts) < MOST_DOCUMENTS and sum(map(len, texts)) < length:
        ids = _sample_ids(predictor, vocabulary, length, 0, generator, temperature)
        texts.append(vocabulary.decode(ids))
    return "\n".join(texts)


def _sample_ids(
    predictor: Predictor,
    vocabulary: Vocabulary,
    length: int,
    min_length: int,
    generator: np.random.Generator,
    temperature: float,
) -> Ids:
    cursor = Cursor(opening_ids(vocabulary), predictor.start(1))
    constraints = Constraints(len(vocabulary), length, min_length, end=vocabulary.boundary)
    chunks = sample(predictor, [cursor], Choice(temperature), constraints, [generator])
    return np.array([symbol for chunk in chunks for symbol in chunk.ids], np.int64)


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
        _Draft(row, constraints.start(cursor.unread), generator)
        for row, (cursor, generator) in enumerate(zip(cursors, generators, strict=True))
    ]
    if drafts[0].text.ended:  # the pattern matches the empty text only: every sample has ended
        for draft, cursor in zip(drafts, cursors, strict=True):
            yield draft.chunk(0, draft.text.ended, cursor)
        return
    batch = _Batch(predictor, cursors, drafts)
    for position in count():
        batch.draw(choice, choice.temperature_at(position, constraints.length))
        scores = log_softmax(batch.logits) if scored else None
        ended = []
        for index, (draft, symbol) in enumerate(zip(batch.drafts, batch.ids.tolist(), strict=True)):
            draft.ids.append(symbol)
            if scores is not None:
                draft.scores.append(float(scores[index, symbol]))
            settled = draft.text.add(symbol)
            if draft.text.ended:
                # A character that ends a match is not counted, and is left for the next text. After END, the
                # next text begins with the same boundary, as its START.
                counted = draft.text.count > position or draft.text.ended == "end"
                end = batch.cursor_after(index) if counted else batch.cursor_before(index)
                yield draft.chunk(settled, draft.text.ended, end)
                ended.append(index)
            elif settled:
                yield draft.chunk(settled)
        batch.drop(ended)
        if not batch.drafts:
            return
        batch.read()
        yield from batch.end_stuck()
        if not batch.drafts:
            return


@dataclass
class _Draft:
    """A sample that grows; ``ids`` and ``scores`` of the characters that no chunk has contained yet."""

    row: int
    text: ConstrainedText
    generator: np.random.Generator
    ids: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def chunk(self, size: int, ended: str | None = None, end: Cursor | None = None) -> Chunk:
        """The first ``size`` characters, which are then no longer kept."""
        chunk = Chunk(self.row, self.ids[:size], self.scores[: size + (ended == "end")], ended, end)
        del self.ids[:size], self.scores[:size]
        return chunk


class _Batch:
    """Samples that are generated together.

    logits  (B, V) of their next characters
    ids     (B,) the characters drawn last
    """

    def __init__(self, predictor: Predictor, cursors: Sequence[Cursor], drafts: list[_Draft]) -> None:
        self._predictor, self.drafts = predictor, drafts
        self._last_read: Sequence[Ids] | Ids = [cursor.unread for cursor in cursors]
        self._state_before = concatenate_states([cursor.state for cursor in cursors])
        self.logits, self._state = read_prompts(predictor, cursors)
        self._allowed = allowed_masks([draft.text for draft in drafts])

    def draw(self, choice: Choice, temperature: float) -> None:
        """Draw the next character of each."""
        noise = gumbel([draft.generator for draft in self.drafts], self.logits.shape[-1])
        recent = recent_masks([draft.text for draft in self.drafts]) if choice.repeat_penalty != 1 else None
        self.ids = choice.draw(self.logits, noise, self._allowed, recent, temperature)

    def read(self) -> None:
        """Read the characters drawn last."""
        columns = self.ids[:, None]
        self._last_read, self._state_before = columns, self._state
        logits, self._state = self._predictor(columns, self._state)
        self.logits = logits[:, 0]
        self._allowed = allowed_masks([draft.text for draft in self.drafts])

    def end_stuck(self) -> Iterator[Chunk]:
        """End the samples that no allowed character continues."""
        if self._allowed is None:
            return
        continues = can_continue(self.logits, self._allowed)
        if continues.all():
            return
        stuck = np.flatnonzero(~continues).tolist()
        for index in stuck:
            draft = self.drafts[index]
            yield draft.chunk(len(draft.ids), "stuck", self.cursor_before(index))
        self.drop(stuck)

    def drop(self, indices: list[int]) -> None:
        """Continue without these samples."""
        if not indices:
            return
        kept = np.delete(np.arange(len(self.drafts)), indices)
        self.drafts = [self.drafts[index] for index in kept]
        self._last_read = [self._last_read[index] for index in kept.tolist()]
        self.ids, self.logits = self.ids[kept], self.logits[kept]
        self._state_before, self._state = (
            select_rows(self._state_before, kept),
            select_rows(self._state, kept),
        )
        if self._allowed is not None:
            self._allowed = self._allowed[kept]

    def cursor_after(self, index: int) -> Cursor:
        """The cursor after a sample's text, whose last character is not read yet."""
        return Cursor(self.ids[[index]], select_rows(self._state, [index]))

    def cursor_before(self, index: int) -> Cursor:
        """The cursor before the characters that a sample has read last."""
        return Cursor(self._last_read[index], select_rows(self._state_before, [index]))
