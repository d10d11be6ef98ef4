"""Corpora of documents: texts that begin and end, as ids, with their labels and vectors.

The ids are those of all documents, one after the other, with the boundary before the first, between two, and
after the last: it is the START of the document after it and the END of the one before it.

The documents are in the order of a hash of their texts (``document_files``). So a part of them is a part of
the ids, equal documents are neighbours, and the order of two documents depends on no other document.

D: documents   N: ids   F: numbers of all vectors
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from charrnn.conditions import Condition, Label, Vector
from charrnn.errors import CorpusError
from charrnn.text.cache import load_ids
from charrnn.text.corpus import Corpus, cache_path
from charrnn.text.vocabulary import Vocabulary

BLOCK = 1 << 20
"""Ids that are searched for boundaries at once."""


@dataclass(frozen=True)
class DocumentCorpus(Corpus):
    """Documents as ids, in the order of their hashes; in the opposite order for a model that reads backward.

    conditions  the labels, with all values in the text, and the vectors
    table       (D,) memory-mapped, of each document: "prompt", the characters of its prompt; "labels", the
                row of each label's value; "vectors", the numbers of all vectors, NaN for a missing one
    sha256      of the texts alone
    table_sha256  of the prompts, labels and vectors; "" where there are none
    empty       the documents that were left out because they have no character
    """

    conditions: tuple[Condition, ...] = ()
    table: NDArray[Any] = field(default_factory=lambda: np.zeros(0))
    table_sha256: str = ""
    empty: int = 0

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(D + 1,) the positions of the boundaries."""
        boundary = self.vocabulary.boundary
        blocks = range(0, len(self.ids), BLOCK)
        return np.concatenate(
            [start + np.flatnonzero(self.ids[start : start + BLOCK] == boundary) for start in blocks]
        )

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(D,) the characters of each document, and START."""
        return np.diff(self.starts)

    @property
    def count(self) -> int:
        """D."""
        return len(self.starts) - 1

    @cached_property
    def duplicates(self) -> int:
        """How many documents have the text of another one before them."""
        same_length = np.flatnonzero(self.lengths[1:] == self.lengths[:-1])
        return sum(self._is_repeated(int(number) + 1) for number in same_length)

    def record(self) -> dict[str, Any]:
        """What a checkpoint records of the text; its characters are those of the documents, without END."""
        characters = len(self.ids) - self.count - 1
        values = {
            "name": self.name,
            "sha256": self.sha256,
            "characters": characters,
            "documents": self.count,
            "longest": int(self.lengths.max()) - 1,
        }
        if self.table_sha256:
            values["table_sha256"] = self.table_sha256
        if self.conditions:
            values["labels"] = self.label_counts()
        return values

    def description(self, shares: tuple[float, float, float]) -> str:
        """The size of the text and of its parts, for the user."""
        numbers = [len(self.numbers(part)) for part in self.splits(shares)]
        parts = ", ".join(
            f"{count:,} {name}" for count, name in zip(numbers, ("train", "validate", "test"), strict=True)
        )
        copies = "1 is a copy" if self.duplicates == 1 else f"{self.duplicates:,} are copies"
        also = [copies] if self.duplicates else []
        also += [f"{self.empty:,} empty left out"] if self.empty else []
        noted = f" ({'; '.join(also)})" if also else ""
        characters = len(self.ids) - self.count - 1
        return (
            f"{self.count:,} documents{noted}: {parts}; {characters:,} characters,"
            f" {len(self.vocabulary.symbols)} symbols"
        )

    def document(self, number: int) -> NDArray[np.unsignedinteger]:
        """The ids of a document, with START and without END."""
        return self.ids[self.starts[number] : self.starts[number + 1]]

    def numbers(self, part: range) -> range:
        """The documents of a part that ``splits`` returned."""
        first, stop = np.searchsorted(self.starts, (max(part.start - 1, 0), part.stop - 1))
        return range(int(first), int(stop)) if part else range(0)

    def splits(self, shares: tuple[float, float, float]) -> tuple[range, range, range]:
        """The positions of the training, validation and test documents, each with its END.

        Shares are those of the number of documents. Equal documents are in one part. Raises CorpusError for
        a single document.
        """
        if self.vocabulary.backward:
            size = len(self.ids)
            # a part begins before a boundary and ends with one: both parts beside a boundary have it
            parts = (
                range(size - part.stop + 1, size - max(part.start - 1, 0))
                for part in self.in_direction(False).splits(shares)
            )
            train, validation, test = parts
            return train, validation, test
        count, total = self.count, sum(shares)
        if count < 2:
            raise CorpusError(f"{self.name}: 1 document; training needs at least 2: is --documents right?")
        cuts = [round(count * share / total) for share in (shares[0], shares[0] + shares[1])]
        if shares[1] and cuts[0] == cuts[1]:  # few documents: one of them validates
            cuts[0] = max(1, cuts[1] - 1)
        first, second = (self._after_equal(max(1, cut)) for cut in cuts)
        ends = [int(self.starts[cut]) + 1 for cut in (first, max(first, second), count)]
        return range(ends[0]), range(ends[0], ends[1]), range(ends[1], ends[2])

    def in_direction(self, backward: bool) -> Self:
        """As of ``Corpus``: the last document then comes first."""
        if backward == self.vocabulary.backward:
            return self
        return replace(super().in_direction(backward), table=self.table[::-1])

    def beginning(self, part: range, count: int) -> range:
        """The first documents of a part, at least one, that have at most ``count`` characters and ENDs."""
        numbers = self.numbers(part)
        ends = self.starts[numbers.start + 1 : numbers.stop + 1] + 1
        fitting = int(np.searchsorted(ends, part.start + count, "right"))
        return range(part.start, int(ends[max(fitting, 1) - 1])) if part else part

    def holds(self, texts: Sequence[NDArray[np.integer[Any]]]) -> list[bool]:
        """Whether each text, (n,) ids without boundaries, is a whole document."""
        lengths = self.lengths - 1
        wanted = np.unique([len(text) for text in texts])
        known = {
            self.document(number)[1:].tobytes()
            for number in np.flatnonzero(np.isin(lengths, wanted)).tolist()
        }
        # a symbol that the corpus lacks has the id -1, which no document has
        return [bool((text >= 0).all()) and text.astype(self.ids.dtype).tobytes() in known for text in texts]

    def _after_equal(self, cut: int) -> int:
        """The first cut from here on that does not part equal documents."""
        while cut < self.count and self._is_repeated(cut):
            cut += 1
        return cut

    def _is_repeated(self, number: int) -> bool:
        """Whether a document has the text of the one before it."""
        return np.array_equal(self.document(number), self.document(number - 1))

    def inputs(self, condition: int, numbers: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """The inputs of a condition for some documents (``charrnn.conditions``).

        Of a label the rows of its values (n,), of a vector (n, inputs) numbers.
        """
        chosen = self.conditions[condition]
        if isinstance(chosen, Label):
            column = sum(isinstance(other, Label) for other in self.conditions[:condition])
            rows: NDArray[np.int64] = self.table["labels"][numbers, column].astype(np.int64)
            return rows
        result = np.zeros((len(numbers), chosen.inputs), np.float32)
        first = sum(other.inputs - 1 for other in self.conditions[:condition] if isinstance(other, Vector))
        values = self.table["vectors"][numbers, first : first + chosen.inputs - 1]
        missing = np.isnan(values[:, 0])
        scaled = (values - np.array(chosen.mean)) / np.array(chosen.scale)
        result[:, 1:] = np.where(missing[:, None], 0, scaled)
        result[:, 0] = missing
        return result

    def values(self, number: int) -> dict[str, Any]:
        """The values of the conditions of a document, by their names; None for a missing one."""
        row = self.table[number]
        labels, vectors = iter(row["labels"].tolist()), row["vectors"].tolist()
        result: dict[str, Any] = {}
        for condition in self.conditions:
            if isinstance(condition, Label):
                label = next(labels)
                result[condition.name] = condition.values[label - 1] if label else None
            else:
                vector, vectors = vectors[: condition.inputs - 1], vectors[condition.inputs - 1 :]
                result[condition.name] = None if np.isnan(vector[0]) else vector
        return result

    def label_counts(self) -> dict[str, dict[str, int]]:
        """How many documents have each value of each label."""
        labels = [condition for condition in self.conditions if isinstance(condition, Label)]
        counts = {}
        for column, label in enumerate(labels):
            frequencies = np.bincount(self.table["labels"][:, column], minlength=label.inputs)
            counts[label.name] = dict(zip(label.values, frequencies[1:].tolist(), strict=True))
        return counts


def cached_documents(record: dict[str, Any], vocabulary: Vocabulary) -> DocumentCorpus | None:
    """The documents that a checkpoint records, without labels and vectors, if their ids are in the cache."""
    size = int(record["characters"]) + int(record["documents"]) + 1
    ids = load_ids(cache_path(record["sha256"], vocabulary), size, vocabulary.id_dtype)
    if ids is None:
        return None
    corpus = DocumentCorpus(ids, vocabulary.forward, record["sha256"], str(record["name"]))
    return corpus.in_direction(vocabulary.backward)
