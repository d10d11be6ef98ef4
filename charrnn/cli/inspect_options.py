"""The options of ``charrnn inspect-cell``: their help, and the combinations that are refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli import completion
from charrnn.cli.options import changed_options, option, panel, refuse_combinations, refuse_stdout, utf8
from charrnn.cli.reading_options import Unknown, unknown_option

_find, _causes, _network, _output = (
    panel("Finding units"),
    panel("What a unit is for"),
    panel("The whole network"),
    panel("Output and reading"),
)


def parse_units(value: str) -> Sequence[int] | None:
    """Parse "7,8,12-15" as [7, 8, 12, 13, 14, 15], "all" as []. Raises ValueError, "must be ..."."""
    if value == "all":
        return []
    units: list[int] = []
    for part in value.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError("must be all, or numbers and ranges such as 7,8,12-15")
        units += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(units))


def chosen_units(value: Sequence[int] | None, hidden: int) -> Sequence[int]:
    """The units that a value of --unit names, in a layer of ``hidden`` units; by default unit 0."""
    return (value or range(hidden)) if value is not None else [0]


Layer = Annotated[int, option("The units' layer; 0 is the lowest.", min=0)]
Unit = Annotated[
    Sequence[int] | None,
    option(
        "The units' numbers in their layer, from 0.",
        default="0",
        metavar="7,8,12-15|all",
        parser=parse_units,
    ),
]
Of = Annotated[
    str | None,
    option(
        "Show the hidden state (hidden), the cell state (cell or memory) or a gate (input, forget, ...).",
        default="the cell state, or the hidden state where the cell has no cell state",
        metavar="SIGNAL",
        complete=completion.signals,
    ),
]
Find = Annotated[
    bool,
    option("Rank the units of all layers by how well they follow concepts, such as quotes.", "--find"),
]
FindRegex = Annotated[
    list[str] | None,
    _find(
        "Find units that are on inside a match of this expression, or inside its first named group. ^ and $"
        " match at every line. Can be repeated.",
        metavar="REGEX",
        parser=utf8,
    ),
]
Concept = Annotated[
    list[str] | None,
    _find(
        "Only this concept; can be repeated.",
        default="all; none with --find-regex",
        metavar="NAME",
        complete=completion.concepts,
    ),
]
Top = Annotated[
    int | None, _find("Units to show for each concept.", default="as many as make about 20 lines", min=1)
]
Ablate = Annotated[
    bool,
    option(
        "Measure the loss with the units held at their means. It is compared, inside and outside each"
        " concept, with the loss of the network as it is and with random units held.",
        "--ablate",
    ),
]
Clamp = Annotated[
    float | None,
    _causes("As --ablate, but hold the units' hidden states at this value.", metavar="VALUE"),
]
RandomSets = Annotated[
    int,
    _causes(
        "Number of random sets of other units of the layer that the units are compared with.",
        min=1,
        max=1000,
    ),
]
Gates = Annotated[
    bool, option("Show how often each gate is nearly closed (below 0.1) or open (above 0.9).", "--gates")
]
Errors = Annotated[
    bool, option("Show which of the model's errors have known reasons, as Karpathy et al. 2015.", "--errors")
]
Ngram = Annotated[
    str | None,
    _network(
        "The n-gram model of --errors.",
        default="the one beside the run, made by train --with-ngram or charrnn ngram",
        metavar="CHECKPOINT",
        complete=completion.checkpoints,
    ),
]
TrainingText = Annotated[
    str | None,
    _network(
        "The text that the model learned; --errors counts its words.",
        default="the run's own text, where it is now",
        metavar="TEXT",
        complete=completion.texts,
    ),
]
Html = Annotated[
    Path | None,
    option(
        "Save a page with the text, the units and what was found.", metavar="FILE", callback=refuse_stdout
    ),
]
AsJson = Annotated[bool, option("Print JSON lines.", "--json")]
Sample = Annotated[int | None, option("Read a sample of N characters.", min=1, metavar="N")]
Seed = Annotated[
    int | None, option("Seed of the sample.", "--seed", "-s", default="random; printed on stderr", min=0)
]
UnknownCharacters = Annotated[Unknown, unknown_option(_output, "Characters of the text")]

MODES = {
    "find": ("--find", "--find-regex", "--concept"),
    "ablate": ("--ablate", "--clamp"),
    "gates": ("--gates",),
    "errors": ("--errors",),
    "html": ("--html",),
}
"""What the command does instead of showing units, and the options that say so.

--find-regex and --concept also choose the concept of --ablate and --clamp, and those of the page.
"""

NEEDS = {
    "--seed": ("--sample",),
    "--top": ("--find", "--find-regex", "--concept", "--html"),
    "--ngram": ("--errors",),
    "--random-sets": ("--ablate", "--clamp"),
    "--training-text": ("--errors",),
}
"""Options that have no effect unless one of the others is given."""

CONFLICTS = (
    (("--find", "--ablate", "--gates", "--errors"), "give only one of them"),
    (("--find", "--clamp", "--gates", "--errors"), "give only one of them"),
    (("--ablate", "--clamp"), "give only one of them"),
    *(
        ((mode, name), reason)
        for mode in ("--ablate", "--clamp")
        for name, reason in (
            ("--of", "the hidden state is what is held"),
            ("--top", "the units are given, not ranked"),
        )
    ),
    (("--html", "--ablate", "--errors"), "give only one of them"),
    (("--html", "--clamp"), "give only one of them"),
    (("--json", "--html"), "the page is no JSON"),
    (("--json", "--colour"), "JSON has no colours"),
)
"""Options of which only one may be given, and why."""


def mode(context: typer.Context) -> str:
    """What the options ask for: a key of MODES, or "values", the values of units.

    Raises ConfigError for options that exclude or lack each other.
    """
    given = changed_options(context)
    refuse_combinations(given, NEEDS, CONFLICTS)
    for name in ("ablate", "gates", "errors", "html", "find"):
        if any(flag in given for flag in MODES[name]):
            return name
    return "values"
