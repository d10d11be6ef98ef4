"""The options of ``charrnn score``: their help, and the combinations that are refused."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli import completion, terminal
from charrnn.cli.options import (
    changed_options,
    option,
    panel,
    parse_text,
    refuse_combinations,
    refuse_stdout,
)
from charrnn.cli.reading_options import Unknown, unknown_option, weights_option


class Part(StrEnum):
    """A part of a run's own text."""

    validation = "validation"
    test = "test"


_models, _lines = panel("Several checkpoints"), panel("Lines")
_surprise, _reading = panel("Surprising characters"), panel("Reading")

Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CHECKPOINT TEXT|-",
        help="Checkpoints, then texts. A checkpoint is a file, a run's folder or its name; several are mixed."
        " A text is a file, or - for stdin.",
        show_default="the newest run, and the text that is piped in",
        autocompletion=completion.checkpoints,
    ),
]
PartOfText = Annotated[
    Part | None, option("Score this part of the text that the run learned (train --split).", "--part")
]
Lines = Annotated[bool, option("Score each line by itself; print a row for each.", "--lines")]
Chars = Annotated[
    bool, option("Print a row for each character: its probability, its rank, the alternatives.", "--chars")
]
Adapt = Annotated[
    bool,
    option(
        "Let the model learn the text while it reads (dynamic evaluation); also print the score without, and"
        " the gain.",
        "--adapt",
    ),
]
AsJson = Annotated[bool, option("Print JSON lines.", "--json")]

Weights = Annotated[Sequence[float] | None, weights_option(_models)]
Compare = Annotated[
    bool,
    _models(
        "Score with each checkpoint instead of a mixture; print which one gives the text, or with --lines"
        " each line, more probability."
    ),
]

Carry = Annotated[bool, _lines("Keep the state from one line to the next.")]
Sort = Annotated[
    bool, _lines("Print the lines with the most bits per character first; keeps all lines in memory.")
]
Above = Annotated[
    float | None, _lines("Print only the lines with more bits per character, unchanged.", metavar="BPC")
]
Below = Annotated[
    float | None, _lines("Print only the lines with fewer bits per character, unchanged.", metavar="BPC")
]
Top = Annotated[
    int | None,
    _lines("Print only the N lines with the most bits per character, unchanged.", min=1, metavar="N"),
]
Candidates = Annotated[
    str | None,
    _lines("Rank the lines of this file as continuations of --prompt.", metavar="PATH|-"),
]
Prompt = Annotated[
    str | None, _lines("The text before each candidate.", "--prompt", "-p", metavar="TEXT", parser=parse_text)
]

Worst = Annotated[
    int | None, _surprise("Print the N most surprising places, with context.", min=1, metavar="N")
]
Colour = Annotated[
    terminal.Colour,
    _surprise("Print the text itself, shaded by surprise; auto: in a terminal.", "--colour", "--color"),
]
Html = Annotated[
    Path | None,
    _surprise("Save the text as a web page, shaded by surprise.", metavar="FILE", callback=refuse_stdout),
]

UnknownCharacters = Annotated[Unknown, unknown_option(_reading, "Characters")]
Streams = Annotated[
    int,
    _reading("Cut the text into N pieces that are read at once: faster for long texts.", min=1, metavar="N"),
]

NEEDS = {
    **dict.fromkeys(("--sort", "--above", "--below", "--top"), ("--lines",)),
    "--carry": ("--lines",),
    "--prompt": ("--candidates",),
}
"""Options that have no effect unless one of the others is given."""

OUTPUTS = ("--candidates", "--chars", "--worst", "--colour", "--html", "--streams")
FILTERS = ("--sort", "--above", "--below", "--top")


def _pairs(option: str, others: Sequence[str], reason: str) -> list[tuple[tuple[str, ...], str]]:
    """Conflicts of an option with each of the others."""
    return [((option, other), reason) for other in others]


CONFLICTS = (
    (("--lines", *OUTPUTS), "give only one of them"),
    (("--compare", *OUTPUTS), "give only one of them"),
    *_pairs("--compare", FILTERS, "choose and sort the rows of a comparison with jq (--json) or awk"),
    (("--compare", "--weights"), "a comparison mixes no models"),
    *_pairs("--adapt", ("--label", "--vector"), "only a model without labels and vectors adapts"),
    *_pairs("--part", ("--lines", "--compare", "--candidates"), "a part is scored as one text"),
    (("--part", "--unknown"), "the run's text holds only characters that the model knows"),
    *_pairs("--adapt", ("--lines", "--compare", "--candidates"), "a model adapts to one text"),
    (("--adapt", "--streams"), "a model learns the text in its order"),
    (("--json", "--colour"), "JSON has no colours"),
)
"""Options of which only one may be given, and why."""


def check_combinations(context: typer.Context) -> None:
    """Raises ConfigError for options that exclude or lack each other."""
    refuse_combinations(changed_options(context), NEEDS, CONFLICTS)
