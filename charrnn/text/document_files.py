"""Reading documents: twice, in blocks, into two files of the cache, one of ids and one of labels and vectors.

The first reading is for their hash, their symbols and the values of labels; the second for the ids. The ids
are written as they come, and then once more in the order of the documents' hashes.

D: documents
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.conditions import MOST_VALUES, Condition, Label, Vector
from charrnn.errors import ConfigError, CorpusError
from charrnn.text.cache import cache_write_errors, load_ids, save_ids, temporary_file, write_all
from charrnn.text.corpus import Progress, cache_path
from charrnn.text.document_corpus import DocumentCorpus
from charrnn.text.documents import Division, Document, Skipped, documents
from charrnn.text.sources import Reading, Source
from charrnn.text.vocabulary import CODE_POINTS, Vocabulary, code_points

SEED = 1
"""Of the hash by which documents are ordered: another seed would put them into other parts."""
BLOCK = 1 << 20
"""Ids that are put in order at once; more where a document is longer."""


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
    ids = load_ids(paths[0], size, scan.vocabulary.id_dtype, partial(progress, "checking"))
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
        scan.conditions,
        table,
        scan.table_sha256,
        scan.empty,
    )


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
    return np.dtype([("prompt", "<u4"), ("labels", "<i4", (labels,)), ("vectors", "<f8", (numbers,))])


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
            write_all(ids_file, vocabulary.lookup(codes).astype(vocabulary.id_dtype))
            write_all(table_file, _rows(block, scan.conditions))
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
