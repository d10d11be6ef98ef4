"""``charrnn inspect-cell``: the units of a network: their values, what they follow, and their use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from charrnn.cli import inspect_options as option
from charrnn.cli.inspect_input import Subject
from charrnn.cli.options import (
    CORPORA,
    RUNS,
    CheckpointArgument,
    CheckpointsOption,
    CorporaOption,
    QuietOption,
    TextArgument,
    find_checkpoint,
    one_thread,
)
from charrnn.cli.reading_options import Unknown
from charrnn.cli.terminal import Colour, Terminal
from charrnn.cli.text_reader import Reader, Text
from charrnn.errors import ConfigError

if TYPE_CHECKING:
    from charrnn.inference.network import Ids, Inference
    from charrnn.text.vocabulary import Vocabulary

SAMPLES = {"values": 500, "attention": 500, "html": 2_000}
"""Characters of a sample to look at in a terminal or on a page, by mode."""
LONG_SAMPLE = 20_000
"""Characters of a sample to measure on, in all other modes."""


def inspect_cell(
    context: typer.Context,
    checkpoint: CheckpointArgument = None,
    text: TextArgument = None,
    layer: option.Layer = 0,
    unit: option.Unit = None,
    of: option.Of = None,
    find: option.Find = False,
    concept: option.Concept = None,
    find_regex: option.FindRegex = None,
    top: option.Top = None,
    ablate: option.Ablate = False,
    clamp: option.Clamp = None,
    random_sets: option.RandomSets = 39,
    gates: option.Gates = False,
    errors: option.Errors = False,
    ngram: option.Ngram = None,
    training_text: option.TrainingText = None,
    html: option.Html = None,
    as_json: option.AsJson = False,
    colour: option.Colours = Colour.auto,
    png: option.Png = None,
    svg: option.Svg = None,
    gradients: option.Gradients = None,
    sample: option.Sample = None,
    seed: option.Seed = None,
    unknown: option.UnknownCharacters = Unknown.error,
    quiet: QuietOption = False,
    corpora: CorporaOption = CORPORA,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    """Look inside a network: the values of its units, what they follow, and what it loses without them.

    Without --find, --ablate, --clamp, --gates, --errors or --html, prints the text with the values of units
    after each character. In colour, the background is red below 0 and blue above; more than 12 units are a
    heat map, two on each line. Without colour, a line of marks for each unit follows each line of the text:
    ▁▂▃▄ from -1 up to 0, none near 0, ▅▆▇█ from 0 up to 1. Values lie between -1 and 1, those of sigmoid
    gates between 0 and 1; the cell state c is shown as tanh(c). The candidate and hidden state of mingru and
    minlstm and the hidden state of lstm-cs230 have no bounds. --of attention shows weights, from 0 to 1.

    Without TEXT and --sample, the text is what is piped in or, if nothing is, a sample.

    --find chooses units on the first part of the text and measures them on the other part. R is the
    correlation of a unit with the concept; CHANCE, that of the best unit with shifted labels; GIVEN CHAR, R
    beyond what the current character says; CHAR, how well the current character alone predicts the concept;
    BITS, the mutual information; RUN, the most characters in a row for which the unit is on; P, the
    probability that some unit follows some concept so well by chance.

    --ablate: CHANGE is how much the loss rises with the units held, in bits per character, in the whole text
    and inside and outside each concept; 95 %, its confidence interval; RANDOM UNITS, the lowest and the
    highest change with as many other units held; P, the share of all these sets whose change is at least as
    large as that of the units.

    --gates: LEFT is the share of the characters at which a gate is below 0.1, nearly closed; RIGHT, above
    0.9, nearly open. Both are means of the layer's units. MOSTLY LEFT and MOSTLY RIGHT count the units with a
    share above 0.9.

    --errors: an error is a character with a probability below 0.5. An oracle knows one reason for errors, and
    removes those that the oracles before it have left (Karpathy, Johnson & Fei-Fei 2015). REMAINING counts
    the errors after it; BPC is the loss of those that it removes.

    Examples:
      charrnn inspect-cell shakespeare notes.txt --find
      charrnn inspect-cell shakespeare notes.txt --unit 7,8,12-15
      charrnn inspect-cell --unit all --colour always < notes.txt | less -R
      charrnn inspect-cell python code.py --unit 414 --ablate --concept quotes
      charrnn inspect-cell python code.py --gates --svg gates.svg
      charrnn inspect-cell python code.py --errors
      charrnn inspect-cell shakespeare notes.txt --html page.html
      charrnn inspect-cell --of forget --json < out.txt | jq 'select(.value > 0.9)'
    """
    mode = option.mode(context)
    out: Terminal = context.obj
    out.stdin_advice = "give - as TEXT to read it"
    if text is not None and sample is not None:
        raise ConfigError("TEXT and --sample: give one of the two")
    one_thread()
    subject = _subject(out, mode, context.params)
    match mode:
        case "find":
            from charrnn.cli.inspect_find import write
        case "ablate":
            from charrnn.cli.inspect_ablate import write
        case "gates":
            from charrnn.cli.inspect_gates import write
        case "errors":
            from charrnn.cli.inspect_errors import write
        case "attention":
            from charrnn.cli.inspect_attention import write
        case "html":
            from charrnn.cli.inspect_html import write
        case _:
            from charrnn.cli.inspect_values import write
    write(out, subject, context.params)


def _subject(out: Terminal, mode: str, options: dict[str, Any]) -> Subject:
    """The network, and the text that it is to read: a file, stdin, or a sample of its own.

    ``options`` are the command's parameters by name.
    """
    from charrnn.inference.network import Inference
    from charrnn.inference.sample import opening_ids
    from charrnn.runs.checkpoint import load
    from charrnn.runs.find import model_name

    loaded = load(find_checkpoint(out, options["checkpoint"], options["checkpoints"]))
    inference, vocabulary = Inference(loaded.header.network, loaded.weights), loaded.header.vocabulary
    if vocabulary.backward and mode in ("errors", "html"):
        raise ConfigError(
            f"--{mode} does not work with a backward model: leave it out, or give a model that was trained"
            " without --backward"
        )
    reader = Reader(out, vocabulary, options["unknown"])
    # Given "-" as CHECKPOINT, stdin was the model.
    if options["text"] is None and (options["sample"] is not None or not out.stdin_unread):
        length = options["sample"] or SAMPLES.get(mode, LONG_SAMPLE)
        pieces = _fresh_sample(out, inference, vocabulary, length, options["seed"])
        text = Text("a sample", pieces, opening_ids(vocabulary), length)
    else:
        if options["seed"] is not None:
            raise ConfigError("--seed has no effect with a text: only a sample is random")
        (text,) = reader.texts([options["text"] or "-"])
    return Subject(model_name(loaded.path), loaded, inference, text, reader)


def _fresh_sample(
    out: Terminal, inference: Inference, vocabulary: Vocabulary, length: int, seed: int | None
) -> Iterator[Ids]:
    """Yields the ids of a sample of the model, (length,). The seed is printed only if the ids are needed."""
    from charrnn.inference import sample as sampling

    seed = sampling.choose_seed(seed)
    out.note(f"seed {seed}")
    yield sampling.sample_ids(inference, vocabulary, length, sampling.sample_generator(seed), 0.8)
