"""Drawing texts: ``for row, ids, ... in sample(predictor, starts, choice, rules, generators)``.

B: texts drawn as one batch   V: vocabulary   N: characters of a prompt
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from charrnn.choice import Choice, gumbel, normalised
from charrnn.inference import CHUNK, Ids, Logits, Predictor, State, Trace, read
from charrnn.rules import Rules
from charrnn.states import Start, joined, row, rows
from charrnn.vocab import Vocabulary


class Piece(NamedTuple):
    """What is new in one text.

    row      which of the starts it goes on from
    ids      characters that are certain to belong to it
    scores   log-probability of each, in nats, under the model itself; empty unless asked for
    ended    None, or why it ends here: "length", "stop", "match"
    then     where it stands, once it has ended
    rank     what it is ranked by, where a search has found it
    """

    row: int
    ids: list[int]
    scores: list[float]
    ended: str | None = None
    then: Start | None = None
    rank: float | None = None


def seeded(seed: int | None) -> int:
    """The seed given, or one that is drawn."""
    return int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed


def generator(seed: int, index: int = 0) -> np.random.Generator:
    """The randomness of sample number ``index`` of a seed, whatever else is drawn."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))


def opening(vocabulary: Vocabulary) -> Ids:
    """(1,) what is read where there is no prompt: a newline, else a space, else the first symbol."""
    known = [vocabulary.symbols.find(character) for character in "\n "]
    return np.array([next((id for id in known if id >= 0), 0)])


def fresh(
    predictor: Predictor,
    vocabulary: Vocabulary,
    length: int,
    generator: np.random.Generator,
    temperature: float = 1.0,
) -> Ids:
    """(length,) ids of a text that follows no prompt."""
    start = Start(opening(vocabulary), predictor.start(1))
    rules = Rules(len(vocabulary), length)
    pieces = sample(predictor, [start], Choice(temperature), rules, [generator])
    return np.array([id for piece in pieces for id in piece.ids])


def after(predictor: Predictor, start: Start) -> tuple[Logits, State]:
    """Read what is unread -> (1, V) logits of the character after it, and the state."""
    logits: Logits = np.empty(0)
    state = start.state
    for _, found, now in read(predictor, start.unread, state):
        logits, state = found[-1:], now
    return logits, state


def after_all(predictor: Predictor, starts: Sequence[Start]) -> tuple[Logits, State]:
    """Read several, of unequal lengths, as one batch -> (B, V) logits, and the state.

    Those still unread are read on to where the shortest of them ends, and so on.
    """
    if all(start is starts[0] for start in starts):
        logits, state = after(predictor, starts[0])
        return logits.repeat(len(starts), 0), rows(state, np.zeros(len(starts), int))
    lengths = np.array([len(start.unread) for start in starts])
    found: list[Logits] = [np.empty(0)] * len(starts)
    states: list[State] = [start.state for start in starts]
    which, state, done = np.arange(len(starts)), joined(states), 0
    for length in np.unique(lengths):
        texts = np.stack([starts[k].unread[done:length] for k in which.tolist()])
        for begin in range(0, texts.shape[1], CHUNK):
            logits, state = predictor(texts[:, begin : begin + CHUNK], state)
        for at, k in enumerate(which.tolist()):
            if lengths[k] == length:
                found[k], states[k] = logits[at, -1:], row(state, at)
        stay = np.flatnonzero(lengths[which] > length)
        which, state, done = which[stay], rows(state, stay), length
    return np.concatenate(found), joined(states)


def sample(
    predictor: Predictor,
    starts: Sequence[Start],
    choice: Choice,
    rules: Rules,
    generators: Sequence[np.random.Generator],
    scored: bool = False,
) -> Iterator[Piece]:
    """Draw a text from each start, all side by side, a character of each at a time.

    Each text is the one that its start and its generator give alone, whatever the batch: a
    draw so close that rounding may decide it is decided by logits computed alone. A network
    in which rounding grows is asked for one text at a time.
    """
    courses = [rules.start(start.unread) for start in starts]
    # What is drawn and not yet certain, and its scores.
    pending: list[tuple[list[int], list[float]]] = [([], []) for _ in starts]
    logits, state = after_all(predictor, starts)
    alone: list[_Alone] = []
    if len(starts) > 1 and _forgets(predictor, choice, logits[:1], row(state, 0)):
        alone = _alone(predictor, starts, logits, state)
    elif len(starts) > 1:
        logits, state = _side_by_side([after(predictor, start) for start in starts])
        predictor = _Singly(predictor)
    ahead = list(starts)  # where each stood before the character it has read last
    for k, course in enumerate(courses):
        if course.ended:  # all have, or none: the rules are the same
            yield Piece(k, [], [], course.ended, starts[k])
    which = [k for k, course in enumerate(courses) if not course.ended]
    free = all(course.free for course in courses)
    penalised = choice.repeat_penalty != 1
    scores, position = None, 0
    while which:
        may = None if free else np.stack([courses[k].may() for k in which])
        recent = np.stack([courses[k].recent() for k in which]) if penalised else None
        temperature = choice.temperature_at(position, rules.length)
        noise = gumbel([generators[k] for k in which], logits.shape[-1])
        ids, doubtful = choice.draw(logits, noise, may, recent, temperature)
        for at in np.flatnonzero(doubtful).tolist() if alone else ():
            one = slice(at, at + 1)
            ids[one], _ = choice.draw(
                alone[which[at]].logits(),
                noise[one],
                None if may is None else may[one],
                None if recent is None else recent[one],
                temperature,
            )
        if scored:
            scores = normalised(logits.astype(np.float64))
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
                then = Start(ids[at : at + 1], row(state, at)) if course.count > count else ahead[k]
            else:
                stay.append(at)
            if certain or then:
                yield Piece(k, drawn[:certain], its_scores[:certain], course.ended, then)
                del drawn[:certain], its_scores[:certain]
        if not stay:
            return
        if len(stay) < len(which):
            which, ids, state = [which[at] for at in stay], ids[stay], rows(state, stay)
        if rules.pattern is not None:
            for at, k in enumerate(which):
                ahead[k] = Start(ids[at : at + 1], row(state, at))
        if alone:
            for k, id in zip(which, ids.tolist(), strict=True):
                alone[k].unread.append(id)
        found, state = predictor(ids[:, None], state)
        logits = found[:, 0]
        position += 1


class _Alone:
    """What the logits of one text of a batch would be, were it drawn alone."""

    def __init__(self, predictor: Predictor, start: Start, known: tuple[Logits, State] | None) -> None:
        self._predictor, self._start, self._known = predictor, start, known
        self.unread: list[int] = []

    def logits(self) -> Logits:
        """(1, V), after all that is unread."""
        logits, state = self._known or after(self._predictor, self._start)
        for id in self.unread:
            found, state = self._predictor(np.array([[id]]), state)
            logits = found[:, 0]
        self.unread.clear()
        self._known = logits, state
        return logits


def _alone(predictor: Predictor, starts: Sequence[Start], logits: Logits, state: State) -> list[_Alone]:
    """One for each text of a batch."""
    # A start that all share has been read alone.
    shared = all(start is starts[0] for start in starts)
    return [
        _Alone(predictor, start, (logits[k : k + 1], row(state, k)) if shared else None)
        for k, start in enumerate(starts)
    ]


class _Singly:
    """A Predictor that asks another for one row at a time, as it is asked for a text alone."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.start = predictor.start

    def __call__(self, ids: Ids, state: State, trace: Trace | None = None) -> tuple[Logits, State]:
        return _side_by_side([self._predictor(ids[k : k + 1], row(state, k), trace) for k in range(len(ids))])


def _side_by_side(answers: Sequence[tuple[Logits, State]]) -> tuple[Logits, State]:
    return np.concatenate([logits for logits, _ in answers]), joined([state for _, state in answers])


NUDGE, LATER, GROWN = 1e-3, 128, 10


def _forgets(predictor: Predictor, choice: Choice, logits: Logits, state: State) -> bool:
    """Whether a nudge to the state (1, H) has not grown tenfold ``LATER`` characters on.

    Then what rounding does to a state stays small too, as in networks that have learnt, where a nudge
    shrinks a thousandfold or is at most remembered. Many networks with random weights are chaotic:
    there it grows by hundreds, and two texts soon have nothing in common.
    """
    generator = np.random.default_rng(0)
    nudged = tuple(
        tuple(part + (NUDGE * generator.standard_normal(part.shape)).astype(part.dtype) for part in carry)
        for carry in state
    )
    both = joined([state, nudged])
    first = _apart(both)
    for _ in range(LATER):
        ids, _ = choice.draw(logits, gumbel([generator], logits.shape[-1]))
        found, both = predictor(ids[[0, 0], None], both)
        logits = found[:1, 0]
    return _apart(both) <= GROWN * first


def _apart(state: State) -> float:
    """The largest difference between two rows of a state."""
    return max((float(np.abs(part[0] - part[1]).max()) for carry in state for part in carry), default=0.0)
