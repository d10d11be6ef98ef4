"""The options of ``charrnn inspect-cell``: their help, and the combinations that are refused."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from charrnn.cli import completion
from charrnn.cli.options import (
    given_options,
    option,
    panel,
    picture_option,
    refuse_combinations,
    refuse_stdout,
    utf8,
)
from charrnn.cli.reading_options import Unknown, unknown_option
from charrnn.cli.terminal import Colour
from charrnn.errors import ConfigError

_concepts, _held, _errors, _output = (
    panel("Concepts (--find, --ablate, --clamp, --html)"),
    panel("Held units (--ablate, --clamp)"),
    panel("Errors (--errors)"),
    panel("Output and reading"),
)


def parse_units(value: str) -> Sequence[range] | None:
    """Parse "7,12-15" as [range(7, 8), range(12, 16)], "all" as []. Raises ValueError, "must be ..."."""
    if value == "all":
        return []
    ranges = []
    for part in value.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal()) or int(last) < int(first):
            raise ValueError("must be all, or numbers and ranges such as 7,8,12-15")
        ranges.append(range(int(first), int(last) + 1))
    return ranges


def chosen_units(value: Sequence[range] | None, hidden: int) -> Sequence[int]:
    """The units that a value of --unit names, in a layer of ``hidden`` units; by default unit 0.

    A range that leaves the layer ends with the first number outside, which ``check_units`` then refuses.
    """
    if value is None:
        return [0]
    ranges = value or [range(hidden)]
    units = [numbers[: max(1, hidden + 1 - numbers.start)] for numbers in ranges]
    return list(dict.fromkeys(chain(*units)))


Layer = Annotated[int, option("The units' layer; 0 is the lowest.", min=0)]
Unit = Annotated[
    Sequence[range] | None,
    option(
        "The units' numbers, from 0.",
        default="0",
        metavar="7,8,12-15|all",
        parser=parse_units,
    ),
]
Of = Annotated[
    str | None,
    option(
        "The signal to show: hidden (hidden state), cell (cell state), attention or a gate, such as forget."
        " Attention is how much each of the last outputs counts, in a model of train --attention.",
        default="cell, or hidden where there is no cell state",
        metavar="SIGNAL",
        complete=completion.signals,
    ),
]
Find = Annotated[bool, option("Rank all units by how well they follow concepts, such as quotes.", "--find")]
Ablate = Annotated[
    bool,
    option(
        "Measure what the model loses without the units. Their hidden states are held at their means; as many"
        " random units, held too, are the comparison.",
        "--ablate",
    ),
]
Gates = Annotated[bool, option("Show how often each gate is nearly closed or open.", "--gates")]
Errors = Annotated[bool, option("Show the reasons of the model's errors, such as rare words.", "--errors")]
Html = Annotated[
    Path | None,
    option(
        "Save a page to look at and to send. It has the text in the colours of any unit, the ranked units,"
        " the gates and the loss curve.",
        metavar="FILE",
        callback=refuse_stdout,
    ),
]
AsJson = Annotated[bool, option("Print JSON lines.", "--json")]
Sample = Annotated[int | None, option("Read a sample of N characters instead of a text.", min=1, metavar="N")]
Concept = Annotated[
    list[str] | None,
    _concepts(
        "Only this concept: quotes, comments, brackets, indentation, line-position, since-newline, word,"
        " capital, digit, line-start, next-space, next-newline, next-letter, next-capital, next-digit or"
        " next-punctuation. Can be repeated.",
        default="all; none with --find-regex",
        metavar="NAME",
        complete=completion.concepts,
    ),
]
FindRegex = Annotated[
    list[str] | None,
    _concepts(
        "A concept of your own: inside a match of this expression, or inside its first named group. ^ and $"
        " match at every line. Can be repeated.",
        metavar="REGEX",
        parser=utf8,
    ),
]
Top = Annotated[
    int | None,
    _concepts(
        "Units that --find and --html show for each concept.", default="as many as make about 20 lines", min=1
    ),
]
Clamp = Annotated[
    float | None,
    _held("As --ablate, but hold the units' hidden states at this value.", metavar="VALUE"),
]
RandomSets = Annotated[
    int,
    _held(
        "Random sets of other units to compare with; more take longer and allow a smaller P.", min=1, max=1000
    ),
]
Ngram = Annotated[
    str | None,
    _errors(
        "The n-gram model of the first oracle: it removes the errors at which this model is right.",
        default="the one beside the run, made by train --with-ngram or charrnn ngram",
        metavar="CHECKPOINT",
        complete=completion.checkpoints,
    ),
]
TrainingText = Annotated[
    str | None,
    _errors(
        "The text that the model learned, to count how often each word occurs in it.",
        default="the run's own text, where it is now",
        metavar="TEXT",
        complete=completion.texts,
    ),
]
Colours = Annotated[Colour, _output("When to colour the output; auto: in a terminal.", "--colour", "--color")]
Png = Annotated[
    Path | None, picture_option(_output, "a plot of the values, --ablate, --gates or --errors", "PNG")
]
Svg = Annotated[
    Path | None, picture_option(_output, "a plot of the values, --ablate, --gates or --errors", "SVG")
]
Gradients = Annotated[
    Path | None,
    _output(
        "Add to the page of --html the curves of this file, made by gradient-flow --json.", metavar="FILE"
    ),
]
Seed = Annotated[
    int | None, _output("Seed of the sample.", "--seed", "-s", default="random; printed on stderr", min=0)
]
UnknownCharacters = Annotated[Unknown, unknown_option(_output, "Characters of the text")]


ATTENTION = "attention"
"""The value of --of that asks for the weights of attention instead of the values of units."""


class Mode(NamedTuple):
    """One of the things that the command can do.

    flags    options that ask for it
    options  the other options that have an effect
    """

    flags: tuple[str, ...]
    options: tuple[str, ...]


ALWAYS = ("--unknown", "--quiet", "--checkpoints")
"""The options that have an effect in every mode."""

_SAMPLE, _UNITS, _PICTURES = ("--sample", "--seed"), ("--layer", "--unit"), ("--png", "--svg")
_CONCEPTS = ("--find-regex", "--concept")

VALUES = Mode((), (*_UNITS, "--of", "--json", "--colour", *_PICTURES, *_SAMPLE))
"""The mode without flags: show the values of units."""

MODES = {
    "html": Mode(
        ("--html",), (*_UNITS, "--of", "--find", "--gates", "--gradients", *_CONCEPTS, "--top", *_SAMPLE)
    ),
    "attention": Mode(("--of attention",), ("--json", "--colour", *_PICTURES, *_SAMPLE)),
    "ablate": Mode(
        ("--ablate", "--clamp"), (*_UNITS, *_CONCEPTS, "--random-sets", "--json", *_PICTURES, *_SAMPLE)
    ),
    "gates": Mode(("--gates",), ("--json", "--colour", *_PICTURES, *_SAMPLE)),
    "errors": Mode(("--errors",), ("--ngram", "--training-text", "--corpora", "--json", *_PICTURES)),
    "find": Mode(("--find", *_CONCEPTS), ("--top", "--json", *_SAMPLE)),
}
"""The modes with flags. Where flags of several modes are given, the mode that comes first here is meant: with
--html, --find and --gates are parts of the page; --concept alone means --find."""

NEEDS = {"--ablate": ("--unit",), "--clamp": ("--unit",)}
"""Options that have no effect unless one of the others is given."""

CONFLICTS = (
    (("--ablate", "--clamp"), "give only one of them"),
    (("--json", "--colour"), "JSON has no colours"),
)
"""Options of which only one may be given, and why."""


def mode(context: typer.Context) -> str:
    """What the options ask for: a key of MODES, or "values", the values of units.

    Raises ConfigError for options that exclude or lack each other.
    """
    given = [name for name in given_options(context, *context.params) if name.startswith("--")]
    if context.params["colour"] is not Colour.always:
        given = [name for name in given if name != "--colour"]  # there is nothing to refuse
    if context.params["of"] == ATTENTION:
        given = [f"--of {ATTENTION}" if name == "--of" else name for name in given]
    asked = next(
        ((name, flag) for name, mode in MODES.items() for flag in mode.flags if flag in given), ("values", "")
    )
    _refuse_without_effect(given, *asked)
    refuse_combinations(given, NEEDS, CONFLICTS)
    return asked[0]


def _refuse_without_effect(given: Sequence[str], name: str, flag: str) -> None:
    """Raise ConfigError for an option that has no effect in the mode for which ``flag`` asks."""
    mode = MODES.get(name, VALUES)
    effective = {*ALWAYS, *mode.flags, *mode.options}
    for option_name in (option_name for option_name in given if option_name not in effective):
        if any(option_name in other.flags for other in MODES.values()):
            raise ConfigError(f"{flag} and {option_name}: give only one of them")
        if flag:
            raise ConfigError(f"{option_name} has no effect with {flag}")
        needed = [other.flags[0] for other in MODES.values() if option_name in other.options]
        raise ConfigError(f"{option_name} has no effect without {' or '.join(needed)}")
