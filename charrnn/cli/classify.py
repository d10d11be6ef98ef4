"""``charrnn classify``: which value of a label fits a text best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from charrnn.cli import completion, score_input
from charrnn.cli.condition_options import Given, VectorOption, given_values
from charrnn.cli.options import (
    RUNS,
    CheckpointsOption,
    QuietOption,
    find_checkpoint,
    option,
    panel,
    utf8,
)
from charrnn.cli.reading_options import Unknown, unknown_option
from charrnn.cli.score_documents import DocumentScorer, Entry
from charrnn.cli.score_input import Model
from charrnn.cli.score_line_reader import Line, windows
from charrnn.cli.table import RowWriter, aligned, probability, rounded
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_reader import title
from charrnn.errors import ConfigError

if TYPE_CHECKING:
    from charrnn.conditions import Label
    from charrnn.inference.classify import Confusion
    from charrnn.runs.checkpoint import Checkpoint

LARGEST_MATRIX = 15
"""Values up to which the confusion matrix is shown; of more, only the most frequent errors are."""
SHOWN_ERRORS = 10


class Prior(StrEnum):
    """The probability of the values before a text is read."""

    uniform = "uniform"
    training = "training"


def parse_label(text: str) -> Given:
    """Parse "author", the label that is asked for, or "genre=letter", a value that is known."""
    name, equals, value = utf8(text).partition("=")
    if not name:
        raise ValueError("must be NAME, the label to find, or NAME=VALUE, one that is known")
    return Given(name, value if equals else None)


_reading = panel("Reading")

Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CHECKPOINT TEXT|-",
        help="A checkpoint with labels: a file, a run's folder or its name. Then the texts: files, or - for"
        " stdin.",
        show_default="the newest run, and the text that is piped in",
        autocompletion=completion.checkpoints,
    ),
]
Labels = Annotated[
    list[Given] | None,
    option(
        "The label to find. NAME=VALUE gives the value of another label. Can be repeated.",
        "--label",
        default="the model's only label",
        metavar="NAME[=VALUE]",
        parser=parse_label,
        complete=completion.labels,
    ),
]
Files = Annotated[bool, option("Classify each file as one text, instead of each line.", "--files")]
PriorOption = Annotated[
    Prior,
    option("How probable the values are before a text is read: all alike, or as frequent as in training."),
]
AsJson = Annotated[bool, option('Print JSON lines, with that of each value as "probabilities".', "--json")]
UnknownCharacters = Annotated[Unknown, unknown_option(_reading, "Characters")]


class Row(NamedTuple):
    """A text to classify: its document, and what is printed beside its label."""

    entry: Entry
    columns: dict[str, Any]
    text: dict[str, Any]


def classify(
    context: typer.Context,
    arguments: Arguments = None,
    label: Labels = None,
    vector: VectorOption = None,
    files: Files = False,
    prior: PriorOption = Prior.uniform,
    as_json: AsJson = False,
    unknown: UnknownCharacters = Unknown.error,
    quiet: QuietOption = False,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    """Find the value of a label that fits each line best.

    A label is a language or an author, for example.

    The model scores each line under each value of the label. A line can be a JSON object with a "text"; its
    other fields are used as in training, and the field of the label is the truth: then the accuracy and the
    errors follow on stderr.

    Examples:
      charrnn classify names --label language < names.txt
      charrnn classify names test.jsonl --label language --json
      charrnn classify books chapter1.txt chapter2.txt --label file --files
    """
    out: Terminal = context.obj
    out.stdin_advice = "give - as the text to read it"
    names, texts = score_input.split_arguments(arguments or [], checkpoints)
    if len(names) > 1:
        advice = score_input.as_text(names[1:])
        raise ConfigError(f"{names[1]}: classify needs one checkpoint, not {len(names)}{advice}")
    texts = list(score_input.texts_or_stdin(out, texts, names, "classify"))
    from charrnn.runs.checkpoint import load

    loaded = load(find_checkpoint(out, names[0] if names else None, checkpoints))
    label_to_find = _label_to_find(loaded, label or ())
    model = _model(loaded, [given for given in label or () if given.name != label_to_find.name], vector or ())
    scorer = DocumentScorer(out, model, unknown)
    counts = (
        loaded.header.corpus.get("labels", {}).get(label_to_find.name, {})
        if prior is Prior.training
        else None
    )
    rows = _files(scorer, texts) if files else _lines(out, scorer, texts)
    confusion = _write(out, scorer, label_to_find, counts, rows, as_json)
    scorer.reader.report()
    _report(out, confusion, label_to_find)


def _label_to_find(loaded: Checkpoint, labels: Sequence[Given]) -> Label:
    """The label to find. Raises ConfigError, CheckpointError."""
    from charrnn.conditions import Label, find

    conditions = loaded.header.network.conditions
    known = [condition for condition in conditions if isinstance(condition, Label)]
    if not known:
        raise ConfigError(
            "classify needs a model with labels: charrnn train TEXT --documents json --label NAME makes one"
        )
    asked = [given for given in labels if given.value is None]
    if len(asked) > 1:
        raise ConfigError(f"--label {asked[0].name} --label {asked[1].name}: classify finds one label")
    if not asked and len(known) > 1:
        names = ", ".join(condition.name for condition in known)
        raise ConfigError(f"say which label to find, with --label NAME: {names}")
    label = find(conditions, asked[0].name) if asked else known[0]
    if not isinstance(label, Label):
        raise ConfigError(f"--label {label.name}: it is a vector; labels: {', '.join(c.name for c in known)}")
    if any(given.name == label.name and given.value is not None for given in labels):
        raise ConfigError(f"--label {label.name}: it is asked for and given")
    if len(label.values) < 2:
        raise ConfigError(
            f"--label {label.name}: has one value, {label.values[0]}: there is nothing to choose"
        )
    return label


def _model(loaded: Checkpoint, labels: Sequence[Given], vectors: Sequence[Given]) -> Model:
    """The model, with the values of its other labels that are given. Raises ConfigError."""
    from charrnn.inference.conditioned import conditions_of
    from charrnn.inference.predictor import predictor
    from charrnn.runs.find import model_name

    network = predictor(loaded)
    values = given_values(conditions_of(network), labels, vectors)
    return score_input.conditioned_model(model_name(loaded.path), network, loaded.header, values)


def _lines(out: Terminal, scorer: DocumentScorer, texts: Sequence[str]) -> Iterator[list[Row]]:
    """The lines of the texts, some at a time."""
    for text in texts:
        scorer.begin()
        for window in windows(out, text, work="classifying"):
            entries = scorer.of_lines(window)
            several = {"file": window[0].name} if len(texts) > 1 else {}
            yield [
                Row(entry, {**several, "line": line.number}, {"text": _shown(entry, line)})
                for entry, line in zip(entries, window, strict=True)
            ]
            out.flush()
        scorer.finish(title(text))


def _shown(entry: Entry, line: Line) -> str:
    """A line as a row shows it: of a JSON object the text."""
    return str(entry.row["text"]) if entry.row else line.content.decode("utf-8", "surrogateescape")


def _files(scorer: DocumentScorer, texts: Sequence[str]) -> Iterator[list[Row]]:
    """Each text as one document."""
    scorer.begin()
    for text in texts:
        yield [Row(scorer.of_file(text), {"file": title(text)}, {})]


def _write(
    out: Terminal,
    scorer: DocumentScorer,
    label_to_find: Label,
    counts: dict[str, int] | None,
    rows: Iterator[list[Row]],
    as_json: bool,
) -> Confusion:
    """Write the label of each text, and count those whose label is known."""
    import numpy as np

    from charrnn.inference.classify import Confusion, classify, log_prior
    from charrnn.text.documents import label_value

    writer, confusion = RowWriter(out, as_json), Confusion()
    with_truth = None  # whether the rows have this column, as the first one says
    prior = log_prior(
        None if counts is None else [counts.get(value, 0) for value in label_to_find.values],
        len(label_to_find.values),
    )
    for block in rows:
        entries = [row.entry for row in block]
        scores = [scorer.score_under(entries, label_to_find.name, value) for value in label_to_find.values]
        verdicts = classify(-np.array([[score.nats for score in column] for column in scores]).T, prior)
        for row, verdict, score in zip(block, verdicts, scores[0], strict=True):
            with_truth = row.entry.row is not None if with_truth is None else with_truth
            truth = label_value(label_to_find.name, (row.entry.row or {}).get(label_to_find.name))
            columns: dict[str, Any] = {
                "label": None,
                "probability": None,
                "runner_up": None,
                "log_ratio": None,
            }
            if score.characters:
                log_posterior = verdict.log_posterior.tolist()
                best, runner_up = label_to_find.values[verdict.best], label_to_find.values[verdict.runner_up]
                columns["label"], columns["runner_up"] = best, runner_up
                columns["probability"] = probability(log_posterior[verdict.best])
                columns["log_ratio"] = rounded(log_posterior[verdict.best] - log_posterior[verdict.runner_up])
                if truth is not None:
                    confusion.add(truth, best)
                if as_json:
                    pairs = zip(label_to_find.values, log_posterior, strict=True)
                    columns["probabilities"] = {value: probability(log) for value, log in pairs}
            known = {"truth": truth} if with_truth else {}
            writer.write({**row.columns, **columns, **known, **row.text})
        out.flush()
    return confusion


def _report(out: Terminal, confusion: Confusion, label_to_find: Label) -> None:
    """Print the accuracy and the errors to stderr, where labels are known."""
    if not confusion.total:
        return
    accuracy = confusion.correct / confusion.total
    out.note(f"accuracy {accuracy:.4f}: {confusion.correct:,} of {confusion.total:,}")
    if strange := sorted({truth for truth, _ in confusion.pairs} - set(label_to_find.values)):
        out.note(
            f"labels in the text that the model does not know: {', '.join(map(repr, strange[:SHOWN_ERRORS]))}"
        )
    if len(label_to_find.values) <= LARGEST_MATRIX:
        matrix = confusion.matrix(label_to_find.values).tolist()
        rows = [
            [truth, *map(str, row)]
            for truth, row in zip(label_to_find.values, matrix, strict=True)
            if any(row)
        ]
        head = [f"true {label_to_find.name} \\ predicted", *label_to_find.values]
        for line in aligned([head, *rows], range(1, len(head))):
            out.note(line)
        return
    for truth, verdict, count in confusion.errors[:SHOWN_ERRORS]:
        out.note(f"true {truth}, predicted {verdict}: {count:,}")
