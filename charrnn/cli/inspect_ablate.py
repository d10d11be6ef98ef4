"""``charrnn inspect-cell --ablate`` and ``--clamp``: what the model loses when units are held at a value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from charrnn.cli.curves import save_pictures
from charrnn.cli.inspect_find import concept_reader, short_name
from charrnn.cli.inspect_input import Subject
from charrnn.cli.inspect_options import chosen_units
from charrnn.cli.options import threads
from charrnn.cli.table import rounded, write_figures
from charrnn.cli.terminal import Terminal
from charrnn.errors import CorpusError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from charrnn.inspection.ablate import Change
    from charrnn.inspection.concept_table import Concept

SEED = 0
"""Seeds the random sets and the bootstrap: the same command prints the same figures."""


def write(out: Terminal, subject: Subject, options: dict[str, Any]) -> None:
    """Write how much holding the units changes the loss, everywhere and inside and outside each concept."""
    import numpy as np

    from charrnn.inference.clamp import checked_value
    from charrnn.inspection import ablate
    from charrnn.inspection.concepts import positions_inside
    from charrnn.inspection.inspect_cell import check_units

    inference, layer, value = subject.inference, options["layer"], options["clamp"]
    units = chosen_units(options["unit"], inference.config.hidden)
    check_units(inference, layer, units)
    reader = concept_reader(subject, options)
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
    inside = positions_inside(subject.vocabulary, ids, reader)
    with bar(desc=f"loss with {1 + len(sets)} sets of units held") as progress:
        losses = ablate.measure(
            inference, ids, layer, [units, *sets], held, inside, threads(), progress.update
        )
    changes = list(ablate.changes(losses, generator))
    setting = f"{subject.name}, layer {layer}, {_held(units, held, value is None)}"
    beside = f"{len(sets)} random sets of as many units" if sets else "too few other units for random sets"
    out.note(f"{setting}; {beside}; loss and changes in bits per character")
    _note_what_is_missing(out, changes, reader.concepts)
    _write_changes(out, setting, changes, reader.concepts, options)


def _write_changes(
    out: Terminal,
    setting: str,
    changes: Sequence[Change],
    concepts: Sequence[Concept],
    options: dict[str, Any],
) -> None:
    """Write the table or the JSON lines, and save the pictures."""
    names = ["whole text" if change.concept is None else concepts[change.concept].name for change in changes]
    row = _json_row if options["as_json"] else _row
    write_figures(out, list(map(row, names, changes)), options["as_json"])
    save_pictures(out, options["png"], options["svg"], setting, lambda figure: _plot(figure, names, changes))


def _held(units: Sequence[int], held: NDArray[np.float64], at_means: bool) -> str:
    """Which units are held, and at what."""
    shown = ", ".join(map(str, units[:8])) + (", ..." if len(units) > 8 else "")
    if len(units) > 1:
        return f"units {shown} held at {'their means' if at_means else f'{held[0]:g}'}"
    return f"unit {shown} held at {'its mean, ' * at_means}{held[units[0]]:.4g}"


def _note_what_is_missing(out: Terminal, changes: Sequence[Change], concepts: Sequence[Concept]) -> None:
    """Print to stderr which concepts have no rows, and why rows have no interval."""
    from charrnn.inspection.ablate import FEWEST_STRETCHES, STRETCH

    present = {change.concept for change in changes}
    missing = [concept.name for number, concept in enumerate(concepts) if number not in present]
    if missing:
        out.note(f"left out, because this text shows them nowhere or everywhere: {', '.join(missing)}")
    if any(math.isnan(change.interval[0]) for change in changes):
        out.note(
            f"an interval needs {FEWEST_STRETCHES} stretches of {STRETCH} characters, inside and outside"
        )


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
    """A row of the table: the figures of the JSON line, fewer and shorter, so that it fits 100 columns."""
    row = _json_row(name, change)
    is_difference = change.where == "difference"

    def interval(low: str, high: str) -> str:
        return "" if math.isnan(row[low]) else f"{rounded(row[low]):.4f}, {rounded(row[high]):.4f}"

    return {
        "concept": short_name(name),
        "where": change.where,
        "characters": None if is_difference else change.characters,
        "bpc": math.nan if is_difference else row["bpc"],
        "change": rounded(row["change"]),
        "95 %": interval("low", "high"),
        "random units": interval("random_low", "random_high"),
        "p": "" if math.isnan(row["p"]) else f"{row['p']:.3f}",
    }


def _plot(figure: Figure, names: Sequence[str], changes: Sequence[Change]) -> None:
    """Draw each part of the text as a line: the random sets, and the units with their interval."""
    lines = [pair for pair in zip(names, changes, strict=True) if pair[1].where != "difference"]
    axes = figure.subplots()
    for y, (_, change) in enumerate(lines):
        random = axes.plot(change.random / math.log(2), [y] * len(change.random), "o", color="0.6", alpha=0.5)
        interval = [value / math.log(2) for value in change.interval]
        axes.plot(interval, [y, y], color="tab:red", linewidth=3)
        units = axes.plot(change.change / math.log(2), y, "D", color="tab:red")
    axes.axvline(0, color="0.3", linewidth=0.8)
    labels = [f"{name}, {change.where}" for name, change in lines]
    axes.set_yticks(range(len(lines)), labels, parse_math=False)  # an expression may have dollar signs
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel("change of the loss, bits per character")
    axes.grid(axis="x", alpha=0.3)
    figure.set_figheight(1.8 + 0.3 * len(lines))
    figure.legend(
        [*units, *random],
        ["the units, with their 95 % interval", "random sets of as many units"],
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
