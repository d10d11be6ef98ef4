"""``charrnn score``: how probable a text is under a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from charrnn.cli import score_compare, score_input, score_lines
from charrnn.cli import score_options as option
from charrnn.cli.options import RUNS, CheckpointsOption, QuietOption, find_checkpoint, one_thread
from charrnn.cli.sample_options import Unknown, Weights
from charrnn.cli.score_input import Model
from charrnn.cli.table import write_table
from charrnn.cli.terminal import Colour, Terminal
from charrnn.errors import ConfigError
from charrnn.files import json_line

if TYPE_CHECKING:
    from charrnn.runs.checkpoint import Checkpoint

Options = dict[str, Any]
"""The command's parameters by name, with parsed values."""


def score(
    context: typer.Context,
    arguments: option.Arguments = None,
    weights: Weights = None,
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
    chars: option.Chars = False,
    colour: option.Colour = Colour.never,
    html: option.Html = None,
    worst: option.Worst = None,
    unknown: option.UnknownCharacters = Unknown.error,
    streams: option.Streams = 1,
    as_json: option.AsJson = False,
    quiet: QuietOption = False,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    """Measure how probable a text is under a model: bits per character, perplexity.

    Examples:
      charrnn score shakespeare out.txt
      charrnn sample shakespeare | charrnn score shakespeare -
      charrnn score logs --lines --above 4 < today.log
    """
    option.check_combinations(context)
    out: Terminal = context.obj
    out.stdin_advice = "give - as the text to read it"
    options = context.params
    names, texts = score_input.split_arguments(arguments or [], checkpoints)
    if compare and len(names) < 2:
        raise ConfigError("--compare needs two checkpoints: charrnn score A B --compare TEXT")
    if not candidates:
        texts = list(score_input.texts_or_stdin(out, texts))
    if streams == 1 and not lines and candidates is None:
        one_thread()
    from charrnn.runs.checkpoint import load

    given: Sequence[str | None] = names or [None]
    models = _models([load(find_checkpoint(out, name, checkpoints)) for name in given], options)
    if candidates is not None:
        score_compare.rank(out, models[0], options)
    elif compare:
        score_compare.write(out, models, texts, options)
    elif lines:
        score_lines.write(out, models, texts, options)
    else:
        _write_totals(out, models[0], texts, options)


def _models(loaded: Sequence[Checkpoint], options: Options) -> list[Model]:
    """The models of the checkpoints to compare, or the mixture of all checkpoints."""
    from charrnn.inference import mixture
    from charrnn.runs.find import model_name

    names = [model_name(checkpoint.path) for checkpoint in loaded]
    if options["compare"]:
        return [
            Model(name, mixture.combined([checkpoint], None), checkpoint.header.vocabulary)
            for name, checkpoint in zip(names, loaded, strict=True)
        ]
    predictor = mixture.combined(loaded, options["weights"])
    return [Model(" + ".join(names), predictor, loaded[0].header.vocabulary)]


@dataclass
class Total:
    """The score of a text: its characters, and the nats that they have together."""

    text: str
    characters: int = 0
    nats: float = 0.0

    @property
    def mean(self) -> float:
        """Nats per character."""
        return self.nats / self.characters

    def row(self) -> list[str]:
        """The cells of a table's row."""
        bits = self.mean / math.log(2)
        return [
            self.text,
            f"{self.characters:,}",
            f"{self.nats:,.1f}",
            f"{bits:.4f}",
            f"{math.exp(self.mean):.4f}",
        ]


def _write_totals(out: Terminal, model: Model, texts: Sequence[str], options: Options) -> None:
    """Write a row for each text, and for all of them together."""
    from charrnn.inference.sample import opening_ids
    from charrnn.inference.score import score_stream

    reader = score_input.Reader(out, model.vocabulary, options["unknown"])
    totals = []
    for text in texts:
        total = Total("standard input" if text == "-" else text)
        pieces = score_stream(model.predictor, reader.read(text), opening_ids(model.vocabulary))
        for piece in pieces:
            total.characters += len(piece.ids)
            total.nats -= float(piece.log_probabilities.sum())
        reader.check_not_empty(total.text, total.characters)
        totals.append(total)
    reader.report()
    if len(totals) > 1:
        totals.append(Total("total", sum(t.characters for t in totals), math.fsum(t.nats for t in totals)))
    if options["as_json"]:
        for total in totals:
            out.write(json_line({"text": total.text, "characters": total.characters, "nats": total.nats}))
        return
    header = ["text", "characters", "nats", "bits per character", "perplexity"]
    write_table(out, [header, *(total.row() for total in totals)], right=(1, 2, 3, 4))
