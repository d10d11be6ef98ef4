"""Documents to score: those of a text, of single lines, or of a part of a run's own text."""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from charrnn.cli.condition_options import row_values
from charrnn.cli.reading_options import Unknown
from charrnn.cli.score_input import Model
from charrnn.cli.score_line_reader import WINDOW, End, Line, LineScorer
from charrnn.cli.score_output import Score, sum_of
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_reader import SKIP_BYTES, title
from charrnn.cli.text_source import open_text, read_units
from charrnn.errors import CharrnnError, CheckpointError, CorpusError

if TYPE_CHECKING:
    from charrnn.cells import State
    from charrnn.conditions import Values
    from charrnn.inference.network import Ids
    from charrnn.inference.score import ScoredPiece
    from charrnn.text.document_corpus import DocumentCorpus
    from charrnn.text.documents import Document

AS_LINES = "to read each line as it is: --lines"


class Entry(NamedTuple):
    """A document: its ids with END, how many of them are its prompt, and the values of its conditions.

    ``row`` is the JSON object of its line.
    """

    ids: Ids
    prompt: int = 0
    values: Values = {}  # noqa: RUF012 - never changed
    row: dict[str, Any] | None = None


class DocumentScorer(LineScorer):
    """Scores documents under one model of documents; END counts as a character.

    For a model of JSON lines or of labels, the first line that is not blank decides whether each line is a
    JSON object with a "text".
    """

    def __init__(self, out: Terminal, model: Model, unknown: Unknown) -> None:
        from charrnn.inference.conditioned import conditions_of

        super().__init__(out, model, unknown, False, "none")
        self._conditions = conditions_of(model.predictor)
        self._states: dict[str, State] = {}
        self._as_json: bool | None = None
        # bytes that are not UTF-8 are surrogates in units that keep them
        self._encoding = ("latin-1",) if model.vocabulary.byte_level else ("utf-8", "surrogateescape")

    # --- what is read ---

    def of_text(self, path: str) -> Iterator[list[Entry]]:
        """The documents of a file, or of stdin for "-", some at a time. Raises CharrnnError."""
        from charrnn.text.documents import documents

        assert self.model.division is not None
        skip = self.reader.unknown is Unknown.skip
        source, reading = open_text(
            self.reader.out, self.model.vocabulary, path, advice=SKIP_BYTES, keep_invalid=skip
        )
        number = 0
        for block in documents([source], reading, self.model.division, advice=f"; {AS_LINES}"):
            entries = []
            for document in block:
                number += 1
                entries.append(self._entry(document, f"document {number} of {title(path)}"))
            yield entries

    def _entry(self, document: Document, name: str) -> Entry:
        assert self.model.division is not None
        names = self.model.division.all_labels + self.model.division.vectors
        row = dict(zip(names, (*document.labels, *document.vectors), strict=True))
        values = row_values(self._conditions, row)
        line = Line(name, 0, document.units.encode(*self._encoding))
        return Entry(self._with_end(line, "as it is"), document.prompt, values)

    def of_part(self, corpus: DocumentCorpus, part: range) -> Iterator[list[Entry]]:
        """The documents of a part of the text that the model learned, some at a time."""
        import numpy as np

        numbers = corpus.numbers(part)[:: -1 if corpus.vocabulary.backward else 1]  # in text order
        for first in range(0, len(numbers), WINDOW):
            yield [
                Entry(
                    np.roll(corpus.document(number), -1).astype(np.int64),  # START, first, is also END
                    int(corpus.table[number]["prompt"]),
                    corpus.values(number),
                )
                for number in numbers[first : first + WINDOW]
            ]

    def of_lines(self, lines: Sequence[Line]) -> list[Entry]:
        """The document of each line, which may be a JSON object with a "text". Raises CharrnnError."""
        first = next((line for line in lines if line.content.strip()), None)
        if self._as_json is None and first is not None:
            self._as_json = _is_json(first)
        return [self._of_json(line) if self._as_json else self._of_line(line) for line in lines]

    def _of_line(self, line: Line) -> Entry:
        return Entry(self._with_end(line, "none"))

    def _of_json(self, line: Line) -> Entry:
        from charrnn.text.documents import json_texts

        if not line.content.strip():
            return Entry(self.reader.vocabulary.encode(""))
        place = f"{line.name}, line {line.number}"
        try:
            prompt, text, row = json_texts(_content(line))
        except CorpusError as error:
            raise CorpusError(f"{place}: {error}; the first line is a JSON object") from error
        try:
            values = row_values(self._conditions, row)
        except CharrnnError as error:
            raise type(error)(f"{place}: {error}") from error
        before, ids = (
            self.reader.encode(line._replace(data=part.encode("utf-8", "surrogatepass")), "as it is")
            for part in (prompt, text)
        )
        return Entry(self._ended(before, ids), len(before), values, row)

    def of_file(self, path: str) -> Entry:
        """A whole file, or all of stdin for "-", as one document. Raises CharrnnError."""
        skip = self.reader.unknown is Unknown.skip
        units = "".join(
            read_units(self.reader.out, self.model.vocabulary, path, advice=SKIP_BYTES, keep_invalid=skip)
        )
        data = units.rstrip("\r\n").encode(*self._encoding)
        entry = Entry(self._with_end(Line(title(path), 0, data), "as it is"))
        self.reader.check_not_empty(title(path), len(entry.ids))
        return entry

    def _with_end(self, line: Line, end: End) -> Ids:
        return self._ended(self.reader.encode(line, end))

    def _ended(self, *parts: Ids) -> Ids:
        """The ids of a document in parts, with its END; none for one without a known character."""
        import numpy as np

        if self.model.vocabulary.backward:
            parts = parts[::-1]
        ids = np.concatenate([*parts, [self.model.vocabulary.boundary]]).astype(np.int64)
        return ids if len(ids) > 1 else ids[:0]

    # --- what is scored ---

    def begin(self, prompt: str = "") -> None:
        """Begin a text; each document follows the prompt. Raises UnknownCharacterError."""
        super().begin(prompt)
        assert self.model.division is not None
        names = self.model.division.all_labels + self.model.division.vectors
        may_be_json = self.model.division.kind == "json" or bool(names)
        self._as_json = None if may_be_json and not prompt else False

    def score(self, lines: Sequence[Line]) -> list[Score]:
        """The score of the document of each line. Raises CharrnnError."""
        return self.score_entries(self.of_lines(lines))

    def score_entries(self, entries: Sequence[Entry]) -> list[Score]:
        """The score of each document. Raises CheckpointError."""
        from charrnn.inference.choice import DAMAGED
        from charrnn.inference.score_lines import score_lines

        skips = [entry.prompt if self.model.text_only else 0 for entry in entries]
        states = [self._state(entry.values) for entry in entries]
        ids = [entry.ids for entry in entries]
        nats = score_lines(self.model.predictor, ids, self._start, states, skips).tolist()
        if any(map(math.isnan, nats)):
            raise CheckpointError(f"{self.model.name}: {DAMAGED}")
        sizes = [max(0, len(i) - skip) for i, skip in zip(ids, skips, strict=True)]
        result = [Score(size, 0.0 - log) for size, log in zip(sizes, nats, strict=True)]
        self.total = sum_of([self.total, *result])
        self.lines += len(entries)
        return result

    def score_under(self, entries: Sequence[Entry], name: str, value: str) -> list[Score]:
        """The score of each document under this value of a label. Raises CheckpointError."""
        return self.score_entries([entry._replace(values={**entry.values, name: value}) for entry in entries])

    def pieces(self, entries: Sequence[Entry]) -> Iterator[ScoredPiece]:
        """The documents with the log-probabilities of all symbols at each position that counts.

        They are in the order of the text; END is the last.
        """
        from charrnn.inference.score import ScoredPiece, pieces_in_text_order, score_stream

        for entry in entries:
            before, state = self._start.unread, self._state(entry.values)
            skip = entry.prompt if self.model.text_only else 0
            pieces = score_stream(self.model.predictor, [entry.ids], before, state)
            if self.model.vocabulary.backward:
                pieces = pieces_in_text_order(pieces, self.model.vocabulary.boundary)
            for ids, scores in pieces:
                if skip < len(ids):
                    yield ScoredPiece(ids[skip:], scores[skip:])
                skip = max(0, skip - len(ids))

    def _state(self, values: Values) -> State:
        """The state before a document with these values; those of the options come first."""
        from charrnn.inference.conditioned import conditioned

        values = {name: value for name, value in values.items() if value is not None}
        if not values:
            return self._start.state
        key = json.dumps(values)
        if key not in self._states:
            if len(self._states) > MOST_STATES:
                self._states.clear()
            predictor = conditioned(self.model.predictor, {**values, **self.model.values})
            self._states[key] = predictor.start(1)
        return self._states[key]


MOST_STATES = 1000
"""States of different labels that are kept."""


def _content(line: Line) -> bytes:
    """A line without a byte order mark and its newline."""
    return line.content.removeprefix(codecs.BOM_UTF8)


def _is_json(line: Line) -> bool:
    """Whether a line is a JSON object with a "text"."""
    try:
        row = json.loads(_content(line))
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and isinstance(row.get("text"), str)


def line_scorer(out: Terminal, model: Model, unknown: Unknown, carry: bool, end: End) -> LineScorer:
    """What scores lines under a model: as documents, for a model of documents."""
    if model.vocabulary.documents:
        return DocumentScorer(out, model, unknown)
    return LineScorer(out, model, unknown, carry, end)
