"""What a label is worth: the loss of documents under their own label, without one, and under wrong ones.

With --svg, also a picture of these losses, and of what the values add to the first layer, in a plane: the two
directions in which they differ most (principal components).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import common
import numpy as np
from numpy.typing import NDArray

import charrnn
from charrnn.conditions import Label
from charrnn.runs import checkpoint

KINDS = ("own label", "no label", "wrong labels")


def embeddings(path: Path, name: str) -> tuple[list[str], NDArray[np.float64]]:
    """The values of a label, and (K, 2) where W_ih v, what they add to the first layer, lies in the plane."""
    loaded = checkpoint.load(path)
    network = loaded.header.network
    names = [condition.name for condition in network.conditions]
    index = names.index(name)
    label, width = network.conditions[index], network.condition_width
    assert isinstance(label, Label)
    embedded = loaded.weights[f"conditions.{index}.weight"][1:].astype(np.float64)
    first = (network.embedding or len(loaded.header.vocabulary)) + index * width
    rows = embedded @ loaded.weights["layers.0.weight_ih"][:, first : first + width].T
    centred = rows - rows.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    plane: NDArray[np.float64] = centred @ directions[:2].T
    return list(label.values), plane


def losses(
    model: charrnn.Model, rows: list[dict[str, Any]], name: str, values: list[str]
) -> dict[str, float]:
    """Mean nats per character, ends included, of documents under each of KINDS."""
    totals, characters = dict.fromkeys(KINDS, 0.0), 0
    for row in rows:
        text, own = row["text"], row[name]
        wrong = [value for value in values if value != own]
        characters += len(text) + 1
        totals["own label"] -= model.log_probabilities(text, labels={name: own}).sum()
        totals["no label"] -= model.log_probabilities(text).sum()
        each = [model.log_probabilities(text, labels={name: value}).sum() for value in wrong]
        totals["wrong labels"] -= float(np.mean(each))
    return {kind: total / characters for kind, total in totals.items()}


def draw(path: Path, values: list[str], plane: NDArray[np.float64], measured: dict[str, float]) -> None:
    """Save the picture."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasSVG(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    left.scatter(plane[:, 0], plane[:, 1], s=18, color="#1f77b4")
    for place, index in enumerate(plane[:, 0].argsort()):  # above and below in turn: neighbours stay apart
        offset = (4, 4) if place % 2 else (4, -11)
        left.annotate(values[index], plane[index], xytext=offset, textcoords="offset points", fontsize=9)
    left.set_title("the values of the label, in the plane", fontsize=10)
    left.margins(0.2)
    left.tick_params(labelbottom=False, labelleft=False)
    bars = right.bar(list(measured), list(measured.values()), color=["#2ca02c", "#7f7f7f", "#d62728"])
    right.bar_label(bars, fmt="%.2f")
    right.set_title("nats per character", fontsize=10)
    right.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a run with labels, or its checkpoint")
    parser.add_argument("text", type=Path, help="JSON lines that the run has not learned")
    parser.add_argument("--label", required=True)
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--svg", type=Path)
    chosen = parser.parse_args()
    model = charrnn.load(chosen.run)
    values, plane = embeddings(model.path, chosen.label)
    rows = [json.loads(line) for line in chosen.text.read_text(encoding="utf-8").splitlines()]
    known = [
        row for row in rows if set(row["text"]) <= set(model.symbols) and row.get(chosen.label) in values
    ]
    measured = losses(model, known[: chosen.lines], chosen.label, values)
    print(common.machine())
    common.table(
        ("documents", *KINDS),
        [(min(len(known), chosen.lines), *(f"{loss:.3f}" for loss in measured.values()))],
    )
    if chosen.svg:
        draw(chosen.svg, values, plane, measured)


if __name__ == "__main__":
    main()
