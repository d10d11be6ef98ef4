"""``charrnn score --compare``: under which model a text, or each of its lines, is more probable."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from charrnn.cli.sample_options import Unknown
from charrnn.cli.score_input import SHOWN, Model, shown, title
from charrnn.cli.score_line_reader import (
    End,
    Line,
    LineScorer,
    Score,
    escaped,
    number,
    windows,
    write_cells,
)
from charrnn.cli.score_lines import line_cells, line_header, line_values, text_value
from charrnn.cli.table import write_table
from charrnn.cli.terminal import Terminal
from charrnn.errors import CorpusError
from charrnn.files import json_line

if TYPE_CHECKING:
    from charrnn.inference.score_lines import Nats

Options = dict[str, Any]


class CommonCharacters:
    """Leaves out the characters that not every model knows, so that all models score the same text.

    Otherwise a model would gain by each character that it does not know.
    """

    def __init__(self, out: Terminal, models: Sequence[Model], end: End) -> None:
        from charrnn.text.unknown import Replacement

        self._out, self._end = out, end
        self._replacements = [Replacement(model.vocabulary) for model in models]
        self._counts: Counter[str] = Counter()

    def __call__(self, line: Line) -> Line:
        """The line without these characters. A newline that only ends a line is none of them."""
        content = line.data if self._end == "as it is" else line.content
        text = content.decode("utf-8", "surrogateescape")
        if self._is_known(text):
            return line
        unknown = {character for character in text if not self._is_known(character)}
        self._counts.update(character for character in text if character in unknown)
        kept = "".join(character for character in text if character not in unknown)
        return line._replace(data=kept.encode("utf-8", "surrogateescape") + line.data[len(content) :])

    def _is_known(self, text: str) -> bool:
        return all(replacement.knows(text) for replacement in self._replacements)

    @property
    def skipped(self) -> bool:
        """Whether any character was left out."""
        return bool(self._counts)

    def report(self) -> None:
        """Print how many characters were left out, and which, to stderr."""
        if not self._counts:
            return
        total = self._counts.total()
        more = [f"and {len(self._counts) - SHOWN} others"] if len(self._counts) > SHOWN else []
        characters = [f"{shown(each)} ({count:,})" for each, count in self._counts.most_common(SHOWN)]
        listed = ", ".join([*characters, *more])
        self._out.note(
            f"skipped {total:,} character{'' if total == 1 else 's'} that not all models know: {listed}"
        )


class Comparison:
    """The scores (K,) of one text under K models.

    posterior  (K,) the probability of each model given the text, when all are equally probable before it
    ratios     (K,) how much more probable the text is under each model than under the best other one:
               the log-likelihood ratio in nats
    best       the index of the most probable model; the first of equally probable ones
    has_text   whether any character was scored; without, no model is more probable than another
    """

    def __init__(self, scores: Sequence[Score]) -> None:
        import numpy as np

        from charrnn.inference.score_lines import posterior

        self.scores, self.has_text = scores, any(score.characters for score in scores)
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
    comparer = _Comparer(out, models, options)
    if options["lines"]:
        _compare_lines(out, comparer, texts, options["as_json"])
    else:
        _compare_texts(out, comparer, texts, options["as_json"])
    comparer.report()


class _Comparer:
    """Scores the same lines under several models.

    names  the names of the models
    """

    def __init__(self, out: Terminal, models: Sequence[Model], options: Options) -> None:
        carry = options["carry"] or not options["lines"]
        end: End = "as it is" if carry else "newline"
        if end == "newline" and not all("\n" in model.vocabulary.symbols for model in models):
            end = "none"
        self._out, self._unknown = out, options["unknown"]
        self._scorers = [LineScorer(out, model, self._unknown, carry, end) for model in models]
        self._common = CommonCharacters(out, models, end)
        self.names = [model.name for model in models]

    @property
    def totals(self) -> list[Score]:
        """The scores of the current text."""
        return [scorer.total for scorer in self._scorers]

    def scored(self, text: str) -> Iterator[tuple[Line, tuple[Score, ...]]]:
        """The lines of one text with their scores under each model."""
        for scorer in self._scorers:
            scorer.begin()
        for window in windows(self._out, text):
            lines = list(map(self._common, window)) if self._unknown is Unknown.skip else window
            scores = zip(*(scorer.score(lines) for scorer in self._scorers), strict=True)
            yield from zip(window, scores, strict=True)
            self._out.flush()
        if self._common.skipped and not any(total.characters for total in self.totals):
            raise CorpusError(f"{title(text)}: no character is known to all models")
        for scorer in self._scorers:
            scorer.finish(title(text))

    def report(self) -> None:
        """Print how many characters were unknown, and which, to stderr."""
        self._common.report()
        for scorer in self._scorers:
            scorer.reader.report(f"{scorer.model.name}: ")


def _total(totals: Sequence[Score]) -> Score:
    return Score(sum(total.characters for total in totals), math.fsum(total.nats for total in totals))


# --- whole texts ---


def _compare_texts(out: Terminal, comparer: _Comparer, texts: Sequence[str], as_json: bool) -> None:
    """Write a row for each text and model; with several texts also for all of them together."""
    names = comparer.names
    totals: list[tuple[str, list[Score]]] = []
    for text in texts:
        for _ in comparer.scored(text):
            pass
        totals.append((title(text), comparer.totals))
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


def _compare_lines(out: Terminal, comparer: _Comparer, texts: Sequence[str], as_json: bool) -> None:
    """Write a row for each line, and to stderr how many lines are most probable under each model."""
    names = comparer.names
    several = len(texts) > 1
    labels: Counter[int] = Counter()
    totals = [Score(0, 0.0)] * len(names)
    header = False
    for text in texts:
        for line, scores in comparer.scored(text):
            comparison = Comparison(scores)
            labels[comparison.best] += comparison.has_text
            if as_json:
                values = line_values(line, several) | _line_values(names, comparison)
                out.write(json_line(values | text_value(line)))
                continue
            if not header:
                header = True
                write_cells(out, [*line_header(several), *_columns(names), "text"])
            cells = [*line_cells(line, several), *_line_cells(names, comparison)]
            write_cells(out, [*cells, escaped(line.content)])
        totals = [_total(pair) for pair in zip(totals, comparer.totals, strict=True)]
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
    labels = [names[k] if comparison.has_text else "" for k in (best, comparison.runner_up)]
    return [labels[0], posterior, labels[1], f"{_ratio(comparison, best):.4f}", *nats]


def _line_values(names: Sequence[str], comparison: Comparison) -> dict[str, Any]:
    """The same, for JSON."""
    best = comparison.best
    values: dict[str, Any] = {"ratio": number(_ratio(comparison, 0))}
    if len(names) > 2:
        values = {
            "model": names[best] if comparison.has_text else None,
            "posterior": number(float(comparison.posterior[best])),
            "runner_up": names[comparison.runner_up] if comparison.has_text else None,
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
