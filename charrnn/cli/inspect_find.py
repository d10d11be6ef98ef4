"""``inspect-cell --find``: units that follow concepts."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from charrnn.cli.inspect_input import Subject
from charrnn.cli.options import threads
from charrnn.cli.table import write_table
from charrnn.cli.terminal import Terminal
from charrnn.errors import CorpusError
from charrnn.files import json_line

if TYPE_CHECKING:
    from charrnn.inference.network import Ids
    from charrnn.inspection.concepts import ConceptReader
    from charrnn.inspection.find_units import Findings, Found

COLUMNS = (
    *("CONCEPT", "UNIT", "SIGNAL", "R", "CHANCE", "GIVEN CHAR", "CHAR"),
    *("AUC", "F1", "BITS", "RUN", "P", ""),
)
LONGEST_NAME = 16
"""Characters of the longest expression that a table shows whole: as many as those of the longest concept."""


def write(out: Terminal, subject: Subject, options: dict[str, Any]) -> None:
    """Write the best units of each concept. Raises CorpusError for a text without concepts."""
    from charrnn.inspection.find_units import FEWEST

    reader = concept_reader(subject, options)
    findings = search(out, subject, subject.ids(out), reader, options)
    if findings.left_out:
        names = ", ".join(findings.left_out)
        out.note(f"left out, because one part has fewer than {FEWEST} characters on or off: {names}")
    if not findings.rows:
        raise CorpusError("no unit can be compared with a concept in this text: give another text")
    window = subject.checkpoint.header.training.bptt
    side = "before" if subject.vocabulary.backward else "after"
    out.note(
        f"chosen on {findings.ranking:,} characters from {findings.tried:,} signals of units, measured on the"
        f" {findings.reporting:,} characters {side} them; trained with windows of {window}"
    )
    if options["as_json"]:
        for row in findings.rows:
            more = {"beyond_chance": row.beyond_chance, "window": window}
            out.write(json_line({key: _rounded(value) for key, value in asdict(row).items()} | more))
        return
    write_table(out, [COLUMNS, *map(_cells, findings.rows)], right=range(3, len(COLUMNS) - 1))
    if not all(row.beyond_chance for row in findings.rows):
        out.note("by chance: a unit follows shifted labels as well, or follows the concept in one part only")


def concept_reader(subject: Subject, options: dict[str, Any]) -> ConceptReader:
    """Reads the concepts of --concept and --find-regex. Raises ConfigError."""
    from charrnn.inspection.concepts import ConceptReader

    expressions = options["find_regex"] or []
    names = options["concept"] or ([] if expressions else None)
    return ConceptReader(names, expressions, subject.vocabulary.byte_level)


def short_name(concept: str) -> str:
    """The name of a concept, or the beginning of its expression, as tables show it."""
    return concept if len(concept) <= LONGEST_NAME else f"{concept[: LONGEST_NAME - 1]}…"


def search(
    out: Terminal, subject: Subject, ids: Ids, reader: ConceptReader, options: dict[str, Any]
) -> Findings:
    """Search the text (N,) for units, with a progress bar. Raises ConfigError, CorpusError."""
    from charrnn.inspection.find_units import find, ranking_size

    total = len(ids) + ranking_size(len(ids))
    with out.bar(desc="finding", unit="char", unit_scale=True, total=total, delay=1) as bar:
        return find(subject.inference, subject.vocabulary, ids, reader, options["top"], threads(), bar.update)


def _rounded(value: object) -> object:
    """A score without the digits that depend on the order of the threads."""
    return round(value, 6) if isinstance(value, float) else value


def _cells(row: Found) -> list[str]:
    """A row of the table."""
    scores = (row.r, row.chance, row.given_character, row.character, row.auc, row.f1, row.bits)
    return [
        short_name(row.concept),
        f"{row.layer}:{row.unit}",
        row.signal,
        *("-" if score is None else f"{score:.2f}" for score in scores),
        f"{row.longest_run:,}",
        f"{row.p:.2f}",
        "" if row.beyond_chance else "by chance",
    ]
