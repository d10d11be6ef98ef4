"""What ``charrnn score`` reads: its checkpoints and its texts."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import recorded_division
from charrnn.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from charrnn.conditions import Values
    from charrnn.inference.adaptive import AdaptiveReader
    from charrnn.inference.network import Predictor
    from charrnn.runs.checkpoint import Header
    from charrnn.text.documents import Division
    from charrnn.text.vocabulary import Vocabulary


class Model(NamedTuple):
    """A model that scores texts: a checkpoint's, or a mixture of several.

    adaptive_reader  with --adapt, makes what reads a text and learns it
    division         how a text is divided into documents, for a model of documents
    values           of the options --label and --vector; they come before those of a document
    text_only        whether the characters of prompts do not count (train --loss text)
    """

    name: str
    predictor: Predictor
    vocabulary: Vocabulary
    adaptive_reader: Callable[[], AdaptiveReader] | None = None
    division: Division | None = None
    values: Values = {}  # noqa: RUF012 - never changed
    text_only: bool = False


def conditioned_model(name: str, predictor: Predictor, header: Header, values: Values) -> Model:
    """A model of a checkpoint, conditioned on values of its labels and vectors."""
    from charrnn.inference.conditioned import conditioned

    return Model(
        name,
        conditioned(predictor, values) if values else predictor,
        header.vocabulary,
        division=recorded_division(header),
        values=values,
        text_only=header.training.loss == "text",
    )


def same_characters(models: Sequence[Model]) -> list[Model]:
    """The models, all of which leave out the prompts if one of them does: so their scores can be compared."""
    text_only = any(model.text_only for model in models)
    return [model._replace(text_only=text_only and model.division is not None) for model in models]


def check_options(models: Sequence[Model], options: dict[str, Any]) -> None:
    """Raise ConfigError for options that do not work with documents or with a backward model."""
    for model in models:
        if model.vocabulary.documents:
            for name in ("adapt", "carry"):
                if options[name]:
                    raise ConfigError(
                        f"--{name} reads one long text, and this model reads documents: leave it out"
                    )
            if options["streams"] > 1:
                raise ConfigError(
                    "--streams cuts one long text, and this model reads documents: leave it out"
                )
        elif model.vocabulary.backward:
            if options["carry"]:
                raise ConfigError(
                    "--carry reads the lines from first to last, which a backward model cannot: leave it out"
                )
            if options["compare"] and not options["lines"]:
                raise ConfigError("--compare with a backward model needs --lines: add --lines")


def split_arguments(
    arguments: Sequence[str], folder: Path, catalogue: bool = False
) -> tuple[list[str], list[str]]:
    """The checkpoints, then the texts: the first argument that is no checkpoint begins the texts.

    A checkpoint is the name of a run or of a pretrained model, the folder of a run or a .safetensors file.
    With ``catalogue``, a text can be the name of one in the catalogue.

    Raises ConfigError for an argument that is neither.
    """
    from charrnn.text.catalog import entries

    names = entries() if catalogue else ()
    checkpoints: list[str] = []
    texts: list[str] = []
    for argument in arguments:
        if not argument:  # an unset variable of the shell
            raise ConfigError("an argument is empty: name a checkpoint or a text, or leave it out")
        if _is_checkpoint(argument, folder):
            if texts:
                raise ConfigError(
                    f"{argument} is a checkpoint: give the checkpoints before the texts{as_text([argument])}"
                )
            checkpoints.append(argument)
        elif argument == "-" or argument in names or Path(argument).exists():
            texts.append(argument)
        else:
            shown = shlex.quote(argument)
            raise ConfigError(f"{shown} is neither a checkpoint nor a text{_advice(argument, folder)}")
    return checkpoints, texts


def _is_checkpoint(argument: str, folder: Path) -> bool:
    from charrnn.runs import BEST
    from charrnn.runs.find import pretrained

    path = Path(argument)
    if path.suffix == Path(BEST).suffix and path.exists():
        return True
    if argument != path.name and path.is_file():  # ./NAME is the text where NAME is a run
        return False
    runs = (path / BEST, folder / argument / BEST)
    return any(run.is_file() for run in runs) or (argument in pretrained() and not path.is_file())


def _advice(argument: str, folder: Path) -> str:
    """The end of an error message: a similar name of a model or of a file, or where the run is."""
    from charrnn.runs.find import advice, model_names
    from charrnn.text.sources import typed_text

    path = Path(argument)
    if hint := typed_text(path):
        return hint
    names = model_names(folder)
    if path.parent.is_dir():
        names += [str(file) for file in sorted(path.parent.iterdir()) if not file.name.startswith(".")]
    if hint := did_you_mean(argument, names):
        return hint
    return f"; {advice(argument, folder)}"


def as_text(checkpoints: Sequence[str]) -> str:
    """The end of an error message: how to name a text that has the name of a checkpoint."""
    paths = [path for path in map(Path, checkpoints) if path.is_file() and path.suffix != ".safetensors"]
    return "".join(f"; the text of this name is {shlex.quote(f'./{path}')}" for path in paths[-1:])


def texts_or_stdin(
    out: Terminal, texts: Sequence[str], checkpoints: Sequence[str], command: str = "score"
) -> Sequence[str]:
    """The texts; without any, stdin. Raises ConfigError where nothing is piped in."""
    if texts or out.stdin_unread:
        return texts or ["-"]
    raise ConfigError(
        f"no text to {command}: name a file, or pipe one in: charrnn {command} CHECKPOINT < notes.txt"
        f"{as_text(checkpoints)}"
    )
