"""The options of ``charrnn score``: their help, and the combinations that are refused."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli import completion
from charrnn.cli.options import option, panel, parse_text, refuse_stdout
from charrnn.cli.terminal import Colour


class Part(StrEnum):
    """A part of a run's own text."""

    validation = "validation"
    test = "test"


_lines, _models = panel("Lines"), panel("Several checkpoints")
_where, _reading = panel("Where the model is surprised"), panel("Reading")

Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CHECKPOINT]... [FILE|-]...",
        help="Checkpoints, then texts. A checkpoint is a file, a run's folder or its name; several are mixed.",
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
ColourOfSurprise = Annotated[
    Colour,
    _where("When to print the text itself, shaded by surprise; auto: in a terminal.", "--colour", "--color"),
]
Html = Annotated[
    Path | None,
    _where("Save the text as a web page, shaded by surprise.", metavar="FILE", callback=refuse_stdout),
]
Worst = Annotated[int | None, _where("Print the N most surprising places, with context.", min=1, metavar="N")]

Streams = Annotated[
    int,
    _reading("Cut the text into N pieces that are read at once: faster for long texts.", min=1, metavar="N"),
]
