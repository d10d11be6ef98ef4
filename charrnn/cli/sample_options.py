"""The options of ``charrnn sample``: their help, their parsers, and the combinations that are refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from charrnn.cli import completion, terminal
from charrnn.cli.options import (
    changed_options,
    check_new_file,
    option,
    panel,
    parse_text,
    refuse_combinations,
    refuse_stdout,
    utf8,
)
from charrnn.cli.reading_options import Unknown, unknown_option, weights_option
from charrnn.errors import ConfigError

if TYPE_CHECKING:
    from charrnn.text.vocabulary import Vocabulary


class Ramp(NamedTuple):
    """Temperature of the first character and of the last; constant where ``end`` is None."""

    start: float
    end: float | None = None


def parse_ramp(value: str) -> Ramp:
    """Parse "0.7" as Ramp(0.7), "0.3:1.2" as Ramp(0.3, 1.2). Raises ValueError, "must be ..."."""
    start, colon, end = value.partition(":")
    try:
        return Ramp(float(start), float(end) if colon else None)
    except ValueError as error:
        raise ValueError("must be a number, or a range such as 0.3:1.2") from error


class ClampedUnit(NamedTuple):
    """A layer, one of its units, and the value of the unit's hidden state."""

    layer: int
    unit: int
    value: float


def parse_clamp(value: str) -> ClampedUnit:
    """Parse "0:117=0.9" as ClampedUnit(0, 117, 0.9). Raises ValueError, "must be ..."."""
    unit, _, number = value.partition("=")
    layer, _, unit = unit.partition(":")
    try:
        return ClampedUnit(int(layer), int(unit), float(number))
    except ValueError as error:
        raise ValueError("must be LAYER:UNIT=VALUE, such as 0:117=0.9") from error


ESCAPES = r"The escapes \n, \t, \0 and \\ stand for newline, tab, NUL and backslash."
_prompt, _choice = panel("Prompt"), panel("Choosing the next character, in this order")
_amount, _beam = panel("Length and number"), panel("Beam search")
_state, _output = panel("Saved state"), panel("Output")

Checkpoints = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A checkpoint file (- for stdin), a run's folder or its name; several are mixed.",
        show_default="the newest run",
        autocompletion=completion.checkpoints,
    ),
]
Weights = Annotated[Sequence[float] | None, weights_option(_choice)]
Clamp = Annotated[
    list[ClampedUnit] | None,
    _choice(
        "Hold a unit's hidden state at this value while the prompt is read and the text is generated. Can be"
        " repeated.",
        metavar="LAYER:UNIT=VALUE",
        parser=parse_clamp,
    ),
]

PromptText = Annotated[
    str | None,
    option(rf"Continue this text. {ESCAPES}", "--prompt", "-p", metavar="TEXT", parser=parse_text),
]
PromptFile = Annotated[
    str | None,
    _prompt(
        "Continue the text of a file, or of stdin. Default: of stdin, if a text is piped in.",
        metavar="PATH|-",
    ),
]
PromptLines = Annotated[
    str | None,
    _prompt(
        "Continue each line of a file, or of stdin, in order. Lines can be JSON objects with the prompt as"
        ' "prompt"; --json keeps their other fields.',
        metavar="PATH|-",
    ),
]
Adapt = Annotated[
    bool,
    _prompt("Learn the prompt before continuing it (dynamic evaluation): for long prompts.", "--adapt"),
]
UnknownCharacters = Annotated[Unknown, unknown_option(_prompt, "Characters of a prompt")]

Ban = Annotated[
    list[str] | None, _choice("Never generate these characters.", metavar="CHARS", parser=parse_text)
]
Allow = Annotated[
    list[str] | None, _choice("Only generate these characters.", metavar="CHARS", parser=parse_text)
]
Match = Annotated[
    str | None,
    _choice("Generate text that matches the whole expression, then end.", metavar="REGEX", parser=utf8),
]
NoRepeat = Annotated[
    int, _choice("Never generate the same N characters twice.", default="0 (off)", metavar="N", min=0)
]
RepeatPenalty = Annotated[
    float, _choice("Divide the probability of recent characters by N.", default="1 (off)")
]
RepeatWindow = Annotated[int, _choice("Length of the recent text, prompt included.", min=1, max=1_000_000)]
Temperature = Annotated[
    Ramp | None,
    option(
        "Below 1: more repetitive; above 1: more varied. At 0: always the most probable character."
        " A:B changes from A at the first character to B at the last.",
        "--temperature",
        "-t",
        default="1",
        metavar="N|A:B",
        parser=parse_ramp,
    ),
]
TopK = Annotated[int, _choice("Choose among the N most probable characters.", default="0 (off)")]
TopP = Annotated[
    float,
    _choice("Choose among the fewest most probable characters that sum to N.", default="1 (off)"),
]
MinP = Annotated[
    float, _choice("Choose among characters at least N times as probable as the best.", default="0 (off)")
]
Typical = Annotated[float, _choice("Locally typical sampling with probability mass N.", default="1 (off)")]

Interactive = Annotated[
    bool,
    option(
        "Write together with the model: type a beginning, read its continuation, go on, retry, edit, undo.",
        "--interactive",
        "-i",
    ),
]
Length = Annotated[
    int,
    option("Maximum number of characters, without the prompt; 0: no limit.", "--length", "-n", min=0),
]
MinLength = Annotated[
    int,
    _amount("Minimum number of characters; --stop, --match and the end of a document come no sooner.", min=0),
]
Stop = Annotated[
    list[str] | None,
    option("Stop before this string; can be repeated.", metavar="STRING", parser=parse_text),
]
StopAtNewline = Annotated[bool, _amount("Stop at the end of the line.", "--stop-at-newline")]
KeepStop = Annotated[bool, _amount("Include the stop string.", "--keep-stop")]
Count = Annotated[int, option("Number of samples for each prompt.", min=1)]
Seed = Annotated[
    int | None,
    option("Same seed, same samples.", "--seed", "-s", default="random; printed on stderr", min=0),
]
Index = Annotated[
    int,
    _amount(
        "Number of the first sample: --index 7 repeats the last sample of --count 8, equal but for"
        " rounding; --batch 1 is exact.",
        min=0,
    ),
]
Batch = Annotated[
    int,
    _amount(
        "Samples generated at once, and prompts read at once. Affects only speed and rounding; --batch 1 is"
        " exact.",
        min=1,
        max=65_536,
    ),
]

Beam = Annotated[int | None, _beam("Search for the --count most probable texts, with N beams.")]
LengthPenalty = Annotated[
    float, _beam("Rank texts by log-probability / ((5 + characters) / 6) ** N; higher: longer texts.")
]
Diverse = Annotated[int, _beam("Form N groups of beams that avoid each other's choices.")]
Diversity = Annotated[float, _beam("Penalty, in nats, for repeating another group's choice.")]
Stochastic = Annotated[bool, _beam("Draw without replacement: no text occurs twice.", "--stochastic")]

SaveState = Annotated[
    Path | None,
    _state("Save the state at the end of the sample.", metavar="FILE", callback=refuse_stdout),
]
LoadState = Annotated[str | None, _state("Continue from a saved state.", metavar="FILE|-")]


def _new_file(value: Path | None) -> Path | None:
    """The value of --output; None for "-". Raises CharrnnError for a file that exists."""
    if value is None or value == Path("-"):
        return None
    check_new_file("--output", value)
    return value


NoEcho = Annotated[bool, _output("Leave the prompt out of the output.", "--no-echo")]
Output = Annotated[
    Path | None,
    option(
        "Write to this new file instead of stdout.", "--output", "-o", metavar="FILE|-", callback=_new_file
    ),
]
Delimiter = Annotated[
    str | None,
    _output(
        "Write this text after each of several samples.", default=r"\n", metavar="TEXT", parser=parse_text
    ),
]
AsJson = Annotated[
    bool,
    option(
        'Write a JSON line for each sample. Its fields: "index", "prompt", "text", "seed", "log_probability",'
        ' "ended"; with --beam also "score". Log-probabilities are in nats, under the unmodified model, or'
        " under the guided one (--guidance).",
        "--json",
    ),
]
Scores = Annotated[
    bool, _output('Add each character\'s log-probability as "log_probabilities"; implies --json.', "--scores")
]
Colour = Annotated[
    terminal.Colour,
    option("Shade characters by surprise; auto: in a terminal.", "--colour", "--color"),
]
Novel = Annotated[
    str | None,
    _output(
        "Report the longest run copied from a file, stdin, folder or catalogue entry.",
        metavar="TEXT|-",
        complete=completion.texts,
    ),
]


NEEDS = {
    "--keep-stop": ("--stop", "--stop-at-newline"),
    "--repeat-window": ("--repeat-penalty",),
    "--length-penalty": ("--beam",),
    "--diverse": ("--beam",),
    "--diversity": ("--diverse",),
    "--stochastic": ("--beam",),
    "--guidance": ("--label", "--vector", "--prompts", "--load-state"),
}
"""Options that have no effect unless one of the others is given."""

CONFLICTS = (
    *(
        (("--interactive", name), "a session in the terminal writes one text; /save FILE saves it")
        for name in ("--json", "--prompts", "--output", "--delimiter", "--no-echo", "--save-state", "--novel")
    ),
    (("--interactive", "--beam"), "a search finds the same text again, so there is nothing to choose from"),
    (("--prompt", "--prompt-file", "--prompts"), "give only one of them"),
    (("--save-state", "--prompts"), "a state file holds one sample"),
    (("--save-state", "--count"), "a state file holds one sample"),
    (("--prompts", "--adapt"), "the model adapts to one prompt"),
    (("--label", "--load-state"), "a saved state keeps its labels"),
    (("--vector", "--load-state"), "a saved state keeps its vectors"),
    (("--clamp", "--adapt"), "what is learned would work against the clamp"),
    *(
        ((name, "--adapt"), "a state file does not hold what is learned")
        for name in ("--save-state", "--load-state")
    ),
    (("--stochastic", "--length-penalty"), "samples without replacement are not ranked by length"),
    (("--beam", "--batch"), "a beam search reads its beams at once"),
    (("--json", "--colour"), "JSON has no colours"),
    (("--json", "--delimiter"), "JSON has one line for each sample"),
    (("--json", "--no-echo"), "JSON has the prompt in a field of its own"),
)
"""Options of which only one may be given, and why."""

NEED_AN_END = ("--count", "--prompts", "--json", "--scores", "--novel", "--save-state")
"""Options that need samples that end."""


def check_combinations(context: typer.Context) -> None:
    """Raises ConfigError for options that exclude or lack each other. A default value counts as not given."""
    values = context.params
    given = changed_options(context)
    if "--scores" in given:
        given.add("--json")
    refuse_combinations(given, NEEDS, CONFLICTS)
    ramp = values["temperature"]
    if not values["length"] and ramp and ramp.end is not None:
        raise ConfigError(
            f"--temperature {ramp.start:g}:{ramp.end:g} needs a --length above 0, over which it changes"
        )


def check_ends(context: typer.Context, vocabulary: Vocabulary) -> None:
    """Raises ConfigError where samples have to end and nothing ends them; documents end by themselves."""
    given = changed_options(context)
    if vocabulary.backward and "--interactive" in given:
        raise ConfigError(
            "--interactive continues a text at its end, and this model writes what comes before it: leave it"
            " out, and give the end of the text with --prompt"
        )
    if context.params["length"] > 0 or vocabulary.documents:
        return
    endless = [name for name in NEED_AN_END if name in given]
    if vocabulary.backward and "--stop" not in given and "--stop-at-newline" not in given:
        raise ConfigError(
            "--length 0: the sample of a backward model is printed when it is complete: add --stop or a"
            " --length"
        )
    if endless and given.isdisjoint(("--stop", "--stop-at-newline", "--match")):
        raise ConfigError(f"{endless[0]}: with --length 0 no sample ends; add --stop, --match or a --length")
