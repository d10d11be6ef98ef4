"""``charrnn inspect-cell --ablate`` and ``--clamp``: what the model loses when units are held at a value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from charrnn.cli.inspect_input import Subject
from charrnn.cli.inspect_options import chosen_units
from charrnn.cli.options import threads
from charrnn.cli.table import rounded, write_figures
from charrnn.cli.terminal import Terminal
from charrnn.errors import CorpusError

if TYPE_CHECKING:
    from charrnn.inspection.ablate import Change
    from charrnn.inspection.concepts import ConceptReader

SEED = 0
"""Of the random sets and of the bootstrap: the same command prints the same figures."""


def write(out: Terminal, subject: Subject, options: dict[str, Any]) -> None:
    """Write how much holding the units changes the loss, everywhere and inside and outside each concept."""
    import numpy as np

    from charrnn.inference.clamp import checked_value
    from charrnn.inspection import ablate
    from charrnn.inspection.concepts import ConceptReader, labels
    from charrnn.inspection.inspect_cell import check_units

    inference, layer, value = subject.inference, options["layer"], options["clamp"]
    units = chosen_units(options["unit"], inference.config.hidden)
    check_units(inference, layer, units)
    names, expressions = options["concept"] or None, options["find_regex"] or ()
    reader = ConceptReader(
        () if expressions and names is None else names, expressions, subject.vocabulary.byte_level
    )
    generator = np.random.default_rng(SEED)
    sets = ablate.random_sets(units, inference.config.hidden, options["random_sets"], generator)
    if value is not None:
        held = np.full(inference.config.hidden, checked_value(value))

    ids = subject.ids(out)
    if len(ids) < 2:
        raise CorpusError(f"{subject.text.name}: one character: the loss is that of the characters after it")
    bar = partial(out.bar, unit="char", unit_scale=True, total=len(ids), delay=1)
    if value is None:
        with bar(desc="means") as progress:
            held = ablate.hidden_means(inference, ids, layer, threads(), progress.update)
    inside = ablate.inside(labels(subject.vocabulary, ids, reader), reader.concepts)
    with bar(desc=f"loss with {1 + len(sets)} sets of units held") as progress:
        losses = ablate.measure(
            inference, ids, layer, [units, *sets], held, inside, threads(), progress.update
        )
    changes = list(ablate.changes(losses, generator))
    _note(out, changes, reader, f"layer {layer}, {_held(units, value)}; {len(sets)} random sets of as many")
    write = _json_row if options["as_json"] else _row
    write_figures(out, [write(_name(change, reader), change) for change in changes], options["as_json"])


def _held(units: Sequence[int], value: float | None) -> str:
    """Which units are held, and at what."""
    shown = ",".join(map(str, units[:8])) + (",..." if len(units) > 8 else "")
    return f"unit{'s' * (len(units) > 1)} {shown} held at {'the mean' if value is None else f'{value:g}'}"


def _note(out: Terminal, changes: Sequence[Change], reader: ConceptReader, setting: str) -> None:
    """Print what was measured, and what could not be measured, to stderr."""
    from charrnn.inspection.ablate import FEWEST_STRETCHES, STRETCH

    out.note(f"{setting}; loss and changes in bits per character")
    shown = {change.concept for change in changes}
    for number, concept in enumerate(reader.concepts):
        if number not in shown:
            out.note(f"{concept.name}: left out, because it is the same at all characters of this text")
    if any(math.isnan(change.interval[0]) for change in changes):
        out.note(
            f"an interval needs {FEWEST_STRETCHES} stretches of {STRETCH} characters, inside and outside"
        )


def _name(change: Change, reader: ConceptReader) -> str:
    return "whole text" if change.concept is None else reader.concepts[change.concept].name


def _json_row(name: str, change: Change) -> dict[str, Any]:
    """A JSON line, in bits per character."""
    import numpy as np

    low, high = change.interval
    random = change.random if len(change.random) else np.array([np.nan])
    figures = {
        "bpc": change.loss,
        "change": change.change,
        "low": low,
        "high": high,
        "random_median": float(np.median(random)),
        "random_low": float(random.min()),
        "random_high": float(random.max()),
    }
    bits = {key: round(figure / math.log(2), 6) for key, figure in figures.items()}
    row = {"concept": name, "where": change.where, "characters": change.characters}
    return {**row, **bits, "p": round(change.p, 6)}


def _row(name: str, change: Change) -> dict[str, Any]:
    """A row of the table: the figures of the JSON line, fewer and shorter."""
    row = _json_row(name, change)

    def span(low: str, high: str) -> str:
        return "" if math.isnan(row[low]) else f"{rounded(row[low]):.4f} to {rounded(row[high]):.4f}"

    return {
        **{key: row[key] for key in ("concept", "where", "characters", "bpc")},
        "change": rounded(row["change"]),
        "95 %": span("low", "high"),
        "random units": span("random_low", "random_high"),
        "p": row["p"],
    }
