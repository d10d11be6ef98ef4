"""The command line: one file a command. Importing this imports no array library."""

from __future__ import annotations

import os
from typing import Annotated

import typer

import charrnn
from charrnn.cli import corpus, gradient_flow, info, inspect_cell, sample, train
from charrnn.cli.terminal import OutputClosed, Stopped, Terminal
from charrnn.errors import CharrnnError, ConfigError

app = typer.Typer(
    name="charrnn",
    help="Learn to write like a text, character by character; then sample, and look inside.",
    epilog=(
        "Exit status: 0 done, 1 a mistake in files, values or what goes together, 2 an option or argument"
        " that is none, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP."
    ),
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("sample")(sample.sample)
app.command("inspect-cell")(inspect_cell.inspect_cell)
app.command("gradient-flow")(gradient_flow.gradient_flow)
app.command("info")(info.info)
app.add_typer(corpus.app, name="corpus")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"charrnn {charrnn.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None, terminal: Terminal | None = None) -> int:
    """Run one command; its exit status. The one place where errors become lines."""
    terminal = terminal or Terminal.of_process()
    try:
        try:
            code = app(args=arguments, prog_name="charrnn", standalone_mode=False, obj=terminal)
            terminal.finish()
            return int(code or 0)
        finally:
            terminal.end_bars()
    except OutputClosed:
        return 0  # the reader has what it wanted
    except SystemExit:
        terminal.forget_stdout()  # the framework's own answer to a pipe that is closed on its help
        return 0
    except Stopped as stopped:
        terminal.note(str(stopped))
        return stopped.status
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        terminal.note("charrnn: not enough memory")
        return 1
    except CharrnnError as error:
        if isinstance(error, ConfigError) and os.environ.get("RANK", "0") != "0":
            return 1  # under torchrun all processes were told the same; the first one speaks
        terminal.note(f"charrnn: {error}")
        return 1
    except OSError as error:
        # A file system that refuses, wherever it does, is never a bug of ours.
        terminal.forget_stdout()
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
        terminal.note(f"charrnn: {where}{error.strerror or error}")
        return 1
    except typer.TyperException as error:
        told = getattr(error, "format_message", error.__str__)
        message = " ".join(told().split())
        where = getattr(getattr(error, "ctx", None), "command_path", "charrnn")
        if message:
            terminal.note(f"charrnn: {message} (see {where} --help)")
        return int(getattr(error, "exit_code", 2))
