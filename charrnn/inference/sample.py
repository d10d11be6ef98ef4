"""Drawing texts: ``for row, ids, ... in sample(predictor, starts, choice, rules, generators)``.

B: texts drawn as one batch   V: vocabulary   N: characters of a prompt
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from charrnn.inference.choice import Choice, gumbel, normalised, possible
from charrnn.inference.constraints import Constraints
from charrnn.inference.network import Ids, Predictor
from charrnn.inference.states import Cursor
from charrnn.inference.streams import Streams
from charrnn.text.vocabulary import Vocabulary


class Chunk(NamedTuple):
    """What is new in one text.

    row      which of the starts it goes on from
    ids      characters that are certain to belong to it
    scores   log-probability of each, in nats, under the model itself; of a draw, only if asked for
    ended    None, or why it ends here: "length", "stop", "match", or "stuck": no character may come
    end      where it stands, once it has ended
    rank     what it is ranked by, where a search has found it
    """

    row: int
    ids: list[int]
    scores: list[float]
    ended: str | None = None
    end: Cursor | None = None
    rank: float | None = None


def choose_seed(seed: int | None) -> int:
    """The seed given, or one that is drawn."""
    return int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed


def generator(seed: int, index: int = 0) -> np.random.Generator:
    """The randomness of sample number ``index`` of a seed, whatever else is drawn."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))


def opening_ids(vocabulary: Vocabulary) -> Ids:
    """(1,) what is read where there is no prompt: a newline, else a space, else the first symbol."""
    known = [vocabulary.symbols.find(character) for character in "\n "]
    return np.array([next((id for id in known if id >= 0), 0)])


def sample_ids(
    predictor: Predictor,
    vocabulary: Vocabulary,
    length: int,
    generator: np.random.Generator,
    temperature: float = 1.0,
) -> Ids:
    """(length,) ids of a text that follows no prompt."""
    start = Cursor(opening_ids(vocabulary), predictor.start(1))
    rules = Constraints(len(vocabulary), length)
    pieces = sample(predictor, [start], Choice(temperature), rules, [generator])
    return np.array([id for piece in pieces for id in piece.ids])


def sample(
    predictor: Predictor,
    starts: Sequence[Cursor],
    choice: Choice,
    rules: Constraints,
    generators: Sequence[np.random.Generator],
    scored: bool = False,
) -> Iterator[Chunk]:
    """Draw a text from each start, all side by side, a character of each at a time.

    Each text is the one that its start and its generator give alone, whatever the batch.
    """
    courses = [rules.start(start.unread) for start in starts]
    # What is drawn and not yet certain, and its scores.
    pending: list[tuple[list[int], list[float]]] = [([], []) for _ in starts]
    streams = Streams(predictor, starts, choice)
    for k, course in enumerate(courses):
        if course.ended:  # all have, or none: the rules are the same
            yield Chunk(k, [], [], course.ended, starts[k])
    which = [k for k, course in enumerate(courses) if not course.ended]
    free = all(course.unconstrained for course in courses)
    penalised = choice.repeat_penalty != 1
    scores, position = None, 0
    while which:
        may = None if free else np.stack([courses[k].allowed_mask() for k in which])
        if may is not None and position:
            goes_on = possible(streams.logits, may)
            if not goes_on.all():
                for at in np.flatnonzero(~goes_on).tolist():
                    yield Chunk(which[at], *pending[which[at]], "stuck", streams.stood(at))
                stay = np.flatnonzero(goes_on).tolist()
                if not stay:
                    return
                which, may = [which[at] for at in stay], may[stay]
                streams.keep(stay)
        recent = np.stack([courses[k].recent_mask() for k in which]) if penalised else None
        temperature = choice.temperature_at(position, rules.length)
        noise = gumbel([generators[k] for k in which], streams.logits.shape[-1])
        ids = streams.draw(noise, may, recent, temperature)
        if scored:
            scores = normalised(streams.logits.astype(np.float64))
        stay = []
        for at, (k, id) in enumerate(zip(which, ids.tolist(), strict=True)):
            course, (drawn, its_scores) = courses[k], pending[k]
            count = course.count
            drawn.append(id)
            if scores is not None:
                its_scores.append(float(scores[at, id]))
            certain = course.add(id)
            then = None
            if course.ended:
                # A character that shows a match to be over is not part of the text, and is not read.
                then = streams.where(at, id) if course.count > count else streams.stood(at)
            else:
                stay.append(at)
            if certain or then:
                yield Chunk(k, drawn[:certain], its_scores[:certain], course.ended, then)
                del drawn[:certain], its_scores[:certain]
        if not stay:
            return
        if len(stay) < len(which):
            which, ids = [which[at] for at in stay], ids[stay]
            streams.keep(stay)
        streams.read(ids)
        position += 1
