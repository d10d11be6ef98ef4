"""``charrnn score --compare``: under which model a text, or each of its lines, is more probable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from charrnn.cli.reading_options import Unknown
from charrnn.cli.score_documents import line_scorer
from charrnn.cli.score_input import Model
from charrnn.cli.score_line_reader import End, Line, windows
from charrnn.cli.score_output import Score, sum_of
from charrnn.cli.table import RowWriter, probability, rounded, write_figures
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_reader import counted, title
from charrnn.errors import CorpusError

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
        """The line without these characters. A newline that only ends a line stays."""
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
        if self._counts:
            self._out.note(counted(self._counts, "skipped", "character{} that not all models know"))


class Comparison:
    """The scores (K,) of one text under K models.

    log_posterior  (K,) log-probability of each model given the text, when all are equally probable before it
    ratios         (K,) how much more probable the text is under each model than under the best other one:
                   the log-likelihood ratio in nats
    best           the index of the most probable model; the first of equally probable ones
    runner_up      that of the best other model
    """

    def __init__(self, scores: Sequence[Score]) -> None:
        import numpy as np

        from charrnn.inference.choice import log_softmax

        self.scores = scores
        log_probabilities = np.array([-score.nats for score in scores])
        # without a model that can write the text, nothing is known
        certain = bool(np.isfinite(log_probabilities).any())
        self.log_posterior = log_softmax(log_probabilities if certain else np.zeros(len(scores))).tolist()
        others = [max(np.delete(log_probabilities, k)) for k in range(len(scores))]
        self.ratios = [
            rounded(float(one - other)) if one != other else 0.0
            for one, other in zip(log_probabilities, others, strict=True)
        ]
        # as printed: batches differ by rounding
        order = sorted(range(len(scores)), key=lambda k: rounded(scores[k].nats))
        self.best, self.runner_up = order[:2]

    @property
    def has_text(self) -> bool:
        """Whether any character was scored; without, no model is more probable than another."""
        return any(score.characters for score in self.scores)

    def verdict(self, k: int) -> dict[str, float]:
        """The log-likelihood ratio and the posterior of a model, as columns."""
        return {"ratio": self.ratios[k], "posterior": probability(self.log_posterior[k])}


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
        self._scorers = [line_scorer(out, model, self._unknown, carry, end) for model in models]
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


# --- whole texts ---


def _compare_texts(out: Terminal, comparer: _Comparer, texts: Sequence[str], as_json: bool) -> None:
    """Write a row for each text and model; with several texts also for all of them together."""
    totals: list[tuple[str, list[Score]]] = []
    for text in texts:
        for _ in comparer.scored(text):
            pass
        totals.append((title(text), comparer.totals))
    if len(texts) > 1:
        all_totals = zip(*(scores for _, scores in totals), strict=True)
        totals.append(("total", [sum_of(scores) for scores in all_totals]))
    rows = [
        {"file": name, "model": model, **comparison.scores[k].figures(), **comparison.verdict(k)}
        for name, scores in totals
        for comparison in [Comparison(scores)]
        for k, model in enumerate(comparer.names)
    ]
    write_figures(out, rows, as_json)


# --- lines ---


def _compare_lines(out: Terminal, comparer: _Comparer, texts: Sequence[str], as_json: bool) -> None:
    """Write a row for each line, and to stderr how many lines are most probable under each model."""
    names, writer = comparer.names, RowWriter(out, as_json)
    labels: Counter[int] = Counter()
    totals = [Score()] * len(names)
    for text in texts:
        for line, scores in comparer.scored(text):
            comparison = Comparison(scores)
            labels[comparison.best] += comparison.has_text
            writer.write(line.row(len(texts) > 1, _figures(names, comparison)))
        totals = [sum_of(pair) for pair in zip(totals, comparer.totals, strict=True)]
    comparison = Comparison(totals)
    counts = [f"{names[k]} for {labels[k]:,}" for k in range(len(names))]
    out.note(f"most probable model of {labels.total():,} lines: {', '.join(counts)}")
    best, runner_up = names[comparison.best], names[comparison.runner_up]
    ratio = comparison.ratios[comparison.best]
    out.note(f"all lines together: log-likelihood ratio of {best} over {runner_up} {ratio:,.1f} nats")


def _figures(names: Sequence[str], comparison: Comparison) -> dict[str, Any]:
    """The comparison of a line as columns: the ratio of two models; of several the most probable one."""
    nats = {name: rounded(score.nats) for name, score in zip(names, comparison.scores, strict=True)}
    if len(names) == 2:
        return {"ratio": comparison.ratios[0], "nats": nats}
    best = comparison.best
    models = [names[k] if comparison.has_text else None for k in (best, comparison.runner_up)]
    return {"model": models[0], "runner_up": models[1], **comparison.verdict(best), "nats": nats}
