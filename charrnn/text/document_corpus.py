"""Corpora of documents: texts that begin and end, as ids, with what they are written for.

The ids are those of all documents, one after the other, with the boundary before the first, between two, and
after the last: it is the START of the document after it and the END of the one before it.

The documents are kept in the order of a hash of their texts. So a part of them is a part of the ids, equal
documents are neighbours, and the part that a document belongs to depends on no other document's text.

D: documents   N: ids   F: numbers of all vectors
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.conditions import MOST_VALUES, Condition, Label, Vector
from charrnn.errors import ConfigError, CorpusError
from charrnn.text.cache import cache_write_errors, load_ids, save_ids, temporary_file
from charrnn.text.corpus import Corpus, Progress, cache_path
from charrnn.text.documents import Division, Document, Skipped, documents
from charrnn.text.sources import Reading, Source
from charrnn.text.vocabulary import CODE_POINTS, Vocabulary, code_points

SEED = 1
"""Of the hash by which documents are ordered: another seed would put them into other parts."""
BLOCK = 1 << 20
"""Ids that are put in order at once; more where a document is longer."""


@dataclass(frozen=True)
class DocumentCorpus(Corpus):
    """Documents as ids, in the order of their hashes.

    conditions  the labels, with all values in the text, and the vectors
    table       (D,) memory-mapped, of each document: "prompt", the characters of its prompt; "labels", the
                row of each label's value; "vectors", the numbers of all vectors, NaN for a missing one
    sha256      of the texts alone
    table_sha256  of the prompts, labels and vectors; "" where there are none
    empty       the documents that were left out because they have no character
    """

    division: Division = field(default_factory=lambda: Division("line"))
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

    @property
    def count(self) -> int:
        """D."""
        return len(self.starts) - 1

    @cached_property
    def duplicates(self) -> int:
        """How many documents have the text of another one before them."""
        lengths = np.diff(self.starts)
        same_length = np.flatnonzero(lengths[1:] == lengths[:-1])
        return sum(self._is_repeated(int(number) + 1) for number in same_length)

    def record(self) -> dict[str, Any]:
        """What a checkpoint records of the text; its characters are those of the documents, without END."""
        characters = len(self.ids) - self.count - 1
        values = {
            "name": self.name,
            "sha256": self.sha256,
            "characters": characters,
            "documents": self.count,
            "longest": int(np.diff(self.starts).max()) - 1,
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
        also = [f"{self.duplicates:,} occur{'s' * (self.duplicates == 1)} more than once"] * bool(
            self.duplicates
        )
        also += [f"{self.empty:,} empty left out"] * bool(self.empty)
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
        count, total = self.count, sum(shares)
        if count < 2:
            raise CorpusError(
                f"{self.name}: 1 document: training needs at least 2; without --documents it is one long text"
            )
        cuts = [round(count * share / total) for share in (shares[0], shares[0] + shares[1])]
        if shares[1] and cuts[0] == cuts[1]:  # few documents: one of them validates
            cuts[0] = max(1, cuts[1] - 1)
        first, second = (self._after_equal(max(1, cut)) for cut in cuts)
        ends = [int(self.starts[cut]) + 1 for cut in (first, max(first, second), count)]
        return range(ends[0]), range(ends[0], ends[1]), range(ends[1], ends[2])

    def holds(self, texts: Sequence[NDArray[np.integer[Any]]]) -> list[bool]:
        """Whether each text, (n,) ids without boundaries, is a whole document."""
        lengths = np.diff(self.starts) - 1
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

    def inputs(self, condition: int, numbers: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """(n, inputs) the inputs of a condition for some documents (``charrnn.conditions``)."""
        chosen = self.conditions[condition]
        result = np.zeros((len(numbers), chosen.inputs), np.float32)
        if isinstance(chosen, Label):
            column = sum(isinstance(other, Label) for other in self.conditions[:condition])
            result[np.arange(len(numbers)), self.table["labels"][numbers, column]] = 1
            return result
        first = sum(other.inputs - 1 for other in self.conditions[:condition] if isinstance(other, Vector))
        values = self.table["vectors"][numbers, first : first + chosen.inputs - 1]
        missing = np.isnan(values[:, 0])
        scaled = (values - np.array(chosen.mean, np.float32)) / np.array(chosen.scale, np.float32)
        result[:, 1:] = np.where(missing[:, None], 0, scaled)
        result[:, 0] = missing
        return result

    def label_counts(self) -> dict[str, dict[str, int]]:
        """How many documents have each value of each label."""
        labels = [condition for condition in self.conditions if isinstance(condition, Label)]
        counts = {}
        for column, label in enumerate(labels):
            frequencies = np.bincount(self.table["labels"][:, column], minlength=label.inputs)
            counts[label.name] = dict(zip(label.values, frequencies[1:].tolist(), strict=True))
        return counts


class _Scan(NamedTuple):
    """What the first reading finds: hashes, sizes, the vocabulary, and the conditions."""

    sha256: str
    table_sha256: str
    characters: int
    documents: int
    empty: int
    vocabulary: Vocabulary
    conditions: tuple[Condition, ...]


def open_documents(
    texts: Sequence[Source],
    name: str,
    division: Division,
    reading: Reading | None = None,
    known: str = "",
    known_values: Sequence[Condition] = (),
    progress: Progress = lambda activity, characters: None,
) -> DocumentCorpus:
    """Read texts into one DocumentCorpus, with ids from the cache where they are already there.

    The vocabulary holds the symbols of the texts and those of ``known``; labels have the values of the texts
    and those of the conditions ``known_values``, whose vectors keep their mean and scale. Raises CorpusError.
    """
    reading = reading or Reading()
    scan = _scan(texts, name, division, reading, known, known_values, progress)
    dtype = _table_type(scan.conditions)
    size = scan.characters + scan.documents + 1
    paths = _paths(scan)
    ids = load_ids(paths[0], size, scan.vocabulary.id_dtype)
    table = load_ids(paths[1], scan.documents, dtype)
    if ids is None or table is None:
        _encode(texts, name, division, reading, scan, paths, progress)
        ids = load_ids(paths[0], size, scan.vocabulary.id_dtype)
        table = load_ids(paths[1], scan.documents, dtype)
    if ids is None or table is None:
        raise CorpusError(f"another process deleted the encoded text {paths[0]}: try again")
    return DocumentCorpus(
        ids,
        scan.vocabulary,
        scan.sha256,
        name,
        division,
        scan.conditions,
        table,
        scan.table_sha256,
        scan.empty,
    )


def cached_documents(record: dict[str, Any], vocabulary: Vocabulary) -> DocumentCorpus | None:
    """The documents that a checkpoint records, without labels and vectors, if their ids are in the cache."""
    size = int(record["characters"]) + int(record["documents"]) + 1
    ids = load_ids(cache_path(record["sha256"], vocabulary), size, vocabulary.id_dtype)
    return None if ids is None else DocumentCorpus(ids, vocabulary, record["sha256"], str(record["name"]))


def _paths(scan: _Scan) -> tuple[Path, Path]:
    """The files of the ids and of the table in the cache."""
    values = json.dumps([condition.to_dict() for condition in scan.conditions])
    table_key = f"table {scan.sha256} {scan.table_sha256} {values}"
    return cache_path(scan.sha256, scan.vocabulary), cache_path(table_key, scan.vocabulary)


def _scan(
    texts: Sequence[Source],
    name: str,
    division: Division,
    reading: Reading,
    known: str,
    known_values: Sequence[Condition],
    progress: Progress,
) -> _Scan:
    """Read all documents for their hashes, symbols and label values. Raises CorpusError."""
    digest, table_digest = hashlib.sha256(b"documents"), hashlib.sha256()
    characters, count, skipped = 0, 0, Skipped()
    seen = np.zeros(CODE_POINTS, np.bool_)
    values: dict[str, set[str]] = {label: set() for label in division.all_labels}
    moments = [_Moments(vector) for vector in division.vectors]
    for block in documents(texts, reading, division, skipped, lambda read: progress("reading", read)):
        units = "".join(document.units for document in block)
        digest.update(b"".join(len(document.units).to_bytes(8, "little") for document in block))
        digest.update(reading.to_bytes(units))
        seen[code_points(units)] = True
        characters += len(units)
        for number, document in enumerate(block, count):
            if document.prompt or document.labels or document.vectors:
                table_digest.update(json.dumps([number, *document[1:]]).encode())
            for column, value in zip(values.values(), document.labels, strict=True):
                if value is not None:
                    column.add(value)
            for moment, vector in zip(moments, document.vectors, strict=True):
                moment.add(vector)
        count += len(block)
    if not count:
        raise CorpusError(f"{name}: the text holds no document with a character")
    seen[code_points(known)] = True
    symbols = "".join(map(chr, np.flatnonzero(seen)))
    vocabulary = Vocabulary(symbols, reading.byte_level, documents=True)
    conditions = _conditions(values, moments, known_values)
    sha256 = table_digest.hexdigest() if table_digest.digest() != hashlib.sha256().digest() else ""
    return _Scan(digest.hexdigest(), sha256, characters, count, skipped.empty, vocabulary, conditions)


class _Moments:
    """The mean and the standard deviation of each number of a vector."""

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 0
        self.sums: NDArray[np.float64] = np.zeros(0)
        self.squares: NDArray[np.float64] = np.zeros(0)

    def add(self, vector: Sequence[float] | None) -> None:
        """Count a vector."""
        if vector is None:
            return
        numbers = np.array(vector, np.float64)
        self.count += 1
        self.sums = numbers if self.count == 1 else self.sums + numbers
        self.squares = numbers**2 if self.count == 1 else self.squares + numbers**2

    def vector(self) -> Vector:
        """The condition. Raises CorpusError where no document has the vector."""
        if not self.count:
            raise CorpusError(f'--vector {self.name}: no document has a field "{self.name}"')
        mean = self.sums / self.count
        variance = np.maximum(self.squares / self.count - mean**2, 0)
        scale = np.where(variance > 1e-12 * np.maximum(1, mean**2), np.sqrt(variance), 1.0)
        return Vector(self.name, tuple(mean.tolist()), tuple(scale.tolist()))


def _conditions(
    values: dict[str, set[str]], moments: Sequence[_Moments], known: Sequence[Condition]
) -> tuple[Condition, ...]:
    """The labels and vectors of the documents. Raises CorpusError, ConfigError."""
    before = {condition.name: condition for condition in known}
    conditions: list[Condition] = []
    for name, found in values.items():
        earlier = before.get(name)
        if isinstance(earlier, Vector):
            raise ConfigError(f"--label {name}: the model has a vector of this name: give --vector {name}")
        found = found | set(earlier.values if isinstance(earlier, Label) else ())
        if not found:
            raise CorpusError(f'--label {name}: no document has a field "{name}"')
        if len(found) > MOST_VALUES:
            raise ConfigError(
                f"--label {name}: has {len(found):,} different values, at most {MOST_VALUES:,} are possible:"
                " is it a category?"
            )
        conditions.append(Label(name, tuple(sorted(found))))
    for moment in moments:
        vector, earlier = moment.vector(), before.get(moment.name)
        if isinstance(earlier, Label):
            name = moment.name
            raise ConfigError(f"--vector {name}: the model has a label of this name: give --label {name}")
        if isinstance(earlier, Vector):
            vector = replace(vector, mean=earlier.mean, scale=earlier.scale)
            if len(moment.sums) != len(earlier.mean):
                raise ConfigError(
                    f"--vector {moment.name}: has {len(moment.sums)} numbers, the model's {len(earlier.mean)}"
                )
        conditions.append(vector)
    return tuple(conditions)


def _table_type(conditions: Sequence[Condition]) -> np.dtype[Any]:
    """The type of a row of the table."""
    labels = sum(isinstance(condition, Label) for condition in conditions)
    numbers = sum(condition.inputs - 1 for condition in conditions if isinstance(condition, Vector))
    return np.dtype([("prompt", "<u4"), ("labels", "<i4", (labels,)), ("vectors", "<f4", (numbers,))])


def _rows(block: Sequence[Document], conditions: Sequence[Condition]) -> NDArray[Any]:
    """The rows of the table of some documents."""
    result = np.zeros(len(block), _table_type(conditions))
    result["prompt"] = [document.prompt for document in block]
    labels = [condition for condition in conditions if isinstance(condition, Label)]
    vectors = [condition for condition in conditions if isinstance(condition, Vector)]
    for column, label in enumerate(labels):
        result["labels"][:, column] = [label.row(document.labels[column]) for document in block]
    first = 0
    for column, vector in enumerate(vectors):
        missing = [math.nan] * len(vector.mean)
        numbers = [document.vectors[column] or missing for document in block]
        result["vectors"][:, first : first + len(missing)] = numbers
        first += len(missing)
    return result


def _encode(
    texts: Sequence[Source],
    name: str,
    division: Division,
    reading: Reading,
    scan: _Scan,
    paths: tuple[Path, Path],
    progress: Progress,
) -> None:
    """Write the ids and the table to the cache. Raises CorpusError where the texts have changed since."""
    vocabulary, dtype = scan.vocabulary, _table_type(scan.conditions)
    digest = hashlib.sha256(b"documents")
    lengths, hashes = [], []
    with cache_write_errors(), temporary_file() as ids_file, temporary_file() as table_file:
        for block in documents(texts, reading, division, progress=lambda read: progress("encoding", read)):
            units = "".join(document.units for document in block)
            sizes = np.array([len(document.units) for document in block])
            digest.update(sizes.astype("<i8").tobytes())
            digest.update(reading.to_bytes(units))
            codes = code_points(units)
            ids_file.write(vocabulary.lookup(codes).astype(vocabulary.id_dtype).tobytes())
            table_file.write(_rows(block, scan.conditions).tobytes())
            lengths.append(sizes)
            hashes.append(_hashes(codes, sizes))
        if digest.hexdigest() != scan.sha256:
            raise CorpusError(f"{name} changed while it was read: try again")
        ids = np.memmap(ids_file, vocabulary.id_dtype, "r")
        table = np.memmap(table_file, dtype, "r")
        order = np.argsort(np.concatenate(hashes), kind="stable")
        pieces = _ordered(ids, np.concatenate(lengths), order, len(vocabulary) - 1)
        save_ids(paths[0], len(ids) + len(order) + 1, vocabulary.id_dtype, pieces)
        rows = (table[order[start : start + 4096]] for start in range(0, len(order), 4096))
        save_ids(paths[1], len(order), dtype, rows)


def _hashes(codes: NDArray[np.uint32], lengths: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(n,) a hash of each document: the sum of a mixture of each character with its position."""
    starts = np.cumsum(lengths) - lengths
    positions = np.arange(len(codes), dtype=np.int64) - np.repeat(starts, lengths)
    numbers = codes.astype(np.uint64) | (positions.astype(np.uint64) << np.uint64(21))
    sums: NDArray[np.uint64] = np.add.reduceat(_mixed(numbers + np.uint64(SEED << 60)), starts)
    return _mixed(sums)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The numbers with their bits mixed (splitmix64, Steele et al. 2014)."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: NDArray[np.uint64] = numbers ^ (numbers >> np.uint64(31))
    return result


def _ordered(
    ids: NDArray[Any], lengths: NDArray[np.int64], order: NDArray[np.intp], boundary: int
) -> Iterator[NDArray[Any]]:
    """Yields the ids of the documents in this order, with the boundary before each and after the last."""
    starts = np.cumsum(lengths) - lengths
    edge = np.array([boundary], ids.dtype)
    block: list[NDArray[Any]] = []
    size = 0
    for number in order.tolist():
        start = starts[number]
        block += [edge, ids[start : start + lengths[number]]]
        size += lengths[number]
        if size > BLOCK:
            yield np.concatenate(block)
            block, size = [], 0
    yield np.concatenate([*block, edge])
