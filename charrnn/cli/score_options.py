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
from charrnn.cli.sample_options import WEIGHTS_HELP, Unknown, parse_weights


class Part(StrEnum):
    """A part of a run's own text."""

    validation = "validation"
    test = "test"


_lines, _models = panel("Lines"), panel("Several checkpoints")
_where, _reading = panel("Where the model is surprised"), panel("Reading")

Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CHECKPOINT|FILE|-",
        help="Checkpoints, then texts. A checkpoint is a file, a run's folder or its name; several are"
        " mixed. - is standard input.",
        show_default="the newest run, and the text that is piped in",
        autocompletion=completion.checkpoints,
    ),
]
PartOfText = Annotated[
    Part | None, option("Score this part of the run's own text (train --split).", "--part")
]
AsJson = Annotated[bool, option("Print JSON lines.", "--json")]

Lines = Annotated[bool, option("Score each line by itself, and print a row for each.", "--lines")]
Carry = Annotated[bool, _lines("Keep the state from one line to the next.")]
Sort = Annotated[bool, _lines("Print the least probable lines first; keeps all lines in memory.")]
Above = Annotated[
    float | None, _lines("Print only the lines with more bits per character, unchanged.", metavar="BPC")
]
Below = Annotated[
    float | None, _lines("Print only the lines with fewer bits per character, unchanged.", metavar="BPC")
]
Top = Annotated[int | None, _lines("Print only the N least probable lines, unchanged.", min=1, metavar="N")]

Weights = Annotated[
    Sequence[float] | None,
    _models(WEIGHTS_HELP, default="auto", metavar="auto|equal|A,B,...", parser=parse_weights),
]
Compare = Annotated[
    bool,
    _models("Compare the checkpoints instead of mixing them: which one gives each line more probability."),
]
Candidates = Annotated[
    str | None,
    _lines("Rank the lines of this file as continuations of --prompt.", metavar="PATH|-"),
]
Prompt = Annotated[
    str | None, _lines("The text before each candidate.", "--prompt", "-p", metavar="TEXT", parser=parse_text)
]

Chars = Annotated[
    bool, option("Print each character with its probability, its rank and likelier characters.", "--chars")
]
Colour = Annotated[
    terminal.Colour,
    _where("When to print the text itself, shaded by surprise; auto: in a terminal.", "--colour", "--color"),
]
Html = Annotated[
    Path | None,
    _where("Save the text as a web page, shaded by surprise.", metavar="FILE", callback=refuse_stdout),
]
Worst = Annotated[int | None, _where("Print the N most surprising places, with context.", min=1, metavar="N")]

Adapt = Annotated[
    bool,
    option(
        "Let the model learn the text while it reads (dynamic evaluation); print the plain score and the gain"
        " too.",
        "--adapt",
    ),
]
UnknownCharacters = Annotated[
    Unknown,
    _reading(
        "Characters outside the vocabulary: stop with an error, skip them, or read the nearest known"
        " character (e for é)."
    ),
]
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

CONFLICTS = (
    *(
        (("--candidates", name), "candidates have rows of their own")
        for name in (
            "--lines",
            "--part",
            "--chars",
            "--worst",
            "--colour",
            "--html",
            "--compare",
            "--streams",
        )
    ),
    *(
        (("--compare", name), "a comparison says which model gives more probability")
        for name in ("--part", "--chars", "--worst", "--colour", "--html", "--streams", "--weights")
    ),
    *(
        (("--compare", name), "choose and sort the rows of a comparison with jq (--json) or awk")
        for name in ("--sort", "--above", "--below", "--top")
    ),
    (("--lines", "--chars", "--worst", "--colour", "--html"), "give only one of them"),
    *((("--lines", name), "lines have rows of their own") for name in ("--streams", "--part")),
    *(
        (("--streams", name), "pieces that are read at once give only the total")
        for name in ("--chars", "--worst", "--colour", "--html")
    ),
    (("--part", "--unknown"), "the run's text holds only characters that the model knows"),
    (("--adapt", "--lines"), "lines are scored apart, and a model adapts to one text"),
    (("--adapt", "--compare"), "a comparison is of the checkpoints as they are"),
    (("--adapt", "--candidates"), "candidates are scored apart, and a model adapts to one text"),
    (("--adapt", "--streams"), "a model learns the text in its order"),
    (("--json", "--colour"), "JSON has no colours"),
)
"""Options of which only one may be given, and why."""


def check_combinations(context: typer.Context) -> None:
    """Raises ConfigError for options that exclude or lack each other."""
    refuse_combinations(changed_options(context), NEEDS, CONFLICTS)
