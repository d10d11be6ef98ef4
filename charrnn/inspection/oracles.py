"""The errors of a model, and oracles that remove them one after the other.

An error is a character to which the model gives a probability below 0.5. The oracles and their order are
those of Karpathy, Johnson & Fei-Fei 2015 ("Visualizing and Understanding Recurrent Networks"); each removes
errors that the oracles before it have left, so their order matters.

Four definitions are this module's own:

- the n-gram oracle is one model, interpolated modified Kneser-Ney; the paper takes any of its n-gram models
  of lengths 1 to 9;
- a word is a sequence of letters, digits and _, with apostrophes and hyphens between them, in the same
  upper and lower case; the paper does not define it;
- all white space counts as a space, and all quotation marks as a quote;
- punctuation includes symbols, such as = in a program.

N: characters of a text   n: characters of a block   V: vocabulary
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.choice import target_scores
from charrnn.inference.network import Ids, Inference, Predictor, read
from charrnn.inspection.activations import BLOCK, WatchedChunk, watch_text
from charrnn.text.vocabulary import Vocabulary, code_points, have_property

LEAST = 0.5
"""A character with a smaller probability is an error."""
MEMORIES = (100, 500, 1000, 5000)
"""How far back, in characters, the memory oracles know the words."""
RARE = range(6)
"""How often the words of the rare-word oracles occur in the training text."""
BOOSTS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""What the boosts add to a character's probability; the last one removes all errors."""
WORD = re.compile(r"\w+(?:['’-]\w+)*")
FAR = 2**62
"""The distance to a word that the text has not shown before."""

LogProbabilities = NDArray[np.float64]


class _Evidence(NamedTuple):
    """What the oracles know about the n characters of a block; (n,) each.

    network      log-probability of the network, in nats
    ngram        log-probability of the n-gram model
    distance     from the beginning of the same word before to that of this word; FAR for its first letter
                 and outside words
    trained      how often the word occurs in the training text; FAR outside words
    after_space  whether the character follows white space or a quotation mark
    punctuation  whether it is punctuation
    """

    network: LogProbabilities
    ngram: LogProbabilities
    distance: NDArray[np.int64]
    trained: NDArray[np.int64]
    after_space: NDArray[np.bool_]
    punctuation: NDArray[np.bool_]


class Oracle(NamedTuple):
    """A reason for errors: ``removes`` says of which characters it would remove an error."""

    name: str
    removes: Callable[[_Evidence], NDArray[np.bool_]]


def oracles(with_ngram: bool, with_training_text: bool) -> list[Oracle]:
    """The oracles in their order, without those whose model or training text is missing."""
    return [
        *([Oracle("n-gram model", lambda seen: seen.ngram > np.log(LEAST))] if with_ngram else []),
        *map(_memory, MEMORIES),
        *(map(_rare_words, RARE) if with_training_text else []),
        Oracle("after space, quote or newline", lambda seen: seen.after_space),
        Oracle("punctuation", lambda seen: seen.punctuation),
        *map(_boost, BOOSTS),
    ]


def _memory(length: int) -> Oracle:
    return Oracle(f"word in last {length} characters", lambda seen: seen.distance <= length)


def _rare_words(count: int) -> Oracle:
    """The words that occur at most so often in the training text; rarer ones have been removed before."""
    name = f"word {count} time{'' if count == 1 else 's'} in training"
    return Oracle(name, lambda seen: seen.trained <= count)


def _boost(boost: float) -> Oracle:
    return Oracle(f"boost of {boost:g}", lambda seen: np.exp(seen.network) >= LEAST - boost)


class Removed(NamedTuple):
    """The errors that an oracle removes, and their loss in nats."""

    oracle: str
    errors: int
    nats: float


class Peeling:
    """Counts the errors of a text that comes in blocks, and which oracle removes each.

    characters  of the text so far
    nats        their loss
    """

    def __init__(
        self, vocabulary: Vocabulary, before: str, with_ngram: bool, training_words: Mapping[str, int] | None
    ) -> None:
        """``before`` is the character before the text; ``training_words`` the counts of the words."""
        self._vocabulary, self._before, self._words = vocabulary, before, training_words
        self._oracles = oracles(with_ngram, training_words is not None)
        self._errors = np.zeros(len(self._oracles), np.int64)
        self._nats = np.zeros(len(self._oracles))
        self._last: dict[str, int] = {}  # where each word began last
        self._ids, self._scores = np.zeros(0, np.int64), np.zeros((2, 0))  # read, and not counted yet
        self.characters, self.nats = 0, 0.0

    @property
    def removed(self) -> list[Removed]:
        """What each oracle removes, in their order; together these are all errors."""
        parts = zip(self._oracles, self._errors.tolist(), self._nats.tolist(), strict=True)
        return [Removed(oracle.name, errors, nats) for oracle, errors, nats in parts]

    def read(self, ids: Ids, network: LogProbabilities, ngram: LogProbabilities, last: bool) -> None:
        """Read the next characters (n,) and the log-probabilities that the models give them.

        ``last`` ends the text; until then an unfinished word waits for the next block.
        """
        self._ids = np.concatenate([self._ids, ids])
        self._scores = np.concatenate([self._scores, [network, ngram]], 1)
        end = len(self._ids) if last else _last_space(self._vocabulary, self._ids)
        self._count(self._ids[:end], self._scores[:, :end])
        self._ids, self._scores = self._ids[end:], self._scores[:, end:]

    def _count(self, ids: Ids, scores: LogProbabilities) -> None:
        if not len(ids):
            return
        seen = self._evidence(ids, scores)
        left = seen.network < np.log(LEAST)
        for index, oracle in enumerate(self._oracles):
            removed = left & oracle.removes(seen)
            self._errors[index] += removed.sum()
            self._nats[index] -= seen.network[removed].sum()
            left &= ~removed
        self.characters += len(ids)
        self.nats -= seen.network.sum()
        farthest = self.characters - max(MEMORIES)
        self._last = {word: start for word, start in self._last.items() if start >= farthest}

    def _evidence(self, ids: Ids, scores: LogProbabilities) -> _Evidence:
        text, lengths = _decoded(self._vocabulary, ids)
        starts = self.characters + np.cumsum(lengths) - lengths
        distance, trained = np.full((2, len(text)), FAR)
        for match in WORD.finditer(text):
            word, (first, end) = match.group(), match.span()
            start = int(starts[first])
            if word in self._last:
                distance[first + 1 : end] = start - self._last[word]
            self._last[word] = start
            if self._words is not None:
                trained[first:end] = self._words.get(word, 0)
        after_space = have_property(code_points(self._before + text[:-1]), _is_space_or_quote)
        self._before = text[-1]
        punctuation = have_property(code_points(text), _is_punctuation)
        labels = (distance, trained, after_space, punctuation)
        return _Evidence(*scores, *(np.repeat(label, lengths) for label in labels))


def peel(
    inference: Inference,
    ngram: Predictor | None,
    vocabulary: Vocabulary,
    ids: Ids,
    training_words: Mapping[str, int] | None = None,
    threads: int = 1,
    progress: Callable[[int], object] = lambda characters: None,
) -> Peeling:
    """Count the errors of a network in a text (N,), N >= 1, and which oracle removes each.

    ids             (N + 1,) the character before the text, and the text
    ngram           the n-gram model, over the same vocabulary; None leaves its oracle out
    training_words  how often each word occurs in the training text; None leaves the rare words out
    threads         in which the network reads
    progress        called with the number of characters that a model has read since the last call
    """
    peeling = Peeling(vocabulary, vocabulary.symbols[ids[0]], ngram is not None, training_words)
    network = np.zeros(min(BLOCK, len(ids) - 1))

    def keep(chunk: WatchedChunk) -> None:
        network[chunk.positions % BLOCK] = target_scores(chunk.logits, ids[chunk.positions + 1])

    state = ngram.start(1) if ngram else ()
    for block in watch_text(inference, ids[:-1], {}, keep, threads, progress):
        targets = ids[block.start + 1 : block.stop + 1]
        short = np.full(len(block), -np.inf)
        if ngram:
            position = 0
            for piece, logits, after in read(ngram, ids[block.start : block.stop], state):
                places = slice(position, position := position + len(piece))
                short[places], state = target_scores(logits, targets[places]), after
                progress(len(piece))
        peeling.read(targets, network[: len(block)], short, block.stop == len(ids) - 1)
    return peeling


def count_words(vocabulary: Vocabulary, ids: Ids) -> Counter[str]:
    """How often each word occurs in a text (N,)."""
    counts: Counter[str] = Counter()
    for block in _blocks(vocabulary, ids):
        counts.update(WORD.findall(_decoded(vocabulary, block)[0]))
    return counts


def _blocks(vocabulary: Vocabulary, ids: Ids) -> Iterator[Ids]:
    """A text (N,) in blocks of at most BLOCK characters that end behind white space, as ``_last_space``."""
    start = 0
    while start < len(ids):
        block = ids[start : start + BLOCK]
        if start + BLOCK < len(ids):
            block = block[: _last_space(vocabulary, block)]
        yield block
        start += len(block)


def _last_space(vocabulary: Vocabulary, ids: Ids) -> int:
    """The position after the last space or newline; in a text without them, after the last character."""
    spaces = np.flatnonzero(np.isin(ids, [vocabulary.symbols.find(character) for character in " \n"]))
    return int(spaces[-1]) + 1 if len(spaces) else len(ids)


def _decoded(vocabulary: Vocabulary, ids: Ids) -> tuple[str, NDArray[np.int64]]:
    """(the text of (n,) ids, the number of ids of each character).

    At byte level a character has one to four ids; a byte that is not UTF-8 becomes a surrogate.
    """
    units = "".join([vocabulary.symbols[symbol] for symbol in ids])
    if not vocabulary.byte_level:
        return units, np.ones(len(units), np.int64)
    text = units.encode("latin-1").decode("utf-8", "surrogateescape")
    return text, np.array([len(character.encode("utf-8", "surrogateescape")) for character in text])


def _is_space_or_quote(character: str) -> bool:
    return character.isspace() or character in "\"'" or unicodedata.category(character) in ("Pi", "Pf")


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"
