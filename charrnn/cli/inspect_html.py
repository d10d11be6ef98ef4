"""``inspect-cell --html``: a page with a text, the values of units, and what the units follow."""

from __future__ import annotations

import json
import math
import re
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from charrnn.cli import shades
from charrnn.cli.curves import Curve
from charrnn.cli.info import curves_of
from charrnn.cli.inspect_find import concept_reader, search
from charrnn.cli.inspect_input import Subject
from charrnn.cli.inspect_options import chosen_units
from charrnn.cli.options import check_new_file, threads
from charrnn.cli.page import write_page
from charrnn.cli.score_output import Characters, Symbols
from charrnn.cli.terminal import Terminal, printable
from charrnn.errors import ConfigError, CorpusError
from charrnn.version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from charrnn.inference.network import Ids
    from charrnn.inspection.concepts import Concept, ConceptReader
    from charrnn.inspection.find_units import Found
    from charrnn.inspection.page_data import Reading, Unit
    from charrnn.text.vocabulary import Vocabulary

BUDGET = 20_000_000
"""Bytes of values and predictions in a page. Compressed and written as text they take about 8 % more."""
PREDICTION_BYTES = 18
"""About the bytes of a character's predictions."""
LABELS = {"hidden": "hidden state", "memory": "cell state", "candidate": "candidate"}
"""What the page calls signals other than gates."""
CURVE_FIELDS = ("checkpoint", "cell", "layer", "state", "singular_value")
"""The fields of a line of ``gradient-flow --json`` that are the same along a curve."""


class _Search(NamedTuple):
    """The concepts, their labels (N, C), and the units that follow them."""

    concepts: Sequence[Concept]
    labels: NDArray[Any]
    rows: Sequence[Found]


def write(out: Terminal, subject: Subject, options: dict[str, Any]) -> None:
    """Read the text and save the page."""
    from charrnn.inspection.activations import signal_name
    from charrnn.inspection.inspect_cell import check_units
    from charrnn.inspection.page_data import read_text

    path, inference, layer = options["html"], subject.inference, options["layer"]
    check_new_file("--html", path)
    gradients = _gradients(options["gradients"]) if options["gradients"] else []
    chosen = chosen_units(options["unit"], inference.config.hidden)
    check_units(inference, layer, chosen)
    signal = signal_name(inference.cell, options["of"])
    reader = concept_reader(subject, options)
    ids = subject.ids(out)
    is_named = bool(layer) or options["unit"] is not None or options["of"] is not None
    named = [(layer, unit) for unit in chosen] if is_named else []
    room = _room(subject, len(ids), len(named))
    search = _search(out, subject, ids, reader, options)
    units = _units(subject, room, named, search.rows)
    with out.bar(desc="reading", unit="char", unit_scale=True, total=len(ids), delay=1) as bar:
        reading = read_text(inference, ids, units, threads(), bar.update)
    count = inference.config.layers * inference.config.hidden
    if len(units) < count:
        longest = BUDGET // (PREDICTION_BYTES + count * len(inference.cell.signals))
        out.note(
            f"the page has the values of {len(units)} of the {count:,} units: those that --unit names or that"
            f" follow a concept; it has room for all units with a text of at most {longest:,} characters"
        )
    data = _data(subject, units, reading, search) | {"plots": _plots(subject, gradients)}
    data["start"] = {
        "unit": units.index(named[0]) if named else 0,
        "signal": inference.cell.signals.index(signal),
        "find": 0 if data["finds"] and not is_named else -1,
    }
    _write_page(path, subject, len(ids), data, _blobs(subject.vocabulary, ids, reading, search))
    out.note(f"wrote {path}")


def _search(
    out: Terminal, subject: Subject, ids: Ids, reader: ConceptReader, options: dict[str, Any]
) -> _Search:
    """The units that follow concepts in the text; none in a text that is too short for a search."""
    from charrnn.inspection.concepts import labels

    rows: Sequence[Found] = ()
    try:
        rows = search(out, subject, ids, reader, options).rows
    except CorpusError as error:
        out.note(f"the page has no ranking of units: {error}")
    concept_labels = labels(subject.vocabulary, ids, concept_reader(subject, options))
    return _Search(reader.concepts, concept_labels, sorted(rows, key=_rank))


def _rank(row: Found) -> tuple[bool, float]:
    """The sort key of the page's list: units beyond chance first, then by r or r given the character.

    The smaller of the two counts, so that a unit that only follows the character comes late.
    """
    return not row.beyond_chance, -min(abs(row.r or 0), abs(row.given_character or 0))


def _room(subject: Subject, characters: int, named: int) -> int:
    """The number of units for which a page of so many characters has room.

    Raises CorpusError where it has no room for the ``named`` units, or for one.
    """
    signals, fewest = len(subject.inference.cell.signals), max(1, named)
    room = (BUDGET // characters - PREDICTION_BYTES) // signals
    if room < fewest:
        longest = BUDGET // (PREDICTION_BYTES + signals * fewest)
        units, fewer = (f"{named} units", ", or fewer units") if named > 1 else ("a unit", "")
        raise CorpusError(
            f"{subject.text.name}: {characters:,} characters are too many for a page with {units};"
            f" give a text of at most {longest:,}{fewer}"
        )
    return room


def _units(subject: Subject, room: int, named: Sequence[Unit], rows: Iterable[Found]) -> list[Unit]:
    """The units of the page: all of them, or those named and the best that were found, if not all fit."""
    config = subject.inference.config
    if room >= config.layers * config.hidden:
        return [(layer, unit) for layer in range(config.layers) for unit in range(config.hidden)]
    candidates = [*named, *((row.layer, row.unit) for row in rows)] or [(0, 0)]
    return sorted(list(dict.fromkeys(candidates))[:room])


def _data(subject: Subject, units: Sequence[Unit], reading: Reading, search: _Search) -> dict[str, Any]:
    """What the page's program needs besides the arrays."""
    from charrnn.inspection.page_data import MIDDLE, NATS_STEPS, gate_saturation, scales

    cell, symbols = subject.inference.cell, Symbols(subject.vocabulary)
    gates = [cell.signals.index(gate) for gate in cell.sigmoid_gates]
    concepts = {concept.name: index for index, concept in enumerate(search.concepts)}
    return {
        "layers": subject.inference.config.layers,
        "hidden": subject.inference.config.hidden,
        "bytes": subject.vocabulary.byte_level,
        "symbols": [symbols.shown(symbol) for symbol in range(len(subject.vocabulary))],
        "likeliest": reading.likeliest.shape[1],
        "idArray": f"Uint{8 * reading.likeliest.itemsize}Array",
        "natsSteps": NATS_STEPS,
        "middle": MIDDLE,
        "signals": [
            {
                "label": LABELS.get(name, f"{name} gate"),
                "low": 0 if index in gates else -1,
                "gate": gates.index(index) if index in gates else None,
            }
            for index, name in enumerate(cell.signals)
        ],
        "units": [
            {
                "layer": layer,
                "unit": unit,
                "scales": scales(values).tolist(),
                "saturated": gate_saturation(values[gates]),
            }
            for (layer, unit), values in zip(units, reading.values, strict=True)
        ],
        "concepts": [
            {
                "label": _concept_label(concept),
                "number": concept.number,
                "highest": float(values.max(initial=0)) or 1,
            }
            for concept, values in zip(search.concepts, search.labels.T, strict=True)
        ],
        "finds": [
            {
                "unit": units.index((row.layer, row.unit)),
                "signal": cell.signals.index(row.signal),
                "concept": concepts[row.concept],
                "scores": _scores(row),
                "chance": not row.beyond_chance,
            }
            for row in search.rows
            if (row.layer, row.unit) in units
        ],
    }


def _concept_label(concept: Concept) -> str:
    """The description of a concept, without the details after a comma or colon; or the regular expression."""
    from charrnn.inspection.concepts import CONCEPTS

    if concept in CONCEPTS:
        return re.split("[,:]", concept.description)[0]
    return f"{concept.description} of {concept.name}"


def _scores(row: Found) -> list[tuple[str, str]]:
    """The names and values of a unit's scores that are defined."""
    scores = (
        ("r", row.r),
        ("given the character", row.given_character),
        ("AUC", row.auc),
        ("F1", row.f1),
        ("p", row.p),
    )
    return [(name, f"{score:.2f}") for name, score in scores if score is not None]


def _shown(vocabulary: Vocabulary, ids: Ids) -> tuple[str, list[int]]:
    """The characters of the text as the page shows them, and the positions of the last symbol of each."""
    decoder, shown, positions = Characters(vocabulary), [], []
    for position, symbol in enumerate(ids.tolist()):
        for character, _ in decoder.add(symbol, 0.0):
            shown.append(character if character in "\n\t" else shades.visible(character))
            positions.append(position)
    return "".join(shown), positions


def _blobs(vocabulary: Vocabulary, ids: Ids, reading: Reading, search: _Search) -> Iterator[tuple[str, str]]:
    """The names and the contents of the page's arrays: little-endian, compressed, then base64."""
    import numpy as np

    from charrnn.inspection.page_data import as_bytes

    def packed(array: NDArray[Any]) -> str:
        little_endian = array.astype(array.dtype.newbyteorder("<"))
        return b64encode(zlib.compress(little_endian.tobytes())).decode()

    yield "ids", packed(ids)
    yield "likeliest", packed(reading.likeliest)
    yield "surprise", packed(reading.surprise)
    text, positions = _shown(vocabulary, ids)
    yield "shown", packed(np.frombuffer(text.encode(), np.uint8))
    if vocabulary.byte_level:
        yield "positions", packed(np.array(positions, np.uint32))
    for index, labels in enumerate(search.labels.T):
        highest = labels.max(initial=0) or 1
        yield f"concept-{index}", packed(np.rint(labels / highest * 255).astype(np.uint8))
    for index, values in enumerate(reading.values):
        yield f"unit-{index}", packed(as_bytes(values))


def _plots(subject: Subject, gradients: Sequence[Curve]) -> dict[str, Any]:
    """The curves of the page, where there are any."""
    losses = curves_of([(subject.name, subject.checkpoint.path)])
    axes = {"x": "characters back", "y": "mean norm of d loss / d state"}
    return {
        "loss": {"curves": _points(losses), "x": "epochs", "y": "nats per character", "log": False},
        "gradients": {"curves": _points(gradients), **axes, "log": True},
    }


def _points(curves: Iterable[Curve]) -> list[dict[str, Any]]:
    """Curves as the page's program reads them. Points at infinity are left out: JSON has no infinity."""
    return [
        {
            "label": printable(curve.label),
            "group": curve.group,
            "dashed": curve.dashed,
            "points": [point for point in zip(curve.x, curve.y, strict=True) if math.isfinite(point[1])],
        }
        for curve in curves
    ]


def _gradients(path: Path) -> list[Curve]:
    """The curves of a file that ``gradient-flow --json`` wrote. Raises ConfigError for another file."""
    norms: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    try:
        for line in path.read_text("utf-8").splitlines():
            fields = json.loads(line)
            key = tuple(fields.get(name) for name in CURVE_FIELDS)
            norms.setdefault(key, []).append((float(fields["distance"]), float(fields["norm"])))
        if not norms:
            raise ValueError("no lines")
        return [_gradient_curve(key, points) for key, points in norms.items()]
    except OSError as error:
        raise ConfigError(f"--gradients {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"--gradients {path}: must be the output of gradient-flow --json") from error


def _gradient_curve(key: tuple[Any, ...], points: Sequence[tuple[float, float]]) -> Curve:
    """The curve of a state: a colour for each network, dashes for the cell state."""
    checkpoint, cell, layer, state, singular_value = key
    matrix = "" if singular_value is None else f", largest singular value {singular_value:.2f}"
    network, (distances, norms) = checkpoint or cell, zip(*points, strict=True)
    label = f"{network} layer {layer} {state}{matrix}"
    return Curve(label, distances, norms, f"{network}{matrix}", state != "hidden")


def _write_page(
    path: Path,
    subject: Subject,
    characters: int,
    data: dict[str, Any],
    blobs: Iterable[tuple[str, str]],
) -> None:
    """Write the page. Raises CharrnnError."""
    from charrnn.inspection.gates import LEFT, RIGHT

    config, results = subject.inference.config, subject.checkpoint.header.results
    layers = "1 layer" if config.layers == 1 else f"{config.layers} layers"
    count = config.layers * config.hidden
    validation = results.get("validation_bpc")
    write_page(
        path,
        "inspect.html",
        model=subject.name,
        text={"a sample": "a sample of its own", "standard input": "a text"}.get(
            subject.text.name, Path(subject.text.name).name
        ),
        characters=characters,
        network=f"{layers} of {config.hidden:,} {config.cell.upper()} units",
        units="" if len(data["units"]) == count else f"{len(data['units'])} of its {count:,} units",
        left=LEFT,
        right=RIGHT,
        version=__version__,
        validation=f"{validation:.2f}" if validation else "",
        data=data,
        blobs=blobs,
    )
