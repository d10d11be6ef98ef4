"""Text sources -> memory-mapped ids; splits.

Reading is in two streaming passes at constant memory: the first finds the hash and the
symbols, the second writes ids. The ids are cached under the hash of the *text*, so a changed
file is never served stale, and the same text from another file, newline convention or
compression is found again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CorpusError
from charrnn.text.cache import cache_folder, cached, encode
from charrnn.text.sources import Reading, Source, characters
from charrnn.text.vocabulary import CODE_POINTS, Vocabulary, code_points


@dataclass(frozen=True)
class Corpus:
    """A text as ids, and where its splits begin.

    ids     (characters,) memory-mapped, of the vocabulary's ``id_dtype``
    sha256  of the text as the model reads it (decoded, newlines settled), in UTF-8, or
            of the bytes
    """

    ids: NDArray[np.unsignedinteger]
    vocabulary: Vocabulary
    sha256: str
    name: str

    def splits(self, shares: tuple[float, float, float]) -> tuple[range, range, range]:
        """Contiguous training, validation and test parts, as ranges of positions.

        Raises CorpusError when the training part has no room for a target.
        """
        count, whole = len(self.ids), sum(shares)
        first = int(count * shares[0] / whole + 1e-9)
        second = int(count * (shares[0] + shares[1]) / whole + 1e-9)
        if first < 2 <= count:  # a handful of characters: all of them train
            first = second = count
        if first < 2:
            raise CorpusError(
                f"{self.name}: in {count} character{'s' if count != 1 else ''} there is nothing to predict:"
                " give it at least 2"
            )
        return range(first), range(first, second), range(second, count)


def open_corpus(
    texts: Sequence[Source],
    name: str,
    reading: Reading | None = None,
    cache: Path | None = None,
    known: str = "",
    progress: Callable[[str, int], None] = lambda what, characters: None,
) -> Corpus:
    """Read texts into a Corpus, from the cache where it has been read before.

    ``known`` are symbols that the vocabulary is to hold besides the text's. ``progress`` is told what is
    done, and how many characters further it is. Raises CorpusError.
    """
    reading, cache = reading or Reading(), cache or cache_folder()
    digest, count, plain = hashlib.sha256(), 0, reading.plain
    seen = np.zeros(CODE_POINTS, np.bool_)
    for piece in characters(texts, reading):
        digest.update(piece.encode(plain, "surrogatepass"))
        seen[code_points(piece)] = True
        count += len(piece)
        progress("reading", len(piece))
    if not count:
        raise CorpusError(f"{name}: the text is empty")
    seen[code_points(known)] = True
    vocabulary = Vocabulary("".join(map(chr, np.flatnonzero(seen))), reading.byte_level)
    key = hashlib.sha256(
        f"{digest.hexdigest()} {reading.byte_level} {vocabulary.symbols!r}".encode()
    ).hexdigest()
    path = cache / f"{key[:32]}.npy"
    ids = cached(path, count, vocabulary)
    if ids is None:
        try:
            if encode(texts, reading, path, count, vocabulary, progress) != digest.hexdigest():
                path.unlink(missing_ok=True)
                raise CorpusError(f"{name} changed while it was read: try again")
        except OSError as error:
            raise CorpusError(
                f"cannot write the encoded text to {cache}: {error.strerror or error};"
                " $CHARRNN_CACHE names another folder"
            ) from error
        ids = cached(path, count, vocabulary)
        if ids is None:
            raise CorpusError(f"the encoded text has vanished from {cache}: try again")
    return Corpus(ids, vocabulary, digest.hexdigest(), name)
