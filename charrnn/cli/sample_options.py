"""What the options of ``charrnn sample`` amount to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.cli.sample_output import Copied, Text
from charrnn.cli.sample_prompts import literal
from charrnn.cli.text_source import Origin, read_corpus

if TYPE_CHECKING:
    from charrnn.cli.terminal import Terminal
    from charrnn.inference.beam import Search
    from charrnn.inference.constraints import Stop
    from charrnn.inference.network import Mask, Predictor
    from charrnn.runs.checkpoint import Checkpoint
    from charrnn.text.vocabulary import Vocabulary


def ramp(temperature: str, length: int) -> tuple[float, float | None]:
    """ "0.7" -> 0.7, None; "0.3:1.2" -> 0.3, 1.2. Raises ConfigError."""
    from charrnn.errors import ConfigError

    first, colon, last = temperature.partition(":")
    try:
        ramp = float(first), float(last) if colon else None
    except ValueError as error:
        raise ConfigError(f"--temperature {temperature}: it must be a number, or two as 0.3:1.2") from error
    if colon and not length:
        raise ConfigError(f"--temperature {temperature}: it goes from one to the other over a --length")
    return ramp


def search(
    width: int | None,
    length_penalty: float | None,
    groups: int | None,
    diversity: float | None,
    stochastic: bool,
) -> Search | None:
    """The search that is asked for, if any. Raises ConfigError."""
    from charrnn.errors import ConfigError

    given = {"length_penalty": length_penalty, "groups": groups, "diversity": diversity}
    given = {name: value for name, value in given.items() if value is not None}
    if width is None:
        for name in (*given, *(["stochastic"] if stochastic else [])):
            option = "diverse" if name == "groups" else name.replace("_", "-")
            raise ConfigError(f"--{option}: it belongs to --beam WIDTH")
        return None
    if stochastic and length_penalty is not None:
        raise ConfigError("--length-penalty: --stochastic draws texts, and compares no lengths")
    if diversity is not None and groups is None:
        raise ConfigError("--diversity: it belongs to --diverse GROUPS")
    from charrnn.inference.beam import Search

    return Search(width, stochastic=stochastic, **given)  # type: ignore[arg-type]


def predictor(loaded: Sequence[Checkpoint], weights: str | None) -> Predictor:
    """The network of a checkpoint, or the mixture of several. Raises ConfigError."""
    from charrnn.errors import ConfigError
    from charrnn.inference.mixture import Mixture, check_vocabularies
    from charrnn.inference.network import Inference

    predictors = [Inference(each.header.model, each.weights) for each in loaded]
    if len(loaded) == 1 and weights is None:
        return predictors[0]
    try:
        shares = [1.0] * len(loaded) if weights is None else [float(each) for each in weights.split(",")]
    except ValueError as error:
        raise ConfigError(f"--weights {weights}: it must be numbers, as 0.7,0.3") from error
    check_vocabularies(
        [each.path.parent.name for each in loaded], [each.header.vocabulary for each in loaded]
    )
    return Mixture(predictors, shares)


def allowed(
    out: Terminal, vocabulary: Vocabulary, allow: list[str] | None, ban: list[str] | None
) -> Mask | None:
    """(V,) what --allow and --ban leave; None is all. Raises ConfigError."""
    import numpy as np

    from charrnn.errors import ConfigError

    left = np.ones(len(vocabulary), bool)
    for option, given in (("--allow", allow), ("--ban", ban)):
        if given is None:
            continue
        characters = literal("".join(given))
        if vocabulary.byte_level and not characters.isascii():
            raise ConfigError(f"{option} {characters}: the model knows bytes; give ASCII characters alone")
        if strange := "".join(dict.fromkeys(c for c in characters if c not in vocabulary.symbols)):
            out.note(f"{option}: {strange!r} would never come: the model does not know it")
        named = np.array([symbol in characters for symbol in vocabulary.symbols])
        left &= named if option == "--allow" else ~named
    return None if left.all() else left


def stops(vocabulary: Vocabulary, given: Sequence[str]) -> tuple[Stop, ...]:
    """Stop strings as ids. Raises ConfigError."""
    from charrnn.errors import ConfigError, UnknownCharacterError

    found = []
    for text in map(literal, given):
        try:
            found.append(tuple(vocabulary.encode(text).tolist()))
        except UnknownCharacterError as error:
            raise ConfigError(f"--stop {text!r} would never come: {error}") from error
    return tuple(found)


def copied(out: Terminal, vocabulary: Vocabulary, corpus: str, folder: Path, stack: ExitStack) -> Copied:
    """Looks for runs of texts in a corpus. Raises CharrnnError when it cannot be read."""
    import numpy as np

    from charrnn.text.novel import Run, longest_runs
    from charrnn.text.vocabulary import code_points

    origin = Origin([corpus], byte_level=vocabulary.byte_level)
    opened = read_corpus(out, origin, folder, stack, advice="--novel reads UTF-8")
    theirs = opened.vocabulary.lookup(code_points(vocabulary.symbols))

    def runs(texts: Sequence[Text]) -> list[Run]:
        with out.bar(desc="looking for copies", unit="char", unit_scale=True, total=len(opened.ids)) as bar:
            return longest_runs([theirs[np.array(text.ids, int)] for text in texts], opened.ids, bar.update)

    return runs


def unescaped(delimiter: str) -> bytes:
    """An argument cannot hold a zero, and hardly a newline."""
    for escape, meant in ((r"\n", "\n"), (r"\t", "\t"), (r"\0", "\0")):
        delimiter = delimiter.replace(escape, meant)
    return os.fsencode(delimiter)
