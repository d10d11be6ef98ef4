"""What a shell offers when Tab is pressed.

Each function gets the command line before the cursor, parsed, and the word at the cursor; it returns the
words that can stand there, or pairs of a word and a description. Where it returns nothing, the shell
offers files. These functions run at every Tab, so they import no array library if they can answer without.
A name with unprintable characters is left out: it could steer the terminal.
"""

from __future__ import annotations

import contextlib
import glob
import io
import os
import shlex
from collections.abc import Iterable
from pathlib import Path

import typer

from charrnn.cli.terminal import Terminal
from charrnn.errors import CharrnnError

VARIABLE = "_CHARRNN_COMPLETE"
"""The environment variable by which the script of a shell asks for completions."""

Word = str | tuple[str, str]
"""A word, and perhaps its description."""


def answer(app: typer.Typer) -> int:
    """Print what the shell asked for; the exit status. An error prints nothing: the shell offers files."""
    try:
        if os.environ.get(VARIABLE) == "complete_bash" and "\n=" in os.environ["COMP_WORDS"]:
            _answer_bash(app)
            return 0
        app(prog_name="charrnn", standalone_mode=False, obj=Terminal.muted())
    except SystemExit as end:
        return int(end.code or 0)
    except Exception:
        return 1
    return 0


def _answer_bash(app: typer.Typer) -> None:
    """Print what bash asked for in a line with "=", at which it parts words: it replaces what follows."""
    words, cursor = os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"])
    joined: list[str] = []
    for word in words[: cursor + 1]:
        joins = word == "=" or (joined and joined[-1].endswith("="))
        joined[-1:] = [joined[-1] + word] if joins and joined else [*joined[-1:], word]
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(joined), str(len(joined) - 1)
    name = joined[-1].rpartition("=")[0].rpartition("=")[2]
    parted = joined[-1] != words[cursor]
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            app(prog_name="charrnn", standalone_mode=False, obj=Terminal.muted())
    finally:
        for line in output.getvalue().splitlines():
            print(line.removeprefix(f"{name}=") if parted else line)  # noqa: T201 - the shell reads it


def checkpoints(context: typer.Context) -> list[Word]:
    """The names of the runs and of the pretrained models."""
    from charrnn.runs.find import model_names, run_names

    folder = context.params["checkpoints"]
    runs = run_names(folder)
    names = filter(str.isprintable, model_names(folder))
    return [name if name in runs else (name, "comes with charrnn") for name in names]


def runs(context: typer.Context) -> list[str]:
    """The names of the runs that have a checkpoint."""
    from charrnn.runs import LAST
    from charrnn.runs.find import run_names

    folder = context.params["checkpoints"]
    return sorted(filter(str.isprintable, {*run_names(folder), *run_names(folder, LAST)}))


def resumable_runs(context: typer.Context) -> list[str]:
    """The names of the runs that can be resumed."""
    from charrnn.runs import LAST
    from charrnn.runs.find import run_names

    return [*filter(str.isprintable, run_names(context.params["checkpoints"], LAST))]


def checkpoint_list(context: typer.Context, incomplete: str) -> list[str]:
    """Names of runs and of pretrained models, joined by commas."""
    return _joined(map(_text, checkpoints(context)), incomplete)


def texts(incomplete: str) -> list[Word]:
    """The names of the catalogue that begin with ``incomplete``, and the files that do.

    The shell completes paths if no name of the catalogue fits. File names that need quotes are left out.
    """
    names = [word for word in corpora() if _text(word).startswith(incomplete)]
    files = sorted(path.name + "/" * path.is_dir() for path in Path().glob(f"{glob.escape(incomplete)}*"))
    visible = [name for name in files if name[0] != "." and shlex.quote(name) == name]
    return [*names, *visible] if names else []


def corpora() -> list[Word]:
    """The names of the catalogue, with descriptions."""
    from charrnn.text import catalog

    return [(entry.name, entry.about) for entry in catalog.entries().values()]


def cell_names() -> list[str]:
    """The names of the cells."""
    from charrnn import cells

    return list(cells.names())


def cell_list(incomplete: str) -> list[str]:
    """Names of cells, joined by commas."""
    return _joined(cell_names(), incomplete)


def signals(context: typer.Context) -> list[str]:
    """The signals of the checkpoint; those of all cells where there is no such checkpoint."""
    from charrnn import cells
    from charrnn.runs.checkpoint import read_header
    from charrnn.runs.find import find

    names: Iterable[str] = cells.names()
    attention = False
    try:
        given = context.args[0] if context.args else None  # an option without its value ends the parsing
        path = find(given, context.params["checkpoints"])
        network = read_header(path).network
        names, attention = [network.cell], network.attention > 0
    except (CharrnnError, OSError):
        pass
    result = {signal for name in names for signal in cells.get(name).signals}
    result |= {"cell"} if "memory" in result else set()
    return sorted(result | ({"attention"} if attention else set()))


def labels(context: typer.Context, incomplete: str) -> list[str]:
    """NAME= for each label of the checkpoint, or NAME=VALUE for the values of the label that is typed."""
    from charrnn.conditions import Label
    from charrnn.runs.checkpoint import read_header
    from charrnn.runs.find import find

    try:
        given = context.args[0] if context.args else None
        header = read_header(find(given, context.params["checkpoints"]))
        conditions = header.network.conditions
    except (CharrnnError, OSError):
        return []
    found = [condition for condition in conditions if isinstance(condition, Label)]
    typed, equals, _ = incomplete.partition("=")
    if not equals:
        words = [f"{label.name}=" for label in found]
    else:
        words = [f"{label.name}={value}" for label in found if label.name == typed for value in label.values]
    return [*filter(str.isprintable, words)]


def concepts() -> list[Word]:
    """The concepts that units are compared with, with descriptions."""
    from charrnn.inspection.concept_table import CONCEPTS

    return [(concept.name, concept.description) for concept in CONCEPTS]


def _joined(words: Iterable[str], incomplete: str) -> list[str]:
    """The list at the cursor, its last member replaced by each of the words that it does not hold yet."""
    *chosen, _ = incomplete.split(",")
    return [",".join([*chosen, word]) for word in words if word not in chosen]


def _text(word: Word) -> str:
    return word if isinstance(word, str) else word[0]
