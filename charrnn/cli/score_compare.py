"""``charrnn score --compare`` and ``--candidates``: which model, or which continuation, is more probable."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from charrnn.cli.score_input import Model
from charrnn.cli.score_line_reader import (
    Line,
    LineScorer,
    Score,
    escaped,
    number,
    title,
    windows,
    write_cells,
)
from charrnn.cli.score_lines import end_of_lines, line_cells, line_header, line_values, text_value
from charrnn.cli.table import write_table
from charrnn.cli.terminal import Terminal
from charrnn.errors import CorpusError
from charrnn.files import json_line

if TYPE_CHECKING:
    from charrnn.inference.score_lines import Nats

Options = dict[str, Any]


class Comparison:
    """The scores (K,) of one text under K models.

    posterior  (K,) the probability of each model given the text, when all are equally probable before it
    ratios     (K,) how much more probable the text is under each model than under the best other one:
               the log-likelihood ratio in nats
    best       the index of the most probable model; the first of equally probable ones
    """

    def __init__(self, scores: Sequence[Score]) -> None:
        import numpy as np

        from charrnn.inference.score_lines import posterior

        self.scores = scores
        log_probabilities = np.array([-score.nats for score in scores])
        # without a model that can write the text, nothing is known
        certain = bool(np.isfinite(log_probabilities).any())
        self.posterior: Nats = posterior(log_probabilities if certain else np.zeros(len(scores)))
        others = [max(np.delete(log_probabilities, k)) for k in range(len(scores))]
        self.ratios = [
            float(one - other) if one != other else 0.0
            for one, other in zip(log_probabilities, others, strict=True)
        ]
        # as printed: batches differ by rounding
        order = sorted(range(len(scores)), key=lambda k: round(scores[k].nats, 4))
        self.best, self.runner_up = order[:2]

    def figures(self, names: Sequence[str]) -> Iterator[tuple[str, Score, float, float]]:
        """The name, the score, the ratio and the posterior of each model."""
        return zip(names, self.scores, self.ratios, self.posterior.tolist(), strict=True)


def write(out: Terminal, models: Sequence[Model], texts: Sequence[str], options: Options) -> None:
    """Score the texts with each model and write which one gives more probability. Raises CharrnnError."""
    end = end_of_lines(options) if options["lines"] else "as it is"
    carry = options["carry"] or not options["lines"]
    scorers = [LineScorer(out, model, options["unknown"], carry, end) for model in models]
    if options["lines"]:
        _compare_lines(out, scorers, texts, options["as_json"])
    else:
        _compare_texts(out, scorers, texts, options["as_json"])
    for scorer in scorers:
        scorer.reader.report(f"{scorer.model.name}: ")


def _scored(
    out: Terminal, scorers: Sequence[LineScorer], text: str
) -> Iterator[tuple[Line, tuple[Score, ...]]]:
    """The lines of one text with their scores under each model."""
    for scorer in scorers:
        scorer.begin()
    for window in windows(out, text):
        scores = zip(*(scorer.score(window) for scorer in scorers), strict=True)
        yield from zip(window, scores, strict=True)
        out.flush()
    for scorer in scorers:
        scorer.finish(title(text))


def _total(totals: Sequence[Score]) -> Score:
    return Score(sum(total.characters for total in totals), math.fsum(total.nats for total in totals))


# --- whole texts ---


def _compare_texts(out: Terminal, scorers: Sequence[LineScorer], texts: Sequence[str], as_json: bool) -> None:
    """Write a row for each text and model; with several texts also for all of them together."""
    names = [scorer.model.name for scorer in scorers]
    totals: list[tuple[str, list[Score]]] = []
    for text in texts:
        for _ in _scored(out, scorers, text):
            pass
        totals.append((title(text), [scorer.total for scorer in scorers]))
    if len(texts) > 1:
        all_totals = zip(*(scores for _, scores in totals), strict=True)
        totals.append(("total", [_total(scores) for scores in all_totals]))
    if as_json:
        for name, scores in totals:
            models = [
                {"model": model} | score.values() | {"ratio": number(ratio), "posterior": number(share)}
                for model, score, ratio, share in Comparison(scores).figures(names)
            ]
            out.write(json_line({"text": name, "models": models}))
        return
    header = ["text", "model", "characters", "nats", "bits per character", "ratio (nats)", "posterior"]
    rows = [
        [
            name,
            model,
            f"{score.characters:,}",
            f"{score.nats:,.1f}",
            f"{score.bpc:.4f}",
            f"{ratio:+,.1f}",
            f"{share:.4f}",
        ]
        for name, scores in totals
        for model, score, ratio, share in Comparison(scores).figures(names)
    ]
    write_table(out, [header, *rows], right=range(2, len(header)))


# --- lines ---


def _compare_lines(out: Terminal, scorers: Sequence[LineScorer], texts: Sequence[str], as_json: bool) -> None:
    """Write a row for each line, and to stderr how many lines are most probable under each model."""
    names = [scorer.model.name for scorer in scorers]
    several = len(texts) > 1
    labels: Counter[int] = Counter()
    totals = [Score(0, 0.0)] * len(scorers)
    header = False
    for text in texts:
        for line, scores in _scored(out, scorers, text):
            comparison = Comparison(scores)
            labels[comparison.best] += 1
            if as_json:
                values = line_values(line, several) | _line_values(names, comparison)
                out.write(json_line(values | text_value(line)))
                continue
            if not header:
                header = True
                write_cells(out, [*line_header(several), *_columns(names), "text"])
            cells = [*line_cells(line, several), *_line_cells(names, comparison)]
            write_cells(out, [*cells, escaped(line.content)])
        totals = [_total([total, scorer.total]) for total, scorer in zip(totals, scorers, strict=True)]
    comparison = Comparison(totals)
    counts = [f"{names[k]} for {labels[k]:,}" for k in range(len(names))]
    out.note(f"most probable model of {labels.total():,} lines: {', '.join(counts)}")
    best, runner_up = names[comparison.best], names[comparison.runner_up]
    ratio = comparison.ratios[comparison.best]
    out.note(f"all lines together: log-likelihood ratio of {best} over {runner_up} {ratio:,.1f} nats")


def _columns(names: Sequence[str]) -> list[str]:
    """The columns of a line's comparison: the ratio of two models, the label among several."""
    labels = ["ratio"] if len(names) == 2 else ["model", "posterior", "runner-up", "ratio"]
    return [*labels, *(f"nats {escaped(name.encode('utf-8', 'surrogateescape'))}" for name in names)]


def _line_cells(names: Sequence[str], comparison: Comparison) -> list[str]:
    best = comparison.best
    nats = [f"{score.nats:.4f}" for score in comparison.scores]
    if len(names) == 2:
        return [f"{_ratio(comparison, 0):.4f}", *nats]
    posterior = f"{comparison.posterior[best]:.4f}"
    return [names[best], posterior, names[comparison.runner_up], f"{_ratio(comparison, best):.4f}", *nats]


def _line_values(names: Sequence[str], comparison: Comparison) -> dict[str, Any]:
    """The same, for JSON."""
    best = comparison.best
    values: dict[str, Any] = {"ratio": number(_ratio(comparison, 0))}
    if len(names) > 2:
        values = {
            "model": names[best],
            "posterior": number(float(comparison.posterior[best])),
            "runner_up": names[comparison.runner_up],
            "ratio": number(_ratio(comparison, best)),
        }
    models = [
        {"model": name, "characters": score.characters, "nats": number(score.nats)}
        for name, score in zip(names, comparison.scores, strict=True)
    ]
    return values | {"models": models}


def _ratio(comparison: Comparison, k: int) -> float:
    """The log-likelihood ratio of a model, which is never -0."""
    return round(comparison.ratios[k], 4) + 0.0


# --- candidates ---


def rank(out: Terminal, model: Model, options: Options) -> None:
    """Write the candidates as continuations of the prompt, the most probable first. Raises CharrnnError."""
    import numpy as np

    from charrnn.inference.score_lines import posterior

    path, prompt = options["candidates"], options["prompt"]
    scorer = LineScorer(out, model, options["unknown"], False, "none")
    lines = [
        line for window in windows(out, path, "--candidates") for line in window if line.content.rstrip(b"\r")
    ]
    if not lines:
        raise CorpusError(f"--candidates {path}: it has no candidates: write one on each line")
    scorer.begin(prompt or "")
    scores = scorer.score(lines)
    for line, score in zip(lines, scores, strict=True):
        if not score.characters:
            raise CorpusError(
                f"--candidates {path}, line {line.number}: the model knows none of its characters"
            )
    shares = posterior(np.array([-score.nats for score in scores])).tolist()
    rows = sorted(zip(lines, scores, shares, strict=True), key=lambda row: round(row[1].nats, 4))
    if not options["as_json"]:
        write_cells(out, ["line", "characters", "nats", "bpc", "probability", "text"])
    for line, score, share in rows:
        if options["as_json"]:
            values = {"line": line.number} | score.values() | {"probability": number(share)}
            out.write(json_line(values | text_value(line)))
        else:
            cells = [str(line.number), *score.cells(), f"{share:.4f}", escaped(line.content)]
            write_cells(out, cells)
    scorer.reader.report()
