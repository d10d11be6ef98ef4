"""``charrnn sample``: write characters to stdout as they are drawn."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli import sample_options, shades
from charrnn.cli.options import (
    CheckpointsOption,
    CorporaOption,
    checkpoints_folder,
    corpora_folder,
    one_thread,
    terminal,
)
from charrnn.cli.sample_output import Lines, Plain, Text, Writer, deliver
from charrnn.cli.sample_prompts import Prompt, Prompts, Starts, Unknown, literal

if TYPE_CHECKING:
    pass


TEXTS, CHOICE, MUCH, BEAM, STATE, OUTPUT = (
    "What it goes on from",
    "Choosing characters, in this order",
    "How much",
    "Beam search",
    "Between calls",
    "Output",
)


def sample(
    context: typer.Context,
    checkpoint: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A checkpoint's file, a run's folder or its name; several are mixed; none: the newest run.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="0.7,0.3",
            help="How much of each checkpoint's probabilities. Default: of all as much.",
            show_default=False,
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Text to go on from, taken literally.", rich_help_panel=TEXTS),
    ] = None,
    prompt_file: Annotated[
        str | None,
        typer.Option(metavar="PATH|-", help="The prompt from a file, or from stdin.", rich_help_panel=TEXTS),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|-",
            help='A prompt a line, one output each, in order; JSON lines have it as "prompt", and keep'
            " their other fields with --json.",
            rich_help_panel=TEXTS,
        ),
    ] = None,
    unknown: Annotated[
        Unknown,
        typer.Option(
            help="Characters of a prompt that the model does not know: nearest reads an accented e as e,"
            " and tells.",
            rich_help_panel=TEXTS,
        ),
    ] = Unknown.error,
    ban: Annotated[
        list[str] | None, typer.Option(metavar="CHARS", help="None of these.", rich_help_panel=CHOICE)
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="CHARS", help="Only these.", rich_help_panel=CHOICE)
    ] = None,
    match: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Only what can still match the expression as a whole; ends when it has matched.",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    no_repeat: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="No N characters twice in one text; 0 is off.", rich_help_panel=CHOICE
        ),
    ] = 0,
    repeat_penalty: Annotated[
        float,
        typer.Option(
            help="Divides the probability of characters that have just been written; 1 is off.",
            rich_help_panel=CHOICE,
        ),
    ] = 1.0,
    repeat_window: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000,
            help="How many characters have just been written. Default: 64.",
            show_default=False,
            rich_help_panel=CHOICE,
        ),
    ] = None,
    temperature: Annotated[
        str,
        typer.Option(
            metavar="T|A:B",
            help="Below 1 bolder, above 1 wilder; 0 always takes the most probable; A:B from A to B over"
            " the length.",
            rich_help_panel=CHOICE,
        ),
    ] = "1",
    top_k: Annotated[
        int, typer.Option(help="Only the K most probable characters; 0 is all.", rich_help_panel=CHOICE)
    ] = 0,
    top_p: Annotated[
        float,
        typer.Option(
            help="Only the most probable characters that make up P together.", rich_help_panel=CHOICE
        ),
    ] = 1.0,
    min_p: Annotated[
        float,
        typer.Option(
            help="Only characters at least P times as probable as the best; 0 is all.",
            rich_help_panel=CHOICE,
        ),
    ] = 0.0,
    typical: Annotated[
        float,
        typer.Option(
            help="Only the characters of the most typical surprise that make up P together.",
            rich_help_panel=CHOICE,
        ),
    ] = 1.0,
    length: Annotated[
        int,
        typer.Option(
            min=0,
            help="Characters at most, the prompt not counted; 0 is endless.",
            rich_help_panel=MUCH,
        ),
    ] = 1000,
    min_length: Annotated[
        int,
        typer.Option(min=0, help="No --stop or --match ends it before so many.", rich_help_panel=MUCH),
    ] = 0,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STRING",
            help="Ends the text, and does not belong to it; may be given several times.",
            rich_help_panel=MUCH,
        ),
    ] = None,
    stop_at_newline: Annotated[
        bool, typer.Option("--stop-at-newline", help="End with the line.", rich_help_panel=MUCH)
    ] = False,
    keep_stop: Annotated[
        bool,
        typer.Option("--keep-stop", help="The stop string belongs to the text.", rich_help_panel=MUCH),
    ] = False,
    count: Annotated[int, typer.Option(min=1, help="Texts for each prompt.", rich_help_panel=MUCH)] = 1,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, help="The same seed draws the same text. Default: drawn, and told.", rich_help_panel=MUCH
        ),
    ] = None,
    index: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of the first text: --index 7 draws what is number 7 of --count 8.",
            rich_help_panel=MUCH,
        ),
    ] = 0,
    batch: Annotated[
        int,
        typer.Option(
            min=1,
            max=65_536,
            help="Texts drawn side by side at most, and prompts read at a time; changes no text.",
            rich_help_panel=MUCH,
        ),
    ] = 64,
    beam: Annotated[
        int | None,
        typer.Option(
            metavar="WIDTH",
            help="Instead of drawing, search for the --count most probable texts.",
            rich_help_panel=BEAM,
        ),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            help="Texts are compared by log-probability / ((5 + characters) / 6) ** this. Default: 0.6.",
            show_default=False,
            rich_help_panel=BEAM,
        ),
    ] = None,
    diverse: Annotated[
        int | None,
        typer.Option(metavar="GROUPS", help="Groups of beams that differ.", rich_help_panel=BEAM),
    ] = None,
    diversity: Annotated[
        float | None,
        typer.Option(
            help="Nats that a character loses for each beam of an earlier group that has it. Default: 0.5.",
            show_default=False,
            rich_help_panel=BEAM,
        ),
    ] = None,
    stochastic: Annotated[
        bool,
        typer.Option(
            "--stochastic",
            help="Draw texts without replacement: no text comes twice.",
            rich_help_panel=BEAM,
        ),
    ] = False,
    save_state: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep where the text ends.", rich_help_panel=STATE),
    ] = None,
    load_state: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Go on where a text ended.", rich_help_panel=STATE),
    ] = None,
    no_echo: Annotated[
        bool,
        typer.Option("--no-echo", help="Leave the prompt out of the output.", rich_help_panel=OUTPUT),
    ] = False,
    delimiter: Annotated[
        str,
        typer.Option(
            help=r"After each text, where there are several: \n, \t, \0 or any text.", rich_help_panel=OUTPUT
        ),
    ] = r"\n",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help='A line a text: {"index", "prompt", "text", "seed", "log_probability", "ended"}, in nats'
            ' under the model itself; "score" with --beam.',
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    scores: Annotated[
        bool,
        typer.Option(
            "--scores",
            help='The log-probability of every character, as "log_probabilities"; implies --json.',
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    colour: Annotated[
        bool,
        typer.Option(
            "--colour",
            help="Shade characters by surprise, on a terminal (or with FORCE_COLOR).",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    novel: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Tell the longest run that each text has copied from this file, folder or catalogue's text.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    corpora: CorporaOption = None,
    checkpoints: CheckpointsOption = None,
) -> None:
    r"""Write text, character by character, as it is drawn.

    Examples:
      charrnn sample shakespeare --prompt 'ROMEO:' --length 2000 > out.txt

      charrnn sample --temperature 0.7 --length 0 | head -n 20

      echo -n 'def main(' | charrnn sample code --prompt-file - --no-echo

      charrnn sample names --count 20 --stop-at-newline --match '[A-Z]\w+'

      charrnn sample shakespeare --prompt 'KING' --beam 16 --count 4 --json | jq -r .text

      jq -c '{id, prompt: .title}' books.jsonl | charrnn sample --prompts - --json > out.jsonl
    """
    several = prompts is not None or count > 1
    if not several and beam is None:
        one_thread()
    from charrnn.errors import ConfigError
    from charrnn.inference import sample as sampling
    from charrnn.inference.choice import Choice
    from charrnn.inference.constraints import Constraints
    from charrnn.inference.states import may_save
    from charrnn.runs.checkpoint import find, load

    out = terminal(context)
    if sum(given is not None for given in (prompt, prompt_file, prompts)) > 1:
        raise ConfigError("--prompt, --prompt-file, --prompts: give one of the three")
    first, last = sample_options.ramp(temperature, length)
    choice = Choice(first, top_k, top_p, min_p, typical, repeat_penalty, last)
    search = sample_options.search(beam, length_penalty, diverse, diversity, stochastic)
    window = (repeat_window or 64) if repeat_penalty != 1 else 0
    as_json = as_json or scores
    for option, idle, to in (
        ("--keep-stop", keep_stop and not (stop or stop_at_newline), "--stop or --stop-at-newline"),
        ("--repeat-window", repeat_window is not None and not window, "--repeat-penalty"),
        ("--colour", colour and as_json, "text, not to --json"),
        ("--delimiter", delimiter != r"\n" and as_json, "text, not to --json"),
    ):
        if idle:
            raise ConfigError(f"{option}: it belongs to {to}")
    names: Sequence[str | None] = checkpoint or [None]
    loaded = [load(find(name, checkpoints_folder(checkpoints))) for name in names]
    vocabulary = loaded[0].header.vocabulary
    predictor = sample_options.predictor(loaded, weights)
    rules = Constraints(
        len(vocabulary),
        length,
        min_length,
        sample_options.allowed(out, vocabulary, allow, ban),
        sample_options.stops(vocabulary, [*(stop or ()), *(["\n"] if stop_at_newline else [])]),
        keep_stop,
        no_repeat,
        window,
    )
    if match is not None:
        from charrnn.inference.pattern import Pattern

        rules = replace(rules, pattern=Pattern(literal(match), vocabulary, rules.allowed, min_length, length))
    for option, given in {
        "--count": count > 1,
        "--prompts": prompts,
        "--json": as_json,
        "--novel": novel is not None,
        "--save-state": save_state,
    }.items():
        if given and not rules.ends:
            raise ConfigError(f"{option}: with --length 0 no text ends; give a --length, --stop or --match")
    if save_state and several:
        raise ConfigError("--save-state: it keeps one text; leave out --prompts and --count")
    if save_state:
        may_save(save_state)
        out.outlives_reader = True  # the state is where the text ends, however much of it is read

    starts = Starts(out, loaded, predictor, load_state)
    reader = Prompts(out, vocabulary, unknown)
    given_prompts: Iterable[Prompt]
    if prompts is not None:
        given_prompts = reader.of_lines(prompts)
    else:
        one = reader.of_text(literal(prompt or "")) if prompt_file is None else reader.of_file(prompt_file)
        given_prompts = [one]
    draws = stochastic if search else (first, last) != (0, None)
    seed = sampling.choose_seed(seed)
    if draws:
        out.note(f"seed {seed}")
    jobs = (
        Text(each, number, seed if draws or not search else None)
        for number, each in enumerate((each for each in given_prompts for _ in range(count)), index)
    )
    scored = as_json or colour
    with ExitStack() as stack:
        copied = (
            sample_options.copied(out, vocabulary, novel, corpora_folder(corpora), stack)
            if novel is not None
            else None
        )
        writer: Writer
        if as_json:
            writer = Lines(out, vocabulary, scores, copied)
        else:
            shaded = colour and shades.wanted(out, forced=bool(os.environ.get("FORCE_COLOR")))
            after = sample_options.unescaped(delimiter) if several else None
            writer = Plain(out, vocabulary, after, not no_echo, shaded, copied)
        while texts := list(islice(jobs, count if search else batch)):
            reader.tell()
            begin = starts.of([text.prompt for text in texts])
            generators = [sampling.generator(seed, text.index) for text in texts]
            if search:
                from charrnn.inference.beam import beam as searching

                pieces = searching(predictor, begin[0], choice, rules, search, count, generators[0])
            else:
                pieces = sampling.sample(predictor, begin, choice, rules, generators, scored)
            found = deliver(texts, pieces, writer)
            if found < len(texts):
                out.note(f"found {found} of {count} texts: there are no more")
            if save_state:
                starts.keep(save_state, texts[0].end)
