"""``charrnn sample``: generate text from trained models, and write it to stdout as it is generated."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice

import typer

from charrnn.cli import sample_options as option
from charrnn.cli import sample_plan, shades
from charrnn.cli.options import CORPORA, RUNS, CheckpointsOption, CorporaOption, one_thread
from charrnn.cli.sample_cursors import Cursors
from charrnn.cli.sample_output import JsonWriter, Sample, TextWriter, Writer, write_samples
from charrnn.cli.sample_prompts import PromptReader
from charrnn.cli.terminal import Terminal


def sample(
    context: typer.Context,
    checkpoint: option.Checkpoints = None,
    weights: option.Weights = None,
    prompt: option.PromptText = None,
    prompt_file: option.PromptFile = None,
    prompts: option.PromptLines = None,
    unknown: option.UnknownCharacters = option.Unknown.error,
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
    no_echo: option.NoEcho = False,
    delimiter: option.Delimiter = None,
    as_json: option.AsJson = False,
    scores: option.Scores = False,
    colour: option.Colour = False,
    novel: option.Novel = None,
    corpora: CorporaOption = CORPORA,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    r"""Generate text, and write each character as soon as it is generated.

    Examples:
      charrnn sample shakespeare --prompt 'ROMEO:' --length 2000 > out.txt

      charrnn sample --temperature 0.7 --length 0 | head -n 20

      echo -n 'def main(' | charrnn sample code --prompt-file - --no-echo

      charrnn sample names --count 20 --stop-at-newline --match '[A-Z]\w+'

      charrnn sample shakespeare --prompt 'KING' --beam 16 --count 4 --json | jq -r .text

      jq -c '{id, prompt: .title}' books.jsonl | charrnn sample --prompts - --json > out.jsonl
    """
    option.check_combinations(context)
    several = prompts is not None or count > 1
    if beam is None and (batch == 1 or not several):
        one_thread()
    from charrnn.inference.choice import Choice
    from charrnn.inference.constraints import Constraints
    from charrnn.inference.sample import choose_seed
    from charrnn.inference.states import may_save
    from charrnn.runs.checkpoint import find, load

    out: Terminal = context.obj
    ramp = temperature or option.Ramp(1.0)
    choice = Choice(ramp.start, top_k, top_p, min_p, typical, repeat_penalty, ramp.end)
    search = None
    if beam is not None:
        from charrnn.inference.beam import Search

        search = Search(beam, diverse, diversity, stochastic, length_penalty)
    names: Sequence[str | None] = checkpoint or [None]
    loaded = [load(find(name, checkpoints)) for name in names]
    vocabulary = loaded[0].header.vocabulary
    allowed = sample_plan.allowed_mask(out, vocabulary, allow, ban)
    constraints = Constraints(
        len(vocabulary),
        length,
        min_length,
        allowed,
        sample_plan.stop_ids(vocabulary, stop, stop_at_newline),
        keep_stop,
        no_repeat,
        repeat_window if repeat_penalty != 1 else 0,
        sample_plan.make_pattern(match, vocabulary, allowed, min_length, length),
    )
    predictor = sample_plan.mixed_predictor(loaded, weights)
    plan = sample_plan.Plan(predictor, choice, constraints, search, choose_seed(seed))
    if save_state:
        may_save(save_state)
        out.outlives_reader = True  # the state is that of the whole sample, however much of it is read

    cursors = Cursors(out, loaded, predictor, load_state)
    reader = PromptReader(out, vocabulary, unknown)
    repeated = (entry for entry in reader.read(prompt, prompt_file, prompts) for _ in range(count))
    random = stochastic if search else ramp != (0, None)
    if random:
        out.note(f"seed {plan.seed}")
    shown_seed = plan.seed if random or not search else None
    samples = (Sample(entry, number, shown_seed) for number, entry in enumerate(repeated, index))
    find_copies = None
    if novel is not None:
        find_copies = sample_plan.copy_finder(out, vocabulary, novel, corpora)
    writer: Writer
    if as_json or scores:
        writer = JsonWriter(out, vocabulary, find_copies, scores)
    else:
        shaded = colour and shades.wanted(out, forced=bool(os.environ.get("FORCE_COLOR")))
        after = (b"\n" if delimiter is None else delimiter) if several else None
        writer = TextWriter(out, vocabulary, find_copies, after, not no_echo, shaded)
    while rows := list(islice(samples, count if search else batch)):
        reader.report_replacements()
        chunks = plan.generate(cursors, rows, scored=as_json or scores or colour)
        written = write_samples(rows, chunks, writer)
        if written < len(rows):
            out.note(f"found {written} of {count} samples: no more exist")
        if save_state and rows[0].end:
            cursors.save(save_state, rows[0].end)
