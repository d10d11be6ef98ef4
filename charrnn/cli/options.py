"""Options that several commands share, and what their values stand for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn.cli import completion
from charrnn.cli.help import COMMON, FOLDERS
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import input_file
from charrnn.errors import CharrnnError, ConfigError
from charrnn.files import is_pipe, user_folder


def panel(title: str = COMMON) -> Callable[..., Any]:
    """A function that makes options; the help lists them under ``title``, the short help only the common."""

    def option(
        description: str,
        *names: str,
        default: str | bool = True,
        values: Sequence[str] = (),
        complete: Callable[..., Any] | None = None,
        **settings: Any,
    ) -> Any:
        """An option.

        default   what the help shows as its default, or whether it shows the default
        values    the values that help and completion show
        complete  a function of ``charrnn.cli.completion``
        """
        if values:
            settings["metavar"], complete = "|".join(values), lambda: list(values)
        return typer.Option(
            *names,
            help=description,
            rich_help_panel=title,
            show_default=default,
            autocompletion=complete,
            **settings,
        )

    return option


option = panel()


def _existing_or_users(context: typer.Context, parameter: Any, value: Path) -> Path:
    """The value of --checkpoints or --corpora; the user's folder where it is not given."""
    source = context.get_parameter_source(parameter.name)
    return user_folder(str(value)) if source and source.name == "DEFAULT" else value


def _folder(description: str, name: str) -> Any:
    """An option for a folder (see ``user_folder``)."""
    return panel(FOLDERS)(
        f"{description}. $CHARRNN_{name.upper()} sets it too.",
        default=f"./{name} if it exists, else {name} in your data folder",
        metavar="DIR",
        callback=_existing_or_users,
    )


def _be_quiet(context: typer.Context, value: bool) -> bool:
    if value:
        context.obj.quiet = True
    return value


def utf8(argument: str) -> str:
    """An argument as text: the command line is UTF-8 in every locale."""
    return os.fsencode(argument).decode("utf-8", "surrogateescape")


ESCAPES = {r"\n": "\n", r"\t": "\t", r"\0": "\0", r"\\": "\\"}


def unescape(text: str) -> str:
    r"""The text with \n, \t, \0 and \\ replaced; all other backslashes stay."""
    return re.sub(r"\\[nt0\\]", lambda match: ESCAPES[match[0]], text)


def escape(text: str) -> str:
    r"""The text that ``unescape`` turns into this one."""
    names = {character: name for name, character in ESCAPES.items()}
    return re.sub(r"[\n\t\0\\]", lambda match: names[match[0]], text)


def parse_text(argument: str) -> str:
    """A text from the command line, unescaped."""
    return unescape(utf8(argument))


CheckpointArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A checkpoint file (- for stdin), a run's folder or its name.",
        show_default="the newest run",
        autocompletion=completion.checkpoints,
    ),
]
TextArgument = Annotated[
    str | None, typer.Argument(metavar="TEXT|-", help="The text to read: a file, or - for stdin.")
]
CheckpointsOption = Annotated[Path, _folder("Folder of the runs", "checkpoints")]
CorporaOption = Annotated[Path, _folder("Folder of the catalogue's texts", "corpora")]
RUNS, CORPORA = Path("checkpoints"), Path("corpora")
"""The defaults of --checkpoints and --corpora, for which ``user_folder`` then stands in."""
QuietOption = Annotated[bool, option("Print only errors on stderr.", "--quiet", "-q", callback=_be_quiet)]


def refuse_stdout(value: Path | None) -> Path | None:
    """The value of an option for a file that cannot be stdout. Raises BadParameter for "-"."""
    if value == Path("-"):
        raise typer.BadParameter("- would be standard output, which carries the results: name a file")
    return value


def check_new_file(option_name: str, path: Path) -> None:
    """Raise CharrnnError if the file of an option exists, is a folder, or has no folder.

    A device such as /dev/null may be written.
    """
    if path.is_dir():
        raise CharrnnError(f"{option_name} {path}: this is a folder: name a file")
    if path.is_file():
        raise CharrnnError(f"{option_name} {path}: this file exists: delete it, or name another")
    if not path.parent.is_dir():
        raise CharrnnError(f"{option_name} {path}: there is no folder {path.parent}")


def picture_option(option: Callable[..., Any], content: str, kind: str) -> Any:
    """--png or --svg, made by a function of ``panel``; ``content`` is what the picture shows.

    An older picture is replaced, but no file of another kind: the text that is read may be named by mistake.
    """
    ending = f".{kind.lower()}"

    def check(value: Path | None) -> Path | None:
        refuse_stdout(value)
        if value is not None and not (value.is_file() and value.suffix.lower() == ending):
            check_new_file(f"--{kind.lower()}", value)
        return value

    return option(f"Save {content} as {kind}; needs matplotlib.", metavar="FILE", callback=check)


PngOption = Annotated[Path | None, picture_option(option, "the curves", "PNG")]
SvgOption = Annotated[Path | None, picture_option(option, "the curves", "SVG")]


def given_options(context: typer.Context, *names: str) -> list[str]:
    """The options with these parameter names that are on the command line, as "--save-every"."""
    return [
        (parameter.secondary_opts if context.params[parameter.name] is False else parameter.opts)[0]
        for parameter in context.command.params
        if parameter.name in names
        and (source := context.get_parameter_source(parameter.name))
        and source.name == "COMMANDLINE"
    ]


def changed_options(context: typer.Context) -> set[str]:
    """The options whose value is not the default, as "--save-every"."""
    values = context.params
    return {
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in values and values[parameter.name] not in (parameter.default, ())
    }


def refuse_combinations(
    given: Collection[str],
    needs: Mapping[str, Sequence[str]],
    conflicts: Sequence[tuple[Sequence[str], str]],
) -> None:
    """Raise ConfigError for options that lack or exclude each other.

    needs      options that have no effect unless one of the others is given
    conflicts  options of which only one may be given, and why
    """
    for name, needed in needs.items():
        if name in given and not any(other in given for other in needed):
            raise ConfigError(f"{name} has no effect without {' or '.join(needed)}")
    for options, reason in conflicts:
        if len(both := [name for name in options if name in given]) > 1:
            raise ConfigError(f"{' and '.join(both)}: {reason}")


def refuse_options_before_subcommand(context: typer.Context) -> None:
    """Raise ConfigError for an option between a group and its subcommand, where it would be ignored."""
    if given := given_options(context, *context.params):
        words = f"{context.command_path} {context.invoked_subcommand} {given[0]}"
        raise ConfigError(f"{given[0]}: give it after the command: {words} ...")


def find_checkpoint(out: Terminal, given: str | None, folder: Path, option: str = "CHECKPOINT") -> Path:
    """The file of a checkpoint (see ``runs.find``); without any run, that of a pretrained model.

    ``option`` gives the checkpoint; "-" is one from stdin. Raises CharrnnError.
    """
    from charrnn.runs.find import DEFAULT_MODEL, but_elsewhere, find, pretrained, run_names

    if given is None and not run_names(folder) and DEFAULT_MODEL in pretrained():
        others = but_elsewhere(folder)
        out.note(f"no runs in {folder}{others}: this is {DEFAULT_MODEL}, a model that comes with charrnn")
        given = DEFAULT_MODEL
    if given is not None and (given == "-" or is_pipe(given)):
        return input_file(out, given, option, tensors=True)
    return find(given, folder)


def one_thread() -> None:
    """Let NumPy use one thread; call it before NumPy is imported.

    With idle cores more threads would halve a step of 512 units. Where other processes keep the
    cores busy, the threads wait for each other, and a step takes about a hundred times as long
    (benchmarks/RESULTS.md). $OMP_NUM_THREADS overrides this.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def threads() -> int:
    """The number of threads for work that NumPy does not spread: $OMP_NUM_THREADS, or the cores."""
    try:
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    except (KeyError, ValueError):
        cores = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
        return len(cores(0)) if cores else os.cpu_count() or 1
