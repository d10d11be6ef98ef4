"""Corpora: texts as memory-mapped ids, and their splits.

A text is read twice, in pieces, so memory stays constant: first for its hash and its symbols, then
for its ids. The ids are cached under the hash of the characters. So a changed file is read again,
and the same text in another file, compression, encoding or newline convention is found in the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CorpusError
from charrnn.text.cache import cache_folder, load_ids, save_ids
from charrnn.text.sources import Reading, Source, characters
from charrnn.text.vocabulary import CODE_POINTS, UNKNOWN, Vocabulary, code_points

Progress = Callable[[str, int], None]
"""Called with the activity ("reading", "encoding" or "checking") and the characters since the last call."""


@dataclass(frozen=True)
class Corpus:
    """A text as ids.

    ids     (characters,) memory-mapped, of the vocabulary's ``id_dtype``, in the model's order
    sha256  of the characters that the model reads, in UTF-8; at byte level of the bytes
    """

    ids: NDArray[np.unsignedinteger]
    vocabulary: Vocabulary
    sha256: str
    name: str

    def record(self) -> dict[str, Any]:
        """What a checkpoint records of the text."""
        return {"name": self.name, "sha256": self.sha256, "characters": len(self.ids)}

    def description(self, shares: tuple[float, float, float]) -> str:
        """The size of the text and of its parts, for the user."""
        names = ("train", "validate", "test")
        parts = ", ".join(
            f"{len(part):,} {name}" for part, name in zip(self.splits(shares), names, strict=True)
        )
        return f"{len(self.ids):,} characters, {len(self.vocabulary)} symbols; {parts}"

    def splits(self, shares: tuple[float, float, float]) -> tuple[range, range, range]:
        """The positions, in ``ids``, of the training, validation and test parts, which follow each other.

        They are the same spans of the text in both directions. If the training part has fewer than 2
        characters, it becomes the whole text. Raises CorpusError when the whole text is that short.
        """
        count, total = len(self.ids), sum(shares)
        if count < 2:
            raise CorpusError(
                f"{self.name}: {count} character{'s' if count != 1 else ''}: training needs at least 2"
            )
        train_end = int(count * shares[0] / total + 1e-9)
        validation_end = int(count * (shares[0] + shares[1]) / total + 1e-9)
        if train_end < 2:
            train_end = validation_end = count
        cuts = [0, train_end, validation_end, count]
        if self.vocabulary.backward:
            cuts = [count - cut for cut in cuts]
        train, validation, test = (range(*sorted(pair)) for pair in pairwise(cuts))
        return train, validation, test

    def in_direction(self, backward: bool) -> Self:
        """The same text for a forward or a backward model. The cache holds it in text order."""
        if backward == self.vocabulary.backward:
            return self
        return replace(self, ids=self.ids[::-1], vocabulary=replace(self.vocabulary, backward=backward))

    def beginning(self, part: range, count: int) -> range:
        """The first ``count`` characters of a part that ``splits`` returned, or all of a shorter part."""
        return part[:count]


def open_corpus(
    texts: Sequence[Source],
    name: str,
    reading: Reading | None = None,
    cache: Path | None = None,
    known: str = "",
    progress: Progress = lambda activity, characters: None,
) -> Corpus:
    """Read texts into one Corpus, with ids from the cache where they are already there.

    The vocabulary holds the symbols of the texts and those of ``known``. Raises CorpusError.
    """
    reading = reading or Reading()
    sha256, count, vocabulary = _scan(texts, name, reading, known, progress)
    path = cache_path(sha256, vocabulary, cache)
    ids = load_ids(path, count, vocabulary.id_dtype, partial(progress, "checking"))
    if ids is None:
        pieces = _encoded(texts, name, reading, vocabulary, sha256, progress)
        save_ids(path, count, vocabulary.id_dtype, pieces)
        ids = load_ids(path, count, vocabulary.id_dtype)
    if ids is None:
        raise CorpusError(f"another process deleted the encoded text {path}: try again")
    return Corpus(ids, vocabulary, sha256, name)


def cached_corpus(sha256: str, count: int, vocabulary: Vocabulary, name: str) -> Corpus | None:
    """The corpus of ``count`` ids with this hash, if its ids are in the cache."""
    ids = load_ids(cache_path(sha256, vocabulary), count, vocabulary.id_dtype)
    if ids is None:
        return None
    return Corpus(ids, vocabulary.forward, sha256, name).in_direction(vocabulary.backward)


def cache_path(sha256: str, vocabulary: Vocabulary, cache: Path | None = None) -> Path:
    """The file of a text's ids in the cache."""
    key = hashlib.sha256(f"{sha256} {vocabulary.byte_level} {vocabulary.symbols!r}".encode()).hexdigest()
    return (cache or cache_folder()) / f"{key[:32]}.npy"


def _scan(
    texts: Sequence[Source], name: str, reading: Reading, known: str, progress: Progress
) -> tuple[str, int, Vocabulary]:
    """(SHA-256, number of characters, vocabulary) of texts. Raises CorpusError."""
    digest, count = hashlib.sha256(), 0
    seen = np.zeros(CODE_POINTS, np.bool_)
    for piece in characters(texts, reading):
        digest.update(reading.to_bytes(piece))
        seen[code_points(piece)] = True
        count += len(piece)
        progress("reading", len(piece))
    if not count:
        raise CorpusError(f"{name}: the text is empty")
    seen[code_points(known)] = True
    symbols = "".join(map(chr, np.flatnonzero(seen)))
    return digest.hexdigest(), count, Vocabulary(symbols, reading.byte_level)


def _encoded(
    texts: Sequence[Source],
    name: str,
    reading: Reading,
    vocabulary: Vocabulary,
    sha256: str,
    progress: Progress,
) -> Iterator[NDArray[np.int64]]:
    """The ids of texts, in pieces. Raises CorpusError when their hash is no longer ``sha256``."""
    digest = hashlib.sha256()
    for piece in characters(texts, reading):
        digest.update(reading.to_bytes(piece))
        ids = vocabulary.lookup(code_points(piece))
        if ids.min() == UNKNOWN:
            break
        yield ids
        progress("encoding", len(piece))
    if digest.hexdigest() != sha256:
        raise CorpusError(f"{name} changed while it was read: try again")
