"""The command line: one file per command. Importing it imports no array library."""

from __future__ import annotations

import os
import re
import sys
import traceback
from typing import Annotated

import typer

from charrnn.cli import (
    cache,
    classify,
    corpus,
    encode,
    fill,
    gradient_flow,
    info,
    inspect_cell,
    ngram,
    runs,
    sample,
    score,
    train,
)
from charrnn.cli.completion import VARIABLE, answer
from charrnn.cli.help import App
from charrnn.cli.terminal import OutputClosed, Stopped, Terminal, discard, is_main_process, shortened
from charrnn.errors import CharrnnError, ConfigError, is_out_of_memory
from charrnn.version import __version__

app = App(
    name="charrnn",
    help=(
        "Train a model that imitates your text, character by character; sample from it, measure texts with"
        " it, and look inside it."
        "\n\nExamples:"
        "\n  charrnn sample shakespeare --prompt 'ROMEO:'"
        "\n  charrnn train notes.txt --minutes 5"
        "\n  charrnn sample --length 500"
        "\n  charrnn score shakespeare notes.txt"
    ),
    epilog=(
        "Exit status: 0 success; 1 failure; 2 a wrong command line: an unknown option, a bad value, or"
        " options that exclude each other; 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP."
    ),
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("sample")(sample.sample)
app.command("fill")(fill.fill)
app.command("score")(score.score)
app.command("classify")(classify.classify)
app.command("inspect-cell")(inspect_cell.inspect_cell)
app.command("encode")(encode.encode)
app.command("gradient-flow")(gradient_flow.gradient_flow)
app.command("ngram")(ngram.ngram)
app.command("info")(info.info)
app.add_typer(corpus.app, name="corpus")
app.add_typer(runs.app, name="runs")
app.add_typer(cache.app, name="cache")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"charrnn {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None, terminal: Terminal | None = None) -> int:
    """Run one command and return its exit status; an error becomes one line on stderr."""
    if VARIABLE in os.environ:
        return answer(app)
    terminal = terminal or Terminal.of_process()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if any(re.match("-[A-Za-z]{2}", argument) for argument in arguments):
            _refuse_single_dashes(arguments)
        status = app(args=arguments, prog_name="charrnn", standalone_mode=False, obj=terminal)
        terminal.finish()
        terminal.note_unread_stdin()
        return int(status or 0)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        terminal.end_bars()
        if isinstance(error, (SystemExit, OSError)):
            discard(terminal.stdout)
        message, status = _message_and_status(error, arguments)
        raised_by_all = isinstance(error, (ConfigError, Stopped, typer.TyperException))  # by all processes
        if message and (is_main_process() or not raised_by_all):
            terminal.error(message)
        return status
    finally:
        terminal.cleanup.close()


def _refuse_single_dashes(arguments: list[str]) -> None:
    """Raise ConfigError for long options with one dash: -primetext would be read as -p rimetext."""
    from charrnn.cli.usage_errors import find_command, foreign_options

    command = find_command(typer.main.get_command(app), arguments)
    if message := foreign_options(command, arguments):
        raise ConfigError(message)


def _is_of_standard_output(error: OSError) -> bool:
    """Whether help or the version was printed when the error came: no command had begun."""
    modules = {frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)}
    printers = {__name__, "charrnn.cli.help"}
    return not any(module.startswith("charrnn.") for module in modules - printers)


def _message_and_status(error: BaseException, arguments: list[str]) -> tuple[str, int]:
    """The line to print and the exit status. Raises the error again if it is a bug."""
    if is_out_of_memory(error):
        return "charrnn: not enough memory", 1
    match error:
        case OutputClosed() | SystemExit():  # typer exits when nobody reads a help text
            return "", 0
        case KeyboardInterrupt() | typer.Abort():
            return "", 130
        case Stopped():
            return str(error), error.status
        case CharrnnError():
            return f"charrnn: {shortened(str(error))}", 2 if isinstance(error, ConfigError) else 1
        case OSError():  # an error of the file system is not a bug
            path = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
            if not path and _is_of_standard_output(error):
                path = "cannot write to standard output: "
            return f"charrnn: {path}{error.strerror or error}", 1
        case typer.TyperException():
            from charrnn.cli.usage_errors import explain

            message = explain(error, typer.main.get_command(app), arguments)
            return message and f"charrnn: {shortened(message)}", error.exit_code
    raise error
