"""Documents: texts with a beginning and an end, divided from the sources of a corpus."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from charrnn.conditions import check_vector
from charrnn.errors import ConfigError, CorpusError, similar_name, wrong_value
from charrnn.origin import FILE_LABEL, Origin
from charrnn.text.sources import Reading, Source, characters

KINDS = ("line", "blank", "file", "json")
"""What one document is: a line, a paragraph between blank lines, a file, a line of JSON. Every other text is
a separator, and the parts between separators are the documents."""
SYNONYMS = {"paragraph": "blank", "paragraphs": "blank", "jsonl": "json", "ndjson": "json", "newline": "line"}
TEXT, PROMPT = "text", "prompt"
"""The fields of a JSON line that the model reads: the prompt, if there is one, and then the text."""
LONGEST = 1 << 28
"""Characters from which on a document is refused: they would fill the memory."""
BLOCK = 4096
"""Documents that are passed on at once."""


def kind_problem(kind: str) -> str:
    """What the kind of documents must be, if it is not; "" for a kind or a separator."""
    if not kind:
        return f"{', '.join(KINDS)} or a separator"
    similar = similar_name(kind, KINDS, SYNONYMS) if re.fullmatch(r"[A-Za-z-]+", kind) else None
    if kind in KINDS or similar is None:
        return ""
    return (
        f"{', '.join(KINDS)} or a separator; did you mean {similar}? (a word can separate documents as a line"
        rf" of its own: '\n{kind}\n')"
    )


@dataclass(frozen=True)
class Division:
    """How a text is divided into documents, and which labels and vectors they have.

    kind           one of KINDS, or a separator
    labels         the fields of a JSON line that are labels
    vectors        the fields of a JSON line that are vectors
    label_by_file  whether the name of its file is a label of each document
    """

    kind: str
    labels: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    label_by_file: bool = False

    def __post_init__(self) -> None:
        if problem := kind_problem(self.kind):
            raise ConfigError(wrong_value("--documents", self.kind, problem))
        fields = [*self.labels, *self.vectors]
        if fields and self.kind != "json":
            raise ConfigError("--label and --vector name fields of JSON lines: add --documents json")
        options = [("--label", name) for name in self.labels] + [("--vector", name) for name in self.vectors]
        for option, name in options:
            if name in (TEXT, PROMPT):
                raise ConfigError(f"{option} {name}: this field is what the model reads")
            if fields.count(name) > 1:
                raise ConfigError(f"{option} {name}: is given twice")
            if not name or "=" in name:
                raise ConfigError(
                    f"{option} {name}: a name is not empty and has no =, for NAME=VALUE; rename it"
                )
        if self.label_by_file and FILE_LABEL in fields:
            raise ConfigError("--label-by file makes a label called file: leave out --label file")

    @classmethod
    def of_origin(cls, origin: Origin) -> Division | None:
        """How the text of an origin is divided; None for one long text. Raises ConfigError."""
        if not origin.documents:
            return None
        return cls(origin.documents, tuple(origin.labels), tuple(origin.vectors), bool(origin.label_by))

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The names of all labels, that of the file last."""
        return self.labels + ((FILE_LABEL,) if self.label_by_file else ())

    @property
    def delimiter(self) -> str:
        """What stands between two documents when they are written one after the other."""
        if self.kind in ("line", "json"):
            return "\n"
        return "\n\n" if self.kind in ("blank", "file") else self.kind


class Document(NamedTuple):
    """One document: the units that the model reads, and the values of its labels and vectors.

    units    as ``sources.characters`` reads them
    prompt   how many of them are the prompt
    labels   the values of the labels; None where one is missing
    vectors  the vectors, None where one is missing
    """

    units: str
    prompt: int = 0
    labels: tuple[str | None, ...] = ()
    vectors: tuple[Sequence[float] | None, ...] = ()


class Skipped:
    """Documents that are left out: how many were empty."""

    def __init__(self) -> None:
        self.empty = 0


def documents(
    texts: Sequence[Source],
    reading: Reading,
    division: Division,
    skipped: Skipped | None = None,
    progress: Callable[[int], object] = lambda count: None,
    advice: str = "; --documents line reads each line as it is",
) -> Iterator[list[Document]]:
    """Yields all documents of all texts that are not empty, some at a time.

    progress  called with the number of characters read since the last call
    advice    what to do about a line that is not JSON

    Raises CorpusError.
    """
    names = _file_labels([source.name for source in texts]) if division.label_by_file else None
    lengths: dict[str, int] = {}  # of the vectors, the same in all texts
    for index, source in enumerate(texts):
        label = () if names is None else (names[index],)
        pieces = _counted(characters([source], reading), progress)
        if division.kind == "json":
            lines = _parts(pieces, "\n", source.name)
            found = _of_json(lines, source.name, reading, division, label, lengths, advice)
        else:
            kind = _units(division.kind, reading)  # a separator is read as the text is
            found = (Document(units, 0, label) for units in _divided(pieces, kind, source.name))
        yield from _blocks(found, skipped or Skipped())


def _counted(pieces: Iterator[str], progress: Callable[[int], object]) -> Iterator[str]:
    for piece in pieces:
        progress(len(piece))
        yield piece


def _blocks(found: Iterator[Document], skipped: Skipped) -> Iterator[list[Document]]:
    block: list[Document] = []
    size = 0
    for document in found:
        if not document.units:
            skipped.empty += 1
            continue
        block.append(document)
        size += len(document.units)
        if len(block) == BLOCK or size > 1 << 20:
            yield block
            block, size = [], 0
    if block:
        yield block


def _file_labels(names: Sequence[str]) -> list[str]:
    """The label of each file: its name without folder and suffix; the whole path where two would be equal."""
    stems = [re.sub(r"\.(gz|bz2|xz)$", "", Path(name).name, flags=re.IGNORECASE) for name in names]
    stems = [Path(stem).stem for stem in stems]
    counts = Counter(stems)
    return [name if counts[stem] > 1 else stem for name, stem in zip(names, stems, strict=True)]


def _divided(pieces: Iterator[str], kind: str, name: str) -> Iterator[str]:
    """The documents of one text. A newline at the end of a file or of a paragraph does not belong to it."""
    if kind == "line":
        return (part.removesuffix("\r") for part in _parts(pieces, "\n", name))
    if kind == "file":
        return _whole(pieces, name)
    if kind == "blank":
        return _paragraphs(pieces, name)
    return _parts(pieces, kind, name)


def _check_size(size: int, name: str) -> None:
    if size > LONGEST:
        raise CorpusError(f"{name}: a document has more than {LONGEST:,} characters: is --documents right?")


def _parts(pieces: Iterator[str], separator: str, name: str) -> Iterator[str]:
    """The parts between separators; an empty part after the last separator is left out."""
    rest: list[str] = []  # of the part that no separator has ended
    tail = ""  # its last characters: a separator may begin there
    size = 0  # of the rest
    for piece in pieces:
        first, *others = (tail + piece).split(separator)
        if others:
            yield "".join([*rest, first])
            yield from others[:-1]
            rest, size, first = [], 0, others[-1]
        kept = max(0, len(first) - len(separator) + 1)
        rest.append(first[:kept])
        tail = first[kept:]
        size += kept
        _check_size(size, name)
    last = "".join([*rest, tail])
    if last:
        yield last


def _whole(pieces: Iterator[str], name: str) -> Iterator[str]:
    """The one document of a text."""
    parts: list[str] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        _check_size(size, name)
    yield "".join(parts).rstrip("\r\n")


def _paragraphs(pieces: Iterator[str], name: str) -> Iterator[str]:
    """The paragraphs between blank lines; a line of spaces is blank."""
    lines: list[str] = []
    size = 0
    for line in _parts(pieces, "\n", name):
        if line.strip():
            lines.append(line)
            size += len(line)
            _check_size(size, name)
        elif lines:
            yield "\n".join(lines).removesuffix("\r")
            lines, size = [], 0
    if lines:
        yield "\n".join(lines).removesuffix("\r")


def _of_json(
    lines: Iterator[str],
    name: str,
    reading: Reading,
    division: Division,
    file_label: tuple[str, ...],
    lengths: dict[str, int],
    advice: str,
) -> Iterator[Document]:
    """The documents of JSON lines. Raises CorpusError, which names the line.

    ``lengths`` are those of the vectors that were read before, by name; new ones are added.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = json_document(line, reading, division, advice)
            for vector, value in zip(division.vectors, document.vectors, strict=True):
                if value is not None:
                    check_vector(vector, value, lengths.setdefault(vector, len(value)))
        except (ConfigError, CorpusError) as error:
            raise CorpusError(f"{name}, line {number}: {error}") from error
        yield document._replace(labels=document.labels + file_label)


def json_document(line: str, reading: Reading, division: Division, advice: str = "") -> Document:
    """The document of a JSON line. Raises CorpusError, ConfigError."""
    given = json_texts(line.encode("latin-1") if reading.byte_level else line, advice)
    prompt, text = (_units(part, reading) for part in (given.prompt, given.text))
    labels = tuple(label_value(name, given.row.get(name)) for name in division.labels)
    vectors = tuple(given.row.get(name) for name in division.vectors)
    for name, vector in zip(division.vectors, vectors, strict=True):
        if vector is not None:
            check_vector(name, vector, None)
    return Document(prompt + text, len(prompt), labels, vectors)


class JsonTexts(NamedTuple):
    """A JSON line: its prompt, "" for none, its text, and the whole object."""

    prompt: str
    text: str
    row: dict[str, Any]


def json_texts(line: str | bytes, advice: str = "") -> JsonTexts:
    """The prompt and the text of a JSON line. Raises CorpusError, with ``advice`` if it is not JSON."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise CorpusError(f"not JSON ({reason}){advice}") from error
    if not isinstance(row, dict):
        raise CorpusError(f'not a JSON object such as {{"text": "..."}}{advice}')
    given: dict[str, Any] = {PROMPT: row.get(PROMPT), TEXT: row.get(TEXT)}
    given[PROMPT] = "" if given[PROMPT] is None else given[PROMPT]
    for field, value in given.items():
        if not isinstance(value, str):
            has = f"its fields: {', '.join(map(str, row))}" if field not in row else "it must be a text"
            raise CorpusError(f'no text in the field "{field}"; {has}')
        check_characters(f'the field "{field}"', value)
    return JsonTexts(given[PROMPT], given[TEXT], row)


def check_characters(what: str, text: str) -> None:
    """Raise CorpusError for half of a surrogate pair, which JSON can hold and no file."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise CorpusError(f"{what} holds U+{code:04X}, half of a character: remove it") from error


def label_value(name: str, value: Any) -> str | None:
    """A field of a JSON line as the value of a label; None where it is missing. Raises CorpusError."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        kind = {list: "a list", dict: "an object", float: "a fraction", bool: "true or false"}[type(value)]
        raise CorpusError(f"label {name} is {kind}; it must be a text or a whole number")
    check_characters(f"label {name}", str(value))
    return str(value)


def _units(text: str, reading: Reading) -> str:
    """A text in JSON as units, its line ends as ``reading`` says."""
    if reading.newlines == "lf":
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.encode("utf-8", "surrogatepass").decode("latin-1") if reading.byte_level else text
