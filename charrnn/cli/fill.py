"""``charrnn fill``: fill the gaps of a text, with a forward and a backward model."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from charrnn.cli import completion
from charrnn.cli.options import (
    ESCAPES,
    RUNS,
    CheckpointsOption,
    QuietOption,
    find_checkpoint,
    one_thread,
    option,
    panel,
    utf8,
)
from charrnn.cli.reading_options import Unknown, unknown_option
from charrnn.cli.sample_prompts import PromptReader
from charrnn.cli.table import rounded
from charrnn.cli.terminal import Terminal
from charrnn.errors import CharrnnError, ConfigError, CorpusError
from charrnn.files import json_line

if TYPE_CHECKING:
    from charrnn.inference.fill import Filling, Gap, Template
    from charrnn.inference.network import Predictor
    from charrnn.text.vocabulary import Vocabulary

_search = panel("Search")

ONE, ANY = "_", "[...]"
"""The gap of one character, and that of any number."""
MOST_GAPS = 100
"""The most gaps of any number of characters: with each one, a text can fit in more ways."""
LITERAL = {r"\_": "_", r"\[": "[", **ESCAPES}
TOKEN = re.compile(r"\\[_\[nt0\\]|_|\[\.\.\.\]|.", re.DOTALL)
GAPS = (
    rf"{ONE} is one unknown character, {ANY} any number of them; \{ONE} and \[ are the characters themselves"
)


class Models(NamedTuple):
    """The two models, which know the same characters."""

    vocabulary: Vocabulary
    forward: Predictor
    backward: tuple[Predictor, Vocabulary] | None


def fill(
    context: typer.Context,
    template: Annotated[
        str | None,
        typer.Argument(
            metavar="TEMPLATE|-",
            help=rf"The text with its gaps: {GAPS}. The escapes \n, \t, \0 and \\ stand for newline, tab, NUL"
            " and backslash. -: each line of stdin is a template.",
            show_default="the lines that are piped in",
        ),
    ] = None,
    forward: Annotated[
        str | None,
        option(
            "The model that searches: a checkpoint file, a run's folder or its name.",
            default="the newest run",
            metavar="CHECKPOINT",
            complete=completion.checkpoints,
        ),
    ] = None,
    backward: Annotated[
        str | None,
        option(
            "A model trained with --backward on the same text: rank the texts by the sum of both"
            " log-probabilities.",
            metavar="CHECKPOINT",
            complete=completion.checkpoints,
        ),
    ] = None,
    count: Annotated[int, option("Number of texts for each template, the best first.", min=1)] = 1,
    length: Annotated[
        int, option(f"Maximum number of characters of each {ANY}.", "--length", "-n", min=1)
    ] = 20,
    match: Annotated[
        str | None,
        option(f"The whole content of each {ANY} matches this expression.", metavar="REGEX", parser=utf8),
    ] = None,
    beam: Annotated[
        int,
        _search(
            "Texts kept for each length at each item of the template: more are slower, and miss less.",
            min=1,
            max=4096,
        ),
    ] = 32,
    unknown: Annotated[Unknown, unknown_option(_search, "Characters of a template")] = Unknown.error,
    as_json: Annotated[
        bool,
        option(
            'Write a JSON line for each text. Its fields: "template", "text", "gaps", and in nats the'
            ' log-probabilities "forward", "backward" and their "sum".',
            "--json",
        ),
    ] = False,
    quiet: QuietOption = False,
    checkpoints: CheckpointsOption = RUNS,
) -> None:
    r"""Fill the gaps of a text.

    A beam search with the forward model finds texts that fit the template, and ranks them by the
    log-probability of the whole text. With a backward model, the log-probabilities of both models are added.

    Examples:
      charrnn fill 'To be, or n_t to be' --forward shakespeare
      charrnn fill 'My lo__, the [...] is dead.' --forward shakespeare --count 3
      charrnn fill 'the [...] king' --forward shakespeare --match '[a-z]+' --json
    """
    out: Terminal = context.obj
    out.stdin_advice = "give - as TEMPLATE to read it"
    if count > beam:
        raise ConfigError(f"--count {count}: must be at most --beam {beam}")
    one_thread()
    from charrnn.inference.fill import fill as best_texts
    from charrnn.inference.fill import ranked

    models = _models(out, forward, backward, checkpoints)
    gap = _gap(models.vocabulary, length, match)
    reader = PromptReader(out, models.vocabulary, unknown, models.forward, None)
    for text, name in _templates(out, template):
        try:
            items = _items(reader, text, gap)
        except CharrnnError as error:
            raise type(error)(f"{name}: {error}") from error
        fillings = best_texts(models.forward, models.vocabulary, items, beam)
        if models.backward:
            fillings = ranked(fillings, *models.backward)
        for filling in fillings[:count]:
            _write(out, models.vocabulary, text, filling, as_json)
        out.flush()


def _models(out: Terminal, forward: str | None, backward: str | None, folder: Path) -> Models:
    """The two models. Raises CharrnnError for models that do not fit."""
    from charrnn.inference.mixture import DifferentSymbolsError, check_vocabularies
    from charrnn.inference.predictor import predictor
    from charrnn.runs.checkpoint import load
    from charrnn.runs.find import model_name

    loaded = load(find_checkpoint(out, forward, folder, "--forward"))
    name, vocabulary = model_name(loaded.path), loaded.header.vocabulary
    if vocabulary.backward:
        raise ConfigError(
            f"--forward {name}: this is a backward model: give it as --backward, and as --forward one that"
            " was trained without --backward"
        )
    if vocabulary.byte_level:
        raise ConfigError(
            f"--forward {name}: fill needs a model of characters, and this one reads bytes: train one"
            " without --bytes"
        )
    if backward is None:
        return Models(vocabulary, predictor(loaded), None)
    other = load(find_checkpoint(out, backward, folder, "--backward"))
    other_name = model_name(other.path)
    if not other.header.vocabulary.backward:
        raise ConfigError(
            f"--backward {other_name}: this is a forward model: train a backward one with"
            " charrnn train TEXT --backward"
        )
    try:
        check_vocabularies([name, other_name], [vocabulary, other.header.vocabulary.forward])
    except DifferentSymbolsError as error:
        raise ConfigError(
            f"--forward {name} and --backward {other_name} know different symbols: train both on one text,"
            " the second with --backward"
        ) from error
    return Models(vocabulary, predictor(loaded), (predictor(other), other.header.vocabulary))


def _gap(vocabulary: Vocabulary, length: int, match: str | None) -> Gap:
    """The gap of any number of characters. Raises ConfigError for a --match that nothing can match."""
    from charrnn.inference.fill import Gap
    from charrnn.inference.pattern import Pattern

    return Gap(0, length, None if match is None else Pattern(match, vocabulary, max_length=length))


def _templates(out: Terminal, given: str | None) -> Iterator[tuple[str, str]]:
    """Each template, and what messages call it. Raises CharrnnError."""
    if given is None and not out.stdin_unread:
        raise ConfigError("no template: give one, such as 'the [...] king', or pipe in lines")
    lines: Iterator[tuple[str, bytes]]
    if given is None or given == "-":
        lines = ((f"TEMPLATE, line {n}", line) for n, line in enumerate(out.take_stdin("TEMPLATE"), 1))
    else:
        lines = iter([("TEMPLATE", os.fsencode(given))])
    for number, (name, line) in enumerate(lines):
        content = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield (content if number else content.removeprefix(codecs.BOM_UTF8)).decode(), name
        except UnicodeDecodeError as error:
            raise CorpusError(f"{name}: it is not valid UTF-8") from error


def _items(reader: PromptReader, template: str, gap: Gap) -> Template:
    """The items of a template. Raises ConfigError, UnknownCharacterError."""
    from charrnn.inference.fill import Gap

    gaps = {ONE: Gap(1, 1), ANY: gap}
    tokens = TOKEN.findall(template)
    if not any(token in gaps for token in tokens):
        raise ConfigError(f"the template has no gap: {GAPS}")
    if (count := tokens.count(ANY)) > MOST_GAPS:
        raise ConfigError(f"the template has {count:,} gaps {ANY}: use at most {MOST_GAPS}")
    if gap.pattern and ANY not in tokens:
        raise ConfigError(f"--match has no effect: the template has no {ANY}")
    items: list[int | Gap] = []
    position = 0
    for token in tokens:
        if token in gaps:
            items.append(gaps[token])
        else:
            items += reader.encode(LITERAL.get(token, token), position).tolist()
        position += len(token)
    return items


def _write(out: Terminal, vocabulary: Vocabulary, template: str, filling: Filling, as_json: bool) -> None:
    """Write a text on a line, or its JSON line."""
    text = vocabulary.decode(list(filling.text))
    if not as_json:
        out.write_text(text.encode("utf-8", "surrogatepass") + b"\n")
        return
    backward = None if filling.backward is None else rounded(filling.backward)
    scores = {"forward": rounded(filling.forward), "backward": backward, "sum": rounded(filling.sum)}
    gaps = [vocabulary.decode(list(gap)) for gap in filling.gaps]
    out.write(json_line({"template": template, "text": text, "gaps": gaps, **scores}))
