"""``charrnn score``: how probable a text is under a model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, tee, zip_longest
from typing import TYPE_CHECKING, Any

import typer

from charrnn.cli import mixtures, score_candidates, score_compare, score_input, score_lines
from charrnn.cli import score_options as option
from charrnn.cli.adapt import adaptive_model, short_pieces, stream
from charrnn.cli.condition_options import LabelOption, VectorOption, given_values
from charrnn.cli.options import (
    CORPORA,
    RUNS,
    CheckpointsOption,
    CorporaOption,
    QuietOption,
    check_new_file,
    find_checkpoint,
    one_thread,
    threads,
)
from charrnn.cli.reading_options import Unknown
from charrnn.cli.score_documents import DocumentScorer, Entry
from charrnn.cli.score_html import write_shaded_page
from charrnn.cli.score_input import Model, conditioned_model, same_characters
from charrnn.cli.score_output import (
    Score,
    Total,
    sum_of,
    write_characters,
    write_places,
    write_shaded,
    write_totals,
)
from charrnn.cli.score_part import note_learned_texts, part_of_text
from charrnn.cli.terminal import Colour, Terminal
from charrnn.cli.text_reader import Reader, Text, title
from charrnn.errors import ConfigError

if TYPE_CHECKING:
    from charrnn.inference.network import Predictor
    from charrnn.inference.score import ScoredPiece
    from charrnn.runs.checkpoint import Checkpoint, Header

Options = dict[str, Any]
"""The command's parameters by name, with parsed values."""

SMALLEST = 1e-6
"""Bits per character below which a shift of the score is not shown as a number."""


def score(
    context: typer.Context,
    arguments: option.Arguments = None,
    weights: option.Weights = None,
    part: option.PartOfText = None,
    lines: option.Lines = False,
    carry: option.Carry = False,
    sort: option.Sort = False,
    above: option.Above = None,
    below: option.Below = None,
    top: option.Top = None,
    compare: option.Compare = False,
    candidates: option.Candidates = None,
    prompt: option.Prompt = None,
    label: LabelOption = None,
    vector: VectorOption = None,
    chars: option.Chars = False,
    colour: option.Colour = Colour.never,
    html: option.Html = None,
    worst: option.Worst = None,
    adapt: option.Adapt = False,
    unknown: option.UnknownCharacters = Unknown.error,
    streams: option.Streams = 1,
    as_json: option.AsJson = False,
    quiet: QuietOption = False,
    corpora: CorporaOption = CORPORA,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    """Measure how probable a text is under a model: bits per character, perplexity.

    The whole text is read as one stream; a model of documents reads its documents, and counts their ends as
    characters. Of several texts, each is read by itself. Several checkpoints are mixed.

    Examples:
      charrnn score shakespeare out.txt
      charrnn sample shakespeare | charrnn score shakespeare -
      charrnn score --part test
      charrnn score shakespeare out.txt --adapt
      charrnn score shakespeare out.txt --worst 10
      charrnn score shakespeare --chars < out.txt | head
      charrnn score shakespeare out.txt --html surprise.html
      charrnn score shakespeare --lines --above 4 < out.txt
    """
    option.check_combinations(context)
    out: Terminal = context.obj
    out.stdin_advice = "give - as the text to read it"
    options = context.params
    names, texts = score_input.split_arguments(arguments or [], checkpoints, catalogue=part is not None)
    if compare and len(names) < 2:
        raise ConfigError("--compare needs two checkpoints: charrnn score A B --compare TEXT")
    if candidates is not None and texts:
        raise ConfigError(f"{texts[0]}: --candidates reads no other text; --prompt gives what they continue")
    if candidates is None and part is None:
        texts = list(score_input.texts_or_stdin(out, texts, names))
    _check_one_text(texts, options)
    if (carry or not lines) and candidates is None:
        one_thread()  # --streams has threads of its own
    from charrnn.runs.checkpoint import load

    given: Sequence[str | None] = names or [None]
    loaded = [load(find_checkpoint(out, name, checkpoints)) for name in given]
    if part is None:
        note_learned_texts(out, loaded, texts)
    models = same_characters(_models(out, loaded, options))
    score_input.check_options(models, options)
    if candidates is not None:
        score_candidates.rank(out, models[0], options)
    elif compare:
        score_compare.write(out, models, texts, options)
    elif lines:
        score_lines.write(out, models, texts, options)
    else:
        _score(out, models[0], loaded, texts, options)


def _check_one_text(texts: Sequence[str], options: Options) -> None:
    """Raise ConfigError for several texts where one is expected."""
    for name in ("part", "chars", "worst", "html", "colour"):
        if len(texts) > 1 and options[name] not in (None, False, Colour.never):
            raise ConfigError(f"--{name}: give one text, not {len(texts)}")


def _models(out: Terminal, loaded: Sequence[Checkpoint], options: Options) -> list[Model]:
    """The models of the checkpoints to compare, or the mixture of all checkpoints."""
    from charrnn.inference.mixture import DifferentSymbolsError
    from charrnn.inference.predictor import predictor
    from charrnn.runs.find import model_name

    names = [model_name(checkpoint.path) for checkpoint in loaded]
    if options["compare"]:
        if len(set(names)) < len(names):
            names = [str(checkpoint.path) for checkpoint in loaded]
        if twice := [name for index, name in enumerate(names) if name in names[:index]]:
            raise ConfigError(f"--compare: {twice[0]} is given twice")
        return [
            _model(name, predictor(checkpoint), checkpoint.header, options)
            for name, checkpoint in zip(names, loaded, strict=True)
        ]
    try:
        combined = mixtures.combined(out, loaded, options["weights"], options["corpora"])
    except DifferentSymbolsError as error:
        backward = any(checkpoint.header.vocabulary.backward for checkpoint in loaded)
        compare = "--compare --lines" if backward else "--compare"
        raise ConfigError(f"{error}; {compare} scores with each of them") from error
    return [_model(" + ".join(names), combined, loaded[0].header, options)]


def _model(name: str, predictor: Predictor, header: Header, options: Options) -> Model:
    """A model, with the values of its conditions. Raises ConfigError."""
    from charrnn.inference.conditioned import conditions_of

    values = given_values(conditions_of(predictor), options["label"], options["vector"])
    return conditioned_model(name, predictor, header, values)


def _baseline(loaded: Sequence[Checkpoint]) -> Model | None:
    """The n-gram model of the same text, beside the run of the one network that is scored."""
    from charrnn.config import ModelConfig
    from charrnn.inference.predictor import predictor
    from charrnn.runs.checkpoint import load
    from charrnn.runs.find import model_name, ngram_beside

    header = loaded[0].header
    if len(loaded) > 1 or not isinstance(header.model, ModelConfig):
        return None
    path = ngram_beside(loaded[0].path, header)
    if path is None:
        return None
    return conditioned_model(model_name(path), predictor(load(path)), header, {})


def _score(
    out: Terminal, model: Model, loaded: Sequence[Checkpoint], paths: Sequence[str], options: Options
) -> None:
    """Score each text as one stream, and write the results. Raises CorpusError for an empty one."""
    if model.vocabulary.documents:
        _score_documents(out, model, loaded, paths, options)
        return
    from charrnn.inference.score import pieces_in_text_order

    reader = Reader(out, model.vocabulary, options["unknown"])
    if part := options["part"]:
        texts = iter([part_of_text(out, loaded, part.value, paths, options["corpora"])[0]])
    else:
        texts = reader.texts(paths)
    write = _writer(out, model, options)
    on_stdout = options["chars"] or options["worst"] or out.colours(options["colour"])
    in_full = on_stdout or options["html"]
    baseline = None if on_stdout else _baseline(loaded)
    if options["adapt"]:
        model, baseline = adaptive_model(model, loaded, options["weights"]), model
    totals = []
    for text in texts:
        plain = baseline and Total(text.name, baseline.name)
        total = Total(text.name, model.name, baseline=plain, adapted=options["adapt"])
        if options["streams"] > 1:
            _read_streams(out, model, baseline, text, total, options["streams"])
        else:
            pieces = _read_stream(out, model, baseline, text, total, progress=not on_stdout)
            first = next(pieces, None)  # before anything is written, so that an error comes alone
            if first is not None:
                pieces = chain([first], pieces)
                if in_full and model.vocabulary.backward:
                    pieces = pieces_in_text_order(pieces)
                write(pieces, total)
        reader.check_not_empty(text.name, total.score.characters)
        totals.append(total)
    reader.report()
    if on_stdout:
        out.finish()
        out.note(totals[0].sentence)
    else:
        write_totals(out, totals, options["as_json"])


def _score_documents(
    out: Terminal, model: Model, loaded: Sequence[Checkpoint], paths: Sequence[str], options: Options
) -> None:
    """Score the documents of each text, and write the results. Raises CorpusError for a text without any."""
    scorer = DocumentScorer(out, model, options["unknown"])
    texts: Iterator[tuple[str, Iterator[list[Entry]]]] = (
        (title(path), scorer.of_text(path)) for path in paths
    )
    if part := options["part"]:
        text, corpus, positions = part_of_text(out, loaded, part.value, paths, options["corpora"])
        assert corpus is not None
        texts = iter([(text.name, scorer.of_part(corpus, positions))])
    on_stdout = options["chars"] or options["worst"] or out.colours(options["colour"])
    in_full = on_stdout or options["html"]
    baseline = None if in_full else _baseline(loaded)
    plain = baseline and DocumentScorer(out, baseline, options["unknown"])
    write, totals = _writer(out, model, options), []
    for name, blocks in texts:
        total = Total(name, model.name, baseline=baseline and Total(name, baseline.name))
        scorer.begin()
        with out.bar(desc="scoring", unit=" documents", delay=1) as bar:
            if in_full:
                pieces = (piece for block in blocks for piece in scorer.pieces(block))
                write(total.counted(pieces), total)
            else:
                for block in blocks:
                    total.score = sum_of([total.score, *scorer.score_entries(block)])
                    if plain and total.baseline:
                        bare = [entry._replace(values={}) for entry in block]
                        total.baseline.score = sum_of([total.baseline.score, *plain.score_entries(bare)])
                    bar.update(len(block))
        scorer.reader.check_not_empty(name, total.score.characters)
        totals.append(total)
    scorer.reader.report()
    if on_stdout:
        out.finish()
        out.note(totals[0].sentence)
    else:
        write_totals(out, totals, options["as_json"])


def _writer(
    out: Terminal, model: Model, options: Options
) -> Callable[[Iterator[ScoredPiece], Total], object]:
    """What reads a text as it is scored, and writes it where an option says so.

    The pieces are in the order of the text. The total is known at the end. Raises CharrnnError where --html
    names a file that cannot be written: scoring may take long.
    """
    vocabulary, as_json = model.vocabulary.forward, options["as_json"]
    if options["html"]:
        check_new_file("--html", options["html"])
        return lambda pieces, total: write_shaded_page(options["html"], total, pieces, vocabulary)
    if options["chars"]:
        return lambda pieces, _: write_characters(out, pieces, vocabulary, as_json)
    if options["worst"]:
        return lambda pieces, _: write_places(out, pieces, options["worst"], vocabulary, as_json)
    if out.colours(options["colour"]):
        return lambda pieces, _: write_shaded(out, pieces, vocabulary)
    return lambda pieces, _: deque(pieces, maxlen=0)


def _read_stream(
    out: Terminal, model: Model, baseline: Model | None, text: Text, total: Total, progress: bool
) -> Iterator[ScoredPiece]:
    """Yield the text as it is scored, and count it in ``total``."""
    from charrnn.inference.score import score_stream

    ids = short_pieces(model, text.pieces)
    others: Iterator[ScoredPiece] = iter(())
    if baseline:
        ids, same_ids = tee(ids)  # it keeps up to 57 pieces
        others = score_stream(baseline.predictor, same_ids, text.before)
    pieces = stream(model, ids, text.before)
    show = progress or not out.stdout_tty  # no bar across the text that a terminal shows
    size = text.size if show else None
    with out.bar(desc="scoring", unit="char", unit_scale=True, total=size, delay=1) as bar:
        for piece, other in zip_longest(pieces, others):
            total.add(piece)
            if total.baseline:
                total.baseline.add(other)
            bar.update(len(piece.ids) if show else 0)
            yield piece


def _read_streams(
    out: Terminal, model: Model, baseline: Model | None, text: Text, total: Total, count: int
) -> None:
    """Score a text in pieces that are read at once, and say how much the cuts move its score."""
    import numpy as np

    from charrnn.inference.pieces import WARM_UP
    from charrnn.inference.score_streams import score_streams

    dtype = model.vocabulary.id_dtype
    ids = np.concatenate([np.zeros(0, dtype), *(piece.astype(dtype) for piece in text.pieces)])
    if not len(ids):
        return
    models = [(model, total)] + ([(baseline, total.baseline)] if baseline and total.baseline else [])
    with out.bar(desc="scoring", unit="char", unit_scale=True, total=len(ids) * len(models), delay=1) as bar:
        for each, result in models:
            score = score_streams(each.predictor, ids, text.before, count, threads(), bar.update)
            result.score, result.shift = Score(len(ids), score.nats), score.shift
            if each is model:
                pieces = score.pieces
    shift = total.shift_bpc
    moved = f"{shift:+.6f}" if abs(shift) >= SMALLEST else f"less than {SMALLEST:f}"
    out.note(
        f"{text.name}: {pieces} {'piece' if pieces == 1 else 'pieces at once'}; the cuts move the score by"
        f" {moved} bits per character, measured on the first {WARM_UP} characters of each piece"
    )
