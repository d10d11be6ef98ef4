"""``charrnn sample``: generate text from trained models, written to stdout as it is generated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import typer

from charrnn.cli import mixtures, sample_interactive
from charrnn.cli import sample_options as option
from charrnn.cli.adapt import adapt_to_prompt
from charrnn.cli.condition_options import Guidance, LabelOption, VectorOption, given_values
from charrnn.cli.options import (
    CORPORA,
    RUNS,
    CheckpointsOption,
    CorporaOption,
    QuietOption,
    find_checkpoint,
    given_options,
    one_thread,
)
from charrnn.cli.reading_options import Unknown
from charrnn.cli.sample_output import (
    CopySearch,
    JsonWriter,
    Sample,
    TextWriter,
    Writer,
    copy_search,
    write_samples,
)
from charrnn.cli.sample_prompts import Prompt, PromptReader
from charrnn.cli.terminal import Colour, Terminal
from charrnn.cli.text_source import input_file, recorded_division

if TYPE_CHECKING:
    from charrnn.conditions import Values
    from charrnn.inference.beam import Search
    from charrnn.inference.choice import Choice
    from charrnn.inference.constraints import Constraints
    from charrnn.inference.network import Predictor
    from charrnn.inference.sample import Chunk
    from charrnn.runs.checkpoint import Checkpoint, Header
    from charrnn.text.documents import Division
    from charrnn.text.vocabulary import Vocabulary

Options = dict[str, Any]
"""The command's parameters by name, with parsed values."""


def sample(
    context: typer.Context,
    checkpoint: option.Checkpoints = None,
    weights: option.Weights = None,
    clamp: option.Clamp = None,
    label: LabelOption = None,
    vector: VectorOption = None,
    guidance: Guidance = 0.0,
    prompt: option.PromptText = None,
    prompt_file: option.PromptFile = None,
    prompts: option.PromptLines = None,
    adapt: option.Adapt = False,
    unknown: option.UnknownCharacters = Unknown.error,
    ban: option.Ban = None,
    allow: option.Allow = None,
    match: option.Match = None,
    no_repeat: option.NoRepeat = 0,
    repeat_penalty: option.RepeatPenalty = 1.0,
    repeat_window: option.RepeatWindow = 64,
    temperature: option.Temperature = None,
    top_k: option.TopK = 0,
    top_p: option.TopP = 1.0,
    min_p: option.MinP = 0.0,
    typical: option.Typical = 1.0,
    interactive: option.Interactive = False,
    length: option.Length = 1000,
    min_length: option.MinLength = 0,
    stop: option.Stop = None,
    stop_at_newline: option.StopAtNewline = False,
    keep_stop: option.KeepStop = False,
    count: option.Count = 1,
    seed: option.Seed = None,
    index: option.Index = 0,
    batch: option.Batch = 64,
    beam: option.Beam = None,
    length_penalty: option.LengthPenalty = 0.6,
    diverse: option.Diverse = 1,
    diversity: option.Diversity = 0.5,
    stochastic: option.Stochastic = False,
    save_state: option.SaveState = None,
    load_state: option.LoadState = None,
    output: option.Output = None,
    no_echo: option.NoEcho = False,
    delimiter: option.Delimiter = None,
    as_json: option.AsJson = False,
    scores: option.Scores = False,
    colour: option.Colour = Colour.never,
    novel: option.Novel = None,
    quiet: QuietOption = False,
    corpora: CorporaOption = CORPORA,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    r"""Generate text. Each character is written as soon as it is generated.

    A backward model (train --backward) writes what comes before the prompt. Its sample is written when it is
    complete.

    Examples:
      charrnn sample shakespeare --prompt 'ROMEO:' --length 2000 > out.txt
      charrnn sample --temperature 0.7 --length 0 | head -n 20
      charrnn sample shakespeare --interactive --count 3
      echo -n 'def main(' | charrnn sample python --no-echo
      charrnn sample shakespeare --count 20 --stop-at-newline --match '[A-Z]+:'
      charrnn sample shakespeare -p KING --beam 16 --count 4 --json | jq -r .text
      jq -c '{id, prompt: .title}' books.jsonl | charrnn sample --prompts - --json
      charrnn sample names --label language=french --count 10
    """
    option.check_combinations(context)
    out: Terminal = context.obj
    out.stdin_advice = "--prompt-file - continues it"
    if interactive:
        sample_interactive.check_terminal(out)
        length = length if given_options(context, "length") else sample_interactive.LENGTH
    several = prompts is not None or count > 1
    if beam is None and (batch == 1 or not several):
        one_thread()
    from charrnn.inference import states
    from charrnn.inference.sample import choose_seed
    from charrnn.runs.checkpoint import load

    options = context.params
    choice, search = _choice(options), _search(options)
    names: Sequence[str | None] = checkpoint or [None]
    loaded = [load(find_checkpoint(out, name, checkpoints)) for name in names]
    vocabulary = loaded[0].header.vocabulary
    option.check_ends(context, vocabulary)
    constraints_for = _constraints_for(vocabulary, options, out.note)
    constraints = constraints_for(length=_length(context, length, loaded[0].header))
    predictor, values = _predictor(out, loaded, options)
    identity = states.identity(loaded, guidance) if save_state or load_state else {}
    state_file = None if load_state is None else input_file(out, load_state, "--load-state", tensors=True)
    saved = states.load_state(state_file, identity, predictor, len(vocabulary)) if state_file else None
    if save_state:
        states.check_save_path(save_state)
        out.outlives_reader = True  # the state is that of the whole sample, however much of it is read

    division = recorded_division(loaded[0].header)
    copies = None if novel is None else copy_search(out, vocabulary, novel, corpora, division)
    reader = PromptReader(out, vocabulary, unknown, predictor, saved, values)
    entries = _read_prompts(out, reader, loaded, options)
    predictor = reader.predictor
    seed = choose_seed(seed)
    if interactive:
        out.note(f"seed {seed}")
        settings = sample_interactive.Settings(choice, constraints_for, length, count, colour)
        delimiter = division.delimiter if division else "\n"
        sample_interactive.hold_session(out, reader, settings, seed, index, next(iter(entries)), delimiter)
        return
    shown_seed = None if search and not stochastic else seed
    if output is not None:
        out.write_to(output)
    scored = as_json or scores or out.colours(colour)
    writer = _writer(out, vocabulary, copies, division, options)
    repeated = (entry for entry in entries for _ in range(count))

    if stochastic or (search is None and (choice.temperature or choice.final_temperature)):
        out.note(f"seed {seed}")
    samples = (Sample(entry, number, shown_seed) for number, entry in enumerate(repeated, index))
    while rows := list(islice(samples, count if search else batch)):
        chunks = _generate(rows, seed, predictor, choice, constraints, search, scored)
        written = write_samples(rows, chunks, writer)
        if written < len(rows):
            out.note(f"found {written} of {count} samples: the options allow no more")
        if save_state and rows[0].end:
            states.save_state(save_state, rows[0].end, identity)
    writer.finish()


def _predictor(out: Terminal, loaded: Sequence[Checkpoint], options: Options) -> tuple[Predictor, Values]:
    """The model of the checkpoints, with --clamp a clamped network, and the values of its conditions.

    Raises ConfigError.
    """
    from charrnn.inference.clamp import with_clamps
    from charrnn.inference.conditioned import Guided, conditioned, conditions_of

    predictor = mixtures.combined(out, loaded, options["weights"], options["corpora"])
    if options["clamp"]:
        held = {(unit.layer, unit.unit): unit.value for unit in options["clamp"]}
        predictor = with_clamps(predictor, held)
    values = given_values(conditions_of(predictor), options["label"], options["vector"])
    result = conditioned(predictor, values) if values else predictor
    if options["guidance"]:
        result = Guided(result, predictor, options["guidance"])
    return result, values


def _length(context: typer.Context, length: int, header: Header) -> int:
    """The most characters of a sample: --length, or that of a session, or as the model says."""
    chosen = given_options(context, "length") or context.params["interactive"]
    return length if chosen else header.sample_length


def _read_prompts(
    out: Terminal, reader: PromptReader, loaded: Sequence[Checkpoint], options: Options
) -> Iterable[Prompt]:
    """The prompts; with --adapt, the reader's predictor learns the prompt first."""
    prompts = reader.read(options["prompt"], options["prompt_file"], options["prompts"])
    if not options["adapt"]:
        return prompts
    reader.predictor, prompt = adapt_to_prompt(out, loaded, options["weights"], next(iter(prompts)))
    return [prompt]


def _choice(options: Options) -> Choice:
    """How the next character is chosen. Raises ConfigError."""
    from charrnn.inference.choice import Choice

    ramp = options["temperature"] or option.Ramp(1.0)
    names = ("repeat_penalty", "top_k", "top_p", "min_p", "typical")
    settings = {name: options[name] for name in names}
    return Choice(temperature=ramp.start, final_temperature=ramp.end, **settings)


def _constraints_for(
    vocabulary: Vocabulary, options: Options, note: Callable[[str], object]
) -> Callable[..., Constraints]:
    """A function of ``length`` that makes the constraints on a sample; it raises ConfigError."""
    from charrnn.inference.constraints import Constraints

    allow, ban = ("".join(options[name]) if options[name] else None for name in ("allow", "ban"))
    return partial(
        Constraints.from_strings,
        vocabulary,
        allow=allow,
        ban=ban,
        stops=[*(options["stop"] or ()), *(["\n"] if options["stop_at_newline"] else [])],
        match=options["match"],
        note=note,
        min_length=options["min_length"],
        # In a session, a stop string that is left out would come again at once.
        keep_stop=options["keep_stop"] or options["interactive"],
        no_repeat=options["no_repeat"],
        window=options["repeat_window"] if options["repeat_penalty"] != 1 else 0,
    )


def _search(options: Options) -> Search | None:
    """The beam search, with --beam. Raises ConfigError."""
    if options["beam"] is None:
        return None
    from charrnn.inference.beam import Search

    names = ("beam", "diverse", "diversity", "stochastic", "length_penalty")
    return Search(*(options[name] for name in names))


def _writer(
    out: Terminal,
    vocabulary: Vocabulary,
    copies: CopySearch | None,
    division: Division | None,
    options: Options,
) -> Writer:
    """What writes the samples: as JSON lines, or as text, with a delimiter after each of several."""
    if options["as_json"] or options["scores"]:
        return JsonWriter(out, vocabulary.forward, copies, options["scores"], backward=vocabulary.backward)
    delimiter = options["delimiter"]
    if delimiter is None:
        delimiter = division.delimiter if division else "\n"
    several = options["prompts"] is not None or options["count"] > 1 or division is not None
    shaded = out.colours(options["colour"])
    return TextWriter(
        out,
        vocabulary.forward,
        copies,
        delimiter if several else None,
        not options["no_echo"],
        shaded,
        backward=vocabulary.backward,
    )


def _generate(
    samples: Sequence[Sample],
    seed: int,
    predictor: Predictor,
    choice: Choice,
    constraints: Constraints,
    search: Search | None,
    scored: bool,
) -> Iterator[Chunk]:
    """Generate samples as one batch, or as the results of one beam search. Raises ConfigError."""
    from charrnn.inference import beam, sample

    cursors = [item.prompt.cursor for item in samples]
    generators = [sample.sample_generator(seed, item.index) for item in samples]
    if search:
        return beam.beam(predictor, cursors[0], choice, constraints, search, len(samples), generators[0])
    return sample.sample(predictor, cursors, choice, constraints, generators, scored)
